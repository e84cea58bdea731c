// How far a checkpoint goes.
#include <gtest/gtest.h>

#include "journal/crash_disk.h"
#include "maildir/store.h"

namespace gemel::maildir {
namespace {

TEST(StoreCheckpointTest, DoesNotGoBeyondItsLimit) {
  journal::CrashDisk disk;
  ASSERT_TRUE(disk.MakeDirectories("/s").ok());
  auto store = Store::Open(disk, {.root = "/s"});
  ASSERT_TRUE(store.ok()) << store.status();
  const auto reach = [&store](journal::Position position, journal::Seq seq) {
    journal::VectorClock applied;
    applied.Raise({1, 1}, seq);
    (*store)->Enqueue(
        {.items = {}, .applied = std::make_shared<const journal::VectorClock>(applied), .position = position});
    return CheckpointInfo{position, applied};
  };
  const CheckpointInfo first = reach(100, 1);
  const CheckpointInfo second = reach(100, 2);  // its record lies behind one that waits
  const CheckpointInfo third = reach(200, 3);
  for (const CheckpointInfo& limit : {first, second, third}) {
    const auto info = (*store)->Checkpoint(limit);
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->position, limit.position);
    EXPECT_EQ(info->applied, limit.applied);
  }
  CheckpointInfo beyond = third;
  beyond.position = 300;
  beyond.applied.Raise({1, 1}, 4);
  const auto info = (*store)->Checkpoint(beyond);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->position, third.position);
  EXPECT_EQ(info->applied, third.applied);
}

}  // namespace
}  // namespace gemel::maildir
