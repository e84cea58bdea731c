// Strings within ENVELOPE and BODYSTRUCTURE (RFC 3501, 9: nstring): quoted where that is lawful, else literals.
// 8-bit bytes go out as they are, in literals; a NUL, which no string may hold, as 0x80, as Dovecot does.
//
// Threads: none.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace gemel::imap {

void AppendMimeString(std::string* out, std::string_view text);
void AppendMimeNString(std::string* out, const std::optional<std::string>& text);  // NIL where there is none
// For people: runs of blanks are one space, none at the ends, line breaks are out.
void AppendHumanString(std::string* out, std::string_view text);

}  // namespace gemel::imap
