// What a node does when its store cannot write: one account's directory is bad, the disk is full at the start, a sync
// has failed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/test_lone_node.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::kAnn;
using testing::Look;
using ::testing::SizeIs;
using testing::Started;

constexpr char kBob[] = "bob@example.test";
constexpr char kAnnsMaildir[] = "/data/accounts/example.test/ann/Maildir";

// Nothing below `bad` can be opened, listed or changed; `fail_sync`: the file system cannot be synced.
class BadDisk : public journal::CrashDisk {
 public:
  absl::StatusOr<std::unique_ptr<journal::File>> Open(const std::string& path, journal::OpenMode mode) override {
    if (absl::Status s = Check(path); !s.ok()) return s;
    return CrashDisk::Open(path, mode);
  }
  absl::Status MakeDirectories(const std::string& path) override {
    if (absl::Status s = Check(path); !s.ok()) return s;
    return CrashDisk::MakeDirectories(path);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (absl::Status s = Check(to); !s.ok()) return s;
    return CrashDisk::Rename(from, to);
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    if (absl::Status s = Check(path); !s.ok()) return s;
    return CrashDisk::List(path);
  }
  std::string bad;

 private:
  absl::Status Check(const std::string& path) const {
    if (bad.empty() || !path.starts_with(bad)) return absl::OkStatus();
    return absl::UnavailableError(path + ": permission denied");
  }
};

class NodeStoreFaultTest : public ::testing::Test {
 protected:
  void Start() {
    run_.reset();
    run_ = std::make_unique<Started>(disk_, ++seed_);
    ASSERT_TRUE(run_->status.ok()) << run_->status;
  }
  void AddAccount(const char* name) {
    std::optional<absl::Status> added;
    run_->node().AddAccount(name, "{X}x", 0, [&](absl::Status status) { added = status; });
    ASSERT_TRUE(run_->pair.RunUntil([&] { return added.has_value(); }));
    ASSERT_TRUE(added->ok()) << *added;
    run_->pair.loop.RunFor(600);
  }
  absl::Status Deliver(const char* name, const std::string& text) {
    auto targets = run_->node().LookUpRecipient(name);
    if (!targets.ok()) return targets.status();
    auto delivery = run_->node().BeginDelivery(Via::kLmtp, "x@example.org");
    delivery->Write(text);
    std::optional<absl::Status> status;
    delivery->Finish({{name, targets->front(), ""}}, [&](auto all) { status = all; });
    EXPECT_TRUE(run_->pair.RunUntil([&] { return status.has_value(); }));
    return status.value_or(absl::DeadlineExceededError("no answer"));
  }
  size_t Letters(const char* name) {
    auto session = run_->Open(name);
    return session == nullptr ? 0 : session->state().FindName("INBOX")->messages.size();
  }
  std::string Problems() {
    std::string all;
    for (const Problem& problem : run_->node().Status().problems) all += problem.what + "\n";
    return all;
  }
  size_t FilesOf(const char* local) {
    return disk_.List("/data/accounts/example.test/" + std::string(local) + "/Maildir/new")->size();
  }

  BadDisk disk_;
  std::unique_ptr<Started> run_;
  uint64_t seed_ = 0;
};

TEST_F(NodeStoreFaultTest, OneAccountsBadDirectoryStopsNeitherTheOthersNorAStart) {
  Start();
  AddAccount(kAnn);
  AddAccount(kBob);
  ASSERT_TRUE(Deliver(kAnn, "\nfirst\n").ok());
  run_->pair.loop.RunFor(2000);
  const uint64_t checkpoint = run_->node().Status().checkpoint_position;
  disk_.bad = std::string(kAnnsMaildir) + "/new";
  ASSERT_TRUE(Deliver(kAnn, "\nsecond\n").ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Deliver(kBob, "\nto bob\n").ok());
    run_->pair.loop.RunFor(1500);
  }
  EXPECT_EQ(FilesOf("bob"), 3u);
  EXPECT_THAT(Problems(), HasSubstr("mail of ann@example.test cannot be written to its Maildir"));
  EXPECT_THAT(Problems(), HasSubstr("permission denied"));
  EXPECT_GE(run_->node().Status().checkpoint_position, checkpoint);
  EXPECT_EQ(Letters(kAnn), 2u);

  Start();
  EXPECT_EQ(Letters(kBob), 3u);
  ASSERT_TRUE(Deliver(kBob, "\nto bob\n").ok());
  run_->pair.loop.RunFor(3000);
  EXPECT_EQ(FilesOf("bob"), 4u);
  EXPECT_THAT(Problems(), HasSubstr("ann@example.test"));

  disk_.bad.clear();
  run_->pair.loop.RunFor(5000);
  EXPECT_THAT(Problems(), IsEmpty());
  EXPECT_EQ(Letters(kAnn), 2u);
  EXPECT_EQ(FilesOf("ann"), 2u);
  const NodeStatus status = run_->node().Status();
  EXPECT_EQ(status.store_backlog_items, 0u);
  EXPECT_GT(status.checkpoint_position, checkpoint);
  for (const auto& [guid, text] : Look(*run_).bodies) EXPECT_THAT(text, HasSubstr("\n"));
}

