#include "maildir/disk_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "journal/log.h"
#include "maildir/account_path.h"
#include "maildir/base.h"
#include "maildir/checkpoint.h"
#include "maildir/dovecot_files.h"
#include "maildir/file_name.h"

namespace gemel::maildir {
namespace {

constexpr size_t kNamesAtOnce = 32;  // renames under one hold of an account's lock
// Before its last checkpoint the run before this one had looked for strangers everywhere.
constexpr int64_t kLookedForStrangersSeconds = 120;

std::string_view View(const absl::Status& status) { return {status.message().data(), status.message().size()}; }

class MemoryBody : public Body {
 public:
  explicit MemoryBody(StoreQueue::QueuedBody body) : body_(std::move(body)) {}
  uint64_t bytes() const override { return body_.trace.size() + body_.bytes->size(); }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t count) const override {
    std::string out;
    if (offset < body_.trace.size()) out = body_.trace.substr(offset, count);
    const uint64_t start = offset + out.size() - std::min<uint64_t>(offset + out.size(), body_.trace.size());
    if (out.size() < count && start < body_.bytes->size()) out += body_.bytes->substr(start, count - out.size());
    return out;
  }

 private:
  const StoreQueue::QueuedBody body_;
};

class FileBody : public Body {
 public:
  FileBody(std::unique_ptr<journal::File> file, uint64_t bytes) : file_(std::move(file)), bytes_(bytes) {}
  uint64_t bytes() const override { return bytes_; }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t count) const override {
    if (offset >= bytes_) return std::string();
    std::string out(std::min<uint64_t>(count, bytes_ - offset), '\0');
    auto read = file_->ReadAt(offset, out.data(), out.size());
    if (!read.ok()) return read.status();
    out.resize(*read);
    return out;
  }

 private:
  const std::unique_ptr<journal::File> file_;
  const uint64_t bytes_;
};

absl::StatusOr<std::shared_ptr<Body>> BodyOf(std::unique_ptr<journal::File> file) {
  auto size = file->Size();
  if (!size.ok()) return size.status();
  return std::make_shared<FileBody>(std::move(file), *size);
}

SpoolMark MarkOf(const CheckpointInfo& info) {
  return {.position = info.position, .applied = std::make_shared<const journal::VectorClock>(info.applied)};
}

