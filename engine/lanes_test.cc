#include "engine/lanes.h"

#include <gtest/gtest.h>

namespace gemel::engine {
namespace {

using journal::GenerationKind;

TEST(Lanes, AMailboxesFirstHomeBeginsAtOne) {
  for (const uint8_t place : {0, 1}) {
    const uint32_t validity = NextUidValidity(0, 1'700'000'000, place);
    EXPECT_EQ(validity % 2, place);
    EXPECT_EQ(NextUid(0, validity, place), 1u);
    EXPECT_EQ(NextUid(1, validity, place), 1u);
    EXPECT_EQ(NextUid(65535, validity, place), 65535u);
    EXPECT_EQ(NextUid(65536, validity, place), 131072u) << "the lane between belongs to the other place";
  }
}

TEST(Lanes, TwoPlacesNeverGiveTheSameUid) {
  for (const uint32_t validity : {1000u, 1001u}) {
    for (uint32_t candidate = 0; candidate < 400'000; candidate += 37) {
      EXPECT_NE(NextUid(candidate, validity, 0) >> 16, NextUid(candidate, validity, 1) >> 16);
      EXPECT_GE(NextUid(candidate, validity, 0), candidate);
    }
  }
}

TEST(Lanes, UidValidityGrowsAndHasThePlacesParity) {
  uint32_t last = 0;
  for (int i = 0; i < 100; ++i) {
    const uint32_t next = NextUidValidity(last, 1000, static_cast<uint8_t>(i % 2));
    EXPECT_GT(next, last);
    EXPECT_EQ(next % 2, static_cast<uint32_t>(i % 2));
    last = next;
  }
}

TEST(Lanes, ModSeqLanesOfAGenerationDiffer) {
  const auto paired = ModSeqLaneBase(2, GenerationKind::kPaired, 0);
  EXPECT_EQ(paired, ModSeqLaneBase(2, GenerationKind::kPaired, 1)) << "in Paired an account has one home";
  EXPECT_NE(paired, ModSeqLaneBase(2, GenerationKind::kSolo, 0));
  EXPECT_NE(ModSeqLaneBase(2, GenerationKind::kSolo, 0), ModSeqLaneBase(2, GenerationKind::kSolo, 1));
  EXPECT_GT(ModSeqLaneBase(3, GenerationKind::kPaired, 0), ModSeqLaneBase(2, GenerationKind::kSolo, 1));
  EXPECT_EQ(NextModSeq(0, paired), paired + 1);
  EXPECT_EQ(NextModSeq(paired + 7, paired), paired + 8);
  EXPECT_LT(ModSeqLaneBase(500'000, GenerationKind::kPaired, 0), 1ull << 53);
}

}  // namespace
}  // namespace gemel::engine
