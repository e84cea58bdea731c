// Damage of every kind to a journal's files: what was committed is there or is reported as missing, never changed.
#include "journal/recovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "journal/crash_disk.h"
#include "journal/journal.h"
#include "journal/segment.h"
#include "journal/segments_disk.h"

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

  JournalOptions Options(Position durable_floor = 0) {
    JournalOptions options = SmallOptions(&random_);
    options.segment_bytes = segment_bytes_;
    options.durable_floor = durable_floor;
    return options;
  }

  // `letters` frames of each origin, in commits of `per_commit` frames of each.
  void Fill(int letters, int per_commit, size_t letter_bytes) {
    auto journal = Journal::Open(disk_, Options(), nullptr);
    ASSERT_TRUE(journal.ok()) << journal.status();
    (*journal)->StartOrigin(kHere, 1);
    auto there = Journal::Open(peer_disk_, Options(), nullptr);
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
  // All that the peer has and a journal on `disk` lacks goes to it. `each`: after each commit.
  void FetchFromPeer(Journal& journal, const std::function<void()>& each) {
    auto peer = Journal::Open(peer_disk_, Options(), nullptr);
    auto cursor = ShipCursor::Make(peer_disk_, **peer, kDirectory, journal.held(), {});
    for (auto frames = cursor->Next(1 << 20); !frames->empty(); frames = cursor->Next(1 << 20)) {
      for (const Committed& committed : *frames) journal.AppendReceived(committed.frame->shipped);
    }
    std::vector<absl::Status> rejected;
    while (journal.pending_bytes() > 0) {
      ASSERT_TRUE(journal.CommitOnce(&rejected).ok());
      if (each) each();
    }
    for (const absl::Status& status : rejected) ADD_FAILURE() << status;
    EXPECT_TRUE(journal.held().Covers((*peer)->held()));
  }
  // Each origin's frames in their order and whole, whatever lies where.
  void ExpectAllInOrder(Disk& disk) {
    auto reader = JournalReader::Open(disk, kDirectory, 0);
    std::map<Origin, std::vector<std::string>> got, expected;
    while (true) {
      auto next = (*reader)->Next();
      if (absl::IsDataLoss(next.status())) continue;
      ASSERT_TRUE(next.ok()) << next.status();
      if (!*next) break;
      got[(*next)->frame->origin].push_back((*next)->frame->shipped);
    }
    for (const Stored& stored : stored_) expected[stored.origin].push_back(stored.shipped);
    EXPECT_TRUE((*reader)->missing().empty());
    for (const auto& [origin, frames] : expected) EXPECT_TRUE(got[origin] == frames) << origin.node;
  }
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
  uint64_t segment_bytes_ = 64 * 1024;
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
  EXPECT_TRUE(recovered.problems.empty()) << recovered.problems[0];
  ExpectAllInOrder(disk_);
}

// What was fetched again counts as held when it is on the disk, not before: here it takes several segments.
TEST_F(DamageTest, WhatIsFetchedAgainIsHeldWhenItIsDurable) {
  Fill(112, 2, 2000);
  ASSERT_TRUE(disk_.Remove(SegmentPath(kDirectory, 2)).ok());
  auto journal = Journal::Open(disk_, Options(), nullptr);
  ASSERT_TRUE(journal.ok()) << journal.status();
  (*journal)->StartOrigin({1, 102}, 1);
  int commits = 0;
  FetchFromPeer(**journal, [&] {
    ++commits;
    const VectorClock held = (*journal)->held();
    const auto crashed = disk_.ImageOfSynced();
    Recovered recovered;
    ASSERT_TRUE(Journal::Open(*crashed, Options(), &recovered).ok());
    EXPECT_EQ(recovered.held, held);
  });
  EXPECT_GT(commits, 1);
}

