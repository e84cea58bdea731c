#include "engine/data_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace gemel::engine {

absl::StatusOr<std::unique_ptr<DataLock>> DataLock::Take(const std::string& data_directory) {
  const std::string path = data_directory + "/node/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char pid[32] = {};
    if (pread(fd, pid, sizeof pid - 1, 0) <= 0) std::strcpy(pid, "unknown");
    close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat(data_directory, " is in use by another gemeld, process ", pid, ": one daemon a data directory"));
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    const int error = errno;
    close(fd);
    return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(error)));
  }
  return std::unique_ptr<DataLock>(new DataLock(fd));
}

DataLock::~DataLock() { close(fd_); }

}  // namespace gemel::engine
