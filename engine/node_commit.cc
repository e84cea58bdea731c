// From a record's creation to its application and the reply.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "engine/sessions.h"
#include "journal/frame.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Committed;
using journal::Frame;
using journal::Log;
using journal::Position;
using journal::Record;

// So far the peer's clock may lead this node's time stamps ahead of its own clock; more is an error of one of the two.
constexpr uint64_t kAheadMsMax = 60'000;

// An error that a command's record met when it was applied: another command came first.
absl::Status LateError(const Record& record) {
  if (std::holds_alternative<journal::MailboxCreate>(record.body) ||
      std::holds_alternative<journal::MailboxRename>(record.body)) {
    return absl::AlreadyExistsError("another command has just taken that name");
  }
  return absl::NotFoundError("another command has just deleted that mailbox or message");
}

bool IsMail(const Record& record) {
  return std::visit(
      [](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        return std::is_same_v<Body, journal::Deliver> || std::is_same_v<Body, journal::Place> ||
               std::is_same_v<Body, journal::FlagsChange> || std::is_same_v<Body, journal::Expunge> ||
               std::is_same_v<Body, journal::Copy> || std::is_same_v<Body, journal::Move> ||
               std::is_same_v<Body, journal::MailboxCreate> || std::is_same_v<Body, journal::MailboxRename> ||
               std::is_same_v<Body, journal::MailboxDelete> || std::is_same_v<Body, journal::Subscribe>;
      },
      record.body);
}

}  // namespace

// What one run of ApplyAll does, told to the outside only when the state is complete.
struct NodeImpl::Pass {
  maildir::StoreBatch spool;  // chunks go before the messages made of them
  std::map<AccountId, Effects> accounts;
  std::vector<std::function<void()>> callbacks;           // replies
  std::vector<std::function<void()>> at_once;             // of patient operations: no checkpoint comes between
  std::vector<std::pair<AccountId, std::string>> closed;  // sessions to end, with the reason
  bool any = false;
};

journal::Hlc NodeImpl::NowHlc() {
  last_hlc_ = std::max(last_hlc_ + 1, journal::HlcFromMillis(env_.clock.NowMillis()));
  return last_hlc_;
}

// What this node makes is later than what it has seen, unless the peer's clock is too far ahead.
void NodeImpl::NoteHlc(journal::Hlc time, bool own) {
  const journal::Hlc most = journal::HlcFromMillis(env_.clock.NowMillis() + kAheadMsMax);
  last_hlc_ = std::max(last_hlc_, own ? time : std::min(time, most));
}

void NodeImpl::CheckPeerClock(journal::Hlc time) {
  if (time <= journal::HlcFromMillis(env_.clock.NowMillis() + kAheadMsMax)) return SolveProblem("peer_clock");
  AddProblem("peer_clock",
             {"warning",
              absl::StrCat("the other server's clock is ", (journal::HlcMillis(time) - env_.clock.NowMillis()) / 1000,
                           " s ahead of this one's"),
              "see that NTP runs on both; the entry goes with the other server's next change"});
}

// Its own time stamps do not go back when the clock does.
void NodeImpl::CheckClock() {
  const uint64_t now = env_.clock.NowMillis(), stamps = journal::HlcMillis(last_hlc_);
  if (stamps <= now + kAheadMsMax) return SolveProblem("clock");
  AddProblem("clock",
             {"warning",
              absl::StrCat("this server's clock was set back, or was ahead: the journal's time stamps are ",
                           (stamps - now) / 1000, " s ahead of it"),
              "see that NTP runs on both servers; `gemel replay --until` goes by the stamps, nothing else does"});
}

// Where all has no room in a frame, what runs now: a clock that says too little only makes a start wait for the peer,
// and Closed records can be written that make the next clocks short.
journal::VectorClock NodeImpl::FrameClock() const {
  if (frame_clock_.entries().size() <= journal::kFrameClockOriginsMax) return frame_clock_;
  journal::VectorClock clock;
  for (const journal::Origin& origin : {origin_, peer_origin_}) clock.Raise(origin, applied_.Get(origin));
  return clock;
}