// A frame took the place of a longer one, which went to the end: what is left of both places is no problem.
TEST_F(DamageTest, AHoleWhoseRecordsAreElsewhereIsNoProblem) {
  auto here = Journal::Open(disk_, Options(), nullptr).value();
  auto there = Journal::Open(peer_disk_, Options(), nullptr).value();
  here->StartOrigin(kHere, 1);
  there->StartOrigin(kThere, 1);
  const auto store = [&](Journal& from, const std::string& text) {
    from.Append({Chunk(text)}, {});
    const std::string shipped = from.CommitOnce(nullptr)->front().frame->shipped;
    Journal& to = &from == here.get() ? *there : *here;
    to.AppendReceived(shipped);
    ASSERT_TRUE(to.CommitOnce(nullptr).ok());
  };
  store(*here, "first");
  store(*there, "first");
  const Position long_one = here->end();
  store(*there, std::string(500, 't'));
  store(*there, "third");
  const Position short_one = here->end();
  store(*here, "second");
  store(*here, "third");
  here.reset();
  Write(1, OffsetOf(long_one), "damage");  // no envelope tells what was there
  Write(1, OffsetOf(short_one), "damage");

  Recovered recovered;
  here = Journal::Open(disk_, Options(), &recovered).value();
  EXPECT_EQ(recovered.problems.size(), 2u);
  EXPECT_EQ(recovered.missing.size(), 2u);
  here->StartOrigin({1, 102}, 1);
  std::vector<std::string> lost;  // the short one first
  auto cursor = ShipCursor::Make(peer_disk_, *there, kDirectory, recovered.held, {});
  const std::vector<Committed> shipped = cursor->Next(1 << 20).value();
  for (const Committed& each : shipped) lost.push_back(each.frame->shipped);
  for (auto each = lost.rbegin(); each != lost.rend(); ++each) {
    if (each->find("second") != std::string::npos) here->AppendReceived(*each);
  }
  for (const std::string& each : lost) here->AppendReceived(each);
  while (here->pending_bytes() > 0) ASSERT_TRUE(here->CommitOnce(nullptr).ok());
  const VectorClock held = here->held();
  EXPECT_TRUE(held.Covers(there->held()));
  here = Journal::Open(disk_, Options(), &recovered).value();
  EXPECT_EQ(recovered.held, held);
  EXPECT_TRUE(recovered.missing.empty());
  EXPECT_TRUE(recovered.problems.empty()) << recovered.problems[0];
  auto reader = JournalReader::Open(disk_, kDirectory, 0);
  Seq seq = 0;
  size_t places = 0;
  while (true) {
    auto next = (*reader)->Next();
    if (absl::IsDataLoss(next.status()) && ++places < 10) continue;
    ASSERT_TRUE(next.ok()) << next.status();
    if (!*next) break;
    if ((*next)->frame->origin != kThere) continue;
    EXPECT_EQ((*next)->frame->first_seq, ++seq);
  }
  EXPECT_EQ(seq, 3u);
  EXPECT_EQ(places, 2u);
  EXPECT_TRUE((*reader)->missing().empty());
}

// A checkpoint knows that the newest batch was durable: what goes bad there is damage, and no torn tail.
TEST_F(DamageTest, WhatACheckpointCoversIsNoTornTail) {
  Fill(12, 1, 900);
  const Position end = stored_.back().end;
  for (const uint64_t at : {uint64_t{0}, uint64_t{200}}) {  // no envelope; an envelope, and a bad frame
    SCOPED_TRACE(at);
    const auto image = disk_.ImageOfSynced();
    const Position place = stored_[stored_.size() - 2].begin;
    ASSERT_TRUE(
        (*image->Open(SegmentPath(kDirectory, 1), OpenMode::kReadWrite))->WriteAt(OffsetOf(place) + at, "damage").ok());
    Recovered recovered;
    ASSERT_TRUE(Journal::Open(*image->ImageOfAll(), Options(), &recovered).ok());
    EXPECT_EQ(recovered.end, place) << "nobody knows better";
    auto journal = Journal::Open(*image, Options(end), &recovered);
    ASSERT_TRUE(journal.ok()) << journal.status();
    ASSERT_FALSE(recovered.problems.empty());
    EXPECT_EQ(recovered.problems[0].rfind(PlaceText(place) + ":", 0), 0u) << recovered.problems[0];
    EXPECT_EQ(recovered.cut_bytes, 0u);
    EXPECT_EQ(recovered.end, end);
    (*journal)->StartOrigin({1, 102}, 1);
    (*journal)->Append({Chunk("new")}, {});
    EXPECT_EQ((*journal)->CommitOnce(nullptr)->front().begin, end) << "no position is used again";
    FetchFromPeer(**journal, nullptr);
    EXPECT_EQ((*journal)->held().Get(kHere), stored_[stored_.size() - 2].last);
    ExpectAllInOrder(*image);
  }
}

TEST_F(DamageTest, NoPositionBelowACheckpointIsUsedAgainWhenSegmentsAreGone) {
  Fill(60, 1, 2000);
  const Position end = stored_.back().end;
  ASSERT_GT(SegmentOf(end), 3u);
  for (const SegmentNumber first_gone : {SegmentOf(end), SegmentNumber{1}}) {
    SCOPED_TRACE(first_gone);
    const auto image = disk_.ImageOfSynced();
    for (SegmentNumber number = first_gone; number <= SegmentOf(end); ++number) {
      ASSERT_TRUE(image->Remove(SegmentPath(kDirectory, number)).ok());
    }
    std::unique_ptr<Journal> journal;
    for (int start = 0; start < 2; ++start) {
      Recovered recovered;
      journal = Journal::Open(*image, Options(end), &recovered).value();
      EXPECT_GT(recovered.end, end);
      // What lies before it is known to be lost as long as any of it is there.
      EXPECT_EQ(recovered.problems.size(), first_gone > 1 || start == 0 ? 1u : 0u);
    }
    journal->StartOrigin({1, 102}, 1);
    FetchFromPeer(*journal, nullptr);
  }
}

