// Opening a node: directory, store, journal, and the replay of what the last checkpoint did not cover.
#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/authenticator.h"
#include "engine/node_impl.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Committed;
using journal::Log;
using journal::Record;

constexpr uint64_t kStopPollMs = 10;
// Half of the least segment_size that the configuration takes: the peer's segments may be smaller than this node's, and
// each frame that does not fit them costs a longer one made for it.
constexpr size_t kFrameBytesMax = 512 * 1024;
constexpr uint64_t kReplayProgressMs = 5000;

}  // namespace

absl::StatusOr<std::unique_ptr<Node>> Node::Open(NodeOptions options, Identity identity, Environment environment) {
  auto node = std::make_unique<NodeImpl>(std::move(options), std::move(identity), environment);
  if (absl::Status status = node->OpenAll(); !status.ok()) return status;
  return node;
}

NodeImpl::NodeImpl(NodeOptions options, Identity identity, Environment environment)
    : options_(std::move(options)), identity_(std::move(identity)), env_(environment) {
  authenticator_ = std::make_unique<Authenticator>(*this);
}

NodeImpl::~NodeImpl() { alive_.reset(); }

absl::Status NodeImpl::OpenAll() {
  if (absl::Status status = OpenJournalAndStore(); !status.ok()) return status;
  if (absl::Status status = ReplayTail(); !status.ok()) return status;
  // A new incarnation: no (origin, seq) is ever written twice, not even by a restored copy.
  const journal::Origin predecessor = Predecessor();
  origin_ = {identity_.node, env_.random.U64()};
  journal_->StartOrigin(origin_, generation());
  std::vector<Record> records;
  records.push_back(
      {AccountId{}, 0, false, journal::Start{place(), predecessor, journal_->held().Get(predecessor), GEMEL_VERSION}});
  if (directory_.generation() == nullptr && place() == 0 && !identity_.peer) {
    journal::GenerationBegin solo;
    solo.number = 1;
    solo.kind = journal::GenerationKind::kSolo;
    solo.writer = identity_.node;
    solo.writer_place = place();
    solo.reason = "first start";
    records.push_back({AccountId{}, 0, false, std::move(solo)});
  }
  Create(std::move(records), nullptr, /*grouped=*/false);
  started_ms_ = BootMillis();
  return absl::OkStatus();
}

// The incarnation before this one: the one of the newest frame, or, where no frame of this node is kept, any that is
// known.
journal::Origin NodeImpl::Predecessor() const {
  if (newest_own_) return *newest_own_;
  const journal::VectorClock held = journal_->held();
  for (const auto& [origin, seq] : held.entries()) {
    if (origin.node == identity_.node) return origin;
  }
  return {};
}

