// One node's write-ahead log: what it created and what it received, in the order in which it became durable here.
// Bytes: journal/README.md. A Journal has no thread of its own: whoever has appended calls CommitOnce, the engine on a
// lane of its workers, tests and the simulator where they like.
//
// Threads: Append* and pending_bytes may be called by any thread; CommitOnce by one at a time; readers are separate
// objects that see only what is durable.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/disk.h"
#include "journal/ids.h"
#include "journal/record.h"

namespace gemel::journal {

// A place in this node's journal: grows for ever, never reused (segment number << 32 | offset in segment).
using Position = uint64_t;

// What travels and what both nodes store byte for byte: a frame without its local envelope.
struct Frame {
  Origin origin;
  Generation generation = 0;
  Seq first_seq = 0;
  uint32_t count = 0;
  Hlc base = 0;
  VectorClock applied;  // the creator's, when it appended the frame's first record
  uint64_t chain = 0;   // hash over the origin's previous frame's chain and this frame: equal histories, equal chain
  std::string shipped;  // header and payload
  std::vector<Record> records;  // decoded; [i] has seq first_seq + i
  Seq last_seq() const { return first_seq + count - 1; }
};

// An offset in a segment takes 32 bits of a position: room enough, with the longest frame behind.
inline constexpr uint64_t kSegmentBytesMax = 2ull * 1024 * 1024 * 1024;
// Of one record as stored: its frame must fit a message of the link.
inline constexpr size_t kRecordBytesMax = 4 * 1024 * 1024;

struct JournalOptions {
  std::string directory;                         // absolute; made, with parents, if missing
  int zstd_level = 1;                            // 0: none
  uint64_t segment_bytes = 64ull * 1024 * 1024;  // zero-filled when made, recycled when retired; longer for one frame
  // All before it was durable once, whatever the files say: what is not whole there is damaged, and no position below
  // is given again.
  Position durable_floor = 0;
  size_t frame_bytes_max = 1024 * 1024;  // of uncompressed payload; a record never spans frames
  Random* random = nullptr;              // for the segments' salts; nullptr: the system's
};

struct Recovered {
  VectorClock held;  // everything on this disk
  struct Newest {
    Origin origin;
    Hlc base = 0;
  };
  std::map<NodeId, Newest> newest;        // each node's newest frame, by its time
  std::map<NodeId, VectorClock> applied;  // what each node had applied, as its frames here say
  Position end = 0;                       // where the next frame goes
  std::vector<std::string> problems;      // damaged frames, each with segment, offset and what to do
  struct Missing {
    Origin origin;
    Seq first = 0;
    Seq last = 0;
    bool operator==(const Missing&) const = default;
  };
  uint64_t cut_bytes = 0;            // torn tail that was cut, from `end` on
  std::vector<Missing> cut_records;  // in frames of it that were whole
  std::vector<Missing> missing;      // records in damaged frames: AppendReceived of what the peer ships mends them
};

struct Committed {
  std::shared_ptr<const Frame> frame;
  Position begin = 0;
  Position end = 0;
  bool fills_gap = false;  // a frame that was lost here and came again: older than its position may say
};

class Journal {
 public:
  // Opens or makes the journal, reads every segment's frames once and cuts a torn tail. `disk` must outlive it.
  // Unimplemented: a format newer than ours. FailedPrecondition: a newer one than the peer's, or not a journal.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(Disk& disk, JournalOptions options, Recovered* recovered);
  virtual ~Journal() = default;

  // Begins a new incarnation: all later Append calls are records of this origin, from seq 1.
  virtual void StartOrigin(const Origin& origin, Generation generation) = 0;
  virtual void SetGeneration(Generation generation) = 0;  // for frames from now on

  // Queues own records for the next commit and returns the seq of the first. Records of one call stay in this order
  // but may fall into several frames. `applied` is the creator's applied clock at this moment, without what is closed.
  // Both must have passed CheckRecords: what does not fit a frame makes the commit fail for ever.
  virtual Seq Append(std::vector<Record> records, const VectorClock& applied) = 0;
  // Queues a frame as the peer shipped it. It is verified in CommitOnce.
  virtual void AppendReceived(std::string shipped) = 0;
  // Queued and not yet durable; callers stop taking mail above their limit.
  virtual size_t pending_bytes() const = 0;

