#include "journal/journal.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <condition_variable>
#include <cstring>
#include <mutex>

#include "journal/crash_disk.h"
#include "journal/frame.h"
#include "journal/record_samples.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

constexpr char kDirectory[] = "/journal";
constexpr Hlc kBase = HlcFromMillis(1795475701123);
const Origin kHere{1, 101};
const Origin kThere{2, 201};

JournalOptions SmallOptions() {
  JournalOptions options;
  options.directory = kDirectory;
  options.segment_bytes = 64 * 1024;
  options.frame_bytes_max = 8 * 1024;
  return options;
}

std::unique_ptr<Journal> OpenJournal(Disk& disk, Recovered* recovered = nullptr,
                                     const JournalOptions& options = SmallOptions()) {
  absl::StatusOr<std::unique_ptr<Journal>> journal = Journal::Open(disk, options, recovered);
  EXPECT_TRUE(journal.ok()) << journal.status();
  return journal.ok() ? *std::move(journal) : nullptr;
}

Record Letter(std::string text) {
  Deliver deliver;
  deliver.recipient = "ann@example.test";
  deliver.inline_body = std::move(text);
  return {.account = AccountIdOf("ann@example.test"), .time = kBase, .body = std::move(deliver)};
}
std::string TextOf(const Record& record) { return std::get<Deliver>(record.body).inline_body; }

std::vector<Committed> Commit(Journal& journal) {
  std::vector<absl::Status> rejected;
  absl::StatusOr<std::vector<Committed>> committed = journal.CommitOnce(&rejected);
  EXPECT_TRUE(committed.ok()) << committed.status();
  for (const absl::Status& status : rejected) ADD_FAILURE() << status;
  return committed.ok() ? *std::move(committed) : std::vector<Committed>();
}

std::vector<Committed> ReadAll(Disk& disk, Position from = 0, Position until = 0) {
  auto reader = JournalReader::Open(disk, kDirectory, from, until);
  EXPECT_TRUE(reader.ok()) << reader.status();
  std::vector<Committed> out;
  while (reader.ok()) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    EXPECT_TRUE(next.ok()) << next.status();
    if (!next.ok() || !*next) break;
    out.push_back(**next);
  }
  return out;
}

TEST(JournalTest, WhatIsCommittedIsReadAndRecovered) {
  CrashDisk disk;
  auto journal = OpenJournal(disk);
  EXPECT_TRUE(Commit(*journal).empty());
  journal->StartOrigin(kHere, 7);
  VectorClock applied;
  applied.Raise(kThere, 5);
  const std::vector<Record> samples = SampleRecords(kBase);
  EXPECT_EQ(journal->Append(samples, applied), 1u);
  Record earlier = Letter("hello");
  earlier.time = kBase - 1;  // before its frame's base: begins another
  EXPECT_EQ(journal->Append({earlier}, applied), samples.size() + 1);
  EXPECT_GT(journal->pending_bytes(), 0u);
  EXPECT_TRUE(journal->held().empty());

  std::vector<Committed> committed = Commit(*journal);
  ASSERT_EQ(committed.size(), 2u);
  EXPECT_EQ(journal->pending_bytes(), 0u);
  EXPECT_EQ(committed[0].frame->records, samples);
  EXPECT_EQ(committed[0].frame->applied, applied);
  EXPECT_EQ(committed[0].frame->generation, 7u);
  EXPECT_EQ(committed[1].end, journal->end());
  EXPECT_EQ(journal->held().Get(kHere), samples.size() + 1);
  EXPECT_EQ(journal->ChainAt(kHere, samples.size() + 1), committed[1].frame->chain);

  std::vector<Committed> read = ReadAll(disk);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].frame->shipped, committed[0].frame->shipped);
  EXPECT_EQ(read[0].frame->records, samples);
  EXPECT_EQ(read[1].begin, committed[1].begin);
  EXPECT_EQ(TextOf(read[1].frame->records[0]), "hello");
  EXPECT_EQ(ReadAll(disk, committed[0].end).size(), 1u);
  EXPECT_EQ(ReadAll(disk, 0, committed[0].end).size(), 1u);

  const VectorClock held = journal->held();
  const Position end = journal->end();
  journal.reset();
  Recovered recovered;
  auto crashed = disk.ImageOfSynced();
  journal = OpenJournal(*crashed, &recovered);
  EXPECT_EQ(recovered.held, held);
  EXPECT_EQ(recovered.end, end);
  EXPECT_EQ(recovered.cut_bytes, 0u);
  EXPECT_TRUE(recovered.problems.empty());
}

