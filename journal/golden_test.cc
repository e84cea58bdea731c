// Journals written by released formats stay readable. GEMEL_WRITE_GOLDEN=1 writes tests/golden/journal-v1 and the
// fuzzer's seeds anew: only when a format that was never released changes.
#include <gtest/gtest.h>

#include <cstdlib>

#include "journal/dump.h"
#include "journal/frame.h"
#include "journal/record_samples.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

std::string SourceDirectory() {
  if (const char* source = std::getenv("GEMEL_SOURCE")) return source;
  const std::string file = __FILE__;
  return file.substr(0, file.rfind("/journal/"));
}

class CountingRandom : public Random {
 public:
  void Fill(void* out, size_t bytes) override {
    for (size_t i = 0; i < bytes; ++i) static_cast<uint8_t*>(out)[i] = next_++;
  }

 private:
  uint8_t next_ = 1;
};

std::string DumpOf(Disk& disk, const std::string& directory) {
  std::string text;
  absl::StatusOr<uint64_t> problems = DumpJournal(disk, directory, {.account = {}}, [&text](std::string_view line) {
    text += line;
    text += '\n';
  });
  EXPECT_TRUE(problems.ok() && *problems == 0) << problems.status();
  return text;
}

void WriteGolden(Disk& disk, const std::string& directory) {
  const std::string seeds = SourceDirectory() + "/tests/fuzz/corpus/frame_fuzz";
  ASSERT_TRUE(disk.RemoveTree(directory).ok());
  ASSERT_TRUE(disk.MakeDirectories(seeds).ok());
  constexpr Hlc kBase = HlcFromMillis(1795475701123);
  CountingRandom random;
  VectorClock applied;
  for (const int level : {0, 1}) {
    JournalOptions options;
    options.directory = directory;
    options.zstd_level = level;
    options.segment_bytes = 8 * 1024;
    options.frame_bytes_max = 4 * 1024;
    options.random = &random;
    absl::StatusOr<std::unique_ptr<Journal>> journal = Journal::Open(disk, options, nullptr);
    ASSERT_TRUE(journal.ok()) << journal.status();
    const Origin origin{0x1111111111111111, 0xaaaaaaaaaaaaaaa0u + static_cast<unsigned>(level)};
    (*journal)->StartOrigin(origin, 2);
    Record small{
        .account = AccountIdOf("ann@example.test"), .time = kBase, .body = Subscribe{.name = "Work", .on = true}};
    (*journal)->Append({small}, applied);
    ASSERT_TRUE((*journal)->CommitOnce(nullptr).ok());
    applied.Raise(origin, 1);
    (*journal)->Append(SampleRecords(kBase), applied);
    const std::vector<Committed> committed = (*journal)->CommitOnce(nullptr).value();
    ASSERT_EQ(committed.size(), 1u);
    const std::string name = level == 0 ? "/frame-raw" : "/frame-zstd";
    ASSERT_TRUE(disk.ReplaceDurably(seeds + name, std::string(1, '\0') + committed[0].frame->shipped).ok());
  }
  ASSERT_TRUE(disk.ReplaceDurably(directory + "/dump.txt", DumpOf(disk, directory)).ok());
  for (const Record& record : SampleRecords(kBase)) {
    std::string seed = "\x01";
    EncodeRecord(record, kBase, &seed);
    ASSERT_TRUE(disk.ReplaceDurably(seeds + "/record-" + std::string(RecordTypeName(record.body)), seed).ok());
  }
}

TEST(GoldenTest, JournalV1IsRead) {
  const std::unique_ptr<Disk> disk = MakePosixDisk();
  const std::string directory = SourceDirectory() + "/tests/golden/journal-v1";
  if (std::getenv("GEMEL_WRITE_GOLDEN") != nullptr) WriteGolden(*disk, directory);
  absl::StatusOr<std::string> expected = disk->ReadWhole(directory + "/dump.txt");
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(DumpOf(*disk, directory), *expected);
  absl::StatusOr<JournalStat> stat = VerifyJournal(*disk, directory, true, nullptr, nullptr);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->problems, 0u);
  EXPECT_EQ(stat->frames, 4u);
  EXPECT_EQ(stat->records, 44u);
}

