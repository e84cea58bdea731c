#include "maildir/reconcile.h"

#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "journal/log.h"
#include "maildir/file_name.h"

namespace gemel::maildir {
namespace {

struct Found {
  std::string path;
  bool used = false;
};

class Reconciler {
 public:
  Reconciler(AccountFiles& files, const AccountState& state, const journal::VectorClock& settled, std::string day,
             Store::Leftovers leftovers, const std::function<absl::Status()>& sync)
      : files_(files), state_(state), settled_(settled), day_(std::move(day)), leftovers_(leftovers), sync_(sync) {}

  absl::StatusOr<std::vector<Store::MissingBody>> Run() {
    for (const auto& [id, mailbox] : state_.mailboxes) {
      if (absl::Status s = files_.PlaceMailbox(id, mailbox.name); !s.ok()) return s;
    }
    if (absl::Status s = ListAll(); !s.ok()) return s;
    for (const auto& [id, mailbox] : state_.mailboxes) {
      for (const Message& message : mailbox.messages) {
        if (absl::Status s = Settle(mailbox, message); !s.ok()) return s;
      }
    }
    for (const auto& [dot, waiting] : state_.unplaced) {
      if (absl::Status s = SettleUnplaced(waiting.message); !s.ok()) return s;
    }
    if (absl::Status s = BringBack(); !s.ok()) return s;
    if (absl::Status s = LinkCopies(); !s.ok()) return s;
    if (leftovers_ == Store::Leftovers::kRemove) {
      if (absl::Status s = RemoveOrphans(); !s.ok()) return s;
      if (absl::Status s = DropUnknownMailboxes(); !s.ok()) return s;
    }
    return std::move(missing_);
  }

