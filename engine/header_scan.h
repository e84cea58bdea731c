// Finds one header field in a message's first bytes, without taking the message apart (RFC 5322, 2.2).
#pragma once
#include <string>
#include <string_view>

namespace gemel::engine {

// The field's body, unfolded and trimmed; "" if there is none before the first empty line. `name` without the colon,
// in any case. Lines end in LF or CRLF.
std::string FindHeader(std::string_view message, std::string_view name);

}  // namespace gemel::engine
