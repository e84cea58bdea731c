#include "maildir/account_files.h"

#include <algorithm>
#include <array>
#include <utility>

#include "journal/log.h"
#include "maildir/file_name.h"
#include "maildir/folder_names.h"

namespace gemel::maildir {
namespace {

constexpr size_t kAsideNameBytesMax = 200;  // with a number behind it is a file's name still
constexpr std::string_view kMarkerName = "/gemel-mailbox";
constexpr std::array<const char*, 3> kParts{"/cur", "/new", "/tmp"};

std::string ParentOf(const std::string& path) { return path.substr(0, path.rfind('/')); }
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::string TmpPathOf(const std::string& path) {
  const std::string parent = ParentOf(path);
  if (parent.ends_with("/new") || parent.ends_with("/cur")) return ParentOf(parent) + "/tmp/" + NameOf(path);
  return path + ".tmp";
}

AccountFiles::AccountFiles(journal::Disk& disk, std::string directory)
    : disk_(disk), directory_(std::move(directory)) {}

void AccountFiles::ReadMarker(const std::string& path) {
  const auto marker = disk_.ReadWhole(path + std::string(kMarkerName));
  if (!marker.ok()) return;  // not ours, or its making was cut short: then it is made again
  const auto id = MailboxId::FromHex(std::string_view(*marker).substr(0, 32));
  if (!id) return;
  const auto [known, first] = paths_.emplace(*id, path);
  if (first) return;
  // A folder was copied with its marker, or one that was set aside is still there. What lies aside never wins.
  const bool newer = MarkerMade(path) >= MarkerMade(known->second) || ParentOf(path) != maildir();
  const std::string ignored = newer ? path : std::exchange(known->second, path);
  journal::Log(journal::LogLevel::kError, "mailbox_directory_doubled", {{"used", known->second}, {"ignored", ignored}});
}

// No program can set it back, so that a copy's is later. 0 where that is not known.
int64_t AccountFiles::MarkerMade(const std::string& path) const {
  const auto info = disk_.Stat(path + std::string(kMarkerName));
  return info.ok() ? info->changed_s : 0;
}

absl::Status AccountFiles::Open() {
  paths_.clear();
  const auto names = disk_.List(maildir());
  has_maildir_ = names.ok();
  if (!names.ok()) return absl::IsNotFound(names.status()) ? absl::OkStatus() : names.status();
  ReadMarker(maildir());
  for (const std::string& name : *names) {
    if (name.front() == '.') ReadMarker(maildir() + "/" + name);
  }
  const auto aside = disk_.List(directory_ + "/aside");
  if (aside.ok()) {
    for (const std::string& name : *aside) ReadMarker(directory_ + "/aside/" + name);
  }
  for (const auto& [id, path] : paths_) {
    for (const char* part : kParts) {
      if (absl::Status s = disk_.MakeDirectories(path + part); !s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

const std::string* AccountFiles::Find(const MailboxId& mailbox) const {
  const auto it = paths_.find(mailbox);
  return it == paths_.end() ? nullptr : &it->second;
}

absl::Status AccountFiles::MakeDurably(const std::string& path) {
  if (absl::Status s = disk_.MakeDirectories(path); !s.ok()) return s;
  if (absl::Status s = disk_.SyncDirectory(ParentOf(path)); !s.ok()) return s;
  return disk_.SyncDirectory(directory_);
}

absl::Status AccountFiles::MakeMailbox(const MailboxId& mailbox, const std::string& path) {
  for (const char* part : kParts) {
    if (absl::Status s = disk_.MakeDirectories(path + part); !s.ok()) return s;
  }
  if (path != maildir()) {
    // maildir++(5): tells a delivery agent that this is a folder and no account.
    absl::Status s = disk_.CreateWhole(path + "/maildirfolder", "", 0);
    if (!s.ok() && !absl::IsAlreadyExists(s)) return s;
  }
  // Content and name are durable before anything is moved into the directory, or the directory is renamed: without its
  // marker nobody would know whose it is. INBOX is known by its place.
  const std::string marker = path + std::string(kMarkerName);
  absl::Status s;
  if (path != maildir()) {
    s = disk_.ReplaceDurably(marker, mailbox.hex() + "\n");
    if (s.ok()) s = disk_.SyncDirectory(ParentOf(path));
  } else {
    s = disk_.Remove(marker);  // torn by a crash
    if (s.ok() || absl::IsNotFound(s)) s = disk_.CreateWhole(marker, mailbox.hex() + "\n", 0);
  }
  if (s.ok()) {
    std::erase_if(paths_, [&](const auto& each) { return each.second == path; });
    paths_[mailbox] = path;
    has_maildir_ = true;
  }
  return s;
}

absl::Status AccountFiles::MakeAside(const MailboxId& mailbox) {
  return MakeMailbox(mailbox, directory_ + "/aside/" + mailbox.hex());
}

absl::Status AccountFiles::ClearTheWay(const std::string& path) {
  if (absl::IsNotFound(disk_.Stat(path).status())) return absl::OkStatus();
  if (absl::Status s = MakeDurably(directory_ + "/aside"); !s.ok()) return s;
  for (int i = 0;; ++i) {
    const std::string aside =
        directory_ + "/aside/" + NameOf(path).substr(0, kAsideNameBytesMax) + "-" + std::to_string(i);
    const absl::Status there = disk_.Stat(aside).status();
    if (there.ok()) continue;
    if (!absl::IsNotFound(there)) return there;
    for (auto& [id, known] : paths_) {
      if (known == path) known = aside;
    }
    journal::Log(journal::LogLevel::kInfo, "mailbox_directory_set_aside", {{"from", path}, {"to", aside}});
    return disk_.Rename(path, aside);
  }
}

absl::Status AccountFiles::PlaceMailbox(const MailboxId& mailbox, const std::string& name) {
  auto folder = DirectoryOfMailbox(name);
  if (!folder.ok()) return folder.status();
  const std::string path = folder->empty() ? maildir() : maildir() + "/" + *folder;
  const auto known = paths_.find(mailbox);
  if (known != paths_.end() && known->second == path) return absl::OkStatus();
  if (known == paths_.end()) {
    const bool taken = std::any_of(paths_.begin(), paths_.end(), [&](const auto& each) { return each.second == path; });
    if (taken && path != maildir()) {
      if (absl::Status s = ClearTheWay(path); !s.ok()) return s;
    }
    return MakeMailbox(mailbox, path);
  }
  if (path == maildir() || known->second == maildir()) {
    // RENAME INBOX moves its messages (RFC 9051, 6.3.6); INBOX itself keeps its id and its place.
    return absl::InternalError("INBOX cannot change its directory: " + path);
  }
  if (absl::Status s = ClearTheWay(path); !s.ok()) return s;
  if (absl::Status s = disk_.Rename(known->second, path); !s.ok()) return s;
  known->second = path;
  return absl::OkStatus();
}

absl::Status AccountFiles::RemoveMailbox(const MailboxId& mailbox, const std::string& day) {
  const auto known = paths_.find(mailbox);
  if (known == paths_.end()) return absl::OkStatus();
  const std::string path = known->second;
  for (const char* part : {"/cur", "/new"}) {
    const auto names = disk_.List(path + part);
    if (absl::IsNotFound(names.status())) continue;
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      if (absl::Status s = Expunge(path + part + "/" + name, day); !s.ok() && !absl::IsNotFound(s)) return s;
    }
  }
  if (path == maildir()) return absl::InternalError("INBOX cannot be removed: " + path);
  if (absl::Status s = disk_.RemoveTree(path); !s.ok()) return s;
  paths_.erase(known);
  return absl::OkStatus();
}

absl::Status AccountFiles::WriteBeside(const std::string& beside, const BodySource& body, int64_t mtime_s) {
  auto out = disk_.Open(beside, journal::OpenMode::kCreate);
  if (absl::IsNotFound(out.status())) {
    if (absl::Status s = disk_.MakeDirectories(ParentOf(beside)); !s.ok()) return s;
    out = disk_.Open(beside, journal::OpenMode::kCreate);
  }
  if (!out.ok()) return out.status();
  if (absl::Status s = (*out)->Truncate(0); !s.ok()) return s;
  if (absl::Status s = (*out)->WriteAt(0, body.trace); !s.ok()) return s;
  uint64_t end = body.trace.size();
  if (body.path.empty()) {
    if (absl::Status s = (*out)->WriteAt(end, body.bytes); !s.ok()) return s;
  } else {
    auto in = disk_.Open(body.path, journal::OpenMode::kRead);
    if (!in.ok()) return in.status();
    std::string piece(kCopyBytes, '\0');
    for (uint64_t offset = 0;;) {
      auto count = (*in)->ReadAt(offset, piece.data(), piece.size());
      if (!count.ok()) return count.status();
      if (*count == 0) break;
      if (absl::Status s = (*out)->WriteAt(end + offset, std::string_view(piece).substr(0, *count)); !s.ok()) return s;
      offset += *count;
    }
  }
  out->reset();
  return disk_.SetModified(beside, mtime_s);
}

absl::Status AccountFiles::CreateMessage(const std::string& path, const BodySource& body, int64_t mtime_s) {
  if (body.path.empty()) {
    std::string whole;
    whole.reserve(body.trace.size() + body.bytes.size());
    whole.append(body.trace).append(body.bytes);
    absl::Status status = disk_.CreateWhole(path, whole, mtime_s);
    if (absl::IsNotFound(status)) {
      if (absl::Status s = disk_.MakeDirectories(ParentOf(path)); !s.ok()) return s;
      status = disk_.CreateWhole(path, whole, mtime_s);
    }
    if (!absl::IsAlreadyExists(status) && !absl::IsResourceExhausted(status)) return status;
    const auto there = disk_.ReadWhole(path);  // on a full disk, too, a replay gets over what is there
    if (there.ok() && *there == whole) return absl::OkStatus();
    if (absl::IsResourceExhausted(status)) return status;
  }
  const std::string beside = TmpPathOf(path);
  absl::Status status = WriteBeside(beside, body, mtime_s);
  if (status.ok()) return Rename(beside, path);
  disk_.Remove(beside).IgnoreError();  // on a full disk it would be in the way of everybody else
  return status;
}

absl::Status AccountFiles::LinkOver(const std::string& from, const std::string& to) {
  absl::Status status = disk_.Link(from, to);
  if (status.ok()) return status;
  const auto new_file = disk_.Stat(from);
  if (absl::IsAlreadyExists(status)) {
    const auto old_file = disk_.Stat(to);
    if (!new_file.ok()) return new_file.status();
    if (old_file.ok() && old_file->inode == new_file->inode) return absl::OkStatus();
    const std::string beside = TmpPathOf(to);
    disk_.Remove(beside).IgnoreError();
    status = disk_.Link(from, beside);
    if (status.ok()) return disk_.Rename(beside, to);
  }
  if (!absl::IsOutOfRange(status)) return status;
  if (!new_file.ok()) return new_file.status();
  return CreateMessage(to, {.trace = {}, .bytes = {}, .path = from}, new_file->mtime_s);
}

absl::Status AccountFiles::Rename(const std::string& from, const std::string& to) {
  absl::Status status = disk_.Rename(from, to);
  if (absl::IsNotFound(status) && disk_.Stat(from).ok()) {
    status = MakeDurably(ParentOf(to));
    if (status.ok()) status = disk_.Rename(from, to);
  }
  if (!status.ok() || from == to) return status;
  // rename(2) does nothing where both are names of one file already, as after a replay.
  const absl::Status left = disk_.Remove(from);
  return absl::IsNotFound(left) ? absl::OkStatus() : left;
}

absl::Status AccountFiles::Expunge(const std::string& path, const std::string& day) {
  const std::string to = directory_ + "/expunged/" + day + "/" + std::string(BaseOf(NameOf(path)));
  return Rename(path, to);
}

std::string AccountFiles::SpoolPath(std::string_view base) const { return directory_ + "/spool/" + std::string(base); }

std::optional<std::string> AccountFiles::FindExpunged(std::string_view base) const {
  const std::string root = directory_ + "/expunged";
  const auto days = disk_.List(root);
  if (!days.ok()) return std::nullopt;
  for (auto day = days->rbegin(); day != days->rend(); ++day) {
    std::string path = root + "/" + *day + "/" + std::string(base);
    if (disk_.Stat(path).ok()) return path;
  }
  return std::nullopt;
}

std::optional<std::string> AccountFiles::ScanFor(const std::string& mailbox_path, std::string_view base) const {
  for (const char* part : {"/cur/", "/new/"}) {
    const auto names = disk_.List(mailbox_path + part);
    if (!names.ok()) continue;
    const auto it = std::lower_bound(names->begin(), names->end(), base);
    if (it != names->end() && BaseOf(*it) == base) return mailbox_path + part + *it;
  }
  return std::nullopt;
}

}  // namespace gemel::maildir
