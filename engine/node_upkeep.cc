// What a node does by the clock: heartbeats, checkpoints, retention, adopting and restoring files.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "engine/sessions.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::LogLevel;
using journal::Record;

constexpr size_t kStoreItemsAtOnce = 256;
constexpr uint64_t kStoreRetryMs = 1000;
constexpr size_t kSweepAtOnce = 16;
// How long a client waits under pair-required when the peer goes away in the middle.
constexpr uint64_t kPairRequiredWaitMs = 20'000;

// What another program put into a Maildir is text with either kind of line end; ours is LF (decision 8).
std::string ToLf(std::string bytes) {
  size_t out = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] == '\n') continue;
    bytes[out++] = bytes[i];
  }
  bytes.resize(out);
  return bytes;
}

// The accounts that records between two positions touch.
absl::StatusOr<std::set<AccountId>> AccountsIn(journal::Disk& disk, const std::string& directory,
                                               journal::Position from, journal::Position until) {
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(disk, directory, from, until);
  if (!reader.ok()) return reader.status();
  std::set<AccountId> touched;
  for (;;) {
    absl::StatusOr<std::optional<journal::Committed>> next = (*reader)->Next();
    if (!next.ok()) return next.status();  // a damaged frame is fetched again before its segment may go
    if (!next->has_value()) return touched;
    for (const Record& record : (*next)->frame->records) {
      if (!record.account.empty()) touched.insert(record.account);
    }
  }
}

}  // namespace

void NodeImpl::Tick() {
  if (failed_ && stopping_) return;
  const uint64_t now = BootMillis();
  if (link_ != nullptr) link_->SendPing();
  if (starting_ && link_ == nullptr && now - started_ms_ >= options_.peer_timeout_ms && !replaying_) {
    Log(LogLevel::kWarning, "starting_without_peer", {{"waited_ms", now - started_ms_}});
    AddProblem("peer_away",
               {"error",
                "the other server was not reached at the start; new mail lies on this disk only, and mailboxes "
                "whose home is there can only be read",
                "bring it back; nothing else needs to be done"});
    pulling_back_.clear();
    FinishStarting();
  }
  UpdatePeerCounts();
  DialSoon(dial_backoff_ms_);
  if (now - last_full_check_ms_ >= 1000) {
    last_full_check_ms_ = now;
    if (absl::StatusOr<uint64_t> free = env_.disk.FreeBytes(options_.data_directory); free.ok()) free_bytes_ = *free;
    const bool full = free_bytes_ < options_.free_bytes_min;
    if (full && !disk_full_) {
      Log(LogLevel::kError, "disk_full", {{"free_bytes", free_bytes_}});
      AddProblem("disk_full",
                 {"error", absl::StrCat("only ", free_bytes_ >> 20, " MiB are free for ", options_.data_directory),
                  "make room; mail is refused with a temporary error on both servers until then"});
    } else if (!full && disk_full_) {
      Log(LogLevel::kInfo, "disk_has_room", {{"free_bytes", free_bytes_}});
      SolveProblem("disk_full");
    }
    disk_full_ = full;
    if (!full && journal_->pending_bytes() > 0) ScheduleCommit();
    EvictIdle();
    for (auto& [id, live] : live_) {
      if (!live->sessions.empty()) AdoptStrangers(id);
    }
  }
  if (now - last_checkpoint_ms_ >= options_.checkpoint_ms) CheckpointSoon();
  if (options_.ack_policy == AckPolicy::kPairRequired && !peer_counts_) {
    for (PendingOperation& operation : operations_) {
      if (!operation.done || now - operation.since_ms < kPairRequiredWaitMs) continue;
      PostSafely([done = std::exchange(operation.done, nullptr)] {
        CommandResult result;
        result.status = absl::UnavailableError("the other server went away before it had this; try again");
        done(std::move(result));
      });
    }
  }
  SweepSome();
  tick_timer_ = AfterSafely(options_.heartbeat_ms, [this] { Tick(); });
}

// Accounts that became this node's to order may have letters without a place, or no mailboxes yet.
void NodeImpl::SweepSome() {
  for (size_t i = 0; i < kSweepAtOnce && !sweep_.empty() && !starting_; ++i) {
    const AccountId id = sweep_.back();
    sweep_.pop_back();
    const Account* account = directory_.Find(id);
    if (account == nullptr) continue;
    if (account->releasing && account->releasing_to == place() && taking_.insert(id).second) {
      std::vector<Record> take;
      take.push_back({id, 0, false, journal::Take{place(), account->release}});
      Create(std::move(take), nullptr);
      continue;
    }
    if (!Orders(*account)) continue;
    if (LiveAccount* live = Live(id)) AfterApplied(*live);
  }
  if (!sweep_.empty() && !starting_) PostSafely([this] { SweepSome(); });
}

