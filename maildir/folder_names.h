// Mailbox names and the Maildir++ directories that stand for them.
//
// INBOX is the Maildir itself; "Lists/Café" is ".Lists.Caf&AOk-" in it. Inside a level a '.' would separate, so it is
// written as Dovecot's listescape plugin does: a backslash and two hexadecimal digits ("v1.0" is ".v1\2e0"). So Dovecot
// reads all names, those with '.' with `mail_plugins = listescape` and `separator = /`.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::maildir {

inline constexpr size_t kDirectoryNameBytesMax = 255;  // NAME_MAX

// INBOX in any case (RFC 9051, 5.1).
bool IsInbox(std::string_view name);
// "inbox/Work" as "INBOX/Work"; other names as they are.
std::string FoldInbox(std::string_view name);
// Whether both name the same mailbox: as written, but for the case of a first level INBOX.
bool IsSameMailbox(std::string_view a, std::string_view b);

// Whether a mailbox may be called so. `utf8` has '/' between its levels. InvalidArgument says what is wrong and reads
// well behind "NO ": not UTF-8, an empty level, "." or ".." as a level, a control character, too long on disk.
absl::Status CheckMailboxName(std::string_view utf8);

// "" for INBOX, else ".A.B". InvalidArgument as CheckMailboxName.
absl::StatusOr<std::string> DirectoryOfMailbox(std::string_view utf8);
// The way back. InvalidArgument: not a name that DirectoryOfMailbox gives.
absl::StatusOr<std::string> MailboxOfDirectory(std::string_view directory);

}  // namespace gemel::maildir
