// What a node makes of what a crash or an accident left: records that wait for the peer, letters' files that are gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/link_messages.h"
#include "engine/node_impl.h"
#include "engine/test_disk.h"
#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using testing::Listener;
using testing::NodeTest;

constexpr char kAnn[] = "ann@example.test";
const std::string kTrace = "Delivered-To: ann@example.test\n";

// Counts who begins to read the journal at its beginning.
class CountingDisk : public testing::ForwardingDisk {
 public:
  CountingDisk() : ForwardingDisk(journal::MakePosixDisk()) {}
  absl::StatusOr<std::unique_ptr<journal::File>> Open(const std::string& path, journal::OpenMode mode) override {
    if (mode == journal::OpenMode::kRead && path.find("/0/journal/") != std::string::npos) ++opened;
    return ForwardingDisk::Open(path, mode);
  }
  int opened = 0;
};

class RecoveryTest : public NodeTest {
 protected:
  RecoveryTest() : NodeTest(std::make_unique<CountingDisk>(), nullptr) {}

  int& JournalsOpened() { return static_cast<CountingDisk&>(*disk_).opened; }
  std::vector<std::filesystem::path> Files(int place) {
    std::vector<std::filesystem::path> files;
    for (const char* part : {"/new", "/cur"}) {
      for (const auto& entry : std::filesystem::directory_iterator(Options(place).data_directory +
                                                                   "/accounts/example.test/ann/Maildir" + part)) {
        files.push_back(entry.path());
      }
    }
    return files;
  }
  void RemoveFiles(int place) {
    for (const auto& path : Files(place)) std::filesystem::remove(path);
  }
  // Begun and not answered: it waits for the peer.
  void BeginDelivery(int place, const std::string& body) {
    auto targets = pair_.nodes[place]->LookUpRecipient(kAnn);
    ASSERT_TRUE(targets.ok());
    auto delivery = pair_.nodes[place]->BeginDelivery(Via::kLmtp, "x@example.org");
    delivery->Write(body);
    delivery->Finish({{kAnn, targets->front(), ""}}, [](auto) {});
    pair_.loop.RunFor(500);
  }
};

// The other end of node 0's link, played by the test.
class PlayedPeer {
 public:
  explicit PlayedPeer(testing::TestPair& pair) : connection_(pair.loop, pair.wire) {
    connection_.session = pair.nodes[0]->AcceptLink(connection_);
    connection_.session->OnConnected();
    Hello hello = Next<Hello>().value_or(Hello());
    hello.node = pair.identities[1].node;
    hello.place = 1;
    hello.incarnation = 77;
    Send(hello);
  }
  void Send(const LinkMessage& message) { connection_.session->OnBytes(Encode(message)); }
  // The next message of this kind.
  template <class Message>
  std::optional<Message> Next() {
    decoder_.Feed(connection_.sent);
    connection_.sent.clear();
    for (;;) {
      absl::StatusOr<std::optional<LinkMessage>> message = decoder_.Next();
      if (!message.ok() || !message->has_value()) return std::nullopt;
      if (auto* found = std::get_if<Message>(&**message)) return std::move(*found);
    }
  }

 private:
  testing::TestConnection connection_;
  LinkDecoder decoder_;
};

// ---- records of ours that wait for the peer ----

// The replay loads the account long before it comes to the letter that waits. The other node's letter gets its place
// before the peer has confirmed that one.
TEST_F(RecoveryTest, WhatWaitsForThePeerIsNotGivenTwice) {
  policy_ = AckPolicy::kPairRequired;
  options_.checkpoint_ms = 3600'000;
  StartPair();
  AddAccount(kAnn, 0);
  for (int i = 0; i < 70; ++i) ASSERT_TRUE(Deliver(0, kAnn, "\n" + std::to_string(i) + "\n").ok());
  pair_.SetReachable(false);
  BeginDelivery(0, "\nwaits\n");
  BeginDelivery(1, "\nby the other door\n");
  pair_.Kill(0);
  Start(0);
  pair_.loop.RunFor(4000);
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  Listener listener;
  auto session = Open(0, kAnn, listener);
  ASSERT_NE(session, nullptr);
  ASSERT_EQ(Inbox(*session).messages.size(), 72u);
  EXPECT_EQ(Inbox(*session).messages[70].uid, 71u);
  EXPECT_EQ(Inbox(*session).messages[71].uid, 72u);
  EXPECT_NE(Inbox(*session).messages[70].modseq, Inbox(*session).messages[71].modseq);
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
}

