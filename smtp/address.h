// The paths of MAIL and RCPT (RFC 5321, 4.1.2; RFC 6531, 3.3).
//
// Values only, no I/O. What comes out holds no control character, so it can go into a header, a reply or a log line.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace gemel::smtp {

// Address: `<a@b>`. Reverse also `<>` and, as cron jobs send it, `<root>`; forward also `<postmaster>`.
enum class PathKind { kReverse, kForward };

struct Path {
  // local@domain, source route dropped (RFC 5321, Appendix C: it must be accepted and should be ignored). The local
  // part is quoted only where it must be: `"ann"@x` becomes `ann@x`. The case is as given. "" for `<>`.
  std::string address;
  bool non_ascii = false;  // holds UTF-8: lawful with SMTPUTF8 only
  std::string_view rest;   // of the input, behind '>'
};

// InvalidArgument: not a path, or one longer than kAddressBytesMax.
absl::StatusOr<Path> ParsePath(std::string_view text, PathKind kind);

inline constexpr size_t kAddressBytesMax = 512;  // RFC 5321, 4.5.3.1.3 asks for 256 at least; VERP wants more

// "192.0.2.1" -> "[192.0.2.1]", "2001:db8::1" -> "[IPv6:2001:db8::1]" (RFC 5321, 4.1.3); anything else as it is.
std::string AddressLiteral(std::string_view ip_address);

bool IsValidUtf8(std::string_view text);                        // RFC 3629: no surrogates, no overlong forms
bool EqualsIgnoreCase(std::string_view a, std::string_view b);  // ASCII

}  // namespace gemel::smtp