journal::Seq NodeImpl::Create(std::vector<Record> records, std::function<void(CommandResult)> done, bool grouped,
                              bool patient) {
  const size_t count = records.size();
  if (absl::Status status = journal::CheckRecords(records, {}); !status.ok()) {
    Log(journal::LogLevel::kError, "records_refused", {{"error", std::string(status.message())}});
    if (done) {
      PostSafely([done = std::move(done), status = std::move(status)] {
        CommandResult result;
        result.status = status;
        done(std::move(result));
      });
    }
    return 0;
  }
  for (size_t i = 0; i < count; ++i) {
    Record& record = records[i];
    record.time = std::max(NowHlc(), directory_.LastWrite(record) + 1);  // the later word, whatever the clocks say
    record.group_continues = grouped && i + 1 < count;
    if (!IsMail(record)) continue;
    if (LiveAccount* live = LiveIfLoaded(record.account)) ++live->in_flight;
  }
  const journal::Seq first = journal_->Append(std::move(records), FrameClock());
  created_ = first + count - 1;
  if (done) {
    PendingOperation operation;
    operation.first = first;
    operation.last = first + count - 1;
    operation.since_ms = BootMillis();
    operation.patient = patient;
    operation.done = std::move(done);
    operations_.push_back(std::move(operation));
  }
  ScheduleCommit();
  return first;
}

void NodeImpl::ScheduleCommit() {
  if (commit_running_ || failed_) return;
  commit_running_ = true;
  // While one sync is in flight the next batch gathers; the job goes on until nothing is queued.
  env_.workers.Post(Lane::kJournal, [this, alive = std::weak_ptr<bool>(alive_), journal = journal_, loop = &env_.loop] {
    for (;;) {
      std::vector<absl::Status> rejected;
      absl::StatusOr<std::vector<Committed>> committed = journal->CommitOnce(&rejected);
      // Seen here and not by one more round, which would wake the loop for nothing.
      const bool idle = !committed.ok() || committed->empty() || journal->pending_bytes() == 0;
      loop->Post([this, alive, committed = std::move(committed), rejected = std::move(rejected), idle]() mutable {
        if (!alive.expired()) OnCommitted(std::move(committed), rejected, idle);
      });
      if (idle) return;
    }
  });
}

void NodeImpl::OnCommitted(absl::StatusOr<std::vector<Committed>> committed, const std::vector<absl::Status>& rejected,
                           bool idle) {
  if (idle) commit_running_ = false;
  for (const absl::Status& status : rejected) {
    Log(journal::LogLevel::kError, "frame_rejected", {{"error", std::string(status.message())}});
    AddProblem("frame_rejected", {"error",
                                  absl::StrCat("a frame of the other server does not fit here, so the link ends: ",
                                               std::string(status.message())),
                                  "run `gemel journal verify` on both; see the operator's page, \"Link refused\""});
    if (link_ != nullptr) link_->Drop(absl::StrCat("a frame was refused: ", std::string(status.message())));
  }
  if (!committed.ok()) {
    if (absl::IsResourceExhausted(committed.status())) {
      journal_full_ = true;  // the batch stays queued; Tick tries again
      NoteDiskFull(std::string(committed.status().message()));
    } else {
      Fail(committed.status());
    }
    return;
  }
  if (!committed->empty()) journal_full_ = false;
  for (Committed& one : *committed) {
    if (one.fills_gap) {
      committed_end_ = std::max(committed_end_, one.end);
      Mended(*one.frame);
      continue;
    }
    const bool own_node = one.frame->origin.node == identity_.node;
    NoteApplied(*one.frame, own_node);
    if (own_node && link_ != nullptr) link_->ShipLive(one);
    (own_node ? own_ : peer_queue_).Push({one.frame, one.begin});
    committed_end_ = std::max(committed_end_, one.end);
    if (!own_node && !one.frame->records.empty()) {
      NoteHlc(one.frame->records.back().time, /*own=*/false);
      CheckPeerClock(one.frame->records.back().time);
    }
  }
  if (link_ != nullptr) link_->SendAck(journal_->held());  // also of nothing: it may read on
  if (!committed->empty()) {
    if (!pulling_back_.empty()) FinishStarting();
    ApplyAll();
  }
  if (idle && journal_->pending_bytes() > 0) ScheduleCommit();
}

