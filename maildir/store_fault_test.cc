// Disks that fail in one place or at one moment: one account's trouble stays its own, a failed sync ends the
// checkpoints, and no directory goes before a sync has covered what left it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "journal/crash_disk.h"
#include "journal/log.h"
#include "maildir/sqlite_disk_vfs.h"
#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Nothing below `bad` can be opened, listed or changed: as if it were root's. Names and links are bounded as ext4's
// are.
class BadPlaceDisk : public journal::CrashDisk {
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
  absl::Status Link(const std::string& from, const std::string& to) override {
    const auto file = Stat(from);
    if (file.ok() && file->links >= links_max) return absl::OutOfRangeError("too many links");
    return CrashDisk::Link(from, to);
  }
  absl::StatusOr<journal::FileInfo> Stat(const std::string& path) override {
    if (path.size() - path.rfind('/') > 256) return absl::UnavailableError("file name too long");
    return CrashDisk::Stat(path);
  }
  absl::StatusOr<std::unique_ptr<journal::FileSystem>> OpenFileSystem(const std::string& path) override {
    auto real = CrashDisk::OpenFileSystem(path);
    if (!real.ok()) return real.status();
    return std::make_unique<FailingFileSystem>(*this, *std::move(real));
  }
  std::string bad;
  absl::Status fail_sync;
  uint64_t links_max = 65'000;

 private:
  class FailingFileSystem : public journal::FileSystem {
   public:
    FailingFileSystem(BadPlaceDisk& disk, std::unique_ptr<FileSystem> real) : disk_(disk), real_(std::move(real)) {}
    absl::Status Sync() override {
      if (!disk_.fail_sync.ok()) disk_.FailAt(disk_.operations(), disk_.fail_sync, /*for_ever=*/false);
      return real_->Sync();
    }

   private:
    BadPlaceDisk& disk_;
    const std::unique_ptr<FileSystem> real_;
  };

  absl::Status Check(const std::string& path) const {
    if (bad.empty() || !path.starts_with(bad)) return absl::OkStatus();
    return absl::UnavailableError(path + ": permission denied");
  }
};

class StoreFaultTest : public ::testing::Test {
 protected:
  StoreFaultTest() {
    journal::SetLogLevel(journal::LogLevel::kOff);
    Open();
  }
  ~StoreFaultTest() override { journal::SetLogLevel(journal::LogLevel::kInfo); }