// The position stands still where something waits, while the clock goes on.
bool IsBefore(const CheckpointInfo& a, const SpoolMark& b) {
  return a.position < b.position || (a.position == b.position && b.applied->Covers(a.applied));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(journal::Disk& disk, StoreOptions options) {
  auto found = ReadCheckpoint(disk, options.root);
  if (!found.ok()) return found.status();
  auto store = std::make_unique<DiskStore>(disk, std::move(options), *std::move(found));
  if (absl::Status s = store->Start(); !s.ok()) return s;
  return store;
}

DiskStore::DiskStore(journal::Disk& disk, StoreOptions options, CheckpointInfo found)
    : disk_(disk),
      options_(std::move(options)),
      spool_(disk, options_.root + "/spool", options_.spool_memory_bytes),
      queue_(MarkOf(found), spool_),
      context_{.disk = disk_,
               .options = options_,
               .spool = spool_,
               .clock = options_.clock == nullptr ? journal::SystemClock() : *options_.clock,
               .structure_bytes = structure_bytes_},
      settled_(found.applied),
      last_checkpoint_(std::move(found)) {}

absl::Status DiskStore::Start() {
  if (absl::Status s = disk_.MakeDirectories(options_.root + "/accounts"); !s.ok()) return s;
  auto file_system = disk_.OpenFileSystem(options_.root);
  if (!file_system.ok()) return file_system.status();
  file_system_ = *std::move(file_system);
  if (const auto checkpoint = disk_.Stat(options_.root + "/checkpoint"); checkpoint.ok()) {
    strangers_since_s_ = checkpoint->mtime_s - kLookedForStrangersSeconds;
  }
  if (absl::Status s = spool_.Clear(); !s.ok()) {
    journal::Log(journal::LogLevel::kError, "spool_not_emptied", {{"error", View(s)}});
  }
  return absl::OkStatus();
}

void DiskStore::Know(const AccountId& account, const std::string& name) {
  const std::lock_guard lock(accounts_mutex_);
  AccountPtr& known = accounts_[account];
  if (known != nullptr) return;
  known = std::make_shared<Account>(context_, account, name, options_.root + "/accounts/" + AccountPath(name));
}

absl::StatusOr<DiskStore::AccountPtr> DiskStore::Find(const AccountId& account) const {
  const std::lock_guard lock(accounts_mutex_);
  const auto it = accounts_.find(account);
  if (it == accounts_.end()) return absl::InternalError("account " + account.hex() + " was not made known");
  return it->second;
}

std::string DiskStore::AccountDirectory(const AccountId& account) const {
  const auto found = Find(account);
  return found.ok() ? (*found)->directory() : std::string();
}

// ---- working off ----

absl::StatusOr<bool> DiskStore::RunOnce(size_t items) {
  bool worked = false;
  for (size_t i = 0; i < items; ++i) {
    const auto account = queue_.Next();
    if (!account) break;
    auto stepped = account->empty() ? StepSpool(~uint64_t{0}) : Step(*account);
    worked = true;
    if (!stepped.ok() && !IsParked(*account)) return stepped.status();
  }
  return worked;
}

absl::Status DiskStore::Park(const AccountId& account, absl::Status why) {
  if (absl::IsResourceExhausted(why)) return why;
  queue_.Park(account);
  const std::lock_guard lock(accounts_mutex_);
  if (parked_.insert_or_assign(account, why).second) {
    journal::Log(journal::LogLevel::kError, "account_parked", {{"account", account.hex()}, {"error", View(why)}});
  }
  return why;
}

bool DiskStore::IsParked(const AccountId& account) const {
  const std::lock_guard lock(accounts_mutex_);
  return parked_.contains(account);
}

std::vector<Store::Parked> DiskStore::ParkedAccounts() const {
  const std::lock_guard lock(accounts_mutex_);
  std::vector<Parked> all;
  for (const auto& [id, why] : parked_) {
    const StoreQueue::Backlog backlog = queue_.backlog(id);
    all.push_back({.account = id, .why = why, .backlog_bytes = backlog.bytes, .backlog_items = backlog.items});
  }
  return all;
}

void DiskStore::RetryParked() {
  for (const Parked& each : ParkedAccounts()) {
    absl::Status status = WorkOff(each.account);
    if (status.ok()) status = FlushAll(each.account);
    if (!status.ok()) {
      Park(each.account, std::move(status)).IgnoreError();
      continue;
    }
    {
      const std::lock_guard lock(accounts_mutex_);
      parked_.erase(each.account);
    }
    queue_.Unpark(each.account);
    journal::Log(journal::LogLevel::kInfo, "account_written_again", {{"account", each.account.hex()}});
  }
}

absl::StatusOr<bool> DiskStore::Step(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return Park(id, account.status());
  {
    const std::lock_guard lock((*account)->mutex);
    const std::shared_ptr<StoreUnit> unit = queue_.Front(id);
    if (unit == nullptr) return false;
    const StoreOp& op = unit->ops[unit->next];
    if (std::holds_alternative<PutMessage>(op) || std::holds_alternative<PutUnplaced>(op)) {
      if (absl::Status s = DrainSpool(unit->batch); !s.ok()) return s;
    }
    if (absl::Status s = (*account)->Apply(op); !s.ok()) return Park(id, std::move(s));
    const bool ends = unit->next + 1 == unit->ops.size();
    if (ends) {
      (*account)->EndUnit(*unit->applied);
      MarkDirty(id);
    }
    queue_.Done(id, unit);
    if (!ends || !(*account)->wants_flush()) return true;
    if (absl::Status s = (*account)->FlushRows(); !s.ok()) return Park(id, std::move(s));
  }
  TouchIndex(*account);
  return true;
}

absl::StatusOr<bool> DiskStore::StepSpool(uint64_t last_batch) {
  const std::lock_guard lock(spool_work_);
  const std::shared_ptr<StoreUnit> unit = queue_.Front(AccountId{});
  if (unit == nullptr || unit->batch > last_batch) return false;
  StoreOp& op = unit->ops[unit->next];
  if (auto* chunk = std::get_if<SpoolChunk>(&op)) {
    if (absl::Status s = spool_.Write(*chunk); !s.ok()) return s;
  } else if (const auto* drop = std::get_if<SpoolDrop>(&op)) {
    spool_.Sweep(drop->body);
  } else {
    return absl::InternalError("an operation on an account came without its id");
  }
  queue_.Done(AccountId{}, unit);
  return true;
}

absl::Status DiskStore::DrainSpool(uint64_t last_batch) {
  while (true) {
    auto stepped = StepSpool(last_batch);
    if (!stepped.ok()) return stepped.status();
    if (!*stepped) return absl::OkStatus();
  }
}

absl::Status DiskStore::WorkOff(const AccountId& account) {
  while (true) {
    auto stepped = Step(account);
    if (!stepped.ok()) return stepped.status();
    if (!*stepped) return absl::OkStatus();
  }
}

absl::StatusOr<std::unique_lock<std::mutex>> DiskStore::LockBetweenUnits(Account& account) {
  while (true) {
    std::unique_lock lock(account.mutex);
    const std::shared_ptr<StoreUnit> unit = queue_.Front(account.id());
    if (unit == nullptr || unit->next == 0) return lock;
    lock.unlock();
    if (auto stepped = Step(account.id()); !stepped.ok()) return stepped.status();
  }
}

void DiskStore::MarkDirty(const AccountId& account) {
  const std::lock_guard lock(accounts_mutex_);
  dirty_.insert(account);
}

void DiskStore::TouchIndex(const AccountPtr& account) {
  AccountPtr idle;
  {
    const std::lock_guard lock(handles_mutex_);
    const auto it = handle_of_.find(account->id());
    if (it != handle_of_.end()) {
      handles_.splice(handles_.begin(), handles_, it->second);
      return;
    }
    handle_of_[account->id()] = handles_.insert(handles_.begin(), account);
    if (handles_.size() <= options_.open_indexes_max) return;
    idle = handles_.back();
    handle_of_.erase(idle->id());
    handles_.pop_back();
  }
  // Closing folds the log into the file, with its two syncs: outside the lock of the list.
  const std::lock_guard lock(idle->mutex);
  idle->CloseIndex();
}

// ---- checkpoint ----

absl::Status DiskStore::FlushAll(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  {
    const auto lock = LockBetweenUnits(**account);
    if (!lock.ok()) return lock.status();
    if (absl::Status s = (*account)->FlushRows(); !s.ok()) return s;
  }
  TouchIndex(*account);
  while (true) {
    const std::lock_guard lock((*account)->mutex);
    auto more = (*account)->FlushNames(kNamesAtOnce);
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
  }
}

// The position is taken first: what is worked off meanwhile may become durable too, which replay does not mind.
absl::StatusOr<CheckpointInfo> DiskStore::Checkpoint(const std::optional<CheckpointInfo>& limit) {
  const std::lock_guard one_at_a_time(checkpoint_mutex_);
  if (absl::Status s = AfterSync(absl::OkStatus()); !s.ok()) return s;
  SpoolMark mark = queue_.reached();
  if (limit && IsBefore(*limit, mark)) mark = MarkOf(*limit);
  if (const auto open_body = spool_.oldest(); open_body && open_body->position < mark.position) mark = *open_body;
  absl::flat_hash_set<AccountId> dirty;
  {
    const std::lock_guard lock(accounts_mutex_);
    dirty.swap(dirty_);
  }
  bool all_flushed = true;
  std::map<AccountId, std::vector<MailboxId>> emptied;  // before the sync: it covers no others
  for (const AccountId& id : dirty) {
    absl::Status status = FlushAll(id);
    if (absl::IsResourceExhausted(status)) {
      for (const AccountId& each : dirty) MarkDirty(each);
      return status;
    }
    if (!status.ok()) {
      MarkDirty(id);
      Park(id, std::move(status)).IgnoreError();
      all_flushed = false;
      continue;
    }
    const AccountPtr account = *Find(id);
    const std::lock_guard lock(account->mutex);
    if (!account->emptied().empty()) emptied[id] = account->emptied();
  }
  // What an account cannot write came after the last checkpoint: then nothing was left over.
  const CheckpointInfo info =
      all_flushed ? CheckpointInfo{.position = mark.position, .applied = *mark.applied} : last_checkpoint();
  absl::Status status = SyncAll();
  if (status.ok() && all_flushed) status = AfterSync(WriteCheckpoint(disk_, options_.root, info));
  for (const auto& [id, mailboxes] : emptied) {
    const AccountPtr account = *Find(id);
    const std::lock_guard lock(account->mutex);
    // A directory that stays is in nobody's way; it goes next time.
    if (!status.ok() || !account->RemoveEmptied(mailboxes).ok() || !account->emptied().empty()) MarkDirty(id);
  }
  if (!status.ok()) return status;
  const std::lock_guard lock(accounts_mutex_);
  last_checkpoint_ = info;
  return info;
}

absl::Status DiskStore::SyncAll() {
  if (absl::Status s = AfterSync(absl::OkStatus()); !s.ok()) return s;
  const absl::Status synced = file_system_->Sync();
  return AfterSync(absl::IsResourceExhausted(synced) ? absl::UnavailableError(synced.message()) : synced);
}

absl::Status DiskStore::AfterSync(absl::Status status) {
  constexpr char kFailed[] = "a sync has failed, and what it lost is not known: ";
  const std::lock_guard lock(sync_mutex_);
  const bool fails = !status.ok() && !absl::IsResourceExhausted(status);
  if (sync_failed_.ok() && fails) sync_failed_ = absl::FailedPreconditionError(absl::StrCat(kFailed, status.message()));
  return sync_failed_.ok() ? status : sync_failed_;
}

CheckpointInfo DiskStore::last_checkpoint() const {
  const std::lock_guard lock(accounts_mutex_);
  return last_checkpoint_;
}

// ---- reading ----

absl::StatusOr<AccountState> DiskStore::Load(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  if (absl::Status s = WorkOff(id); !s.ok()) return s;
  absl::StatusOr<AccountState> state = absl::InternalError("not loaded");
  {
    const auto lock = LockBetweenUnits(**account);
    if (!lock.ok()) return lock.status();
    state = (*account)->Load();
  }
  TouchIndex(*account);
  return state;
}

absl::Status DiskStore::Rewrite(const AccountState& state) {
  auto account = Find(state.id);
  if (!account.ok()) return account.status();
  if (absl::Status s = WorkOff(state.id); !s.ok()) return s;
  absl::Status status;
  {
    const auto lock = LockBetweenUnits(**account);
    if (!lock.ok()) return lock.status();
    status = (*account)->Rewrite(state);
  }
  MarkDirty(state.id);
  TouchIndex(*account);
  return status;
}

absl::StatusOr<std::shared_ptr<Body>> DiskStore::OpenBody(const AccountId& id, const MailboxId& mailbox,
                                                          const Message& message) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  for (int attempt = 0;; ++attempt) {
    if (auto queued = queue_.FindBody(id, message.dot)) return std::make_shared<MemoryBody>(*std::move(queued));
    absl::StatusOr<std::unique_ptr<journal::File>> file = absl::NotFoundError("not opened");
    {
      const std::lock_guard lock((*account)->mutex);
      file = (*account)->OpenMessage(mailbox, message);
    }
    if (file.ok()) {
      absl::StatusOr<std::shared_ptr<Body>> body = BodyOf(*std::move(file));
      if (!body.ok() || (*body)->bytes() == message.bytes) return body;
      file = absl::NotFoundError(absl::StrCat(MaildirBaseName(message), " has ", (*body)->bytes(), " bytes, not ",
                                              message.bytes));  // the engine restores it
    }
    // It may be on its way: copied, moved or placed by what is queued.
    if (!absl::IsNotFound(file.status()) || attempt > 0 || queue_.Front(id) == nullptr) return file.status();
    if (absl::Status s = WorkOff(id); !s.ok()) return s;
  }
}

