// The event loop, passed in: the network's in production (engine/net), a queue in tests and in the simulator.
//
// Everything of the engine and of the protocol sessions runs on one loop, one step after the other; a step must not
// block. What blocks (the journal's sync, Maildir, password hashes) has threads of its own that Post their results.
#pragma once
#include <cstdint>
#include <functional>

namespace gemel::engine {

using TimerId = uint64_t;  // 0: none

class Loop {
 public:
  virtual ~Loop() = default;
  virtual void Post(std::function<void()> step) = 0;  // from any thread; steps run in the order of posting
  // From the loop only. Runs once, unless cancelled before.
  virtual TimerId After(uint64_t milliseconds, std::function<void()> step) = 0;
  virtual void Cancel(TimerId timer) = 0;  // unknown or past timers are fine
};

}  // namespace gemel::engine
