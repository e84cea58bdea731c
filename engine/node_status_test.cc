// What `gemel status` says of the peer and of what it lacks.
#include <gtest/gtest.h>

#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using testing::NodeTest;

class NodeStatusTest : public NodeTest {
 protected:
  // Letters that do not shrink.
  std::string Letter(size_t bytes) {
    std::string text = "Subject: x\n\n";
    while (text.size() < bytes) text += journal::HexU64(pair_.random.U64()) + "\n";
    return text;
  }
};

TEST_F(NodeStatusTest, TheLagInBytesIsWhatThePeerLacks) {
  constexpr size_t kLetters = 40, kBytes = 4000;
  StartPair();
  AddAccount("ann@example.test", 1);  // so that the peer writes, and what it says of itself is in this journal
  ASSERT_TRUE(Deliver(0, "ann@example.test", Letter(kBytes)).ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(20'000);  // a checkpoint: a restart replays nothing of it
  NodeStatus status = pair_.nodes[0]->Status();
  EXPECT_EQ(status.lag_bytes_out, 0u);
  EXPECT_EQ(status.peer_version, GEMEL_VERSION);

  pair_.Kill(1);
  for (size_t i = 0; i < kLetters; ++i) ASSERT_TRUE(Deliver(0, "ann@example.test", Letter(kBytes)).ok());
  pair_.loop.RunFor(20'000);
  const NodeStatus away = pair_.nodes[0]->Status();
  EXPECT_FALSE(away.peer_counts);
  EXPECT_EQ(away.peer_version, "");
  EXPECT_GE(away.lag_records_out, kLetters);
  EXPECT_GT(away.lag_bytes_out, kLetters * kBytes / 2);  // hexadecimal digits are packed to half
  EXPECT_LT(away.lag_bytes_out, kLetters * kBytes);

  // A restart knows it, too, from the journal.
  pair_.Kill(0);
  Start(0);
  pair_.loop.RunFor(20'000);
  status = pair_.nodes[0]->Status();
  EXPECT_GE(status.lag_records_out, away.lag_records_out);
  EXPECT_LE(status.lag_records_out, away.lag_records_out + 4);  // that it has started
  EXPECT_GE(status.lag_bytes_out, away.lag_bytes_out);
  EXPECT_LE(status.lag_bytes_out, away.lag_bytes_out + 1000);
  EXPECT_LE(status.unprotected, away.unprotected + 4);

  Start(1);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  status = pair_.nodes[0]->Status();
  EXPECT_EQ(status.lag_bytes_out, 0u);
  EXPECT_EQ(status.peer_version, GEMEL_VERSION);
}

}  // namespace
}  // namespace gemel::engine
