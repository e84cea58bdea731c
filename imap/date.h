// The dates of IMAP commands (RFC 3501, 9: date, date-time).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "imap/search_key.h"

namespace gemel::imap {

DayNumber DayOf(int year, int month, int day);  // month 1..12; proleptic Gregorian

std::optional<DayNumber> ParseDate(std::string_view text);          // 1-Feb-1994
std::optional<int64_t> ParseDateTime(std::string_view text);        // 17-Jul-1996 02:44:25 -0700; seconds since 1970
void AppendDateTime(int64_t seconds_since_1970, std::string* out);  // the same, in UTC, in quotes

}  // namespace gemel::imap
