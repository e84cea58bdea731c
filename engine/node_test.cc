// Two production nodes against one another, in one thread, on simulated time.
#include "engine/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/replay.h"
#include "engine/test_world.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using testing::TestPair;

class Listener : public AccountListener {
 public:
  void OnMailboxEvents(const MailboxId&, const std::vector<MailboxEvent>& events) override {
    all.insert(all.end(), events.begin(), events.end());
  }
  void OnMailboxDeleted(const MailboxId&) override { ++deleted; }
  void OnAccountClosed(std::string_view reason) override { closed = reason; }
  void OnSettled() override { ++settled; }
  std::vector<MailboxEvent> all;
  int deleted = 0, settled = 0;
  std::string closed;
};

class NodeTest : public ::testing::Test {
 protected:
  NodeTest() : disk_(journal::MakePosixDisk()) {
    static int number = 0;
    root_ = ::testing::TempDir() + "/node_test_" + std::to_string(getpid()) + "_" + std::to_string(++number);
    std::filesystem::remove_all(root_);
  }
  ~NodeTest() override {
    pair_.Cut();
    for (auto& node : pair_.nodes) node.reset();
    std::filesystem::remove_all(root_);
  }

  NodeOptions Options(int place) {
    NodeOptions options;
    options.data_directory = root_ + "/" + std::to_string(place);
    options.host_name = "mx" + std::to_string(place) + ".example.test";
    options.segment_bytes = 4 << 20;
    options.free_bytes_min = 0;
    options.ack_policy = policy_;
    return options;
  }
  void Start(int place) {
    const absl::Status status = pair_.Start(place, *disk_, Options(place));
    ASSERT_TRUE(status.ok()) << status;
  }
  void StartPair() {
    pair_.Pair();
    // The first node has lived alone before: its first generation is Solo(1).
    pair_.identities[0].peer.reset();
    Start(0);
    ASSERT_TRUE(pair_.RunUntil([this] { return pair_.nodes[0]->generation() == 1; }));
    pair_.identities[0].peer = PeerIdentity{pair_.identities[1].node, "1", ""};
    pair_.nodes[0]->SetPeer(*pair_.identities[0].peer);
    Start(1);
    ASSERT_TRUE(pair_.RunUntilQuiet());
  }
  void AddAccount(const std::string& name, std::optional<uint8_t> home) {
    std::optional<absl::Status> done;
    pair_.nodes[0]->AddAccount(name, "{PLAIN}pass", home, [&](absl::Status status) { done = status; });
    ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
    ASSERT_TRUE(done->ok()) << *done;
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(2000);
  }
  absl::Status Deliver(int place, const std::string& to, const std::string& body) {
    Node& node = *pair_.nodes[place];
    absl::StatusOr<std::vector<DeliveryTarget>> targets = node.LookUpRecipient(to);
    if (!targets.ok()) return targets.status();
    std::unique_ptr<Delivery> delivery = node.BeginDelivery(Via::kLmtp, "sender@example.org");
    for (size_t at = 0; at < body.size(); at += 60'000) {
      if (!pair_.RunUntil([&] { return delivery->writable(); })) return absl::DeadlineExceededError("not writable");
      delivery->Write(std::string_view(body).substr(at, 60'000));
    }
    std::vector<Delivery::Recipient> recipients;
    for (const DeliveryTarget& target : *targets)
      recipients.push_back({to, target, "Delivered-To: " + target.name + "\n"});
    std::optional<absl::Status> status;
    delivery->Finish(std::move(recipients), [&](std::vector<absl::Status> each) { status = each[0]; });
    if (!pair_.RunUntil([&] { return status.has_value(); })) return absl::DeadlineExceededError("no answer");
    return *status;
  }
  std::unique_ptr<AccountSession> Open(int place, const std::string& name, Listener& listener) {
    std::unique_ptr<AccountSession> session;
    bool done = false;
    pair_.nodes[place]->OpenAccount(journal::AccountIdOf(name), listener, [&](auto opened) {
      done = true;
      EXPECT_TRUE(opened.ok()) << opened.status();
      if (opened.ok()) session = *std::move(opened);
    });
    EXPECT_TRUE(pair_.RunUntil([&] { return done; }));
    return session;
  }
  CommandResult Run(AccountSession& session, Command command) {
    std::optional<CommandResult> result;
    session.Submit(std::move(command), [&](CommandResult done) { result = std::move(done); });
    EXPECT_TRUE(pair_.RunUntil([&] { return result.has_value(); }));
    return result.value_or(CommandResult{absl::DeadlineExceededError("no answer"), 0, {}});
  }
  static const Mailbox& Inbox(const AccountSession& session) { return *session.state().FindName("INBOX"); }
  std::string Text(AccountSession& session, const Mailbox& mailbox, const Message& message) {
    std::optional<std::string> text;
    session.OpenBody(mailbox.id, message, [&](absl::StatusOr<std::shared_ptr<maildir::Body>> body) {
      text =
          body.ok() ? (*body)->Read(0, (*body)->bytes()).value_or("unreadable") : std::string(body.status().message());
    });
    EXPECT_TRUE(pair_.RunUntil([&] { return text.has_value(); }));
    return text.value_or("");
  }
  void ExpectEqual() {
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(1000);
    EXPECT_EQ(pair_.nodes[0]->Digests(), pair_.nodes[1]->Digests());
  }
  void ExpectReplayEqual(int place) {
    static int number = 0;
    ReplayOptions options;
    options.journal_directory = Options(place).data_directory + "/journal";
    options.target = root_ + "/replay" + std::to_string(++number);
    const absl::StatusOr<ReplayReport> report = Replay(*disk_, options, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->digests, pair_.nodes[place]->Digests());
    EXPECT_TRUE(report->damaged.empty());
  }

  std::unique_ptr<journal::Disk> disk_;
  std::string root_;
  AckPolicy policy_ = AckPolicy::kPairIfUp;
  TestPair pair_;
};

TEST_F(NodeTest, LettersToEitherNodeAreOnBothAndReplayable) {
  StartPair();
  for (uint8_t home = 0; home < 2; ++home) {
    const std::string name = "user" + std::to_string(home) + "@example.test";
    AddAccount(name, home);
    EXPECT_TRUE(Deliver(0, name, "Subject: one\n\nfrom 0\n").ok());
    EXPECT_TRUE(Deliver(1, name, "Subject: two\n\nfrom 1\n").ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(100);
    Listener listener;
    auto session = Open(home, name, listener);
    ASSERT_NE(session, nullptr);
    const Mailbox& inbox = Inbox(*session);
    ASSERT_EQ(inbox.messages.size(), 2u);
    EXPECT_EQ(inbox.uid_validity % 2, home);
    EXPECT_EQ(inbox.messages[0].uid, 1u);
    EXPECT_EQ(inbox.messages[1].uid, 2u);
    EXPECT_EQ(Text(*session, inbox, inbox.messages[0]), "Delivered-To: " + name + "\nSubject: one\n\nfrom 0\n");
    EXPECT_EQ(Text(*session, inbox, inbox.messages[1]), "Delivered-To: " + name + "\nSubject: two\n\nfrom 1\n");
  }
  ExpectEqual();
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, CommandsChangeBothNodes) {
  StartPair();
  AddAccount("ann@example.test", 1);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(Deliver(i % 2, "ann@example.test", "Subject: x\n\n" + std::to_string(i) + "\n").ok());
  pair_.loop.RunFor(100);
  Listener listener;
  auto session = Open(1, "ann@example.test", listener);
  const MailboxId inbox = Inbox(*session).id;

  EXPECT_TRUE(Run(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {"$Work"}, {2}}).status.ok());
  EXPECT_EQ(Inbox(*session).Find(2)->flags, journal::kDeleted);
  EXPECT_TRUE(Run(*session, CreateCommand{"a/b"}).status.ok());
  EXPECT_EQ(Run(*session, CreateCommand{"a/b"}).status.code(), absl::StatusCode::kAlreadyExists);
  const MailboxId b = session->state().FindName("a/b")->id;
  CommandResult copied = Run(*session, CopyCommand{inbox, b, {1, 2}, false});
  EXPECT_TRUE(copied.status.ok());
  ASSERT_EQ(copied.copied.size(), 2u);
  EXPECT_EQ(copied.uid_validity, session->state().Find(b)->uid_validity);
  CommandResult moved = Run(*session, CopyCommand{inbox, b, {3}, true});
  EXPECT_EQ(moved.copied.size(), 1u);
  EXPECT_TRUE(Run(*session, ExpungeCommand{inbox, {1, 2, 3}}).status.ok());
  EXPECT_EQ(Inbox(*session).messages.size(), 1u);
  EXPECT_TRUE(Run(*session, RenameCommand{"a", "z"}).status.ok());
  EXPECT_NE(session->state().FindName("z/b"), nullptr);
  EXPECT_TRUE(Run(*session, SubscribeCommand{"z/b", true}).status.ok());
  EXPECT_TRUE(Run(*session, DeleteCommand{"z"}).status.ok());
  EXPECT_EQ(session->state().Find(b)->messages.size(), 3u);
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, AKilledNodeHasEverythingAgain) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        Deliver(i % 2, i % 3 == 0 ? "ann@example.test" : "bob@example.test", "\n" + std::to_string(i) + "\n").ok());
  }
  for (int place = 0; place < 2; ++place) {
    pair_.loop.RunFor(100);
    const auto before = pair_.nodes[place]->Digests();
    pair_.Kill(place);
    Start(place);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    EXPECT_EQ(pair_.nodes[place]->Digests(), before);
    ASSERT_TRUE(Deliver(place, "ann@example.test", "\nafter\n").ok());
  }
  ExpectEqual();
  ExpectReplayEqual(0);
}

