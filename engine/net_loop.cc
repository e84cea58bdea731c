#include "engine/net_loop.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace gemel::engine {
namespace {

uint64_t BootMillisNow() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

}  // namespace

NetLoop::NetLoop() : read_buffer_(new char[kReadBufferBytes]), now_ms_(BootMillisNow()) {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the wake-up
  if (epoll_fd_ < 0 || wake_fd_ < 0 || epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
    std::perror("epoll");
    std::abort();
  }
}

NetLoop::~NetLoop() {
  close(epoll_fd_);
  close(wake_fd_);
}

void NetLoop::Run() {
  while (!stop_.exchange(false)) Turn(-1);
}

void NetLoop::Stop() {
  stop_ = true;
  Wake();
}

bool NetLoop::RunUntil(const std::function<bool()>& done, uint64_t timeout_ms) {
  const uint64_t until_ms = BootMillisNow() + timeout_ms;
  while (!done()) {
    const uint64_t now_ms = BootMillisNow();
    if (now_ms >= until_ms) return false;
    Turn(static_cast<int>(std::min<uint64_t>(until_ms - now_ms, 60'000)));
  }
  return true;
}

void NetLoop::Post(std::function<void()> step) {
  bool wake = false;
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(step));
    wake = std::exchange(sleeping_, false);
  }
  if (wake) Wake();
}

void NetLoop::Wake() {
  const uint64_t one = 1;
  // A full counter wakes as well.
  [[maybe_unused]] const ssize_t ignored = write(wake_fd_, &one, sizeof one);
}

TimerId NetLoop::After(uint64_t milliseconds, std::function<void()> step) {
  const TimerId id = ++last_timer_;
  // The turn may have begun a while ago; a timer must not run early.
  const uint64_t due_ms = BootMillisNow() + milliseconds + 1;
  timers_.emplace(std::make_pair(due_ms, id), std::move(step));
  timer_due_.emplace(id, due_ms);
  return id;
}

void NetLoop::Cancel(TimerId timer) {
  const auto found = timer_due_.find(timer);
  if (found == timer_due_.end()) return;
  timers_.erase({found->second, timer});
  timer_due_.erase(found);
}

bool NetLoop::Watch(int fd, uint32_t epoll_events, Watcher* watcher) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.ptr = watcher;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void NetLoop::Rewatch(int fd, uint32_t epoll_events, Watcher* watcher) {
  epoll_event event{};
  event.events = epoll_events;
  event.data.ptr = watcher;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
}

void NetLoop::Unwatch(int fd, Watcher* watcher) {
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  for (int i = event_next_; i < event_count_; ++i) {
    if (events_[i].data.ptr == watcher) events_[i].events = 0;
  }
}

void NetLoop::ForgetAfterStep(Watcher* watcher) {
  std::erase(after_step_, watcher);
  std::replace(after_step_running_.begin(), after_step_running_.end(), watcher, static_cast<Watcher*>(nullptr));
}

int NetLoop::SleepMillis(int timeout_ms_max) {
  int timeout_ms = timeout_ms_max;
  if (!timers_.empty()) {
    const uint64_t due_ms = timers_.begin()->first.first;
    const uint64_t now_ms = BootMillisNow();
    const uint64_t wait_ms = due_ms <= now_ms ? 0 : std::min<uint64_t>(due_ms - now_ms, 60'000);
    if (timeout_ms < 0 || wait_ms < static_cast<uint64_t>(timeout_ms)) timeout_ms = static_cast<int>(wait_ms);
  }
  std::lock_guard lock(mutex_);
  if (!posted_.empty()) timeout_ms = 0;
  sleeping_ = timeout_ms != 0;
  return timeout_ms;
}

void NetLoop::Turn(int timeout_ms_max) {
  RunAfterStep();  // of what was done before the loop ran
  const int count = epoll_wait(epoll_fd_, events_, std::size(events_), SleepMillis(timeout_ms_max));
  now_ms_ = BootMillisNow();
  {
    std::lock_guard lock(mutex_);
    sleeping_ = false;
  }
  event_count_ = std::max(count, 0);  // EINTR: nothing is ready
  for (event_next_ = 0; event_next_ < event_count_;) {
    const epoll_event event = events_[event_next_++];
    if (event.data.ptr == nullptr) {
      uint64_t ignored;
      [[maybe_unused]] const ssize_t got = read(wake_fd_, &ignored, sizeof ignored);
    } else if (event.events != 0) {
      static_cast<Watcher*>(event.data.ptr)->OnReady(event.events);
      RunAfterStep();
    }
  }
  event_next_ = event_count_ = 0;
  RunTimers();
  RunPosted();
}

void NetLoop::RunTimers() {
  // Only those due now: a timer that sets itself anew must not keep the loop here.
  while (!timers_.empty() && timers_.begin()->first.first <= now_ms_) {
    auto node = timers_.extract(timers_.begin());
    timer_due_.erase(node.key().second);
    node.mapped()();
    RunAfterStep();
  }
}

void NetLoop::RunPosted() {
  {
    std::lock_guard lock(mutex_);
    running_.swap(posted_);
  }
  for (auto& step : running_) {
    step();
    step = nullptr;  // what it captured dies now, not after its neighbours
    RunAfterStep();
  }
  running_.clear();
}

void NetLoop::RunAfterStep() {
  while (!after_step_.empty()) {
    after_step_running_.swap(after_step_);
    for (size_t i = 0; i < after_step_running_.size(); ++i) {
      if (after_step_running_[i] != nullptr) after_step_running_[i]->AfterStep();
    }
    after_step_running_.clear();
  }
}

}  // namespace gemel::engine
