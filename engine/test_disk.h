// A disk that passes everything on to another: tests override what they want to see or to change.
#pragma once
#include <functional>
#include <map>
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

// The journals' files have the times of the test's clock when they were written, as `now_s` tells for a path.
class StampedDisk : public ForwardingDisk {
 public:
  using Now = std::function<int64_t(const std::string& path)>;
  StampedDisk(std::unique_ptr<journal::Disk> to, Now now_s) : ForwardingDisk(std::move(to)), now_s_(std::move(now_s)) {}

  absl::StatusOr<std::unique_ptr<journal::File>> Open(const std::string& path, journal::OpenMode mode) override {
    auto file = ForwardingDisk::Open(path, mode);
    if (!file.ok() || path.find("/journal/") == std::string::npos) return file;
    const auto info = ForwardingDisk::Stat(path);
    if (!info.ok()) return info.status();
    return std::make_unique<StampedFile>(*std::move(file),
                                         [this, path, inode = info->inode] { written_s_[inode] = now_s_(path); });
  }
  absl::StatusOr<journal::FileInfo> Stat(const std::string& path) override {
    auto info = ForwardingDisk::Stat(path);
    if (!info.ok()) return info;
    const auto written = written_s_.find(info->inode);
    if (written != written_s_.end()) info->mtime_s = written->second;
    return info;
  }

 private:
  class StampedFile : public journal::File {
   public:
    StampedFile(std::unique_ptr<journal::File> to, std::function<void()> written)
        : to_(std::move(to)), written_(std::move(written)) {}
    absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
      return to_->ReadAt(offset, out, bytes);
    }
    absl::Status WriteAt(uint64_t offset, std::string_view bytes) override {
      written_();
      return to_->WriteAt(offset, bytes);
    }
    absl::Status DataSync() override { return to_->DataSync(); }
    absl::Status Truncate(uint64_t bytes) override { return to_->Truncate(bytes); }
    absl::StatusOr<uint64_t> Size() override { return to_->Size(); }

   private:
    const std::unique_ptr<journal::File> to_;
    const std::function<void()> written_;
  };

  const Now now_s_;
  std::map<uint64_t, int64_t> written_s_;  // by inode
};

}  // namespace gemel::engine::testing
