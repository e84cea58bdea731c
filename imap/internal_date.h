// Dates as IMAP and mail headers write them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "imap/search_key.h"

namespace gemel::imap {

// "17-Jul-1996 02:44:25 -0700" in `zone`, without the quotes (RFC 3501, 9: date-time).
std::string FormatInternalDate(int64_t seconds, absl::TimeZone zone = absl::LocalTimeZone());
// Nullopt: not a date-time. The day may have one digit, with or without the space before it.
std::optional<int64_t> ParseInternalDate(std::string_view text);

// "1-Feb-1994", without quotes (RFC 3501, 9: date). Nullopt: not a date.
std::optional<DayNumber> ParseSearchDate(std::string_view text);
DayNumber DayOf(int64_t seconds, absl::TimeZone zone = absl::LocalTimeZone());

// The day that a Date: header names, as written there, whatever its zone (RFC 5322, 3.3 and 4.3). Nullopt: none.
std::optional<DayNumber> DayOfDateHeader(std::string_view value);

}  // namespace gemel::imap
