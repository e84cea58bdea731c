// Letters that other programs put into the Maildirs become mail once, whatever comes between.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using testing::Listener;
using testing::NodeTest;

constexpr char kAnn[] = "ann@example.test";

class NodeStrangersTest : public NodeTest {
 protected:
  NodeStrangersTest() { options_.zstd_level = 0; }

  std::string Path() { return Options(0).data_directory + "/accounts/example.test/ann/Maildir/new/1700000000.another"; }
  // Dropped on node 0, where somebody is logged in, so that it is found soon; and run until its Deliver is durable.
  void Drop(const std::string& text) {
    const uint64_t end = pair_.nodes[0]->Status().journal_end;
    ASSERT_TRUE(disk_->CreateWhole(Path(), text, 1'700'000'000).ok());
    ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[0]->Status().journal_end > end + text.size(); }));
  }
  void ExpectLetters(size_t count) {
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(65'000);
    EXPECT_FALSE(std::filesystem::exists(Path()));
    Listener listener;
    auto session = Open(0, kAnn, listener);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(Inbox(*session).messages.size(), count);
    session.reset();
    ExpectEqual();
  }
};

TEST_F(NodeStrangersTest, ALetterThatWaitsLongForThePeerIsAdoptedOnce) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  AddAccount(kAnn, 0);
  Listener listener;
  auto session = Open(0, kAnn, listener);
  pair_.SetWire({.bytes_per_ms = 0, .stands_still = true});
  Drop("Subject: x\n\nadopt me\n");
  pair_.loop.RunFor(2 * 20'000);  // a client would have been answered
  pair_.SetWire({});
  session.reset();
  ExpectLetters(1);
}

TEST_F(NodeStrangersTest, ACrashBeforeItsFileIsRemovedDoesNotAdoptItAgain) {
  StartPair();
  AddAccount(kAnn, 0);
  size_t letters = 0;
  for (const size_t bytes : {100u, 300'000u}) {  // in one record, and in several
    SCOPED_TRACE(bytes);
    Listener listener;
    auto session = Open(0, kAnn, listener);
    Drop("Subject: x\n\n" + std::string(bytes, 'x') + "\n");
    pair_.workers.store_stands_still = true;
    ASSERT_TRUE(pair_.RunUntil([&] { return Inbox(*session).messages.size() == letters + 1; }));
    session.reset();
    pair_.Kill(0);
    pair_.workers.ForgetStore();
    ASSERT_TRUE(std::filesystem::exists(Path()));
    Start(0);
    ExpectLetters(++letters);
  }
}

// It was expunged since: who puts it there again wants it back.
TEST_F(NodeStrangersTest, ALetterThatIsGoneMayComeAgain) {
  StartPair();
  AddAccount(kAnn, 0);
  Listener listener;
  auto session = Open(0, kAnn, listener);
  const std::string text = "Subject: x\n\nadopt me\n";
  Drop(text);
  ASSERT_TRUE(pair_.RunUntil([&] { return Inbox(*session).messages.size() == 1; }));
  session.reset();
  pair_.Kill(0);
  Start(0);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  session = Open(0, kAnn, listener);
  const MailboxId inbox = Inbox(*session).id;
  ASSERT_TRUE(Run(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {}, {1}}).status.ok());
  ASSERT_TRUE(Run(*session, ExpungeCommand{inbox, {1}}).status.ok());
  Drop(text);
  session.reset();
  ExpectLetters(1);
}

}  // namespace
}  // namespace gemel::engine
