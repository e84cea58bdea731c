#include "imap/internal_date.h"

#include <gmime/gmime.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "imap/decode.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

class DateReader {
 public:
  explicit DateReader(std::string_view text) : text_(text) {}
  bool Take(char c) {
    if (text_.empty() || text_[0] != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  // `digits_min` to `digits_max` digits.
  bool Number(size_t digits_min, size_t digits_max, int* value) {
    size_t n = 0;
    for (*value = 0; n < digits_max && n < text_.size() && text_[n] >= '0' && text_[n] <= '9'; ++n) {
      *value = *value * 10 + (text_[n] - '0');
    }
    text_.remove_prefix(n);
    return n >= digits_min;
  }
  bool Month(int* month) {
    for (size_t i = 0; i < kMonths.size(); ++i) {
      if (!EqualsIgnoringCase(text_.substr(0, 3), kMonths[i])) continue;
      *month = static_cast<int>(i) + 1;
      text_.remove_prefix(3);
      return true;
    }
    return false;
  }
  // d-Mon-yyyy
  bool Date(absl::CivilDay* date) {
    int day = 0, month = 0, year = 0;
    if (!Number(1, 2, &day) || !Take('-') || !Month(&month) || !Take('-') || !Number(4, 4, &year)) return false;
    *date = absl::CivilDay(year, month, day);
    return date->day() == day && date->month() == month;  // else 31-Feb, which CivilDay would make a day of March
  }
  bool at_end() const { return text_.empty(); }

 private:
  std::string_view text_;
};

// Of years that have four digits.
const int64_t kFirstSecond = (absl::CivilDay(1, 1, 1) - absl::CivilDay(1970, 1, 1)) * 86400;
const int64_t kLastSecond = (absl::CivilDay(10000, 1, 1) - absl::CivilDay(1970, 1, 1)) * 86400 - 1;

DayNumber NumberOf(absl::CivilDay day) { return static_cast<DayNumber>(day - absl::CivilDay(1970, 1, 1)); }

}  // namespace

std::string FormatInternalDate(int64_t seconds) {
  seconds = std::clamp(seconds, kFirstSecond, kLastSecond);  // a client could not read another
  const absl::CivilSecond at = absl::ToCivilSecond(absl::FromUnixSeconds(seconds), absl::UTCTimeZone());
  std::array<char, 96> text;
  std::snprintf(text.data(), text.size(), "%02d-%s-%04lld %02d:%02d:%02d +0000", at.day(),
                kMonths[static_cast<size_t>(at.month()) - 1].data(), static_cast<long long>(at.year()), at.hour(),
                at.minute(), at.second());
  return text.data();
}

std::optional<int64_t> ParseInternalDate(std::string_view text) {
  DateReader in(text);
  in.Take(' ');
  absl::CivilDay date;
  int hour = 0, minute = 0, second = 0, zone_hours = 0, zone_minutes = 0;
  if (!in.Date(&date) || !in.Take(' ') || !in.Number(2, 2, &hour) || !in.Take(':') || !in.Number(2, 2, &minute) ||
      !in.Take(':') || !in.Number(2, 2, &second) || !in.Take(' ')) {
    return std::nullopt;
  }
  const bool west = in.Take('-');
  if ((!west && !in.Take('+')) || !in.Number(2, 2, &zone_hours) || !in.Number(2, 2, &zone_minutes) || !in.at_end()) {
    return std::nullopt;
  }
  // 60: a leap second, taken for the next minute's first.
  if (hour > 23 || minute > 59 || second > 60 || zone_hours > 23 || zone_minutes > 59) return std::nullopt;
  const int offset_s = (zone_hours * 60 + zone_minutes) * 60 * (west ? -1 : 1);
  const int64_t days = date - absl::CivilDay(1970, 1, 1);
  const int64_t seconds = days * 86400 + hour * 3600 + minute * 60 + second - offset_s;
  if (seconds < kFirstSecond || seconds > kLastSecond) return std::nullopt;
  return seconds;
}

std::optional<DayNumber> ParseSearchDate(std::string_view text) {
  DateReader in(text);
  absl::CivilDay date;
  if (!in.Date(&date) || !in.at_end()) return std::nullopt;
  return NumberOf(date);
}

DayNumber DayOf(int64_t seconds) {
  return NumberOf(absl::ToCivilDay(absl::FromUnixSeconds(seconds), absl::UTCTimeZone()));
}

std::optional<DayNumber> DayOfDateHeader(std::string_view value) {
  InitMime();
  const std::string text(value);
  GDateTime* date = g_mime_utils_header_decode_date(text.c_str());
  if (date == nullptr) return std::nullopt;
  const absl::CivilDay day(g_date_time_get_year(date), g_date_time_get_month(date), g_date_time_get_day_of_month(date));
  g_date_time_unref(date);
  return NumberOf(day);
}

}  // namespace gemel::imap