TEST(JournalTest, TheNextIncarnationFollows) {
  CrashDisk disk;
  for (uint64_t incarnation = 1; incarnation <= 5; ++incarnation) {
    auto journal = OpenJournal(disk);
    journal->StartOrigin({1, incarnation}, 1);
    journal->Append({Letter("a"), Letter("b")}, {});
    EXPECT_EQ(Commit(*journal).size(), 1u);
    const VectorClock held = journal->held();
    EXPECT_EQ(held.entries().size(), incarnation);
  }
  EXPECT_EQ(ReadAll(disk).size(), 5u);
}

TEST(JournalTest, FramesMoveToThePeerByteForByte) {
  CrashDisk disk_a, disk_b;
  auto a = OpenJournal(disk_a);
  auto b = OpenJournal(disk_b);
  a->StartOrigin(kHere, 1);
  b->StartOrigin(kThere, 1);
  b->Append({Letter("theirs")}, {});
  for (int i = 0; i < 20; ++i) {
    a->Append({Letter("letter " + std::to_string(i))}, {});
    for (const Committed& committed : Commit(*a)) b->AppendReceived(committed.frame->shipped);
    Commit(*b);
  }
  EXPECT_EQ(b->held().Get(kHere), 20u);
  EXPECT_EQ(b->held().Get(kThere), 1u);
  EXPECT_EQ(a->ChainAt(kHere, 20), b->ChainAt(kHere, 20));
  EXPECT_EQ(a->ChainAt(kHere, 0), 0u);
  EXPECT_FALSE(a->ChainAt(kHere, 21).has_value());
  EXPECT_EQ(ReadAll(disk_b).size(), 21u);
}

