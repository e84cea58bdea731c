// What others do to the store's files: what they drop that is no letter, and an index that they hold.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "maildir/store.h"
#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// How long SQLite would have slept, waiting for a database that somebody holds: here it does not.
int64_t g_sqlite_waits_us = 0;

void CountSqliteWaits() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs counting = *sqlite3_vfs_find(nullptr);
    counting.zName = "counting";
    counting.xSleep = [](sqlite3_vfs*, int microseconds) {
      g_sqlite_waits_us += microseconds;
      return microseconds;
    };
    return counting;
  }();
  sqlite3_vfs_register(&vfs, 1);
  g_sqlite_waits_us = 0;
}

class StoreDisturbedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CountSqliteWaits();
    ASSERT_TRUE(disk_->RemoveTree(root_).ok());
    StoreOptions options;
    options.root = root_;
    auto store = Store::Open(*disk_, options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    store_->Know(model_.state.id, model_.state.name);
    inbox_ = model_.Create("INBOX");
    ASSERT_TRUE(model_.Send(*store_).ok());
    ASSERT_TRUE(Settle().ok());
  }
  ~StoreDisturbedTest() override {
    store_.reset();
    disk_->RemoveTree(root_).IgnoreError();
  }
  absl::Status Settle() {
    for (;;) {
      const auto worked = store_->RunOnce(100);
      if (!worked.ok()) return worked.status();
      if (!*worked) return store_->Checkpoint().status();
    }
  }
  std::string AccountDir() const { return store_->AccountDirectory(model_.state.id); }

  const std::string root_ = ::testing::TempDir() + "/store_disturbed_test_" + std::to_string(getpid());
  const std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  StoreModel model_{"ann@example.test"};
  std::unique_ptr<Store> store_;
  MailboxId inbox_;
};

TEST_F(StoreDisturbedTest, WhatIsNoLetterIsNotOpened) {
  const std::string maildir = AccountDir() + "/Maildir/";
  ASSERT_EQ(mkfifo((maildir + "new/fifo").c_str(), 0600), 0);
  ASSERT_EQ(symlink("/etc/passwd", (maildir + "new/link").c_str()), 0);
  ASSERT_EQ(symlink((maildir + "new/fifo").c_str(), (maildir + "cur/link").c_str()), 0);
  ASSERT_TRUE(disk_->CreateWhole(maildir + "new/empty", "", 1234).ok());
  EXPECT_THAT(*store_->FindStrangers(model_.state.id), IsEmpty());
  ASSERT_TRUE(disk_->CreateWhole(maildir + "new/letter", "a: b\n\n", 1234).ok());
  const auto strangers = store_->FindStrangers(model_.state.id);
  ASSERT_TRUE(strangers.ok()) << strangers.status();
  ASSERT_THAT(*strangers, SizeIs(1));
  // It becomes a FIFO before it is read.
  ASSERT_TRUE(disk_->Remove(maildir + "new/letter").ok());
  ASSERT_EQ(mkfifo((maildir + "new/letter").c_str(), 0600), 0);
  EXPECT_FALSE(store_->ReadStranger(strangers->front(), 0, 100).ok());
}

// The store's lane serves all accounts: it does not wait for one of them.
TEST_F(StoreDisturbedTest, AnIndexThatSomebodyHoldsIsWrittenLater) {
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((AccountDir() + "/index.sqlite").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(other);
  model_.Deliver(inbox_, "hello\n");
  ASSERT_TRUE(model_.Send(*store_).ok());
  const auto before = store_->last_checkpoint().position;
  EXPECT_TRUE(Settle().ok());
  EXPECT_EQ(store_->ParkedAccounts().size(), 1u);
  EXPECT_EQ(store_->last_checkpoint().position, before);
  EXPECT_GT(g_sqlite_waits_us, 0);
  EXPECT_LT(g_sqlite_waits_us, 1'000'000);
  ASSERT_EQ(sqlite3_exec(other, "ROLLBACK", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  store_->RetryParked();
  EXPECT_TRUE(Settle().ok());
  EXPECT_THAT(store_->ParkedAccounts(), IsEmpty());
  EXPECT_GT(store_->last_checkpoint().position, before);
  const auto loaded = store_->Load(model_.state.id);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Digest(*loaded), Digest(model_.state));
}

}  // namespace
}  // namespace gemel::maildir
