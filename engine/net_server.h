// The node's sockets: listeners for clients and for the peer, connections to the peer, and client connections that
// are passed on to their account's home (net_proxy.h).
//
// Set up before the loop runs, or on the loop; everything else on the loop. The NetLoop must outlive it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/net_connection.h"
#include "engine/net_loop.h"
#include "engine/net_tls.h"
#include "engine/network.h"

namespace gemel::engine {

enum class ListenTls {
  kNone,      // in clear for ever
  kStartTls,  // on the client's request, where a certificate is there
  kImplicit,  // from the first byte
};

struct ListenOptions {
  std::string name;     // for the log: "lmtp"
  std::string address;  // "host:port", "[::1]:port", "*:port" (IPv6 and IPv4), "unix:/path"; port 0: any
  ListenTls tls = ListenTls::kNone;
  // Of this host's own clients there may be as many besides: strangers do not keep them out, nor they strangers.
  size_t connections_max = 1024;
  size_t connections_per_address_max = 64;  // of strangers; IPv6: per /64
  std::string goodbye;  // a whole line, for who is one too many: "421 4.7.0 ...\r\n"; not sent under implicit TLS
  unsigned unix_mode = 0660;
  std::set<unsigned> unix_uids;  // Unix sockets: users that may connect, by the kernel's word; empty: all
  std::string stranger_goodbye;  // what others get
};

// What comes in on the link port, by application protocol. What is left empty is refused.
struct LinkHandlers {
  using MakeProxied = std::function<std::unique_ptr<ProtocolSession>(Connection&, const ProxyHello&)>;
  using MakePairing = std::function<std::unique_ptr<ProtocolSession>(PeerConnection&)>;
  SessionFactory make_link;
  std::function<absl::Status(const ProxyHello&)> check_proxy;  // Node::CheckProxy
  MakeProxied make_proxied;                                    // an authenticated session that does not greet
  MakePairing make_pairing;
};

class Net : public Network, public ConnectionHost {
 public:
  explicit Net(NetLoop& loop);
  ~Net() override;  // closes everything; sessions are destroyed without another call

  // Before the listeners that need it. Without: no STARTTLS is offered, kImplicit is refused.
  void SetClientTls(std::unique_ptr<ClientTls> tls);
  absl::Status ReloadCertificates();  // the old ones stay in use on an error
  // For DialPeer and ListenPeer. Its CheckKey is asked anew for each handshake.
  void SetPeerTls(std::unique_ptr<PeerTls> tls);
  // Where the peer's link port is, for ProxyToHome; "" while there is no peer.
  void SetPeerAddress(std::function<std::string()> address) { peer_address_ = std::move(address); }

  // The address bound, with the port that the kernel gave. A stale Unix socket is replaced, a live one is not.
  absl::StatusOr<std::string> Listen(ListenOptions options, SessionFactory make);
  // At most `unproven_max` connections at once that have not shown the peer's key, a sixteenth of it from one network.
  absl::StatusOr<std::string> ListenPeer(std::string address, LinkHandlers handlers, size_t unproven_max = 16 * 1024);

  void DialPeer(const std::string& address, const std::string& alpn, uint64_t timeout_ms, SessionFactory make,
                std::function<void(absl::Status)> failed) override;
  // As DialPeer; the session gets the PeerConnection.
  void DialPeerForPairing(const std::string& address, uint64_t timeout_ms, LinkHandlers::MakePairing make,
                          std::function<void(absl::Status)> failed);

  // Proxied sessions end with their generation: clients of ours whose home is the peer get BYE, and those of the
  // peer's whose home is here are closed. Happens by itself when the last gemel-link/1 connection ends: without it
  // nobody knows whether the other end is alive (a stopped process closes no socket).
  void CloseProxied();

  void StopListening();
  // Every session's OnShutdown; connections() says who is still there. The link is not told: what clients were
  // promised may wait for it, and the node stops after that.
  void Shutdown();
  void CloseAll();  // OnClosed, and gone when it returns; not from inside a session's call
  size_t connections() const { return connections_.size(); }

 private:
  class Listener;
  class Dial;
  struct Entry {
    std::unique_ptr<SocketConnection> connection;
    Listener* listener = nullptr;  // nullptr: dialled, or its listener is gone
    bool is_link = false;
    bool takes_place = false;  // of those that the listener has room for
  };

  static void LeavePlace(Entry& entry);
  void OnDone(SocketConnection* connection) override;
  SslPtr NewClientFacingTls() override;
  void ProxyToHome(SocketConnection& connection, ProxyHello hello, std::string already_received,
                   std::function<void(absl::Status)> then) override;

  absl::StatusOr<std::string> AddListener(ListenOptions options, SessionFactory make, bool peer);
  void Accepted(Listener& listener, int fd, SocketConnection::Options options);
  void Dialled(int fd, const std::string& address, const std::string& alpn, uint64_t timeout_ms, SessionFactory make,
               std::function<void(absl::Status)> failed);
  SocketConnection* Add(int fd, SocketConnection::Options options, Listener* listener);
  void ForgetDial(Dial* dial);
  void DestroyConnections();
  void NoteLink(Connection& connection);
  std::string NextSessionId();
  std::unique_ptr<ProtocolSession> MakePeerSession(Connection& connection);

  NetLoop& loop_;
  std::unique_ptr<ClientTls> client_tls_;
  std::unique_ptr<PeerTls> peer_tls_;
  LinkHandlers link_;
  std::function<std::string()> peer_address_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::unique_ptr<Dial>> dials_;
  absl::flat_hash_map<SocketConnection*, Entry> connections_;
  size_t links_ = 0;  // how many of them are gemel-link/1
  uint64_t next_session_ = 0;
  class ProxyTable;
  std::unique_ptr<ProxyTable> proxied_;
};

}  // namespace gemel::engine
