// A message's bytes as the journal has them: to put back a file that was lost.
#pragma once
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/ids.h"
#include "journal/journal.h"

namespace gemel::engine {

// Trace and body, LF form, of the Deliver or (through its source) the Copy with this dot. Reads the whole journal:
// for accidents. NotFound: the journal does not reach back to it.
absl::StatusOr<std::string> ReadBodyFromJournal(journal::Disk& disk, const std::string& journal_directory,
                                                const journal::Dot& message);

// Calls `use` with the trace and body of every letter that the journal has from `from` on, chunks included.
absl::Status ForEachBody(
    journal::Disk& disk, const std::string& journal_directory, journal::Position from,
    const std::function<void(const journal::Dot&, const journal::Deliver&, const std::string& bytes)>& use);

}  // namespace gemel::engine
