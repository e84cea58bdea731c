// Files, behind one interface: PosixDisk in production, CrashDisk (journal/crash_disk.h) in tests, which records
// writes and syncs and can lose or tear what was not synced.
//
// Paths are absolute. All calls may block; all are thread-safe on different files, and one File may be used by one
// thread at a time except ReadAt, which may run beside anything. Errors: NotFound (no such file), AlreadyExists,
// ResourceExhausted (disk or quota full), OutOfRange (Link: the file has as many names as it may have), Unavailable
// (any other I/O error), each naming path and cause.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::journal {

class File {
 public:
  virtual ~File() = default;  // closes
  // Reads up to `bytes` into `out`; fewer only at the end of the file. Returns the count.
  virtual absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) = 0;
  virtual absl::Status WriteAt(uint64_t offset, std::string_view bytes) = 0;
  virtual absl::Status DataSync() = 0;  // fdatasync: never retried after a failure as if nothing had happened
  // A hint: what is to be synced later may as well go to the disk from now on. Waits for nothing, makes nothing
  // durable.
  virtual void BeginWriteback(uint64_t /*offset*/, uint64_t /*bytes*/) {}
  virtual absl::Status Truncate(uint64_t bytes) = 0;
  virtual absl::StatusOr<uint64_t> Size() = 0;
};

// One file system, to be synced as a whole. To be kept open for as long as somebody relies on it: that something could
// not be written back is told only to those who had it open by then, and once.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual absl::Status Sync() = 0;  // syncfs: never retried after a failure as if nothing had happened
};

struct FileInfo {
  uint64_t bytes = 0;
  int64_t mtime_s = 0;
  int64_t changed_s = 0;  // of the inode: no program can set it back. 0 where that is not known
  uint64_t inode = 0;
  uint64_t links = 0;
  bool is_directory = false;
};

enum class OpenMode {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // read and write, made if missing
  kCreateNew,  // read and write, AlreadyExists if there
};

class Disk {
 public:
  virtual ~Disk() = default;
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual absl::Status MakeDirectories(const std::string& path) = 0;                // with parents; fine if there
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  virtual absl::Status Link(const std::string& from, const std::string& to) = 0;    // AlreadyExists if `to` is there
  virtual absl::Status Remove(const std::string& path) = 0;                         // a file or an empty directory
  virtual absl::Status RemoveTree(const std::string& path) = 0;                     // fine if missing
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;  // names, sorted
  virtual absl::StatusOr<FileInfo> Stat(const std::string& path) = 0;  // FailedPrecondition: FIFO, link to a file
  virtual absl::Status SetModified(const std::string& path, int64_t mtime_s) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;  // fsync of the directory: makes names durable
  virtual absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string& path) = 0;  // that holds `path`
  virtual absl::StatusOr<uint64_t> FreeBytes(const std::string& path) = 0;

  // A new file with these bytes and this mtime, in as few system calls as there are; replaces nothing.
  virtual absl::Status CreateWhole(const std::string& path, std::string_view bytes, int64_t mtime_s);
  // Writes beside (path + ".new"), syncs, renames over, syncs the directory.
  absl::Status ReplaceDurably(const std::string& path, std::string_view bytes);
  absl::StatusOr<std::string> ReadWhole(const std::string& path);
};

std::unique_ptr<Disk> MakePosixDisk();

}  // namespace gemel::journal
