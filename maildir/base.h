// An account's base: the metadata of every message and mailbox in one checksummed file, which outlives the journal's
// segments (design 3). State = base + journal + bodies. Bytes: maildir/README.md, "Base".
#pragma once
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "maildir/account_state.h"

namespace gemel::maildir {

std::string EncodeBase(const AccountState& state);
// DataLoss: damaged. Unimplemented: a version newer than ours. Never more memory than a small multiple of `bytes`.
absl::StatusOr<AccountState> DecodeBase(std::string_view bytes);

}  // namespace gemel::maildir