absl::Status NodeImpl::OpenJournalAndStore() {
  journal::Disk& disk = env_.disk;
  for (const char* part : {"/node", "/journal"}) {
    if (absl::Status status = disk.MakeDirectories(options_.data_directory + part); !status.ok()) return status;
  }
  absl::StatusOr<std::string> directory = disk.ReadWhole(options_.data_directory + "/node/directory");
  if (directory.ok()) {
    absl::Status status = directory_.Decode(*directory);
    if (!status.ok()) {
      return absl::DataLossError(
          absl::StrCat(options_.data_directory, "/node/directory: ", std::string(status.message()),
                       ". Remove it if the journal reaches back to the first start (see `gemel "
                       "journal stat`): it is then rebuilt from there; else copy it from the peer."));
    }
    directory_saved_ = directory_.version();
  } else if (!absl::IsNotFound(directory.status())) {
    return directory.status();
  }
  maildir::StoreOptions store_options;
  store_options.root = options_.data_directory;
  store_options.sqlite_vfs = options_.sqlite_vfs;
  store_options.clock = &env_.clock;
  absl::StatusOr<std::unique_ptr<maildir::Store>> store = maildir::Store::Open(disk, store_options);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  for (const auto& [id, account] : directory_.accounts()) store_->Know(id, account.name);

  for (const auto& [origin, seq] : directory_.closed().entries()) {
    if (origin.node == identity_.node) shown_before_.Raise(origin, seq);
  }
  journal::JournalOptions journal_options;
  journal_options.directory = JournalDirectory();
  journal_options.zstd_level = options_.zstd_level;
  journal_options.segment_bytes = options_.segment_bytes;
  journal_options.durable_floor = store_->last_checkpoint().position;
  journal_options.frame_bytes_max = kFrameBytesMax;
  journal::Recovered recovered;
  absl::StatusOr<std::unique_ptr<journal::Journal>> journal = journal::Journal::Open(disk, journal_options, &recovered);
  if (!journal.ok()) return journal.status();
  journal_ = *std::move(journal);
  if (recovered.cut_bytes > 0) {
    std::string whole;
    for (const journal::Recovered::Missing& each : recovered.cut_records) {
      absl::StrAppend(&whole, whole.empty() ? "" : " ", journal::MissingText(each));
    }
    Log(journal::LogLevel::kWarning, "torn_tail_cut",
        {{"segment", recovered.end >> 32},
         {"offset", recovered.end & 0xffffffff},
         {"bytes", recovered.cut_bytes},
         {"whole_records", whole.empty() ? "none" : whole}});
  }
  constexpr char kNobodyElse[] = "see the operator's page, \"Damaged journal\": no other server has what was there";
  for (const std::string& problem : recovered.problems) {
    Log(journal::LogLevel::kError, "journal_damaged", {{"where", problem}});
    AddProblem(absl::StrCat("journal_damaged:", problem),
               {"error", problem,
                identity_.peer ? "run `gemel journal verify`; what the frame held is on the peer" : kNobodyElse});
  }
  for (const journal::Recovered::Missing& each : recovered.missing) {
    Log(journal::LogLevel::kError, "journal_records_missing", {{"records", journal::MissingText(each)}});
    if (identity_.peer) continue;
    AddProblem(absl::StrCat("journal_damaged:", journal::MissingText(each)),
               {"error", absl::StrCat("the journal has lost the records ", journal::MissingText(each)), kNobodyElse});
  }
  // Below the checkpoint nothing is replayed, and the clock may have been set back since.
  for (const auto& [node, newest] : recovered.newest) {
    NoteHlc(newest.base, node == identity_.node);
    if (node == identity_.node) newest_own_ = newest.origin;
  }
  // What the peer had of ours: until it says so itself, as much of its word as this journal has.
  for (const auto& [origin, seq] : directory_.closed().entries()) {
    if (origin.node == identity_.node) peer_held_.Raise(origin, seq);
  }
  const journal::VectorClock had = identity_.peer ? recovered.applied[identity_.peer->node] : journal::VectorClock();
  for (const auto& [origin, seq] : had.entries()) {
    if (origin.node == identity_.node) peer_held_.Raise(origin, seq);
  }
  missing_ = std::move(recovered.missing);
  committed_end_ = recovered.end;
  return absl::OkStatus();
}

absl::Status NodeImpl::ReplayTail() {
  const maildir::CheckpointInfo checkpoint = store_->last_checkpoint();
  for (const auto& [origin, seq] : checkpoint.applied.entries()) RaiseApplied(origin, seq);
  // From the directory alone (no generation yet) everything must be read again.
  const journal::Position wanted = directory_.generation() == nullptr ? 0 : checkpoint.position;
  // Where the segments behind the checkpoint are gone (a problem by now) the rest is all that there is.
  const journal::Position from = std::max(wanted, journal_->oldest());
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(env_.disk, JournalDirectory(), from, journal_->end());
  if (!reader.ok()) return reader.status();
  replaying_ = true;
  uint64_t frames = 0, told_ms = BootMillis();
  const uint64_t bytes_all = journal_->BytesFrom(from);
  for (;;) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) {  // reported at Open; what it held comes from the peer
      missing_in_tail_ = true;
      continue;
    }
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    const Committed& one = **next;
    const bool own = one.frame->origin.node == identity_.node;
    NoteApplied(*one.frame, own);
    for (const auto& [origin, seq] : one.frame->applied.entries()) {  // what we had applied of ours was shown
      if (own && origin.node == identity_.node) shown_before_.Raise(origin, seq);
    }
    if (!one.frame->records.empty()) NoteHlc(one.frame->records.back().time, own);
    (own ? own_ : peer_queue_).Push({one.frame, one.begin});
    if (++frames % 64 == 0) {
      if (BootMillis() - told_ms >= kReplayProgressMs) {
        told_ms = BootMillis();
        Log(journal::LogLevel::kInfo, "replaying",
            {{"frames", frames}, {"bytes", bytes_all - journal_->BytesFrom(one.end)}, {"bytes_all", bytes_all}});
      }
      ApplyAll();
      while (store_->backlog_bytes() > options_.store_backlog_bytes_max / 4) {
        absl::StatusOr<bool> more = store_->RunOnce(256);
        if (!more.ok() || !*more) break;  // a full disk: the store's own job tells of it, and tries again
      }
    }
  }
  ApplyAll();
  for (;;) {
    absl::StatusOr<bool> more = store_->RunOnce(1024);
    if (!more.ok() || !*more) break;
  }
  NoteParked();
  NoteWaiting();
  VerifyReplayed(from);
  CompareIndexed(from);
  replaying_ = false;
  if (frames > 0) {
    // The run before had no clean end, at which it would have written them.
    for (const auto& [id, account] : directory_.accounts()) uidlists_due_.insert(id);
    Log(journal::LogLevel::kInfo, "replayed",
        {{"frames", absl::StrCat(frames)}, {"accounts", absl::StrCat(replayed_.size())}});
  }
  replayed_.clear();
  return absl::OkStatus();
}