TEST_F(DamageTest, WhatIsWholeBehindACutIsNamed) {
  Fill(12, 3, 900);  // six frames in the last batch
  const size_t first = stored_.size() - 6;
  Write(1, OffsetOf(stored_[first + 1].begin) + 200, "damage");
  Recovered recovered;
  ASSERT_TRUE(Journal::Open(disk_, Options(), &recovered).ok());
  EXPECT_EQ(recovered.end, stored_[first + 1].begin);
  EXPECT_GT(recovered.cut_bytes, 0u);
  ASSERT_EQ(recovered.cut_records.size(), 2u);
  EXPECT_EQ(recovered.cut_records[0], (Recovered::Missing{kHere, stored_[first + 2].first, stored_[first + 4].last}));
  EXPECT_EQ(recovered.cut_records[1].origin, kThere);
}

// Every bit (under a sanitizer one of each byte) of a whole segment.
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

TEST_F(DamageTest, EachFlippedBitIsHarmlessOrReportedWithItsPlace) {
  Fill(12, 1, 2400);
  ASSERT_EQ(SegmentOf(stored_.back().begin), 1u);
  const std::string segment = Bytes(1);
  const uint64_t first = OffsetOf(stored_.front().begin);
  const uint64_t last_batch = OffsetOf(stored_[stored_.size() - 2].begin);
  std::string bytes;
  SegmentsDisk disk({&bytes});
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

TEST_F(DamageTest, EachFlippedBitOfASealedSegmentIsHarmlessOrReportedAndFetchedAgain) {
  segment_bytes_ = 8 * 1024;
  Fill(12, 1, 400);
  const SegmentNumber segments = SegmentOf(stored_.back().begin);
  ASSERT_GT(segments, 1u);
  ASSERT_LT(segments, 10u);
  std::string flipped;
  std::vector<std::string> rest(segments);
  std::vector<const std::string*> all{&flipped};
  for (SegmentNumber number = 2; number <= segments; ++number) {
    rest[number - 1] = Bytes(number);
    all.push_back(&rest[number - 1]);
  }
  const std::string segment = Bytes(1);
  const uint64_t first = OffsetOf(stored_.front().begin);
  SegmentsDisk disk(all);
  size_t fetched = 0;
  FlipBits(
      "sealed segment", segment,
      [&](size_t bit) {
        const uint64_t at = bit / 8;
        Recovery recovery;
        const size_t taken = CheckFrames(disk, &recovery);
        const auto hit = std::find_if(stored_.begin(), stored_.end(), [&](const Stored& s) {
          return SegmentOf(s.begin) == 1 && at >= OffsetOf(s.begin) &&
                 at < OffsetOf(s.begin) + kEnvelopeBytes + s.shipped.size();
        });
        EXPECT_EQ(recovery.cut_bytes, 0u);
        if (hit == stored_.end()) {  // header, padding, or the unused rest
          EXPECT_EQ(taken, stored_.size());
          EXPECT_EQ(recovery.problems.empty(), at >= first);
          return;
        }
        EXPECT_EQ(taken, stored_.size() - 1);
        ASSERT_EQ(recovery.problems.size(), 1u);
        EXPECT_EQ(recovery.problems[0].rfind(PlaceText(hit->begin) + ":", 0), 0u) << recovery.problems[0];
        if (bit % 331 != 0) return;
        // From the peer it comes back to its place, byte for byte.
        ++fetched;
        const auto image = disk_.ImageOfSynced();
        ASSERT_TRUE(
            (*image->Open(SegmentPath(kDirectory, 1), OpenMode::kReadWrite))->WriteAt(at, flipped.substr(at, 1)).ok());
        auto journal = Journal::Open(*image, Options(), nullptr);
        ASSERT_TRUE(journal.ok()) << journal.status();
        (*journal)->StartOrigin({1, 102}, 1);
        FetchFromPeer(**journal, nullptr);
        const std::string mended = image->ReadWhole(SegmentPath(kDirectory, 1)).value();
        EXPECT_EQ(mended.substr(OffsetOf(hit->begin) + kEnvelopeBytes, hit->shipped.size()), hit->shipped);
        ExpectAllInOrder(*image);
      },
      &flipped);
  EXPECT_GT(fetched, 10u);
}

TEST_F(DamageTest, EachTruncationEndsTheJournalBeforeIt) {
  Fill(30, 1, 900);
  const std::string segment = Bytes(1);
  std::string bytes;
  SegmentsDisk disk({&bytes});
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
  SegmentsDisk disk({&bytes});
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
