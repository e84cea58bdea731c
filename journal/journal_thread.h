// Drives a Journal's commits on a thread of its own: group commit without added delay, as whatever is appended while
// one sync is in flight goes into the next.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/journal.h"

namespace gemel::journal {

class JournalThread {
 public:
  // Called on the journal's thread, one call at a time, in journal order:
  //   ok                 what became durable (never nothing, unless frames were rejected)
  //   ResourceExhausted  the disk is full; nothing is lost, it is tried again by itself; said once a second at most
  //   any other error    final: nothing more will be written, and nothing unacknowledged may be acknowledged
  using Callback =
      std::function<void(absl::StatusOr<std::vector<Committed>> committed, std::vector<absl::Status> rejected)>;

  // `journal` must outlive this; nobody else may call its CommitOnce or SetWake.
  JournalThread(Journal& journal, Callback callback);
  ~JournalThread();  // Stop
  JournalThread(const JournalThread&) = delete;
  JournalThread& operator=(const JournalThread&) = delete;

  // Commits what is queued, then ends the thread; what cannot be committed (full disk) is given up. Not from the
  // callback. A second call does nothing.
  void Stop();
  // Since when the commit that is under way has been running, as SystemClock().BootMillis(); 0: none is. A disk that
  // stands still shows here.
  uint64_t busy_since_boot_ms() const { return busy_since_boot_ms_; }

 private:
  void Run();

  Journal& journal_;
  const Callback callback_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool queued_ = false;    // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::atomic<uint64_t> busy_since_boot_ms_{0};
  std::thread thread_;
};

}  // namespace gemel::journal
