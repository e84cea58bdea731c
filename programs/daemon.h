// The daemon: one Node with its front ends, its listeners and its end.
#pragma once
#include "absl/status/status.h"
#include "engine/config.h"

namespace gemel::programs {

// Serves until SIGTERM or SIGINT. SIGHUP reads the certificates again. FailedPrecondition: not a node yet, or in use
// by another process. OK: ended as told, with all that was acknowledged on disk.
absl::Status RunDaemon(const engine::Config& config);

}  // namespace gemel::programs
