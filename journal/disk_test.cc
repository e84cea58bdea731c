// What both disks must do alike, and what only the crash disk can.
#include "journal/disk.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "journal/crash_disk.h"

namespace gemel::journal {
namespace {

class DiskTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      disk_ = MakePosixDisk();
      std::string name = testing::TempDir() + "/gemel-disk-XXXXXX";
      root_ = mkdtemp(name.data());
    } else {
      disk_ = std::make_unique<CrashDisk>();
      root_ = "/data";
      ASSERT_TRUE(disk_->MakeDirectories(root_).ok());
    }
  }
  void TearDown() override { EXPECT_TRUE(disk_->RemoveTree(root_).ok()); }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }

  std::unique_ptr<Disk> disk_;
  std::string root_;
};

INSTANTIATE_TEST_SUITE_P(Disks, DiskTest, testing::Values(false, true),
                         [](const auto& which) { return which.param ? "Posix" : "Crash"; });

TEST_P(DiskTest, OpenSaysWhatIsThere) {
  EXPECT_TRUE(absl::IsNotFound(disk_->Open(Path("a"), OpenMode::kRead).status()));
  EXPECT_TRUE(absl::IsNotFound(disk_->Open(Path("a"), OpenMode::kReadWrite).status()));
  EXPECT_TRUE(disk_->Open(Path("a"), OpenMode::kCreateNew).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(disk_->Open(Path("a"), OpenMode::kCreateNew).status()));
  EXPECT_TRUE(disk_->Open(Path("a"), OpenMode::kCreate).ok());
  EXPECT_TRUE(absl::IsNotFound(disk_->Open(Path("no/such"), OpenMode::kCreate).status()));
}

TEST_P(DiskTest, ReadsBackWhatWasWritten) {
  auto file = disk_->Open(Path("a"), OpenMode::kCreate);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE((*file)->WriteAt(4, "tail").ok());
  ASSERT_TRUE((*file)->WriteAt(0, "head").ok());
  EXPECT_EQ((*file)->Size().value(), 8u);
  ASSERT_TRUE((*file)->Truncate(6).ok());
  char buffer[16];
  EXPECT_EQ((*file)->ReadAt(2, buffer, sizeof buffer).value(), 4u);
  EXPECT_EQ(std::string(buffer, 4), "adta");
  EXPECT_EQ((*file)->ReadAt(100, buffer, sizeof buffer).value(), 0u);
  EXPECT_TRUE((*file)->DataSync().ok());
}

TEST_P(DiskTest, RenameReplacesAndLinkDoesNot) {
  ASSERT_TRUE(disk_->CreateWhole(Path("a"), "one", 5).ok());
  ASSERT_TRUE(disk_->CreateWhole(Path("b"), "two", 6).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(disk_->CreateWhole(Path("a"), "three", 7)));
  EXPECT_TRUE(absl::IsAlreadyExists(disk_->Link(Path("a"), Path("b"))));
  ASSERT_TRUE(disk_->Link(Path("a"), Path("c")).ok());
  EXPECT_EQ(disk_->Stat(Path("a"))->links, 2u);
  EXPECT_EQ(disk_->Stat(Path("a"))->inode, disk_->Stat(Path("c"))->inode);
  EXPECT_EQ(disk_->Stat(Path("a"))->mtime_s, 5);
  ASSERT_TRUE(disk_->Rename(Path("b"), Path("a")).ok());
  EXPECT_EQ(disk_->ReadWhole(Path("a")).value(), "two");
  EXPECT_EQ(disk_->ReadWhole(Path("c")).value(), "one");
  EXPECT_EQ(disk_->List(root_).value(), (std::vector<std::string>{"a", "c"}));
  EXPECT_TRUE(absl::IsNotFound(disk_->Rename(Path("b"), Path("d"))));
  EXPECT_TRUE(absl::IsNotFound(disk_->Remove(Path("b"))));
}

TEST_P(DiskTest, ReplaceDurablyOverridesALeftover) {
  ASSERT_TRUE(disk_->CreateWhole(Path("a.new"), "a longer leftover of a crash", 1).ok());
  ASSERT_TRUE(disk_->ReplaceDurably(Path("a"), "new").ok());
  EXPECT_EQ(disk_->ReadWhole(Path("a")).value(), "new");
  EXPECT_EQ(disk_->List(root_).value(), std::vector<std::string>{"a"});
}

TEST_P(DiskTest, DirectoriesAreMadeMovedAndRemovedWhole) {
  ASSERT_TRUE(disk_->MakeDirectories(Path("x/y/z")).ok());
  ASSERT_TRUE(disk_->MakeDirectories(Path("x/y/z")).ok());
  EXPECT_TRUE(disk_->Stat(Path("x/y"))->is_directory);
  ASSERT_TRUE(disk_->CreateWhole(Path("x/y/z/f"), "f", 1).ok());
  EXPECT_FALSE(disk_->Remove(Path("x/y")).ok());
  ASSERT_TRUE(disk_->Rename(Path("x/y"), Path("w")).ok());
  EXPECT_EQ(disk_->ReadWhole(Path("w/z/f")).value(), "f");
  ASSERT_TRUE(disk_->RemoveTree(Path("w")).ok());
  EXPECT_TRUE(disk_->RemoveTree(Path("w")).ok());
  EXPECT_EQ(disk_->List(root_).value(), std::vector<std::string>{"x"});
  EXPECT_TRUE(disk_->SyncDirectory(root_).ok());
  EXPECT_TRUE((*disk_->OpenFileSystem(root_))->Sync().ok());
  EXPECT_GT(disk_->FreeBytes(root_).value(), 0u);
}