  void Open(StoreOptions options = {}) {
    store_.reset();
    options.root = "/s";
    options.sqlite_vfs = vfs_.name();
    auto store = Store::Open(disk_, options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    for (const StoreModel* model : {&ann_, &bob_}) store_->Know(model->state.id, model->state.name);
  }
  void Work() {
    for (;;) {
      const auto worked = store_->RunOnce(100);
      ASSERT_TRUE(worked.ok()) << worked.status();
      if (!*worked) return;
    }
  }
  void Send(StoreModel& model) {
    ASSERT_TRUE(model.Send(*store_).ok());
    Work();
  }
  void Checkpoint() {
    const auto info = store_->Checkpoint();
    ASSERT_TRUE(info.ok()) << info.status();
  }
  // Path -> content, of all that lies below cur/ and new/.
  std::map<std::string, std::string> Files(const StoreModel& model) {
    std::map<std::string, std::string> files;
    const std::string maildir = store_->AccountDirectory(model.state.id) + "/Maildir/";
    std::vector<std::string> folders{""};
    const std::vector<std::string> all = *disk_.List(maildir);
    for (const std::string& name : all) {
      if (name[0] == '.') folders.push_back(name + "/");
    }
    for (const std::string& folder : folders) {
      for (const std::string part : {"new/", "cur/"}) {
        const std::vector<std::string> names = *disk_.List(maildir + folder + part);
        for (const std::string& name : names) {
          files[folder + part + name] = *disk_.ReadWhole(maildir + folder + part + name);
        }
      }
    }
    return files;
  }

  BadPlaceDisk disk_;
  SqliteDiskVfs vfs_{disk_};
  StoreModel ann_{"ann@example.test"}, bob_{"bob@example.test"};
  std::unique_ptr<Store> store_;
};

TEST_F(StoreFaultTest, AnAccountThatCannotBeWrittenStopsNobodyElse) {
  const MailboxId ann = ann_.Create("INBOX");
  const MailboxId bob = bob_.Create("INBOX");
  Send(ann_);
  Send(bob_);
  Checkpoint();
  ASSERT_EQ(store_->last_checkpoint().position, 1u);
  disk_.bad = store_->AccountDirectory(ann_.state.id) + "/Maildir/new";
  for (int i = 0; i < 3; ++i) {
    ann_.Deliver(ann, "to ann\n");
    bob_.Deliver(bob, "to bob\n");
    Send(ann_);
    Send(bob_);
    store_->RetryParked();
    Checkpoint();
    EXPECT_EQ(store_->last_checkpoint().position, 1u) << "it passed what ann lacks";
  }
  ASSERT_THAT(store_->ParkedAccounts(), SizeIs(1));
  const Store::Parked parked = store_->ParkedAccounts().front();
  EXPECT_EQ(parked.account, ann_.state.id);
  EXPECT_THAT(std::string(parked.why.message()), HasSubstr("permission denied"));
  EXPECT_GT(parked.backlog_bytes, 100u);
  EXPECT_EQ(parked.backlog_items, store_->backlog_items());
  EXPECT_EQ(Files(bob_), bob_.ExpectedFiles());
  disk_.bad.clear();
  store_->RetryParked();
  EXPECT_THAT(store_->ParkedAccounts(), IsEmpty());
  EXPECT_EQ(store_->backlog_items(), 0u);
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
  Checkpoint();
  EXPECT_EQ(store_->last_checkpoint().position, 4u);
}

TEST_F(StoreFaultTest, AnIndexThatCannotBeWrittenHoldsTheCheckpointOnly) {
  const MailboxId ann = ann_.Create("INBOX");
  const MailboxId bob = bob_.Create("INBOX");
  Send(ann_);
  Send(bob_);
  Checkpoint();
  Open();
  disk_.bad = store_->AccountDirectory(ann_.state.id) + "/index.sqlite";
  ann_.Deliver(ann, "to ann\n");
  bob_.Deliver(bob, "to bob\n");
  Send(ann_);
  Send(bob_);
  Checkpoint();
  EXPECT_EQ(store_->last_checkpoint().position, 1u);
  EXPECT_THAT(store_->ParkedAccounts(), SizeIs(1));
  EXPECT_EQ(Digest(*store_->Load(bob_.state.id)), Digest(bob_.state));
  disk_.bad.clear();
  store_->RetryParked();
  Checkpoint();
  EXPECT_EQ(store_->last_checkpoint().position, 2u);
  EXPECT_EQ(Digest(*store_->Load(ann_.state.id)), Digest(ann_.state));
}

// What a parked account lacks is one batch for the position, however many came behind it.
TEST_F(StoreFaultTest, TheQueueForgetsWhatIsDoneBehindAParkedAccount) {
  const MailboxId ann = ann_.Create("INBOX");
  bob_.Create("INBOX");
  Send(ann_);
  Send(bob_);
  disk_.bad = store_->AccountDirectory(ann_.state.id) + "/Maildir/new";
  ann_.Deliver(ann, "to ann\n");
  Send(ann_);
  const size_t items = store_->backlog_items();
  for (int i = 0; i < 50; ++i) {
    bob_.Subscribe(std::to_string(i));
    Send(bob_);
  }
  EXPECT_EQ(store_->backlog_items(), items);
  disk_.bad.clear();
  store_->RetryParked();
  Checkpoint();
  EXPECT_EQ(store_->last_checkpoint().position, bob_.log.back().position);
}

TEST_F(StoreFaultTest, AFailedSyncEndsTheCheckpointsUntilTheStoreIsOpenedAnew) {
  const MailboxId ann = ann_.Create("INBOX");
  Send(ann_);
  Checkpoint();
  ann_.Deliver(ann, "one\n");
  Send(ann_);
  for (const absl::Status& why : {absl::ResourceExhaustedError("injected: full"),  // pages that are lost all the same
                                  absl::UnavailableError("injected: input/output error")}) {
    const journal::Position before = store_->last_checkpoint().position;
    disk_.fail_sync = why;
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Checkpoint().status()));
    disk_.fail_sync = absl::OkStatus();
    EXPECT_TRUE(absl::IsFailedPrecondition(store_->Checkpoint().status()));
    EXPECT_EQ(store_->last_checkpoint().position, before);
    Open();
    EXPECT_EQ(store_->last_checkpoint().position, before);
    ann_.Replay(*store_);
    Work();
    Checkpoint();
    EXPECT_EQ(store_->last_checkpoint().position, before + 1);
    ann_.Deliver(ann, "two\n");
    Send(ann_);
  }
  Work();
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
}

