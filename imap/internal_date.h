// Dates as IMAP and mail headers write them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "imap/search_key.h"

namespace gemel::imap {

// "17-Jul-1996 09:44:25 +0000", without the quotes (RFC 3501, 9: date-time). Always in UTC: both nodes must show the
// same, whatever their time zones.
std::string FormatInternalDate(int64_t seconds);
// Nullopt: not a date-time. The day may have one digit, with or without the space before it.
std::optional<int64_t> ParseInternalDate(std::string_view text);

// "1-Feb-1994", without quotes (RFC 3501, 9: date). Nullopt: not a date.
std::optional<DayNumber> ParseSearchDate(std::string_view text);
// The day that FormatInternalDate shows: SEARCH compares with it (RFC 3501, 6.4.4: BEFORE, ON, SINCE).
DayNumber DayOf(int64_t seconds);

// The day that a Date: header names, as written there, whatever its zone (RFC 5322, 3.3 and 4.3). Nullopt: none.
std::optional<DayNumber> DayOfDateHeader(std::string_view value);

}  // namespace gemel::imap
