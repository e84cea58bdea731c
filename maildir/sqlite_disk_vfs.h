// SQLite over a journal::Disk, so that crash tests lose parts of the index as they lose parts of all else.
// Production uses SQLite's own files (StoreOptions::sqlite_vfs empty): there others can read the index beside us, which
// needs shared memory and locks that a Disk does not have. Here a file has one user, and the index opens it with
// locking_mode=EXCLUSIVE, with which WAL needs neither.
#pragma once
#include <sqlite3.h>

#include <memory>
#include <string>

#include "journal/disk.h"

namespace gemel::maildir {

// Registers itself under a name of its own and leaves with its destructor. `disk` and this must outlive every database
// that was opened through it.
class SqliteDiskVfs {
 public:
  explicit SqliteDiskVfs(journal::Disk& disk);
  ~SqliteDiskVfs();
  SqliteDiskVfs(const SqliteDiskVfs&) = delete;
  SqliteDiskVfs& operator=(const SqliteDiskVfs&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
  sqlite3_vfs vfs_{};
};

}  // namespace gemel::maildir
