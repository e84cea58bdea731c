// Compares one account's files with its state, and looks for letters that other programs put there.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "maildir/account_files.h"
#include "maildir/store.h"

namespace gemel::maildir {

// Store::Reconcile over the files alone. `settled` covers the messages whose files a checkpoint has made durable.
absl::StatusOr<std::vector<Store::MissingBody>> ReconcileFiles(AccountFiles& files, const AccountState& state,
                                                               const journal::VectorClock& settled,
                                                               const std::string& day);

// What a directory looked like when it was last listed.
struct SeenDirectory {
  int64_t mtime_s = 0;
  int64_t listed_s = 0;
};
absl::StatusOr<std::vector<Stranger>> FindStrangerFiles(const AccountFiles& files, const AccountState& state,
                                                        int64_t now_s, std::map<std::string, SeenDirectory>* seen);

}  // namespace gemel::maildir
