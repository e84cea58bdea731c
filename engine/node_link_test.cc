// The link under stress: narrow, silent, broken halfway, between nodes of which one has a full or a broken disk.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/link_messages.h"
#include "engine/test_nodes.h"
#include "journal/crash_disk.h"
#include "maildir/sqlite_disk_vfs.h"

namespace gemel::engine {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Field;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Listener;
using ::testing::Lt;
using testing::NodeTest;
using ::testing::Not;
using testing::TestConnection;

constexpr char kAnn[] = "ann@example.test";  // at home on node 0
constexpr char kBob[] = "bob@example.test";  // at home on node 1
constexpr size_t kMiB = 1024 * 1024;

struct Disks {
  journal::CrashDisk disk[2];
  maildir::SqliteDiskVfs vfs[2] = {maildir::SqliteDiskVfs(disk[0]), maildir::SqliteDiskVfs(disk[1])};
};

// Each node has a disk in memory of its own.
class LinkTest : public NodeTest {
 protected:
  LinkTest() : LinkTest(std::make_shared<Disks>()) {}
  explicit LinkTest(std::shared_ptr<Disks> disks) : NodeTest(journal::MakePosixDisk(), disks), disks_(*disks) {}

  journal::Disk& DiskOf(int place) override { return disks_.disk[place]; }
  NodeOptions Options(int place) override {
    NodeOptions options = NodeTest::Options(place);
    options.data_directory = "/data";
    options.sqlite_vfs = disks_.vfs[place].name();
    if (segment_bytes_[place] != 0) options.segment_bytes = segment_bytes_[place];
    return options;
  }
  void StartPairWithAccounts() {
    StartPair();
    AddAccount(kAnn, 0);
    AddAccount(kBob, 1);
  }

  Node& node(int place) { return *pair_.nodes[place]; }
  // No compression makes it much smaller.
  std::string Letter(size_t bytes) {
    std::string text = "Subject: x\n\n";
    while (text.size() < bytes) {
      for (int i = 0; i < 72; ++i) text += static_cast<char>('0' + pair_.random.U64() % 64);
      text += '\n';
    }
    return text;
  }
  // A delivery whose answer is not waited for.
  struct Started {
    std::unique_ptr<Delivery> delivery;
    std::optional<absl::Status> status;
  };
  std::shared_ptr<Started> StartDelivery(int place, const char* to, const std::string& body) {
    auto started = std::make_shared<Started>();
    started->delivery = node(place).BeginDelivery(Via::kLmtp, "sender@example.org");
    started->delivery->Write(body);
    started->delivery->Finish({{to, node(place).LookUpRecipient(to)->front(), ""}},
                              [started](absl::Status done) { started->status = std::move(done); });
    return started;
  }
  // What OpenAccount says, when it says it.
  struct Opened {
    Listener listener;
    std::optional<absl::Status> status;
    std::unique_ptr<AccountSession> session;
  };
  std::shared_ptr<Opened> StartOpening(int place, const char* name) {
    auto opened = std::make_shared<Opened>();
    node(place).OpenAccount(journal::AccountIdOf(name), opened->listener, [opened](auto result) {
      opened->status = result.status();
      if (result.ok()) opened->session = *std::move(result);
    });
    return opened;
  }
  size_t Letters(int place, const char* name) {
    const auto opened = StartOpening(place, name);
    EXPECT_TRUE(pair_.RunUntil([&] { return opened->session != nullptr; }));
    return opened->session == nullptr ? 0 : Inbox(*opened->session).messages.size();
  }
  std::vector<std::string> Problems(int place) {
    std::vector<std::string> all;
    for (const Problem& problem : node(place).Status().problems) all.push_back(problem.what);
    return all;
  }
  bool Connected() { return node(0).Status().peer_connected && node(1).Status().peer_connected; }
  static std::vector<LinkMessage> Messages(const std::string& bytes) {
    LinkDecoder decoder;
    decoder.Feed(bytes);
    std::vector<LinkMessage> messages;
    for (auto next = decoder.Next(); next.ok() && *next; next = decoder.Next()) messages.push_back(**std::move(next));
    return messages;
  }
  // A connection at `place` whose other end is the test.
  std::unique_ptr<TestConnection> Accept(int place) {
    auto connection = std::make_unique<TestConnection>(pair_.loop, pair_.wire);
    connection->session = node(place).AcceptLink(*connection);
    connection->session->OnConnected();
    return connection;
  }
  Hello HelloOf(int place) { return std::get<Hello>(Messages(Accept(place)->sent).at(0)); }

