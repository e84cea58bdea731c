// Tells systemd how the daemon is (sd_notify(3)), without libsystemd: a datagram to $NOTIFY_SOCKET.
#pragma once
#include <string_view>

namespace gemel::programs {

// "READY=1", "STOPPING=1", "STATUS=..." Nothing where the daemon was not started by systemd.
void NotifySystemd(std::string_view state);

}  // namespace gemel::programs
