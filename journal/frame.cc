#include "journal/frame.h"

#include <xxhash.h>
#include <zstd.h>

#include <cstring>

#include "journal/record.h"
#include "journal/wire.h"

namespace gemel::journal {
namespace {

constexpr char kFrameMagic[4] = {'G', 'e', 'm', 'F'};
// The chain is a hash of the same bytes as the header's checksum, and must not be the same number.
constexpr uint64_t kChainSeed = 0x6e69616863;

// Offsets in the header; README.md has the table.
constexpr size_t kVersionAt = 4, kCodecAt = 5, kHeaderBytesAt = 6, kNodeAt = 8, kIncarnationAt = 16, kGenerationAt = 24,
                 kCountAt = 28, kFirstSeqAt = 32, kBaseAt = 40, kPayloadBytesAt = 48, kUnpackedBytesAt = 52,
                 kPayloadHashAt = 56, kPreviousChainAt = 72;
static_assert(kPreviousChainAt + 8 == kFrameHeaderFixedBytes);
constexpr size_t kChecksumBytes = 8;

absl::Status Damaged(const char* what) { return absl::DataLossError(std::string("frame: ") + what); }

void PutPayloadHash(std::string_view payload, std::string* out) {
  const XXH128_hash_t hash = XXH3_128bits(payload.data(), payload.size());
  PutFixed(uint64_t{hash.low64}, out);
  PutFixed(uint64_t{hash.high64}, out);
}

bool PayloadHashFits(std::string_view payload, const char* at) {
  const XXH128_hash_t hash = XXH3_128bits(payload.data(), payload.size());
  return GetFixed<uint64_t>(at) == hash.low64 && GetFixed<uint64_t>(at + 8) == hash.high64;
}

// The bound is the header's: 8 MiB whatever the frame itself claims.
absl::Status Unpack(const FrameHeader& header, std::string_view payload, std::string* out) {
  out->resize(header.unpacked_bytes);
  const size_t got = ZSTD_decompress(out->data(), out->size(), payload.data(), payload.size());
  if (ZSTD_isError(got) || got != header.unpacked_bytes) return Damaged("payload does not unpack");
  return absl::OkStatus();
}

absl::Status DecodeRecords(std::string_view payload, Frame* frame) {
  // Each record takes at least three bytes, so that a count cannot ask for more memory than the payload justifies.
  if (frame->count > payload.size() / 3) return Damaged("more records than bytes");
  frame->records.reserve(frame->count);
  for (uint32_t i = 0; i < frame->count; ++i) {
    absl::StatusOr<Record> record = DecodeRecord(&payload, frame->base);
    if (!record.ok()) return record.status();
    frame->records.push_back(*std::move(record));
  }
  if (!payload.empty()) return Damaged("bytes behind the last record");
  return absl::OkStatus();
}

uint64_t EnvelopeChecksum(std::string_view fixed, std::string_view shipped, uint64_t salt) {
  // The frame's own header goes in, so that an envelope cannot be taken with the header of a stale frame behind it.
  const size_t header_bytes =
      shipped.size() >= kFrameHeaderFixedBytes ? GetFixed<uint16_t>(shipped.data() + kHeaderBytesAt) : 0;
  const std::string_view header = shipped.substr(0, header_bytes);
  return XXH3_64bits_withSeed(fixed.data(), fixed.size(),
                              salt ^ XXH3_64bits_withSeed(header.data(), header.size(), salt));
}

}  // namespace

absl::StatusOr<FrameHeader> DecodeFrameHeader(std::string_view in) {
  if (in.size() < kFrameHeaderFixedBytes + kChecksumBytes) return Damaged("too short");
  const char* at = in.data();
  if (std::memcmp(at, kFrameMagic, sizeof kFrameMagic) != 0) return Damaged("no magic number");
  FrameHeader header;
  header.header_bytes = GetFixed<uint16_t>(at + kHeaderBytesAt);
  if (header.header_bytes < kFrameHeaderFixedBytes + kChecksumBytes || header.header_bytes > kFrameHeaderBytesMax ||
      header.header_bytes > in.size()) {
    return Damaged("bad header length");
  }
  const size_t checked = header.header_bytes - kChecksumBytes;
  if (GetFixed<uint64_t>(at + checked) != XXH3_64bits(at, checked)) return Damaged("bad header checksum");
  // From here on the header is as it was written: what we do not know is newer, not broken.
  if (static_cast<uint8_t>(at[kVersionAt]) != kFormatVersion) {
    return absl::UnimplementedError("frame: format " + std::to_string(static_cast<uint8_t>(at[kVersionAt])) +
                                    " is newer than this program, which knows " + std::to_string(kFormatVersion));
  }
  const auto codec = static_cast<uint8_t>(at[kCodecAt]);
  if (codec > static_cast<uint8_t>(Codec::kZstd)) {
    return absl::UnimplementedError("frame: codec " + std::to_string(codec) + " is newer than this program");
  }
  header.codec = static_cast<Codec>(codec);
  header.origin = {GetFixed<uint64_t>(at + kNodeAt), GetFixed<uint64_t>(at + kIncarnationAt)};
  header.generation = GetFixed<uint32_t>(at + kGenerationAt);
  header.count = GetFixed<uint32_t>(at + kCountAt);
  header.first_seq = GetFixed<uint64_t>(at + kFirstSeqAt);
  header.base = GetFixed<uint64_t>(at + kBaseAt);
  header.payload_bytes = GetFixed<uint32_t>(at + kPayloadBytesAt);
  header.unpacked_bytes = GetFixed<uint32_t>(at + kUnpackedBytesAt);
  header.previous_chain = GetFixed<uint64_t>(at + kPreviousChainAt);
  if (header.payload_bytes > kPayloadBytesMax || header.unpacked_bytes > kPayloadBytesMax) {
    return Damaged("payload too large");
  }
  if (header.codec == Codec::kNone && header.payload_bytes != header.unpacked_bytes) {
    return Damaged("raw payload of two sizes");
  }
  if (header.count == 0 || header.first_seq == 0 || header.last_seq() < header.first_seq) {
    return Damaged("bad sequence numbers");
  }
  std::string_view rest = in.substr(kFrameHeaderFixedBytes, checked - kFrameHeaderFixedBytes);
  absl::StatusOr<VectorClock> applied = VectorClock::Decode(&rest);
  if (!applied.ok()) return applied.status();
  if (!rest.empty()) return Damaged("bytes behind the clock");
  header.applied = *std::move(applied);
  header.chain = XXH3_64bits_withSeed(at, header.header_bytes, kChainSeed);
  return header;
}

absl::StatusOr<FrameHeader> VerifyShipped(std::string_view shipped) {
  absl::StatusOr<FrameHeader> header = DecodeFrameHeader(shipped);
  if (!header.ok()) return header;
  if (shipped.size() != header->shipped_bytes()) return Damaged("wrong length");
  if (!PayloadHashFits(shipped.substr(header->header_bytes), shipped.data() + kPayloadHashAt)) {
    return Damaged("bad payload checksum");
  }
  return header;
}

absl::StatusOr<Frame> DecodeShipped(std::string_view shipped, std::optional<uint64_t> previous_chain) {
  absl::StatusOr<FrameHeader> header = VerifyShipped(shipped);
  if (!header.ok()) return header.status();
  if (previous_chain && header->previous_chain != *previous_chain) {
    return Damaged("chain hash does not continue its origin's history");
  }
  Frame frame;
  frame.origin = header->origin;
  frame.generation = header->generation;
  frame.first_seq = header->first_seq;
  frame.count = header->count;
  frame.base = header->base;
  frame.applied = std::move(header->applied);
  frame.chain = header->chain;
  std::string_view payload = shipped.substr(header->header_bytes);
  std::string unpacked;
  if (header->codec == Codec::kZstd) {
    if (absl::Status s = Unpack(*header, payload, &unpacked); !s.ok()) return s;
    payload = unpacked;
  }
  if (absl::Status s = DecodeRecords(payload, &frame); !s.ok()) return s;
  frame.shipped = shipped;
  return frame;
}

absl::Status CheckRecords(const std::vector<Record>& records, const VectorClock& applied) {
  std::string encoded;
  if (applied.entries().size() >= kFrameClockOriginsMax) {
    applied.EncodeTo(&encoded);
    if (encoded.size() > kFrameClockBytesMax) {
      return absl::InvalidArgumentError("too many starts that are not closed: the clock has no room in a frame");
    }
  }
  for (const Record& record : records) {
    const auto* chunk = std::get_if<BodyChunk>(&record.body);
    if (chunk != nullptr && chunk->bytes.size() <= kBodyChunkBytes) continue;
    encoded.clear();
    EncodeRecord(record, record.time, &encoded);
    if (encoded.size() > kRecordBytesMax) {
      return absl::InvalidArgumentError(std::string(RecordTypeName(record.body)) + ": a record of " +
                                        std::to_string(encoded.size()) + " bytes is too large for the journal");
    }
  }
  return absl::OkStatus();
}

struct FrameEncoder::Packer {
  explicit Packer(int level_asked) : level(level_asked), context(ZSTD_createCCtx()) {}
  ~Packer() { ZSTD_freeCCtx(context); }
  int level;
  ZSTD_CCtx* context;
  std::string packed;
};

FrameEncoder::FrameEncoder(int zstd_level) : packer_(zstd_level == 0 ? nullptr : new Packer(zstd_level)) {}
FrameEncoder::~FrameEncoder() = default;

absl::Status FrameEncoder::Finish(std::string_view payload, uint64_t previous_chain, Frame* frame) {
  if (payload.size() > kPayloadBytesMax) return absl::InvalidArgumentError("frame: records too large");
  frame->count = static_cast<uint32_t>(frame->records.size());
  Codec codec = Codec::kNone;
  std::string_view stored = payload;
  if (packer_ != nullptr) {
    std::string& packed = packer_->packed;
    if (packed.size() < ZSTD_compressBound(payload.size())) packed.resize(ZSTD_compressBound(payload.size()));
    const size_t bytes = ZSTD_compressCCtx(packer_->context, packed.data(), packed.size(), payload.data(),
                                           payload.size(), packer_->level);
    if (!ZSTD_isError(bytes) && bytes < payload.size()) {
      codec = Codec::kZstd;
      stored = std::string_view(packed).substr(0, bytes);
    }
  }
  std::string clock;
  frame->applied.EncodeTo(&clock);
  const size_t header_bytes = kFrameHeaderFixedBytes + clock.size() + kChecksumBytes;
  if (header_bytes > kFrameHeaderBytesMax) return absl::InvalidArgumentError("frame: clock too large");

  std::string& out = frame->shipped;
  out.clear();
  out.reserve(header_bytes + stored.size());
  out.append(kFrameMagic, sizeof kFrameMagic);
  out += static_cast<char>(kFormatVersion);
  out += static_cast<char>(codec);
  PutFixed(static_cast<uint16_t>(header_bytes), &out);
  PutFixed(frame->origin.node, &out);
  PutFixed(frame->origin.incarnation, &out);
  PutFixed(frame->generation, &out);
  PutFixed(frame->count, &out);
  PutFixed(frame->first_seq, &out);
  PutFixed(frame->base, &out);
  PutFixed(static_cast<uint32_t>(stored.size()), &out);
  PutFixed(static_cast<uint32_t>(payload.size()), &out);
  PutPayloadHash(stored, &out);
  PutFixed(previous_chain, &out);
  out += clock;
  PutFixed(uint64_t{XXH3_64bits(out.data(), out.size())}, &out);
  frame->chain = XXH3_64bits_withSeed(out.data(), out.size(), kChainSeed);
  out += stored;
  return absl::OkStatus();
}

void StoreFrame(const Envelope& envelope, std::string_view shipped, uint64_t salt, std::string* out) {
  const size_t begin = out->size();
  out->append(kEnvelopeMagic, sizeof kEnvelopeMagic);
  PutFixed(static_cast<uint32_t>(shipped.size()), out);
  PutFixed(envelope.position, out);
  PutFixed(envelope.synced_to, out);
  const std::string_view fixed = std::string_view(*out).substr(begin);
  PutFixed(EnvelopeChecksum(fixed, shipped, salt), out);
  *out += shipped;
  out->resize(begin + StoredBytes(shipped.size()));
}

std::optional<Envelope> ReadEnvelope(std::string_view in, Position position, uint64_t salt) {
  constexpr size_t kFixed = kEnvelopeBytes - kChecksumBytes;
  if (in.size() < kEnvelopeBytes || std::memcmp(in.data(), kEnvelopeMagic, sizeof kEnvelopeMagic) != 0) {
    return std::nullopt;
  }
  const Envelope envelope{.shipped_bytes = GetFixed<uint32_t>(in.data() + 4),
                          .position = GetFixed<uint64_t>(in.data() + 8),
                          .synced_to = GetFixed<uint64_t>(in.data() + 16)};
  if (envelope.position != position || envelope.shipped_bytes > in.size() - kEnvelopeBytes) return std::nullopt;
  const std::string_view shipped = in.substr(kEnvelopeBytes, envelope.shipped_bytes);
  if (GetFixed<uint64_t>(in.data() + kFixed) != EnvelopeChecksum(in.substr(0, kFixed), shipped, salt)) {
    return std::nullopt;
  }
  return envelope;
}

}  // namespace gemel::journal
