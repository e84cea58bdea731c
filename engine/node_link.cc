// The node's side of the link: who dials, what a hello must say, when the peer counts.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::Record;

// Generations: 1 is a node alone, 2 the pair (decision 10).
constexpr journal::Generation kFirstPaired = 2;
constexpr uint64_t kDialBackoffMsMax = 2000;
constexpr char kPullingBack[] =
    "Records of this node are being fetched back from its peer. While this file is here gemeld waits for the peer.\n"
    "If the peer is lost for good, remove it with gemeld stopped: the node then starts with what it has.\n";
// The peer counts again for the ack policy when what it lacks is about this small: more than what is under way at full
// load, and sent within a second.
constexpr uint64_t kSmallBacklogRecords = 2048;

}  // namespace

// Place 1 dials, place 0 listens: one connection, and no race about which of two to keep.
void NodeImpl::DialSoon(uint64_t delay_ms) {
  if (place() != 1 || !identity_.peer || stopping_ || failed_ || dial_timer_ != 0 || dial_running_ ||
      link_ != nullptr) {
    return;
  }
  dial_timer_ = AfterSafely(delay_ms, [this] {
    dial_timer_ = 0;
    if (stopping_ || link_ != nullptr) return;
    dial_running_ = true;
    env_.network.DialPeer(
        identity_.peer->link_address, kAlpnLink, options_.peer_timeout_ms,
        [this](Connection& connection) -> std::unique_ptr<ProtocolSession> {
          dial_running_ = false;
          return std::make_unique<LinkSession>(*this, connection);
        },
        [this, alive = std::weak_ptr<bool>(alive_)](absl::Status status) {
          if (alive.expired()) return;
          dial_running_ = false;
          Log(journal::LogLevel::kDebug, "dial_failed",
              {{"peer", identity_.peer->link_address}, {"error", std::string(status.message())}});
          dial_backoff_ms_ = std::min(dial_backoff_ms_ * 2, kDialBackoffMsMax);
          DialSoon(dial_backoff_ms_);
        });
  });
}

std::unique_ptr<ProtocolSession> NodeImpl::AcceptLink(Connection& connection) {
  return std::make_unique<LinkSession>(*this, connection);
}

Hello NodeImpl::MakeHello() const {
  Hello hello;
  hello.cluster = identity_.cluster;
  hello.node = identity_.node;
  hello.place = place();
  hello.incarnation = origin_.incarnation;
  hello.generation = generation();
  hello.held = journal_->held();
  hello.software = GEMEL_VERSION;
  // What lies in damaged frames is not claimed: the peer's cursor then sends it again, and the journal mends itself.
  for (const journal::Recovered::Missing& missing : missing_) {
    const journal::Seq held = hello.held.Get(missing.origin);
    if (held < missing.first) continue;
    hello.held.Remove(missing.origin);
    if (missing.first > 1) hello.held.Raise(missing.origin, missing.first - 1);
  }
  for (const auto& [origin, seq] : hello.held.entries()) {
    const std::optional<uint64_t> chain = journal_->ChainAt(origin, seq);
    if (chain) hello.chains.push_back({origin, seq, *chain});
  }
  return hello;
}

absl::Status NodeImpl::CheckHello(const Hello& hello) const {
  if (hello.version != kLinkVersion) {
    return absl::FailedPreconditionError(absl::StrCat("the peer speaks link version ", hello.version, ", this node ",
                                                      kLinkVersion, ": upgrade the older one of the two"));
  }
  if (hello.cluster != identity_.cluster) {
    return absl::FailedPreconditionError(absl::StrCat("the peer belongs to another pair (cluster ", hello.cluster.hex(),
                                                      ", this is ", identity_.cluster.hex(), ")"));
  }
  if (hello.node == identity_.node || hello.place == place()) {
    return absl::FailedPreconditionError(
        "the peer has this node's own identity: it is a copy of it; pair it as a new node");
  }
  if (identity_.peer && hello.node != identity_.peer->node) {
    return absl::FailedPreconditionError(absl::StrCat("the peer is node ", journal::HexU64(hello.node),
                                                      ", this node was paired with ",
                                                      journal::HexU64(identity_.peer->node)));
  }
  // Two pairs' worth of history cannot be one before there is a way to join them. One that is still alone (or knows of
  // no generation yet) has no Paired to differ in: it gets the other's.
  if (hello.generation >= kFirstPaired && generation() >= kFirstPaired && hello.generation != generation()) {
    return absl::FailedPreconditionError(absl::StrCat("the peer is in generation ", hello.generation, ", this node in ",
                                                      generation(),
                                                      ": one of the two was paired anew without the other"));
  }
  for (const Hello::Chain& theirs : hello.chains) {
    const std::optional<uint64_t> ours = journal_->ChainAt(theirs.origin, theirs.seq);
    if (ours && *ours != theirs.chain) {
      return absl::FailedPreconditionError(
          absl::StrCat("the histories of origin ", journal::HexU64(theirs.origin.node), "/",
                       journal::HexU64(theirs.origin.incarnation), " differ at ", theirs.seq,
                       ": a running copy of a node has written; rejoin it as a new node"));
    }
  }
  return absl::OkStatus();
}