TEST_F(NodeTest, WhileThePeerIsAwayMailIsTakenAndPlacedWhenItIsBack) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  pair_.Kill(1);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nhome here\n").ok());
  ASSERT_TRUE(Deliver(0, "bob@example.test", "\nhome away\n").ok());
  EXPECT_EQ(pair_.nodes[0]->HomeOf(journal::AccountIdOf("bob@example.test")), Home::kPeerAway);
  EXPECT_GT(pair_.nodes[0]->Status().unprotected, 0u);
  Listener listener;
  auto session = Open(0, "bob@example.test", listener);
  EXPECT_TRUE(session->read_only());
  EXPECT_EQ(Inbox(*session).messages.size(), 0u);
  EXPECT_EQ(Run(*session, CreateCommand{"x"}).status.code(), absl::StatusCode::kUnavailable);
  Start(1);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  EXPECT_EQ(Inbox(*session).messages.size(), 1u);
  EXPECT_THAT(listener.closed, HasSubstr("reconnect"));
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, PairRequiredRefusesWithoutThePeer) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nx\n").ok());
  pair_.Kill(1);
  EXPECT_EQ(Deliver(0, "ann@example.test", "\ny\n").code(), absl::StatusCode::kUnavailable);
}

TEST_F(NodeTest, AHomeMovesAndUidsJumpToTheOtherLane) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nx\n").ok());
  std::optional<absl::Status> done;
  pair_.nodes[0]->SetHome("ann@example.test", 1, [&](absl::Status status) { done = status; });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  EXPECT_TRUE(done->ok()) << *done;
  ASSERT_TRUE(
      pair_.RunUntil([&] { return pair_.nodes[1]->HomeOf(journal::AccountIdOf("ann@example.test")) == Home::kHere; }));
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\ny\n").ok());
  ASSERT_TRUE(Deliver(1, "ann@example.test", "\nz\n").ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  Listener listener;
  auto session = Open(1, "ann@example.test", listener);
  ASSERT_EQ(Inbox(*session).messages.size(), 3u);
  EXPECT_EQ(Inbox(*session).messages[0].uid, 1u);
  EXPECT_EQ(Inbox(*session).messages[1].uid, 65536u);
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, ALargeBodyAndManyRecipients) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  std::optional<absl::Status> done;
  pair_.nodes[0]->SetAlias("all@example.test", {"ann@example.test", "bob@example.test"},
                           [&](absl::Status s) { done = s; });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  const std::string large = "Subject: large\n\n" + std::string(3'000'000, 'x') + "\n";
  ASSERT_TRUE(Deliver(0, "ann@example.test", large).ok());
  ASSERT_TRUE(Deliver(1, "all@example.test", large).ok());
  ASSERT_TRUE(Deliver(1, "all@example.test", "Subject: small\n\nx\n").ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(100);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  ASSERT_EQ(Inbox(*session).messages.size(), 3u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[i]), "Delivered-To: ann@example.test\n" + large);
  }
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
}

