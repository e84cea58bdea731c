#include "maildir/account.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "absl/time/time.h"
#include "journal/log.h"
#include "maildir/file_name.h"

namespace gemel::maildir {
namespace {

using journal::LogLevel;

std::string_view View(const absl::Status& status) { return {status.message().data(), status.message().size()}; }

}  // namespace

Account::Account(const AccountContext& context, const AccountId& id, std::string name, std::string directory)
    : context_(context), id_(id), name_(std::move(name)), files_(context.disk, std::move(directory)) {}

std::string Account::Today() const {
  const absl::Time now = absl::FromUnixMillis(static_cast<int64_t>(context_.clock.NowMillis()));
  return absl::FormatTime("%Y-%m-%d", now, absl::UTCTimeZone());
}

// ---- opening ----

absl::Status Account::Ready() {
  if (ready_) return absl::OkStatus();
  if (absl::Status s = files_.Open(); !s.ok()) return s;
  const bool has_index = context_.disk.Stat(IndexPath()).ok();
  fresh_ = !has_index && !files_.has_maildir() && absl::IsNotFound(context_.disk.Stat(directory() + "/base").status());
  meta_ = {};
  meta_.complete = fresh_;
  mailboxes_.clear();
  const absl::Status status = has_index ? ReadIndex() : absl::OkStatus();
  ready_ = status.ok();
  return status;
}

absl::Status Account::ReadIndex() {
  if (absl::Status s = OpenIndex(Index::Create::kNo); !s.ok() || index_ == nullptr) return s;
  auto meta = index_->ReadMeta();
  auto mailboxes = index_->ReadMailboxes();
  absl::Status status = meta.status();
  status.Update(mailboxes.status());
  if (status.ok()) {
    meta_ = *std::move(meta);
    for (PutMailbox& row : *mailboxes) {
      // A directory that a crash or a person took away; the mailbox is there all the same.
      if (files_.Find(row.mailbox) == nullptr) status.Update(files_.PlaceMailbox(row.mailbox, row.name));
      mailboxes_[row.mailbox] = std::move(row);
    }
  } else if (absl::IsDataLoss(status)) {
    SetAside(status);
    return absl::OkStatus();
  }
  return status;
}

// A new account's index is there before its Maildir, so that a Maildir without one always means a loss.
absl::Status Account::BeginIndex() {
  if (!fresh_ || begun_) return absl::OkStatus();
  if (absl::Status s = context_.disk.MakeDirectories(directory()); !s.ok()) return s;
  if (absl::Status s = OpenIndex(Index::Create::kYes); !s.ok()) return s;
  FileChanges none;
  absl::Status status = index_->Write({}, {}, meta_, &none);
  begun_ = status.ok();
  return status;
}

absl::Status Account::OpenIndex(Index::Create create) {
  if (index_ != nullptr) return absl::OkStatus();
  auto index = Index::Open(IndexPath(), context_.options.sqlite_vfs, create);
  if (index.ok()) {
    index_ = *std::move(index);
    return absl::OkStatus();
  }
  if (!absl::IsDataLoss(index.status())) return index.status();
  SetAside(index.status());
  return create == Index::Create::kNo ? absl::OkStatus() : OpenIndex(create);
}

void Account::SetAside(const absl::Status& why) {
  index_.reset();
  meta_.complete = false;
  std::string to;
  for (int n = 1;; ++n) {
    to = fmt::format("{}.damaged-{}", IndexPath(), n);
    if (!context_.disk.Stat(to).ok()) break;
  }
  // The log belongs to the file; without the file it would be replayed into the next one.
  for (const char* suffix : {"-wal", "-shm", ""}) {
    const absl::Status s = context_.disk.Rename(IndexPath() + suffix, to + suffix);
    if (!s.ok() && !absl::IsNotFound(s)) journal::Log(LogLevel::kError, "index_not_set_aside", {{"error", View(s)}});
  }
  journal::Log(LogLevel::kError, "index_set_aside", {{"account", name_}, {"error", View(why)}, {"kept_as", to}});
}

absl::StatusOr<AccountFiles*> Account::Files() {
  if (absl::Status s = Ready(); !s.ok()) return s;
  return &files_;
}

// ---- operations ----

absl::Status Account::Apply(const StoreOp& op) {
  if (absl::Status s = Ready(); !s.ok()) return s;
  if (absl::Status s = BeginIndex(); !s.ok()) return s;
  return std::visit([this](const auto& each) { return Do(each); }, op);
}

void Account::EndUnit(const journal::VectorClock& applied) {
  meta_.applied = applied;
  new_clock_ = true;
}

bool Account::has_work() const {
  return !rows_.empty() || !structures_.empty() || new_clock_ || !names_.empty() || !gone_.empty() ||
         !dropped_.empty() || !emptied_.empty();
}

std::vector<uint16_t> Account::KeywordIndexes(const MailboxId& mailbox, const std::vector<std::string>& names) {
  std::vector<uint16_t> indexes;
  if (names.empty()) return indexes;
  std::vector<std::string> none;
  std::vector<std::string>* list = &none;
  if (const auto living = mailboxes_.find(mailbox); living != mailboxes_.end()) {
    list = &living->second.keywords;
  } else if (const auto dropped = dropped_.find(mailbox); dropped != dropped_.end()) {
    list = &dropped->second;
  }
  // In the order of first use, as Mailbox::Intern counts them.
  std::vector<std::string>& known = *list;
  for (const std::string& name : names) {
    auto it = std::find(known.begin(), known.end(), name);
    if (it == known.end()) it = known.insert(known.end(), name);
    indexes.push_back(static_cast<uint16_t>(it - known.begin()));
  }
  return indexes;
}

absl::StatusOr<std::string> Account::PathFor(const MailboxId& mailbox, const Message& message,
                                             const std::vector<std::string>& keywords) {
  const std::string* directory_path = files_.Find(mailbox);
  if (directory_path == nullptr) {
    // Replay over files that are newer: the mailbox is gone there, and will go again.
    if (absl::Status s = files_.MakeAside(mailbox); !s.ok()) return s;
    directory_path = files_.Find(mailbox);
  }
  return *directory_path + "/" + RelativePath(message, KeywordIndexes(mailbox, keywords));
}

void Account::AddMessageRow(const MailboxId& mailbox, const Message& message, const std::vector<std::string>& keywords,
                            bool renames_file) {
  See(message.modseq);
  MessageRow row{.mailbox = mailbox, .message = message, .keywords = keywords, .renames_file = renames_file};
  row.message.keywords = 0;  // a number that means something in the engine only
  rows_.emplace_back(std::move(row));
}

absl::Status Account::Do(const PutMailbox& op) {
  if (absl::Status s = files_.PlaceMailbox(op.mailbox, op.name); !s.ok()) return s;
  See(op.highest_modseq);
  meta_.last_uid_validity = std::max(meta_.last_uid_validity, op.uid_validity);
  mailboxes_[op.mailbox] = op;
  dropped_.erase(op.mailbox);
  const auto [it, added] = mailbox_rows_.try_emplace(op.mailbox, rows_.size());
  if (added) {
    rows_.emplace_back(op);
  } else {
    rows_[it->second] = op;
  }
  return absl::OkStatus();
}

// The directory goes in RemoveEmptied, when it is durable that what was moved out of it is elsewhere.
absl::Status Account::Do(const DropMailbox& op) {
  See(op.modseq);
  const auto known = mailboxes_.find(op.mailbox);
  dropped_[op.mailbox] = known == mailboxes_.end() ? std::vector<std::string>() : std::move(known->second.keywords);
  mailboxes_.erase(op.mailbox);
  mailbox_rows_.erase(op.mailbox);
  rows_.emplace_back(op);
  return absl::OkStatus();
}

absl::Status Account::Create(const std::string& path, const Message& message, const std::string& trace,
                             const std::variant<InlineBody, SpooledBody>& body) {
  BodySource source{.trace = trace, .bytes = {}, .path = {}};
  if (const auto* in_place = std::get_if<InlineBody>(&body)) {
    source.bytes = *in_place->bytes;
    return files_.CreateMessage(path, source, message.internal_date_s);
  }
  const Dot& dot = std::get<SpooledBody>(body).body;
  const auto content = context_.spool.Source(dot);
  absl::Status status = absl::NotFoundError("no chunk of it was queued");
  if (content) {
    if (content->bytes != nullptr) {
      source.bytes = *content->bytes;
    } else {
      source.path = content->path;
    }
    status = files_.CreateMessage(path, source, message.internal_date_s);
  }
  if (absl::IsNotFound(status)) {
    // Only the row then: opening the message will not find its file, and the engine restores it.
    journal::Log(LogLevel::kError, "spooled_body_missing",
                 {{"account", name_}, {"path", path}, {"error", View(status)}});
    status = absl::OkStatus();
  }
  if (status.ok()) context_.spool.Release(dot);
  return status;
}

// A crash leaves nothing, a file in tmp/, or the file without its row. Replay writes the same file again.
absl::Status Account::Do(const PutMessage& op) {
  auto path = PathFor(op.mailbox, op.message, op.keywords);
  if (!path.ok()) return path.status();
  if (absl::Status s = Create(*path, op.message, op.trace, op.body); !s.ok()) return s;
  AddMessageRow(op.mailbox, op.message, op.keywords, /*renames_file=*/false);
  return absl::OkStatus();
}

// A crash leaves the link without its row, or a link in tmp/. Replay links again.
absl::Status Account::Do(const CopyMessage& op) {
  auto to = PathFor(op.to, op.message, op.keywords);
  if (!to.ok()) return to.status();
  Message source = op.message;
  source.dot = op.source;
  source.uid = 0;
  const absl::Status status =
      WithFile(op.from, source, op.keywords, [&](const std::string& from) { return files_.LinkOver(from, *to); });
  if (absl::IsNotFound(status)) {
    journal::Log(LogLevel::kWarning, "file_to_copy_missing", {{"account", name_}, {"to", *to}});
  } else if (!status.ok()) {
    return status;
  }
  AddMessageRow(op.to, op.message, op.keywords, /*renames_file=*/false);
  return absl::OkStatus();
}

// A crash leaves the file where it was, or in its new place with its row still in the old one. Replay finds either.
absl::Status Account::Do(const MoveMessage& op) {
  auto to = PathFor(op.to, op.message, op.keywords);
  if (!to.ok()) return to.status();
  Message old_one = op.message;
  old_one.uid = op.old_uid;
  const absl::Status status =
      WithFile(op.from, old_one, op.keywords, [&](const std::string& from) { return files_.Rename(from, *to); });
  if (absl::IsNotFound(status)) {
    if (!context_.disk.Stat(*to).ok()) {
      journal::Log(LogLevel::kWarning, "file_to_move_missing", {{"account", name_}, {"to", *to}});
    }
  } else if (!status.ok()) {
    return status;
  }
  names_.erase(op.message.dot);
  if (const auto flags = flag_rows_.find(op.message.dot); flags != flag_rows_.end()) {
    // Its file has its new name already: the earlier change of flags renames nothing any more.
    std::get<MessageRow>(rows_[flags->second]).renames_file = false;
    flag_rows_.erase(flags);
  }
  See(op.vanished_modseq);
  rows_.emplace_back(GoneRow{.mailbox = op.from, .uid = op.old_uid, .modseq = op.vanished_modseq, .expunged = false});
  AddMessageRow(op.to, op.message, op.keywords, /*renames_file=*/false);
  return absl::OkStatus();
}

absl::Status Account::Do(const PutFlags& op) {
  KeywordIndexes(op.mailbox, op.keywords);  // gives new ones their letters
  const auto [it, added] = flag_rows_.try_emplace(op.message.dot, rows_.size());
  if (added) {
    AddMessageRow(op.mailbox, op.message, op.keywords, /*renames_file=*/true);
    return absl::OkStatus();
  }
  See(op.message.modseq);
  MessageRow& row = std::get<MessageRow>(rows_[it->second]);
  row.message = op.message;
  row.message.keywords = 0;
  row.keywords = op.keywords;
  return absl::OkStatus();
}

absl::Status Account::Do(const DropMessage& op) {
  See(op.modseq);
  flag_rows_.erase(op.dot);
  rows_.emplace_back(GoneRow{.mailbox = op.mailbox, .uid = op.uid, .modseq = op.modseq, .expunged = true});
  return absl::OkStatus();
}

absl::Status Account::Do(const PutSubscriptions& op) {
  rows_.emplace_back(op);
  return absl::OkStatus();
}

// As PutMessage, in spool/.
absl::Status Account::Do(const PutUnplaced& op) {
  const Message& message = op.unplaced.message;
  const std::string path = files_.SpoolPath(MaildirBaseName(message));
  if (absl::Status s = Create(path, message, op.trace, op.body); !s.ok()) return s;
  rows_.emplace_back(UnplacedRow{op.unplaced});
  return absl::OkStatus();
}

// A crash leaves the file in spool/, or in its place with the row still unplaced. Replay finds either.
absl::Status Account::Do(const PlaceMessage& op) {
  auto to = PathFor(op.mailbox, op.message, op.keywords);
  if (!to.ok()) return to.status();
  const absl::Status status = files_.Rename(files_.SpoolPath(MaildirBaseName(op.message)), *to);
  if (absl::IsNotFound(status)) {
    if (!context_.disk.Stat(*to).ok()) {
      journal::Log(LogLevel::kWarning, "file_to_place_missing", {{"account", name_}, {"to", *to}});
    }
  } else if (!status.ok()) {
    return status;
  }
  rows_.emplace_back(UnplacedGoneRow{op.message.dot});
  AddMessageRow(op.mailbox, op.message, op.keywords, /*renames_file=*/false);
  return absl::OkStatus();
}

// ---- flushing ----

absl::Status Account::FlushRows() {
  if (rows_.empty() && structures_.empty() && !new_clock_) return absl::OkStatus();
  if (absl::Status s = Ready(); !s.ok()) return s;
  FileChanges changes;
  absl::Status status;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (index_ == nullptr) {
      if (absl::Status s = context_.disk.MakeDirectories(directory()); !s.ok()) return s;
      if (absl::Status s = OpenIndex(Index::Create::kYes); !s.ok()) return s;
    }
    if (!meta_.complete) {
      // Rows refer to mailboxes that this new file may not have.
      std::vector<IndexRow> known;
      for (const auto& [id, row] : mailboxes_) known.emplace_back(row);
      status = index_->Write(known, {}, meta_, &changes);
      if (status.ok()) status = index_->Write(rows_, structures_, meta_, &changes);
    } else {
      status = index_->Write(rows_, structures_, meta_, &changes);
    }
    if (!absl::IsDataLoss(status)) break;
    SetAside(status);
  }
  if (!status.ok()) return status;
  fresh_ = false;
  rows_.clear();
  flag_rows_.clear();
  mailbox_rows_.clear();
  for (const auto& [guid, bytes] : structures_) context_.structure_bytes -= bytes.size();
  structures_.clear();
  new_clock_ = false;
  Note(changes);
  return absl::OkStatus();
}