// Two sets of keywords, so that the letters of the second depend on the first.
TEST_F(StoreFaultTest, ADroppedMailboxWithKeywordsLeavesNothingBehind) {
  ann_.Create("INBOX");
  const MailboxId box = ann_.Create("Box");
  ann_.Deliver(box, "one\n", 0, {"b", "a"});
  ann_.Deliver(box, "two\n", journal::kSeen, {"$Forwarded", "a"});
  Send(ann_);
  Checkpoint();
  ASSERT_EQ(Files(ann_), ann_.ExpectedFiles());
  ann_.Drop(box);
  Send(ann_);
  Checkpoint();
  const std::string directory = store_->AccountDirectory(ann_.state.id);
  EXPECT_TRUE(absl::IsNotFound(disk_.Stat(directory + "/Maildir/.Box").status()));
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
  const auto days = *disk_.List(directory + "/expunged");
  ASSERT_THAT(days, SizeIs(1));
  EXPECT_THAT(*disk_.List(directory + "/expunged/" + days[0]), SizeIs(2));
}

TEST_F(StoreFaultTest, AFolderOfTheLongestNameGoesAsideToo) {
  const std::string name(254, 'x');
  ann_.Create("INBOX");
  ann_.Deliver(ann_.Create(name), "one\n");
  Send(ann_);
  for (int i = 0; i < 2; ++i) {  // before the next checkpoint removes the directory
    ann_.Drop(ann_.state.FindName(name)->id);
    ann_.Deliver(ann_.Create(name), "two\n");
    Send(ann_);
  }
  Checkpoint();
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
}

