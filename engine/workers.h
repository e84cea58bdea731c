// Threads for what blocks, passed in: each lane is served in order by a thread of its own (passwords: by two) in
// production, and by the test's queue in tests and in the simulator.
#pragma once
#include <functional>

namespace gemel::engine {

// kRecovery: reads of the whole journal, for what is missing elsewhere.
enum class Lane { kJournal, kStore, kRecovery, kPasswords };
inline constexpr int kLanes = 4;

class Workers {
 public:
  virtual ~Workers() = default;
  virtual void Post(Lane lane, std::function<void()> job) = 0;  // from any thread
};

}  // namespace gemel::engine
