#include "engine/net_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/net_address.h"
#include "engine/net_proxy.h"
#include "journal/clock.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

constexpr uint64_t kAcceptPauseMs = 200;

}  // namespace

// ---- listening ----

class Net::Listener final : public NetLoop::Watcher {
 public:
  Listener(Net& net, int fd, ListenOptions with, SessionFactory factory, bool for_peer)
      : options(std::move(with)), make(std::move(factory)), peer(for_peer), net_(net), fd_(fd) {
    net_.loop_.Watch(fd_, EPOLLIN, this);
  }
  ~Listener() override {
    net_.loop_.Cancel(pause_);
    net_.loop_.Unwatch(fd_, this);
    close(fd_);
    if (options.address.starts_with("unix:")) unlink(options.address.c_str() + 5);
  }

  void OnReady(uint32_t) override {
    for (int i = 0; i < 64; ++i) {
      SocketAddress address;
      address.bytes = sizeof address.storage;
      const int fd =
          accept4(fd_, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN) PauseAfterError(errno);
        return;
      }
      SocketConnection::Options with;
      with.listener = options.name;
      if (address.family() == AF_INET || address.family() == AF_INET6) {
        with.peer_address = HostText(address);
        with.loopback = with.peer_address == "::1" || with.peer_address.starts_with("127.");
        with.quick_ack = !peer;
        SetSocketFlag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
        SetSocketFlag(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
      } else {
        with.peer_address = "unix";
        with.loopback = true;
        if (!MayConnect(fd)) continue;
      }
      if (peer) SetPeerSocketOptions(fd);
      net_.Accepted(*this, fd, std::move(with));
    }
  }

  // False: there are as many from this stranger's network as there may be.
  bool TakePlace(const std::string& peer_address) {
    size_t& from_there = by_network_[NetworkOf(peer_address)];
    if (from_there >= options.connections_per_address_max) return false;
    ++from_there;
    return true;
  }
  void LeavePlace(const std::string& peer_address) {
    const auto found = by_network_.find(NetworkOf(peer_address));
    if (--found->second == 0) by_network_.erase(found);
  }

  const ListenOptions options;
  const SessionFactory make;
  const bool peer;
  size_t strangers = 0, own = 0;  // connections

 private:
  // Closes the socket of who may not, after a word.
  bool MayConnect(int fd) {
    if (options.unix_uids.empty()) return true;
    const std::optional<unsigned> uid = PeerUid(fd);
    if (uid && options.unix_uids.contains(*uid)) return true;
    journal::Log(
        journal::LogLevel::kWarning, "connection_refused",
        {{"listener", options.name}, {"uid", uid ? std::to_string(*uid) : "unknown"}, {"reason", "not permitted"}});
    send(fd, options.stranger_goodbye.data(), options.stranger_goodbye.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    return false;
  }
  // Out of descriptors or memory: it would be ready for ever.
  void PauseAfterError(int error) {
    journal::Log(journal::LogLevel::kError, "accept_failed",
                 {{"listener", options.name}, {"error", strerror(error)}, {"advice", "raise LimitNOFILE"}});
    net_.loop_.Rewatch(fd_, 0, this);
    net_.loop_.Cancel(pause_);
    pause_ = net_.loop_.After(kAcceptPauseMs, [this] { net_.loop_.Rewatch(fd_, EPOLLIN, this); });
  }

  Net& net_;
  const int fd_;
  absl::flat_hash_map<std::string, size_t> by_network_;  // of strangers
  TimerId pause_ = 0;
};

// ---- dialling ----

class Net::Dial final : public NetLoop::Watcher {
 public:
  using Connected = std::function<void(int fd, uint64_t milliseconds_left)>;
  Dial(Net& net, std::string address, uint64_t timeout_ms, Connected connected,
       std::function<void(absl::Status)> failed)
      : net_(net),
        address_(std::move(address)),
        until_ms_(journal::SystemClock().BootMillis() + timeout_ms),
        connected_(std::move(connected)),
        failed_(std::move(failed)) {
    alive_->loop = &net_.loop_;
    timer_ = net_.loop_.After(
        timeout_ms, [this] { Finish(absl::DeadlineExceededError("no connection to " + address_ + " in time")); });
    if (auto found = Resolve(address_, /*passive=*/false, /*numeric_only=*/true); found.ok()) {
      net_.loop_.Post([this, alive = alive_, addresses = *std::move(found)]() mutable {
        if (alive->loop == nullptr) return;
        addresses_ = std::move(addresses);
        TryNext();
      });
    } else {
      ResolveOnThread();
    }
  }
  ~Dial() override {
    {
      std::lock_guard lock(alive_->mutex);
      alive_->loop = nullptr;
    }
    net_.loop_.Cancel(timer_);
    CloseSocket();
  }