void NodeImpl::Mended(const Frame& frame) {
  Log(journal::LogLevel::kInfo, "frame_mended",
      {{"origin", journal::HexU64(frame.origin.node)}, {"first", frame.first_seq}, {"last", frame.last_seq()}});
  for (journal::Recovered::Missing& missing : missing_) {  // they come in their order
    const bool of_it = missing.origin == frame.origin && missing.first <= frame.last_seq();
    if (of_it && frame.first_seq <= missing.first) missing.first = frame.last_seq() + 1;
  }
  std::erase_if(missing_, [](const journal::Recovered::Missing& missing) { return missing.first > missing.last; });
  if (missing_in_tail_) {
    for (size_t i = 0; i < frame.records.size(); ++i) {
      directory_.Apply(Dot{frame.origin, frame.first_seq + i}, frame.records[i]);
      if (!frame.records[i].account.empty()) to_rebuild_.insert(frame.records[i].account);
    }
  }
  if (!missing_.empty()) return;
  std::erase_if(problems_, [](const auto& entry) { return entry.first.starts_with("journal_damaged:"); });
  PostSafely([this] { RebuildMended(); });
}

// Records that the replay had to leave out are there now: what they touch is made anew, in their right order.
void NodeImpl::RebuildMended() {
  missing_in_tail_ = false;
  std::set<AccountId> rebuilt;
  for (const AccountId& id : std::exchange(to_rebuild_, {})) {
    const Account* account = directory_.Find(id);
    LiveAccount* live = account == nullptr ? nullptr : Live(id);
    if (live == nullptr) {
      if (account != nullptr) to_rebuild_.insert(id);  // when it can be loaded: MendPassedOver
      continue;
    }
    CloseSessions(id, "the mailbox was repaired; please reconnect");
    absl::StatusOr<AccountState> state = RebuildState(*account);
    if (!state.ok()) {
      AddProblem(absl::StrCat("account:", account->name),
                 {"error", absl::StrCat(account->name, " cannot be rebuilt: ", std::string(state.status().message())),
                  "see the operator's page, \"Damaged journal\""});
      continue;
    }
    live->state = *std::move(state);
    AfterApplied(*live);
    rebuilt.insert(id);
  }
  VerifyFiles(rebuilt, [](const std::map<AccountId, absl::Status>& failed) {
    for (const auto& [id, status] : failed) {
      Log(journal::LogLevel::kError, "rebuild_incomplete",
          {{"account", id.hex()}, {"error", std::string(status.message())}});
    }
  });
}

void NodeImpl::Fail(const absl::Status& status) {
  if (failed_) return;
  failed_ = status;
  Log(journal::LogLevel::kError, "journal_failed", {{"error", std::string(status.message())}});
  AddProblem("journal_failed",
             {"error", absl::StrCat("the journal cannot be written: ", std::string(status.message())),
              "check the disk, then restart gemeld; until then nothing is acknowledged here, use the other node"});
  if (link_ != nullptr) link_->Drop(kJournalFailed);
  for (PendingOperation& operation : operations_) {
    if (!operation.done) continue;
    PostSafely([done = std::move(operation.done)] {
      CommandResult result;
      result.status = absl::UnavailableError("the journal cannot be written; try the other node");
      done(std::move(result));
    });
  }
  operations_.clear();
}

// What the peer had applied of ours it holds. What is closed its clocks do not name any more.
void NodeImpl::NoteApplied(const Frame& frame, bool own_node) {
  for (const Record& record : frame.records) {
    const auto* closed = std::get_if<journal::Closed>(&record.body);
    if (closed != nullptr && closed->origin.node == identity_.node) shown_before_.Raise(closed->origin, closed->seq);
  }
  if (own_node && frame.origin != origin_) NoteAdopted(frame);
  if (own_node) return;
  for (const auto& [origin, seq] : frame.applied.entries()) {
    if (origin.node == identity_.node) peer_held_.Raise(origin, seq);
  }
}

void NodeImpl::RaiseApplied(const journal::Origin& origin, journal::Seq seq) {
  applied_.Raise(origin, seq);
  const journal::Seq now = applied_.Get(origin);
  if (now != 0 && directory_.closed().Get(origin) == now) {
    frame_clock_.Remove(origin);
  } else {
    frame_clock_.Raise(origin, now);
  }
}

bool NodeImpl::Confirmed(const Frame& frame) const {
  if (!identity_.peer || options_.ack_policy == AckPolicy::kLocal) return true;
  if (peer_held_.Get(frame.origin) >= frame.last_seq()) return true;
  if (shown_before_.Get(frame.origin) >= frame.last_seq()) return true;
  return !peer_counts_ && !starting_ && options_.ack_policy == AckPolicy::kPairIfUp;
}

