// Lanes: no UID, MODSEQ or UIDVALIDITY has two meanings, whichever node gives it (design 3, "Lanes"; invariants 3, 4).
#pragma once
#include <algorithm>
#include <cstdint>

#include "journal/record.h"

namespace gemel::engine {

// The least UID from `candidate` on that this place may give: (UID >> 16) + UIDVALIDITY has the parity of the place.
constexpr journal::Uid NextUid(journal::Uid candidate, uint32_t uid_validity, uint8_t place) {
  const uint32_t lane = candidate >> 16;
  if (((lane + uid_validity) & 1u) == place) return std::max<journal::Uid>(candidate, 1);
  return (lane + 1) << 16;
}

// The least UIDVALIDITY above `last` and not below `now_s` that this place may give: even from place 0, odd from 1.
constexpr uint32_t NextUidValidity(uint32_t last, uint32_t now_s, uint8_t place) {
  const uint32_t least = std::max(last + 1, now_s);
  return (least & 1u) == place ? least : least + 1;
}

// MODSEQ = lane * 2^32 + counter; lane = 4 * generation + (0 in Paired, 1 + place in Solo).
constexpr journal::ModSeq ModSeqLaneBase(journal::Generation generation, journal::GenerationKind kind, uint8_t place) {
  const uint64_t lane = 4ull * generation + (kind == journal::GenerationKind::kPaired ? 0 : 1 + place);
  return lane << 32;
}
constexpr journal::ModSeq NextModSeq(journal::ModSeq highest, journal::ModSeq lane_base) {
  return std::max(highest, lane_base) + 1;
}

}  // namespace gemel::engine