std::string Account::PathOf(const StoredMessage& stored) {
  return RelativePath(stored.message, KeywordIndexes(stored.mailbox, stored.keywords));
}

void Account::Note(const FileChanges& changes) {
  for (const auto& change : changes.changes) {
    if (const auto* gone = std::get_if<StoredMessage>(&change)) {
      const auto lagging = names_.find(gone->message.dot);
      gone_.push_back(
          {.mailbox = gone->mailbox, .on_disk = lagging == names_.end() ? PathOf(*gone) : lagging->second.on_disk});
      if (lagging != names_.end()) names_.erase(lagging);
      continue;
    }
    const auto& renamed = std::get<FileChanges::Renamed>(change);
    const Dot& dot = renamed.after.message.dot;
    auto lagging = names_.find(dot);
    if (lagging == names_.end()) {
      lagging = names_
                    .try_emplace(
                        dot, Lagging{.mailbox = renamed.after.mailbox, .on_disk = PathOf(renamed.before), .target = {}})
                    .first;
    }
    lagging->second.target = PathOf(renamed.after);
    if (lagging->second.target == lagging->second.on_disk) names_.erase(lagging);
  }
}

// A crash leaves some of the names as they were; Reconcile gives them what the index says.
absl::StatusOr<bool> Account::FlushNames(size_t count) {
  if (!has_work()) return false;
  if (absl::Status s = Ready(); !s.ok()) return s;
  while (count > 0 && !names_.empty()) {
    --count;
    const auto it = names_.begin();
    const std::string* path = files_.Find(it->second.mailbox);
    if (path != nullptr) {
      const std::string target = *path + "/" + it->second.target;
      absl::Status s = files_.Rename(*path + "/" + it->second.on_disk, target);
      if (absl::IsNotFound(s)) {  // somebody else has renamed it
        if (const auto found = files_.ScanFor(*path, BaseOf(FileNameOf(target)))) s = files_.Rename(*found, target);
      }
      if (!s.ok() && !absl::IsNotFound(s)) return s;
    }
    names_.erase(it);
  }
  const std::string day = Today();
  for (; count > 0 && !gone_.empty(); gone_.pop_front()) {
    --count;
    const std::string* path = files_.Find(gone_.front().mailbox);
    if (path == nullptr) continue;
    const std::string file = *path + "/" + gone_.front().on_disk;
    absl::Status s = files_.Expunge(file, day);
    if (absl::IsNotFound(s)) {  // gone already, or under another name
      const auto found = files_.ScanFor(*path, BaseOf(FileNameOf(file)));
      s = found ? files_.Expunge(*found, day) : absl::OkStatus();
    }
    if (!s.ok() && !absl::IsNotFound(s)) return s;
  }
  if (!names_.empty() || !gone_.empty()) return true;
  for (const auto& [id, keywords] : dropped_) emptied_.push_back(id);
  dropped_.clear();
  return false;
}

