#include "engine/link_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/node_impl.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;

// Bytes on their way to the peer: more stays on the disk and is read again when there is room.
constexpr size_t kUnsentBytesMax = 4 * 1024 * 1024;
constexpr size_t kCatchUpBytes = 1024 * 1024;
// Received and not yet durable here: more stays in the peer's hands.
constexpr size_t kUnwrittenBytesMax = 8 * 1024 * 1024;

}  // namespace

LinkSession::LinkSession(NodeImpl& node, Connection& connection) : node_(node), connection_(connection) {}

LinkSession::~LinkSession() { CloseOnce("the connection is gone"); }

void LinkSession::OnConnected() {
  if (node_.failed_) return Drop(kJournalFailed);
  connection_.SetIdleTimeout(node_.options_.peer_timeout_ms);
  Hello hello = node_.MakeHello();
  acked_ = hello.held;  // what becomes durable from here on is told by acks
  Send(std::move(hello));
}

void LinkSession::Send(const LinkMessage& message) {
  if (!closed_) connection_.Send(Encode(message));
}

void LinkSession::Drop(const std::string& why) {
  if (closed_) return;
  Send(Goodbye{why});
  connection_.CloseAfterSending();
  CloseOnce(why);
}

void LinkSession::CloseOnce(const std::string& why) {
  if (std::exchange(closed_, true)) return;
  alive_.reset();
  node_.LinkDown(*this, why);
}

void LinkSession::OnTimeout() {
  if (!paused_) Drop("nothing was heard for too long");
}
void LinkSession::OnClosed() { CloseOnce("the peer closed the connection"); }
// The node ends the link itself, when what clients were promised has its acknowledgements.
void LinkSession::OnShutdown() {}

void LinkSession::OnBytes(std::string_view bytes) {
  if (exchanged_) node_.PeerHeard();
  decoder_.Feed(bytes);
  while (!closed_) {
    absl::StatusOr<std::optional<LinkMessage>> message = decoder_.Next();
    if (!message.ok()) {
      Log(journal::LogLevel::kError, "link_damaged", {{"error", std::string(message.status().message())}});
      return Drop(std::string(message.status().message()));
    }
    if (!message->has_value()) return;
    if (!exchanged_ && !std::holds_alternative<Hello>(**message) && !std::holds_alternative<Goodbye>(**message)) {
      return Drop("a message before the hello");
    }
    std::visit([this](auto&& body) { On(std::move(body)); }, *std::move(*message));
  }
}

void LinkSession::On(Hello hello) {
  if (exchanged_) return Drop("a second hello");
  if (node_.failed_) return Drop(kJournalFailed);
  if (absl::Status status = node_.CheckHello(hello); !status.ok()) {
    node_.AddProblem("link_refused",
                     {"error", std::string(status.message()), "see the operator's page, \"Link refused\""});
    Log(journal::LogLevel::kError, "link_refused", {{"error", std::string(status.message())}});
    return Drop(std::string(status.message()));
  }
  peer_ = std::move(hello);
  exchanged_ = true;
  sent_ = peer_.held;
  cursor_ = journal::ShipCursor::Make(node_.env_.disk, *node_.journal_, node_.JournalDirectory(), peer_.held,
                                      {node_.identity_.node, peer_.node});
  node_.LinkUp(*this, peer_);
  in_.Begin(OfBoth(peer_.held), node_.journal_->held(), std::nullopt, node_.BootMillis());
  SendAck(node_.journal_->held());
  PauseIfBehind();  // what a link before this one brought may still be waiting
  ShipSome();
}

journal::VectorClock LinkSession::OfBoth(const journal::VectorClock& clock) const {
  journal::VectorClock both;
  for (const auto& [origin, seq] : clock.entries()) {
    if (origin.node == node_.identity_.node || origin.node == peer_.node) both.Raise(origin, seq);
  }
  return both;
}

// What the cursor has not looked at yet. In between may be what the peer has already.
uint64_t LinkSession::BytesToSend() const {
  return cursor_ == nullptr ? 0 : node_.journal_->BytesFrom(cursor_->position());
}

std::optional<CatchUpStatus> LinkSession::CatchUpOut() const { return out_.Status(BytesToSend(), node_.BootMillis()); }
std::optional<CatchUpStatus> LinkSession::CatchUpIn() const { return in_.Status(std::nullopt, node_.BootMillis()); }

void LinkSession::LogProgress() {
  out_.LogProgress(BytesToSend(), node_.BootMillis());
  in_.LogProgress(std::nullopt, node_.BootMillis());
}