  Disks& disks_;
  uint64_t segment_bytes_[2] = {0, 0};
};

TEST_F(LinkTest, EachHelloThatDoesNotAgreeIsRefused) {
  StartPairWithAccounts();
  const Hello good = HelloOf(1);
  ASSERT_FALSE(good.chains.empty());
  const struct {
    const char* why;
    std::function<void(Hello&)> change;
  } rows[] = {
      {"speaks link version 2", [](Hello& hello) { hello.version = 2; }},
      {"belongs to another pair", [](Hello& hello) { hello.cluster.bytes[3] ^= 1; }},
      {"has this node's own identity", [this](Hello& hello) { hello.node = pair_.identities[0].node; }},
      {"has this node's own identity", [](Hello& hello) { hello.place = 0; }},
      {"this node was paired with", [](Hello& hello) { hello.node ^= 1; }},
      {"is in generation 3, this node in 2", [](Hello& hello) { hello.generation = 3; }},
      {"the histories of origin", [](Hello& hello) { hello.chains.back().chain ^= 1; }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.why);
    Hello hello = good;
    row.change(hello);
    const auto connection = Accept(0);
    connection->session->OnBytes(Encode(hello));
    EXPECT_TRUE(connection->closed);
    const std::vector<LinkMessage> answer = Messages(connection->sent);
    ASSERT_EQ(answer.size(), 2u);
    ASSERT_TRUE(std::holds_alternative<Goodbye>(answer[1]));
    EXPECT_THAT(std::get<Goodbye>(answer[1]).reason, HasSubstr(row.why));
    EXPECT_THAT(Problems(0), Contains(HasSubstr(row.why)));
    EXPECT_TRUE(Connected()) << "the good link stays";
  }
  const auto connection = Accept(0);
  connection->session->OnBytes(Encode(good));
  EXPECT_FALSE(connection->closed);
  EXPECT_THAT(Problems(0), IsEmpty());
}

TEST_F(LinkTest, APeerBehindANarrowWireIsFedFromTheDisk) {
  policy_ = AckPolicy::kLocal;
  StartPairWithAccounts();
  pair_.SetWire({.bytes_per_ms = 2000, .stands_still = false});
  const int links = pair_.links_made;
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Deliver(0, kAnn, Letter(3 * kMiB)).ok());
  ExpectEqual();
  EXPECT_EQ(pair_.links_made, links) << "the same link all the time";
  EXPECT_THAT(pair_.Link(0)->unsent_bytes_max, AllOf(Gt(4 * kMiB), Lt(6 * kMiB)));
}

TEST_F(LinkTest, ALinkThatFallsSilentIsDropped) {
  StartPairWithAccounts();
  pair_.SetWire({.bytes_per_ms = 0, .stands_still = true});
  pair_.loop.RunFor(2000);
  EXPECT_TRUE(Connected());
  pair_.loop.RunFor(2000);
  for (int place = 0; place < 2; ++place) {
    EXPECT_FALSE(node(place).Status().peer_connected);
    EXPECT_FALSE(node(place).Status().peer_counts);
    EXPECT_TRUE(Deliver(place, kAnn, "\nx\n").ok());
  }
  pair_.SetWire({});
  ExpectEqual();
  EXPECT_EQ(Letters(0, kAnn), 2u);
}