// The directory is saved when a checkpoint is asked for; what comes into it while the store's lane is busy is not.
TEST_F(RecoveryTest, ACheckpointDoesNotPassWhatTheSavedDirectoryLacks) {
  StartPair();
  AddAccount(kAnn, 0);
  pair_.loop.RunFor(options_.checkpoint_ms + 1000);
  pair_.workers.store_stands_still = true;
  ASSERT_TRUE(Deliver(0, kAnn, "\nso that there is something to checkpoint\n").ok());
  pair_.loop.RunFor(options_.checkpoint_ms + 1000);
  std::optional<absl::Status> done;
  pair_.nodes[0]->SetAlias("all@example.test", {kAnn}, [&](absl::Status status) { done = status; });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  ASSERT_TRUE(done->ok()) << *done;
  const uint64_t before = pair_.nodes[0]->Status().checkpoint_position;
  pair_.workers.LetStoreGoOn();
  ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[0]->Status().checkpoint_position > before; }));
  pair_.Kill(0);
  Start(0);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  EXPECT_EQ(pair_.nodes[0]->Aliases().size(), 1u);
}

// Its segments are gone, also those behind the checkpoint: it starts, says so, and gets back what the peer has.
TEST_F(RecoveryTest, AJournalThatIsGoneDoesNotRefuseTheStart) {
  StartPair();
  AddAccount(kAnn, 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Deliver(0, kAnn, "\nhello\n").ok());
  pair_.loop.RunFor(options_.checkpoint_ms + 1000);
  ASSERT_TRUE(Deliver(0, kAnn, "\nbehind the checkpoint\n").ok());
  const auto digests = pair_.nodes[1]->Digests();
  pair_.Kill(0);
  std::filesystem::remove_all(Options(0).data_directory + "/journal");
  for (int start = 0; start < 2; ++start) {
    Start(0);
    if (start == 0) {
      std::string problems;
      for (const Problem& problem : pair_.nodes[0]->Status().problems) problems += problem.what + "\n";
      EXPECT_THAT(problems, ::testing::HasSubstr("segment 1: a checkpoint knows of it, and its file is missing"));
      pair_.Kill(0);  // before anything came, and before a checkpoint
    }
  }
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  EXPECT_EQ(pair_.nodes[0]->Digests(), digests);
  ASSERT_TRUE(Deliver(0, kAnn, "\nnew\n").ok());
  ExpectEqual();
}

// A round of verifying that runs does not take off what was passed over once more meanwhile.
TEST_F(RecoveryTest, WhatIsPassedOverWhileItIsVerifiedIsVerifiedAgain) {
  StartPair();
  AddAccount(kAnn, 0);
  ASSERT_TRUE(Deliver(0, kAnn, "\nhello\n").ok());
  pair_.loop.RunFor(1000);
  NodeImpl& node = static_cast<NodeImpl&>(*pair_.nodes[0]);
  const AccountId ann = journal::AccountIdOf(kAnn);
  RemoveFiles(0);  // so that the journal is read for it, beside the loop
  node.PassOver(ann, node.committed_end_);
  node.MendPassedOver();
  node.PassOver(ann, node.committed_end_);
  node.MendPassedOver();
  ASSERT_TRUE(pair_.RunUntil([&] { return !Files(0).empty(); }));
  EXPECT_TRUE(node.passed_over_.contains(ann));
  ASSERT_TRUE(pair_.RunUntil([&] { return node.passed_over_.empty(); }));
}

TEST_F(RecoveryTest, AHomeThatIsBeingReleasedOrdersNothingAfterARestart) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  AddAccount(kAnn, 0);
  ASSERT_TRUE(Deliver(0, kAnn, "\nx\n").ok());
  ProxyHello client;
  client.account = journal::AccountIdOf(kAnn);
  client.generation = pair_.nodes[0]->generation();
  EXPECT_TRUE(pair_.nodes[0]->CheckProxy(client).ok());
  const uint64_t end = pair_.nodes[0]->Status().journal_end;
  pair_.nodes[0]->SetHome(kAnn, 1, [](absl::Status) {});
  ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[0]->Status().journal_end > end; }));
  pair_.SetReachable(false);
  pair_.Kill(0);
  Start(0);
  pair_.loop.RunFor(4000);
  EXPECT_NE(pair_.nodes[0]->Status().state, "starting");
  EXPECT_FALSE(pair_.nodes[0]->CheckProxy(client).ok());
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[1]->HomeOf(client.account) == Home::kHere; }));
  ExpectEqual();
}

// ---- letters' files that are gone ----

