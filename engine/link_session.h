// One connection between the nodes: hello, catch-up from the peer's cursor, live frames, acknowledgements,
// heartbeats. Sans-I/O: bytes in, bytes out through its Connection. Design 4 ("When the link comes up"), 7.
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/catch_up.h"
#include "engine/connection.h"
#include "engine/link_messages.h"
#include "journal/journal.h"

namespace gemel::engine {

class NodeImpl;

class LinkSession final : public ProtocolSession {
 public:
  LinkSession(NodeImpl& node, Connection& connection);
  ~LinkSession() override;

  void OnConnected() override;
  void OnBytes(std::string_view bytes) override;
  void OnTls() override {}
  void OnTimeout() override;
  void OnClosed() override;
  void OnShutdown() override;

  // ---- from the node ----
  void ShipLive(const journal::Committed& committed);  // a frame of ours that has just become durable
  void SendAck(const journal::VectorClock& held);      // what became durable here
  void SendPing();
  void Send(const LinkMessage& message);
  // Ends the connection with a Goodbye; the node is told by LinkDown.
  void Drop(const std::string& why);

  bool paused() const { return paused_; }
  bool caught_up() const { return caught_up_; }
  const Hello& peer() const { return peer_; }
  const std::string& peer_version() const { return peer_.software; }
  std::optional<CatchUpStatus> CatchUpOut() const;
  std::optional<CatchUpStatus> CatchUpIn() const;
  void LogProgress();

 private:
  void On(Hello hello);
  void On(FrameMessage frame);
  void On(Ack ack);
  void On(Ping ping);
  void On(Pong pong);
  void On(Goodbye goodbye);
  void On(BodyRequest request);
  void On(BodyPart part);
  void ShipSome();  // catch-up: the next piece from the disk, while the peer keeps pace
  void ResumeWhenDrained();
  void PauseIfBehind();
  void ResumeIfWritten();
  void CloseOnce(const std::string& why);
  journal::VectorClock OfBoth(const journal::VectorClock& clock) const;  // what concerns the two nodes of the pair
  uint64_t BytesToSend() const;

  NodeImpl& node_;
  Connection& connection_;
  LinkDecoder decoder_;
  Hello peer_;
  bool exchanged_ = false;  // both hellos are in and agree
  bool caught_up_ = false;  // all that was durable here has been sent; frames are shipped as they become durable
  bool closed_ = false;
  bool waiting_for_drain_ = false;
  bool paused_ = false;  // reads nothing until this node's disk has what was received
  std::unique_ptr<journal::ShipCursor> cursor_;
  journal::VectorClock sent_;   // what the peer has or was sent
  journal::VectorClock acked_;  // what this node told the peer that it holds
  CatchUp out_{"out"};          // of what was sent: ends when the peer has it on its disk
  CatchUp in_{"in"};
  uint64_t next_ping_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::engine
