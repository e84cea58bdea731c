// The reading side of the load: IMAP commands timed one by one, a mix of clients, and replication lag.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "perf/report.h"
#include "perf/socket.h"

namespace gemel::perf {

struct ImapOptions {
  Address server;
  std::string user = "user0@example.test";
  std::string password = "pass";
  std::string mailbox = "INBOX";
  // Names out of ImapOperations(); all where it is empty. They run in the order of that list.
  std::vector<std::string> operations;
  int logins = 100;
  int repeats = 5;         // of each command over the whole mailbox: the first is told apart
  int single_steps = 500;  // STORE one by one, and APPEND
  bool progress = true;
};

// The names of the operations, in the order in which they run.
const std::vector<std::string>& ImapOperations();

// Runs the operations on one mailbox, which must hold letters, and gives a row for each. Appends and copies go to a
// mailbox "Bench", which is deleted first and left full.
// FailedPrecondition: the server refused a command.
absl::StatusOr<std::vector<Row>> ImapLoad(const ImapOptions& options);

struct MixOptions {
  Address server;
  std::string users = "user%d@example.test";
  int accounts = 100;
  std::string password = "pass";
  int clients = 20;
  double seconds = 10;
  uint64_t seed = 1;
  bool progress = true;
};

// Clients side by side, each in an INBOX, that draw their commands: FETCH of headers, bodies and flags, STORE, SEARCH,
// NOOP, APPEND.
absl::StatusOr<Row> ImapMix(const MixOptions& options);

enum class Watch { kPoll, kIdle };

struct LagOptions {
  Address deliver_to;  // LMTP
  Address watch_on;    // IMAP
  std::string user = "user0@example.test";
  std::string password = "pass";
  Watch watch = Watch::kPoll;
  int count = 200;
  double pause_seconds = 0.02;  // between two letters
  size_t size_bytes = 4096;
  bool progress = true;
};

// One letter at a time: from the 250 of `deliver_to` until `watch_on` shows it. A letter that shows before its 250
// counts as (nearly) 0.
absl::StatusOr<Row> Lag(const LagOptions& options);

}  // namespace gemel::perf
