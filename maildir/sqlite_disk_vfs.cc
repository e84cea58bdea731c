#include "maildir/sqlite_disk_vfs.h"

#include <atomic>
#include <cstring>
#include <new>

namespace gemel::maildir {
namespace {

using journal::Disk;
using journal::File;

constexpr int kPathBytesMax = 1024;
constexpr int kSectorBytes = 512;

// SQLite allocates it; `file` is made and destroyed by hand.
struct VfsFile {
  sqlite3_file base;
  File* file;
  Disk* disk;
  std::string* path;
  bool delete_on_close;
  // Made just now: its first sync makes its name durable too, as SQLite's own files do for a log. Else a log that was
  // removed could come back in place of this one.
  bool sync_directory;
};

Disk& DiskOf(sqlite3_vfs* vfs) { return *static_cast<Disk*>(vfs->pAppData); }
VfsFile& Of(sqlite3_file* file) { return *reinterpret_cast<VfsFile*>(file); }

int CodeOf(const absl::Status& status, int otherwise) {
  if (status.ok()) return SQLITE_OK;
  return absl::IsResourceExhausted(status) ? SQLITE_FULL : otherwise;
}

int Close(sqlite3_file* file) {
  VfsFile& of = Of(file);
  delete of.file;
  if (of.delete_on_close) of.disk->Remove(*of.path).IgnoreError();
  delete of.path;
  of.file = nullptr;
  of.path = nullptr;
  return SQLITE_OK;
}

int Read(sqlite3_file* file, void* out, int bytes, sqlite3_int64 offset) {
  const auto count =
      Of(file).file->ReadAt(static_cast<uint64_t>(offset), static_cast<char*>(out), static_cast<size_t>(bytes));
  if (!count.ok()) return SQLITE_IOERR_READ;
  if (*count == static_cast<size_t>(bytes)) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + *count, 0, static_cast<size_t>(bytes) - *count);
  return SQLITE_IOERR_SHORT_READ;
}

int Write(sqlite3_file* file, const void* in, int bytes, sqlite3_int64 offset) {
  const std::string_view content(static_cast<const char*>(in), static_cast<size_t>(bytes));
  return CodeOf(Of(file).file->WriteAt(static_cast<uint64_t>(offset), content), SQLITE_IOERR_WRITE);
}

int Truncate(sqlite3_file* file, sqlite3_int64 bytes) {
  return CodeOf(Of(file).file->Truncate(static_cast<uint64_t>(bytes)), SQLITE_IOERR_TRUNCATE);
}

int Sync(sqlite3_file* file, int /*flags*/) {
  VfsFile& of = Of(file);
  absl::Status status = of.file->DataSync();
  if (status.ok() && of.sync_directory) {
    status = of.disk->SyncDirectory(of.path->substr(0, of.path->rfind('/')));
    of.sync_directory = !status.ok();
  }
  return CodeOf(status, SQLITE_IOERR_FSYNC);
}

int Size(sqlite3_file* file, sqlite3_int64* bytes) {
  const auto size = Of(file).file->Size();
  if (!size.ok()) return SQLITE_IOERR_FSTAT;
  *bytes = static_cast<sqlite3_int64>(*size);
  return SQLITE_OK;
}

// One user: every lock is granted, and nobody else ever has one.
int Lock(sqlite3_file*, int) { return SQLITE_OK; }
int CheckLock(sqlite3_file*, int* held) {
  *held = 0;
  return SQLITE_OK;
}
int Control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int SectorSize(sqlite3_file*) { return kSectorBytes; }
int Characteristics(sqlite3_file*) { return 0; }  // promises nothing: no atomic writes, no order

const sqlite3_io_methods kMethods = {
    // Version 1: no shared memory, so that SQLite uses WAL in exclusive mode only.
    1,          Close,           Read,    Write,   Truncate, Sync,    Size,    Lock,   Lock, CheckLock, Control,
    SectorSize, Characteristics, nullptr, nullptr, nullptr,  nullptr, nullptr, nullptr};

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* out, int flags, int* out_flags) {
  VfsFile& of = Of(out);
  of = {};
  // Temporary files are kept in memory (PRAGMA temp_store), so every file has a name.
  if (path == nullptr) return SQLITE_CANTOPEN;
  journal::OpenMode mode = journal::OpenMode::kReadWrite;
  if ((flags & SQLITE_OPEN_CREATE) != 0) mode = journal::OpenMode::kCreate;
  const bool is_new = mode == journal::OpenMode::kCreate && !DiskOf(vfs).Stat(path).ok();
  auto file = DiskOf(vfs).Open(path, mode);
  if (!file.ok()) return CodeOf(file.status(), SQLITE_CANTOPEN);
  of.file = file->release();
  of.disk = &DiskOf(vfs);
  of.path = new std::string(path);
  of.delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
  of.sync_directory = is_new;
  of.base.pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  const absl::Status status = DiskOf(vfs).Remove(path);
  if (absl::IsNotFound(status)) return SQLITE_IOERR_DELETE_NOENT;
  if (!status.ok()) return SQLITE_IOERR_DELETE;
  if (sync_directory == 0) return SQLITE_OK;
  const std::string name(path);
  return CodeOf(DiskOf(vfs).SyncDirectory(name.substr(0, name.rfind('/'))), SQLITE_IOERR_DIR_FSYNC);
}

int Access(sqlite3_vfs* vfs, const char* path, int /*flags*/, int* there) {
  const auto info = DiskOf(vfs).Stat(path);
  if (!info.ok() && !absl::IsNotFound(info.status())) return SQLITE_IOERR_ACCESS;
  *there = info.ok() ? 1 : 0;
  return SQLITE_OK;
}

int FullPath(sqlite3_vfs*, const char* path, int bytes, char* out) {
  if (std::strlen(path) >= static_cast<size_t>(bytes)) return SQLITE_CANTOPEN;
  std::memcpy(out, path, std::strlen(path) + 1);  // they are absolute already
  return SQLITE_OK;
}

// Repeatable, but never twice the same: it salts the log, by which an older log's frames are told from its own.
int Randomness(sqlite3_vfs*, int bytes, char* out) {
  static std::atomic<uint32_t> count{1};
  uint32_t value = count++;
  for (int i = 0; i < bytes; ++i) {
    value = value * 1664525 + 1013904223;
    out[i] = static_cast<char>(value >> 24);
  }
  return bytes;
}
int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
int CurrentTime(sqlite3_vfs*, double* julian_day) {
  *julian_day = 2460000.5;
  return SQLITE_OK;
}
int LastError(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

SqliteDiskVfs::SqliteDiskVfs(journal::Disk& disk) {
  static std::atomic<int> count{0};
  name_ = "gemel-disk-" + std::to_string(count++);
  vfs_.iVersion = 1;
  vfs_.szOsFile = sizeof(VfsFile);
  vfs_.mxPathname = kPathBytesMax;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = &disk;
  vfs_.xOpen = Open;
  vfs_.xDelete = Delete;
  vfs_.xAccess = Access;
  vfs_.xFullPathname = FullPath;
  vfs_.xRandomness = Randomness;
  vfs_.xSleep = Sleep;
  vfs_.xCurrentTime = CurrentTime;
  vfs_.xGetLastError = LastError;
  sqlite3_vfs_register(&vfs_, 0);
}

SqliteDiskVfs::~SqliteDiskVfs() { sqlite3_vfs_unregister(&vfs_); }

}  // namespace gemel::maildir
