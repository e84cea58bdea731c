#include "journal/journal_thread.h"

#include <pthread.h>

#include <chrono>
#include <utility>

namespace gemel::journal {

JournalThread::JournalThread(Journal& journal, Callback callback) : journal_(journal), callback_(std::move(callback)) {
  journal_.SetWake([this] {
    std::lock_guard lock(mutex_);
    if (std::exchange(queued_, true)) return;  // the thread knows already: no second wake-up
    changed_.notify_one();
  });
  queued_ = journal_.pending_bytes() > 0;
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "journal");
    Run();
  });
}

JournalThread::~JournalThread() { Stop(); }

void JournalThread::Stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  thread_.join();
  journal_.SetWake(nullptr);
}

void JournalThread::Run() {
  using SteadyClock = std::chrono::steady_clock;
  constexpr auto kRetry = std::chrono::seconds(1);
  SteadyClock::time_point full_said = SteadyClock::now() - kRetry;
  bool full = false;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      const auto poked = [this] { return queued_ || stopping_; };
      if (full) {
        changed_.wait_for(lock, kRetry, poked);
      } else {
        changed_.wait(lock, poked);
      }
      if (stopping_ && !queued_) return;
      queued_ = false;
    }
    // One commit may leave a rest: it is bounded.
    while (true) {
      std::vector<absl::Status> rejected;
      busy_since_boot_ms_ = SystemClock().BootMillis();
      absl::StatusOr<std::vector<Committed>> committed = journal_.CommitOnce(&rejected);
      busy_since_boot_ms_ = 0;
      full = absl::IsResourceExhausted(committed.status());
      if (full) {
        const auto now = SteadyClock::now();
        if (now - full_said >= kRetry || !rejected.empty()) {
          full_said = now;
          callback_(committed.status(), std::move(rejected));
        }
        break;
      }
      if (!committed.ok()) {
        callback_(committed.status(), std::move(rejected));
        return;
      }
      const bool nothing = committed->empty();
      if (!nothing || !rejected.empty()) callback_(std::move(committed), std::move(rejected));
      if (nothing) break;
    }
    if (full) {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
  }
}

}  // namespace gemel::journal
