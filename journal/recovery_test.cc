// Damage of every kind to a journal's files: what was committed is there or is reported as missing, never changed.
#include "journal/recovery.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "journal/crash_disk.h"
#include "journal/journal.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

constexpr char kDirectory[] = "/journal";
const Origin kHere{1, 101};
const Origin kThere{2, 201};

class FixedRandom : public Random {
 public:
  void Fill(void* out, size_t bytes) override {
    for (size_t i = 0; i < bytes; ++i) static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(0x5a + i + ++calls_);
  }

 private:
  uint8_t calls_ = 0;
};

JournalOptions SmallOptions(Random* random) {
  JournalOptions options;
  options.directory = kDirectory;
  options.zstd_level = 0;
  options.segment_bytes = 64 * 1024;
  options.frame_bytes_max = 8 * 1024;
  options.random = random;
  return options;
}

Record Chunk(std::string bytes) { return {.account = {}, .time = 1000, .body = BodyChunk{.bytes = std::move(bytes)}}; }

TEST(RecoveryTableTest, EachInputFitsExactlyOneRowAndEachRowIsReached) {
  std::set<std::string> reached;
  for (int at = 0; at <= static_cast<int>(AtPlace::kConflicts); ++at) {
    for (int bits = 0; bits < 8; ++bits) {
      const RecoveryInput input{static_cast<AtPlace>(at), (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
      int rows = 0;
      for (const RecoveryRow& row : RecoveryTable()) {
        const bool fits = row.at == input.at &&
                          row.known_durable.value_or(input.known_durable) == input.known_durable &&
                          row.hole_before.value_or(input.hole_before) == input.hole_before &&
                          row.more_behind.value_or(input.more_behind) == input.more_behind;
        if (!fits) continue;
        ++rows;
        reached.insert(row.name);
        EXPECT_EQ(Decide(input).name, row.name);
        // What is known to have been durable is never cut.
        if (input.known_durable) {
          EXPECT_NE(row.action, RecoveryAction::kCut);
          EXPECT_NE(row.action, RecoveryAction::kEnd);
        }
      }
      EXPECT_EQ(rows, 1) << at << " " << bits;
    }
  }
  EXPECT_EQ(reached.size(), RecoveryTable().size());
}

// A journal with two origins' frames over several segments, and what it says.
class DamageTest : public testing::Test {
 protected:
  struct Stored {
    Position begin = 0;
    Position end = 0;
    std::string shipped;
    Origin origin;
    Seq first = 0;
    Seq last = 0;
  };

  // `letters` frames of each origin, in commits of `per_commit` frames of each.
  void Fill(int letters, int per_commit, size_t letter_bytes) {
    auto journal = Journal::Open(disk_, SmallOptions(&random_), nullptr);
    ASSERT_TRUE(journal.ok()) << journal.status();
    (*journal)->StartOrigin(kHere, 1);
    auto there = Journal::Open(peer_disk_, SmallOptions(&random_), nullptr);
    (*there)->StartOrigin(kThere, 1);
    for (int i = 0; i < letters; i += per_commit) {
      std::vector<std::string> theirs;
      for (int k = 0; k < per_commit; ++k) {
        (*there)->Append({Chunk("theirs" + std::to_string(i) + std::string(letter_bytes, 't'))}, {});
        theirs.push_back((*there)->CommitOnce(nullptr)->front().frame->shipped);
      }
      for (int k = 0; k < per_commit; ++k) {
        (*journal)->Append({Chunk("ours" + std::to_string(i + k) + std::string(letter_bytes, 'o')), Chunk("second")},
                           {});
        (*journal)->AppendReceived(theirs[static_cast<size_t>(k)]);
      }
      while ((*journal)->pending_bytes() > 0) {
        const std::vector<Committed> batch = (*journal)->CommitOnce(nullptr).value();
        for (const Committed& committed : batch) {
          (*there)->AppendReceived(committed.frame->shipped);
          stored_.push_back({committed.begin, committed.end, committed.frame->shipped, committed.frame->origin,
                             committed.frame->first_seq, committed.frame->last_seq()});
        }
      }
      while ((*there)->pending_bytes() > 0) ASSERT_TRUE((*there)->CommitOnce(nullptr).ok());
    }
  }

  std::string Bytes(SegmentNumber number) { return disk_.ReadWhole(SegmentPath(kDirectory, number)).value(); }
  void Write(SegmentNumber number, uint64_t offset, std::string_view bytes) {
    ASSERT_TRUE((*disk_.Open(SegmentPath(kDirectory, number), OpenMode::kReadWrite))->WriteAt(offset, bytes).ok());
  }

  // Every frame that the scan takes is one that was written, at its place. Returns how many.
  size_t CheckFrames(Disk& disk, Recovery* recovery) {
    size_t taken = 0;
    if (by_place_.empty()) {
      for (const Stored& stored : stored_) by_place_[stored.begin] = &stored;
    }
    absl::StatusOr<Recovery> result =
        Recover(disk, kDirectory, [&](Position begin, Position end, const FrameHeader& header) {
          const auto it = by_place_.find(begin);
          ASSERT_NE(it, by_place_.end()) << "a frame that never was at " << PlaceText(begin);
          EXPECT_EQ(end, it->second->end);
          EXPECT_EQ(header.origin, it->second->origin);
          EXPECT_EQ(header.first_seq, it->second->first);
          EXPECT_EQ(header.last_seq(), it->second->last);
          ++taken;
        });
    EXPECT_TRUE(result.ok()) << result.status();
    if (result.ok()) *recovery = *std::move(result);
    return taken;
  }

  CrashDisk disk_, peer_disk_;
  FixedRandom random_;
  std::vector<Stored> stored_;
  std::map<Position, const Stored*> by_place_;
};

TEST_F(DamageTest, ADamagedFrameIsReportedAndFetchedAgainInPlace) {
  Fill(60, 2, 2000);
  const std::string before = Bytes(1);
  const size_t victims[] = {3, 4, 5, 9};  // neighbours of both origins, and a single one
  for (size_t i : victims) Write(1, OffsetOf(stored_[i].begin) + 200, "damage");
  Recovery recovery;
  EXPECT_EQ(CheckFrames(disk_, &recovery), stored_.size() - 4);
  EXPECT_EQ(recovery.problems.size(), 4u);
  EXPECT_EQ(recovery.holes.size(), 2u);
  EXPECT_EQ(recovery.cut_bytes, 0u);

  Recovered recovered;
  auto journal = Journal::Open(disk_, SmallOptions(&random_), &recovered);
  ASSERT_TRUE(journal.ok());
  (*journal)->StartOrigin({1, 102}, 1);
  EXPECT_FALSE(recovered.missing.empty());
  Seq first_lost_here = UINT64_MAX, first_lost_there = UINT64_MAX;
  for (size_t i : victims) {
    Seq& first = stored_[i].origin == kHere ? first_lost_here : first_lost_there;
    first = std::min(first, stored_[i].first);
  }
  EXPECT_EQ(recovered.held.Get(kHere), first_lost_here - 1);
  EXPECT_EQ(recovered.held.Get(kThere), first_lost_there - 1);
  // New mail goes on meanwhile, and the peer ships all that we say we lack.
  (*journal)->Append({Chunk("new")}, {});
  ASSERT_TRUE((*journal)->CommitOnce(nullptr).ok());
  auto peer = Journal::Open(peer_disk_, SmallOptions(&random_), nullptr);
  auto cursor = ShipCursor::Make(peer_disk_, **peer, kDirectory, recovered.held, {});
  while (true) {
    auto frames = cursor->Next(1 << 20);
    ASSERT_TRUE(frames.ok()) << frames.status();
    if (frames->empty()) break;
    for (const Committed& committed : *frames) (*journal)->AppendReceived(committed.frame->shipped);
  }
  std::vector<absl::Status> rejected;
  while ((*journal)->pending_bytes() > 0) ASSERT_TRUE((*journal)->CommitOnce(&rejected).ok());
  for (const absl::Status& status : rejected) ADD_FAILURE() << status;
  EXPECT_EQ((*journal)->held().Get(kHere), stored_[stored_.size() - 2].last);
  const std::string after = Bytes(1);
  for (const Stored& stored : stored_) {
    if (SegmentOf(stored.begin) != 1) break;
    // Neighbours of two origins may have changed places within their hole; their sum is the same.
    if (stored.begin >= stored_[3].begin && stored.begin < stored_[6].begin) continue;
    EXPECT_EQ(after.substr(OffsetOf(stored.begin) + kEnvelopeBytes, stored.shipped.size()),
              before.substr(OffsetOf(stored.begin) + kEnvelopeBytes, stored.shipped.size()));
  }
  auto reader = JournalReader::Open(disk_, kDirectory, 0);
  size_t frames = 0;
  while (true) {
    auto next = (*reader)->Next();
    ASSERT_TRUE(next.ok()) << next.status();
    if (!*next) break;
    ++frames;
  }
  EXPECT_EQ(frames, stored_.size() + 1);
}

TEST_F(DamageTest, ALostSegmentIsReportedAndFetchedAgain) {
  Fill(120, 2, 2000);
  ASSERT_GT(SegmentOf(stored_.back().begin), 3u);
  ASSERT_TRUE(disk_.Remove(SegmentPath(kDirectory, 2)).ok());
  Recovered recovered;
  auto journal = Journal::Open(disk_, SmallOptions(&random_), &recovered);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(recovered.problems.size(), 1u);
  EXPECT_EQ(recovered.missing.size(), 2u);
  (*journal)->StartOrigin({1, 102}, 1);
  auto peer = Journal::Open(peer_disk_, SmallOptions(&random_), nullptr);
  auto cursor = ShipCursor::Make(peer_disk_, **peer, kDirectory, recovered.held, {});
  for (auto frames = cursor->Next(1 << 20); frames.ok() && !frames->empty(); frames = cursor->Next(1 << 20)) {
    for (const Committed& committed : *frames) (*journal)->AppendReceived(committed.frame->shipped);
    while ((*journal)->pending_bytes() > 0) ASSERT_TRUE((*journal)->CommitOnce(nullptr).ok());
  }
  const VectorClock held = (*peer)->held();
  EXPECT_TRUE((*journal)->held().Covers(held));
  // And again after a restart.
  journal = Journal::Open(disk_, SmallOptions(&random_), &recovered);
  ASSERT_TRUE(journal.ok());
  EXPECT_TRUE(recovered.held.Covers(held));
  EXPECT_TRUE(recovered.missing.empty());
}

// Every bit (under a sanitizer one of each byte) of a whole segment, as the last one and as one before it.
void FlipBits(std::string_view name, std::string segment, const std::function<void(size_t bit)>& check,
              std::string* target) {
#ifdef GEMEL_SANITIZED         // ten times slower
  constexpr size_t kStep = 9;  // each byte, all eight bits in turn
#else
  constexpr size_t kStep = 1;
#endif
  for (size_t bit = 0; bit < segment.size() * 8 && !testing::Test::HasFailure(); bit += kStep) {
    SCOPED_TRACE(std::string(name) + " bit " + std::to_string(bit));
    *target = segment;
    (*target)[bit / 8] = static_cast<char>((*target)[bit / 8] ^ (1 << (bit % 8)));
    check(bit);
  }
}

// One segment in memory, so that half a million scans are quick.
class OneSegmentDisk : public Disk {
 public:
  explicit OneSegmentDisk(const std::string* bytes) : bytes_(bytes) {}
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string&, OpenMode) override {
    return std::make_unique<Bytes>(bytes_);
  }
  absl::Status MakeDirectories(const std::string&) override { return Unused(); }
  absl::Status Rename(const std::string&, const std::string&) override { return Unused(); }
  absl::Status Link(const std::string&, const std::string&) override { return Unused(); }
  absl::Status Remove(const std::string&) override { return Unused(); }
  absl::Status RemoveTree(const std::string&) override { return Unused(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override {
    return std::vector<std::string>{"segment-00000001"};
  }
  absl::StatusOr<FileInfo> Stat(const std::string&) override { return Unused(); }
  absl::Status SetModified(const std::string&, int64_t) override { return Unused(); }
  absl::Status SyncDirectory(const std::string&) override { return Unused(); }
  absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string&) override { return Unused(); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string&) override { return Unused(); }

 private:
  class Bytes : public File {
   public:
    explicit Bytes(const std::string* bytes) : bytes_(bytes) {}
    absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
      return offset >= bytes_->size() ? size_t{0} : bytes_->copy(out, bytes, offset);
    }
    absl::Status WriteAt(uint64_t, std::string_view) override { return Unused(); }
    absl::Status DataSync() override { return Unused(); }
    absl::Status Truncate(uint64_t) override { return Unused(); }
    absl::StatusOr<uint64_t> Size() override { return bytes_->size(); }

   private:
    const std::string* bytes_;
  };
  static absl::Status Unused() { return absl::UnavailableError("not in this test"); }
  const std::string* bytes_;
};

TEST_F(DamageTest, EachFlippedBitIsHarmlessOrReportedWithItsPlace) {
  Fill(12, 1, 2400);
  ASSERT_EQ(SegmentOf(stored_.back().begin), 1u);
  const std::string segment = Bytes(1);
  const uint64_t first = OffsetOf(stored_.front().begin);
  const uint64_t last_batch = OffsetOf(stored_[stored_.size() - 2].begin);
  std::string bytes;
  OneSegmentDisk disk(&bytes);
  FlipBits(
      "last segment", segment,
      [&](size_t bit) {
        const uint64_t at = bit / 8;
        Recovery recovery;
        const size_t taken = CheckFrames(disk, &recovery);
        const auto hit = std::find_if(stored_.begin(), stored_.end(), [&](const Stored& s) {
          return at >= OffsetOf(s.begin) && at < OffsetOf(s.begin) + kEnvelopeBytes + s.shipped.size();
        });
        if (hit == stored_.end()) {  // header, padding, or the unused rest
          EXPECT_EQ(taken, stored_.size());
          EXPECT_EQ(recovery.problems.empty(), at >= first);
        } else if (at < last_batch) {
          EXPECT_EQ(taken, stored_.size() - 1);
          ASSERT_EQ(recovery.problems.size(), 1u);
          EXPECT_EQ(recovery.problems[0].rfind(PlaceText(hit->begin) + ":", 0), 0u) << recovery.problems[0];
        } else {  // of the newest batch nothing proves that it was synced: a torn tail
          EXPECT_EQ(taken, static_cast<size_t>(hit - stored_.begin()));
          EXPECT_EQ(recovery.end, hit->begin);
          EXPECT_TRUE(recovery.problems.empty());
        }
      },
      &bytes);
}

TEST_F(DamageTest, EachTruncationEndsTheJournalBeforeIt) {
  Fill(30, 1, 900);
  const std::string segment = Bytes(1);
  std::string bytes;
  OneSegmentDisk disk(&bytes);
  for (size_t size = OffsetOf(stored_.front().begin); size < segment.size(); size += 7) {
    bytes = segment.substr(0, size);
    Recovery recovery;
    const size_t taken = CheckFrames(disk, &recovery);
    size_t whole = 0;
    while (whole < stored_.size() &&
           OffsetOf(stored_[whole].begin) + kEnvelopeBytes + stored_[whole].shipped.size() <= size) {
      ++whole;
    }
    EXPECT_EQ(taken, whole) << size;
  }
}

TEST_F(DamageTest, SectorsOfOneFrameOverAnotherAreFound) {
  Fill(30, 1, 900);
  const std::string segment = Bytes(1);
  const uint64_t used = OffsetOf(stored_.back().end) / 512;
  std::string bytes;
  OneSegmentDisk disk(&bytes);
  for (uint64_t to = 2; to < used; ++to) {
    for (uint64_t from = 2; from < used; from += 5) {
      if (from == to) continue;
      bytes = segment;
      bytes.replace(to * 512, 512, segment, from * 512, 512);
      Recovery recovery;
      CheckFrames(disk, &recovery);
      ASSERT_FALSE(HasFailure()) << from << " over " << to;
    }
  }
}

// Frames of a segment's earlier life, whole and with good checksums, at every boundary behind the end.
TEST_F(DamageTest, StaleFramesOfARecycledSegmentAreNeverTaken) {
  Fill(92, 1, 1500);
  const std::string old = Bytes(1);
  auto journal = Journal::Open(disk_, SmallOptions(&random_), nullptr);
  ASSERT_TRUE((*journal)->Retire((*journal)->end()).ok());
  const std::string last_name = SegmentPath(kDirectory, SegmentOf((*journal)->end()));
  const std::string last = disk_.ReadWhole(last_name).value();
  const SegmentNumber number = SegmentOf((*journal)->end());
  const Position end = (*journal)->end();
  journal->reset();
  size_t boundaries = 0;
  for (const Stored& stored : stored_) {
    if (SegmentOf(stored.begin) == number) {
      // The journal as it was when this frame was the next to come, with the old file's bytes from there on.
      const uint64_t cut = OffsetOf(stored.begin);
      std::string bytes = last.substr(0, cut);
      bytes += old.substr(cut);
      auto file = disk_.Open(last_name, OpenMode::kReadWrite);
      ASSERT_TRUE((*file)->WriteAt(0, bytes).ok());
      Recovery recovery;
      CheckFrames(disk_, &recovery);
      EXPECT_EQ(recovery.end, stored.begin);
      EXPECT_TRUE(recovery.problems.empty());
      EXPECT_EQ(recovery.cut_bytes, 0u);
      // A stale frame put exactly where the next one goes.
      for (const Stored& stale : stored_) {
        if (SegmentOf(stale.begin) != 1 || OffsetOf(stale.end) > old.size()) continue;
        const uint64_t stale_bytes = stale.end - stale.begin;
        if (cut + stale_bytes > bytes.size()) continue;
        ASSERT_TRUE((*file)->WriteAt(cut, old.substr(OffsetOf(stale.begin), stale_bytes)).ok());
        Recovery again;
        CheckFrames(disk_, &again);
        EXPECT_EQ(again.end, stored.begin);
        ++boundaries;
        if (boundaries % 7 != 0) break;  // all of them at every seventh boundary
      }
    }
  }
  EXPECT_GT(boundaries, 10u);
  EXPECT_GT(end, 0u);
}

}  // namespace
}  // namespace gemel::journal