void NodeImpl::LinkUp(LinkSession& link, const Hello& hello) {
  // A new connection of the same peer: the old one is dead and nobody has noticed yet.
  if (link_ != nullptr) link_->Drop("replaced by a newer connection");
  link_ = &link;
  link_up_ms_ = BootMillis();
  PeerHeard();
  SolveProblem("link_refused");
  SolveProblem("pulling_back");
  peer_origin_ = {hello.node, hello.incarnation};
  peer_held_ = hello.held;  // what it was believed to hold before is forgotten
  Log(journal::LogLevel::kInfo, "link_up",
      {{"peer", journal::HexU64(hello.node)},
       {"software", hello.software},
       {"generation", absl::StrCat(hello.generation)}});
  // It knows more of this node's records than the node itself: a restored copy, or a disk that lied. They are pulled
  // back (its cursor sends them) before anything is ordered or shown.
  pulling_back_.clear();
  const journal::VectorClock held = journal_->held();
  for (const auto& [origin, seq] : hello.held.entries()) {
    if (origin.node == identity_.node && held.Get(origin) < seq) pulling_back_.push_back(Dot{origin, seq});
  }
  if (!pulling_back_.empty()) {
    starting_ = true;
    Log(journal::LogLevel::kWarning, "pulling_back",
        {{"why", "the peer knows more of this node's records than its own disk: it was restored, or its disk lied"}});
    absl::Status noted = env_.disk.ReplaceDurably(PullingBackFile(), kPullingBack);
    if (!noted.ok()) {
      Log(journal::LogLevel::kError, "pulling_back_not_noted", {{"error", std::string(noted.message())}});
    }
  }
  FinishStarting();
  ApplyAll();
}

// The peer was asked, and what it knew more of this node is here.
void NodeImpl::FinishStarting() {
  const journal::VectorClock held = journal_->held();
  std::erase_if(pulling_back_, [&held](const Dot& dot) { return held.Covers(dot); });
  if (!starting_ || !pulling_back_.empty()) return;
  starting_ = false;
  SolveProblem("pulling_back");
  env_.disk.Remove(PullingBackFile()).IgnoreError();  // mostly it is not there
  UpdatePeerCounts();
  ApplyAll();
  for (const auto& [id, account] : directory_.accounts()) {
    // What was released to this node and never taken is taken now.
    if (Orders(account) || (account.releasing && account.releasing_to == place())) sweep_.push_back(id);
  }
  PostSafely([this] { VerifyWaiting(); });
  TryHeldOpens();
}

void NodeImpl::LinkDown(LinkSession& link, const std::string& why) {
  const bool was_link = link_ == &link;
  if (was_link) link_ = nullptr;
  if (stopping_) return;
  if (was_link) {
    PostSafely([this] { UpdatePeerCounts(); });
    Log(journal::LogLevel::kWarning, "link_down", {{"why", why}});
    while (!fetches_.empty()) {
      EndFetch(Dot(fetches_.begin()->first), absl::UnavailableError("the link to the peer is down"));
    }
    for (auto& [id, waiting] : std::exchange(moving_, {})) {
      for (Done& done : waiting) {
        PostSafely([done = std::move(done)] {
          done(absl::UnavailableError("the link was lost; the home moves when the other server is back"));
        });
      }
    }
  }
  dial_backoff_ms_ = std::min(dial_backoff_ms_ * 2, kDialBackoffMsMax);
  DialSoon(dial_backoff_ms_);
}

// By the heartbeat.
void NodeImpl::TickLink() {
  if (link_ != nullptr) {
    if (link_->paused()) PeerHeard();  // it is this node that does not listen
    link_->SendPing();
    link_->LogProgress();
    if (BootMillis() - link_up_ms_ >= options_.peer_timeout_ms) {  // it lasts
      dial_backoff_ms_ = kDialBackoffMsMin;
      SolveProblem("frame_rejected");
    }
  }
  UpdatePeerCounts();
  DialSoon(dial_backoff_ms_);
}

