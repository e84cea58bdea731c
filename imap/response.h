// The small words of IMAP responses (RFC 3501, 9), appended to a string.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "journal/record.h"

namespace gemel::imap {

void AppendNumber(uint64_t number, std::string* out);
// Quoted where it can be, else a literal.
void AppendString(std::string_view text, std::string* out);
// As an atom where it can be.
void AppendAstring(std::string_view text, std::string* out);
// A mailbox's name, UTF-8, as an astring in modified UTF-7 (RFC 3501, 5.1.3).
void AppendMailboxName(std::string_view utf8, std::string* out);
// "\Seen \Deleted Keyword", no parentheses.
void AppendFlags(journal::Flags flags, bool recent, const std::vector<std::string>& keywords, std::string* out);

// Free text for the end of a response line: printable ASCII, bounded.
std::string Printable(std::string_view text);

}  // namespace gemel::imap
