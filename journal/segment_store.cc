#include "journal/segment_store.h"

#include <algorithm>

namespace gemel::journal {
namespace {

constexpr uint64_t kSliceBytes = 256 * 1024;
constexpr size_t kSparesMax = 2;

}  // namespace

absl::Status SegmentStore::Open() {
  absl::StatusOr<std::vector<SegmentNumber>> found = ListSpares(disk_, options_.directory);
  if (!found.ok()) return found.status();
  for (SegmentNumber number : *found) {
    const std::string path = SparePath(options_.directory, number);
    absl::StatusOr<FileInfo> info = disk_.Stat(path);
    if (!info.ok()) return info.status();
    next_spare_ = std::max(next_spare_, number + 1);
    if (info->bytes == options_.segment_bytes && spares_.size() < kSparesMax) {
      spares_.push_back(number);
    } else if (absl::Status s = disk_.Remove(path); !s.ok()) {
      return s;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> SegmentStore::OpenLast(SegmentNumber number, uint64_t known_durable, uint64_t end,
                                                             uint64_t cut_bytes) {
  // The name may be newer than the last sync of the directory.
  if (absl::Status s = disk_.SyncDirectory(options_.directory); !s.ok()) return s;
  absl::StatusOr<std::unique_ptr<File>> file =
      disk_.Open(SegmentPath(options_.directory, number), OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  std::string bytes;
  if (end > known_durable) {
    bytes.resize(end - known_durable);
    absl::StatusOr<size_t> got = (*file)->ReadAt(known_durable, bytes.data(), bytes.size());
    if (!got.ok()) return got.status();
    bytes.resize(*got);
  } else {
    known_durable = end;
  }
  bytes.resize(bytes.size() + cut_bytes);
  if (bytes.empty()) return file;
  if (absl::Status s = (*file)->WriteAt(known_durable, bytes); !s.ok()) return s;
  if (absl::Status s = (*file)->DataSync(); !s.ok()) return s;
  return file;
}

absl::StatusOr<std::unique_ptr<File>> SegmentStore::Begin(const SegmentHeader& header) {
  const bool is_long = header.segment_bytes != options_.segment_bytes;
  if (is_long) {
    if (absl::Status s = MakeLong(SparePath(options_.directory, next_spare_ + 1), header.segment_bytes); !s.ok()) {
      return s;
    }
  } else if (spares_.empty()) {
    if (absl::Status s = Grow(options_.segment_bytes); !s.ok()) return s;
  }
  const std::string spare = SparePath(options_.directory, is_long ? next_spare_ + 1 : spares_.back());
  absl::StatusOr<std::unique_ptr<File>> file = disk_.Open(spare, OpenMode::kReadWrite);
  if (!file.ok()) return file.status();
  if (absl::Status s = (*file)->WriteAt(0, EncodeSegmentHeader(header)); !s.ok()) return s;
  // The header before the name: a segment whose header does not verify is damaged, not young.
  if (absl::Status s = (*file)->DataSync(); !s.ok()) return absl::UnavailableError(std::string(s.message()));
  if (absl::Status s = disk_.Rename(spare, SegmentPath(options_.directory, header.number)); !s.ok()) return s;
  if (!is_long) spares_.pop_back();
  if (absl::Status s = disk_.SyncDirectory(options_.directory); !s.ok()) {
    return absl::UnavailableError(std::string(s.message()));
  }
  return file;
}

absl::Status SegmentStore::MakeLong(const std::string& path, uint64_t bytes) {
  disk_.Remove(path).IgnoreError();  // of an attempt before
  absl::StatusOr<std::unique_ptr<File>> file = disk_.Open(path, OpenMode::kCreate);
  if (!file.ok()) return file.status();
  const std::string zeros(kSliceBytes, '\0');
  for (uint64_t at = 0; at < bytes; at += zeros.size()) {
    absl::Status status = (*file)->WriteAt(at, std::string_view(zeros).substr(0, std::min(kSliceBytes, bytes - at)));
    if (status.ok()) continue;
    file->reset();
    disk_.Remove(path).IgnoreError();
    return status;
  }
  return absl::OkStatus();
}

absl::Status SegmentStore::Grow(uint64_t bytes) {
  const std::string path = SparePath(options_.directory, next_spare_);
  if (growing_ == nullptr) {
    absl::StatusOr<std::unique_ptr<File>> file = disk_.Open(path, OpenMode::kCreate);
    if (!file.ok()) return file.status();
    growing_ = *std::move(file);
    growing_bytes_ = 0;
  }
  const std::string zeros(std::min(kSliceBytes, options_.segment_bytes), '\0');
  bytes = std::min(bytes, options_.segment_bytes);
  while (growing_bytes_ < bytes) {
    const uint64_t slice = std::min<uint64_t>(zeros.size(), options_.segment_bytes - growing_bytes_);
    absl::Status status = growing_->WriteAt(growing_bytes_, std::string_view(zeros).substr(0, slice));
    if (!status.ok()) {
      growing_.reset();
      growing_bytes_ = 0;
      disk_.Remove(path).IgnoreError();  // gives back the room on a full disk
      return status;
    }
    growing_->BeginWriteback(growing_bytes_, slice);  // or the header's sync would wait for all of it
    growing_bytes_ += slice;
  }
  if (growing_bytes_ == options_.segment_bytes) {
    growing_.reset();
    growing_bytes_ = 0;
    spares_.push_back(next_spare_++);
  }
  return absl::OkStatus();
}

void SegmentStore::PrepareSpare(uint64_t offset, uint64_t segment_bytes) {
  if (!spares_.empty() || offset < segment_bytes / 2) return;
  const uint64_t due =
      static_cast<uint64_t>(2.0 * static_cast<double>(offset - segment_bytes / 2) / static_cast<double>(segment_bytes) *
                            static_cast<double>(options_.segment_bytes));
  if (due > growing_bytes_) Grow(due).IgnoreError();
}

absl::Status SegmentStore::Recycle(SegmentNumber number, uint64_t segment_bytes) {
  const std::string path = SegmentPath(options_.directory, number);
  const bool reuse = segment_bytes == options_.segment_bytes && spares_.size() < kSparesMax && growing_ == nullptr;
  absl::Status status = reuse ? disk_.Rename(path, SparePath(options_.directory, next_spare_)) : disk_.Remove(path);
  if (!status.ok()) return status;
  const SegmentNumber spare = reuse ? next_spare_++ : 0;
  // After a failed sync the old name may stay on the disk for good: what is written into that file would bear it.
  status = disk_.SyncDirectory(options_.directory);
  if (status.ok() && reuse) spares_.push_back(spare);
  return status;
}

}  // namespace gemel::journal