void NodeImpl::OnCaughtUp(LinkSession& link) {
  SolveProblem("catch_up");
  if (link_ == &link) UpdatePeerCounts();
}

void NodeImpl::OnAck(const journal::VectorClock& held) {
  for (const auto& [origin, seq] : held.entries()) {
    if (origin.node == identity_.node && seq > peer_held_.Get(origin)) acked_ms_ = BootMillis();
  }
  peer_held_.Merge(held);
  if (!peer_counts_) UpdatePeerCounts();
  if (unprotected_since_s_ && Unprotected() == 0) unprotected_since_s_ = std::nullopt;
  ApplyAll();
}

uint64_t NodeImpl::LackingAtPeer() const {
  uint64_t lacking = 0;
  const journal::VectorClock held = journal_->held();
  for (const auto& [origin, seq] : held.entries()) {
    if (origin.node == identity_.node) lacking += seq - std::min(seq, peer_held_.Get(origin));
  }
  return lacking;
}

// The peer is away when nothing was heard of it for peer_timeout; and, where the link is down, when it has taken
// nothing for so long of what waits for it: a link that comes up and breaks again at once is none. (A peer whose disk
// is full takes nothing either, and is waited for.)
void NodeImpl::UpdatePeerCounts() {
  if (!identity_.peer) return;
  const uint64_t now = BootMillis();
  const uint64_t lacking = LackingAtPeer();
  if (lacking == 0) acked_ms_ = now;
  if (link_ == nullptr) {
    const bool silent = now - last_heard_ms_ >= options_.peer_timeout_ms;
    const bool stuck = !peer_disk_full_ && now - acked_ms_ >= options_.peer_timeout_ms;
    if (silent || stuck) {
      LosePeer({"error",
                silent ? "the other server is away; new mail lies on this disk only, and mailboxes whose home is there "
                         "can only be read"
                       : "the link to the other server breaks again and again; new mail lies on this disk only, and "
                         "mailboxes whose home is there can only be read",
                silent ? "bring it back; nothing else needs to be done"
                       : "see the problems of both servers, and `link_down` and `link_goodbye` in their logs"});
    }
    return;
  }
  if (peer_counts_ || starting_ || !link_->caught_up() || lacking > kSmallBacklogRecords) return;
  if (lacking > 0 && acked_ms_ < link_up_ms_) return;  // it has not taken anything yet
  peer_counts_ = true;
  SolveProblem("peer_away");
  Log(journal::LogLevel::kInfo, "peer_counts", {{"lacking", absl::StrCat(lacking)}});
  // Read-only sessions may write again after a reconnect. From here on none is opened: MustHold.
  for (auto& [id, live] : live_) {
    const Account* account = directory_.Find(id);
    if (account != nullptr && !Orders(*account))
      CloseSessions(id, "the mailbox can be written again; please reconnect");
  }
  const journal::GenerationBegin* current = directory_.generation();
  if (place() == 0 && current != nullptr && current->kind == journal::GenerationKind::kSolo && !pairing_generation_) {
    pairing_generation_ = true;  // from here on accounts of place 1 get their order there
    journal::GenerationBegin paired;
    paired.number = current->number + 1;
    paired.kind = journal::GenerationKind::kPaired;
    paired.writer = identity_.node;
    paired.writer_place = place();
    paired.parents.push_back({current->number, current->kind, current->writer, applied_});
    paired.reason = "paired";
    std::vector<Record> records;
    records.push_back({AccountId{}, 0, false, std::move(paired)});
    Create(std::move(records), nullptr);
  }
}

void NodeImpl::LosePeer(Problem problem) {
  peer_disk_full_ = false;  // who is away is not waited for
  if (!std::exchange(peer_counts_, false)) return;
  Log(journal::LogLevel::kWarning, "peer_away", {{"policy", NameOf(options_.ack_policy)}, {"why", problem.what}});
  AddProblem("peer_away", std::move(problem));
  ApplyAll();
}

void NodeImpl::PeerFailed() {
  if (link_ != nullptr) return;  // it was started anew meanwhile
  LosePeer({"error",
            "the journal of the other server cannot be written; new mail lies on this disk only, and mailboxes whose "
            "home is there can only be read",
            "mend that server; its own problems say how"});
}

void NodeImpl::SetPeer(PeerIdentity peer) {
  identity_.peer = std::move(peer);
  DialSoon(0);
}

}  // namespace gemel::engine