void LinkSession::ShipSome() {
  while (!closed_ && !caught_up_) {
    if (connection_.unsent_bytes() > kUnsentBytesMax) return ResumeWhenDrained();
    absl::StatusOr<std::vector<journal::Committed>> frames = cursor_->Next(kCatchUpBytes);
    if (!frames.ok()) {
      node_.AddProblem("catch_up",
                       {"error", absl::StrCat("the peer cannot be caught up: ", std::string(frames.status().message())),
                        "if the journal was pruned past the peer's position, set the peer up anew"});
      Log(journal::LogLevel::kError, "catch_up_failed", {{"error", std::string(frames.status().message())}});
      return Drop(std::string(frames.status().message()));
    }
    if (frames->empty()) {
      caught_up_ = true;
      cursor_.reset();
      node_.OnCaughtUp(*this);
      return;
    }
    if (!out_.running()) {  // only now the cursor knows where it begins
      uint64_t bytes = BytesToSend();
      for (const journal::Committed& one : *frames) bytes += one.frame->shipped.size();
      out_.Begin(OfBoth(node_.journal_->held()), node_.peer_held_, bytes, node_.BootMillis());
    }
    for (const journal::Committed& one : *frames) {
      sent_.Raise(one.frame->origin, one.frame->last_seq());
      out_.AddBytes(one.frame->shipped.size());
      Send(FrameMessage{one.frame->shipped});
    }
  }
}

void LinkSession::ResumeWhenDrained() {
  if (std::exchange(waiting_for_drain_, true)) return;
  connection_.OnDrained([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    waiting_for_drain_ = false;
    ShipSome();
  });
}

void LinkSession::ShipLive(const journal::Committed& committed) {
  if (closed_ || !caught_up_) return;  // the cursor will come to it
  const journal::Frame& frame = *committed.frame;
  if (sent_.Get(frame.origin) >= frame.last_seq()) return;
  if (connection_.unsent_bytes() > kUnsentBytesMax) {
    // The peer does not keep pace: from here on the disk is the queue.
    caught_up_ = false;
    cursor_ = journal::ShipCursor::Make(node_.env_.disk, *node_.journal_, node_.JournalDirectory(), sent_,
                                        {node_.identity_.node, peer_.node});
    return ResumeWhenDrained();
  }
  sent_.Raise(frame.origin, frame.last_seq());
  Send(FrameMessage{frame.shipped});
}

void LinkSession::SendAck(const journal::VectorClock& held) {
  if (closed_ || !exchanged_) return;
  Ack ack;
  for (const auto& [origin, seq] : held.entries()) {
    if (acked_.Get(origin) < seq) ack.held.Raise(origin, seq);
  }
  acked_ = held;
  in_.Note(held, node_.BootMillis());
  if (!ack.held.empty()) Send(ack);
  ResumeIfWritten();
}

void LinkSession::PauseIfBehind() {
  if (paused_ || node_.journal_->pending_bytes() <= kUnwrittenBytesMax) return;
  paused_ = true;
  connection_.PauseReading();
}

void LinkSession::ResumeIfWritten() {
  if (!paused_ || node_.journal_->pending_bytes() > kUnwrittenBytesMax / 2) return;
  paused_ = false;
  connection_.SetIdleTimeout(node_.options_.peer_timeout_ms);  // from now on
  connection_.ResumeReading();
}

void LinkSession::SendPing() {
  Ping ping;
  ping.id = next_ping_++;
  ping.disk_full = node_.disk_full_;
  Send(ping);
}

void LinkSession::On(FrameMessage frame) {
  in_.AddBytes(frame.shipped.size());
  node_.journal_->AppendReceived(std::move(frame.shipped));
  node_.ScheduleCommit();
  PauseIfBehind();
}

void LinkSession::On(Ack ack) {
  node_.OnAck(ack.held);
  out_.Note(node_.peer_held_, node_.BootMillis());
}

void LinkSession::On(Ping ping) {
  if (node_.peer_disk_full_ != ping.disk_full) {
    node_.peer_disk_full_ = ping.disk_full;
    Log(journal::LogLevel::kWarning, ping.disk_full ? "peer_disk_full" : "peer_disk_has_room", {});
  }
  Send(Pong{ping.id});
}

// Has served already, by arriving: a peer whose own heartbeat is slower than this node's patience is heard all the
// same.
void LinkSession::On(Pong) {}

void LinkSession::On(Goodbye goodbye) {
  Log(journal::LogLevel::kWarning, "link_goodbye", {{"reason", goodbye.reason}});
  connection_.CloseAfterSending();
  CloseOnce(goodbye.reason);
  if (goodbye.reason == kJournalFailed) node_.PeerFailed();
}

void LinkSession::On(BodyRequest request) { Send(node_.LocalBodyPart(request)); }

void LinkSession::On(BodyPart part) { node_.OnBodyPart(std::move(part)); }

}  // namespace gemel::engine
