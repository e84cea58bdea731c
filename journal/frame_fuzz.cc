// Feeds the frame and the record decoder. The first byte chooses: 0 a shipped frame, whose checksums are put right so
// that what lies behind them is reached; 1 a run of records.
#include <xxhash.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "journal/frame.h"
#include "journal/record.h"
#include "journal/wire.h"

namespace {

using namespace gemel::journal;

void Overwrite(std::string* bytes, size_t at, uint64_t value) {
  std::string fixed;
  PutFixed(value, &fixed);
  bytes->replace(at, fixed.size(), fixed);
}

void FuzzFrame(std::string shipped) {
  (void)DecodeShipped(shipped, std::nullopt).ok();
  if (shipped.size() < kFrameHeaderFixedBytes + 8) return;
  const size_t header_bytes = GetFixed<uint16_t>(shipped.data() + 6);
  if (header_bytes < kFrameHeaderFixedBytes + 8 || header_bytes > shipped.size()) return;
  const size_t payload_bytes = shipped.size() - header_bytes;
  const XXH128_hash_t hash = XXH3_128bits(shipped.data() + header_bytes, payload_bytes);
  shipped.replace(48, 4, std::string(reinterpret_cast<const char*>(&payload_bytes), 4));
  Overwrite(&shipped, 56, hash.low64);
  Overwrite(&shipped, 64, hash.high64);
  Overwrite(&shipped, header_bytes - 8, XXH3_64bits(shipped.data(), header_bytes - 8));
  absl::StatusOr<Frame> frame = DecodeShipped(shipped, std::nullopt);
  if (!frame.ok()) return;
  if (frame->records.size() != frame->count || frame->shipped != shipped) std::abort();
}

void FuzzRecords(std::string_view in) {
  constexpr Hlc kBase = HlcFromMillis(1795475701123);
  while (!in.empty()) {
    absl::StatusOr<Record> record = DecodeRecord(&in, kBase);
    if (!record.ok()) return;
    // What was understood is what is written again.
    std::string again;
    EncodeRecord(*record, kBase, &again);
    std::string_view rest = again;
    absl::StatusOr<Record> back = DecodeRecord(&rest, kBase);
    if (!back.ok() || !(*back == *record) || !rest.empty()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 0) {
    FuzzFrame(std::move(bytes));
  } else {
    FuzzRecords(bytes);
  }
  return 0;
}