void NodeImpl::ScheduleStore() {
  if (store_running_) return;
  store_running_ = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop] {
    absl::Status status;
    for (;;) {
      absl::StatusOr<bool> more = store->RunOnce(kStoreItemsAtOnce);
      if (!more.ok()) status = more.status();
      if (!more.ok() || !*more) break;
    }
    loop->Post([this, alive, status] {
      if (alive.expired()) return;
      store_running_ = false;
      if (!status.ok()) {
        Log(LogLevel::kError, "store_failed", {{"error", std::string(status.message())}});
        AddProblem("store",
                   {"error", absl::StrCat("mail cannot be written to the Maildirs: ", std::string(status.message())),
                    "check the disk; it is tried again every second, and the journal has everything"});
        AfterSafely(kStoreRetryMs, [this] { ScheduleStore(); });
        return;
      }
      SolveProblem("store");
      if (store_->backlog_items() > 0) ScheduleStore();
    });
  });
}

absl::Status NodeImpl::SaveDirectory() {
  if (directory_.version() == directory_saved_) return absl::OkStatus();
  const uint64_t version = directory_.version();
  absl::Status status = env_.disk.ReplaceDurably(options_.data_directory + "/node/directory", directory_.Encode());
  if (status.ok()) directory_saved_ = version;
  return status;
}

void NodeImpl::CheckpointSoon() {
  if (checkpoint_running_ || failed_) return;
  last_checkpoint_ms_ = BootMillis();
  if (store_->last_checkpoint().position >= committed_end_) return;
  // The directory first: the checkpoint says that all before it is on the disk.
  if (absl::Status status = SaveDirectory(); !status.ok()) {
    Log(LogLevel::kError, "directory_not_saved", {{"error", std::string(status.message())}});
    return;
  }
  checkpoint_running_ = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop] {
    absl::StatusOr<maildir::CheckpointInfo> info = store->Checkpoint();
    loop->Post([this, alive, info = std::move(info)] {
      if (alive.expired()) return;
      checkpoint_running_ = false;
      if (!info.ok()) {
        Log(LogLevel::kError, "checkpoint_failed", {{"error", std::string(info.status().message())}});
        AddProblem("checkpoint", {"error", absl::StrCat("no checkpoint: ", std::string(info.status().message())),
                                  "check the disk; until then the journal is kept and grows"});
        return;
      }
      SolveProblem("checkpoint");
      RetireSegments();
    });
  });
}

// A segment goes when it is in the Maildirs, on the peer, and older than what is kept for recovery. What it says lives
// on in the bases of the accounts that it touched. In small steps: the loop has clients to serve.
void NodeImpl::RetireSegments() {
  if (retiring_ || journal_->bytes_on_disk() <= options_.retain_bytes_min) return;
  if (identity_.peer && (link_ == nullptr || !link_->caught_up() || Unprotected() > 0))
    return;  // never past its cursor
  const journal::Position segment = journal::Position{1} << 32;
  const journal::Position until = (journal_->oldest() / segment + 1) * segment;
  if (until > store_->last_checkpoint().position) return;
  retiring_ = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), disk = &env_.disk, loop = &env_.loop,
                                   directory = JournalDirectory(), from = journal_->oldest(), until] {
    absl::StatusOr<std::set<AccountId>> touched = AccountsIn(*disk, directory, from, until);
    loop->Post([this, alive, until, touched = std::move(touched)] {
      if (alive.expired()) return;
      if (!touched.ok()) return EndRetiring(touched.status());
      WriteNextBase(until, {touched->begin(), touched->end()});
    });
  });
}

void NodeImpl::WriteNextBase(journal::Position until, std::vector<AccountId> accounts) {
  if (accounts.empty()) return EndRetiring(journal_->Retire(until));
  const AccountId id = accounts.back();
  accounts.pop_back();
  LiveAccount* live = Live(id);
  if (live == nullptr) {
    if (directory_.Find(id) != nullptr) {
      return EndRetiring(absl::UnavailableError(absl::StrCat("the base of account ", id.hex(), " cannot be written")));
    }
    return PostSafely([this, until, accounts = std::move(accounts)] { WriteNextBase(until, accounts); });
  }
  auto state = std::make_shared<AccountState>(live->state);
  state->applied = applied_;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop, until,
                                   state, accounts = std::move(accounts)] {
    const absl::Status status = store->WriteBase(*state);
    loop->Post([this, alive, until, status, accounts] {
      if (alive.expired()) return;
      if (!status.ok()) return EndRetiring(status);
      WriteNextBase(until, accounts);
    });
  });
}