absl::Status Account::RemoveEmptied(const std::vector<MailboxId>& mailboxes) {
  for (const MailboxId& id : mailboxes) {
    const bool made_again = mailboxes_.find(id) != mailboxes_.end();  // meanwhile, by a replay
    if (absl::Status s = made_again ? absl::OkStatus() : files_.RemoveMailbox(id, Today()); !s.ok()) return s;
    std::erase(emptied_, id);
  }
  return absl::OkStatus();
}

// ---- the whole account ----

absl::StatusOr<AccountState> Account::Load() {
  if (absl::Status s = Ready(); !s.ok()) return s;
  if (fresh_ && rows_.empty()) return absl::NotFoundError(name_ + " has no index and no base");
  if (absl::Status s = FlushRows(); !s.ok()) return s;
  if (index_ == nullptr && context_.disk.Stat(IndexPath()).ok()) {
    if (absl::Status s = OpenIndex(Index::Create::kNo); !s.ok()) return s;
  }
  if (index_ == nullptr) return absl::DataLossError("the index of " + name_ + " is missing");
  auto state = index_->Load(id_, name_);
  // An incomplete one is sound, and takes rows until it is rewritten.
  if (absl::IsDataLoss(state.status()) && meta_.complete) SetAside(state.status());
  if (state.ok() && state->mailboxes.empty() && state->applied.empty()) {
    return absl::NotFoundError("nothing of " + name_ + " was written yet");
  }
  return state;
}