class LostFileTest : public RecoveryTest {
 protected:
  // A letter whose file node 0 has lost, and that somebody begins to read there. Node 1 is away; the test plays it.
  void LoseAndRead() {
    StartPair();
    AddAccount(kAnn, 0);
    ASSERT_TRUE(Deliver(0, kAnn, text_).ok());
    pair_.loop.RunFor(10'000);
    pair_.SetReachable(false);
    RemoveFiles(0);
    peer_ = std::make_unique<PlayedPeer>(pair_);
    session_ = Open(0, kAnn, listener_);
    ASSERT_NE(session_, nullptr);
    began_ms_ = pair_.clock.now_ms;
    session_->OpenBody(Inbox(*session_).id, message(), [&](absl::StatusOr<std::shared_ptr<maildir::Body>> body) {
      read_ =
          body.ok() ? (*body)->Read(0, (*body)->bytes()).value_or("unreadable") : std::string(body.status().message());
    });
    ASSERT_TRUE(pair_.RunUntil([&] {
      request_ = peer_->Next<BodyRequest>();
      return request_.has_value();
    }));
    EXPECT_EQ(request_->message, message().dot);
    EXPECT_EQ(request_->offset, 0u);
  }
  ~LostFileTest() override {
    session_.reset();
    peer_.reset();
  }
  const Message& message() { return Inbox(*session_).messages.at(0); }
  // It comes within this time, whole.
  void ExpectReadWithin(uint64_t ms) {
    ASSERT_TRUE(pair_.RunUntil([&] { return read_.has_value(); }));
    EXPECT_TRUE(*read_ == kTrace + text_) << read_->substr(0, 200);
    EXPECT_LE(pair_.clock.now_ms - began_ms_, ms);
    EXPECT_EQ(Files(0).size(), 1u);
  }

  const std::string text_ = "Subject: x\n\n" + std::string(700'000, 'x') + "\n";
  Listener listener_;
  std::unique_ptr<PlayedPeer> peer_;
  std::unique_ptr<AccountSession> session_;
  std::optional<BodyRequest> request_;
  std::optional<std::string> read_;
  uint64_t began_ms_ = 0;
};

TEST_F(LostFileTest, ALetterIsAskedOfThePeerPartByPart) {
  LoseAndRead();
  const std::string whole = kTrace + text_;
  for (size_t at = 0; at < whole.size(); at += 300'000) {
    if (at > 0) {
      request_ = peer_->Next<BodyRequest>();
      ASSERT_TRUE(request_.has_value());
      EXPECT_EQ(request_->offset, at);
    }
    EXPECT_FALSE(peer_->Next<BodyRequest>().has_value()) << "one part at a time";
    peer_->Send(BodyPart{message().dot, at, true, at + 300'000 >= whole.size(), whole.substr(at, 300'000)});
  }
  ExpectReadWithin(500);
}

TEST_F(LostFileTest, ALetterIsSentToThePeerPartByPart) {
  LoseAndRead();
  peer_->Send(BodyPart{message().dot, 0, false, true, ""});
  ExpectReadWithin(500);
  std::string whole;
  for (bool last = false; !last;) {
    peer_->Send(BodyRequest{journal::AccountIdOf(kAnn), message().dot, whole.size()});
    const std::optional<BodyPart> part = peer_->Next<BodyPart>();
    ASSERT_TRUE(part && part->found);
    EXPECT_FALSE(peer_->Next<BodyPart>().has_value());
    EXPECT_EQ(part->offset, whole.size());
    EXPECT_LE(part->bytes.size(), size_t{256} << 10);
    whole += part->bytes;
    last = part->last;
  }
  EXPECT_TRUE(whole == kTrace + text_);
  peer_->Send(BodyRequest{journal::AccountIdOf(kAnn), message().dot, whole.size() + 1});
  const std::optional<BodyPart> beyond = peer_->Next<BodyPart>();
  ASSERT_TRUE(beyond.has_value());
  EXPECT_FALSE(beyond->found);
}

TEST_F(LostFileTest, WhatThePeerDoesNotSendComesFromTheJournal) {
  LoseAndRead();
  ExpectReadWithin(12'000);
}

TEST_F(LostFileTest, MoreThanTheLetterIsRefused) {
  LoseAndRead();
  peer_->Send(BodyPart{message().dot, 0, true, false, std::string(message().bytes + 1, 'y')});
  ExpectReadWithin(500);
}

TEST_F(LostFileTest, ANewerLinkEndsTheOldOnesRequests) {
  LoseAndRead();
  PlayedPeer newer(pair_);
  ExpectReadWithin(500);
}

// A crash lost files of letters from before the last checkpoint: one pass over the journal for all, after the start.
TEST_F(RecoveryTest, ManyLostFilesTakeOnePassOverTheJournal) {
  options_.checkpoint_ms = 1000;
  StartPair();
  AddAccount(kAnn, 0);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Deliver(0, kAnn, "\n" + std::to_string(i) + "\n").ok());
  pair_.loop.RunFor(5250);
  ASSERT_TRUE(Deliver(0, kAnn, "\nnot in the checkpoint\n").ok());
  ASSERT_TRUE(Deliver(0, kAnn, "\nwaits for the peer again\n").ok());
  pair_.Kill(0);
  RemoveFiles(0);
  JournalsOpened() = 0;
  Start(0);
  EXPECT_EQ(Files(0).size(), 1u) << "only what was just replayed";
  pair_.loop.RunFor(1000);
  EXPECT_EQ(Files(0).size(), 22u);
  EXPECT_LT(JournalsOpened(), 15);
  ExpectEqual();
}

}  // namespace
}  // namespace gemel::engine
