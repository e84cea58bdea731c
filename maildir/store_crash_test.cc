// Power cuts: the store over a disk that loses any part of what was not synced. Whatever image is left, the journal's
// batches behind the image's checkpoint bring the store to the same state and the same files.
#include "maildir/store_crash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace gemel::maildir {
namespace {

using ::testing::IsEmpty;

#ifdef GEMEL_SANITIZED  // ten times slower
constexpr size_t kImages = 2000;
constexpr uint64_t kFaults = 30;
#else
constexpr size_t kImages = 100'000;
constexpr uint64_t kFaults = 160;
#endif

// GEMEL_DEEP makes it long; GEMEL_CRASH_IMAGES gives another number of images, GEMEL_SEED another first seed.
TEST_F(StoreCrashTest, EveryImageRecovers) {
  const char* wanted = std::getenv("GEMEL_CRASH_IMAGES");
  const char* seed_text = std::getenv("GEMEL_SEED");
  const size_t images_wanted = wanted != nullptr                      ? std::strtoul(wanted, nullptr, 10)
                               : std::getenv("GEMEL_DEEP") != nullptr ? 200'000
                                                                      : kImages;
  uint32_t seed = seed_text == nullptr ? 1 : static_cast<uint32_t>(std::strtoul(seed_text, nullptr, 10));
  size_t images = 0;
  for (; images < images_wanted; ++seed) {
    ASSERT_NO_FATAL_FAILURE(Run(seed, 40, 60));
    for (size_t i = 0; i < crashes_.size(); ++i, ++images) {
      const Again again = i % 2 == 0 ? Again::kAll : Again::kWhatTheIndexLacks;
      ASSERT_EQ(Recover(crashes_[i], again), "") << "GEMEL_SEED=" << seed << " image " << i << " of " << crashes_.size()
                                                 << " after batch " << crashes_[i].batches;
    }
  }
  RecordProperty("images", static_cast<int>(images));
}

// Each operation of a run meets a full disk once: the queue keeps what is left, and the next try goes on. But for the
// sync of a checkpoint: what that has lost only the journal brings back (WhateverFails... below).
TEST_F(StoreCrashTest, EveryFailedOperationIsOvercome) {
  size_t syncs = 0;
  for (uint64_t nth = 0; nth < 160; ++nth) {
    CrashDisk disk;
    SqliteDiskVfs vfs(disk);
    StoreModel model("ann@example.test", 3);
    auto store = Store::Open(disk, OptionsFor(vfs));
    ASSERT_TRUE(store.ok());
    (*store)->Know(model.state.id, model.state.name);
    disk.FailAt(disk.operations() + nth, absl::ResourceExhaustedError("disk full"), false);
    size_t failures = 0;
    bool sync_failed = false;
    for (size_t i = 0; i < 25 && !sync_failed; ++i) {
      model.Step();
      ASSERT_TRUE(model.Send(**store).ok());
      while (true) {
        const auto worked = (*store)->RunOnce(5);
        if (!worked.ok()) ++failures;
        if (worked.ok() && !*worked) break;
        ASSERT_LT(failures, 3u) << worked.status();
      }
      const absl::Status written = i % 6 == 0 ? (*store)->Checkpoint().status() : absl::OkStatus();
      if (written.ok()) continue;
      ++failures;
      sync_failed = absl::IsFailedPrecondition(written);
      const absl::Status again = (*store)->Checkpoint().status();
      ASSERT_EQ(again.ok(), !sync_failed) << nth << ": " << again;
    }
    if (sync_failed) {
      ++syncs;
      continue;
    }
    ASSERT_TRUE((*store)->Checkpoint().ok());
    const auto state = (*store)->Load(model.state.id);
    ASSERT_TRUE(state.ok()) << nth << ": " << state.status();
    ASSERT_EQ(Digest(*state), Digest(model.state)) << nth;
    EXPECT_THAT(*(*store)->Reconcile(model.state, Store::Leftovers::kRemove), IsEmpty()) << nth;
    const auto files = Files(disk, (*store)->AccountDirectory(model.state.id) + "/Maildir");
    EXPECT_EQ(files.size(), model.ExpectedFiles().size()) << nth;
  }
  EXPECT_LE(syncs, 5u) << "one for each checkpoint";
}

// Each operation of a run fails, once or with all after it, syncs among them; then the power fails. What a failed sync
// has lost no later checkpoint claims.
TEST_F(StoreCrashTest, WhateverFailsTheJournalBringsItBack) {
  size_t failed_checkpoints = 0, parked = 0;
  for (uint64_t nth = 0; nth < 2 * kFaults; ++nth) {
    CrashDisk disk;
    SqliteDiskVfs vfs(disk);
    model_ = StoreModel("ann@example.test", 3);
    history_ = {model_.state};
    auto store = Store::Open(disk, OptionsFor(vfs));
    ASSERT_TRUE(store.ok());
    (*store)->Know(model_.state.id, model_.state.name);
    disk.FailAt(disk.operations() + nth / 2, absl::UnavailableError("injected"), /*for_ever=*/nth % 2 == 1);
    bool over = false;
    for (size_t i = 0; i < 25; ++i) {
      model_.Step();
      if (*model_.Send(**store)) history_.push_back(model_.state);
      while ((*store)->RunOnce(5).value_or(false)) {
      }
      if (!(*store)->ParkedAccounts().empty()) ++parked;
      (*store)->RetryParked();
      if (i % 6 != 0) continue;
      const auto info = (*store)->Checkpoint();
      ASSERT_TRUE(!over || absl::IsFailedPrecondition(info.status())) << nth << ": a checkpoint after a failed sync";
      over = over || absl::IsFailedPrecondition(info.status());
    }
    failed_checkpoints += over;
    for (const bool all : {false, true}) {
      Crash crash{.disk = all ? disk.ImageOfAll() : disk.ImageOfSynced(), .batches = model_.log.size()};
      ASSERT_EQ(Recover(crash, Again::kWhatTheIndexLacks), "") << nth;
    }
  }
  EXPECT_GT(failed_checkpoints, 10u);
  EXPECT_GT(parked, 10u);
}

}  // namespace
}  // namespace gemel::maildir
