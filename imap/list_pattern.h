// LIST's patterns (RFC 3501, 6.3.8): "*" matches anything, "%" anything but "/".
#pragma once
#include <string_view>

namespace gemel::imap {

// Both UTF-8; a first level INBOX of the name in any case. At most pattern x name steps.
bool MatchesListPattern(std::string_view pattern, std::string_view name);

}  // namespace gemel::imap
