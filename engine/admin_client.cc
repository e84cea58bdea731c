#include "engine/admin_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstring>

#include "engine/admin_http.h"
#include "fmt/format.h"

namespace gemel::engine {
namespace {

constexpr size_t kAnswerBytesMax = 256u << 20;  // digests and accounts of a large site

struct Socket {
  int fd = -1;
  ~Socket() {
    if (fd >= 0) close(fd);
  }
};

absl::Status Failed(const std::string& path, const char* what) {
  const std::string text = fmt::format("{}: {}: {}", path, what, strerror(errno));
  if (errno == EACCES || errno == EPERM) {
    return absl::PermissionDeniedError(text + " (run as root or as the user gemeld runs as)");
  }
  if (errno == ENOENT || errno == ECONNREFUSED) return absl::UnavailableError(text + " (is gemeld running?)");
  return absl::UnavailableError(text);
}

absl::Status StatusOfAnswer(const AdminResponse& response) {
  std::string text = fmt::format("gemeld answered {}", response.status);
  boost::system::error_code error;
  const auto value = boost::json::parse(response.body, error);
  if (!error && value.is_object()) {
    if (const auto* why = value.get_object().if_contains("error"); why && why->is_string()) text = why->get_string();
  }
  switch (response.status) {
    case 400:
      return absl::InvalidArgumentError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    case 404:
      return absl::NotFoundError(text);
    case 409:
      return absl::FailedPreconditionError(text);
    case 503:
      return absl::UnavailableError(text);
    default:
      return absl::InternalError(text);
  }
}

}  // namespace

absl::StatusOr<std::string> AdminCall(const std::string& socket_path, const std::string& method,
                                      const std::string& target, const std::string& body, uint64_t timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return absl::InvalidArgumentError(
        fmt::format("{}: too long for a Unix socket (at most {} bytes)", socket_path, sizeof address.sun_path - 1));
  }
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  Socket socket{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (socket.fd < 0) return Failed(socket_path, "socket");
  timeval timeout{};
  timeout.tv_sec = static_cast<time_t>(timeout_ms / 1000);
  timeout.tv_usec = static_cast<suseconds_t>(timeout_ms % 1000 * 1000);
  setsockopt(socket.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(socket.fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  if (connect(socket.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Failed(socket_path, "connect");
  }
  const std::string request = EncodeAdminRequest({method, target, body});
  for (size_t sent = 0; sent < request.size();) {
    const ssize_t n = send(socket.fd, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(socket_path, "send");
    sent += static_cast<size_t>(n);
  }
  AdminParser<AdminResponse> parser(kAnswerBytesMax);
  char buffer[64 * 1024];
  for (;;) {
    const ssize_t n = recv(socket.fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(socket_path, "receive");
    if (n == 0) return absl::UnavailableError(socket_path + ": gemeld closed the connection without an answer");
    std::string_view bytes(buffer, static_cast<size_t>(n));
    const auto complete = parser.Feed(&bytes);
    if (!complete.ok()) return complete.status();
    if (!*complete) continue;
    AdminResponse response = parser.Get();
    if (response.status == 200) return std::move(response.body);
    return StatusOfAnswer(response);
  }
}

}  // namespace gemel::engine