  void OnReady(uint32_t) override {
    int error = 0;
    socklen_t bytes = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error == 0) return Finish(absl::OkStatus());
    last_error_ = SocketError("connecting to " + address_, error);
    CloseSocket();
    TryNext();
  }

 private:
  // Shared with the resolving thread, which may outlive us: name servers answer when they like.
  struct Alive {
    std::mutex mutex;
    NetLoop* loop = nullptr;  // nullptr: nobody waits any more. Set on the loop, with the mutex; others need it to read
  };

  void ResolveOnThread() {
    std::thread([this, alive = alive_, address = address_] {
      auto found = Resolve(address, /*passive=*/false, /*numeric_only=*/false);
      std::lock_guard lock(alive->mutex);
      if (alive->loop == nullptr) return;
      alive->loop->Post([this, alive, found = std::move(found)]() mutable {
        if (alive->loop == nullptr) return;
        if (!found.ok()) return Finish(found.status());
        addresses_ = *std::move(found);
        TryNext();
      });
    }).detach();
  }

  void TryNext() {
    while (next_ < addresses_.size()) {
      const SocketAddress& to = addresses_[next_++];
      fd_ = socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd_ < 0) {
        last_error_ = SocketError("making a socket", errno);
        continue;
      }
      SetPeerSocketOptions(fd_);
      if (connect(fd_, to.get(), to.bytes) != 0 && errno != EINPROGRESS) {
        last_error_ = SocketError("connecting to " + address_, errno);
        close(std::exchange(fd_, -1));
        continue;
      }
      net_.loop_.Watch(fd_, EPOLLOUT, this);
      return;
    }
    Finish(last_error_);
  }

  void CloseSocket() {
    if (fd_ < 0) return;
    net_.loop_.Unwatch(fd_, this);
    close(std::exchange(fd_, -1));
  }

  void Finish(absl::Status status) {
    const auto connected = std::move(connected_);
    const auto failed = std::move(failed_);
    int fd = -1;
    if (status.ok()) {
      net_.loop_.Unwatch(fd_, this);
      fd = std::exchange(fd_, -1);
    }
    const uint64_t now_ms = journal::SystemClock().BootMillis();
    const uint64_t left_ms = until_ms_ > now_ms ? until_ms_ - now_ms : 1;
    net_.ForgetDial(this);  // destroys this
    if (fd >= 0) {
      connected(fd, left_ms);
    } else {
      failed(std::move(status));
    }
  }

  Net& net_;
  const std::string address_;
  const uint64_t until_ms_;
  Connected connected_;
  std::function<void(absl::Status)> failed_;
  std::shared_ptr<Alive> alive_ = std::make_shared<Alive>();
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;
  int fd_ = -1;
  TimerId timer_ = 0;
  absl::Status last_error_ = absl::UnavailableError("no address to connect to");
};

// ---- proxied sessions ----

class Net::ProxyTable {
 public:
  std::vector<std::weak_ptr<ProxyRelay>> arrived;                        // clients here, homes there
  std::vector<std::pair<SocketConnection*, std::weak_ptr<char>>> homed;  // clients there, homes here

  // Ended ones go now and then, so that the lists stay as long as what they list.
  template <class T, class Gone>
  static void Trim(std::vector<T>* all, const Gone& gone) {
    if (all->size() >= 64 && (all->size() & (all->size() - 1)) == 0) std::erase_if(*all, gone);
  }
};

// ---- Net ----

Net::Net(NetLoop& loop)
    : loop_(loop), next_session_(journal::SystemRandom().U64() << 16), proxied_(std::make_unique<ProxyTable>()) {}

Net::~Net() {
  listeners_.clear();
  dials_.clear();
  DestroyConnections();
}

void Net::DestroyConnections() {
  while (!connections_.empty()) {
    // Its destruction may touch others (a relay's other end), so it leaves the table first.
    auto entry = std::move(connections_.begin()->second);
    connections_.erase(connections_.begin());
  }
  links_ = 0;
}

void Net::SetClientTls(std::unique_ptr<ClientTls> tls) { client_tls_ = std::move(tls); }
void Net::SetPeerTls(std::unique_ptr<PeerTls> tls) { peer_tls_ = std::move(tls); }

absl::Status Net::ReloadCertificates() {
  if (client_tls_ == nullptr) return absl::OkStatus();
  absl::Status status = client_tls_->Reload();
  if (status.ok()) {
    journal::Log(journal::LogLevel::kInfo, "certificates_reloaded");
  } else {
    journal::Log(journal::LogLevel::kError, "certificates_not_reloaded",
                 {{"error", std::string(status.message())}, {"advice", "the old certificate stays in use"}});
  }
  return status;
}

