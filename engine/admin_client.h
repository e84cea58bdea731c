// gemel(1)'s side of the admin surface (engine/admin_server.h). Blocking; not for the daemon's loop.
#pragma once
#include <string>

#include "absl/status/statusor.h"

namespace gemel::engine {

// The answer's body. Unavailable: gemeld does not run or does not answer within `timeout_ms`. PermissionDenied: the
// socket is not ours to use. Otherwise the code that the daemon's answer stands for.
absl::StatusOr<std::string> AdminCall(const std::string& socket_path, const std::string& method,
                                      const std::string& target, const std::string& body = "",
                                      uint64_t timeout_ms = 60'000);

}  // namespace gemel::engine
