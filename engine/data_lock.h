// One daemon a data directory.
#pragma once
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

}  // namespace gemel::engine
