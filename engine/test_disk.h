// A disk that passes everything on to another: tests override what they want to see or to change.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "journal/disk.h"

namespace gemel::engine::testing {

class ForwardingDisk : public journal::Disk {
 public:
  explicit ForwardingDisk(std::unique_ptr<journal::Disk> to) : to_(std::move(to)) {}
  absl::StatusOr<std::unique_ptr<journal::File>> Open(const std::string& path, journal::OpenMode mode) override {
    return to_->Open(path, mode);
  }
  absl::Status MakeDirectories(const std::string& path) override { return to_->MakeDirectories(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override { return to_->Rename(from, to); }
  absl::Status Link(const std::string& from, const std::string& to) override { return to_->Link(from, to); }
  absl::Status Remove(const std::string& path) override { return to_->Remove(path); }
  absl::Status RemoveTree(const std::string& path) override { return to_->RemoveTree(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override { return to_->List(path); }
  absl::StatusOr<journal::FileInfo> Stat(const std::string& path) override { return to_->Stat(path); }
  absl::Status SetModified(const std::string& path, int64_t mtime_s) override {
    return to_->SetModified(path, mtime_s);
  }
  absl::Status SyncDirectory(const std::string& path) override { return to_->SyncDirectory(path); }
  absl::Status SyncFileSystem(const std::string& path) override { return to_->SyncFileSystem(path); }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override { return to_->FreeBytes(path); }
  absl::Status CreateWhole(const std::string& path, std::string_view bytes, int64_t mtime_s) override {
    return to_->CreateWhole(path, bytes, mtime_s);
  }

 private:
  const std::unique_ptr<journal::Disk> to_;
};

}  // namespace gemel::engine::testing
