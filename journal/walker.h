// Steps through the frames of all segments from a position on, verified but still packed. What JournalReader and
// ShipCursor have in common.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/recovery.h"
#include "journal/segment.h"

namespace gemel::journal {

// Not thread-safe. Never writes.
class Walker {
 public:
  struct Step {
    Position begin = 0;
    Position end = 0;
    FrameHeader header;
    std::string_view shipped;  // until the next call
  };

  // `from` 0: the oldest frame. `disk` must outlive the walker.
  Walker(Disk& disk, std::string directory, Position from)
      : disk_(disk), directory_(std::move(directory)), position_(from) {}

  // Where the journal durably ends, as its files say (what Journal::Open would find). 0: it is empty.
  absl::StatusOr<Position> FindEnd();

  // The next frame below `until`; nullopt: there is none. Errors, after which the next call goes on behind the place:
  //   DataLoss       a frame, or a whole segment, is damaged
  //   Unimplemented  a frame of a newer format
  // and errors after which the position stays:
  //   NotFound       the position is older than what is kept
  //   Unavailable    the disk failed a read
  absl::StatusOr<std::optional<Step>> Next(Position until);
  Position position() const { return position_; }
  // That of the step which Next has just given.
  const SegmentReader& segment() const { return *reader_; }
  void Seek(Position position) {
    position_ = position;
    reader_.reset();
  }

 private:
  absl::Status OpenSegment(Position until);

  Disk& disk_;
  const std::string directory_;
  Position position_;
  Position read_until_ = 0;  // the window may hold older bytes of what lies behind
  std::unique_ptr<SegmentReader> reader_;
  uint64_t limit_ = 0;      // where reader_'s segment ends, at most
  bool is_last_ = false;    // it was the last one when it was opened
  bool end_known_ = false;  // limit_ is where it ends: the next one's header says so, or there is none
};

}  // namespace gemel::journal
