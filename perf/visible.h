// Waiting until mail can be read: the other half of "accepted".
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "perf/imap_client.h"
#include "perf/report.h"
#include "perf/socket.h"

namespace gemel::perf {

// An open IMAP connection for each account of a server, which counts the messages of their INBOXes by STATUS.
// Not thread-safe.
class Inboxes {
 public:
  // Logs in to every account. `users` is a pattern with %d.
  static absl::StatusOr<std::unique_ptr<Inboxes>> Open(const Address& server, const std::string& users, int accounts,
                                                       const std::string& password);

  // The sum over all accounts, now.
  absl::StatusOr<uint64_t> Count();

  // Counts again and again until there are `total`, and says how long that took in seconds, from `since`. Between two
  // counts it pauses for at least twice the time of a count, so that watching takes at most a third of a core.
  // DeadlineExceeded after `seconds_max`. More than `total` is an error too: FailedPrecondition.
  absl::StatusOr<double> WaitFor(uint64_t total, Clock::time_point since, double seconds_max, Progress& progress);

 private:
  std::vector<std::unique_ptr<ImapClient>> clients_;
};

}  // namespace gemel::perf
