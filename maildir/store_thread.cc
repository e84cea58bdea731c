#include "maildir/store_thread.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace gemel::maildir {

using Clock = std::chrono::steady_clock;

StoreThread::StoreThread(Store& store, StoreThreadOptions options) : store_(store), options_(std::move(options)) {
  thread_ = std::thread([this] { Run(); });
}

StoreThread::~StoreThread() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StoreThread::Wake() {
  {
    const std::lock_guard lock(mutex_);
    if (woken_) return;  // it has not looked yet: no second wake-up
    woken_ = true;
  }
  wake_.notify_one();
}

void StoreThread::RequestCheckpoint() {
  {
    const std::lock_guard lock(mutex_);
    checkpoint_wanted_ = true;
  }
  wake_.notify_one();
}

absl::StatusOr<CheckpointInfo> StoreThread::Stop() {
  if (!thread_.joinable()) return absl::FailedPreconditionError("the store's thread has ended");
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  while (true) {
    const auto worked = store_.RunOnce(options_.items_at_once);
    if (!worked.ok()) return worked.status();
    if (!*worked) break;
  }
  return store_.Checkpoint();
}

bool StoreThread::Report(const absl::Status& status) {
  if (!status.ok() && options_.on_error) options_.on_error(status);
  return status.ok();
}

void StoreThread::Sleep(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  const auto something = [this] { return woken_ || checkpoint_wanted_ || stop_; };
  if (until == Clock::time_point::max()) {
    wake_.wait(lock, something);
  } else {
    wake_.wait_until(lock, until, something);
  }
}

void StoreThread::Run() {
  const auto interval = std::chrono::milliseconds(options_.checkpoint_interval_ms);
  const auto next = [&] {
    return options_.checkpoint_interval_ms == 0 ? Clock::time_point::max() : Clock::now() + interval;
  };
  auto checkpoint_at = next();
  bool dirty = true;  // worked something off since the last checkpoint
  while (true) {
    bool checkpoint = false;
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
      woken_ = false;
      checkpoint = std::exchange(checkpoint_wanted_, false);
    }
    checkpoint = checkpoint || Clock::now() >= checkpoint_at;
    const auto worked = store_.RunOnce(options_.items_at_once);
    bool good = Report(worked.status());
    if (good && *worked) {
      dirty = true;
      if (options_.on_progress) options_.on_progress();
    }
    if (checkpoint) {
      // Also when nothing was worked off, where it was asked for: the position may be wanted.
      const bool due = Clock::now() >= checkpoint_at;
      if (dirty || !due) {
        const auto info = store_.Checkpoint();
        good = Report(info.status()) && good;
        if (info.ok()) {
          dirty = false;
          if (options_.on_checkpoint) options_.on_checkpoint(*info);
        }
      }
      checkpoint_at = next();
    }
    if (!good) {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, std::chrono::milliseconds(options_.retry_ms), [this] { return stop_; });
      continue;
    }
    if (!*worked) Sleep(checkpoint_at);
  }
}

}  // namespace gemel::maildir