absl::Status DiskStore::RestoreBody(const AccountId& id, const MailboxId& mailbox, const Message& message,
                                    std::string_view trace_and_body) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  if (absl::Status s = WorkOff(id); !s.ok()) return s;
  const std::lock_guard lock((*account)->mutex);
  return (*account)->Restore(mailbox, message, trace_and_body);
}

absl::StatusOr<std::vector<Store::MissingBody>> DiskStore::Reconcile(const AccountState& state, Leftovers leftovers) {
  auto account = Find(state.id);
  if (!account.ok()) return account.status();
  if (absl::Status s = WorkOff(state.id); !s.ok()) return s;
  if (absl::Status s = FlushAll(state.id); !s.ok()) return s;
  const std::lock_guard lock((*account)->mutex);
  auto files = (*account)->Files();
  if (!files.ok()) return files.status();
  if (absl::Status s = (*account)->PruneStructures(); !s.ok()) return s;
  return ReconcileFiles(**files, state, settled_, (*account)->Today(), leftovers, [this] { return SyncAll(); });
}

// ---- strangers ----

// The system's clock, whatever clock the store was given: it is compared with the file system's times.
absl::StatusOr<std::vector<Stranger>> DiskStore::FindStrangers(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  const std::lock_guard lock((*account)->mutex);
  auto files = (*account)->Files();
  if (!files.ok()) return files.status();
  return FindStrangerFiles(**files, static_cast<int64_t>(journal::SystemClock().NowMillis() / 1000),
                           OwnersOf(**account), &(*account)->seen());
}

