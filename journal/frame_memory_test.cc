#include "journal/frame_memory.h"

#include <gtest/gtest.h>

namespace gemel::journal {
namespace {

constexpr Origin kOrigin{1, 2};

TEST(FrameMemory, CountsTheBytesBehindARecord) {
  FrameMemory memory;
  EXPECT_EQ(memory.BytesAfter(kOrigin, 0), 0u);
  for (Seq seq = 10; seq <= 100; seq += 10) memory.Remember(kOrigin, seq, seq, 1000);
  EXPECT_EQ(memory.BytesAfter(kOrigin, 0), 10'000u);
  EXPECT_EQ(memory.BytesAfter(kOrigin, 90), 1000u);
  EXPECT_EQ(memory.BytesAfter(kOrigin, 95), 500u);  // half of the last frame
  EXPECT_EQ(memory.BytesAfter(kOrigin, 100), 0u);
  EXPECT_EQ(memory.BytesAfter(kOrigin, 500), 0u);
  EXPECT_EQ(memory.BytesAfter({1, 3}, 0), 0u);
}

TEST(FrameMemory, ManyFramesStayNearTheTruthAndTheNewestExact) {
  FrameMemory memory;
  constexpr Seq kFrames = 1'000'000;
  for (Seq seq = 1; seq <= kFrames; ++seq) memory.Remember(kOrigin, seq, seq, 100);
  for (Seq behind : {1, 10, 100, 500}) EXPECT_EQ(memory.BytesAfter(kOrigin, kFrames - behind), 100 * behind);
  for (Seq seq = 0; seq < kFrames; seq += kFrames / 7) {
    const double truth = 100.0 * static_cast<double>(kFrames - seq);
    EXPECT_NEAR(static_cast<double>(memory.BytesAfter(kOrigin, seq)), truth, truth / 100) << seq;
  }
}

TEST(FrameMemory, KnowsTheChainsOfTheNewestFrames) {
  FrameMemory memory;
  std::optional<uint64_t> chain;
  EXPECT_FALSE(memory.FindChain(kOrigin, 1, &chain));
  for (Seq seq = 2; seq <= 10'000; seq += 2) memory.Remember(kOrigin, seq, seq * 7, 1);
  EXPECT_TRUE(memory.FindChain(kOrigin, 10'000, &chain));
  EXPECT_EQ(chain, 70'000u);
  EXPECT_TRUE(memory.FindChain(kOrigin, 9'999, &chain));
  EXPECT_FALSE(chain.has_value());                     // inside a frame
  EXPECT_FALSE(memory.FindChain(kOrigin, 2, &chain));  // forgotten
}

}  // namespace
}  // namespace gemel::journal
