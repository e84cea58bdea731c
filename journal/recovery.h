// What a journal's files say after any end, orderly or not. Reads only; Journal::Open acts on it.
// The rules are a table, kRecoveryTable, which journal/README.md, "Recovery", prints and recovery_test.cc runs
// through with every input.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/journal.h"
#include "journal/segment.h"

namespace gemel::journal {

// What lies where the next frame should be.
enum class AtPlace {
  kNothing,    // zeros, or the remains of the file's earlier use
  kDamaged,    // our envelope, and a frame that does not verify
  kContinues,  // a good frame that continues its origin's history
  kFills,      // a good frame that continues where a gap begins: fetched again, and no room in its old place
  kAhead,      // a good frame, and its origin's frames before it are missing
  kConflicts,  // a good frame that says something else than the history before it
};
struct RecoveryInput {
  AtPlace at = AtPlace::kNothing;
  bool known_durable = false;  // a later frame, the next segment, or the checkpoint says that this was synced
  bool hole_before = false;    // frames were lost before this place
  bool more_behind = false;    // another envelope of this segment lies behind
};
enum class RecoveryAction {
  kTake,        // the frame is part of the journal
  kReportHole,  // damage: report, leave it as it is, go on behind it
  kCut,         // torn tail: the journal ends here; what lies behind was never acknowledged and is wiped
  kEnd,         // the journal ends here
};
// nullopt in a row: either.
struct RecoveryRow {
  const char* name;
  AtPlace at;
  std::optional<bool> known_durable, hole_before, more_behind;
  RecoveryAction action;
  const char* why;
};
const std::vector<RecoveryRow>& RecoveryTable();
const RecoveryRow& Decide(const RecoveryInput& input);

// A run of bytes that held frames and does not any more. A frame fetched again goes back into it, as its bytes are the
// same wherever it is stored.
struct Hole {
  Position begin = 0;
  Position end = 0;  // equal to begin: a whole segment is missing
};

// Records that were in a hole.
struct Gap {
  Origin origin;
  Seq first = 0;
  Seq last = 0;
  uint64_t chain_before = 0;  // of the frame that ends at first - 1
  uint64_t chain_after = 0;   // of the frame that ends at last
  Position after = 0;         // the frame that ends at first - 1 ends here: the gap's holes lie behind it,
  Position behind = 0;        // and before this
};

// A place that does not say what it should.
struct Damage {
  Position begin = 0;
  Position end = 0;  // equal to begin: a whole segment
  std::string text;
  std::optional<Dot> last;  // of its records; nullopt: not known
  bool told = false;        // a whole segment: the next one's header tells what was in it
};

struct SegmentInfo {
  SegmentNumber number = 0;
  uint64_t first_offset = 0;
  uint64_t end_offset = 0;
  uint64_t segment_bytes = 0;
  uint64_t salt = 0;
  Tips tips;  // before its first frame
};

// What the files hold. `tips` runs ahead of what is held without gaps where frames are missing.
struct Recovery {
  Position durable_floor = 0;  // given: JournalOptions
  bool whole = true;           // given: false where what lies before is not looked at, so that gaps are not known
  std::vector<SegmentInfo> segments;  // ascending; unreadable ones are not in it
  Tips tips;
  Position end = 0;
  Position known_durable = 0;  // in the last segment; from there to `end` may lie in the system's memory only
  uint64_t cut_bytes = 0;      // from `end` on: to be wiped before anything is written there
  std::vector<Recovered::Missing> cut_records;  // in whole frames among these
  std::map<Origin, Position> tip_ends;          // of the frames that `tips` names, where they are in these segments
  std::vector<Damage> damage;
  std::vector<std::pair<Dot, uint64_t>> refetched;  // frames that fill gaps from behind: last record, bytes
  std::vector<Hole> holes;
  std::vector<Gap> gaps;
  std::vector<std::string> problems;  // Recover: damage but for what is held all the same
  VectorClock held() const;
};

VectorClock HeldClock(const Tips& tips, const std::vector<Gap>& gaps);

// Takes a frame's records out of the gap that begins with them; false: there is none. The frame ends at `end`: what
// follows in the gap comes behind it.
bool FillGap(const FrameHeader& header, Position end, std::vector<Gap>* gaps);

// One segment's frames, in order. `sealed_end`: where it ends, from the next segment's header; nullopt: it is the last.
// Adds to *recovery. `frame` may be null.
absl::Status ScanSegment(SegmentReader& reader, std::optional<uint64_t> sealed_end,
                         const std::function<void(Position begin, Position end, const FrameHeader&)>& frame,
                         Recovery* recovery);

// All of a directory. An empty one gives no segments. Where `end` lies below the floor, the journal goes on in a new
// segment.
absl::StatusOr<Recovery> Recover(Disk& disk, const std::string& directory,
                                 const std::function<void(Position begin, Position end, const FrameHeader&)>& frame,
                                 Position durable_floor = 0);

}  // namespace gemel::journal