// Own records that wait to be confirmed again, and what they have given out or begun. (Of an account that is loaded
// later Live notes it.)
void NodeImpl::NoteWaiting() {
  const auto note = [this](const Record& record) {
    if (std::holds_alternative<journal::Release>(record.body)) releasing_.insert(record.account);
    if (std::holds_alternative<journal::Take>(record.body)) taking_.insert(record.account);
    const auto* begin = std::get_if<journal::GenerationBegin>(&record.body);
    if (begin != nullptr && begin->kind == journal::GenerationKind::kPaired) pairing_generation_ = true;
    if (record.account.empty()) return;
    waiting_again_.insert(record.account);
    if (LiveAccount* live = LiveIfLoaded(record.account)) NoteGiven(*live, record);
  };
  for (const ApplyQueue::Grouped& grouped : own_.group) note(grouped.frame->records[grouped.index]);
  for (const QueuedFrame& queued : own_.frames) {
    for (const Record& record : queued.frame->records) note(record);
  }
}

absl::StatusOr<AccountState> NodeImpl::RebuildState(const Account& account) {
  AccountState state;
  absl::StatusOr<AccountState> base = store_->ReadBase(account.id);
  if (base.ok()) {
    state = *std::move(base);
  } else if (!absl::IsNotFound(base.status())) {
    return base.status();
  }
  state.id = account.id;
  state.name = account.name;
  return CatchUp(std::move(state), 0);
}

absl::StatusOr<AccountState> NodeImpl::CatchUp(AccountState state, journal::Position from) {
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(env_.disk, JournalDirectory(), from);
  if (from > 0 && absl::IsNotFound(reader.status())) return state;  // its end
  if (!reader.ok()) return reader.status();
  bool lacked = from == 0;
  // A node's groups may span its frames; what a group's incarnation did not finish is void.
  std::map<journal::NodeId, std::vector<GroupMember>> groups;
  for (;;) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) continue;
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    const auto& frame = (*next)->frame;
    auto& group = groups[frame->origin.node];
    if (!group.empty() && group.front().first->origin != frame->origin) group.clear();
    for (size_t i = 0; i < frame->records.size(); ++i) {
      group.emplace_back(frame, i);
      if (frame->records[i].group_continues) continue;
      // Only what was applied counts: of a group, all or nothing was.
      const bool is_void = applied_.Covers(Dot{frame->origin, frame->first_seq + i}) &&
                           IsVoid(group, [&state](const AccountId& id) { return id == state.id ? &state : nullptr; });
      for (const auto& [each, index] : group) {
        if (is_void) break;
        const Dot dot{each->origin, each->first_seq + index};
        if (each->records[index].account != state.id || !applied_.Covers(dot) || state.applied.Covers(dot)) continue;
        Effects effects;
        Apply(state, each, index, effects);
        lacked = true;
      }
      group.clear();
    }
  }
  if (!lacked) return state;
  state.applied = applied_;
  if (absl::Status status = store_->Rewrite(state); !status.ok()) return status;
  return state;
}

void NodeImpl::Start() {
  last_heard_ms_ = acked_ms_ = BootMillis();
  starting_ = identity_.peer.has_value();
  // The peer says which: until then, one that there is not.
  if (starting_ && env_.disk.Stat(PullingBackFile()).ok()) pulling_back_ = {Dot{{identity_.node, 0}, 1}};
  if (!starting_) {
    starting_ = true;
    FinishStarting();
  }
  DialSoon(0);
  Tick();
}

void NodeImpl::Stop(uint64_t grace_ms, std::function<void()> done) {
  if (stopping_) return;
  stopping_ = true;
  const uint64_t until = BootMillis() + grace_ms;
  for (auto& [id, live] : live_) CloseSessions(id, "the server is going down");
  PostSafely([this, until, done = std::move(done)] { StopWhenQuiet(until, done); });
}

// What clients were promised comes first.
void NodeImpl::StopWhenQuiet(uint64_t until, std::function<void()> done) {
  const bool quiet = operations_.empty() && !commit_running_ && journal_->pending_bytes() == 0;
  if (quiet || failed_ || BootMillis() >= until) return FinalCheckpoint(until, std::move(done));
  AfterSafely(kStopPollMs, [this, until, done = std::move(done)] { StopWhenQuiet(until, done); });
}

}  // namespace gemel::engine
