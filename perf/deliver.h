// Delivery over LMTP (RFC 2033) or SMTP (RFC 5321) from one epoll thread.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "perf/report.h"
#include "perf/socket.h"

namespace gemel::perf {

enum class Protocol { kLmtp, kSmtp };

struct DeliverOptions {
  Address server;
  Protocol protocol = Protocol::kLmtp;
  int connections = 16;
  size_t size_bytes = 4096;
  // Ends at whichever comes first; 0 means no such end. A letter that is under way is always finished.
  uint64_t count = 0;
  double seconds = 0;
  std::string sender = "load@example.org";
  // %d is the number of the account, 0 to accounts - 1. Letters go to the accounts in turn.
  std::string recipients = "user%d@example.test";
  int accounts = 100;
  int recipients_per_message = 1;
  // MAIL, RCPT and DATA in one packet (RFC 2920): two round trips a letter instead of four.
  bool pipeline = false;
  uint64_t seed = 1;
  bool progress = true;
};

struct DeliverResult {
  uint64_t accepted_messages = 0;            // every reply after the final dot was 2xx
  uint64_t accepted_recipients = 0;          // 2xx replies after the final dot; over SMTP counted per recipient
  uint64_t refused_messages = 0;             // some reply was 4xx or 5xx
  uint64_t unknown_messages = 0;             // the connection ended before the last reply
  std::map<std::string, uint64_t> refusals;  // by reply line
  double seconds = 0;                        // from the first MAIL to the last reply
  Samples latency_seconds;                   // from MAIL to the last reply after the dot
  Clock::time_point started;                 // the first MAIL
};

// Unavailable: the server could not be reached, or its greeting was not 220. Refusals and broken connections during the
// run are no error: they are counted.
absl::StatusOr<DeliverResult> Deliver(const DeliverOptions& options);

// `pattern` with %d replaced by `number`.
std::string ForAccount(const std::string& pattern, uint64_t number);

}  // namespace gemel::perf
