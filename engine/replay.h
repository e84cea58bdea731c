// The replay tool: a journal directory in, a Maildir tree out. It runs the engine's own rules and the live store's own
// code, so that what it writes is what a node would have (invariant 5), up to any moment that the journal reaches.
// It only reads the node's files, whether the node runs or not. Hold a JournalHold (engine/data_lock.h) beside a node
// that may be running: else a segment that it retires meanwhile is reported as damaged.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/disk.h"

namespace gemel::engine {

// Where a node keeps what its journal does not reach back to: the directory that the journal's lies in.
std::string DataDirectoryOf(std::string journal_directory);

struct ReplayOptions {
  std::string journal_directory;
  // A node's data directory, for the bases and bodies of what the journal does not reach back to. "": DataDirectoryOf
  // the journal, where that is one.
  std::string data_directory;
  std::string target;                // must not exist or be empty; gets accounts/<domain>/<local>/...
  std::string account;               // only this one; "": all
  std::optional<uint64_t> until_ms;  // only what was done up to then (hybrid time, milliseconds since 1970)
  bool dry_run = false;              // reads and applies everything, writes nothing
};

struct ReplayProgress {
  uint64_t bytes = 0, bytes_all = 0;  // of the journal: read, and to be read
  uint64_t frames = 0, records = 0, messages = 0;
};

struct ReplayReport {
  ReplayProgress done;
  uint64_t accounts = 0, mailboxes = 0, messages = 0;        // in the result
  std::vector<std::string> damaged;                          // frames that could not be read, each with its place
  std::vector<std::pair<std::string, std::string>> digests;  // account, maildir::Digest
};

// AlreadyExists: the target is not empty. NotFound: no journal there, or no such account in it. FailedPrecondition:
// the journal does not reach back far enough for `until_ms`, or not to the first start, and there are no bases.
// DataLoss never: damage is reported and skipped.
absl::StatusOr<ReplayReport> Replay(journal::Disk& disk, const ReplayOptions& options,
                                    const std::function<void(const ReplayProgress&)>& progress);

struct ExportOptions {
  std::string data_directory;
  std::string target;   // must not exist or be empty
  std::string account;  // "": all
};
// A copy of the Maildirs that Dovecot 2.3 opens with the same UIDs, flags and keywords, made by a replay: with
// dovecot-uidlist, dovecot-keywords and subscriptions. What the journal no longer has comes from the bases and the
// live Maildirs. Errors as of Replay.
absl::StatusOr<ReplayReport> Export(journal::Disk& disk, const ExportOptions& options,
                                    const std::function<void(const ReplayProgress&)>& progress);

}  // namespace gemel::engine
