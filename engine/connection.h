// Between a protocol session (a state machine, fed with bytes) and the socket that carries it. The session side is
// ProtocolSession, the socket's is Connection; engine/net implements Connection with TCP, Unix sockets and TLS, tests
// implement it with strings.
//
// Threads: all calls on the loop. Lifetime: the Connection owns nothing of the session and outlives it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "journal/ids.h"

namespace gemel::engine {

// First message on a proxied client connection (decision 13), from the node where the client arrived to the home.
struct ProxyHello {
  journal::AccountId account;
  journal::Generation generation = 0;
  std::string client_address;
  bool tls = false;
  std::string enabled;     // extensions enabled so far, space-separated
  std::string session_id;  // for both nodes' logs
};

class Connection {
 public:
  virtual ~Connection() = default;
  virtual void Send(std::string bytes) = 0;                // queued, in order
  virtual size_t unsent_bytes() const = 0;                 // queued and not yet taken by the kernel
  virtual void OnDrained(std::function<void()> then) = 0;  // once, when unsent_bytes is below 64 KiB (maybe at once)
  virtual void PauseReading() = 0;                         // OnBytes is not called until ResumeReading
  virtual void ResumeReading() = 0;
  // Sends what is queued, then does the TLS handshake. Bytes received in clear behind the command that asked for it
  // are thrown away (RFC 3207, 6: nothing buffered before STARTTLS survives it). OnTls is called when it is done.
  virtual void StartTls() = 0;
  virtual void CloseAfterSending() = 0;  // then OnClosed is not called
  // OnTimeout is called when nothing arrived for this long; 0: never. Each arrival starts it anew.
  virtual void SetIdleTimeout(uint64_t milliseconds) = 0;
  // From now on raw bytes go to the account's home and back, those in `already_received` first; the session is done
  // and is destroyed soon after `then(ok)`; on failure it carries on. The answer to the client's login is the
  // session's to send, in `then`, before any of the home's bytes are passed on.
  virtual void ProxyToHome(ProxyHello hello, std::string already_received, std::function<void(absl::Status)> then) = 0;

  virtual const std::string& peer_address() const = 0;  // without port; "unix" for a Unix socket
  virtual bool tls() const = 0;
  virtual std::string tls_description() const = 0;    // "TLSv1.3 TLS_AES_256_GCM_SHA384", "" without
  virtual bool tls_available() const = 0;             // a certificate is configured
  virtual bool loopback() const = 0;                  // the peer is on this host
  virtual const std::string& session_id() const = 0;  // for the log
};

class ProtocolSession {
 public:
  virtual ~ProtocolSession() = default;
  virtual void OnConnected() = 0;                    // greet
  virtual void OnBytes(std::string_view bytes) = 0;  // in any pieces; the session buffers
  virtual void OnTls() = 0;                          // the handshake that StartTls asked for is done
  virtual void OnTimeout() = 0;
  virtual void OnClosed() = 0;  // by the peer or by an error; nothing can be sent any more
  // The peer sends no more, but may still read (shutdown(2), SHUT_WR). True: the session has an answer to give and will
  // close the connection itself, soon. False: OnClosed comes next.
  virtual bool OnInputEnd() { return false; }
  virtual void OnShutdown() = 0;  // the daemon stops: say goodbye at the next command boundary
};

}  // namespace gemel::engine
