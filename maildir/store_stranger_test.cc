// Files that a person brought back from a replay have names of ours: they are letters again where no message has them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class StoreStrangerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk_->RemoveTree(root_).ok());
    Open();
    inbox_ = model_.Create("INBOX");
    box_ = model_.Create("Box");
    SendAndCheckpoint();
  }
  ~StoreStrangerTest() override {
    store_.reset();
    disk_->RemoveTree(root_).IgnoreError();
  }
  void Open() {
    store_.reset();
    StoreOptions options;
    options.root = root_;
    auto store = Store::Open(*disk_, options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    store_->Know(model_.state.id, model_.state.name);
  }
  void Work() {
    for (;;) {
      const auto worked = store_->RunOnce(100);
      ASSERT_TRUE(worked.ok()) << worked.status();
      if (!*worked) return;
    }
  }
  void SendAndCheckpoint() {
    ASSERT_TRUE(model_.Send(*store_).ok());
    Work();
    ASSERT_TRUE(store_->Checkpoint().ok());
  }
  std::string Maildir() const { return store_->AccountDirectory(model_.state.id) + "/Maildir"; }
  std::string BaseOfUid(Uid uid) const { return MaildirBaseName(*model_.state.Find(inbox_)->Find(uid)); }
  std::vector<Stranger> Find() {
    const auto strangers = store_->FindStrangers(model_.state.id);
    EXPECT_TRUE(strangers.ok()) << strangers.status();
    return strangers.ok() ? *strangers : std::vector<Stranger>();
  }
  bool MayHave() { return *store_->MayHaveStrangers(model_.state.id); }
  // As `cp -p` out of a replay.
  void Copy(const std::string& path) { ASSERT_TRUE(disk_->CreateWhole(path, "Return-Path: <a@b>\nx\n", 1234).ok()); }

  const std::string root_ = ::testing::TempDir() + "/store_stranger_test_" + std::to_string(getpid());
  const std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  StoreModel model_{"ann@example.test"};
  std::unique_ptr<Store> store_;
  MailboxId inbox_, box_;
};

TEST_F(StoreStrangerTest, OurUnreadMailIsNone) {
  for (int i = 0; i < 5; ++i) model_.Deliver(inbox_, "x\n");
  ASSERT_TRUE(model_.Send(*store_).ok());
  Work();
  EXPECT_FALSE(MayHave());  // rows that wait
  EXPECT_THAT(Find(), IsEmpty());
  ASSERT_TRUE(store_->Checkpoint().ok());
  EXPECT_FALSE(MayHave());
  Open();
  EXPECT_FALSE(MayHave());
  EXPECT_THAT(Find(), IsEmpty());
}

TEST_F(StoreStrangerTest, AnExpungedLetterThatCameBackIsOne) {
  const Uid uid = model_.Deliver(inbox_, "x\n");
  const std::string base = BaseOfUid(uid);
  const int64_t date_s = model_.state.Find(inbox_)->Find(uid)->internal_date_s;
  model_.Deliver(inbox_, "another\n");
  SendAndCheckpoint();
  EXPECT_THAT(Find(), IsEmpty());
  model_.Expunge(inbox_, uid);
  SendAndCheckpoint();
  EXPECT_FALSE(MayHave());
  // In new/ of another folder, and in cur/ of its own.
  Copy(Maildir() + "/.Box/new/" + base);
  EXPECT_TRUE(MayHave());
  std::vector<Stranger> strangers = Find();
  ASSERT_THAT(strangers, SizeIs(1));
  EXPECT_EQ(strangers[0].mailbox, box_);
  EXPECT_EQ(strangers[0].mtime_s, date_s);
  EXPECT_THAT(Find(), SizeIs(1)) << "until it is gone";
  ASSERT_TRUE(store_->RemoveStranger(strangers[0]).ok());
  EXPECT_THAT(Find(), IsEmpty());
  Copy(Maildir() + "/cur/" + base + ":2,FS");
  strangers = Find();
  ASSERT_THAT(strangers, SizeIs(1));
  EXPECT_EQ(strangers[0].flags, journal::kFlagged | journal::kSeen);
}

TEST_F(StoreStrangerTest, OneThatCameWhileTheNodeWasDownIsFound) {
  const Uid uid = model_.Deliver(inbox_, "x\n");
  const std::string base = BaseOfUid(uid);
  SendAndCheckpoint();
  model_.Expunge(inbox_, uid);
  SendAndCheckpoint();
  Copy(Maildir() + "/new/" + base);
  Open();
  EXPECT_TRUE(MayHave());
  EXPECT_THAT(Find(), SizeIs(1));
}

// It would come back as a new letter once the other is deleted.
TEST_F(StoreStrangerTest, ASecondCopyOfALivingLetterGoes) {
  const Uid uid = model_.Deliver(inbox_, "x\n", journal::kSeen);
  const std::string base = BaseOfUid(uid);
  SendAndCheckpoint();
  Copy(Maildir() + "/.Box/new/" + base);
  EXPECT_TRUE(MayHave());
  EXPECT_THAT(Find(), IsEmpty());
  EXPECT_FALSE(disk_->Stat(Maildir() + "/.Box/new/" + base).ok());
  EXPECT_TRUE(disk_->Stat(Maildir() + "/cur/" + base + ":2,S").ok());
  EXPECT_FALSE(MayHave());
  // Renamed by another program it is the only one.
  ASSERT_TRUE(disk_->Rename(Maildir() + "/cur/" + base + ":2,S", Maildir() + "/.Box/cur/" + base + ":2,").ok());
  EXPECT_THAT(Find(), IsEmpty());
  EXPECT_TRUE(disk_->Stat(Maildir() + "/.Box/cur/" + base + ":2,").ok());
}

// After a crash files are there before their messages.
TEST_F(StoreStrangerTest, WhatAQueuedOperationWillMakeIsNone) {
  model_.Deliver(inbox_, "x\n");
  const std::string base = BaseOfUid(model_.state.Find(inbox_)->messages[0].uid);
  Copy(Maildir() + "/new/" + base);
  ASSERT_TRUE(model_.Send(*store_).ok());
  EXPECT_FALSE(MayHave());
  EXPECT_THAT(Find(), IsEmpty());
  Work();
  EXPECT_FALSE(MayHave());
  EXPECT_THAT(Find(), IsEmpty());
}

TEST_F(StoreStrangerTest, WhatWaitsToBeMovedToExpungedIsNone) {
  const Uid uid = model_.Deliver(inbox_, "x\n");
  SendAndCheckpoint();
  model_.Expunge(inbox_, uid);
  ASSERT_TRUE(model_.Send(*store_).ok());
  Work();
  EXPECT_THAT(Find(), IsEmpty());  // its row is there
  ASSERT_TRUE(store_->Load(model_.state.id).ok());
  EXPECT_THAT(Find(), IsEmpty());  // its row is gone, its file not
  EXPECT_THAT(*disk_->List(Maildir() + "/new"), SizeIs(1));
}

}  // namespace
}  // namespace gemel::maildir
