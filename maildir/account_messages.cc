// Where an account's message files are, whatever their names, and whose a file is.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "maildir/account.h"
#include "maildir/file_name.h"

namespace gemel::maildir {

absl::StatusOr<FileOwners> Account::FindOwners(const std::string& mailbox_path, const std::vector<std::string>& bases) {
  if (absl::Status s = Ready(); !s.ok()) return s;
  FileOwners owners;
  absl::flat_hash_map<uint64_t, std::string> wanted;  // by the hash of the dot: cheap to compare with
  for (const std::string& base : bases) {
    if (const auto name = ParseFileName(base)) wanted[name->dot_hash] = base;
  }
  const auto own = [&](const Message& message, const std::string& path) {
    const auto it = wanted.find(DotHash(message.dot));
    if (it == wanted.end() || it->second != MaildirBaseName(message)) return;
    owners[it->second] = {.path = path, .bytes = message.bytes};
    wanted.erase(it);
  };
  for (const IndexRow& each : rows_) {
    if (const auto* row = std::get_if<MessageRow>(&each)) own(row->message, "");
    if (const auto* row = std::get_if<UnplacedRow>(&each)) own(row->unplaced.message, "");
  }
  for (const Gone& gone : gone_) {
    const std::string base(BaseOf(FileNameOf(gone.on_disk)));
    if (const auto name = ParseFileName(base); name && wanted.erase(name->dot_hash) > 0) owners[base] = {};
  }
  if (wanted.empty() || fresh_) return owners;
  if (absl::Status s = OpenIndex(Index::Create::kNo); !s.ok()) return s;
  if (index_ == nullptr || !meta_.complete) return absl::UnavailableError("the index of " + name_ + " is not complete");
  AccountState waiting;
  if (absl::Status s = index_->LoadUnplaced(&waiting); !s.ok()) return s;
  for (const auto& [dot, unplaced] : waiting.unplaced) own(unplaced.message, "");
  std::vector<MailboxId> order;
  for (const auto& [id, path] : files_.mailboxes())
    order.insert(path == mailbox_path ? order.begin() : order.end(), id);
  for (const MailboxId& id : order) {
    if (wanted.empty()) break;
    const absl::Status s = index_->ForEachMessage(id, [&](const StoredMessage& stored) {
      if (!wanted.contains(DotHash(stored.message.dot))) return true;
      const bool lags = names_.contains(stored.message.dot);
      own(stored.message, lags ? std::string() : *files_.Find(id) + "/" + PathOf(stored));
      return !wanted.empty();
    });
    if (!s.ok()) return s;
  }
  return owners;
}

absl::Status Account::WithFile(const MailboxId& mailbox, const Message& message,
                               const std::vector<std::string>& keywords,
                               const std::function<absl::Status(const std::string&)>& use) {
  const std::string* directory_path = files_.Find(mailbox);
  if (directory_path == nullptr) return absl::NotFoundError("no directory for mailbox " + mailbox.hex());
  const std::string prefix = *directory_path + "/";
  std::vector<std::string> tried;
  absl::Status status = absl::NotFoundError("not tried");
  const auto attempt = [&](const std::string& relative) {
    if (std::find(tried.begin(), tried.end(), relative) != tried.end()) return false;
    tried.push_back(relative);
    status = use(prefix + relative);
    return !absl::IsNotFound(status);
  };
  if (const auto lagging = names_.find(message.dot); lagging != names_.end() && attempt(lagging->second.on_disk)) {
    return status;
  }
  if (attempt(RelativePath(message, KeywordIndexes(mailbox, keywords)))) return status;
  // The name may be that of an older row: in the index, or in one that waits.
  if (message.uid != 0 && (index_ != nullptr || (!fresh_ && OpenIndex(Index::Create::kNo).ok())) && index_ != nullptr) {
    auto row = index_->FindMessage(mailbox, message.uid);
    if (row.ok() && *row && (*row)->message.dot == message.dot &&
        attempt(RelativePath((*row)->message, KeywordIndexes(mailbox, (*row)->keywords)))) {
      return status;
    }
  }
  for (const IndexRow& each : rows_) {
    const auto* row = std::get_if<MessageRow>(&each);
    if (row == nullptr || row->message.dot != message.dot || row->mailbox != mailbox) continue;
    if (attempt(RelativePath(row->message, KeywordIndexes(mailbox, row->keywords)))) return status;
  }
  const auto found = files_.ScanFor(*directory_path, MaildirBaseName(message));
  return found ? use(*found)
               : absl::NotFoundError(
                     fmt::format("{}: no file {} in {}", name_, MaildirBaseName(message), *directory_path));
}

absl::StatusOr<std::unique_ptr<journal::File>> Account::OpenMessage(const MailboxId& mailbox, const Message& message) {
  if (absl::Status s = Ready(); !s.ok()) return s;
  std::unique_ptr<journal::File> file;
  const auto open = [&](const std::string& path) {
    auto opened = context_.disk.Open(path, journal::OpenMode::kRead);
    if (opened.ok()) file = *std::move(opened);
    return opened.status();
  };
  const absl::Status status =
      mailbox.empty() ? open(files_.SpoolPath(MaildirBaseName(message))) : WithFile(mailbox, message, {}, open);
  if (!status.ok()) return status;
  return file;
}

absl::Status Account::Restore(const MailboxId& mailbox, const Message& message, std::string_view bytes) {
  if (absl::Status s = Ready(); !s.ok()) return s;
  const auto overwrite = [&](const std::string& path) {
    auto there = context_.disk.ReadWhole(path);
    if (!there.ok()) return there.status();
    if (*there == bytes) return absl::OkStatus();
    auto file = context_.disk.Open(path, journal::OpenMode::kReadWrite);
    if (!file.ok()) return file.status();
    absl::Status status = (*file)->WriteAt(0, bytes);
    if (status.ok()) status = (*file)->Truncate(bytes.size());
    file->reset();
    return status.ok() ? context_.disk.SetModified(path, message.internal_date_s) : status;
  };
  const BodySource source{.trace = {}, .bytes = bytes, .path = {}};
  if (mailbox.empty()) {
    const std::string path = files_.SpoolPath(MaildirBaseName(message));
    const absl::Status status = overwrite(path);
    return absl::IsNotFound(status) ? files_.CreateMessage(path, source, message.internal_date_s) : status;
  }
  const absl::Status status = WithFile(mailbox, message, {}, overwrite);
  if (!absl::IsNotFound(status)) return status;
  std::vector<std::string> keywords;
  if (index_ != nullptr) {
    auto row = index_->FindMessage(mailbox, message.uid);
    if (row.ok() && *row) keywords = (*row)->keywords;
  }
  auto path = PathFor(mailbox, message, keywords);
  if (!path.ok()) return path.status();
  names_.erase(message.dot);
  return files_.CreateMessage(*path, source, message.internal_date_s);
}

}  // namespace gemel::maildir
