// What a node does by the clock: heartbeats, checkpoints, the store's work.
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
// How long a client waits when nobody knows why: a disk stands still. Long, as the letter may be stored all the same,
// and then comes twice.
constexpr uint64_t kStalledWaitMs = 120'000;
// Of store_backlog_bytes_max, for one account that cannot be written (docs/operator.md, "Problems").
constexpr size_t kParkedShare = 16;

void LogUidlist(const std::string& account, const absl::Status& status) {
  Log(LogLevel::kWarning, "uidlist_not_written", {{"account", account}, {"error", std::string(status.message())}});
}

}  // namespace

void NodeImpl::Tick() {
  if (failed_ && stopping_) return;
  const uint64_t now = BootMillis();
  TickLink();
  if (starting_ && link_ == nullptr) StartAlone();
  if (!starting_ && !waiting_again_.empty()) {
    AddProblem("not_shown", {"error",
                             absl::StrCat(waiting_again_.size(),
                                          " mailboxes are not shown: of their last changes, which clients may "
                                          "have seen, nobody knows whether the other server has them"),
                             "bring the other server back; nothing else needs to be done"});
  }
  TryHeldOpens();
  if (now - last_full_check_ms_ >= 1000) {
    last_full_check_ms_ = now;
    if (absl::StatusOr<uint64_t> free = env_.disk.FreeBytes(options_.data_directory); free.ok()) free_bytes_ = *free;
    const bool full = free_bytes_ < options_.free_bytes_min || journal_full_ || store_full_ || checkpoint_full_;
    if (checkpoint_full_) CheckpointSoon();
    if (full && !disk_full_) {
      NoteDiskFull(free_bytes_ < options_.free_bytes_min ? "less is free than [journal] free_space_min"
                                                         : "a write of a Maildir or an index failed for that");
    } else if (!full && disk_full_) {
      Log(LogLevel::kInfo, "disk_has_room", {{"free_bytes", free_bytes_}});
      SolveProblem("disk_full");
      disk_full_ = false;
    }
    if (journal_->pending_bytes() > 0) ScheduleCommit();
    if (problems_.contains("readers")) RetireSegments();
    CheckClock();
    EndLateFetches();
    RetryParked();
    EvictIdle();
    PurgeSome();
    MendPassedOver();
    for (auto& [id, live] : live_) {
      if (!live->sessions.empty()) strangers_wanted_.insert(id);
    }
  }
  ScanForStrangers();
  if (now - last_checkpoint_ms_ >= options_.checkpoint_ms) CheckpointSoon();
  if (disk_full_ || peer_disk_full_) {
    AnswerWaiting(kClientWaitMs,
                  absl::ResourceExhaustedError("the disk is full, or that of the other server; try again"));
  } else if (options_.ack_policy == AckPolicy::kPairRequired && !peer_counts_) {
    AnswerWaiting(kClientWaitMs, absl::UnavailableError("the other server went away before it had this; try again"));
  } else {
    AnswerWaiting(kStalledWaitMs, absl::UnavailableError("the disk of one of the servers stands still; try again"));
  }
  SweepSome();
  CloseFinished();
  AfterSafely(options_.heartbeat_ms, [this] { Tick(); });
}

// Incarnations that are over, and of which both nodes hold and have applied all, are closed, so that the clocks in
// frames do not grow with each start. By place 0 only; a node alone closes its own.
void NodeImpl::CloseFinished() {
  if (closing_ || starting_ || stopping_ || failed_ || place() != 0 || frame_clock_.entries().size() <= 2) return;
  if (!missing_.empty() || !pulling_back_.empty()) return;  // then `held` does not say all
  if (identity_.peer && (link_ == nullptr || !link_->caught_up())) return;
  const journal::VectorClock held = journal_->held();
  std::vector<Record> records;
  for (const auto& [origin, seq] : frame_clock_.entries()) {
    if (origin == origin_ || held.Get(origin) != seq) continue;
    if (identity_.peer) {
      if (origin == peer_origin_ || peer_held_.Get(origin) != seq) continue;
    } else if (origin.node != identity_.node) {
      continue;
    }
    records.push_back({AccountId{}, 0, false, journal::Closed{origin, seq}});
  }
  if (records.empty()) return;
  Log(LogLevel::kInfo, "incarnations_closed", {{"count", records.size()}});
  closing_ = Create(std::move(records), nullptr, /*grouped=*/false) != 0;
}

