#include "imap/internal_date.h"

#include <gtest/gtest.h>

namespace gemel::imap {
namespace {

TEST(InternalDate, Format) {
  EXPECT_EQ(FormatInternalDate(837596665), "17-Jul-1996 09:44:25 +0000");
  EXPECT_EQ(FormatInternalDate(0), "01-Jan-1970 00:00:00 +0000");
  EXPECT_EQ(FormatInternalDate(253402300799), "31-Dec-9999 23:59:59 +0000");
  EXPECT_EQ(FormatInternalDate(253402300800), "31-Dec-9999 23:59:59 +0000") << "a year has four digits";
  EXPECT_EQ(FormatInternalDate(-62135596801), "01-Jan-0001 00:00:00 +0000");
}

// Two nodes in two zones show the same, and find it under the day that they show.
TEST(InternalDate, TheZoneOfTheHostDoesNotMatter) {
  const char* before = getenv("TZ");
  const std::string kept = before == nullptr ? "" : before;
  for (const char* zone : {"Pacific/Kiritimati", "America/New_York", "UTC"}) {
    setenv("TZ", zone, 1);
    EXPECT_EQ(FormatInternalDate(86399), "01-Jan-1970 23:59:59 +0000") << zone;
    EXPECT_EQ(DayOf(86399), 0) << zone;
  }
  before == nullptr ? unsetenv("TZ") : setenv("TZ", kept.c_str(), 1);
}

TEST(InternalDate, Parse) {
  EXPECT_EQ(ParseInternalDate("17-Jul-1996 02:44:25 -0700"), 837596665);
  EXPECT_EQ(ParseInternalDate(" 1-jan-1970 05:30:00 +0530"), 0);
  EXPECT_EQ(ParseInternalDate("1-Jan-1970 00:00:00 +0000"), 0);
  for (const char* bad : {"", "17-Jul-1996", "17-Jul-1996 02:44:25", "31-Feb-2024 00:00:00 +0000",
                          "0-Jan-2024 00:00:00 +0000", "17-Jux-1996 02:44:25 -0700", "17-Jul-96 02:44:25 -0700",
                          "17-Jul-1996 24:44:25 -0700", "17-Jul-1996 02:60:25 -0700", "17-Jul-1996 02:44:25 0700",
                          "17-Jul-1996 02:44:25 -07000", "17-Jul-1996 02:44:25 -0760", "17-Jul-1996 02:44:25 +2400",
                          "31-Dec-9999 23:59:59 -0001", "01-Jan-0001 00:00:00 +0001", "01-Jan-0000 00:00:00 +0000"}) {
    EXPECT_EQ(ParseInternalDate(bad), std::nullopt) << bad;
  }
}

TEST(InternalDate, RoundTrip) {
  for (int64_t at = -3000000000; at < 9000000000; at += 123456789) {
    EXPECT_EQ(ParseInternalDate(FormatInternalDate(at)), at);
  }
}

TEST(InternalDate, Days) {
  EXPECT_EQ(ParseSearchDate("1-Jan-1970"), 0);
  EXPECT_EQ(ParseSearchDate("01-Feb-1994"), 8797);
  EXPECT_EQ(ParseSearchDate("29-Feb-2023"), std::nullopt);
  EXPECT_EQ(ParseSearchDate("1-Jan-1970 "), std::nullopt);
  EXPECT_EQ(DayOf(86399), 0);
  EXPECT_EQ(DayOf(86400), 1);
  EXPECT_EQ(DayOf(-1), -1);
}

// The zone is disregarded (RFC 3501, 6.4.4, SENTON).
TEST(InternalDate, DateHeader) {
  EXPECT_EQ(DayOfDateHeader("Tue, 1 Feb 1994 23:59:59 -1200"), 8797);
  EXPECT_EQ(DayOfDateHeader("1 Feb 94 00:00 +1200 (comment)"), 8797);
  EXPECT_EQ(DayOfDateHeader(""), std::nullopt);
  EXPECT_EQ(DayOfDateHeader("not a date"), std::nullopt);
}

}  // namespace
}  // namespace gemel::imap
