// Who may use a data directory: one daemon, and beside it those who read its journal.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace gemel::engine {

// Holds <data>/node/lock (flock) until it is destroyed; the kernel lets go when the process dies.
class DataLock {
 public:
  // FailedPrecondition: another process has it, and which. Unavailable: the file cannot be made.
  static absl::StatusOr<std::unique_ptr<DataLock>> Take(const std::string& data_directory);
  ~DataLock();
  DataLock(const DataLock&) = delete;
  DataLock& operator=(const DataLock&) = delete;

 private:
  explicit DataLock(int fd) : fd_(fd) {}
  int fd_;
};

// Keeps a node from retiring journal segments while another process reads them (gemel replay, export, verify): flock on
// <data>/node/readers, shared by readers. Segments that nobody retires pile up, so hold it for no longer than it takes.
class JournalHold {
 public:
  // For readers. nullptr: no daemon has ever run there. Unavailable: a daemon retires just now, for longer than
  // `wait_ms`; or the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<JournalHold>> Take(const std::string& data_directory, uint64_t wait_ms);
  // For the node, while it retires. nullptr: somebody reads, or the file cannot be made.
  static std::unique_ptr<JournalHold> TakeAlone(const std::string& data_directory);
  ~JournalHold();
  JournalHold(const JournalHold&) = delete;
  JournalHold& operator=(const JournalHold&) = delete;

 private:
  explicit JournalHold(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace gemel::engine