// While something is queued for the account there may be files without a message yet.
FindOwners DiskStore::OwnersOf(Account& account) {
  return [this, &account](const std::string& mailbox_path,
                          const std::vector<std::string>& bases) -> absl::StatusOr<FileOwners> {
    if (queue_.Front(account.id()) != nullptr) return absl::UnavailableError("more is queued for it");
    return account.FindOwners(mailbox_path, bases);
  };
}

absl::StatusOr<bool> DiskStore::MayHaveStrangers(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  absl::StatusOr<bool> has = false;
  bool opened = false;
  {
    const std::lock_guard lock((*account)->mutex);
    const std::lock_guard seen_lock(seen_mutex_);
    const bool was_open = (*account)->has_index_open();
    has = HasStrangerFiles(disk_, (*account)->directory() + "/Maildir",
                           static_cast<int64_t>(journal::SystemClock().NowMillis() / 1000), strangers_since_s_,
                           OwnersOf(**account), &seen_);
    opened = !was_open && (*account)->has_index_open();
  }
  if (opened) TouchIndex(*account);
  return has;
}

absl::StatusOr<std::string> DiskStore::ReadStranger(const Stranger& stranger, uint64_t offset, size_t bytes) {
  const auto info = disk_.Stat(stranger.path);  // it may have become something else since it was found
  if (!info.ok()) return info.status();
  if (info->bytes != stranger.bytes) return absl::UnavailableError(stranger.path + " is still being written");
  const auto file = disk_.Open(stranger.path, journal::OpenMode::kRead);
  if (!file.ok()) return file.status();
  std::string part(std::min<uint64_t>(bytes, stranger.bytes - std::min(stranger.bytes, offset)), '\0');
  const auto count = (*file)->ReadAt(offset, part.data(), part.size());
  if (!count.ok()) return count.status();
  if (*count < part.size()) return absl::UnavailableError(stranger.path + " was cut while it was read");
  return part;
}

