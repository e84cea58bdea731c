#include "maildir/spool.h"

#include <fmt/format.h>

#include <utility>

#include "journal/log.h"

namespace gemel::maildir {

Spool::Spool(journal::Disk& disk, std::string directory, size_t memory_bytes_max)
    : disk_(disk), directory_(std::move(directory)), memory_bytes_max_(memory_bytes_max) {}

absl::Status Spool::Clear() {
  const auto names = disk_.List(directory_);
  if (!names.ok()) return disk_.MakeDirectories(directory_);
  for (const std::string& name : *names) {
    if (absl::Status s = disk_.RemoveTree(directory_ + "/" + name); !s.ok()) return s;
  }
  return absl::OkStatus();
}

std::string Spool::PathOf(const Dot& body) const {
  return fmt::format("{}/{:016x}-{:016x}-{}", directory_, body.origin.node, body.origin.incarnation, body.seq);
}

void Spool::Expect(const SpoolChunk& chunk, const SpoolMark& before) {
  const std::lock_guard lock(mutex_);
  auto& entry = entries_[chunk.body];
  if (entry != nullptr) return;
  entry = std::make_shared<Entry>();
  entry->before = before;
}

void Spool::Claim(const SpooledBody& body) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(body.body);
  if (it == entries_.end()) return;
  ++it->second->users;
  if (body.done) it->second->closed = true;
}

void Spool::Close(const Dot& body) {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(body);
  if (it != entries_.end()) it->second->closed = true;
}

absl::Status Spool::Write(SpoolChunk& chunk) {
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(chunk.body);
    if (it == entries_.end()) return absl::OkStatus();
    entry = it->second;
  }
  if (chunk.offset == 0 && chunk.last && chunk.bytes.size() <= memory_bytes_max_) {
    entry->bytes = std::make_shared<const std::string>(std::move(chunk.bytes));
    return absl::OkStatus();
  }
  if (entry->file == nullptr) {
    auto file = disk_.Open(PathOf(chunk.body), journal::OpenMode::kCreate);
    if (absl::IsNotFound(file.status())) {
      if (absl::Status s = disk_.MakeDirectories(directory_); !s.ok()) return s;
      file = disk_.Open(PathOf(chunk.body), journal::OpenMode::kCreate);
    }
    if (!file.ok()) return file.status();
    entry->file = *std::move(file);
  }
  absl::Status status = entry->file->WriteAt(chunk.offset, chunk.bytes);
  if (status.ok() && chunk.last) entry->file.reset();
  return status;
}

std::optional<Spool::Content> Spool::Source(const Dot& body) const {
  const std::lock_guard lock(mutex_);
  const auto it = entries_.find(body);
  if (it == entries_.end()) return std::nullopt;
  return Content{.bytes = it->second->bytes, .path = PathOf(body)};
}

void Spool::Release(const Dot& body) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(body);
    if (it == entries_.end()) return;
    if (it->second->users > 0) --it->second->users;
  }
  Sweep(body);
}

void Spool::Sweep(const Dot& body) {
  std::shared_ptr<Entry> gone;
  {
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(body);
    if (it == entries_.end() || !it->second->closed || it->second->users > 0) return;
    gone = std::move(it->second);
    entries_.erase(it);
  }
  gone->file.reset();
  if (gone->bytes != nullptr) return;
  const absl::Status status = disk_.Remove(PathOf(body));
  if (!status.ok() && !absl::IsNotFound(status)) {
    journal::Log(journal::LogLevel::kWarning, "spooled_body_not_removed",
                 {{"error", std::string_view(status.message().data(), status.message().size())}});
  }
}

std::optional<SpoolMark> Spool::oldest() const {
  const std::lock_guard lock(mutex_);
  std::optional<SpoolMark> oldest;
  for (const auto& [dot, entry] : entries_) {
    if (!oldest || entry->before.position < oldest->position) oldest = entry->before;
  }
  return oldest;
}

}  // namespace gemel::maildir