// The peer is not there. Where it was, and knows more of this node's records, they are waited for however long it
// takes: with half of them this node would give out UIDs that have a meaning already.
void NodeImpl::StartAlone() {
  if (!pulling_back_.empty()) {
    AddProblem("pulling_back",
               {"error",
                "this server lacks records of its own that the other one has, and the link broke while they were "
                "fetched; no mail is taken and nothing is shown here before it has them",
                "bring the other server or the link back; nothing else needs to be done"});
    return;
  }
  const uint64_t waited_ms = BootMillis() - started_ms_;
  if (waited_ms < options_.peer_timeout_ms) return;
  Log(LogLevel::kWarning, "starting_without_peer", {{"waited_ms", waited_ms}});
  AddProblem("peer_away",
             {"error",
              "the other server was not reached at the start; new mail lies on this disk only, and mailboxes whose "
              "home is there can only be read",
              "bring it back; nothing else needs to be done"});
  FinishStarting();
}

// Tick takes it back when there is room again.
void NodeImpl::NoteDiskFull(std::string_view why) {
  if (std::exchange(disk_full_, true)) return;
  Log(LogLevel::kError, "disk_full", {{"free_bytes", free_bytes_}, {"error", std::string(why)}});
  AddProblem("disk_full",
             {"error",
              absl::StrCat("the disk is full: ", free_bytes_ >> 20, " MiB are free for ", options_.data_directory, ", ",
                           std::string(why)),
              "make room on that file system; mail is refused with a temporary error on both servers until then"});
}

// Who has waited for long is told that it did not work; what they wanted may be done later all the same.
void NodeImpl::AnswerWaiting(uint64_t wait_ms, const absl::Status& status) {
  const uint64_t now = BootMillis();
  for (PendingOperation& operation : operations_) {
    if (!operation.done || operation.patient || now - operation.since_ms < wait_ms) continue;
    PostSafely([done = std::exchange(operation.done, nullptr), status] {
      CommandResult result;
      result.status = status;
      done(std::move(result));
    });
  }
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
      store_full_ = absl::IsResourceExhausted(status);
      if (!status.ok()) {
        Log(LogLevel::kError, "store_failed", {{"error", std::string(status.message())}});
        AddProblem("store",
                   {"error", absl::StrCat("mail cannot be written to the Maildirs: ", std::string(status.message())),
                    "check the disk; it is tried again every second, and the journal has everything"});
        AfterSafely(kStoreRetryMs, [this] {
          store_running_ = false;
          ScheduleStore();
        });
        return;
      }
      store_running_ = false;
      SolveProblem("store");
      NoteParked();
      size_t parked = 0;
      for (const maildir::Store::Parked& each : store_->ParkedAccounts()) parked += each.backlog_items;
      if (store_->backlog_items() > parked) ScheduleStore();
    });
  });
}

void NodeImpl::NoteParked() {
  std::erase_if(problems_, [](const auto& entry) { return entry.first.starts_with("parked:"); });
  parked_.clear();
  for (const maildir::Store::Parked& each : store_->ParkedAccounts()) {
    parked_[each.account] = each.backlog_bytes;
    const Account* account = directory_.Find(each.account);
    const std::string name = account == nullptr ? each.account.hex() : account->name;
    AddProblem("parked:" + name,
               {"error", absl::StrCat("mail of ", name, " cannot be written to its Maildir: ", each.why.message()),
                "check who owns the files there, and the disk; it is tried again every second, the journal has "
                "everything, and the other accounts go on"});
  }
}

void NodeImpl::RetryParked() {
  if (parked_.empty() || parked_retried_) return;
  parked_retried_ = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop] {
    store->RetryParked();
    loop->Post([this, alive] {
      if (alive.expired()) return;
      parked_retried_ = false;
      NoteParked();
    });
  });
}