// With half of its records a node would give UIDs a second meaning.
TEST_F(LinkTest, ALinkThatBreaksWhileRecordsArePulledBackIsWaitedFor) {
  StartPairWithAccounts();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Deliver(1, kBob, Letter(100'000)).ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.Kill(1);
  ASSERT_TRUE(disks_.disk[1].RemoveTree("/data").ok());
  pair_.SetWire({.bytes_per_ms = 200, .stands_still = false});
  Start(1);
  const auto held = [this](int place) {
    uint64_t records = 0;
    for (const OriginSeq& each : node(place).Status().clock) records += each.seq;
    return records;
  };
  ASSERT_TRUE(pair_.RunUntil([&] { return held(1) > held(0) / 2; }));
  pair_.SetReachable(false);
  const auto opened = StartOpening(1, kBob);
  pair_.loop.RunFor(10'000);
  EXPECT_LT(held(1), held(0));
  EXPECT_EQ(node(1).Status().state, "starting");
  EXPECT_THAT(Problems(1), Contains(HasSubstr("lacks records of its own")));
  EXPECT_TRUE(absl::IsUnavailable(node(1).AcceptingMail()));
  EXPECT_FALSE(opened->status.has_value());
  pair_.loop.RunFor(11'000);
  ASSERT_TRUE(opened->status.has_value()) << "a client is told in the end";
  EXPECT_TRUE(absl::IsUnavailable(*opened->status));
  pair_.Kill(1);  // nor does a restart forget it
  Start(1);
  pair_.loop.RunFor(5000);
  EXPECT_EQ(node(1).Status().state, "starting");
  pair_.SetWire({});
  pair_.SetReachable(true);
  ExpectEqual();
  EXPECT_EQ(Letters(1, kBob), 20u);
  EXPECT_THAT(Problems(1), IsEmpty());
  pair_.Kill(0);
  pair_.Kill(1);
  Start(1);
  pair_.loop.RunFor(5000);
  EXPECT_EQ(node(1).Status().state, "paired") << "it has all of them, and starts alone";
}

TEST_F(LinkTest, ANodeWhoseJournalFailedIsNotWaitedFor) {
  StartPairWithAccounts();
  disks_.disk[0].FailAt(disks_.disk[0].operations(), absl::UnavailableError("injected"), /*for_ever=*/true);
  EXPECT_FALSE(Deliver(0, kAnn, "\nx\n").ok());
  EXPECT_EQ(node(0).Status().state, "failed");
  for (int i = 0; i < 5; ++i) {  // it listens, and the other one dials again and again
    pair_.loop.RunFor(i * 1000);
    EXPECT_FALSE(node(1).Status().peer_connected);
    const uint64_t began_ms = pair_.clock.now_ms;
    EXPECT_TRUE(Deliver(1, kBob, "\nx\n").ok());
    EXPECT_LT(pair_.clock.now_ms - began_ms, 1000u);
  }
  EXPECT_THAT(Problems(1), Contains(HasSubstr("the journal of the other server")));
  disks_.disk[0].FailAt(0, absl::OkStatus(), false);
  pair_.Kill(0);
  Start(0);
  ExpectEqual();
  EXPECT_EQ(Letters(1, kBob), 5u);
  EXPECT_THAT(Problems(1), IsEmpty());
}

TEST_F(LinkTest, ALinkThatBreaksAsSoonAsItIsUpIsNone) {
  StartPairWithAccounts();
  int broken = 0;
  const auto break_until = [&](const std::function<bool()>& done, uint64_t ms_max) {
    return pair_.RunUntil(
        [&] {
          if (Connected()) ++broken, pair_.Cut();
          return done();
        },
        ms_max);
  };
  const auto letter = StartDelivery(0, kAnn, "\nx\n");
  ASSERT_TRUE(break_until([&] { return letter->status.has_value(); }, 10'000)) << "the peer has taken nothing for 3 s";
  EXPECT_TRUE(letter->status->ok()) << *letter->status;
  EXPECT_FALSE(node(0).Status().peer_counts);
  break_until([] { return false; }, 30'000);
  EXPECT_FALSE(node(0).Status().peer_counts);
  EXPECT_THAT(Problems(0), Contains(HasSubstr("breaks again and again")));
  EXPECT_LT(broken, 30) << "dialled less and less often";
  ExpectEqual();
  EXPECT_THAT(Problems(0), IsEmpty());
}

TEST_F(LinkTest, AFrameThatDoesNotFitIsAProblemUntilALinkLasts) {
  StartPairWithAccounts();
  const Hello hello = HelloOf(1);
  const auto connection = Accept(0);
  connection->session->OnBytes(Encode(hello) + Encode(FrameMessage{"no frame"}));
  pair_.loop.RunFor(100);
  EXPECT_TRUE(connection->closed);
  EXPECT_THAT(Problems(0), Contains(HasSubstr("does not fit here")));
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(5000);
  EXPECT_THAT(Problems(0), IsEmpty());
}

TEST_F(LinkTest, APeerThatCannotBeCaughtUpIsAProblemUntilItIs) {
  StartPairWithAccounts();
  pair_.Kill(1);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Deliver(0, kAnn, Letter(3 * kMiB)).ok());
  journal::CrashDisk& disk = disks_.disk[0];
  const std::string directory = "/data/journal/";
  std::vector<std::string> old;  // all segments but the newest
  const std::vector<std::string> files = *disk.List(directory);
  for (const std::string& file : files) {
    if (file.starts_with("segment-")) old.push_back(file);
  }
  std::sort(old.begin(), old.end());
  old.pop_back();
  ASSERT_FALSE(old.empty());
  for (const std::string& file : old) ASSERT_TRUE(disk.Rename(directory + file, "/data/" + file).ok());
  Start(1);
  pair_.loop.RunFor(3000);
  EXPECT_THAT(Problems(0), Contains(HasSubstr("cannot be caught up")));
  for (const std::string& file : old) ASSERT_TRUE(disk.Rename("/data/" + file, directory + file).ok());
  ExpectEqual();
  EXPECT_THAT(Problems(0), IsEmpty());
}

TEST_F(LinkTest, SegmentsOfDifferentSizesTakeTheSameFrames) {
  policy_ = AckPolicy::kPairRequired;
  options_.zstd_level = 0;
  segment_bytes_[0] = 16 * kMiB;
  segment_bytes_[1] = 1 * kMiB;
  StartPairWithAccounts();
  std::vector<std::shared_ptr<Started>> letters;  // enough for the largest of frames, each small beside it
  for (int i = 0; i < 4000; ++i) letters.push_back(StartDelivery(0, kAnn, Letter(300)));
  ASSERT_TRUE(pair_.RunUntil([&] { return letters.back()->status.has_value(); }));
  for (const auto& letter : letters) EXPECT_TRUE(letter->status && letter->status->ok());
  ExpectEqual();
}

TEST_F(LinkTest, AClientThatComesWhileTheLinkIsDownForAMomentIsNotLeftReadOnly) {
  StartPairWithAccounts();
  ASSERT_TRUE(Deliver(0, kAnn, "\nx\n").ok());
  pair_.SetReachable(false);
  const auto opened = StartOpening(1, kAnn);
  pair_.loop.RunFor(1000);
  EXPECT_FALSE(opened->status.has_value());
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntil([&] { return opened->status.has_value(); }));
  EXPECT_TRUE(absl::IsUnavailable(*opened->status)) << *opened->status << " (it reconnects)";
  EXPECT_EQ(node(1).HomeOf(journal::AccountIdOf(kAnn)), Home::kPeer) << "so it is passed on";
  const auto at_home = StartOpening(0, kAnn);
  ASSERT_TRUE(pair_.RunUntil([&] { return at_home->session != nullptr; }));
  const MailboxId inbox = Inbox(*at_home->session).id;
  EXPECT_TRUE(Run(*at_home->session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kFlagged, {}, {1}}).status.ok());

  pair_.SetReachable(false);  // for long
  const auto away = StartOpening(1, kAnn);
  ASSERT_TRUE(pair_.RunUntil([&] { return away->status.has_value(); }, 5000));
  ASSERT_NE(away->session, nullptr);
  EXPECT_TRUE(away->session->read_only());
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(1000);
  EXPECT_THAT(away->listener.closed, HasSubstr("reconnect"));
}

TEST_F(LinkTest, AFullDiskHoldsThePeerBackAndTheLinkStays) {
  StartPairWithAccounts();
  pair_.Kill(1);
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(Deliver(0, kAnn, Letter(3 * kMiB)).ok());
  constexpr uint64_t kLarge = 1 << 30;
  disks_.disk[1].SetCapacity(kLarge);
  disks_.disk[1].SetCapacity(kLarge - *disks_.disk[1].FreeBytes("/") + 6 * kMiB);
  Start(1);
  ASSERT_TRUE(pair_.RunUntil([&] { return pair_.Link(1) != nullptr && pair_.Link(1)->paused; }));
  const int links = pair_.links_made;
  pair_.loop.RunFor(15'000);
  EXPECT_EQ(pair_.links_made, links) << "what this node does not want to hear is no silence";
  EXPECT_TRUE(pair_.Link(1)->paused);
  EXPECT_TRUE(Connected());
  EXPECT_TRUE(absl::IsResourceExhausted(node(0).AcceptingMail()));

  pair_.SetReachable(false);
  pair_.loop.RunFor(1000);
  EXPECT_TRUE(absl::IsResourceExhausted(node(0).AcceptingMail())) << "for a moment the peer is still there";
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntil([&] { return pair_.Link(1) != nullptr && Connected(); }));
  pair_.loop.RunFor(2000);
  EXPECT_TRUE(pair_.Link(1)->paused);
  EXPECT_LT(pair_.Link(0)->sent.size() - pair_.Link(0)->unsent_bytes(), 100'000u) << "what waits is not taken again";

  pair_.SetReachable(false);
  pair_.loop.RunFor(4000);
  EXPECT_TRUE(node(0).AcceptingMail().ok()) << node(0).AcceptingMail();
  pair_.SetReachable(true);
  disks_.disk[1].SetCapacity(kLarge);
  ExpectEqual();
  EXPECT_EQ(Letters(0, kAnn), 7u);
}

TEST_F(LinkTest, FramesThatAreHereAlreadyDoNotHoldThePeerBackForEver) {
  StartPairWithAccounts();
  ASSERT_TRUE(Deliver(0, kAnn, Letter(3 * kMiB)).ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  TestConnection* const link = pair_.Link(1);
  std::string again;
  while (again.size() < 12 * kMiB) {
    for (const LinkMessage& message : Messages(pair_.Link(0)->sent)) {
      if (std::holds_alternative<FrameMessage>(message)) again += Encode(message);
    }
  }
  link->session->OnBytes(again);
  EXPECT_TRUE(link->paused);
  pair_.loop.RunFor(1000);
  EXPECT_FALSE(link->paused);
  EXPECT_TRUE(Deliver(0, kAnn, "\nx\n").ok());
}

TEST_F(LinkTest, UnderPairRequiredARestartAloneShowsNothingOlderThanBefore) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  AddAccount(kBob, 0);
  AddAccount(kAnn, 0);
  ASSERT_TRUE(Deliver(0, kAnn, "\nx\n").ok());
  auto before = StartOpening(0, kAnn);
  ASSERT_TRUE(pair_.RunUntil([&] { return before->session != nullptr; }));
  const MailboxId inbox = Inbox(*before->session).id;
  ASSERT_TRUE(Run(*before->session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kFlagged, {}, {1}}).status.ok());
  before->session.reset();
  pair_.Kill(1);
  pair_.Kill(0);
  Start(0);
  const auto opened = StartOpening(0, kAnn);
  const auto other = StartOpening(0, kBob);
  pair_.loop.RunFor(10'000);
  EXPECT_EQ(opened->session, nullptr) << "the flag that was shown is not known to be on both";
  EXPECT_NE(other->session, nullptr) << "nothing of this one waits";
  EXPECT_THAT(Problems(0), Contains(HasSubstr("1 mailboxes are not shown")));
  pair_.loop.RunFor(12'000);
  ASSERT_TRUE(opened->status.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*opened->status));
  Start(1);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const auto after = StartOpening(0, kAnn);
  ASSERT_TRUE(pair_.RunUntil([&] { return after->session != nullptr; }));
  EXPECT_EQ(Inbox(*after->session).Find(1)->flags, journal::kFlagged);
  EXPECT_THAT(Problems(0), IsEmpty());
}

}  // namespace
}  // namespace gemel::engine
