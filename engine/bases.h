// Retention's half for metadata: what the oldest part of the journal says goes on into the bases of the accounts that
// it touched, before that part goes. A base is the account as of the end of that part, not as of now, so that a replay
// can begin with it and end at any later moment.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/disk.h"
#include "journal/journal.h"
#include "maildir/store.h"

namespace gemel::engine {

// A part of the journal, from its oldest frame on.
struct JournalPart {
  journal::Position begin = 0;
  journal::Position end = 0;
  // No group and no body that the part began is open here: `end`, or a little behind it. Bases are as of here.
  journal::Position settled = 0;
  journal::Position limit = 0;               // up to where it was looked for what was fetched again
  journal::VectorClock records;              // that lie in it
  std::vector<journal::AccountId> accounts;  // touched before `settled`
  std::vector<std::string> damage;           // places that do not say what they should
  std::vector<std::string> missing;          // records that were in them and are nowhere in the journal
};

// Reads [begin, end) and as far behind it as need be, never past `limit`; steps over what is damaged. Unavailable:
// something is still open at `limit`: later.
absl::StatusOr<JournalPart> ReadJournalPart(journal::Disk& disk, const std::string& directory, journal::Position begin,
                                            journal::Position end, journal::Position limit);

// Brings the bases of these accounts, which must be known to the store, up to part.settled, durably. Idempotent.
// DataLoss: a place that was whole when the part was read.
absl::Status AdvanceBases(journal::Disk& disk, const std::string& directory, const JournalPart& part,
                          const std::vector<std::pair<journal::AccountId, std::string>>& accounts,
                          maildir::Store& store);

}  // namespace gemel::engine