absl::Status DiskStore::RemoveStranger(const Stranger& stranger) {
  const absl::Status status = disk_.Remove(stranger.path);
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

// ---- cached structures ----

std::optional<std::string> DiskStore::CachedStructure(const AccountId& account, const Guid& guid) {
  return CachedStructures(account, {guid}).front();
}

std::vector<std::optional<std::string>> DiskStore::CachedStructures(const AccountId& id,
                                                                    const std::vector<Guid>& guids) {
  std::vector<std::optional<std::string>> found(guids.size());
  auto account = Find(id);
  if (!account.ok()) return found;
  bool open = false;
  {
    const std::lock_guard lock((*account)->mutex);
    for (size_t i = 0; i < guids.size(); ++i) found[i] = (*account)->Structure(guids[i]);
    open = (*account)->has_index_open();
  }
  if (open) TouchIndex(*account);
  return found;
}

void DiskStore::CacheStructure(const AccountId& id, const Guid& guid, std::string bytes) {
  auto account = Find(id);
  if (!account.ok()) return;
  {
    const std::lock_guard lock((*account)->mutex);
    (*account)->CacheStructure(guid, std::move(bytes));
  }
  MarkDirty(id);
}

// ---- what outlives the journal ----

absl::StatusOr<std::shared_ptr<Body>> DiskStore::OpenExpunged(const AccountId& id, const Message& message) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  const std::lock_guard lock((*account)->mutex);
  auto files = (*account)->Files();
  if (!files.ok()) return files.status();
  const auto path = (*files)->FindExpunged(MaildirBaseName(message));
  if (!path) return absl::NotFoundError("no expunged file " + MaildirBaseName(message));
  auto file = disk_.Open(*path, journal::OpenMode::kRead);
  if (!file.ok()) return file.status();
  return BodyOf(*std::move(file));
}