absl::StatusOr<std::string> Net::Listen(ListenOptions options, SessionFactory make) {
  if (options.tls == ListenTls::kImplicit && client_tls_ == nullptr) {
    return absl::FailedPreconditionError(options.name + ": no certificate for TLS");
  }
  return AddListener(std::move(options), std::move(make), /*peer=*/false);
}

absl::StatusOr<std::string> Net::ListenPeer(std::string address, LinkHandlers handlers, size_t unproven_max) {
  if (peer_tls_ == nullptr) return absl::FailedPreconditionError("link: no key");
  link_ = std::move(handlers);
  ListenOptions options;
  options.name = "link";
  options.address = std::move(address);
  options.tls = ListenTls::kImplicit;
  // Who has shown the peer's key does not count: proxied clients all come from one address.
  options.connections_max = unproven_max;
  options.connections_per_address_max = unproven_max / 16;
  return AddListener(
      std::move(options), [this](Connection& connection) { return MakePeerSession(connection); }, /*peer=*/true);
}

absl::StatusOr<std::string> Net::AddListener(ListenOptions options, SessionFactory make, bool peer) {
  const bool is_unix = options.address.starts_with("unix:");
  const absl::StatusOr<int> fd =
      is_unix ? BindUnix(options.address.substr(5), options.unix_mode) : BindTcp(options.address);
  if (!fd.ok()) return fd.status();
  std::string bound = is_unix ? options.address : BoundAddress(*fd);
  journal::Log(journal::LogLevel::kInfo, "listening", {{"listener", options.name}, {"address", bound}});
  listeners_.push_back(std::make_unique<Listener>(*this, *fd, std::move(options), std::move(make), peer));
  return bound;
}

std::string Net::NextSessionId() { return journal::HexU64(++next_session_).substr(4); }

SocketConnection* Net::Add(int fd, SocketConnection::Options options, Listener* listener) {
  options.session_id = NextSessionId();
  auto connection = std::make_unique<SocketConnection>(loop_, *this, fd, std::move(options));
  SocketConnection* const added = connection.get();
  connections_[added] = {.connection = std::move(connection), .listener = listener};
  return added;
}

