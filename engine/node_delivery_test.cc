// Deliveries whose recipients fare differently.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using testing::Listener;
using testing::NodeTest;

class NodeDeliveryTest : public NodeTest {};

// One mailbox that cannot be opened at its home refuses nobody's letter, not even its own.
TEST_F(NodeDeliveryTest, ALetterForAMailboxThatCannotBeOpenedAtItsHomeIsTakenAndPlacedLater) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 0);
  bool done = false;
  pair_.nodes[0]->SetAlias("both@example.test", {"ann@example.test", "bob@example.test"},
                           [&](absl::Status status) { done = status.ok(); });
  ASSERT_TRUE(pair_.RunUntil([&] { return done; }));
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const std::string index = Options(0).data_directory + "/accounts/example.test/bob/index.sqlite";
  pair_.Kill(0);
  std::filesystem::rename(index, index + ".away");
  std::filesystem::create_directory(index);
  Start(0);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const std::string large = "Subject: large\n\n" + std::string(300'000, 'x') + "\n";
  for (const std::string& body : {std::string("\nsmall\n"), large}) {
    const absl::Status status = Deliver(0, "both@example.test", body);
    EXPECT_TRUE(status.ok()) << status;
  }
  Listener listener;
  EXPECT_EQ(Inbox(*Open(0, "ann@example.test", listener)).messages.size(), 2u);
  std::filesystem::remove(index);
  std::filesystem::rename(index + ".away", index);
  pair_.loop.RunFor(3000);
  EXPECT_TRUE(pair_.nodes[0]->Status().problems.empty());
  for (const char* name : {"ann@example.test", "bob@example.test"}) {
    auto session = Open(0, name, listener);
    ASSERT_EQ(Inbox(*session).messages.size(), 2u) << name;
    EXPECT_EQ(Text(*session, Inbox(*session), *Inbox(*session).messages.begin()),
              "Delivered-To: " + std::string(name) + "\n\nsmall\n");
    EXPECT_EQ(Text(*session, Inbox(*session), *std::next(Inbox(*session).messages.begin())),
              "Delivered-To: " + std::string(name) + "\n" + large);
  }
  ExpectEqual();
  ExpectReplayEqual(0);
}

}  // namespace
}  // namespace gemel::engine