TEST(CrashDiskTest, WhatIsNotSyncedMayBeLost) {
  CrashDisk disk;
  auto file = disk.Open("/a", OpenMode::kCreate);
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE((*file)->WriteAt(0, std::string(512, 'x')).ok());
  ASSERT_TRUE((*file)->DataSync().ok());
  ASSERT_TRUE((*file)->WriteAt(0, std::string(1024, 'y')).ok());
  ASSERT_TRUE(disk.Rename("/a", "/b").ok());
  EXPECT_EQ(disk.unsynced().size(), 2u);
  EXPECT_EQ(disk.unsynced()[0].sectors, 2u);
  EXPECT_EQ(disk.ImageOfSynced()->ReadWhole("/a").value(), std::string(512, 'x'));
  EXPECT_EQ(disk.ImageOfAll()->ReadWhole("/b").value(), std::string(1024, 'y'));
  auto torn = disk.Image([](size_t operation, size_t sector) { return operation == 0 && sector == 1; });
  EXPECT_EQ(torn->ReadWhole("/a").value(), std::string(512, 'x') + std::string(512, 'y'));
}

TEST(CrashDiskTest, ANameIsDurableOnlyWithItsDirectory) {
  CrashDisk disk;
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  auto file = disk.Open("/d/a", OpenMode::kCreate);
  ASSERT_TRUE((*file)->WriteAt(0, "x").ok());
  ASSERT_TRUE((*file)->DataSync().ok());
  EXPECT_TRUE(absl::IsNotFound(disk.ImageOfSynced()->Stat("/d/a").status()));
  ASSERT_TRUE(disk.SyncDirectory("/d").ok());
  EXPECT_EQ(disk.ImageOfSynced()->ReadWhole("/d/a").value(), "x");
}

// As Linux does it: the pages are clean afterwards, and only who had the file system open is told, once.
TEST(CrashDiskTest, AFailedSyncOfTheFileSystemLosesAllThatWasPending) {
  CrashDisk disk;
  auto early = disk.OpenFileSystem("/");
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  auto file = disk.Open("/d/a", OpenMode::kCreate);
  ASSERT_TRUE((*file)->WriteAt(0, "x").ok());
  disk.FailAt(disk.operations(), absl::UnavailableError("injected"), false);
  EXPECT_FALSE((*early)->Sync().ok());
  EXPECT_EQ(disk.ReadWhole("/d/a").value(), "x");
  EXPECT_TRUE((*early)->Sync().ok());
  EXPECT_TRUE(absl::IsNotFound(disk.ImageOfAll()->Stat("/d").status()));
  EXPECT_FALSE((*file)->DataSync().ok()) << "what it had written was lost";
}

TEST(CrashDiskTest, WhoHasTheFileSystemOpenIsToldOfOtherSyncsThatFailed) {
  CrashDisk disk;
  auto early = disk.OpenFileSystem("/");
  ASSERT_TRUE(disk.MakeDirectories("/d").ok());
  disk.FailAt(disk.operations(), absl::UnavailableError("injected"), false);
  EXPECT_FALSE(disk.SyncDirectory("/").ok());
  auto late = disk.OpenFileSystem("/");
  EXPECT_FALSE((*early)->Sync().ok());
  EXPECT_TRUE((*early)->Sync().ok());
  EXPECT_TRUE((*late)->Sync().ok());
  EXPECT_TRUE(absl::IsNotFound(disk.ImageOfAll()->Stat("/d").status()));
  // A disk that is only full loses nothing.
  ASSERT_TRUE(disk.MakeDirectories("/e").ok());
  disk.FailAt(disk.operations(), absl::ResourceExhaustedError("injected"), false);
  EXPECT_FALSE(disk.SyncDirectory("/").ok());
  EXPECT_TRUE((*early)->Sync().ok());
  EXPECT_TRUE(disk.ImageOfSynced()->Stat("/e").ok());
}

TEST(CrashDiskTest, AFailedSyncLosesItsWritesForGood) {
  CrashDisk disk;
  auto file = disk.Open("/a", OpenMode::kCreate);
  ASSERT_TRUE(disk.SyncDirectory("/").ok());
  ASSERT_TRUE((*file)->WriteAt(0, "lost").ok());
  disk.FailAt(disk.operations(), absl::UnavailableError("injected"), false);
  EXPECT_FALSE((*file)->DataSync().ok());
  EXPECT_TRUE((*file)->DataSync().ok());
  EXPECT_EQ(disk.ReadWhole("/a").value(), "lost");
  EXPECT_EQ(disk.ImageOfAll()->ReadWhole("/a").value(), "");
}

TEST(CrashDiskTest, AFullDiskRefusesGrowthOnly) {
  CrashDisk disk;
  auto file = disk.Open("/a", OpenMode::kCreate);
  disk.SetCapacity(10);
  ASSERT_TRUE((*file)->WriteAt(0, "0123456789").ok());
  EXPECT_TRUE(absl::IsResourceExhausted((*file)->WriteAt(10, "x")));
  EXPECT_TRUE((*file)->WriteAt(0, "9").ok());
  ASSERT_TRUE(disk.Remove("/a").ok());
  EXPECT_EQ(disk.FreeBytes("/").value(), 10u);
}

}  // namespace
}  // namespace gemel::journal
