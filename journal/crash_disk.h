// A disk in memory for tests. By itself it behaves like a fast, faultless file system; it can also
//   - say what it would hold after a power cut at this moment, with any part of the unsynced operations lost (Image),
//   - fail the Nth operation, once or for ever (FailAt), and run full (SetCapacity).
//
// Fault model. A write or truncation is unsynced until DataSync of its file or a sync of the file system; a name (made,
// renamed, linked, removed) until SyncDirectory of its directory or a sync of the file system. Of the unsynced
// operations any subset may survive, in 512-byte sectors of a write; those that survive are applied in their order.
// What was synced survives. After a failed sync (of a file, a directory, the file system) what was pending in it is
// gone for the disk though reads still show it, and a later sync does not bring it back; who had the file, or the file
// system, open is told so by the next sync, once (as Linux does it). A sync for which the disk is only full loses
// nothing, but for DataSync. Not modelled: what was synced going bad; tests flip bits for that.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "journal/disk.h"

namespace gemel::journal {

class CrashDisk : public Disk {
 public:
  static constexpr size_t kSectorBytes = 512;

  CrashDisk();
  ~CrashDisk() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Link(const std::string& from, const std::string& to) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status RemoveTree(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::StatusOr<FileInfo> Stat(const std::string& path) override;
  absl::Status SetModified(const std::string& path, int64_t mtime_s) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string& path) override;
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override;

  // One operation that a crash may lose.
  struct Unsynced {
    std::string what;    // for messages
    size_t sectors = 1;  // that it writes; 1 for all but writes
  };
  std::vector<Unsynced> unsynced() const;
  // The disk after a crash now. `keep(operation, sector)` says what survives; indexes as in unsynced().
  std::unique_ptr<CrashDisk> Image(const std::function<bool(size_t operation, size_t sector)>& keep) const;
  // The two ends.
  std::unique_ptr<CrashDisk> ImageOfSynced() const;
  std::unique_ptr<CrashDisk> ImageOfAll() const;

  // Called before each operation that changes or syncs anything, with its description, on the caller's thread.
  void SetObserver(std::function<void(const std::string& what)> observer);
  // How many such operations there have been. Reads do not count.
  uint64_t operations() const;
  // The operation that would be number `nth` (counted as by operations(), from 0) fails with `error` instead, and all
  // after it if `for_ever`. An OkStatus ends it.
  void FailAt(uint64_t nth, absl::Status error, bool for_ever);
  // ResourceExhausted where the files' bytes would exceed this. At first there is no limit.
  void SetCapacity(uint64_t bytes);

  struct Inode;
  struct NameChange;

 private:
  friend class CrashFile;
  friend class CrashFileSystem;
  using InodePtr = std::shared_ptr<Inode>;

  absl::Status Begin(const std::string& what);  // observer, counter, injected failure
  InodePtr Find(const std::string& path) const;
  // The directory and the last name of `path`.
  absl::StatusOr<std::pair<InodePtr, std::string>> Parent(const std::string& path) const;
  void Commit(NameChange change);
  enum class Fate { kSynced, kLost };
  void EndNames(const Inode* directory, Fate fate);  // nullptr: all
  static void SyncData(Inode& inode);
  absl::Status SyncAll(uint64_t* failures_seen);

  mutable std::mutex mutex_;  // guards all below, and every inode
  InodePtr root_;
  std::vector<NameChange> names_pending_;
  uint64_t next_inode_ = 1;
  uint64_t next_stamp_ = 1;
  uint64_t failed_syncs_ = 0;  // that lost something
  uint64_t used_bytes_ = 0;
  uint64_t capacity_bytes_;
  std::function<void(const std::string&)> observer_;
  uint64_t operations_ = 0;
  uint64_t fail_at_;
  absl::Status fail_with_;
  bool fail_for_ever_ = false;
};

}  // namespace gemel::journal
