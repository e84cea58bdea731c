#include "engine/net_workers.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include <pthread.h>

namespace gemel::engine {

struct ThreadWorkers::Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> jobs;  // guarded by mutex
  bool ending = false;                     // guarded by mutex
  std::vector<std::thread> threads;

  void Work() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return ending || !jobs.empty(); });
      if (jobs.empty()) return;
      {
        std::function<void()> job = std::move(jobs.front());
        jobs.pop_front();
        lock.unlock();
        job();
      }
      lock.lock();
    }
  }
};

ThreadWorkers::ThreadWorkers() {
  static constexpr const char* kNames[kLanes] = {"gemel-journal", "gemel-store", "gemel-recovery", "gemel-password"};
  for (int lane = 0; lane < kLanes; ++lane) {
    queues_.push_back(std::make_unique<Queue>());
    Queue* queue = queues_.back().get();
    const int threads = static_cast<Lane>(lane) == Lane::kPasswords ? 2 : 1;
    for (int i = 0; i < threads; ++i) {
      queue->threads.emplace_back([queue] { queue->Work(); });
      pthread_setname_np(queue->threads.back().native_handle(), kNames[lane]);
    }
  }
}

ThreadWorkers::~ThreadWorkers() {
  for (auto& queue : queues_) {
    {
      std::lock_guard lock(queue->mutex);
      queue->ending = true;
    }
    queue->changed.notify_all();
    for (std::thread& thread : queue->threads) thread.join();
  }
}

void ThreadWorkers::Post(Lane lane, std::function<void()> job) {
  Queue& queue = *queues_[static_cast<size_t>(lane)];
  {
    std::lock_guard lock(queue.mutex);
    queue.jobs.push_back(std::move(job));
  }
  queue.changed.notify_one();
}

}  // namespace gemel::engine
