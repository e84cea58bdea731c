// Segments that are gone, files that are none, and repairs that meet a full disk.
#include <gtest/gtest.h>

#include <vector>

#include "journal/crash_disk.h"
#include "journal/journal.h"
#include "journal/recovery.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

constexpr char kDirectory[] = "/journal";
const Origin kHere{1, 101};

class LostSegmentsTest : public testing::Test {
 protected:
  static JournalOptions Options(Position durable_floor = 0) {
    JournalOptions options;
    options.directory = kDirectory;
    options.zstd_level = 0;
    options.segment_bytes = 64 * 1024;
    options.frame_bytes_max = 8 * 1024;
    options.durable_floor = durable_floor;
    return options;
  }
  // A frame for each letter.
  void Fill(int letters) {
    auto journal = Journal::Open(disk_, Options(), nullptr).value();
    journal->StartOrigin(kHere, 1);
    for (int i = 0; i < letters; ++i) {
      Record record{.account = {}, .time = 1000, .body = BodyChunk{.bytes = std::string(2000, 'x')}};
      journal->Append({std::move(record)}, {});
      stored_.push_back(journal->CommitOnce(nullptr)->front());
    }
  }
  // All of it comes once more, from a peer that has it.
  void FetchAgain(Journal& journal) {
    for (const Committed& committed : stored_) journal.AppendReceived(committed.frame->shipped);
    while (journal.pending_bytes() > 0) ASSERT_TRUE(journal.CommitOnce(nullptr).ok());
  }
  void Damage(const Committed& frame) {
    const std::string path = SegmentPath(kDirectory, SegmentOf(frame.begin));
    ASSERT_TRUE((*disk_.Open(path, OpenMode::kReadWrite))->WriteAt(OffsetOf(frame.begin) + 200, "damage").ok());
  }
  static size_t FramesOf(Disk& disk, size_t* damage) {
    auto reader = JournalReader::Open(disk, kDirectory, 0).value();
    size_t frames = 0;
    for (auto next = reader->Next(); !next.ok() || next->has_value(); next = reader->Next()) {
      ++(next.ok() ? frames : *damage);
      if (*damage > 10) break;
    }
    return frames;
  }

  CrashDisk disk_;
  std::vector<Committed> stored_;
};

TEST_F(LostSegmentsTest, NeighbouringLostSegmentsAreOneProblem) {
  Fill(240);
  ASSERT_GT(SegmentOf(stored_.back().begin), 5u);
  for (const SegmentNumber number : {2, 3, 4}) ASSERT_TRUE(disk_.Remove(SegmentPath(kDirectory, number)).ok());
  Recovered recovered;
  auto journal = Journal::Open(disk_, Options(), &recovered);
  ASSERT_TRUE(journal.ok()) << journal.status();
  ASSERT_EQ(recovered.problems.size(), 1u);
  EXPECT_EQ(recovered.problems[0],
            "segments 2 to 4: their files are missing; the records in them must come from the peer");
  (*journal)->StartOrigin({1, 102}, 1);
  FetchAgain(**journal);
  ASSERT_TRUE(Journal::Open(disk_, Options(), &recovered).ok());
  EXPECT_TRUE(recovered.problems.empty()) << recovered.problems[0];
  size_t damage = 0;
  EXPECT_EQ(FramesOf(disk_, &damage), stored_.size());
  EXPECT_EQ(damage, 1u) << "the run is stepped over at once";
}

// Neither waits for ever nor takes all memory.
TEST_F(LostSegmentsTest, AStrayFileWithAHighNumberIsRefusedByName) {
  Fill(24);
  for (const SegmentNumber number : {0x7fffffffu, 0xffffffffu}) {
    const auto image = disk_.ImageOfAll();
    ASSERT_TRUE(image->CreateWhole(SegmentPath(kDirectory, number), "not of this journal", 0).ok());
    const absl::Status status = Journal::Open(*image, Options(), nullptr).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find(SegmentPath(kDirectory, number)), std::string::npos) << status;
    // The offline tools step over what is not there.
    size_t damage = 0;
    EXPECT_EQ(FramesOf(*image, &damage), stored_.size());
    EXPECT_LT(damage, 3u);
  }
}

// The disk is full for the second of two repairs: the first one counts, and nothing stays queued for ever.
TEST_F(LostSegmentsTest, ARepairThatMeetsAFullDiskTakesNoOtherAlong) {
  Fill(20);
  for (const size_t victim : {4u, 12u}) Damage(stored_[victim]);
  Recovered recovered;
  auto journal = Journal::Open(disk_, Options(), &recovered);
  ASSERT_TRUE(journal.ok()) << journal.status();
  ASSERT_EQ(recovered.problems.size(), 2u);
  (*journal)->StartOrigin({1, 102}, 1);
  for (const size_t victim : {4u, 12u}) (*journal)->AppendReceived(stored_[victim].frame->shipped);
  disk_.FailAt(disk_.operations() + 2, absl::ResourceExhaustedError("full"), false);  // after a write and its sync
  size_t published = 0;
  int full = 0;
  for (int i = 0; i < 4; ++i) {
    const auto committed = (*journal)->CommitOnce(nullptr);
    if (committed.ok()) published += committed->size();
    full += absl::IsResourceExhausted(committed.status()) ? 1 : 0;
  }
  EXPECT_EQ(full, 1);
  EXPECT_EQ(published, 2u);
  EXPECT_EQ((*journal)->pending_bytes(), 0u);
  ASSERT_TRUE(Journal::Open(disk_, Options(), &recovered).ok());
  EXPECT_TRUE(recovered.problems.empty());
}

TEST_F(LostSegmentsTest, WhatIsMissingBetweenACheckpointAndTheOldestSegmentIsAProblem) {
  Fill(60);
  const Position covered = PositionOf(2, 0);
  for (const Position floor : {stored_[5].end, covered}) {
    const auto image = disk_.ImageOfSynced();
    ASSERT_TRUE(image->Remove(SegmentPath(kDirectory, 1)).ok());
    Recovered recovered;
    ASSERT_TRUE(Journal::Open(*image, Options(floor), &recovered).ok());
    ASSERT_EQ(recovered.problems.size(), floor == covered ? 0u : 1u);
    for (const std::string& problem : recovered.problems) EXPECT_EQ(problem.rfind(PlaceText(floor) + ":", 0), 0u);
  }
}

}  // namespace
}  // namespace gemel::journal