absl::Status NodeImpl::RoomForParked(const AccountId& account) const {
  const auto parked = parked_.find(account);
  if (parked == parked_.end() || parked->second <= options_.store_backlog_bytes_max / kParkedShare) {
    return absl::OkStatus();
  }
  return absl::UnavailableError("the mailbox cannot be written for the moment, and much waits for it already");
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
  if (store_->last_checkpoint().position >= committed_end_) return RetireSegments();  // time goes on
  // The directory first: the checkpoint says that all before it is on the disk. What comes into the directory while
  // the store's lane is busy lies behind the limit.
  const maildir::CheckpointInfo limit{MaterialisedPosition(), applied_};
  if (absl::Status status = SaveDirectory(); !status.ok()) {
    Log(LogLevel::kError, "directory_not_saved", {{"error", std::string(status.message())}});
    return;
  }
  checkpoint_running_ = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop,
                                   limit] {
    absl::StatusOr<maildir::CheckpointInfo> info = store->Checkpoint(limit);
    loop->Post([this, alive, info = std::move(info)] {
      if (alive.expired()) return;
      checkpoint_running_ = false;
      checkpoint_full_ = absl::IsResourceExhausted(info.status());
      if (!info.ok()) {
        const bool for_good = absl::IsFailedPrecondition(info.status());
        if (!for_good || !problems_.contains("checkpoint")) {
          Log(LogLevel::kError, "checkpoint_failed", {{"error", std::string(info.status().message())}});
        }
        AddProblem("checkpoint",
                   {"error",
                    absl::StrCat(for_good ? "no checkpoint any more until this node is restarted: " : "no checkpoint: ",
                                 std::string(info.status().message())),
                    for_good ? "see the operator's page, \"Failed disk\"; until then the journal is kept and grows"
                             : "check the disk; until then the journal is kept and grows"});
        return;
      }
      SolveProblem("checkpoint");
      NoteParked();
      RetireSegments();
    });
  });
}

// `until`: for Dovecot's files; the checkpoint has the margin behind it (programs/daemon.cc).
void NodeImpl::FinalCheckpoint(uint64_t until, std::function<void()> done) {
  if (link_ != nullptr) link_->Drop("this node is going down");
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop,
                                   clock = &env_.clock, until, due = uidlists_due_, done = std::move(done)] {
    for (;;) {
      absl::StatusOr<bool> more = store->RunOnce(kStoreItemsAtOnce);
      if (!more.ok() || !*more) break;
    }
    size_t written = 0;
    for (const AccountId& id : due) {
      if (clock->BootMillis() >= until) break;
      absl::StatusOr<AccountState> state = store->Load(id);
      absl::Status status = state.ok() ? store->WriteDovecotFiles(*state) : state.status();
      ++written;
      if (!status.ok() && !absl::IsNotFound(status)) LogUidlist(id.hex(), status);
    }
    if (written < due.size()) LogUidlist(absl::StrCat(due.size() - written), absl::DeadlineExceededError("no time"));
    loop->Post([this, alive, done] {
      if (alive.expired()) return;
      const maildir::CheckpointInfo limit{MaterialisedPosition(), applied_};
      absl::Status status = SaveDirectory();
      if (status.ok()) status = store_->Checkpoint(limit).status();
      if (!status.ok()) Log(LogLevel::kError, "final_checkpoint_failed", {{"error", std::string(status.message())}});
      done();
    });
  });
}

// As they leave memory; FinalCheckpoint writes the rest.
void NodeImpl::WriteUidlists(std::vector<std::shared_ptr<const AccountState>> states) {
  if (states.empty()) return;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop,
                                   states = std::move(states)] {
    std::vector<AccountId> failed;
    for (const auto& state : states) {
      const absl::Status status = store->WriteDovecotFiles(*state);
      if (status.ok()) continue;
      LogUidlist(state->name, status);
      failed.push_back(state->id);
    }
    loop->Post([this, alive, failed] {
      if (!alive.expired()) uidlists_due_.insert(failed.begin(), failed.end());
    });
  });
}

}  // namespace gemel::engine