TEST(JournalTest, WhatDoesNotFitIsRejectedAndTheRestCommitted) {
  CrashDisk disk_a, disk_b;
  auto a = OpenJournal(disk_a);
  a->StartOrigin(kHere, 1);
  std::vector<std::string> shipped;
  for (int i = 0; i < 3; ++i) {
    a->Append({Letter("letter " + std::to_string(i))}, {});
    shipped.push_back(Commit(*a)[0].frame->shipped);
  }
  auto b = OpenJournal(disk_b);
  b->StartOrigin(kThere, 1);
  std::string damaged = shipped[1];
  damaged.back() ^= 1;
  b->AppendReceived(shipped[0]);
  b->AppendReceived(shipped[0]);  // held already: no complaint
  b->AppendReceived(shipped[2]);  // gap
  b->AppendReceived(damaged);
  b->AppendReceived("");
  b->AppendReceived(shipped[1]);
  std::vector<absl::Status> rejected;
  absl::StatusOr<std::vector<Committed>> committed = b->CommitOnce(&rejected);
  ASSERT_TRUE(committed.ok());
  EXPECT_EQ(committed->size(), 2u);
  ASSERT_EQ(rejected.size(), 2u);
  EXPECT_TRUE(absl::IsOutOfRange(rejected[0]));
  EXPECT_TRUE(absl::IsDataLoss(rejected[1]));
  EXPECT_EQ(b->held().Get(kHere), 2u);
  EXPECT_EQ(b->pending_bytes(), 0u);

  // The same origin with another history.
  CrashDisk disk_c;
  auto c = OpenJournal(disk_c);
  c->StartOrigin(kHere, 1);
  c->Append({Letter("x"), Letter("y")}, {});
  Commit(*c);
  c->Append({Letter("z")}, {});
  b->AppendReceived(Commit(*c)[0].frame->shipped);
  rejected.clear();
  ASSERT_TRUE(b->CommitOnce(&rejected).ok());
  ASSERT_EQ(rejected.size(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(rejected[0]));
}

TEST(JournalTest, ManySegmentsAreWrittenReadRetiredAndRecycled) {
  CrashDisk disk;
  auto options = SmallOptions();
  options.zstd_level = 0;
  auto journal = OpenJournal(disk, nullptr, options);
  journal->StartOrigin(kHere, 1);
  std::vector<Committed> all;
  for (int i = 0; i < 200; ++i) {
    journal->Append({Letter(std::string(3000, 'a') + std::to_string(i))}, {});
    for (Committed& committed : Commit(*journal)) all.push_back(std::move(committed));
  }
  EXPECT_GT(SegmentOf(journal->end()), 8u);
  EXPECT_EQ(ReadAll(disk).size(), 200u);
  const uint64_t bytes = journal->bytes_on_disk();

  ASSERT_TRUE(journal->Retire(all[100].begin).ok());
  EXPECT_EQ(SegmentOf(journal->oldest()), SegmentOf(all[100].begin));
  EXPECT_LE(journal->bytes_on_disk(), bytes);
  EXPECT_TRUE(absl::IsNotFound(JournalReader::Open(disk, kDirectory, all[0].begin, 0).value()->Next().status()));
  EXPECT_EQ(ReadAll(disk, all[100].begin).size(), 100u);
  // What was retired is still held, also after a restart, and its last chain is known.
  for (int i = 200; i < 300; ++i) {
    journal->Append({Letter(std::string(3000, 'b') + std::to_string(i))}, {});
    for (Committed& committed : Commit(*journal)) all.push_back(std::move(committed));
  }
  ASSERT_TRUE(journal->Retire(journal->end()).ok());
  journal.reset();
  Recovered recovered;
  journal = OpenJournal(disk, &recovered, options);
  EXPECT_EQ(recovered.held.Get(kHere), 300u);
  EXPECT_TRUE(recovered.problems.empty());
  EXPECT_EQ(journal->ChainAt(kHere, 300), all.back().frame->chain);
}

TEST(JournalTest, ALargeBodyDoesNotHoldUpWhatFollows) {
  CrashDisk disk;
  JournalOptions options;
  options.directory = kDirectory;
  options.zstd_level = 0;
  auto journal = OpenJournal(disk, nullptr, options);
  journal->StartOrigin(kHere, 1);
  for (int i = 0; i < 64; ++i) {
    journal->Append(
        {Record{.account = {}, .time = kBase, .body = BodyChunk{.bytes = std::string(kBodyChunkBytes, 'x')}}}, {});
  }
  journal->Append({Letter("small")}, {});
  const size_t first = Commit(*journal).size();
  EXPECT_GE(first, 4u);
  EXPECT_LE(first, 6u);  // about 4 MiB in frames of 1 MiB
  int commits = 1;
  while (journal->pending_bytes() > 0) {
    Commit(*journal);
    ++commits;
  }
  EXPECT_GE(commits, 4);
  EXPECT_EQ(journal->held().Get(kHere), 65u);
}

TEST(JournalTest, AFullDiskKeepsTheQueueAndTriesAgain) {
  CrashDisk disk;
  auto options = SmallOptions();
  options.zstd_level = 0;
  auto journal = OpenJournal(disk, nullptr, options);
  journal->StartOrigin(kHere, 1);
  disk.SetCapacity(64 * 1024 + 100);
  int committed = 0;
  absl::Status status;
  for (int i = 0; i < 40; ++i) {
    journal->Append({Letter(std::string(3000, 'a'))}, {});
    auto result = journal->CommitOnce(nullptr);
    if (!result.ok()) {
      status = result.status();
      break;
    }
    committed += static_cast<int>(result->size());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_TRUE(absl::IsResourceExhausted(journal->CommitOnce(nullptr).status()));
  EXPECT_GT(journal->pending_bytes(), 0u);
  EXPECT_EQ(journal->held().Get(kHere), static_cast<Seq>(committed));
  disk.SetCapacity(1 << 20);
  EXPECT_EQ(Commit(*journal).size(), 1u);
  EXPECT_EQ(ReadAll(disk).size(), static_cast<size_t>(committed) + 1);
}

TEST(JournalTest, ARecordLongerThanASegmentGetsOneOfItsOwn) {
  CrashDisk disk;
  auto options = SmallOptions();
  options.zstd_level = 0;
  auto journal = OpenJournal(disk, nullptr, options);
  journal->StartOrigin(kHere, 1);
  CrashDisk peer_disk;
  auto peer = OpenJournal(peer_disk, nullptr, options);
  peer->StartOrigin(kThere, 1);
  for (const size_t bytes : {size_t{10}, size_t{300'000}, size_t{10}, kRecordBytesMax - 1000}) {
    const std::vector<Record> records{Letter(std::string(bytes, 'a'))};
    ASSERT_TRUE(CheckRecords(records, {}).ok());
    journal->Append(records, {});
    for (const Committed& committed : Commit(*journal)) peer->AppendReceived(committed.frame->shipped);
    Commit(*peer);
  }
  for (CrashDisk* each : {&disk, &peer_disk}) {
    Recovered recovered;
    const auto reopened = OpenJournal(*each, &recovered, options);
    EXPECT_TRUE(recovered.problems.empty());
    EXPECT_EQ(recovered.held.Get(kHere), 4u);
    EXPECT_EQ(ReadAll(*each).size(), 4u);
    EXPECT_TRUE(reopened->Retire(reopened->end()).ok());
  }
}

TEST(JournalTest, WhatIsTooLargeIsToldBeforeItIsAppended) {
  FlagsChange change;
  change.messages.assign(50'000, Dot{kHere, 0});
  for (size_t i = 0; i < change.messages.size(); ++i) change.messages[i] = Dot{{i % 7, i}, i << 40};
  const Record large{.account = AccountIdOf("ann@example.test"), .time = kBase, .body = change};
  EXPECT_TRUE(CheckRecords({large}, {}).ok()) << "50,000 messages fit, however far they lie apart";
  EXPECT_TRUE(absl::IsInvalidArgument(CheckRecords({Letter(std::string(kRecordBytesMax, 'a'))}, {})));
  VectorClock clock;
  for (uint64_t incarnation = 0; incarnation < 2600; ++incarnation) clock.Raise({1, incarnation}, UINT32_MAX);
  EXPECT_TRUE(CheckRecords({Letter("a")}, clock).ok());
  CrashDisk disk;
  auto journal = OpenJournal(disk);
  journal->StartOrigin(kHere, 1);
  journal->Append({Letter("a")}, clock);
  EXPECT_EQ(Commit(*journal).size(), 1u);
  EXPECT_EQ(ReadAll(disk)[0].frame->applied, clock);
  for (uint64_t incarnation = 0; incarnation < 4000; ++incarnation) clock.Raise({2, incarnation}, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(CheckRecords({Letter("a")}, clock)));
}

TEST(JournalTest, ASegmentLongerThanAPositionHasRoomForIsRefused) {
  CrashDisk disk;
  auto options = SmallOptions();
  options.segment_bytes = kSegmentBytesMax + 1;
  EXPECT_TRUE(absl::IsInvalidArgument(Journal::Open(disk, options, nullptr).status()));
}

TEST(JournalTest, AFailedSyncIsFinal) {
  CrashDisk disk;
  auto journal = OpenJournal(disk);
  journal->StartOrigin(kHere, 1);
  journal->Append({Letter("a")}, {});
  Commit(*journal);
  journal->Append({Letter("b")}, {});
  disk.FailAt(disk.operations() + 1, absl::ResourceExhaustedError("injected"), false);  // the sync, not the write
  EXPECT_TRUE(absl::IsUnavailable(journal->CommitOnce(nullptr).status()));
  EXPECT_TRUE(absl::IsUnavailable(journal->CommitOnce(nullptr).status()));
  EXPECT_EQ(journal->held().Get(kHere), 1u);
}

// A copy of `bytes` whose checked part says another version, with a checksum that fits.
std::string WithVersion(std::string bytes, size_t version_at, size_t checked_bytes) {
  bytes[version_at] = 2;
  const uint64_t checksum = XXH3_64bits(bytes.data(), checked_bytes);
  std::memcpy(bytes.data() + checked_bytes, &checksum, sizeof checksum);
  return bytes;
}

TEST(JournalTest, ANewerSegmentIsRefused) {
  CrashDisk disk;
  OpenJournal(disk).reset();
  absl::StatusOr<std::string> bytes = disk.ReadWhole(SegmentPath(kDirectory, 1));
  auto file = disk.Open(SegmentPath(kDirectory, 1), OpenMode::kReadWrite);
  ASSERT_TRUE((*file)->WriteAt(0, WithVersion(*bytes, 8, 504)).ok());
  EXPECT_TRUE(absl::IsUnimplemented(Journal::Open(disk, SmallOptions(), nullptr).status()));
}

TEST(JournalTest, ANewerFrameIsRefused) {
  CrashDisk disk;
  auto journal = OpenJournal(disk);
  journal->StartOrigin(kHere, 1);
  journal->Append({Letter("a")}, {});
  const Committed committed = Commit(*journal)[0];
  const std::string newer = WithVersion(committed.frame->shipped, 4, 81);  // an empty clock takes one byte
  EXPECT_TRUE(absl::IsUnimplemented(DecodeShipped(newer, std::nullopt).status()));
  std::string stored;
  StoreFrame({.shipped_bytes = 0, .position = committed.begin, .synced_to = committed.begin}, newer,
             SegmentReader::Open(disk, kDirectory, 1).value()->header().salt, &stored);
  auto file = disk.Open(SegmentPath(kDirectory, 1), OpenMode::kReadWrite);
  ASSERT_TRUE((*file)->WriteAt(OffsetOf(committed.begin), stored).ok());
  EXPECT_TRUE(absl::IsUnimplemented(Journal::Open(disk, SmallOptions(), nullptr).status()));
}

TEST(JournalTest, WhatIsNoJournalIsRefused) {
  CrashDisk disk;
  ASSERT_TRUE(disk.MakeDirectories(kDirectory).ok());
  ASSERT_TRUE(disk.CreateWhole(SegmentPath(kDirectory, 1), std::string(65536, 'x'), 0).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Journal::Open(disk, SmallOptions(), nullptr).status()));
}

TEST(ShipCursorTest, GivesWhatThePeerLacks) {
  CrashDisk disk;
  auto options = SmallOptions();
  options.zstd_level = 0;
  auto journal = OpenJournal(disk, nullptr, options);
  journal->StartOrigin(kHere, 1);
  for (int i = 0; i < 100; ++i) {
    journal->Append({Letter(std::string(3000, 'a'))}, {});
    Commit(*journal);
  }
  VectorClock theirs;
  theirs.Raise(kHere, 40);
  auto cursor = ShipCursor::Make(disk, *journal, kDirectory, theirs, {kHere.node});
  Seq next = 41;
  while (true) {
    auto frames = cursor->Next(20000);
    ASSERT_TRUE(frames.ok()) << frames.status();
    if (frames->empty()) break;
    EXPECT_LE(frames->size(), 8u);
    for (const Committed& committed : *frames) EXPECT_EQ(committed.frame->first_seq, next++);
  }
  EXPECT_EQ(next, 101u);
  journal->Append({Letter("more")}, {});
  Commit(*journal);
  EXPECT_EQ(cursor->Next(20000)->size(), 1u);
  EXPECT_TRUE(ShipCursor::Make(disk, *journal, kDirectory, theirs, {kThere.node})->Next(1000)->empty());

  ASSERT_TRUE(journal->Retire(journal->end()).ok());
  EXPECT_TRUE(
      absl::IsNotFound(ShipCursor::Make(disk, *journal, kDirectory, theirs, {kHere.node})->Next(1000).status()));
}

}  // namespace
}  // namespace gemel::journal
