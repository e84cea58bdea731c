#include "maildir/store_thread.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "journal/crash_disk.h"
#include "maildir/sqlite_disk_vfs.h"
#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

class StoreThreadTest : public testing::Test {
 protected:
  StoreThreadTest() {
    auto store = Store::Open(disk_, {.root = "/s", .sqlite_vfs = vfs_.name()});
    store_ = *std::move(store);
    store_->Know(model_.state.id, model_.state.name);
  }
  journal::CrashDisk disk_;
  SqliteDiskVfs vfs_{disk_};
  StoreModel model_{"ann@example.test"};
  std::unique_ptr<Store> store_;
};

TEST_F(StoreThreadTest, WorksOffAndWritesTheCheckpointThatIsAskedFor) {
  std::promise<CheckpointInfo> written;
  StoreThread thread(*store_, {.checkpoint_interval_ms = 0,
                               .on_checkpoint = [&](const CheckpointInfo& info) { written.set_value(info); }});
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "x\n");
  ASSERT_TRUE(model_.Send(*store_).ok());
  thread.Wake();
  while (store_->backlog_items() > 0) std::this_thread::yield();
  thread.RequestCheckpoint();
  EXPECT_EQ(written.get_future().get().position, 1u);
}

TEST_F(StoreThreadTest, StopDrains) {
  StoreThread thread(*store_, {.checkpoint_interval_ms = 0});
  const MailboxId inbox = model_.Create("INBOX");
  for (int i = 0; i < 500; ++i) {
    model_.Deliver(inbox, "x\n");
    ASSERT_TRUE(model_.Send(*store_).ok());
  }
  const auto info = thread.Stop();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->position, 500u);
  EXPECT_EQ(info->applied, model_.state.applied);
  EXPECT_FALSE(thread.Stop().ok());
}

TEST_F(StoreThreadTest, AFullDiskIsReportedAndOvercome) {
  std::promise<absl::Status> reported;
  std::atomic<bool> first = true;
  StoreThread thread(*store_, {.checkpoint_interval_ms = 0,
                               .retry_ms = 1,
                               .on_error = [&](const absl::Status& status) {
                                 if (first.exchange(false)) reported.set_value(status);
                               }});
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "x\n");
  disk_.FailAt(disk_.operations(), absl::ResourceExhaustedError("disk full"), true);
  ASSERT_TRUE(model_.Send(*store_).ok());
  thread.Wake();
  EXPECT_TRUE(absl::IsResourceExhausted(reported.get_future().get()));
  EXPECT_GT(store_->backlog_items(), 0u);
  disk_.FailAt(0, absl::OkStatus(), false);
  while (store_->backlog_items() > 0) std::this_thread::yield();
  EXPECT_TRUE(thread.Stop().ok());
  const auto loaded = store_->Load(model_.state.id);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(Digest(*loaded), Digest(model_.state));
}

// Readers beside the store's thread: what is loaded is always a whole batch.
TEST_F(StoreThreadTest, LoadingBesideItSeesWholeBatches) {
  StoreThread thread(*store_, {.checkpoint_interval_ms = 1});
  const MailboxId inbox = model_.Create("INBOX");
  for (int i = 0; i < 200; ++i) {
    const Uid uid = model_.Deliver(inbox, "x\n");
    if (i % 3 == 0) model_.SetFlags(inbox, uid, journal::kSeen);
    ASSERT_TRUE(model_.Send(*store_).ok());
    thread.Wake();
    const auto body = store_->OpenBody(model_.state.id, inbox, *model_.state.Find(inbox)->Find(uid));
    ASSERT_TRUE(body.ok()) << body.status();
    if (i % 10 == 0) {
      const auto loaded = store_->Load(model_.state.id);
      ASSERT_TRUE(loaded.ok()) << loaded.status();
      ASSERT_EQ(Digest(*loaded), Digest(model_.state));
    }
  }
  EXPECT_TRUE(thread.Stop().ok());
}

}  // namespace
}  // namespace gemel::maildir
