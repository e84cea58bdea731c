// A client connection that arrived at one node and belongs to an account whose home is the other (decision 13).
//
// On its own TLS connection between the nodes (ALPN gemel-proxy/1):
//   arrival -> home   length (4 bytes, big-endian), ProxyHello
//   home -> arrival   length (4 bytes), absl status code (1 byte), message
//   both ways         the client's session, raw
// ProxyHello: account (16 bytes), generation (4 bytes, big-endian), tls (1 byte), then client_address, enabled and
// session_id, each with its length before it (2 bytes, big-endian). A field more needs another ALPN.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/net_connection.h"
#include "engine/net_server.h"

namespace gemel::engine {

inline constexpr size_t kProxyMessageBytesMax = 16 * 1024;
inline constexpr size_t kProxyBufferBytesMax = 256 * 1024;  // each way, before the sender has to wait
inline constexpr uint64_t kProxyDialMs = 5'000;
inline constexpr char kProxyGoodbye[] = "* BYE the mailbox's server went away; please reconnect\r\n";

std::string EncodeProxyHello(const ProxyHello& hello);  // without the length before it
absl::StatusOr<ProxyHello> DecodeProxyHello(std::string_view bytes);

// The home's end: reads the hello from a fresh peer connection, asks `handlers`, and runs the session they make.
// `handlers` must outlive it.
std::unique_ptr<ProtocolSession> MakeProxyAcceptor(Connection& link, const LinkHandlers& handlers);

// The arrival's end. One relay per client connection; it is kept by the two sessions that feed it.
class ProxyRelay;
using DialHome = std::function<void(SessionFactory make, std::function<void(absl::Status)> failed)>;
std::shared_ptr<ProxyRelay> StartProxyRelay(NetLoop& loop, SocketConnection& client, ProxyHello hello,
                                            std::string already_received, std::function<void(absl::Status)> then,
                                            const DialHome& dial);
// The generation ended: kProxyGoodbye to the client (unless half an answer is out), and close. Nothing that is still
// held is passed on.
void EndProxyRelay(ProxyRelay& relay);

}  // namespace gemel::engine
