// <root>/checkpoint: up to where the store is durable. Bytes: maildir/README.md, "Checkpoint".
#pragma once
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "maildir/store.h"

namespace gemel::maildir {

// None: position 0. A damaged one is reported in the log and taken for none, since a replay from further back does no
// harm. Unimplemented: a version newer than ours.
absl::StatusOr<CheckpointInfo> ReadCheckpoint(journal::Disk& disk, const std::string& root);
// Durable when it returns.
absl::Status WriteCheckpoint(journal::Disk& disk, const std::string& root, const CheckpointInfo& info);

}  // namespace gemel::maildir
