// The operating system's files behind journal/disk.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "journal/disk.h"

namespace gemel::journal {
namespace {

absl::Status ErrnoStatus(int error, std::string_view what, const std::string& path) {
  char buffer[128];
  const std::string message = std::string(what) + " " + path + ": " + strerror_r(error, buffer, sizeof buffer);
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EEXIST:
      return absl::AlreadyExistsError(message);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(message);
    case EMLINK:
      return absl::OutOfRangeError(message);
    default:
      return absl::UnavailableError(message);
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int OpenRetrying(const char* path, int flags, mode_t mode = 0) {
  int fd;
  do {
    fd = open(path, flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

absl::Status WriteAll(int fd, uint64_t offset, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, "write", path);
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
    size_t done = 0;
    while (done < bytes) {
      const ssize_t n = pread(fd_.get(), out + done, bytes - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, "read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  absl::Status WriteAt(uint64_t offset, std::string_view bytes) override {
    return WriteAll(fd_.get(), offset, bytes, path_);
  }

  absl::Status DataSync() override {
    // Not retried on EINTR either: what the first call has cleared, the second would not report.
    if (fdatasync(fd_.get()) != 0) return ErrnoStatus(errno, "fdatasync", path_);
    return absl::OkStatus();
  }

  void BeginWriteback(uint64_t offset, uint64_t bytes) override {
    // What fails is told by DataSync.
    sync_file_range(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(bytes), SYNC_FILE_RANGE_WRITE);
  }

  absl::Status Truncate(uint64_t bytes) override {
    if (ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return ErrnoStatus(errno, "truncate", path_);
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    struct stat info;
    if (fstat(fd_.get(), &info) != 0) return ErrnoStatus(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class PosixFileSystem : public FileSystem {
 public:
  PosixFileSystem(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  absl::Status Sync() override {
    if (syncfs(fd_.get()) != 0) return ErrnoStatus(errno, "syncfs", path_);
    return absl::OkStatus();
  }

 private:
  Descriptor fd_;
  std::string path_;
};

class PosixDisk : public Disk {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags = O_RDWR;
    if (mode == OpenMode::kRead) flags = O_RDONLY | O_NONBLOCK;  // nobody waits for a FIFO's writer
    if (mode == OpenMode::kCreate) flags |= O_CREAT;
    if (mode == OpenMode::kCreateNew) flags |= O_CREAT | O_EXCL;
    const int fd = OpenRetrying(path.c_str(), flags, 0600);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    return std::make_unique<PosixFile>(fd, path);
  }

  absl::Status MakeDirectories(const std::string& path) override {
    if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
    if (errno == ENOENT) {
      const size_t slash = path.find_last_of('/');
      if (slash == std::string::npos || slash == 0) return ErrnoStatus(ENOENT, "make directory", path);
      if (absl::Status s = MakeDirectories(path.substr(0, slash)); !s.ok()) return s;
      if (mkdir(path.c_str(), 0700) == 0) return absl::OkStatus();
    }
    const int error = errno;
    struct stat info;
    if (error == EEXIST && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
    return ErrnoStatus(error, "make directory", path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "rename", from + " to " + to);
  }

  absl::Status Link(const std::string& from, const std::string& to) override {
    if (link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "link", from + " to " + to);
  }

  absl::Status Remove(const std::string& path) override {
    if (remove(path.c_str()) == 0) return absl::OkStatus();
    return ErrnoStatus(errno, "remove", path);
  }

  absl::Status RemoveTree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return ErrnoStatus(error.value(), "remove tree", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return ErrnoStatus(errno, "list", directory);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(dir);
    if (error != 0) return ErrnoStatus(error, "list", directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<FileInfo> Stat(const std::string& path) override {
    struct stat info;
    if (lstat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
    const bool is_link = S_ISLNK(info.st_mode);
    if (is_link && stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
    if (!S_ISDIR(info.st_mode) && (is_link || !S_ISREG(info.st_mode))) {
      return absl::FailedPreconditionError(path + " is not a file");
    }
    return FileInfo{.bytes = static_cast<uint64_t>(info.st_size),
                    .mtime_s = info.st_mtim.tv_sec,
                    .changed_s = info.st_ctim.tv_sec,
                    .inode = info.st_ino,
                    .links = info.st_nlink,
                    .is_directory = S_ISDIR(info.st_mode)};
  }

  absl::Status SetModified(const std::string& path, int64_t mtime_s) override {
    const timespec times[2] = {{mtime_s, 0}, {mtime_s, 0}};
    if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return ErrnoStatus(errno, "set time of", path);
    return absl::OkStatus();
  }

  absl::Status SyncDirectory(const std::string& path) override {
    Descriptor fd(OpenRetrying(path.c_str(), O_RDONLY | O_DIRECTORY));
    if (!fd) return ErrnoStatus(errno, "open", path);
    if (fsync(fd.get()) != 0) return ErrnoStatus(errno, "fsync", path);
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string& path) override {
    const int fd = OpenRetrying(path.c_str(), O_RDONLY);
    if (fd < 0) return ErrnoStatus(errno, "open", path);
    return std::make_unique<PosixFileSystem>(fd, path);
  }

  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override {
    struct statvfs info;
    if (statvfs(path.c_str(), &info) != 0) return ErrnoStatus(errno, "statvfs", path);
    return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  }

  absl::Status CreateWhole(const std::string& path, std::string_view bytes, int64_t mtime_s) override {
    // A file without a name, which gets its name when it is whole: no other reader sees half of it, and it costs
    // 3 us less than a file in tmp/ and a rename.
    const std::string directory = path.substr(0, path.find_last_of('/'));
    Descriptor fd(OpenRetrying(directory.c_str(), O_TMPFILE | O_RDWR, 0600));
    if (!fd) {
      if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) {
        return Disk::CreateWhole(path, bytes, mtime_s);  // a file system without it
      }
      return ErrnoStatus(errno, "create", path);
    }
    if (absl::Status s = WriteAll(fd.get(), 0, bytes, path); !s.ok()) return s;
    const timespec times[2] = {{mtime_s, 0}, {mtime_s, 0}};
    if (futimens(fd.get(), times) != 0) return ErrnoStatus(errno, "set time of", path);
    char self[40];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd.get());
    if (linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) return absl::OkStatus();
    if (errno == ENOENT && access("/proc/self/fd", F_OK) != 0) {  // no /proc in this chroot
      return Disk::CreateWhole(path, bytes, mtime_s);
    }
    return ErrnoStatus(errno, "create", path);
  }
};

}  // namespace

std::unique_ptr<Disk> MakePosixDisk() { return std::make_unique<PosixDisk>(); }

}  // namespace gemel::journal