 private:
  absl::Status DropUnknownMailboxes() {
    std::vector<MailboxId> unknown;
    for (const auto& [id, path] : files_.mailboxes()) {
      if (state_.Find(id) == nullptr && path != files_.maildir()) unknown.push_back(id);
    }
    // Only when it is durable that what was in them is elsewhere. A directory that stays is in nobody's way.
    if (unknown.empty() || !sync_().ok()) return absl::OkStatus();
    for (const MailboxId& id : unknown) {
      if (absl::Status s = files_.RemoveMailbox(id, day_); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  absl::Status ListAll() {
    for (const auto& [id, path] : files_.mailboxes()) {
      for (const char* part : {"/cur/", "/new/"}) {
        const auto names = files_.disk().List(path + part);
        if (absl::IsNotFound(names.status())) {
          if (absl::Status s = files_.disk().MakeDirectories(path + part); !s.ok()) return s;
          continue;
        }
        if (!names.ok()) return names.status();
        for (const std::string& name : *names) {
          if (IsOwnFileName(name)) found_[std::string(BaseOf(name))].push_back({.path = path + part + name});
        }
      }
    }
    const auto waiting = files_.disk().List(files_.directory() + "/spool");
    if (absl::IsNotFound(waiting.status())) return absl::OkStatus();
    if (!waiting.ok()) return waiting.status();
    for (const std::string& name : *waiting) {
      if (IsOwnFileName(name)) found_[name].push_back({.path = files_.SpoolPath(name)});
    }
    return absl::OkStatus();
  }

  // Gives the message's file its name. Of several with its base, one that has the name already, else one that is
  // sound: a crash between two names, or a program that moved it.
  absl::Status Settle(const Mailbox& mailbox, const Message& message) {
    const std::string target =
        *files_.Find(mailbox.id) + "/" + RelativePath(message, mailbox.keyword_sets[message.keywords]);
    const auto it = found_.find(MaildirBaseName(message));
    Found* best = nullptr;
    if (it != found_.end()) {
      for (Found& each : it->second) {
        if (each.used || !IsSound(each.path, message)) continue;
        if (best == nullptr || each.path == target) best = &each;
      }
      // A damaged one keeps its place: restoring writes into it.
      for (Found& each : it->second) {
        if (best == nullptr && !each.used) best = &each;
      }
    }
    if (best == nullptr) {
      missing_.push_back({.mailbox = mailbox.id, .message = message});
      return absl::OkStatus();
    }
    best->used = true;
    if (best->path != target) {
      if (absl::Status s = files_.Rename(best->path, target); !s.ok()) return s;
      best->path = target;
      for (Found& each : it->second) {
        if (&each != best && each.path == target) each.path.clear();  // renamed over
      }
    }
    if (!IsSound(target, message)) {
      missing_.push_back({.mailbox = mailbox.id, .message = message});
    } else {
      sound_.try_emplace(message.guid, target);
    }
    return absl::OkStatus();
  }

  // Its file may have its place in a mailbox already, from before a crash that made it wait again.
  absl::Status SettleUnplaced(const Message& message) {
    const std::string path = files_.SpoolPath(MaildirBaseName(message));
    bool sound = IsSound(path, message);
    for (Found& each : found_[MaildirBaseName(message)]) {
      if (!sound && IsSound(each.path, message)) {
        if (absl::Status s = files_.Rename(each.path, path); !s.ok()) return s;
        each.path = path;
        sound = true;
      }
      each.used = each.used || each.path == path;
    }
    if (!sound) missing_.push_back({.mailbox = {}, .message = message});
    return absl::OkStatus();
  }

  std::string PathOf(const Store::MissingBody& missing) const {
    const Mailbox* mailbox = state_.Find(missing.mailbox);
    if (mailbox == nullptr) return files_.SpoolPath(MaildirBaseName(missing.message));
    return *files_.Find(missing.mailbox) + "/" +
           RelativePath(missing.message, mailbox->keyword_sets[missing.message.keywords]);
  }

  // What was expunged before a crash, and whose expunging waits to be confirmed again.
  absl::Status BringBack() {
    std::vector<Store::MissingBody> still;
    for (const Store::MissingBody& each : missing_) {
      const auto expunged = files_.FindExpunged(MaildirBaseName(each.message));
      if (!expunged || !IsSound(*expunged, each.message)) {
        still.push_back(each);
        continue;
      }
      const std::string target = PathOf(each);
      if (absl::Status s = files_.Rename(*expunged, target); !s.ok()) return s;
      if (!each.mailbox.empty()) sound_.try_emplace(each.message.guid, target);
    }
    missing_ = std::move(still);
    return absl::OkStatus();
  }

  bool IsSound(const std::string& path, const Message& message) const {
    const auto info = files_.disk().Stat(path);
    if (!info.ok() || info->bytes != message.bytes) return false;
    if (settled_.Covers(message.dot)) return true;
    auto file = files_.disk().Open(path, journal::OpenMode::kRead);
    if (!file.ok()) return false;
    std::string piece(kCopyBytes, '\0');
    for (uint64_t offset = 0; offset < info->bytes;) {
      auto count = (*file)->ReadAt(offset, piece.data(), piece.size());
      if (!count.ok() || *count == 0) return false;
      if (std::string_view(piece).substr(0, *count).find('\0') != std::string_view::npos) return false;
      offset += *count;
    }
    return true;
  }

  // A copy is a hard link of what it was copied from, so any message with its GUID has its bytes.
  absl::Status LinkCopies() {
    std::vector<Store::MissingBody> still;
    for (const Store::MissingBody& each : missing_) {
      const auto source = sound_.find(each.message.guid);
      if (source == sound_.end() || each.mailbox.empty()) {
        still.push_back(each);
        continue;
      }
      if (absl::Status s = files_.LinkOver(source->second, PathOf(each)); !s.ok()) return s;
    }
    missing_ = std::move(still);
    return absl::OkStatus();
  }

  absl::Status RemoveOrphans() {
    for (const auto& [base, places] : found_) {
      const bool alive = std::any_of(places.begin(), places.end(), [](const Found& each) { return each.used; });
      for (const Found& each : places) {
        if (each.used || each.path.empty()) continue;
        journal::Log(journal::LogLevel::kInfo, "file_without_message_removed", {{"path", each.path}});
        // Of a living message it is a second name, or an older torn body: nothing to keep.
        const absl::Status s = alive ? files_.disk().Remove(each.path) : files_.Expunge(each.path, day_);
        if (!s.ok() && !absl::IsNotFound(s)) return s;
      }
    }
    return absl::OkStatus();
  }

  AccountFiles& files_;
  const AccountState& state_;
  const journal::VectorClock& settled_;
  const std::string day_;
  const Store::Leftovers leftovers_;
  const std::function<absl::Status()>& sync_;
  absl::flat_hash_map<std::string, std::vector<Found>> found_;  // by base name
  absl::flat_hash_map<Guid, std::string> sound_;
  std::vector<Store::MissingBody> missing_;
};

// Modification times count in seconds here: a directory that changed in the second of its listing, or the one after,
// is listed again.
constexpr int64_t kSettledAfterSeconds = 2;
constexpr int64_t kEmptySeconds = 60;  // an empty file's writer has given up

// One directory, cur/ or new/.
class StrangerSearch {
 public:
  StrangerSearch(journal::Disk& disk, std::string mailbox_path, const char* part, int64_t now_s,
                 const FindOwners& find_owners, SeenDirectories* seen)
      : disk_(disk),
        mailbox_path_(std::move(mailbox_path)),
        path_(mailbox_path_ + part),
        now_s_(now_s),
        find_owners_(find_owners),
        seen_(*seen) {}

  // The names that are nobody's. A directory that has some is listed until they are gone; one without is listed again
  // when it has changed. `since_s`: of names of ours only those are looked at that came later than it, or than the last
  // listing; else all that were not seen before.
  absl::StatusOr<std::vector<std::string>> Run(std::optional<int64_t> since_s) {
    const auto info = disk_.Stat(path_);
    if (absl::IsNotFound(info.status())) return std::vector<std::string>();
    if (!info.ok()) return info.status();
    SeenDirectory last;
    if (const auto it = seen_.find(path_); it != seen_.end()) last = it->second;
    if (last.mtime_s == info->mtime_s && info->mtime_s + kSettledAfterSeconds < last.listed_s) {
      return std::vector<std::string>();
    }
    auto names = disk_.List(path_);
    if (!names.ok()) return names.status();
    std::vector<std::string> strange, ours;
    for (std::string& name : *names) {
      if (name.front() == '.') continue;
      (IsOwnFileName(name) ? ours : strange).push_back(std::move(name));
    }
    SeenDirectory next{.mtime_s = info->mtime_s, .listed_s = now_s_};
    bool again = false;
    std::vector<std::string> unknown;
    for (const std::string& name : ours) {
      if (since_s) {
        const auto file = disk_.Stat(path_ + "/" + name);
        const int64_t from_s = last.listed_s == 0 ? *since_s : last.listed_s;
        if (file.ok() && file->changed_s + kSettledAfterSeconds >= from_s) unknown.push_back(name);
      } else if (const uint64_t hash = HashOf(name); std::binary_search(last.own.begin(), last.own.end(), hash)) {
        next.own.push_back(hash);
      } else {
        unknown.push_back(name);
      }
    }
    if (!unknown.empty()) again = !Ask(unknown, &strange, since_s ? nullptr : &next.own);
    if (!strange.empty() || again) {
      next.mtime_s = -1;
      if (since_s) next.listed_s = last.listed_s;
    }
    std::sort(next.own.begin(), next.own.end());
    seen_[path_] = std::move(next);
    return strange;
  }

 private:
  static uint64_t HashOf(std::string_view name) {
    const std::string_view base = BaseOf(name);
    return XXH3_64bits(base.data(), base.size());
  }

  // Whose these names of ours are. False: it cannot be told yet.
  bool Ask(const std::vector<std::string>& names, std::vector<std::string>* strange, std::vector<uint64_t>* own) {
    std::vector<std::string> bases;
    for (const std::string& name : names) bases.emplace_back(BaseOf(name));
    const auto owners = find_owners_(mailbox_path_, bases);
    if (!owners.ok()) return false;
    for (const std::string& name : names) {
      const auto owner = owners->find(std::string(BaseOf(name)));
      if (owner == owners->end()) {
        strange->push_back(name);
      } else if (!IsSecondCopy(name, owner->second)) {
        if (own != nullptr) own->push_back(HashOf(name));
      } else if (own == nullptr) {
        strange->push_back(name);  // the account is to be opened for it
      } else {
        RemoveCopy(name, owner->second);
      }
    }
    return true;
  }

  bool IsSecondCopy(const std::string& name, const FileOwner& owner) const {
    if (owner.path.empty() || owner.path == path_ + "/" + name) return false;
    const auto file = disk_.Stat(owner.path);
    return file.ok() && file->bytes == owner.bytes;
  }

  // It would come back as a new letter when the other one is deleted.
  void RemoveCopy(const std::string& name, const FileOwner& owner) {
    const absl::Status status = disk_.Remove(path_ + "/" + name);
    journal::Log(journal::LogLevel::kInfo, status.ok() ? "second_copy_removed" : "second_copy_not_removed",
                 {{"file", path_ + "/" + name}, {"letter", owner.path}});
  }

  journal::Disk& disk_;
  const std::string mailbox_path_, path_;
  const int64_t now_s_;
  const FindOwners& find_owners_;
  SeenDirectories& seen_;
};

}  // namespace

absl::StatusOr<std::vector<Store::MissingBody>> ReconcileFiles(AccountFiles& files, const AccountState& state,
                                                               const journal::VectorClock& settled,
                                                               const std::string& day, Store::Leftovers leftovers,
                                                               const std::function<absl::Status()>& sync) {
  return Reconciler(files, state, settled, day, leftovers, sync).Run();
}

absl::StatusOr<std::vector<Stranger>> FindStrangerFiles(const AccountFiles& files, int64_t now_s,
                                                        const FindOwners& find_owners, SeenDirectories* seen) {
  std::vector<Stranger> strangers;
  for (const auto& [id, mailbox_path] : files.mailboxes()) {
    for (const char* part : {"/new", "/cur"}) {
      const std::string path = mailbox_path + part;
      const auto names = StrangerSearch(files.disk(), mailbox_path, part, now_s, find_owners, seen).Run(std::nullopt);
      if (!names.ok()) return names.status();
      for (const std::string& name : *names) {
        const auto file = files.disk().Stat(path + "/" + name);
        // What is not a file is told once, and never opened: it could be a FIFO, or lead out of here.
        if (absl::IsFailedPrecondition(file.status()) && seen->try_emplace(path + "/" + name).second) {
          journal::Log(journal::LogLevel::kWarning, "not_adopted",
                       {{"file", path + "/" + name}, {"error", "not a regular file"}});
        }
        if (!file.ok() || file->is_directory) continue;
        if (file->bytes == 0) {
          if (file->mtime_s + kEmptySeconds < now_s && seen->try_emplace(path + "/" + name).second) {
            journal::Log(journal::LogLevel::kWarning, "not_adopted",
                         {{"file", path + "/" + name}, {"error", "the file is empty"}});
          }
          continue;
        }
        // Its writer may not have finished: a copy made without rename(2).
        if (file->mtime_s + 1 >= now_s && file->mtime_s <= now_s + 1) continue;
        const auto ours = ParseFileName(BaseOf(name));
        strangers.push_back({.mailbox = id,
                             .path = path + "/" + name,
                             .mtime_s = ours ? ours->internal_date_s : file->mtime_s,
                             .bytes = file->bytes,
                             .flags = part[1] == 'c' ? FlagsOfAnyName(name) : Flags{0}});
      }
    }
  }
  return strangers;
}

absl::StatusOr<bool> HasStrangerFiles(journal::Disk& disk, const std::string& maildir, int64_t now_s, int64_t since_s,
                                      const FindOwners& find_owners, SeenDirectories* seen) {
  const auto folders = disk.List(maildir);
  if (absl::IsNotFound(folders.status())) return false;
  if (!folders.ok()) return folders.status();
  std::vector<std::string> paths{maildir};
  for (const std::string& folder : *folders) {
    if (folder.front() == '.') paths.push_back(maildir + "/" + folder);
  }
  for (const std::string& path : paths) {
    const auto names = StrangerSearch(disk, path, "/new", now_s, find_owners, seen).Run(since_s);
    if (!names.ok()) return names.status();
    if (!names->empty()) return true;
  }
  return false;
}

}  // namespace gemel::maildir