TEST_F(StoreFaultTest, ACopyOfWhatHasAsManyNamesAsThereMayBeIsAFileOfItsOwn) {
  disk_.links_max = 3;
  const MailboxId inbox = ann_.Create("INBOX"), box = ann_.Create("Box");
  const Uid uid = ann_.Deliver(inbox, std::string(600'000, 'x') + "\n");
  for (int i = 0; i < 7; ++i) ann_.Copy(inbox, uid, box);
  Send(ann_);
  Checkpoint();
  EXPECT_THAT(store_->ParkedAccounts(), IsEmpty());
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
  ann_.Replay(*store_);
  Work();
  Checkpoint();
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
}

// As `cp -a .Sent .Sent-restored` leaves it.
TEST_F(StoreFaultTest, ACopiedFolderDoesNotTakeThePlaceOfItsOriginal) {
  ann_.Create("INBOX");
  const MailboxId sent = ann_.Create("Sent");
  ann_.Deliver(sent, "one\n");
  Send(ann_);
  Checkpoint();
  const std::string maildir = store_->AccountDirectory(ann_.state.id) + "/Maildir/";
  const std::string aside = store_->AccountDirectory(ann_.state.id) + "/aside/.Sent-0";
  for (const std::string& copy : {maildir + ".Sent-restored", aside}) {
    for (const char* part : {"/cur", "/new"}) ASSERT_TRUE(disk_.MakeDirectories(copy + part).ok());
    ASSERT_TRUE(disk_.CreateWhole(copy + "/gemel-mailbox", sent.hex() + "\n", 0).ok());
  }
  for (int start = 0; start < 2; ++start) {
    Open();
    ann_.Deliver(sent, "more\n");
    Send(ann_);
    Checkpoint();
    EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
  }
  EXPECT_TRUE(disk_.Stat(maildir + ".Sent/gemel-mailbox").ok());
}

TEST_F(StoreFaultTest, AnExpungedFileThatSomebodyHasRenamedGoesToo) {
  const MailboxId inbox = ann_.Create("INBOX");
  const Uid uid = ann_.Deliver(inbox, "one\n");
  Send(ann_);
  Checkpoint();
  const std::string maildir = store_->AccountDirectory(ann_.state.id) + "/Maildir/";
  const std::string base = MaildirBaseName(*ann_.state.Find(inbox)->Find(uid));
  ASSERT_TRUE(disk_.Rename(maildir + "new/" + base, maildir + "cur/" + base + ":2,S").ok());
  ann_.Expunge(inbox, uid);
  Send(ann_);
  Checkpoint();
  EXPECT_THAT(Files(ann_), IsEmpty());
}

// A mailbox that was dropped and flushed while the sync ran is not covered by it.
TEST_F(StoreFaultTest, ADirectoryStaysUntilTheNextSync) {
  const MailboxId inbox = ann_.Create("INBOX");
  const MailboxId box = ann_.Create("Box");
  const Uid uid = ann_.Deliver(box, "moved out of it\n");
  Send(ann_);
  Checkpoint();
  ann_.Deliver(inbox, "another\n");
  Send(ann_);
  bool dropped = false;
  disk_.SetObserver([&](const std::string& what) {
    if (dropped || what.find("/checkpoint.new") == std::string::npos) return;
    dropped = true;  // between syncfs and the removal of directories
    ann_.Move(box, uid, inbox);
    ann_.Drop(box);
    Send(ann_);
    ASSERT_TRUE(store_->WriteDovecotFiles(ann_.state).ok());
  });
  Checkpoint();
  disk_.SetObserver(nullptr);
  ASSERT_TRUE(dropped);
  const std::string directory = store_->AccountDirectory(ann_.state.id) + "/Maildir/.Box";
  EXPECT_TRUE(disk_.Stat(directory).ok());
  Checkpoint();
  EXPECT_FALSE(disk_.Stat(directory).ok());
  EXPECT_EQ(Files(ann_), ann_.ExpectedFiles());
}

TEST_F(StoreFaultTest, StructuresThatWaitForTheirIndexAreBounded) {
  Open({.structure_bytes_max = 1000});
  const MailboxId inbox = ann_.Create("INBOX");
  std::vector<Guid> guids;
  for (int i = 0; i < 3; ++i) {
    guids.push_back(ann_.state.Find(inbox)->Find(ann_.Deliver(inbox, "x\n"))->guid);
  }
  Send(ann_);
  for (const Guid& guid : guids) store_->CacheStructure(ann_.state.id, guid, std::string(400, 's'));
  EXPECT_TRUE(store_->CachedStructure(ann_.state.id, guids[1]).has_value());
  EXPECT_FALSE(store_->CachedStructure(ann_.state.id, guids[2]).has_value());
  Checkpoint();
  store_->CacheStructure(ann_.state.id, guids[2], std::string(400, 's'));
  for (const Guid& guid : guids) EXPECT_TRUE(store_->CachedStructure(ann_.state.id, guid).has_value());
}

}  // namespace
}  // namespace gemel::maildir
