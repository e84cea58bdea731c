#include "journal/crash_disk.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

namespace gemel::journal {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

absl::Status NotFound(const std::string& path) { return absl::NotFoundError(path + ": no such file or directory"); }
absl::Status Exists(const std::string& path) { return absl::AlreadyExistsError(path + ": exists"); }

std::vector<std::string> Split(const std::string& path) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at < path.size()) {
    size_t slash = path.find('/', at);
    if (slash == std::string::npos) slash = path.size();
    if (slash > at) parts.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return parts;
}

// A change of a file's content that is not synced.
struct DataChange {
  uint64_t stamp = 0;  // order among all operations
  bool truncate = false;
  uint64_t offset = 0;  // or the new size
  std::string bytes;
  int64_t mtime_s = -1;  // >= 0: only that

  size_t sectors() const {
    if (truncate || bytes.empty()) return 1;
    const uint64_t first = offset / CrashDisk::kSectorBytes;
    const uint64_t last = (offset + bytes.size() - 1) / CrashDisk::kSectorBytes;
    return static_cast<size_t>(last - first + 1);
  }
};

void WriteInto(std::string* content, uint64_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  if (content->size() < offset + bytes.size()) content->resize(offset + bytes.size());
  content->replace(offset, bytes.size(), bytes);
}

// Applies those sectors of a change that `keep` names.
template <class Keep>
void ApplyPart(const DataChange& change, std::string* content, int64_t* mtime_s, const Keep& keep) {
  if (change.mtime_s >= 0) {
    if (keep(0)) *mtime_s = change.mtime_s;
  } else if (change.truncate) {
    if (keep(0)) content->resize(change.offset);
  } else {
    uint64_t at = change.offset;
    const uint64_t end = change.offset + change.bytes.size();
    for (size_t sector = 0; at < end; ++sector) {
      const uint64_t next = std::min(end, (at / CrashDisk::kSectorBytes + 1) * CrashDisk::kSectorBytes);
      if (keep(sector)) {
        WriteInto(content, at, std::string_view(change.bytes).substr(at - change.offset, next - at));
      }
      at = next;
    }
  }
}

}  // namespace

struct CrashDisk::Inode {
  uint64_t number = 0;
  bool is_directory = false;
  uint64_t links = 0;
  // What reads see, and what a crash leaves at least.
  std::string content;
  std::string synced;
  int64_t mtime_s = 0;
  int64_t mtime_synced_s = 0;
  std::vector<DataChange> pending;
  bool lost_some = false;  // and who has it open was not told yet
  std::map<std::string, std::shared_ptr<Inode>> entries;
  std::map<std::string, std::shared_ptr<Inode>> entries_synced;
};

// One operation on names: sets (or, without an inode, removes) entries of directories, all or none of them.
struct CrashDisk::NameChange {
  struct Set {
    std::shared_ptr<Inode> directory;
    std::string name;
    std::shared_ptr<Inode> inode;
  };
  uint64_t stamp = 0;
  std::string what;
  std::vector<Set> sets;
};

class CrashFile : public File {
 public:
  CrashFile(CrashDisk* disk, std::shared_ptr<CrashDisk::Inode> inode, std::string path, bool writable)
      : disk_(disk), inode_(std::move(inode)), path_(std::move(path)), writable_(writable) {}

  absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
    std::lock_guard lock(disk_->mutex_);
    if (offset >= inode_->content.size()) return size_t{0};
    return inode_->content.copy(out, bytes, offset);
  }

  absl::Status WriteAt(uint64_t offset, std::string_view bytes) override {
    if (absl::Status s = Begin("write " + std::to_string(offset) + "+" + std::to_string(bytes.size()) + " "); !s.ok()) {
      return s;
    }
    std::lock_guard lock(disk_->mutex_);
    const uint64_t end = bytes.empty() ? 0 : offset + bytes.size();
    if (end > inode_->content.size()) {
      const uint64_t more = end - inode_->content.size();
      if (more > disk_->capacity_bytes_ || disk_->used_bytes_ > disk_->capacity_bytes_ - more) {
        return absl::ResourceExhaustedError("write " + path_ + ": no space left");
      }
      disk_->used_bytes_ += more;
    }
    WriteInto(&inode_->content, offset, bytes);
    inode_->pending.push_back({.stamp = disk_->next_stamp_++, .offset = offset, .bytes = std::string(bytes)});
    return absl::OkStatus();
  }

  absl::Status DataSync() override {
    const absl::Status begun = Begin("sync ");
    std::lock_guard lock(disk_->mutex_);
    if (!begun.ok()) {
      inode_->pending.clear();  // the kernel marks the pages clean: lost for good
      if (!absl::IsResourceExhausted(begun)) ++disk_->failed_syncs_;
      return begun;
    }
    if (std::exchange(inode_->lost_some, false))
      return absl::UnavailableError("sync " + path_ + ": an earlier one failed");
    CrashDisk::SyncData(*inode_);
    return absl::OkStatus();
  }

  absl::Status Truncate(uint64_t bytes) override {
    if (absl::Status s = Begin("truncate to " + std::to_string(bytes) + " "); !s.ok()) return s;
    std::lock_guard lock(disk_->mutex_);
    disk_->used_bytes_ += bytes;
    disk_->used_bytes_ -= inode_->content.size();
    inode_->content.resize(bytes);
    inode_->pending.push_back({.stamp = disk_->next_stamp_++, .truncate = true, .offset = bytes, .bytes = {}});
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Size() override {
    std::lock_guard lock(disk_->mutex_);
    return inode_->content.size();
  }

 private:
  absl::Status Begin(const std::string& what) {
    if (!writable_) return absl::UnavailableError(what + path_ + ": opened for reading");
    return disk_->Begin(what + path_);
  }

  CrashDisk* disk_;
  std::shared_ptr<CrashDisk::Inode> inode_;
  std::string path_;
  bool writable_;
};

class CrashFileSystem : public FileSystem {
 public:
  CrashFileSystem(CrashDisk* disk, uint64_t failures_seen) : disk_(disk), failures_seen_(failures_seen) {}
  absl::Status Sync() override { return disk_->SyncAll(&failures_seen_); }

 private:
  CrashDisk* disk_;
  uint64_t failures_seen_;
};

CrashDisk::CrashDisk() : root_(std::make_shared<Inode>()), capacity_bytes_(kNever), fail_at_(kNever) {
  root_->is_directory = true;
  root_->links = 1;
}

CrashDisk::~CrashDisk() = default;

absl::Status CrashDisk::Begin(const std::string& what) {
  std::function<void(const std::string&)> observer;
  absl::Status result;
  {
    std::lock_guard lock(mutex_);
    observer = observer_;
    const uint64_t number = operations_++;
    if (number == fail_at_ || (fail_for_ever_ && number > fail_at_)) {
      result = absl::Status(fail_with_.code(), std::string(fail_with_.message()) + ": " + what);
    }
  }
  if (observer) observer(what);
  return result;
}

CrashDisk::InodePtr CrashDisk::Find(const std::string& path) const {
  InodePtr at = root_;
  for (const std::string& part : Split(path)) {
    const auto it = at->entries.find(part);
    if (it == at->entries.end()) return nullptr;
    at = it->second;
  }
  return at;
}

absl::StatusOr<std::pair<CrashDisk::InodePtr, std::string>> CrashDisk::Parent(const std::string& path) const {
  std::vector<std::string> parts = Split(path);
  if (parts.empty()) return absl::UnavailableError("the root has no parent");
  InodePtr at = root_;
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    const auto it = at->entries.find(parts[i]);
    if (it == at->entries.end() || !it->second->is_directory) return NotFound(path);
    at = it->second;
  }
  return std::pair<InodePtr, std::string>(at, parts.back());
}

void CrashDisk::Commit(NameChange change) {
  for (NameChange::Set& set : change.sets) {
    InodePtr& entry = set.directory->entries[set.name];
    if (entry != nullptr && --entry->links == 0) used_bytes_ -= entry->content.size();
    if (set.inode != nullptr) {
      if (set.inode->links++ == 0) used_bytes_ += set.inode->content.size();
      entry = set.inode;
    } else {
      set.directory->entries.erase(set.name);
    }
  }
  change.stamp = next_stamp_++;
  names_pending_.push_back(std::move(change));
}

