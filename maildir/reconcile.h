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

// Store::Reconcile over the files alone. `settled` covers the messages whose files a checkpoint has made durable;
// `sync` syncs the file system.
absl::StatusOr<std::vector<Store::MissingBody>> ReconcileFiles(AccountFiles& files, const AccountState& state,
                                                               const journal::VectorClock& settled,
                                                               const std::string& day, Store::Leftovers leftovers,
                                                               const std::function<absl::Status()>& sync);

// Which of some files with names of ours are a message's, by base.
struct FileOwner {
  std::string path;  // where the message's file is; empty while that changes
  uint64_t bytes = 0;
};
using FileOwners = absl::flat_hash_map<std::string, FileOwner>;
// An error: cannot be told now.
using FindOwners =
    std::function<absl::StatusOr<FileOwners>(const std::string& mailbox_path, const std::vector<std::string>& bases)>;

// What a directory looked like when it was last listed. Of a file: it was told of.
struct SeenDirectory {
  int64_t mtime_s = 0;  // -1: list it again in any case
  int64_t listed_s = 0;
  std::vector<uint64_t> own = {};  // hashes of the names of ours that are messages', sorted
};
using SeenDirectories = absl::flat_hash_map<std::string, SeenDirectory>;
absl::StatusOr<std::vector<Stranger>> FindStrangerFiles(const AccountFiles& files, int64_t now_s,
                                                        const FindOwners& find_owners, SeenDirectories* seen);
// Whether a new/ below `maildir` has some. Knows nothing of mailboxes, so that an account need not be opened for it,
// and keeps no names: of those of ours it asks only for files that came since the last listing, at first since
// `since_s`.
absl::StatusOr<bool> HasStrangerFiles(journal::Disk& disk, const std::string& maildir, int64_t now_s, int64_t since_s,
                                      const FindOwners& find_owners, SeenDirectories* seen);

}  // namespace gemel::maildir
