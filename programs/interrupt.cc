#include "programs/interrupt.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace gemel::programs {

Interrupt::Interrupt() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC);
}

Interrupt::~Interrupt() { close(fd_); }

// The signal is left pending, so that the next one who asks sees it, too.
bool Interrupt::WaitMs(uint64_t milliseconds) const {
  pollfd wait{fd_, POLLIN, 0};
  return poll(&wait, 1, static_cast<int>(milliseconds)) > 0;
}

absl::Status Interrupted() { return absl::CancelledError("interrupted"); }

}  // namespace gemel::programs