  // Writes all that is queued (own records become frames), one fdatasync, and returns what became durable, in journal
  // order. Nothing queued: empty. A received frame that was damaged here goes back to its place (its Committed has that
  // older position, in a commit of its own). One that is held already is dropped silently; one that does not fit
  // (gap, chain, damage) is dropped and reported in *rejected, and the rest is committed.
  // An error is final for this Journal: every later call repeats it (a failed fdatasync is never retried). Except
  // ResourceExhausted: nothing of the batch was written, it stays queued, call again later.
  virtual absl::StatusOr<std::vector<Committed>> CommitOnce(std::vector<absl::Status>* rejected) = 0;

  // Durable so far: clock, position, and the chain value after (origin, seq); nullopt if not known any more.
  virtual VectorClock held() const = 0;
  virtual Position end() const = 0;
  virtual std::optional<uint64_t> ChainAt(const Origin& origin, Seq seq) const = 0;

  // Retention: retires whole segments that end at or before `position` (they are recycled).
  virtual absl::Status Retire(Position position) = 0;
  virtual Position oldest() const = 0;
  virtual uint64_t bytes_on_disk() const = 0;               // with the spare files
  virtual uint64_t BytesFrom(Position position) const = 0;  // of what is kept, from there to end()
  // Of the origin's durable frames behind this record: exact for the newest ones, about right for older ones.
  virtual uint64_t BytesAfter(const Origin& origin, Seq seq) const = 0;
};

// What Append takes. InvalidArgument: a record is larger than kRecordBytesMax, or the clock than a frame has room for.
absl::Status CheckRecords(const std::vector<Record>& records, const VectorClock& applied);

enum class ReadOrder {
  // Frames that were damaged, fetched again and had no room in their old place come where they were: each origin's
  // records in their order. They have the position of that place, and no length.
  kMended,
  kAsStored,
};

// Reads what is durable, in journal order, from a position on. Also offline, beside no writer.
class JournalReader {
 public:
  // `until` 0: to the durable end as found on disk.
  static absl::StatusOr<std::unique_ptr<JournalReader>> Open(Disk& disk, const std::string& directory, Position from,
                                                             Position until = 0, ReadOrder order = ReadOrder::kMended);
  virtual ~JournalReader() = default;
  // nullopt at the end. DataLoss names segment and offset of a damaged frame; the next call goes on behind it.
  virtual absl::StatusOr<std::optional<Committed>> Next() = 0;
  // kMended: records that were in damaged places passed so far, and are nowhere up to `until`.
  virtual const std::vector<Recovered::Missing>& missing() const = 0;
};

// "node/incarnation:5-7", for messages.
std::string MissingText(const Recovered::Missing& missing);

// What a peer that holds `theirs` lacks, in an order that keeps each origin's frames in sequence. Reads at most
// about `bytes_max` at a time, so that a long catch-up is bounded in memory. Only what is durable here.
class ShipCursor {
 public:
  static std::unique_ptr<ShipCursor> Make(Disk& disk, const Journal& journal, const std::string& directory,
                                          VectorClock theirs, std::vector<NodeId> nodes);
  virtual ~ShipCursor() = default;
  // Empty: caught up with journal.end() as of this call. NotFound: pruned past the peer's cursor.
  virtual absl::StatusOr<std::vector<Committed>> Next(size_t bytes_max) = 0;
  virtual Position position() const = 0;
};

// Decodes and verifies a shipped frame by itself. `previous_chain`: of the origin's frame before it (0: there is
// none); nullopt skips that check. DataLoss: damaged. Unimplemented: whole, but newer than this program.
absl::StatusOr<Frame> DecodeShipped(std::string_view shipped, std::optional<uint64_t> previous_chain);

}  // namespace gemel::journal