// Four segments of a node and its peer, with tips in their headers, of which the second was lost: its frames were
// fetched again and lie at the end (README.md, "Recovery", row L).
void WriteLostSegment(Disk& disk, const std::string& directory) {
  constexpr Hlc kBase = HlcFromMillis(1795475701123);
  ASSERT_TRUE(disk.MakeDirectories(directory).ok());
  CountingRandom random;
  JournalOptions options;
  options.directory = directory;
  options.zstd_level = 0;
  options.segment_bytes = 4 * 1024;
  options.frame_bytes_max = 1024;
  options.random = &random;
  absl::StatusOr<std::unique_ptr<Journal>> here = Journal::Open(disk, options, nullptr);
  ASSERT_TRUE(here.ok()) << here.status();
  options.directory = directory + "-peer";
  absl::StatusOr<std::unique_ptr<Journal>> there = Journal::Open(disk, options, nullptr);
  options.directory = directory;
  (*here)->StartOrigin({1, 101}, 2);
  (*there)->StartOrigin({2, 201}, 2);
  VectorClock applied;
  for (uint64_t i = 1; i <= 12; ++i) {
    for (auto* from : {&here, &there}) {
      (**from)->Append({{.account = {}, .time = kBase + i, .body = BodyChunk{.bytes = std::string(300, 'x')}}},
                       applied);
      const std::vector<Committed> committed = (**from)->CommitOnce(nullptr).value();
      Journal& to = from == &here ? **there : **here;
      to.AppendReceived(committed.at(0).frame->shipped);
      ASSERT_TRUE(to.CommitOnce(nullptr).ok());
      applied.Raise(committed[0].frame->origin, i);
    }
  }
  here->reset();
  ASSERT_TRUE(disk.Remove(SegmentPath(directory, 2)).ok());
  here = Journal::Open(disk, options, nullptr);
  ASSERT_TRUE(here.ok()) << here.status();
  (*here)->StartOrigin({1, 102}, 2);
  auto cursor = ShipCursor::Make(disk, **there, directory + "-peer", (*here)->held(), {});
  const std::vector<Committed> shipped = cursor->Next(1 << 20).value();
  for (const Committed& committed : shipped) {
    (*here)->AppendReceived(committed.frame->shipped);
  }
  while ((*here)->pending_bytes() > 0) ASSERT_TRUE((*here)->CommitOnce(nullptr).ok());
  ASSERT_TRUE(disk.RemoveTree(directory + "-peer").ok());
  const std::vector<SegmentNumber> spares = ListSpares(disk, directory).value();
  for (SegmentNumber spare : spares) {
    ASSERT_TRUE(disk.Remove(SparePath(directory, spare)).ok());
  }
}

TEST(GoldenTest, AJournalV1WhoseLostSegmentCameAgainIsRead) {
  const std::unique_ptr<Disk> disk = MakePosixDisk();
  const std::string directory = SourceDirectory() + "/tests/golden/journal-v1-lost-segment";
  if (std::getenv("GEMEL_WRITE_GOLDEN") != nullptr && !disk->Stat(directory).ok()) WriteLostSegment(*disk, directory);
  absl::StatusOr<JournalStat> stat = VerifyJournal(*disk, directory, false, nullptr, nullptr);
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->problems, 0u) << "all of it is held";
  EXPECT_EQ(stat->held.Get({1, 101}), 12u);
  EXPECT_EQ(stat->held.Get({2, 201}), 12u);
  EXPECT_EQ(SegmentReader::Open(*disk, directory, 3).value()->header().tips.size(), 2u);
  auto reader = JournalReader::Open(*disk, directory, 0);
  ASSERT_TRUE(reader.ok()) << reader.status();
  VectorClock given;
  int lost = 0;
  while (true) {
    auto next = (*reader)->Next();
    if (absl::IsDataLoss(next.status()) && ++lost < 3) continue;
    ASSERT_TRUE(next.ok()) << next.status();
    if (!*next) break;
    EXPECT_EQ((*next)->frame->first_seq, given.Get((*next)->frame->origin) + 1) << "in the order of its origin";
    given.Raise((*next)->frame->origin, (*next)->frame->last_seq());
  }
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(given, stat->held);
  EXPECT_TRUE((*reader)->missing().empty());
}

// A clock of an origin's first frames, byte for byte: what README.md shows.
TEST(GoldenTest, TheSmallestFrameHasTheBytesOfTheReadme) {
  const std::unique_ptr<Disk> disk = MakePosixDisk();
  const std::string directory = SourceDirectory() + "/tests/golden/journal-v1";
  absl::StatusOr<std::string> bytes = disk->ReadWhole(SegmentPath(directory, 1));
  ASSERT_TRUE(bytes.ok());
  absl::StatusOr<std::string> readme = disk->ReadWhole(SourceDirectory() + "/journal/README.md");
  ASSERT_TRUE(readme.ok());
  for (size_t row = 0; row < 160; row += 16) {
    char line[80];
    int n = std::snprintf(line, sizeof line, "%08zx:", 1024 + row);
    for (size_t i = 0; i < 16; ++i) {
      n += std::snprintf(line + n, sizeof line - static_cast<size_t>(n), "%s%02x", i % 2 == 0 ? " " : "",
                         static_cast<unsigned>(static_cast<uint8_t>((*bytes)[1024 + row + i])));
    }
    EXPECT_NE(readme->find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace gemel::journal