void NodeImpl::ApplyAll() {
  if (applying_ || failed_) return;
  applying_ = true;
  Pass pass;
  // In the order of the journal, which is causal: a Place comes after its Deliver, an account's mail after the account.
  // Only what is not confirmed yet stays behind; what the peer wrote knowing of it would have confirmed it.
  for (;;) {
    const bool own = !own_.frames.empty() && Confirmed(*own_.frames.front().frame);
    const bool peer = !peer_queue_.frames.empty();
    if (!own && !peer) break;
    const bool own_first = own && (!peer || own_.frames.front().begin < peer_queue_.frames.front().begin);
    ApplyFront(own_first ? own_ : peer_queue_, pass);
  }
  applying_ = false;
  if (!pass.any) return;

  maildir::StoreBatch batch = std::move(pass.spool);
  for (auto& [id, effects] : pass.accounts) {
    LiveAccount* live = LiveIfLoaded(id);
    std::set<MailboxId> touched;
    CollectTouched(effects, 0, touched);
    AppendMailboxRows(live->state, touched, effects);
    std::move(effects.store.begin(), effects.store.end(), std::back_inserter(batch.items));
    uidlists_due_.insert(id);
  }
  batch.applied = std::make_shared<const journal::VectorClock>(applied_);
  batch.position = MaterialisedPosition();
  store_->Enqueue(std::move(batch));
  ScheduleStore();
  if (unprotected_since_s_ == std::nullopt && identity_.peer && Unprotected() > 0) unprotected_since_s_ = NowSeconds();

  for (auto& [id, effects] : pass.accounts) {
    LiveAccount* live = LiveIfLoaded(id);
    if (!effects.taken.empty()) NoteTaken(*live, effects.taken);
    for (AccountSessionImpl* session : live->sessions) session->Tell(effects);
    for (const MailboxId& gone : effects.deleted_mailboxes) recent_from_.erase(gone);
  }
  for (const auto& [account, reason] : pass.closed) CloseSessions(account, reason);
  for (auto& [id, effects] : pass.accounts) AfterApplied(*LiveIfLoaded(id));
  if (!sweep_.empty()) PostSafely([this] { SweepSome(); });
  if (!waiting_again_.empty() && !replaying_) PostSafely([this] { VerifyWaiting(); });
  for (std::function<void()>& callback : pass.at_once) callback();
  // Replies last, each as a step of its own: its session may do anything.
  for (std::function<void()>& callback : pass.callbacks) PostSafely(std::move(callback));
}

void NodeImpl::NoteTaken(const LiveAccount& live, const std::vector<std::pair<MailboxId, Uid>>& taken) {
  for (const auto& [mailbox, uid] : taken) {
    Log(journal::LogLevel::kError, "uid_given_twice",
        {{"account", live.state.name}, {"mailbox", mailbox.hex()}, {"uid", uid}});
  }
  AddProblem(absl::StrCat("uid:", live.state.name),
             {"error",
              absl::StrCat(live.state.name, " has ", taken.size(),
                           " messages whose UID another message has: they keep the place that they had, or get a new "
                           "one, and the two servers may show them differently"),
              "report it; compare `gemel replay --dry-run --json` of both. A restart takes this notice away"});
}

void NodeImpl::ApplyFront(ApplyQueue& queue, Pass& pass) {
  const QueuedFrame front = std::move(queue.frames.front());
  queue.frames.pop_front();
  // A group that its incarnation did not finish is void: nobody was told that it happened.
  if (!queue.group.empty() && queue.group.front().frame->origin != front.frame->origin) {
    for (const ApplyQueue::Grouped& grouped : queue.group) {
      RaiseApplied(grouped.frame->origin, grouped.frame->first_seq + grouped.index);
    }
    queue.group.clear();
  }
  for (size_t i = 0; i < front.frame->records.size(); ++i) {
    queue.group.push_back({front.frame, i, front.begin});
    if (front.frame->records[i].group_continues) continue;
    ApplyGroup(queue.group, pass);
    queue.group.clear();
  }
}

void NodeImpl::ApplyGroup(std::vector<ApplyQueue::Grouped>& group, Pass& pass) {
  pass.any = true;
  std::vector<GroupMember> members;
  members.reserve(group.size());
  for (const ApplyQueue::Grouped& grouped : group) members.emplace_back(grouped.frame, grouped.index);
  const bool is_void = IsVoid(members, [this](const AccountId& id) -> const AccountState* {
    const LiveAccount* live = Live(id);
    return live == nullptr ? nullptr : &live->state;
  });
  for (const ApplyQueue::Grouped& grouped : group) ApplyOne(grouped, group.front().begin, is_void, pass);
}

