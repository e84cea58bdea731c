// How a node reaches its peer, passed in: TLS over TCP in production (engine/net), strings in tests.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "engine/connection.h"

namespace gemel::engine {

// TLS application protocols on the link port.
inline constexpr char kAlpnLink[] = "gemel-link/1";
inline constexpr char kAlpnProxy[] = "gemel-proxy/1";
inline constexpr char kAlpnPair[] = "gemel-pair/1";

using SessionFactory = std::function<std::unique_ptr<ProtocolSession>(Connection&)>;

class Network {
 public:
  virtual ~Network() = default;
  // Connects to the peer's link port with mutual TLS 1.3, the peer's key pinned, and makes the session when the
  // handshake is done (then OnConnected). `failed`: no connection came about. Exactly one of the two happens, on the
  // loop, within `timeout_ms`.
  virtual void DialPeer(const std::string& address, const std::string& alpn, uint64_t timeout_ms, SessionFactory make,
                        std::function<void(absl::Status)> failed) = 0;
};

}  // namespace gemel::engine
