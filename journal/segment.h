// One file of the journal: a header, stored twice, and frames. Bytes: journal/README.md, "Segment".
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/frame.h"

namespace gemel::journal {

using SegmentNumber = uint32_t;  // from 1, without gaps

constexpr Position PositionOf(SegmentNumber segment, uint64_t offset) { return Position{segment} << 32 | offset; }
constexpr SegmentNumber SegmentOf(Position position) { return static_cast<SegmentNumber>(position >> 32); }
constexpr uint64_t OffsetOf(Position position) { return position & 0xffffffff; }
// "segment 3, offset 4096": how every problem names its place.
std::string PlaceText(Position position);

// The newest frame of an origin: its last seq and its chain.
struct Tip {
  Seq seq = 0;
  uint64_t chain = 0;
  bool operator==(const Tip&) const = default;
};
using Tips = std::map<Origin, Tip>;

struct SegmentHeader {
  SegmentNumber number = 0;
  uint64_t segment_bytes = 0;
  Position previous_end = 0;  // where the segment before ends: all below is durable. 0: there was none
  uint64_t salt = 0;          // random: no frame of the file's earlier use passes for one of this
  Tips tips;                  // before the first frame, of every origin ever held
  bool operator==(const SegmentHeader&) const = default;
};

// Both copies with their padding: the first frame lies behind. A multiple of 512.
std::string EncodeSegmentHeader(const SegmentHeader& header);

std::string SegmentPath(const std::string& directory, SegmentNumber number);
std::string SparePath(const std::string& directory, SegmentNumber number);
// The numbers of the segments, or of the spares, in a directory, ascending.
absl::StatusOr<std::vector<SegmentNumber>> ListSegments(Disk& disk, const std::string& directory);
absl::StatusOr<std::vector<SegmentNumber>> ListSpares(Disk& disk, const std::string& directory);

// What lies at a place where a frame could be.
struct Look {
  enum class Found {
    kNothing,  // no envelope of this segment and place
    kDamaged,  // an envelope, and a frame that does not verify
    kNewer,    // a whole frame of a format that we do not know
    kFrame,
  };
  Found found = Found::kNothing;
  uint64_t end = 0;  // offset behind it; 0 for kNothing
  Envelope envelope;
  FrameHeader header;        // kFrame
  std::string_view shipped;  // kFrame; until the next call
  absl::Status why;          // kDamaged, kNewer
};

// Looks into one segment through a window of at least a frame. Not thread-safe. Never writes.
class SegmentReader {
 public:
  // `disk` must outlive the reader. NotFound: no such segment. DataLoss: both copies of its header are damaged.
  // Unimplemented: a format newer than ours. FailedPrecondition: not a segment at all.
  static absl::StatusOr<std::unique_ptr<SegmentReader>> Open(Disk& disk, const std::string& directory,
                                                             SegmentNumber number);

  const SegmentHeader& header() const { return header_; }
  // Not empty: one of the copies is damaged.
  const std::string& header_problem() const { return header_problem_; }
  uint64_t first_offset() const { return first_offset_; }
  uint64_t segment_bytes() const { return header_.segment_bytes; }

  // Nothing at or behind `limit` is looked at. Unavailable: the disk failed the read; the bytes may well be good.
  absl::StatusOr<Look> LookAt(uint64_t offset, uint64_t limit);
  // The first offset from `offset` on at which an envelope of this segment lies.
  absl::StatusOr<std::optional<uint64_t>> FindEnvelope(uint64_t offset, uint64_t limit);
  // What was read ahead is read again: it may have been written since.
  void ForgetWindow() { window_.clear(); }

 private:
  SegmentReader(std::unique_ptr<File> file) : file_(std::move(file)) {}
  // Up to `bytes` from `offset`; fewer only at the end of the file.
  absl::StatusOr<std::string_view> Window(uint64_t offset, size_t bytes);

  std::unique_ptr<File> file_;
  SegmentHeader header_;
  std::string header_problem_;
  uint64_t first_offset_ = 0;
  std::string window_;
  uint64_t window_offset_ = 0;
};

}  // namespace gemel::journal
