#include "engine/data_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace gemel::engine {
namespace {

constexpr int kTryMs = 20;

}  // namespace

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

absl::StatusOr<std::unique_ptr<JournalHold>> JournalHold::Take(const std::string& data_directory, uint64_t wait_ms) {
  const std::string path = data_directory + "/node/readers";
  // Only read: it may be another user's, or on a snapshot.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::unique_ptr<JournalHold>();
  if (fd < 0) return absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(errno)));
  for (uint64_t waited_ms = 0; flock(fd, LOCK_SH | LOCK_NB) != 0; waited_ms += kTryMs) {
    if (waited_ms >= wait_ms) {
      close(fd);
      return absl::UnavailableError("gemeld retires old journal segments just now; try again in a moment");
    }
    poll(nullptr, 0, kTryMs);
  }
  return std::unique_ptr<JournalHold>(new JournalHold(fd));
}

std::unique_ptr<JournalHold> JournalHold::TakeAlone(const std::string& data_directory) {
  const int fd = open((data_directory + "/node/readers").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return nullptr;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return std::unique_ptr<JournalHold>(new JournalHold(fd));
  close(fd);
  return nullptr;
}

JournalHold::~JournalHold() { close(fd_); }

}  // namespace gemel::engine