absl::Status Account::Rewrite(const AccountState& state) {
  if (absl::Status s = Ready(); !s.ok()) return s;
  if (absl::Status s = context_.disk.MakeDirectories(directory()); !s.ok()) return s;
  // What waits in memory is older than `state`; but which files it renames and removes is wanted.
  FlushRows().IgnoreError();
  if (absl::Status s = OpenIndex(Index::Create::kYes); !s.ok()) return s;
  absl::Status status = index_->Rewrite(state);
  if (absl::IsDataLoss(status)) {
    SetAside(status);
    status = OpenIndex(Index::Create::kYes);
    if (status.ok()) status = index_->Rewrite(state);
  }
  if (!status.ok()) return status;
  rows_.clear();
  flag_rows_.clear();
  mailbox_rows_.clear();
  new_clock_ = false;
  fresh_ = false;
  meta_ = {.highest_modseq = state.highest_modseq,
           .last_uid_validity = state.last_uid_validity,
           .applied = state.applied,
           .complete = true};
  mailboxes_.clear();
  for (const auto& [id, mailbox] : state.mailboxes) {
    if (absl::Status s = files_.PlaceMailbox(id, mailbox.name); !s.ok()) return s;
    mailboxes_[id] = {.mailbox = id,
                      .name = mailbox.name,
                      .uid_validity = mailbox.uid_validity,
                      .uid_next = mailbox.uid_next,
                      .highest_modseq = mailbox.highest_modseq,
                      .special_use = mailbox.special_use,
                      .keywords = mailbox.keywords};
  }
  return absl::OkStatus();
}

absl::Status Account::PruneStructures() { return index_ == nullptr ? absl::OkStatus() : index_->PruneStructures(); }

std::optional<std::string> Account::Structure(const Guid& guid) {
  const auto waiting = structures_.find(guid);
  if (waiting != structures_.end()) return waiting->second;
  if (!Ready().ok()) return std::nullopt;
  if (index_ == nullptr && (fresh_ || !OpenIndex(Index::Create::kNo).ok())) return std::nullopt;
  return index_ == nullptr ? std::nullopt : index_->Structure(guid);
}

void Account::CacheStructure(const Guid& guid, std::string bytes) {
  std::string& structure = structures_[guid];
  context_.structure_bytes += bytes.size() - structure.size();
  structure = std::move(bytes);
  if (context_.structure_bytes <= context_.options.structure_bytes_max) return;
  context_.structure_bytes -= structure.size();
  structures_.erase(guid);
}

}  // namespace gemel::maildir
