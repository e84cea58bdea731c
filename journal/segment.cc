#include "journal/segment.h"

#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "journal/wire.h"

namespace gemel::journal {
namespace {

constexpr char kSegmentMagic[8] = {'G', 'e', 'm', 'e', 'l', 'S', 'e', 'g'};
constexpr size_t kHeaderUnitBytes = 512;  // a copy is a whole number of sectors
constexpr size_t kHeaderFixedBytes = 48;
constexpr size_t kTipBytes = 32;
constexpr size_t kHeaderCopyBytesMax = 1024 * 1024;  // tips of 32,000 incarnations
constexpr size_t kWindowBytes = 64 * 1024;

std::string NumberedPath(const std::string& directory, const char* prefix, SegmentNumber number) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%08x", prefix, number);
  return directory + "/" + name;
}

absl::StatusOr<std::vector<SegmentNumber>> ListNumbered(Disk& disk, const std::string& directory,
                                                        std::string_view prefix) {
  absl::StatusOr<std::vector<std::string>> names = disk.List(directory);
  if (!names.ok()) return names.status();
  std::vector<SegmentNumber> numbers;
  for (std::string_view name : *names) {
    if (name.substr(0, prefix.size()) != prefix || name.size() != prefix.size() + 8) continue;
    const std::optional<uint64_t> number = U64FromHex(name.substr(prefix.size()));
    if (number) numbers.push_back(static_cast<SegmentNumber>(*number));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

// One copy. `in` begins with it and may go on behind. Returns its length by *copy_bytes.
absl::StatusOr<SegmentHeader> DecodeCopy(std::string_view in, size_t* copy_bytes) {
  if (in.size() < kHeaderUnitBytes || std::memcmp(in.data(), kSegmentMagic, sizeof kSegmentMagic) != 0) {
    return absl::FailedPreconditionError("not a journal segment");
  }
  const auto version = GetFixed<uint32_t>(in.data() + 8);
  const auto bytes = GetFixed<uint32_t>(in.data() + 12);
  if (bytes < kHeaderUnitBytes || bytes > kHeaderCopyBytesMax || bytes % kHeaderUnitBytes != 0 || bytes > in.size()) {
    return absl::DataLossError("segment header: bad length");
  }
  if (GetFixed<uint64_t>(in.data() + bytes - 8) != XXH3_64bits(in.data(), bytes - 8)) {
    return absl::DataLossError("segment header: bad checksum");
  }
  if (version != kFormatVersion) {
    return absl::UnimplementedError("segment: format " + std::to_string(version) +
                                    " is newer than this program, which knows " + std::to_string(kFormatVersion));
  }
  SegmentHeader header;
  header.number = GetFixed<uint32_t>(in.data() + 16);
  const auto tips = GetFixed<uint32_t>(in.data() + 20);
  header.segment_bytes = GetFixed<uint64_t>(in.data() + 24);
  header.previous_end = GetFixed<uint64_t>(in.data() + 32);
  header.salt = GetFixed<uint64_t>(in.data() + 40);
  if (tips > (bytes - kHeaderFixedBytes - 8) / kTipBytes) return absl::DataLossError("segment header: too many tips");
  for (uint32_t i = 0; i < tips; ++i) {
    const char* at = in.data() + kHeaderFixedBytes + i * kTipBytes;
    header.tips[{GetFixed<uint64_t>(at), GetFixed<uint64_t>(at + 8)}] = {GetFixed<uint64_t>(at + 16),
                                                                         GetFixed<uint64_t>(at + 24)};
  }
  *copy_bytes = bytes;
  return header;
}

}  // namespace

std::string PlaceText(Position position) {
  return "segment " + std::to_string(SegmentOf(position)) + ", offset " + std::to_string(OffsetOf(position));
}

std::string EncodeSegmentHeader(const SegmentHeader& header) {
  const size_t needed = kHeaderFixedBytes + header.tips.size() * kTipBytes + 8;
  const size_t bytes = (needed + kHeaderUnitBytes - 1) / kHeaderUnitBytes * kHeaderUnitBytes;
  std::string out(kSegmentMagic, sizeof kSegmentMagic);
  PutFixed(uint32_t{kFormatVersion}, &out);
  PutFixed(static_cast<uint32_t>(bytes), &out);
  PutFixed(header.number, &out);
  PutFixed(static_cast<uint32_t>(header.tips.size()), &out);
  PutFixed(header.segment_bytes, &out);
  PutFixed(header.previous_end, &out);
  PutFixed(header.salt, &out);
  for (const auto& [origin, tip] : header.tips) {
    PutFixed(origin.node, &out);
    PutFixed(origin.incarnation, &out);
    PutFixed(tip.seq, &out);
    PutFixed(tip.chain, &out);
  }
  out.resize(bytes - 8);
  PutFixed(uint64_t{XXH3_64bits(out.data(), out.size())}, &out);
  return out + out;
}

std::string SegmentPath(const std::string& directory, SegmentNumber number) {
  return NumberedPath(directory, "segment-", number);
}
std::string SparePath(const std::string& directory, SegmentNumber number) {
  return NumberedPath(directory, "spare-", number);
}
absl::StatusOr<std::vector<SegmentNumber>> ListSegments(Disk& disk, const std::string& directory) {
  return ListNumbered(disk, directory, "segment-");
}
absl::StatusOr<std::vector<SegmentNumber>> ListSpares(Disk& disk, const std::string& directory) {
  return ListNumbered(disk, directory, "spare-");
}

absl::StatusOr<std::unique_ptr<SegmentReader>> SegmentReader::Open(Disk& disk, const std::string& directory,
                                                                   SegmentNumber number) {
  const std::string path = SegmentPath(directory, number);
  absl::StatusOr<std::unique_ptr<File>> file = disk.Open(path, OpenMode::kRead);
  if (!file.ok()) return file.status();
  auto reader = std::unique_ptr<SegmentReader>(new SegmentReader(*std::move(file)));

  // Nearly all headers are short; a long or a damaged one is worth a second read.
  absl::StatusOr<std::string_view> in = reader->Window(0, kWindowBytes);
  size_t copy_bytes = 0;
  if (in.ok() && !DecodeCopy(*in, &copy_bytes).ok()) in = reader->Window(0, 2 * kHeaderCopyBytesMax);
  if (!in.ok()) return in.status();
  absl::StatusOr<SegmentHeader> first = DecodeCopy(*in, &copy_bytes);
  if (absl::IsUnimplemented(first.status())) {
    return absl::UnimplementedError(path + ": " + std::string(first.status().message()));
  }
  absl::StatusOr<SegmentHeader> second = absl::DataLossError("segment header: no second copy");
  // Where the first copy is damaged its length is not known: the second is wherever one verifies.
  for (size_t at = first.ok() ? copy_bytes : kHeaderUnitBytes; at <= kHeaderCopyBytesMax && at < in->size();
       at += kHeaderUnitBytes) {
    size_t second_bytes = 0;
    second = DecodeCopy(in->substr(at), &second_bytes);
    if (second.ok() && second_bytes == at) {
      copy_bytes = at;
      break;
    }
    if (second.ok()) second = absl::DataLossError("segment header: second copy misplaced");
    if (first.ok()) break;
  }
  if (!first.ok() && !second.ok()) {
    return absl::Status(first.status().code(), path + ": " + std::string(first.status().message()));
  }
  reader->header_ = first.ok() ? *first : *second;
  if (!first.ok() || !second.ok() || *first != *second) {
    reader->header_problem_ = path + ": one of the header's two copies is damaged";
  }
  if (reader->header_.number != number) {
    return absl::DataLossError(path + ": says that it is segment " + std::to_string(reader->header_.number));
  }
  reader->first_offset_ = 2 * copy_bytes;
  return reader;
}

absl::StatusOr<std::string_view> SegmentReader::Window(uint64_t offset, size_t bytes) {
  if (offset < window_offset_ || offset + bytes > window_offset_ + window_.size()) {
    window_.resize(std::max(bytes, kWindowBytes));
    window_offset_ = offset;
    absl::StatusOr<size_t> got = file_->ReadAt(offset, window_.data(), window_.size());
    if (!got.ok()) {
      window_.clear();
      return got.status();
    }
    window_.resize(*got);
  }
  return std::string_view(window_).substr(offset - window_offset_, bytes);
}

absl::StatusOr<Look> SegmentReader::LookAt(uint64_t offset, uint64_t limit) {
  Look look;
  if (offset >= limit || limit - offset < kEnvelopeBytes) return look;
  absl::StatusOr<std::string_view> in = Window(offset, kEnvelopeBytes);
  if (!in.ok()) return in.status();
  if (in->size() < kEnvelopeBytes) return look;
  const size_t stored = kEnvelopeBytes + GetFixed<uint32_t>(in->data() + 4);
  // Cheap refusals before a window of that size is read; ReadEnvelope makes sure.
  if (std::memcmp(in->data(), kEnvelopeMagic, sizeof kEnvelopeMagic) != 0 || stored > limit - offset ||
      stored > kEnvelopeBytes + kShippedBytesMax)
    return look;
  in = Window(offset, stored);
  if (!in.ok()) return in.status();
  const std::optional<Envelope> envelope = ReadEnvelope(*in, PositionOf(header_.number, offset), header_.salt);
  if (!envelope) return look;
  look.envelope = *envelope;
  look.end = offset + StoredBytes(envelope->shipped_bytes);
  look.shipped = in->substr(kEnvelopeBytes, envelope->shipped_bytes);
  absl::StatusOr<FrameHeader> header = VerifyShipped(look.shipped);
  if (header.ok()) {
    look.found = Look::Found::kFrame;
    look.header = *std::move(header);
  } else {
    look.found = absl::IsUnimplemented(header.status()) ? Look::Found::kNewer : Look::Found::kDamaged;
    look.why = header.status();
  }
  return look;
}

absl::StatusOr<std::optional<uint64_t>> SegmentReader::FindEnvelope(uint64_t offset, uint64_t limit) {
  offset = (offset + kFrameAlignBytes - 1) / kFrameAlignBytes * kFrameAlignBytes;
  constexpr uint64_t kStrideBytes = 4096;
  while (offset < limit) {
    absl::StatusOr<std::string_view> in = Window(offset, std::min(kStrideBytes, limit - offset));
    if (!in.ok()) return in.status();
    if (in->size() < kFrameAlignBytes) break;
    size_t at = 0;
    while (at + kFrameAlignBytes <= in->size() && std::memcmp(in->data() + at, kEnvelopeMagic, 4) != 0) {
      at += kFrameAlignBytes;
    }
    offset += at;
    if (at + kFrameAlignBytes > in->size()) {
      if (at == 0 || offset + kFrameAlignBytes > limit) break;
      continue;
    }
    absl::StatusOr<Look> look = LookAt(offset, limit);
    if (!look.ok()) return look.status();
    if (look->found != Look::Found::kNothing) return std::optional<uint64_t>(offset);
    offset += kFrameAlignBytes;
  }
  return std::optional<uint64_t>();
}

}  // namespace gemel::journal