TEST_F(NodeTest, ADeletedFileIsRestoredAndADroppedOneAdopted) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "Subject: x\n\nhello\n").ok());
  pair_.loop.RunFor(10'000);
  const std::string maildir = Options(0).data_directory + "/accounts/example.test/ann/Maildir";
  int removed = 0;
  for (const char* part : {"/new", "/cur"}) {
    for (const auto& entry : std::filesystem::directory_iterator(maildir + part))
      removed += std::filesystem::remove(entry.path());
  }
  EXPECT_EQ(removed, 1);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[0]),
            "Delivered-To: ann@example.test\nSubject: x\n\nhello\n");

  ASSERT_TRUE(
      disk_->CreateWhole(maildir + "/new/1700000000.from.another", "Subject: y\r\n\r\nadopt me\r\n", 1'700'000'000)
          .ok());
  ASSERT_TRUE(pair_.RunUntil([&] { return Inbox(*session).messages.size() == 2; }, 30'000));
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[1]), "Subject: y\n\nadopt me\n");
  EXPECT_EQ(Inbox(*session).messages[1].internal_date_s, 1'700'000'000);
  pair_.loop.RunFor(1000);
  EXPECT_FALSE(std::filesystem::exists(maildir + "/new/1700000000.from.another"));
  session.reset();
  ExpectEqual();
}

TEST_F(NodeTest, ADamagedFrameIsFetchedAgainFromThePeer) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(Deliver(i % 2, i % 3 ? "ann@example.test" : "bob@example.test", "\n" + std::to_string(i) + "\n").ok());
  }
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const uint64_t end = pair_.nodes[0]->Status().journal_end & 0xffffffff;
  pair_.Kill(0);
  std::string segment;
  for (const auto& entry : std::filesystem::directory_iterator(Options(0).data_directory + "/journal")) {
    if (segment.empty() || entry.path().string() < segment) segment = entry.path().string();
  }
  auto file = disk_->Open(segment, journal::OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok());
  char byte = 0;
  ASSERT_TRUE((*file)->ReadAt(end / 2, &byte, 1).ok());
  byte ^= 0x20;
  ASSERT_TRUE((*file)->WriteAt(end / 2, std::string_view(&byte, 1)).ok());
  Start(0);
  bool reported = false;
  for (const Problem& problem : pair_.nodes[0]->Status().problems)
    reported |= problem.what.find("segment") != std::string::npos;
  EXPECT_TRUE(reported) << "damage is named";
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  EXPECT_TRUE(pair_.nodes[0]->Status().problems.empty());
  ExpectEqual();
  ExpectReplayEqual(0);
}

}  // namespace
}  // namespace gemel::engine
