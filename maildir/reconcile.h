// Compares one account's files with its state, and looks for letters that other programs put there.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "maildir/account_files.h"
#include "maildir/store.h"

namespace gemel::maildir {

// Store::Reconcile over the files alone. `settled` covers the messages whose files a checkpoint has made durable.
absl::StatusOr<std::vector<Store::MissingBody>> ReconcileFiles(AccountFiles& files, const AccountState& state,
                                                               const journal::VectorClock& settled,
                                                               const std::string& day, Store::Leftovers leftovers);

// What a directory looked like when it was last listed.
struct SeenDirectory {
  int64_t mtime_s = 0;
  int64_t listed_s = 0;
};
using SeenDirectories = absl::flat_hash_map<std::string, SeenDirectory>;  // without strangers; and files told of
absl::StatusOr<std::vector<Stranger>> FindStrangerFiles(const AccountFiles& files, int64_t now_s,
                                                        SeenDirectories* seen);
// Whether a new/ below `maildir` has some. Knows nothing of mailboxes, so that an account need not be opened for it.
absl::StatusOr<bool> HasStrangerFiles(journal::Disk& disk, const std::string& maildir, int64_t now_s,
                                      SeenDirectories* seen);

}  // namespace gemel::maildir
