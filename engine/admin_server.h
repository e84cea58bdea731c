// The admin surface: HTTP/1.1 with JSON over a Unix socket, for gemel(1) and for scripts (curl --unix-socket).
//
//   GET  /status                                 NodeStatus (engine/status.h)
//   GET  /accounts                               [{"name", "id", "home_place", "home_here", "enabled"}]
//   POST /accounts/add           {"name", "password_hash", "home"?: 0|1}
//   POST /accounts/set-password  {"name", "password_hash"}
//   POST /accounts/enable        {"name", "enabled"}
//   GET  /domains                                [{"domain", "alias_of"}]
//   POST /domains/set            {"domain", "exists", "alias_of"?}
//   GET  /aliases                                [{"address", "targets"}]
//   POST /aliases/set            {"address", "targets"}        no targets: the alias goes
//   POST /home/set               {"name", "place"}
//   GET  /digests                                {account: digest}
//   POST /pair/token                             {"token", "address"}: opens this node for one `gemel pair`
//
// A change answers 200 {} when it is as durable as an acknowledgement. An error answers {"error": text} with 400
// InvalidArgument, 403 PermissionDenied, 404 NotFound, 409 AlreadyExists or FailedPrecondition, 503 Unavailable or
// ResourceExhausted, 500 anything else. Hashes, never passwords, come this way: gemel(1) hashes.
//
// Threads: the loop. Who may connect is the listener's business: root and the daemon's own user, by the socket's mode
// (0600) and by the kernel's word for who connects. Others are answered with AdminRefusal() and logged.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/connection.h"
#include "engine/node.h"

namespace gemel::engine {

inline constexpr size_t kAdminRequestBytesMax = 1 << 20;

// What the admin surface asks of the daemon around the node.
struct AdminHooks {
  struct PairingToken {
    std::string token;
    std::string address;  // that the second node is to dial
  };
  std::function<absl::StatusOr<PairingToken>()> new_pairing_token;
};

// The answer to a user who may not: 403, as a whole response.
std::string AdminRefusal();

// One connection. `node`, `hooks` and `connection` must outlive it.
std::unique_ptr<ProtocolSession> MakeAdminSession(Node& node, const AdminHooks& hooks, Connection& connection);

}  // namespace gemel::engine