void NodeImpl::ApplyOne(const ApplyQueue::Grouped& grouped, Position group_begin, bool is_void, Pass& pass) {
  const Dot dot{grouped.frame->origin, grouped.frame->first_seq + grouped.index};
  const Record& record = grouped.frame->records[grouped.index];
  Effects effects;
  if (IsMail(record)) {
    if (const auto* deliver = std::get_if<journal::Deliver>(&record.body); deliver != nullptr && deliver->body_done) {
      open_bodies_.erase(Dot{dot.origin, deliver->body});
    }
    LiveAccount* live = Live(record.account);
    if (replaying_) replayed_.insert(record.account);
    const bool passed_over = live == nullptr;
    if (passed_over) PassOver(record.account, group_begin);
    if (passed_over && directory_.Find(record.account) == nullptr) {
      AddProblem(absl::StrCat("account:", record.account.hex()),
                 {"error", absl::StrCat("there is mail for an account that is not known here, ", record.account.hex()),
                  "report it; the journal keeps the mail until the account comes"});
    }
    // Its own body is in the journal; in a replay, the index may have been further than the checkpoint.
    if (passed_over || (live != nullptr && live->state.applied.Covers(dot))) {
      const auto* deliver = std::get_if<journal::Deliver>(&record.body);
      if (deliver != nullptr && deliver->body_done) {
        pass.spool.items.push_back({AccountId{}, maildir::SpoolDrop{Dot{dot.origin, deliver->body}}});
      }
      if (deliver != nullptr && replaying_ && !passed_over) indexed_[dot] = record.account;
    } else if (live != nullptr) {
      Effects& sum = pass.accounts[record.account];
      sum.copied.clear();
      sum.applied = !is_void;
      if (!is_void) Apply(live->state, grouped.frame, grouped.index, sum);
      effects.copied = std::move(sum.copied);
      effects.uid_validity = sum.uid_validity;
      effects.applied = sum.applied;
      if (const auto* place = std::get_if<journal::Place>(&record.body)) {
        for (const journal::PlacedMessage& placed : place->messages) live->placing.erase(placed.message);
      }
    }
    if (live != nullptr && dot.origin == origin_ && live->in_flight > 0) --live->in_flight;
  } else {
    ApplyNodeRecord(dot, record, grouped.begin, pass);
  }
  RaiseApplied(dot.origin, dot.seq);
  if (dot.origin == origin_) {
    if (!effects.applied) {
      // Of a void command the first record says it: that of its mailbox's name.
      const bool waits = !operations_.empty() && operations_.front().first <= dot.seq;
      if (waits && operations_.front().result.status.ok()) operations_.front().result.status = LateError(record);
    }
    FinishOperations(dot, effects, pass);
  }
}

void NodeImpl::FinishOperations(const Dot& dot, Effects& effects, Pass& pass) {
  if (operations_.empty() || dot.seq < operations_.front().first) return;
  PendingOperation& operation = operations_.front();
  std::move(effects.copied.begin(), effects.copied.end(), std::back_inserter(operation.result.copied));
  if (effects.uid_validity != 0) operation.result.uid_validity = effects.uid_validity;
  if (dot.seq < operation.last) return;
  if (operation.done) {
    auto& callbacks = operation.patient ? pass.at_once : pass.callbacks;
    callbacks.push_back([done = std::move(operation.done), result = std::move(operation.result)]() mutable {
      done(std::move(result));
    });
  }
  operations_.pop_front();
}