absl::StatusOr<size_t> DiskStore::PurgeExpunged(const AccountId& id, int64_t before_s, size_t files_max) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  const std::string root = (*account)->directory() + "/expunged";
  // Days compare as texts: YYYY-MM-DD.
  const std::string first_kept = absl::FormatTime("%Y-%m-%d", absl::FromUnixSeconds(before_s), absl::UTCTimeZone());
  const auto days = disk_.List(root);
  if (absl::IsNotFound(days.status())) return 0;
  if (!days.ok()) return days.status();
  size_t removed = 0;
  for (const std::string& day : *days) {
    if (day >= first_kept) break;
    const std::string directory = root + "/" + day;
    const auto names = disk_.List(directory);
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      if (removed == files_max) return removed;
      if (absl::Status s = disk_.Remove(directory + "/" + name); !s.ok() && !absl::IsNotFound(s)) return s;
      ++removed;
    }
    // Nothing is moved into a day that is over, but for a clock that was set back: then its directory is made again.
    const std::lock_guard lock((*account)->mutex);
    if (absl::Status s = disk_.Remove(directory); !s.ok() && !absl::IsNotFound(s)) return s;
  }
  return removed;
}

absl::Status DiskStore::WriteBase(const AccountState& state) {
  auto account = Find(state.id);
  if (!account.ok()) return account.status();
  const std::string& directory = (*account)->directory();
  if (absl::Status s = disk_.MakeDirectories(directory); !s.ok()) return s;
  return disk_.ReplaceDurably(directory + "/base", EncodeBase(state));
}

absl::StatusOr<AccountState> DiskStore::ReadBase(const AccountId& id) {
  auto account = Find(id);
  if (!account.ok()) return account.status();
  const std::string path = (*account)->directory() + "/base";
  auto bytes = disk_.ReadWhole(path);
  if (!bytes.ok()) return bytes.status();
  auto state = DecodeBase(*bytes);
  if (state.ok() && state->id != id) return absl::DataLossError(path + ": belongs to another account");
  if (state.ok()) return state;
  return absl::Status(state.status().code(), path + ": " + std::string(state.status().message()));
}

absl::Status DiskStore::WriteDovecotFiles(const AccountState& state) {
  auto account = Find(state.id);
  if (!account.ok()) return account.status();
  if (absl::Status s = WorkOff(state.id); !s.ok()) return s;
  if (absl::Status s = FlushAll(state.id); !s.ok()) return s;
  const std::lock_guard lock((*account)->mutex);
  auto files = (*account)->Files();
  if (!files.ok()) return files.status();
  return WriteDovecot(**files, state);
}

}  // namespace gemel::maildir
