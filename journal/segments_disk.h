// For tests: segments in memory that may change between two looks.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "journal/disk.h"

namespace gemel::journal {

// Segments in memory, so that half a million scans are quick.
class SegmentsDisk : public Disk {
 public:
  explicit SegmentsDisk(std::vector<const std::string*> segments) : segments_(std::move(segments)) {}
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode) override {
    return std::make_unique<Bytes>(segments_.at(static_cast<size_t>(path.back() - '1')));
  }
  absl::Status MakeDirectories(const std::string&) override { return Unused(); }
  absl::Status Rename(const std::string&, const std::string&) override { return Unused(); }
  absl::Status Link(const std::string&, const std::string&) override { return Unused(); }
  absl::Status Remove(const std::string&) override { return Unused(); }
  absl::Status RemoveTree(const std::string&) override { return Unused(); }
  absl::StatusOr<std::vector<std::string>> List(const std::string&) override {
    std::vector<std::string> names;
    for (size_t i = 1; i <= segments_.size(); ++i) names.push_back("segment-0000000" + std::to_string(i));
    return names;
  }
  absl::StatusOr<FileInfo> Stat(const std::string&) override { return Unused(); }
  absl::Status SetModified(const std::string&, int64_t) override { return Unused(); }
  absl::Status SyncDirectory(const std::string&) override { return Unused(); }
  absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string&) override { return Unused(); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string&) override { return Unused(); }

 private:
  class Bytes : public File {
   public:
    explicit Bytes(const std::string* bytes) : bytes_(bytes) {}
    absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
      return offset >= bytes_->size() ? size_t{0} : bytes_->copy(out, bytes, offset);
    }
    absl::Status WriteAt(uint64_t, std::string_view) override { return Unused(); }
    absl::Status DataSync() override { return Unused(); }
    absl::Status Truncate(uint64_t) override { return Unused(); }
    absl::StatusOr<uint64_t> Size() override { return bytes_->size(); }

   private:
    const std::string* bytes_;
  };
  static absl::Status Unused() { return absl::UnavailableError("not in this test"); }
  const std::vector<const std::string*> segments_;
};

}  // namespace gemel::journal