void NodeImpl::EndRetiring(const absl::Status& status) {
  retiring_ = false;
  if (status.ok()) {
    SolveProblem("retention");
    return RetireSegments();  // there may be more
  }
  Log(LogLevel::kError, "segment_not_retired", {{"error", std::string(status.message())}});
  AddProblem("retention", {"warning", absl::StrCat("old journal segments are kept: ", std::string(status.message())),
                           "it is tried again at each checkpoint; watch the free space"});
}

void NodeImpl::FinalCheckpoint(std::function<void()> done) {
  if (link_ != nullptr) link_->Drop("this node is going down");
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop,
                                   done = std::move(done)] {
    for (;;) {
      absl::StatusOr<bool> more = store->RunOnce(kStoreItemsAtOnce);
      if (!more.ok() || !*more) break;
    }
    loop->Post([this, alive, done] {
      if (alive.expired()) return;
      absl::Status status = SaveDirectory();
      if (status.ok()) status = store_->Checkpoint().status();
      if (!status.ok()) Log(LogLevel::kError, "final_checkpoint_failed", {{"error", std::string(status.message())}});
      for (auto& [id, live] : live_) {
        if (absl::Status written = store_->WriteDovecotFiles(live->state); !written.ok()) {
          Log(LogLevel::kWarning, "uidlist_not_written",
              {{"account", live->state.name}, {"error", std::string(written.message())}});
        }
      }
      done();
    });
  });
}

void NodeImpl::AdoptStrangers(const AccountId& id) {
  LiveAccount* live = LiveIfLoaded(id);
  const Account* account = directory_.Find(id);
  if (live == nullptr || account == nullptr || !AcceptingMail().ok()) return;
  absl::StatusOr<std::vector<maildir::Stranger>> strangers = store_->FindStrangers(live->state);
  if (!strangers.ok()) return;
  for (const maildir::Stranger& stranger : *strangers) {
    if (!adopting_.insert(stranger.path).second) continue;
    absl::StatusOr<std::string> bytes = store_->ReadStranger(stranger);
    if (!bytes.ok()) continue;
    AdoptedLetter letter;
    letter.mailbox = stranger.mailbox;
    letter.internal_date_s = stranger.mtime_s;
    letter.flags = stranger.flags;
    letter.bytes = ToLf(*std::move(bytes));
    Log(LogLevel::kInfo, "adopting", {{"account", account->name}, {"file", stranger.path}});
    Adopt(*live, *account, std::move(letter), [this, stranger](absl::Status status) {
      adopting_.erase(stranger.path);
      if (status.ok()) status = store_->RemoveStranger(stranger);
      if (!status.ok()) {
        Log(LogLevel::kWarning, "not_adopted", {{"file", stranger.path}, {"error", std::string(status.message())}});
      }
    });
  }
}

void NodeImpl::RestoreBody(const AccountId& account, const MailboxId& mailbox, const Message& message,
                           std::function<void(absl::Status)> done) {
  Log(LogLevel::kWarning, "restoring_body", {{"account", account.hex()}, {"message", message.guid.hex()}});
  const auto put_back = [this, account, mailbox, message, done](absl::StatusOr<std::string> body) {
    if (!body.ok()) return done(body.status());
    done(store_->RestoreBody(account, mailbox, message, *body));
  };
  absl::StatusOr<std::string> ours = BodyFromJournal(message.dot);
  if (ours.ok() || link_ == nullptr) {
    PostSafely([put_back, ours = std::move(ours)] { put_back(ours); });
    return;
  }
  std::vector<std::function<void(absl::StatusOr<std::string>)>>& waiting = body_requests_[message.dot];
  waiting.push_back(put_back);
  if (waiting.size() == 1) link_->Send(BodyRequest{account, message.dot});
}

void NodeImpl::OnBodyPart(BodyPart part) {
  const auto found = body_requests_.find(part.message);
  if (found == body_requests_.end()) return;
  std::string& body = body_parts_[part.message];
  if (part.offset != body.size()) return;
  body += part.bytes;
  if (!part.last) return;
  absl::StatusOr<std::string> whole = absl::NotFoundError("the letter's file is on neither server any more");
  if (part.found) whole = std::move(body);
  body_parts_.erase(part.message);
  auto waiting = std::move(found->second);
  body_requests_.erase(found);
  for (auto& done : waiting) done(whole);
}

absl::StatusOr<std::string> NodeImpl::LocalBody(const AccountId& id, const Dot& message) {
  if (LiveAccount* live = Live(id)) {
    for (const auto& [mailbox_id, mailbox] : live->state.mailboxes) {
      const Message* found = mailbox.Find(message);
      if (found == nullptr) continue;
      absl::StatusOr<std::shared_ptr<maildir::Body>> body = store_->OpenBody(id, mailbox_id, *found);
      if (body.ok() && (*body)->bytes() == found->bytes) return (*body)->Read(0, (*body)->bytes());
    }
  }
  return BodyFromJournal(message);
}

}  // namespace gemel::engine