TEST_F(NodeStoreFaultTest, MuchMailForABadDirectoryIsRefusedAndOtherMailIsNot) {
  Start();
  AddAccount(kAnn);
  AddAccount(kBob);
  disk_.bad = std::string(kAnnsMaildir) + "/new";
  const std::string large = "\n" + std::string(4 << 20, 'x') + "\n";
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    status = Deliver(kAnn, large);
    run_->pair.loop.RunFor(1500);
  }
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_TRUE(Deliver(kBob, "\nto bob\n").ok());
  disk_.bad.clear();
  run_->pair.loop.RunFor(3000);
  EXPECT_TRUE(Deliver(kAnn, large).ok());
  EXPECT_THAT(Problems(), IsEmpty());
}

TEST_F(NodeStoreFaultTest, ANodeThatStartsOnAFullDiskServesReads) {
  Start();
  AddAccount(kAnn);
  ASSERT_TRUE(Deliver(kAnn, "\nfirst\n").ok());
  run_->pair.loop.RunFor(2000);
  ASSERT_TRUE(Deliver(kAnn, "\nafter the checkpoint\n").ok());
  run_.reset();
  disk_.SetCapacity(0);
  run_ = std::make_unique<Started>(disk_, ++seed_);
  ASSERT_TRUE(run_->status.ok()) << run_->status;
  run_->pair.loop.RunFor(2000);
  EXPECT_THAT(Look(*run_).bodies, SizeIs(2));
  EXPECT_THAT(Problems(), HasSubstr("the disk is full"));
  run_->pair.loop.RunFor(200'000);
  EXPECT_THAT(Look(*run_).bodies, SizeIs(2)) << "it left memory and cannot be loaded";
  disk_.SetCapacity(1 << 30);
  run_->pair.loop.RunFor(5000);
  EXPECT_THAT(Problems(), IsEmpty());
  EXPECT_TRUE(Deliver(kAnn, "\nthird\n").ok());
  run_->pair.loop.RunFor(2000);
  EXPECT_EQ(FilesOf("ann"), 3u);
}

// The index has the record, so that it is not applied again; its file has other bytes.
TEST_F(NodeStoreFaultTest, FilesThatNoCheckpointCoversAreComparedAtTheStart) {
  Start();
  AddAccount(kAnn);
  run_->pair.loop.RunFor(2000);
  ASSERT_TRUE(Deliver(kAnn, "\nsome letter\n").ok());
  run_->pair.loop.RunFor(100);
  // The rows go into the index, and no checkpoint comes.
  for (int i = 0; i < 70; ++i) ASSERT_TRUE(Deliver(kAnn, "\nanother\n").ok());
  std::unique_ptr<journal::CrashDisk> image = disk_.ImageOfAll();
  run_.reset();
  const std::string maildir = std::string(kAnnsMaildir) + "/new/";
  std::string path;
  const std::vector<std::string> names = *image->List(maildir);
  for (const std::string& name : names) {
    if (image->ReadWhole(maildir + name)->find("some letter") != std::string::npos) path = maildir + name;
  }
  ASSERT_FALSE(path.empty());
  ASSERT_TRUE((*image->Open(path, journal::OpenMode::kReadWrite))->WriteAt(1, "SOME").ok());
  Started after(*image, ++seed_);
  ASSERT_TRUE(after.status.ok()) << after.status;
  EXPECT_THAT(*image->ReadWhole(path), HasSubstr("some letter"));
}

TEST_F(NodeStoreFaultTest, UidlistsAreWrittenAsAccountsLeaveMemoryAndAtTheEnd) {
  Start();
  AddAccount(kAnn);
  AddAccount(kBob);
  ASSERT_TRUE(Deliver(kAnn, "\nfirst\n").ok());
  run_->pair.loop.RunFor(120'000);
  const std::string ann = std::string(kAnnsMaildir) + "/dovecot-uidlist";
  const std::string bob = "/data/accounts/example.test/bob/Maildir/dovecot-uidlist";
  EXPECT_THAT(disk_.ReadWhole(ann).value_or(""), HasSubstr("\n1 G"));
  ASSERT_TRUE(Deliver(kAnn, "\nsecond\n").ok());
  ASSERT_TRUE(Deliver(kBob, "\nfirst\n").ok());
  run_->pair.loop.RunFor(1000);
  bool stopped = false;
  run_->node().Stop(1000, [&] { stopped = true; });
  ASSERT_TRUE(run_->pair.RunUntil([&] { return stopped; }));
  auto synced = disk_.ImageOfSynced();
  EXPECT_THAT(synced->ReadWhole(ann).value_or(""), HasSubstr("\n2 G"));
  EXPECT_THAT(synced->ReadWhole(bob).value_or(""), HasSubstr("\n1 G"));
}

}  // namespace
}  // namespace gemel::engine
