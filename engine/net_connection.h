// A Connection on a socket: TCP or Unix, in clear or with TLS. The bytes' way:
//   in   recv into the loop's buffer -> (TLS: OpenSSL's memory) -> the session's OnBytes
//   out  Send: queued -> at the end of the step: (TLS: encrypted, 64 KiB at a time) -> one sendmsg
// What the kernel does not take waits for epoll. Encryption is between memory and memory, so that a read or write of
// many TLS records is one system call.
//
// Threads: the loop only. Nothing is destroyed inside a session's callback: sessions and connections end when the
// step is over.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/connection.h"
#include "engine/net_loop.h"
#include "engine/net_tls.h"
#include "engine/network.h"

namespace gemel::engine {

// Between nodes, what pairing needs beyond a Connection.
class PeerConnection : public Connection {
 public:
  virtual std::string peer_key_fingerprint() const = 0;
  virtual std::string ExportKey(std::string_view label, size_t bytes) = 0;  // RFC 5705
};

class SocketConnection;

// Who owns connections.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual void OnDone(SocketConnection* connection) = 0;  // destroy it; it is at rest
  virtual SslPtr NewClientFacingTls() = 0;                // nullptr: no certificate
  virtual void ProxyToHome(SocketConnection& connection, ProxyHello hello, std::string already_received,
                           std::function<void(absl::Status)> then) = 0;
};

class SocketConnection final : public PeerConnection, private NetLoop::Watcher {
 public:
  struct Options {
    std::string peer_address;  // "unix" for a Unix socket
    std::string session_id;
    std::string listener;  // for the log
    bool loopback = false;
    bool tls_available = false;
    // Acknowledges (TCP) what wants no answer yet at once: a client that sends a literal and its line's end in two
    // pieces, as imaplib does, else waits 40 ms for the kernel to do so before it sends the second (Nagle).
    bool quick_ack = false;
  };
  static constexpr uint64_t kHandshakeMs = 30'000;
  static constexpr uint64_t kLingerMs = 2'000;     // for the peer to read our last words
  static constexpr uint64_t kClosingMs = 30'000;   // for the kernel to take them
  static constexpr uint64_t kInputEndMs = 60'000;  // for the session to answer a peer that closed its sending side
  static constexpr size_t kDrainedBytes = 64 * 1024;

  // Takes the descriptor, which must be non-blocking. `host` and `loop` must outlive the connection.
  SocketConnection(NetLoop& loop, ConnectionHost& host, int fd, Options options);
  ~SocketConnection() override;

  // Then exactly one of these:
  void Start(const SessionFactory& make);
  // The session is made after the handshake; `failed` instead where there is none within `timeout_ms`.
  void StartWithTls(SslPtr ssl, uint64_t timeout_ms, SessionFactory make, std::function<void(absl::Status)> failed);
  void SayAndClose(std::string bytes);  // never had a session

  void Shutdown();  // passes OnShutdown on
  void Abort();     // closes without sending; the session's OnClosed is called
  // The present session is destroyed after this step without another call. No OnConnected either.
  void ReplaceSession(std::unique_ptr<ProtocolSession> session);
  // Reading stands still for another reason than the session's PauseReading.
  void HoldReading(bool hold);
  // The peer said that it was closing (close_notify), in OnClosed.
  bool closed_cleanly() const { return closed_cleanly_; }
  std::string alpn() const;
  bool open() const { return state_ == State::kOpen; }  // its session may still be called
  std::weak_ptr<char> alive() const { return alive_; }  // expires with the connection
  const std::string& listener() const { return options_.listener; }

  void Send(std::string bytes) override;
  size_t unsent_bytes() const override { return queued_bytes_ + wire_.size() - wire_sent_; }
  void OnDrained(std::function<void()> then) override;
  void PauseReading() override { paused_ = true; }
  void ResumeReading() override;
  void StartTls() override;
  void CloseAfterSending() override;
  void SetIdleTimeout(uint64_t milliseconds) override;
  void ProxyToHome(ProxyHello hello, std::string already_received, std::function<void(absl::Status)> then) override;
  const std::string& peer_address() const override { return options_.peer_address; }
  bool tls() const override { return ssl_ != nullptr; }
  std::string tls_description() const override;
  bool tls_available() const override { return options_.tls_available; }
  bool loopback() const override { return options_.loopback; }
  const std::string& session_id() const override { return options_.session_id; }
  std::string peer_key_fingerprint() const override;
  std::string ExportKey(std::string_view label, size_t bytes) override;

 private:
  enum class State {
    kOpen,
    kClosing,    // no session any more; sends what is queued
    kLingering,  // all sent; waits for the peer to close
    kDead,       // to be destroyed when the step is over
  };

  void OnReady(uint32_t epoll_events) override;
  void AfterStep() override;
  void WantAfterStep();
  void SetInterest(uint32_t epoll_events);
  bool reading() const { return state_ == State::kOpen && !paused_ && !held_ && !input_ended_; }

  void ReadSome();
  void Deliver(std::string_view bytes);
  void DiscardReceived();
  void PumpTls();
  bool PumpHandshake();
  void OnHandshakeDone();
  void FailHandshake(absl::Status status);

  bool Flush();  // false: the kernel takes no more for now, or the connection is dead
  bool FlushQueue();
  bool FlushTls();
  size_t SendSome(const char* data, size_t bytes);
  bool EncryptQueued();
  void DropSent(size_t bytes);

  void OnInputEnd();
  void OnPeerGone(bool clean);
  void Die();
  void SetDeadline(uint64_t milliseconds);
  void OnDeadline();

  NetLoop& loop_;
  ConnectionHost& host_;
  int fd_;
  const Options options_;
  State state_ = State::kOpen;
  std::unique_ptr<ProtocolSession> session_;
  uint64_t session_epoch_ = 0;  // counts sessions: a call meant for an earlier one is dropped
  std::vector<std::unique_ptr<ProtocolSession>> retired_;  // destroyed when the step is over
  std::shared_ptr<char> alive_ = std::make_shared<char>();

  SslPtr ssl_;
  bool handshaking_ = false;
  SessionFactory make_;  // for after the first handshake
  std::function<void(absl::Status)> failed_;

  // To send, before encryption: queue_[queue_head_] from head_sent_ on.
  std::vector<std::string> queue_;
  size_t queue_head_ = 0, head_sent_ = 0, queued_bytes_ = 0;
  std::string wire_;  // encrypted, from wire_sent_ on
  size_t wire_sent_ = 0;
  std::function<void()> drained_;

  uint32_t interest_ = EPOLLIN;
  bool paused_ = false, held_ = false, input_ended_ = false;
  bool after_step_wanted_ = false;
  bool closed_cleanly_ = false;
  bool close_notify_sent_ = false;

  // One timer serves idling, handshake, closing and lingering; it is moved only when it runs (arrivals are frequent).
  TimerId timer_ = 0;
  uint64_t timer_due_ms_ = 0;
  uint64_t idle_ms_ = 0;  // 0: none
  uint64_t last_arrival_ms_ = 0;
  uint64_t deadline_ms_ = 0;  // of handshake, closing or lingering; 0: none
};

}  // namespace gemel::engine
