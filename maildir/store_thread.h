// Works a Store off on its own thread: when woken, and a checkpoint at every interval and on request.
//
//   StoreThread thread(*store, {.on_checkpoint = ..., .on_error = ...});
//   store->Enqueue(...); thread.Wake();
//
// Threads: Wake and RequestCheckpoint may be called by any; the callbacks run on the store's thread and must not wait
// for it.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "maildir/store.h"

namespace gemel::maildir {

struct StoreThreadOptions {
  uint64_t checkpoint_interval_ms = 5000;  // 0: only on request
  uint64_t retry_ms = 500;                 // after an error, a full disk say
  size_t items_at_once = 64;
  std::function<void(const CheckpointInfo&)> on_checkpoint = {};
  std::function<void(const absl::Status&)> on_error = {};  // of RunOnce or Checkpoint; it is tried again
  std::function<void()> on_progress = {};  // something was worked off: back-pressure may end
};

class StoreThread {
 public:
  // `store` must outlive it.
  StoreThread(Store& store, StoreThreadOptions options);
  // As Stop, without a checkpoint.
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  void Wake();                // something was enqueued
  void RequestCheckpoint();  // on_checkpoint tells when it is written
  // Works off all that is queued, writes a checkpoint, and ends the thread. The first error ends it too: what is left
  // comes again from the journal. Later calls return FailedPrecondition.
  absl::StatusOr<CheckpointInfo> Stop();

 private:
  void Run();
  // Until `until`, or until there is something to do.
  void Sleep(std::chrono::steady_clock::time_point until);
  bool Report(const absl::Status& status);  // true: OK

  Store& store_;
  const StoreThreadOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = true;  // what was enqueued before the thread began
  bool checkpoint_wanted_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace gemel::maildir
