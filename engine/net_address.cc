#include "engine/net_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"

namespace gemel::engine {
namespace {

constexpr int kBacklog = 512;

struct HostAndPort {
  std::string host, port;
};
std::optional<HostAndPort> SplitAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size()) return std::nullopt;
  HostAndPort split{address.substr(0, colon), address.substr(colon + 1)};
  if (split.host.size() >= 2 && split.host.front() == '[' && split.host.back() == ']') {
    split.host = split.host.substr(1, split.host.size() - 2);
  } else if (split.host.find(':') != std::string::npos) {
    return std::nullopt;  // IPv6 wants brackets
  }
  return split;
}

absl::Status BindError(const std::string& address, int error) {
  const std::string what = absl::StrCat("cannot listen on ", address, ": ", strerror(error));
  switch (error) {
    case EADDRNOTAVAIL:
      return absl::FailedPreconditionError(what + "; this host has no such address");
    case EAFNOSUPPORT:
      return absl::FailedPreconditionError(what + "; IPv6 is off on this host");
    case EADDRINUSE:
      return absl::UnavailableError(what + "; `ss -ltnp` names the process that has it");
    case EACCES:
      return absl::UnavailableError(what +
                                    "; ports below 1024 need CAP_NET_BIND_SERVICE, which the systemd unit gives");
    default:
      return absl::UnavailableError(what);
  }
}

}  // namespace

absl::Status SocketError(const std::string& what, int error) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(error)));
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const std::string& address, bool passive, bool numeric_only) {
  const auto split = SplitAddress(address);
  if (!split) {
    return absl::InvalidArgumentError(absl::StrCat("not an address: \"", address, "\" (host:port or [IPv6]:port)"));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) | (numeric_only ? AI_NUMERICHOST : 0);
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(split->host.empty() ? nullptr : split->host.c_str(), split->port.c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(absl::StrCat(address, ": ", gai_strerror(error)));
  std::vector<SocketAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    SocketAddress one;
    std::memcpy(&one.storage, each->ai_addr, each->ai_addrlen);
    one.bytes = each->ai_addrlen;
    addresses.push_back(one);
  }
  freeaddrinfo(found);
  return addresses;
}

std::string HostText(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.family() == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr, text, sizeof text);
  } else if (address.family() == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr, text, sizeof text);
    if (std::string_view(text).starts_with("::ffff:") && std::strchr(text, '.') != nullptr) return text + 7;
  }
  return text;
}

std::string NetworkOf(const std::string& host_text) {
  in6_addr address;
  if (inet_pton(AF_INET6, host_text.c_str(), &address) != 1) return host_text;
  std::memset(address.s6_addr + 8, 0, 8);
  char text[INET6_ADDRSTRLEN];
  return absl::StrCat(inet_ntop(AF_INET6, &address, text, sizeof text), "/64");
}

std::string BoundAddress(int fd) {
  SocketAddress address;
  address.bytes = sizeof address.storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes);
  if (address.family() == AF_INET6) {
    return absl::StrCat("[", HostText(address),
                        "]:", ntohs(reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_port));
  }
  return absl::StrCat(HostText(address), ":", ntohs(reinterpret_cast<const sockaddr_in*>(address.get())->sin_port));
}

void SetSocketFlag(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

void SetPeerSocketOptions(int fd) {
  SetSocketFlag(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetSocketFlag(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetSocketFlag(fd, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  SetSocketFlag(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetSocketFlag(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  SetSocketFlag(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 20'000);
}

absl::StatusOr<int> BindTcp(const std::string& address) {
  const bool any = address.starts_with("*:");
  auto addresses = Resolve(any ? "[::]" + address.substr(1) : address, /*passive=*/true, /*numeric_only=*/any);
  if (!addresses.ok()) return addresses.status();
  if (any) {
    // A host without IPv6 gets IPv4.
    auto ipv4 = Resolve("0.0.0.0" + address.substr(1), /*passive=*/true, /*numeric_only=*/true);
    if (ipv4.ok()) addresses->insert(addresses->end(), ipv4->begin(), ipv4->end());
  }
  int error = EADDRNOTAVAIL;
  for (const SocketAddress& each : *addresses) {
    const int fd = socket(each.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      error = errno;
      continue;
    }
    SetSocketFlag(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (each.family() == AF_INET6) SetSocketFlag(fd, IPPROTO_IPV6, IPV6_V6ONLY, any ? 0 : 1);
    if (bind(fd, each.get(), each.bytes) == 0 && listen(fd, kBacklog) == 0) return fd;
    error = errno;
    close(fd);
    if (error == EADDRINUSE) break;
  }
  return BindError(address, error);
}

absl::StatusOr<int> BindUnix(const std::string& path, unsigned mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError("the socket's path must be 1 to 107 bytes long: " + path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return SocketError("cannot make a socket", errno);
  struct stat info;
  if (lstat(path.c_str(), &info) == 0) {
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const bool refused =
        connect(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
    close(probe);
    if (!S_ISSOCK(info.st_mode) || !refused) {
      close(fd);
      return absl::AlreadyExistsError("cannot listen on " + path + ": it is there already, and " +
                                      (S_ISSOCK(info.st_mode) ? "another process serves it" : "not a socket"));
    }
    unlink(path.c_str());
  }
  // Never open wider than asked for, not even for a moment: bound under an inaccessible mode, then opened.
  const mode_t mask = umask(0777);
  const int bound = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(mask);
  if (bound != 0 || chmod(path.c_str(), mode) != 0 || listen(fd, kBacklog) != 0) {
    close(fd);
    return SocketError("cannot listen on " + path, bound != 0 ? error : errno);
  }
  return fd;
}

std::optional<unsigned> PeerUid(int fd) {
  ucred credentials{};
  socklen_t bytes = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return std::nullopt;
  return credentials.uid;
}

}  // namespace gemel::engine
