// Reads one account of a data directory without changing anything there, also beside the node whose it is: for tools.
//
// Not thread-safe. The files are a running node's to rename and remove at any moment; one that is not where it was is
// looked for once more.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "maildir/account_state.h"

namespace gemel::maildir {

class AccountReader {
 public:
  // `disk` must outlive the reader.
  AccountReader(journal::Disk& disk, const std::string& data_directory, std::string_view name);

  // NotFound: none. DataLoss: damaged. Both name the file.
  absl::StatusOr<AccountState> ReadBase() const;
  // Trace and body, wherever the message is by now: in any mailbox, waiting for its Place, or expunged. NotFound:
  // purged, or no file of it has its size.
  absl::StatusOr<std::string> ReadBody(const Message& message);

 private:
  void ListFiles();
  void ListDirectory(const std::string& path);

  journal::Disk& disk_;
  const std::string directory_;
  bool listed_ = false;
  absl::flat_hash_map<std::string, std::vector<std::string>> paths_of_;  // by base name; the living last
};

}  // namespace gemel::maildir
