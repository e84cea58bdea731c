// Addresses as they are written in the configuration, and the sockets made of them. Blocking where said.
// Threads: any; nothing is shared.
#pragma once
#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::engine {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Unavailable, with what errno `error` says.
absl::Status SocketError(const std::string& what, int error);

// "host:port", "[::1]:port". Asks name servers, and may block for long, unless `numeric_only`. InvalidArgument: no
// address. Unavailable: no such host.
absl::StatusOr<std::vector<SocketAddress>> Resolve(const std::string& address, bool passive, bool numeric_only);

// Whose connections are counted together: an IPv4 address, or the /64 of an IPv6 address, which one client may have all
// of.
std::string NetworkOf(const std::string& host_text);

// Without port; an IPv4 client of an IPv6 socket looks like one of an IPv4 socket.
std::string HostText(const SocketAddress& address);
std::string BoundAddress(int fd);  // "host:port", with the port that the kernel gave

void SetSocketFlag(int fd, int level, int option, int value);
// A peer that vanished without a word is noticed within about 20 s; its heartbeats notice it sooner.
void SetPeerSocketOptions(int fd);

// Listening sockets, not blocking. "*:port" is IPv6 and IPv4. FailedPrecondition: this host has no such address, or
// nothing of its family (IPv6 is off). Unavailable: taken, or not permitted.
absl::StatusOr<int> BindTcp(const std::string& address);
// A stale socket file is replaced. AlreadyExists: another process serves it, or it is no socket.
absl::StatusOr<int> BindUnix(const std::string& path, unsigned mode);
// Who connected, by the kernel's word (unix(7), SO_PEERCRED). nullopt: not a Unix socket.
std::optional<unsigned> PeerUid(int fd);

}  // namespace gemel::engine
