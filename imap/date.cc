#include "imap/date.h"

#include <array>
#include <cstdio>

#include "imap/cursor.h"

namespace gemel::imap {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// Exactly `digits` decimal digits from the front.
bool TakeDigits(std::string_view* in, size_t digits, int* out) {
  if (in->size() < digits) return false;
  *out = 0;
  for (size_t i = 0; i < digits; ++i) {
    const char c = (*in)[i];
    if (c < '0' || c > '9') return false;
    *out = *out * 10 + (c - '0');
  }
  in->remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view* in, char c) {
  if (in->empty() || in->front() != c) return false;
  in->remove_prefix(1);
  return true;
}

int DaysInMonth(int year, int month) {
  if (month == 2) return (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// d-Mon-yyyy; the day has one digit, two, or a space and one.
std::optional<DayNumber> TakeDate(std::string_view* in) {
  int day = 0;
  int year = 0;
  const bool padded = TakeChar(in, ' ');
  const size_t dash = in->find('-');
  if (dash == std::string_view::npos || dash < 1 || dash > (padded ? 1U : 2U)) return std::nullopt;
  if (!TakeDigits(in, dash, &day) || !TakeChar(in, '-') || in->size() < 3) return std::nullopt;
  int month = 0;
  for (int i = 0; i < 12; ++i) {
    if (EqualsIgnoringCase(in->substr(0, 3), kMonths[static_cast<size_t>(i)])) month = i + 1;
  }
  in->remove_prefix(3);
  if (month == 0 || !TakeChar(in, '-') || !TakeDigits(in, 4, &year)) return std::nullopt;
  if (day < 1 || day > DaysInMonth(year, month)) return std::nullopt;
  return DayOf(year, month, day);
}

}  // namespace

// After Howard Hinnant's days_from_civil: eras of 400 years, years that begin in March.
DayNumber DayOf(int year, int month, int day) {
  const int y = year - (month <= 2 ? 1 : 0);
  const int era = (y >= 0 ? y : y - 399) / 400;
  const int year_of_era = y - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

std::optional<DayNumber> ParseDate(std::string_view text) {
  const auto day = TakeDate(&text);
  return text.empty() ? day : std::nullopt;
}

std::optional<int64_t> ParseDateTime(std::string_view text) {
  const auto day = TakeDate(&text);
  int hour = 0, minute = 0, second = 0, zone_hour = 0, zone_minute = 0;
  if (!day || !TakeChar(&text, ' ') || !TakeDigits(&text, 2, &hour) || !TakeChar(&text, ':') ||
      !TakeDigits(&text, 2, &minute) || !TakeChar(&text, ':') || !TakeDigits(&text, 2, &second) ||
      !TakeChar(&text, ' ')) {
    return std::nullopt;
  }
  const bool west = TakeChar(&text, '-');
  if (!west && !TakeChar(&text, '+')) return std::nullopt;
  if (!TakeDigits(&text, 2, &zone_hour) || !TakeDigits(&text, 2, &zone_minute) || !text.empty()) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59) return std::nullopt;
  const int64_t zone_s = (zone_hour * 60 + zone_minute) * 60;
  return int64_t{*day} * 86400 + hour * 3600 + minute * 60 + second - (west ? -zone_s : zone_s);
}

void AppendDateTime(int64_t seconds_since_1970, std::string* out) {
  int64_t days = seconds_since_1970 / 86400;
  int64_t second = seconds_since_1970 % 86400;
  if (second < 0) {
    second += 86400;
    --days;
  }
  // civil_from_days, the inverse of DayOf.
  const int64_t z = days + 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const int64_t day_of_era = z - era * 146097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t mp = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * mp + 2) / 5 + 1;
  const int64_t month = mp < 10 ? mp + 3 : mp - 9;
  int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  if (year < 0 || year > 9999) year = year < 0 ? 0 : 9999;  // four digits are all the grammar has

  char text[32] = "\"dd-Mmm-yyyy hh:mm:ss +0000\"";
  const auto put = [&text](size_t at, int64_t value, size_t digits) {
    for (size_t i = digits; i-- > 0; value /= 10) text[at + i] = static_cast<char>('0' + value % 10);
  };
  put(1, day, 2);
  for (size_t i = 0; i < 3; ++i) text[4 + i] = kMonths[static_cast<size_t>(month - 1)][i];
  put(8, year, 4);
  put(13, second / 3600, 2);
  put(16, second / 60 % 60, 2);
  put(19, second % 60, 2);
  if (text[1] == '0') text[1] = ' ';  // date-day-fixed: a space, then the digit
  out->append(text, 28);
}

}  // namespace gemel::imap
