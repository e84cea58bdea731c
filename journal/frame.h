// The bytes of a frame: the shipped part, which travels and which both nodes store as it is, and the local envelope
// around it, which never leaves its node. Layout: journal/README.md, "Frame" and "Envelope".
// All functions here are pure; a FrameEncoder belongs to one thread.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/ids.h"
#include "journal/journal.h"

namespace gemel::journal {

inline constexpr uint8_t kFormatVersion = 1;
// The fixed part of a frame's header; the clock and the header's checksum follow it.
inline constexpr size_t kFrameHeaderFixedBytes = 80;
inline constexpr size_t kFrameHeaderBytesMax = 0xffff;  // its length has two bytes
inline constexpr size_t kFrameClockBytesMax = kFrameHeaderBytesMax - kFrameHeaderFixedBytes - 8;
inline constexpr size_t kFrameClockOriginsMax = kFrameClockBytesMax / 26;  // however great their seqs
// No frame's payload is greater, packed or unpacked: a bound for memory when something else has made it.
inline constexpr size_t kPayloadBytesMax = 8 * 1024 * 1024;
inline constexpr size_t kShippedBytesMax = kFrameHeaderBytesMax + kPayloadBytesMax;

enum class Codec : uint8_t { kNone = 0, kZstd = 1 };  // 2 is kept for zstd with a dictionary

struct FrameHeader {
  Codec codec = Codec::kNone;
  uint16_t header_bytes = 0;
  Origin origin;
  Generation generation = 0;
  uint32_t count = 0;
  Seq first_seq = 0;
  Hlc base = 0;
  uint32_t payload_bytes = 0;  // as stored
  uint32_t unpacked_bytes = 0;
  uint64_t previous_chain = 0;  // 0 in an origin's first frame
  VectorClock applied;
  uint64_t chain = 0;  // computed, not stored: what the origin's next frame has as previous_chain
  size_t shipped_bytes() const { return size_t{header_bytes} + payload_bytes; }
  Seq last_seq() const { return first_seq + count - 1; }
};

// Decodes a header by itself; `in` may go on behind it. DataLoss: damaged. Unimplemented: whole, but newer than ours.
absl::StatusOr<FrameHeader> DecodeFrameHeader(std::string_view in);
// A header that fits its payload: `shipped` is the whole frame and nothing else.
absl::StatusOr<FrameHeader> VerifyShipped(std::string_view shipped);

// Packs records into shipped frames. Keeps its buffers and its compressor.
class FrameEncoder {
 public:
  explicit FrameEncoder(int zstd_level);  // 0: never packed
  ~FrameEncoder();
  FrameEncoder(const FrameEncoder&) = delete;
  FrameEncoder& operator=(const FrameEncoder&) = delete;

  // Fills frame->base, shipped and chain from its origin, generation, first_seq, applied and records (at least one;
  // count is set). `payload` is the records as EncodeRecord made them against frame->base.
  absl::Status Finish(std::string_view payload, uint64_t previous_chain, Frame* frame);

 private:
  struct Packer;
  std::unique_ptr<Packer> packer_;  // none: level 0
};

// ---- envelope ----

inline constexpr char kEnvelopeMagic[4] = {'G', 'e', 'm', 'E'};
inline constexpr size_t kEnvelopeBytes = 32;
// Where a frame begins in its segment; what is between two frames is zero.
inline constexpr size_t kFrameAlignBytes = 8;

struct Envelope {
  uint32_t shipped_bytes = 0;
  Position position = 0;   // of the envelope's first byte
  Position synced_to = 0;  // known durable when this was written
};

constexpr size_t StoredBytes(size_t shipped_bytes) {
  return (kEnvelopeBytes + shipped_bytes + kFrameAlignBytes - 1) / kFrameAlignBytes * kFrameAlignBytes;
}

// Appends envelope, shipped part and padding. `salt` is the segment's.
void StoreFrame(const Envelope& envelope, std::string_view shipped, uint64_t salt, std::string* out);
// nullopt: no envelope of this segment and this place. `in` goes on to the end of what may be read.
std::optional<Envelope> ReadEnvelope(std::string_view in, Position position, uint64_t salt);

}  // namespace gemel::journal
