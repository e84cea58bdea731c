// The daemon's event loop: epoll(7), timers, and steps posted by other threads. One thread runs it; the engine, the
// protocol sessions and their sockets live on it.
//
// Order within one turn: what epoll reports, due timers, then the steps posted so far, and after *each* of these
// what it gave sockets to send is sent. So an answer never waits for the rest of the turn, and several Sends of one
// step are one system call. Posting wakes a sleeping loop once, however many steps are posted (a wake-up costs more
// than a step).
#pragma once
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "engine/loop.h"

namespace gemel::engine {

class NetLoop : public Loop {
 public:
  static constexpr size_t kReadBufferBytes = 64 * 1024;

  NetLoop();  // aborts where the kernel gives no epoll or eventfd
  // Destroy sockets and servers before. Steps never run are destroyed unrun.
  ~NetLoop() override;
  NetLoop(const NetLoop&) = delete;
  NetLoop& operator=(const NetLoop&) = delete;

  void Run();   // until Stop; may be called again
  void Stop();  // from any thread and from signal handlers' threads; the turn under way is finished
  // Turns the loop until `done` holds. False: `timeout_ms` passed first. For tools and tests, instead of Run.
  bool RunUntil(const std::function<bool()>& done, uint64_t timeout_ms);

  void Post(std::function<void()> step) override;
  TimerId After(uint64_t milliseconds, std::function<void()> step) override;
  void Cancel(TimerId timer) override;

  // ---- for sockets; from the loop only ----

  class Watcher {
   public:
    virtual ~Watcher() = default;
    virtual void OnReady(uint32_t epoll_events) = 0;
    virtual void AfterStep() {}  // asked for by CallAfterStep
  };
  bool Watch(int fd, uint32_t epoll_events, Watcher* watcher);  // level-triggered; false: see errno
  void Rewatch(int fd, uint32_t epoll_events, Watcher* watcher);
  void Unwatch(int fd, Watcher* watcher);  // no call to `watcher` follows, not even of an event already fetched
  // Calls AfterStep once when the step under way is over. Forget takes it back.
  void CallAfterStep(Watcher* watcher) { after_step_.push_back(watcher); }
  void ForgetAfterStep(Watcher* watcher);
  // Scratch for one read; its content lives until the next return to the loop.
  char* read_buffer() { return read_buffer_.get(); }
  uint64_t NowMillis() const { return now_ms_; }  // CLOCK_BOOTTIME, taken when the turn began

 private:
  void Turn(int timeout_ms_max);
  void RunTimers();
  void RunPosted();
  void RunAfterStep();
  int SleepMillis(int timeout_ms_max);
  void Wake();

  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::unique_ptr<char[]> read_buffer_;
  uint64_t now_ms_ = 0;

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // guarded by mutex_
  bool sleeping_ = false;                      // guarded by mutex_: nobody has woken the sleeper yet
  std::atomic<bool> stop_{false};

  std::vector<std::function<void()>> running_;
  std::vector<Watcher*> after_step_;
  std::vector<Watcher*> after_step_running_;
  epoll_event events_[128];
  int event_next_ = 0, event_count_ = 0;

  std::map<std::pair<uint64_t, TimerId>, std::function<void()>> timers_;  // by (due, id)
  absl::flat_hash_map<TimerId, uint64_t> timer_due_;
  TimerId last_timer_ = 0;
};

}  // namespace gemel::engine