void CrashDisk::EndNames(const Inode* directory, Fate fate) {
  std::vector<NameChange> rest;
  for (NameChange& change : names_pending_) {
    const bool meant = directory == nullptr || std::any_of(change.sets.begin(), change.sets.end(),
                                                           [&](auto& set) { return set.directory.get() == directory; });
    if (!meant) {
      rest.push_back(std::move(change));
      continue;
    }
    if (fate == Fate::kLost) continue;
    for (NameChange::Set& set : change.sets) {
      if (set.inode != nullptr) {
        set.directory->entries_synced[set.name] = set.inode;
      } else {
        set.directory->entries_synced.erase(set.name);
      }
    }
  }
  names_pending_ = std::move(rest);
}

void CrashDisk::SyncData(Inode& inode) {
  for (const DataChange& change : inode.pending) {
    ApplyPart(change, &inode.synced, &inode.mtime_synced_s, [](size_t) { return true; });
  }
  inode.pending.clear();
}

absl::StatusOr<std::unique_ptr<File>> CrashDisk::Open(const std::string& path, OpenMode mode) {
  {
    std::lock_guard lock(mutex_);
    if (InodePtr inode = Find(path)) {
      if (mode == OpenMode::kCreateNew) return Exists(path);
      if (inode->is_directory) return absl::UnavailableError(path + ": is a directory");
      return std::make_unique<CrashFile>(this, inode, path, mode != OpenMode::kRead);
    }
    if (mode == OpenMode::kRead || mode == OpenMode::kReadWrite) return NotFound(path);
  }
  if (absl::Status s = Begin("create " + path); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  auto parent = Parent(path);
  if (!parent.ok()) return parent.status();
  auto inode = std::make_shared<Inode>();
  inode->number = next_inode_++;
  Commit({.what = "create " + path, .sets = {{parent->first, parent->second, inode}}});
  return std::make_unique<CrashFile>(this, inode, path, true);
}

absl::Status CrashDisk::MakeDirectories(const std::string& path) {
  const std::vector<std::string> parts = Split(path);
  std::string at;
  for (const std::string& part : parts) {
    at += "/" + part;
    {
      std::lock_guard lock(mutex_);
      if (InodePtr inode = Find(at)) {
        if (!inode->is_directory) return Exists(at);
        continue;
      }
    }
    if (absl::Status s = Begin("make directory " + at); !s.ok()) return s;
    std::lock_guard lock(mutex_);
    auto parent = Parent(at);
    if (!parent.ok()) return parent.status();
    auto inode = std::make_shared<Inode>();
    inode->number = next_inode_++;
    inode->is_directory = true;
    Commit({.what = "make directory " + at, .sets = {{parent->first, parent->second, inode}}});
  }
  return absl::OkStatus();
}

absl::Status CrashDisk::Rename(const std::string& from, const std::string& to) {
  const std::string what = "rename " + from + " to " + to;
  if (absl::Status s = Begin(what); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(from);
  if (inode == nullptr) return NotFound(from);
  auto source = Parent(from);
  auto target = Parent(to);
  if (!source.ok()) return source.status();
  if (!target.ok()) return target.status();
  if (InodePtr replaced = Find(to)) {
    if (replaced == inode) return absl::OkStatus();
    if (replaced->is_directory && !replaced->entries.empty()) {
      return absl::UnavailableError(what + ": directory not empty");
    }
    if (replaced->is_directory != inode->is_directory) return absl::UnavailableError(what + ": one is a directory");
  }
  Commit({.what = what, .sets = {{target->first, target->second, inode}, {source->first, source->second, nullptr}}});
  return absl::OkStatus();
}

absl::Status CrashDisk::Link(const std::string& from, const std::string& to) {
  const std::string what = "link " + from + " to " + to;
  if (absl::Status s = Begin(what); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(from);
  if (inode == nullptr) return NotFound(from);
  if (inode->is_directory) return absl::UnavailableError(what + ": is a directory");
  if (Find(to) != nullptr) return Exists(to);
  auto target = Parent(to);
  if (!target.ok()) return target.status();
  Commit({.what = what, .sets = {{target->first, target->second, inode}}});
  return absl::OkStatus();
}

absl::Status CrashDisk::Remove(const std::string& path) {
  if (absl::Status s = Begin("remove " + path); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(path);
  if (inode == nullptr) return NotFound(path);
  if (!inode->entries.empty()) return absl::UnavailableError("remove " + path + ": directory not empty");
  auto parent = Parent(path);
  if (!parent.ok()) return parent.status();
  Commit({.what = "remove " + path, .sets = {{parent->first, parent->second, nullptr}}});
  return absl::OkStatus();
}

absl::Status CrashDisk::RemoveTree(const std::string& path) {
  std::vector<std::string> names;
  {
    std::lock_guard lock(mutex_);
    InodePtr inode = Find(path);
    if (inode == nullptr) return absl::OkStatus();
    for (const auto& [name, child] : inode->entries) names.push_back(name);
  }
  for (const std::string& name : names) {
    if (absl::Status s = RemoveTree(path + "/" + name); !s.ok()) return s;
  }
  return Remove(path);
}

absl::StatusOr<std::vector<std::string>> CrashDisk::List(const std::string& directory) {
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(directory);
  if (inode == nullptr || !inode->is_directory) return NotFound(directory);
  std::vector<std::string> names;
  for (const auto& [name, child] : inode->entries) names.push_back(name);
  return names;
}

absl::StatusOr<FileInfo> CrashDisk::Stat(const std::string& path) {
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(path);
  if (inode == nullptr) return NotFound(path);
  return FileInfo{.bytes = inode->content.size(),
                  .mtime_s = inode->mtime_s,
                  .inode = inode->number,
                  .links = inode->links,
                  .is_directory = inode->is_directory};
}

absl::Status CrashDisk::SetModified(const std::string& path, int64_t mtime_s) {
  if (absl::Status s = Begin("set time of " + path); !s.ok()) return s;
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(path);
  if (inode == nullptr) return NotFound(path);
  inode->mtime_s = mtime_s;
  inode->pending.push_back({.stamp = next_stamp_++, .bytes = {}, .mtime_s = std::max<int64_t>(0, mtime_s)});
  return absl::OkStatus();
}

absl::Status CrashDisk::SyncDirectory(const std::string& path) {
  const absl::Status begun = Begin("sync directory " + path);
  std::lock_guard lock(mutex_);
  InodePtr inode = Find(path);
  if (absl::IsResourceExhausted(begun)) return begun;
  if (!begun.ok()) ++failed_syncs_;
  if (inode == nullptr) return begun.ok() ? NotFound(path) : begun;
  EndNames(inode.get(), begun.ok() ? Fate::kSynced : Fate::kLost);
  return begun;
}

absl::StatusOr<std::unique_ptr<FileSystem>> CrashDisk::OpenFileSystem(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (Find(path) == nullptr) return NotFound(path);
  return std::make_unique<CrashFileSystem>(this, failed_syncs_);
}

absl::Status CrashDisk::SyncAll(uint64_t* failures_seen) {
  const absl::Status begun = Begin("sync file system");
  std::lock_guard lock(mutex_);
  if (absl::IsResourceExhausted(begun)) return begun;
  if (!begun.ok()) ++failed_syncs_;
  EndNames(nullptr, begun.ok() ? Fate::kSynced : Fate::kLost);
  std::set<Inode*> done;
  const std::function<void(Inode&)> visit = [&](Inode& inode) {
    if (!done.insert(&inode).second) return;
    if (begun.ok()) {
      SyncData(inode);
    } else if (!inode.pending.empty()) {
      inode.pending.clear();
      inode.lost_some = true;
    }
    for (auto& [name, child] : inode.entries) visit(*child);
  };
  visit(*root_);
  const bool failed_before = std::exchange(*failures_seen, failed_syncs_) != failed_syncs_;
  if (begun.ok() && failed_before) return absl::UnavailableError("sync file system: an earlier sync failed");
  return begun;
}

absl::StatusOr<uint64_t> CrashDisk::FreeBytes(const std::string&) {
  std::lock_guard lock(mutex_);
  return capacity_bytes_ > used_bytes_ ? capacity_bytes_ - used_bytes_ : 0;
}

namespace {

// Every inode that a name, synced or not, leads to; in the order of their numbers, so that indexes repeat.
template <class Inode, class Changes>
std::map<uint64_t, std::shared_ptr<Inode>> AllInodes(const std::shared_ptr<Inode>& root, const Changes& changes) {
  std::map<uint64_t, std::shared_ptr<Inode>> found;
  std::vector<std::shared_ptr<Inode>> queue = {root};
  for (const auto& change : changes) {
    for (const auto& set : change.sets) {
      queue.push_back(set.directory);
      if (set.inode != nullptr) queue.push_back(set.inode);
    }
  }
  while (!queue.empty()) {
    const std::shared_ptr<Inode> inode = queue.back();
    queue.pop_back();
    if (!found.emplace(inode->number, inode).second) continue;
    for (const auto& [name, child] : inode->entries) queue.push_back(child);
    for (const auto& [name, child] : inode->entries_synced) queue.push_back(child);
  }
  return found;
}

}  // namespace

std::vector<CrashDisk::Unsynced> CrashDisk::unsynced() const {
  std::lock_guard lock(mutex_);
  std::map<uint64_t, Unsynced> by_stamp;
  for (const NameChange& change : names_pending_) by_stamp[change.stamp] = {change.what, 1};
  for (const auto& [number, inode] : AllInodes(root_, names_pending_)) {
    for (const DataChange& change : inode->pending) {
      by_stamp[change.stamp] = {"inode " + std::to_string(number) + " write " + std::to_string(change.offset) + "+" +
                                    std::to_string(change.bytes.size()),
                                change.sectors()};
    }
  }
  std::vector<Unsynced> out;
  for (auto& [stamp, operation] : by_stamp) out.push_back(std::move(operation));
  return out;
}

std::unique_ptr<CrashDisk> CrashDisk::Image(const std::function<bool(size_t, size_t)>& keep) const {
  std::lock_guard lock(mutex_);
  const auto inodes = AllInodes(root_, names_pending_);
  std::map<uint64_t, size_t> index_of;  // stamp -> index
  for (const NameChange& change : names_pending_) index_of[change.stamp] = 0;
  for (const auto& [number, inode] : inodes) {
    for (const DataChange& change : inode->pending) index_of[change.stamp] = 0;
  }
  size_t next = 0;
  for (auto& [stamp, index] : index_of) index = next++;

  auto image = std::make_unique<CrashDisk>();
  std::map<uint64_t, InodePtr> copies;
  copies[root_->number] = image->root_;
  for (const auto& [number, inode] : inodes) {
    InodePtr& copy = copies[number];
    if (copy == nullptr) copy = std::make_shared<Inode>();
    copy->number = number;
    copy->is_directory = inode->is_directory;
    copy->synced = inode->synced;
    copy->mtime_synced_s = inode->mtime_synced_s;
    for (const DataChange& change : inode->pending) {
      const size_t index = index_of[change.stamp];
      ApplyPart(change, &copy->synced, &copy->mtime_synced_s, [&](size_t sector) { return keep(index, sector); });
    }
    copy->content = copy->synced;
    copy->mtime_s = copy->mtime_synced_s;
  }
  for (const auto& [number, inode] : inodes) {
    for (const auto& [name, child] : inode->entries_synced) {
      copies[number]->entries_synced[name] = copies[child->number];
    }
  }
  for (const NameChange& change : names_pending_) {
    if (!keep(index_of[change.stamp], 0)) continue;
    for (const NameChange::Set& set : change.sets) {
      auto& entries = copies[set.directory->number]->entries_synced;
      if (set.inode != nullptr) {
        // A directory has one name, also where an earlier rename of it was lost.
        const InodePtr& copy = copies[set.inode->number];
        for (auto& [number, other] : copies) {
          if (copy->is_directory) std::erase_if(other->entries_synced, [&](auto& each) { return each.second == copy; });
        }
        entries[set.name] = copy;
      } else {
        entries.erase(set.name);
      }
    }
  }
  for (auto& [number, copy] : copies) {
    copy->entries = copy->entries_synced;
    for (auto& [name, child] : copy->entries) {
      if (child->links++ == 0) image->used_bytes_ += child->content.size();
    }
  }
  image->next_inode_ = next_inode_;
  return image;
}

std::unique_ptr<CrashDisk> CrashDisk::ImageOfSynced() const {
  return Image([](size_t, size_t) { return false; });
}

std::unique_ptr<CrashDisk> CrashDisk::ImageOfAll() const {
  return Image([](size_t, size_t) { return true; });
}

void CrashDisk::SetObserver(std::function<void(const std::string&)> observer) {
  std::lock_guard lock(mutex_);
  observer_ = std::move(observer);
}

uint64_t CrashDisk::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

void CrashDisk::FailAt(uint64_t nth, absl::Status error, bool for_ever) {
  std::lock_guard lock(mutex_);
  fail_at_ = error.ok() ? kNever : nth;
  fail_with_ = std::move(error);
  fail_for_ever_ = for_ever && !fail_with_.ok();
}

void CrashDisk::SetCapacity(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  capacity_bytes_ = bytes;
}

}  // namespace gemel::journal
