// Ctrl-C, kill and a closed terminal, for a command that has something to clean up.
#pragma once
#include <cstdint>

#include "absl/status/status.h"

namespace gemel::programs {

// Blocks SIGINT, SIGTERM and SIGHUP: to be made before any thread or child, for all of which that holds. Threads: any.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool came() const { return WaitMs(0); }  // and it stays so
  // Waits for it: true as soon as it has come.
  bool WaitMs(uint64_t milliseconds) const;
  int fd() const { return fd_; }  // readable when it has come, for poll(2) beside others

 private:
  int fd_ = -1;
};

// What is returned when it came in the middle.
absl::Status Interrupted();

}  // namespace gemel::programs