void NodeImpl::ApplyNodeRecord(const Dot& dot, const Record& record, journal::Position begin, Pass& pass) {
  const auto spool = [&pass](maildir::StoreOp op) { pass.spool.items.push_back({AccountId{}, std::move(op)}); };
  if (const auto* chunk = std::get_if<journal::BodyChunk>(&record.body)) {
    const Dot body{dot.origin, chunk->first == 0 ? dot.seq : chunk->first};
    if (chunk->first == 0) open_bodies_[body] = begin;
    spool(maildir::SpoolChunk{body, chunk->offset, chunk->last, chunk->bytes});
    return;
  }
  if (const auto* drop = std::get_if<journal::BodyDrop>(&record.body)) {
    open_bodies_.erase(Dot{dot.origin, drop->first});
    spool(maildir::SpoolDrop{Dot{dot.origin, drop->first}});
    return;
  }
  if (std::holds_alternative<journal::Start>(record.body)) {
    // Bodies without their Deliver at the end of their incarnation are void (decision 4).
    for (auto it = open_bodies_.begin(); it != open_bodies_.end();) {
      if (it->first.origin.node == dot.origin.node && it->first.origin != dot.origin) {
        spool(maildir::SpoolDrop{it->first});
        it = open_bodies_.erase(it);
      } else {
        ++it;
      }
    }
    return;
  }
  const Account* account = directory_.Find(record.account);
  const std::optional<uint8_t> home = account == nullptr ? std::nullopt : directory_.HomePlace(*account);
  directory_.Apply(dot, record);
  account = directory_.Find(record.account);
  if (const auto* closed = std::get_if<journal::Closed>(&record.body)) {
    if (dot.origin == origin_) closing_ = false;
    RaiseApplied(closed->origin, 0);
  } else if (std::holds_alternative<journal::AccountSet>(record.body) && account != nullptr) {
    store_->Know(account->id, account->name);
    sweep_.push_back(account->id);
    // Both nodes have made it, and the other one's word on its home is the later.
    if (home && home != directory_.HomePlace(*account)) {
      pass.closed.emplace_back(account->id, "the mailbox has moved to the other server; please reconnect");
    }
    if (!account->enabled.value) pass.closed.emplace_back(account->id, "the account was disabled");
  } else if (std::holds_alternative<journal::GenerationBegin>(record.body)) {
    pairing_generation_ = false;
    journal_->SetGeneration(generation());
    for (const auto& [id, each] : directory_.accounts()) {
      sweep_.push_back(id);
      if (!Orders(each)) pass.closed.emplace_back(id, "the mailbox has moved to the other server; please reconnect");
    }
    Log(journal::LogLevel::kInfo, "generation",
        {{"number", absl::StrCat(generation())},
         {"kind", directory_.generation()->kind == journal::GenerationKind::kPaired ? "paired" : "solo"}});
  } else if (const auto* release = std::get_if<journal::Release>(&record.body)) {
    pass.closed.emplace_back(record.account, "the mailbox moves to the other server; please reconnect");
    releasing_.erase(record.account);
    if (release->to_place == place()) sweep_.push_back(record.account);  // answers with a Take
  } else if (std::holds_alternative<journal::Take>(record.body)) {
    pass.closed.emplace_back(record.account, "the mailbox has moved; please reconnect");
    taking_.erase(record.account);
    if (auto waiting = moving_.extract(record.account)) {
      for (Done& done : waiting.mapped())
        pass.callbacks.push_back([done = std::move(done)] { done(absl::OkStatus()); });
    }
    sweep_.push_back(record.account);
  }
}

// Everything before it is with the store. A group or a body that is not complete holds it back.
// In journal order, but for what a node gets back of an earlier incarnation of its own after it has started anew: that
// goes before the new incarnation's frames, which wait for the peer, while the peer's frames that build on what came
// back do not.
void ApplyQueue::Push(QueuedFrame queued) {
  const auto is_later = [&queued](const QueuedFrame& other) {
    return other.frame->origin != queued.frame->origin && !other.frame->records.empty() &&
           !queued.frame->records.empty() && other.frame->records.front().time > queued.frame->records.back().time;
  };
  auto at = frames.end();
  while (at != frames.begin() && is_later(*std::prev(at))) --at;
  frames.insert(at, std::move(queued));
}

journal::Position NodeImpl::MaterialisedPosition() const {
  journal::Position position = committed_end_;
  for (const ApplyQueue* queue : {&own_, &peer_queue_}) {
    if (!queue->group.empty()) position = std::min(position, queue->group.front().begin);
    for (const QueuedFrame& queued : queue->frames) position = std::min(position, queued.begin);
  }
  for (const auto& [dot, begin] : open_bodies_) position = std::min(position, begin);
  for (const auto& [id, begin] : passed_over_) position = std::min(position, begin);
  return position;
}

uint64_t NodeImpl::Unprotected() const {
  uint64_t records = 0;
  for (const auto& [origin, seq] : applied_.entries()) {
    if (origin.node != identity_.node) continue;
    const journal::Seq held = peer_held_.Get(origin);
    if (seq > held) records += seq - held;
  }
  return records;
}

void NodeImpl::PostSafely(std::function<void()> step) {
  env_.loop.Post([alive = std::weak_ptr<bool>(alive_), step = std::move(step)] {
    if (!alive.expired()) step();
  });
}

TimerId NodeImpl::AfterSafely(uint64_t ms, std::function<void()> step) {
  return env_.loop.After(ms, [alive = std::weak_ptr<bool>(alive_), step = std::move(step)] {
    if (!alive.expired()) step();
  });
}

}  // namespace gemel::engine
