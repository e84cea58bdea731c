// The files in which Dovecot 2.3 keeps what a Maildir's names do not say, so that it shows the same UIDs, flags and
// keywords. Formats: maildir/README.md, "Dovecot's files".
#pragma once
#include <string>

#include "absl/status/status.h"
#include "maildir/account_files.h"
#include "maildir/account_state.h"

namespace gemel::maildir {

std::string DovecotUidlist(const Mailbox& mailbox);
std::string DovecotKeywords(const Mailbox& mailbox);  // empty: no keywords, no file
std::string DovecotSubscriptions(const AccountState& state);

// Writes them into the account's Maildir. The files' names must be as the state says already.
absl::Status WriteDovecot(const AccountFiles& files, const AccountState& state);

}  // namespace gemel::maildir
