// Workers on threads.
#pragma once
#include <memory>
#include <vector>

#include "engine/workers.h"

namespace gemel::engine {

// One thread a lane, two for kPasswords. Destruction runs what is queued, then joins; nothing may be posted from
// outside any more by then (jobs may).
class ThreadWorkers : public Workers {
 public:
  ThreadWorkers();
  ~ThreadWorkers() override;
  void Post(Lane lane, std::function<void()> job) override;

 private:
  struct Queue;
  std::vector<std::unique_ptr<Queue>> queues_;  // by lane
};

}  // namespace gemel::engine
