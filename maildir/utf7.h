// Modified UTF-7, the form in which IMAP4rev1 and Maildir++ directories carry mailbox names (RFC 3501, 5.1.3).
// Strict both ways: a name has exactly one encoding, so that two directories never stand for one mailbox.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace gemel::maildir {

// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF (RFC 3629).
bool IsUtf8(std::string_view text);

// InvalidArgument: not UTF-8.
absl::StatusOr<std::string> Utf7FromUtf8(std::string_view utf8);
// InvalidArgument: says what is wrong: 8-bit or control bytes, printable ASCII inside a shift, an unfinished or empty
// shift, padding bits that are not zero, a lone surrogate, a shift that follows another directly.
absl::StatusOr<std::string> Utf8FromUtf7(std::string_view utf7);

}  // namespace gemel::maildir
