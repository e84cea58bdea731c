#include "journal/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "journal/crash_disk.h"
#include "journal/record_samples.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr Hlc kBase = HlcFromMillis(1795475701123);

class DumpTest : public testing::Test {
 protected:
  void SetUp() override {
    JournalOptions options;
    options.directory = "/journal";
    options.segment_bytes = 64 * 1024;
    auto journal = Journal::Open(disk_, options, nullptr);
    ASSERT_TRUE(journal.ok());
    (*journal)->StartOrigin({1, 101}, 7);
    VectorClock applied;
    applied.Raise({2, 201}, 5);
    (*journal)->Append(SampleRecords(kBase), applied);
    first_ = (*journal)->CommitOnce(nullptr)->front();
    (*journal)->Append(SampleRecords(kBase), applied);
    ASSERT_TRUE((*journal)->CommitOnce(nullptr).ok());
  }

  std::vector<std::string> Dump(DumpOptions options, uint64_t* problems = nullptr) {
    std::vector<std::string> lines;
    auto count = DumpJournal(disk_, "/journal", options, [&](std::string_view line) { lines.emplace_back(line); });
    EXPECT_TRUE(count.ok()) << count.status();
    if (problems != nullptr && count.ok()) *problems = *count;
    return lines;
  }

  CrashDisk disk_;
  Committed first_;
};

TEST_F(DumpTest, ShowsEveryRecordAndHidesSecrets) {
  for (DumpFormat format : {DumpFormat::kText, DumpFormat::kJson}) {
    const std::vector<std::string> lines = Dump({.format = format, .account = {}});
    ASSERT_EQ(lines.size(), 2 * (SampleRecords(kBase).size() + 1));
    for (const std::string& line : lines) {
      EXPECT_THAT(line, Not(HasSubstr("argon2")));
      EXPECT_THAT(line, Not(HasSubstr("tea")));
      EXPECT_THAT(line, Not(HasSubstr("long letter")));
    }
  }
}

TEST_F(DumpTest, LinesAreAsDocumented) {
  const std::vector<std::string> text = Dump({.account = {}});
  EXPECT_THAT(text[0], StartsWith("frame position=1:1024 origin=0000000000000001/0000000000000065 first_seq=1 count=21 "
                                  "generation=7 time=2026-11-23T23:15:01.123Z bytes="));
  EXPECT_EQ(text[2],
            "  Closed dot=0000000000000001/0000000000000065:2 time=2026-11-23T23:15:01.123Z hlc=117668295548796931 "
            "group_continues=true origin=1111111111111111/aaaaaaaaaaaaaaaa seq=4711");
  const std::vector<std::string> json = Dump({.format = DumpFormat::kJson, .account = {}});
  EXPECT_EQ(
      json[2],
      "{\"type\":\"Closed\",\"dot\":\"0000000000000001/0000000000000065:2\",\"time\":\"2026-11-23T23:15:01.123Z\","
      "\"hlc\":117668295548796931,\"group_continues\":true,\"origin\":\"1111111111111111/aaaaaaaaaaaaaaaa\","
      "\"seq\":4711}");
  EXPECT_THAT(json[13], HasSubstr("\"messages\":[{\"message\":\"2222222222222222/bbbbbbbbbbbbbbbb:300\",\"uid\":9}"));
}

TEST_F(DumpTest, OneAccountOnly) {
  EXPECT_EQ(Dump({.account = AccountIdOf("ann@example.test")}).size(), 2 * (1u + 17));
  EXPECT_TRUE(Dump({.account = AccountIdOf("nobody@example.test")}).empty());
}

TEST_F(DumpTest, FromAndUntil) {
  EXPECT_EQ(Dump({.from = first_.end, .account = {}}).size(), 22u);
  EXPECT_EQ(Dump({.until = first_.end, .account = {}}).size(), 22u);
}

TEST_F(DumpTest, DamageIsNamedAndSteppedOver) {
  auto file = disk_.Open(SegmentPath("/journal", 1), OpenMode::kReadWrite);
  ASSERT_TRUE((*file)->WriteAt(OffsetOf(first_.begin) + 300, "damage").ok());
  uint64_t problems = 0;
  const std::vector<std::string> lines = Dump({.account = {}}, &problems);
  EXPECT_EQ(problems, 1u);
  EXPECT_EQ(lines.size(), 23u);
  EXPECT_THAT(lines[0], StartsWith("problem segment 1, offset 1024: "));

  std::vector<std::string> reported;
  auto stat = VerifyJournal(
      disk_, "/journal", true, [&](std::string_view problem) { reported.emplace_back(problem); }, nullptr);
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(stat->problems, 1u);
  ASSERT_EQ(reported.size(), 1u);
  EXPECT_THAT(reported[0], StartsWith("segment 1, offset 1024: "));
}

TEST_F(DumpTest, StatCounts) {
  auto stat = VerifyJournal(disk_, "/journal", true, nullptr, nullptr);
  ASSERT_TRUE(stat.ok());
  EXPECT_EQ(stat->frames, 2u);
  EXPECT_EQ(stat->records, 42u);
  EXPECT_EQ(stat->records_by_type.at("Deliver"), 2u);
  EXPECT_EQ(stat->problems, 0u);
  EXPECT_THAT(FormatStat(*stat, DumpFormat::kText), HasSubstr("\nframes=2\nrecords=42\n"));
  EXPECT_THAT(FormatStat(*stat, DumpFormat::kJson), HasSubstr("\"oldest\":\"1:1024\""));
}

TEST(PositionTextTest, ComesBack) {
  EXPECT_EQ(PositionFromText(PositionText(PositionOf(3, 4096))), PositionOf(3, 4096));
  for (const char* bad : {"", "3", "3:", ":5", "3:5x", "0:5", "-1:5", "3:99999999999"}) {
    EXPECT_FALSE(PositionFromText(bad).has_value()) << bad;
  }
}

}  // namespace
}  // namespace gemel::journal
