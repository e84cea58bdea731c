#include "journal/disk.h"

namespace gemel::journal {
namespace {

std::string ParentOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

absl::Status Disk::CreateWhole(const std::string& path, std::string_view bytes, int64_t mtime_s) {
  absl::StatusOr<std::unique_ptr<File>> file = Open(path, OpenMode::kCreateNew);
  if (!file.ok()) return file.status();
  absl::Status status = (*file)->WriteAt(0, bytes);
  file->reset();
  if (status.ok()) status = SetModified(path, mtime_s);
  if (!status.ok()) Remove(path).IgnoreError();  // half a file must not look like a whole one
  return status;
}

absl::Status Disk::ReplaceDurably(const std::string& path, std::string_view bytes) {
  const std::string beside = path + ".new";
  absl::StatusOr<std::unique_ptr<File>> file = Open(beside, OpenMode::kCreate);
  if (!file.ok()) return file.status();
  // One may be left over from a crash.
  if (absl::Status s = (*file)->Truncate(0); !s.ok()) return s;
  if (absl::Status s = (*file)->WriteAt(0, bytes); !s.ok()) return s;
  if (absl::Status s = (*file)->DataSync(); !s.ok()) return s;
  file->reset();
  if (absl::Status s = Rename(beside, path); !s.ok()) return s;
  return SyncDirectory(ParentOf(path));
}

absl::StatusOr<std::string> Disk::ReadWhole(const std::string& path) {
  absl::StatusOr<std::unique_ptr<File>> file = Open(path, OpenMode::kRead);
  if (!file.ok()) return file.status();
  absl::StatusOr<uint64_t> size = (*file)->Size();
  if (!size.ok()) return size.status();
  std::string bytes(*size, '\0');
  absl::StatusOr<size_t> count = (*file)->ReadAt(0, bytes.data(), bytes.size());
  if (!count.ok()) return count.status();
  bytes.resize(*count);
  return bytes;
}

}  // namespace gemel::journal