void Net::Accepted(Listener& listener, int fd, SocketConnection::Options options) {
  const ListenOptions& limits = listener.options;
  const bool implicit = limits.tls == ListenTls::kImplicit;
  options.tls_available = limits.tls == ListenTls::kStartTls && client_tls_ != nullptr;
  size_t& connections = options.loopback ? listener.own : listener.strangers;
  const bool full = connections >= limits.connections_max;
  if (full || (!options.loopback && !listener.TakePlace(options.peer_address))) {
    journal::Log(journal::LogLevel::kWarning, "connection_refused",
                 {{"listener", limits.name},
                  {"peer", options.peer_address},
                  {"reason", full ? "too many connections" : "too many connections from this address"}});
    // One short line fits any fresh socket's buffer; nothing of it is kept.
    if (!implicit && !limits.goodbye.empty()) {
      send(fd, limits.goodbye.data(), limits.goodbye.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    close(fd);
    return;
  }
  ++connections;
  SocketConnection* const connection = Add(fd, std::move(options), &listener);
  connections_[connection].takes_place = true;
  if (listener.peer) {
    std::vector<std::string> alpns;
    if (link_.make_link) alpns.push_back(kAlpnLink);
    if (link_.make_proxied) alpns.push_back(kAlpnProxy);
    if (link_.make_pairing) alpns.push_back(kAlpnPair);
    connection->StartWithTls(peer_tls_->NewServerSession(std::move(alpns)), SocketConnection::kHandshakeMs,
                             listener.make, nullptr);
  } else if (implicit) {
    connection->StartWithTls(client_tls_->NewServerSession(), SocketConnection::kHandshakeMs, listener.make, nullptr);
  } else {
    connection->Start(listener.make);
  }
}

std::unique_ptr<ProtocolSession> Net::MakePeerSession(Connection& connection) {
  auto& socket = static_cast<SocketConnection&>(connection);  // this listener makes no others
  const std::string alpn = socket.alpn();
  if (alpn != kAlpnPair) LeavePlace(connections_.find(&socket)->second);
  if (alpn == kAlpnLink && link_.make_link) {
    NoteLink(connection);
    return link_.make_link(connection);
  }
  if (alpn == kAlpnPair && link_.make_pairing) return link_.make_pairing(socket);
  if (alpn != kAlpnProxy) return nullptr;
  ProxyTable::Trim(&proxied_->homed, [](const auto& each) { return each.second.expired(); });
  proxied_->homed.emplace_back(&socket, socket.alive());
  return MakeProxyAcceptor(connection, link_);
}

void Net::OnDone(SocketConnection* connection) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return;
  Entry entry = std::move(found->second);
  connections_.erase(found);
  if (entry.is_link && --links_ == 0) CloseProxied();
  LeavePlace(entry);
}

void Net::LeavePlace(Entry& entry) {
  if (entry.listener == nullptr || !std::exchange(entry.takes_place, false)) return;
  if (entry.connection->loopback()) {
    --entry.listener->own;
  } else {
    --entry.listener->strangers;
    entry.listener->LeavePlace(entry.connection->peer_address());
  }
}

SslPtr Net::NewClientFacingTls() { return client_tls_ == nullptr ? nullptr : client_tls_->NewServerSession(); }

void Net::ForgetDial(Dial* dial) {
  std::erase_if(dials_, [dial](const auto& each) { return each.get() == dial; });
}

void Net::NoteLink(Connection& connection) {
  const auto found = connections_.find(static_cast<SocketConnection*>(&connection));
  if (found == connections_.end()) return;
  found->second.is_link = true;
  ++links_;
}

void Net::DialPeer(const std::string& address, const std::string& alpn, uint64_t timeout_ms, SessionFactory make,
                   std::function<void(absl::Status)> failed) {
  if (peer_tls_ == nullptr) {
    return loop_.Post([failed = std::move(failed)] { failed(absl::FailedPreconditionError("this node has no key")); });
  }
  if (alpn == kAlpnLink) {
    make = [this, make = std::move(make)](Connection& connection) {
      NoteLink(connection);
      return make(connection);
    };
  }
  dials_.push_back(std::make_unique<Dial>(
      *this, address, timeout_ms,
      [this, address, alpn, make = std::move(make), failed](int fd, uint64_t left_ms) mutable {
        Dialled(fd, address, alpn, left_ms, std::move(make), std::move(failed));
      },
      failed));
}

void Net::Dialled(int fd, const std::string& address, const std::string& alpn, uint64_t timeout_ms, SessionFactory make,
                  std::function<void(absl::Status)> failed) {
  SocketConnection::Options options;
  options.peer_address = address;
  options.listener = "dialled " + alpn;
  SocketConnection* const connection = Add(fd, std::move(options), nullptr);
  connection->StartWithTls(peer_tls_->NewClientSession(alpn), timeout_ms, std::move(make), std::move(failed));
}

void Net::DialPeerForPairing(const std::string& address, uint64_t timeout_ms, LinkHandlers::MakePairing make,
                             std::function<void(absl::Status)> failed) {
  DialPeer(
      address, kAlpnPair, timeout_ms,
      [make = std::move(make)](Connection& connection) { return make(static_cast<SocketConnection&>(connection)); },
      std::move(failed));
}

void Net::ProxyToHome(SocketConnection& connection, ProxyHello hello, std::string already_received,
                      std::function<void(absl::Status)> then) {
  const std::string address = peer_address_ && peer_tls_ != nullptr ? peer_address_() : "";
  DialHome dial;
  if (!address.empty()) {
    dial = [this, address](SessionFactory make, std::function<void(absl::Status)> failed) {
      DialPeer(address, kAlpnProxy, kProxyDialMs, std::move(make), std::move(failed));
    };
  }
  ProxyTable::Trim(&proxied_->arrived, [](const auto& each) { return each.expired(); });
  proxied_->arrived.push_back(
      StartProxyRelay(loop_, connection, std::move(hello), std::move(already_received), std::move(then), dial));
}

void Net::CloseProxied() {
  for (const auto& each : std::exchange(proxied_->arrived, {})) {
    if (const auto relay = each.lock()) EndProxyRelay(*relay);
  }
  for (const auto& [connection, alive] : std::exchange(proxied_->homed, {})) {
    if (!alive.expired()) connection->Abort();
  }
}

void Net::StopListening() {
  for (auto& [connection, entry] : connections_) entry.listener = nullptr;
  listeners_.clear();
}

void Net::Shutdown() {
  StopListening();
  std::vector<std::pair<SocketConnection*, std::weak_ptr<char>>> all;
  for (const auto& [connection, entry] : connections_) {
    if (!entry.is_link) all.emplace_back(connection, connection->alive());
  }
  for (const auto& [connection, alive] : all) {
    if (!alive.expired()) connection->Shutdown();
  }
}

void Net::CloseAll() {
  StopListening();
  dials_.clear();
  for (const auto& [connection, entry] : connections_) connection->Abort();
  DestroyConnections();
}

}  // namespace gemel::engine
