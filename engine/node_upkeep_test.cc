// What a pair does by the clock, over simulated days: retention, purging, adopting; and how it says that it catches up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/node.h"
#include "engine/replay.h"
#include "engine/test_disk.h"
#include "engine/test_world.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::TestPair;

constexpr uint64_t kHourMs = 3600'000;
constexpr uint64_t kDayMs = 24 * kHourMs;
constexpr char kAnn[] = "ann@example.test";

class Nobody : public AccountListener {
 public:
  void OnMailboxEvents(const MailboxId&, const std::vector<MailboxEvent>&) override {}
  void OnMailboxDeleted(const MailboxId&) override {}
  void OnAccountClosed(std::string_view) override {}
  void OnSettled() override {}
};

class UpkeepTest : public ::testing::Test {
 protected:
  UpkeepTest()
      : disk_(std::make_unique<testing::StampedDisk>(journal::MakePosixDisk(), [this](const std::string& path) {
          const int place = path.starts_with(root_ + "/1/") ? 1 : 0;
          return static_cast<int64_t>(pair_.clocks[place].NowMillis() / 1000);
        })) {
    static int number = 0;
    root_ = ::testing::TempDir() + "/node_upkeep_test_" + std::to_string(getpid()) + "_" + std::to_string(++number);
    std::filesystem::remove_all(root_);
    options_.segment_bytes = 1 << 20;
    options_.free_bytes_min = 0;
    options_.retain_bytes_min = 0;
    options_.retain_seconds = 2 * kDayMs / 1000;
    // Days of ticks are many.
    options_.heartbeat_ms = 60'000;
    options_.peer_timeout_ms = 200'000;
    options_.checkpoint_ms = 60'000;
  }
  ~UpkeepTest() override {
    journal::SetLogFile("");
    pair_.Cut();
    for (auto& node : pair_.nodes) node.reset();
    std::filesystem::remove_all(root_);
  }

  Node& node(int place) { return *pair_.nodes[place]; }
  std::string Data(int place) { return root_ + "/" + std::to_string(place); }
  void Start(int place) {
    NodeOptions options = options_;
    options.data_directory = Data(place);
    const absl::Status status = pair_.Start(place, *disk_, options);
    ASSERT_TRUE(status.ok()) << status;
  }
  // With one account, at home on node 0.
  void StartPair() {
    pair_.Pair();
    pair_.identities[0].peer.reset();
    Start(0);
    ASSERT_TRUE(pair_.RunUntil([this] { return node(0).generation() == 1; }));
    pair_.identities[0].peer = PeerIdentity{pair_.identities[1].node, "1", ""};
    node(0).SetPeer(*pair_.identities[0].peer);
    Start(1);
    ASSERT_TRUE(RunUntilQuiet());
    std::optional<absl::Status> added;
    node(0).AddAccount(kAnn, "{PLAIN}pass", 0, [&](absl::Status status) { added = status; });
    ASSERT_TRUE(pair_.RunUntil([&] { return added.has_value(); }));
    ASSERT_TRUE(added->ok()) << *added;
    ASSERT_TRUE(RunUntilQuiet());
    pair_.loop.RunFor(200'000);
  }
  bool RunUntilQuiet() {
    return pair_.RunUntil(
        [this] {
          for (auto& each : pair_.nodes) {
            const NodeStatus status = each->Status();
            if (!status.peer_counts || status.lag_records_out != 0 || status.state != "paired") return false;
          }
          return true;
        },
        600'000);
  }
  void Deliver(int place, const std::string& body) {
    auto targets = node(place).LookUpRecipient(kAnn);
    ASSERT_TRUE(targets.ok());
    auto delivery = node(place).BeginDelivery(Via::kLmtp, "x@example.org");
    delivery->Write(body);
    std::optional<absl::Status> status;
    delivery->Finish({{kAnn, targets->front(), ""}}, [&](absl::Status done) { status = std::move(done); });
    ASSERT_TRUE(pair_.RunUntil([&] { return status.has_value(); }));
    ASSERT_TRUE(status->ok()) << *status;
  }
  void SetAlias(int place, std::vector<std::string> targets) {
    std::optional<absl::Status> set;
    node(place).SetAlias("all@example.test", std::move(targets), [&](absl::Status status) { set = status; });
    ASSERT_TRUE(pair_.RunUntil([&] { return set.has_value(); }));
    EXPECT_TRUE(set->ok()) << *set;
    ASSERT_TRUE(RunUntilQuiet());
  }
  std::string Problems(int place) {
    std::string all;
    for (const Problem& problem : node(place).Status().problems) all += problem.what + "\n";
    return all;
  }
  // So many segments, of letters that no compression makes smaller.
  void FillSegments(size_t segments) {
    const uint64_t until = (node(0).Status().journal_end >> 32) + segments;
    while (node(0).Status().journal_end >> 32 < until) {
      std::string body = "\n";
      while (body.size() < 50'000) body += journal::HexU64(pair_.random.U64()) + "\n";
      Deliver(0, body);
    }
  }
  std::unique_ptr<AccountSession> Open(int place) {
    std::unique_ptr<AccountSession> session;
    bool done = false;
    node(place).OpenAccount(journal::AccountIdOf(kAnn), nobody_, [&](auto opened) {
      done = true;
      if (opened.ok()) session = *std::move(opened);
    });
    EXPECT_TRUE(pair_.RunUntil([&] { return done; }));
    EXPECT_NE(session, nullptr);
    return session;
  }
  void Expunge(Uid uid) {
    auto session = Open(0);
    const MailboxId inbox = session->state().FindName("INBOX")->id;
    for (Command command : {Command(StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {}, {uid}}),
                            Command(ExpungeCommand{inbox, {uid}})}) {
      std::optional<CommandResult> result;
      session->Submit(std::move(command), [&](CommandResult done) { result = std::move(done); });
      ASSERT_TRUE(pair_.RunUntil([&] { return result.has_value(); }));
      ASSERT_TRUE(result->status.ok()) << result->status;
    }
  }
  uint64_t OldestSegment(int place) { return node(place).Status().journal_oldest >> 32; }
  // A point-in-time recovery beside the running node. Returns the report; the tree is in Replayed().
  ReplayReport ReplayUntil(int place, std::optional<uint64_t> until_ms) {
    ReplayOptions options;
    options.data_directory = Data(place);
    options.journal_directory = Data(place) + "/journal";
    options.target = replayed_ = root_ + "/replayed" + std::to_string(++replays_);
    options.until_ms = until_ms;
    absl::StatusOr<ReplayReport> report = Replay(*disk_, options, nullptr);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : ReplayReport{};
  }
  // Of all letters in the INBOX below this data directory.
  std::string Inbox(const std::string& data) {
    std::string all;
    for (const char* part : {"new", "cur"}) {
      for (const auto& entry :
           std::filesystem::directory_iterator(data + "/accounts/example.test/ann/Maildir/" + part)) {
        std::stringstream text;
        text << std::ifstream(entry.path()).rdbuf();
        all += text.str();
      }
    }
    return all;
  }
  size_t ExpungedBodies(int place) {
    const std::string expunged = Data(place) + "/accounts/example.test/ann/expunged";
    if (!std::filesystem::exists(expunged)) return 0;
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(expunged)) files += entry.is_regular_file();
    return files;
  }
  std::string LogText() {
    std::stringstream text;
    text << std::ifstream(root_ + "/log").rdbuf();
    return text.str();
  }

  std::unique_ptr<journal::Disk> disk_;
  std::string root_, replayed_;
  NodeOptions options_;
  Nobody nobody_;
  int replays_ = 0;
  TestPair pair_;
};

TEST_F(UpkeepTest, ASegmentIsKeptForRetainTime) {
  StartPair();
  FillSegments(2);
  pair_.loop.RunFor(kDayMs);
  EXPECT_EQ(OldestSegment(0), 1u);
  EXPECT_EQ(OldestSegment(1), 1u);
  pair_.loop.RunFor(kDayMs + kHourMs);
  EXPECT_EQ(OldestSegment(0), node(0).Status().journal_end >> 32) << "all but the one that is written";
  EXPECT_GT(OldestSegment(1), 1u);
  // What the segments said is in the bases.
  EXPECT_EQ(ReplayUntil(0, std::nullopt).digests, node(0).Digests());
  EXPECT_EQ(Inbox(replayed_), Inbox(Data(0)));
}

TEST_F(UpkeepTest, RetainSizeIsKeptHoweverOldItIs) {
  options_.retain_bytes_min = 1 << 20;
  StartPair();
  FillSegments(3);
  pair_.loop.RunFor(10 * kDayMs);
  const NodeStatus status = node(0).Status();
  EXPECT_GT(OldestSegment(0), 1u);
  EXPECT_LT(OldestSegment(0), status.journal_end >> 32);
  EXPECT_GT(status.journal_bytes, 1u << 20);
}

TEST_F(UpkeepTest, NoSegmentGoesThatThePeerLacks) {
  StartPair();
  pair_.Kill(1);
  pair_.loop.RunFor(kHourMs);
  FillSegments(2);
  pair_.loop.RunFor(4 * kDayMs);
  EXPECT_EQ(OldestSegment(0), 1u);
  Start(1);
  ASSERT_TRUE(RunUntilQuiet());
  pair_.loop.RunFor(kHourMs);
  EXPECT_GT(OldestSegment(0), 1u);
}

// Its records and what was made after them have times of next month; retention goes by when they were written.
TEST_F(UpkeepTest, AClockThatWasAheadDoesNotKeepTheJournal) {
  pair_.clocks[1].ahead_ms = 30 * kDayMs;
  StartPair();
  SetAlias(1, {kAnn});
  EXPECT_THAT(Problems(0), HasSubstr("the other server's clock is 2592000 s ahead"));
  Deliver(1, "\nfrom the future\n");
  FillSegments(2);
  EXPECT_THAT(Problems(1), Not(HasSubstr("clock")));
  pair_.clocks[1].ahead_ms = 0;
  pair_.loop.RunFor(kHourMs);
  EXPECT_THAT(Problems(1), HasSubstr("this server's clock was set back"));
  SetAlias(0, {});
  for (int place = 0; place < 2; ++place) EXPECT_TRUE(node(place).Aliases().empty()) << "the later word";
  FillSegments(1);
  EXPECT_EQ(OldestSegment(0), 1u);
  EXPECT_EQ(OldestSegment(1), 1u);
  pair_.loop.RunFor(2 * kDayMs + kHourMs);
  EXPECT_GT(OldestSegment(0), 2u);
  EXPECT_GT(OldestSegment(1), 2u);
  EXPECT_EQ(ReplayUntil(1, std::nullopt).digests, node(1).Digests());
}

// Nothing is replayed: what the journal holds tells how late it was.
TEST_F(UpkeepTest, ItsTimeStampsDoNotGoBackWhenItsClockDidWhileItWasDown) {
  pair_.clocks[1].ahead_ms = kDayMs;
  StartPair();
  SetAlias(1, {kAnn});
  pair_.loop.RunFor(200'000);
  EXPECT_EQ(node(1).Status().checkpoint_position, node(1).Status().journal_end);
  pair_.Kill(1);
  pair_.clocks[1].ahead_ms = 0;
  Start(1);
  ASSERT_TRUE(RunUntilQuiet());
  pair_.loop.RunFor(kHourMs);
  EXPECT_THAT(Problems(1), HasSubstr("this server's clock was set back"));
  EXPECT_THAT(Problems(0), HasSubstr("the other server's clock is"));
}

TEST_F(UpkeepTest, ASegmentThatGoesBadBeforeItIsRetiredStays) {
  StartPair();
  FillSegments(2);
  pair_.loop.RunFor(kHourMs);  // it was read meanwhile, and was whole
  ASSERT_TRUE((*disk_->Open(Data(0) + "/journal/segment-00000001", journal::OpenMode::kReadWrite))
                  ->WriteAt(400'000, "damage")
                  .ok());
  pair_.loop.RunFor(2 * kDayMs + kHourMs);
  EXPECT_EQ(OldestSegment(0), 1u);
  EXPECT_THAT(Problems(0), HasSubstr("old journal segments are kept"));
}

// The bases are written while the peer comes back with an old copy of its data.
TEST_F(UpkeepTest, ASegmentThatThePeerLacksAgainStays) {
  StartPair();
  pair_.loop.RunFor(200'000);
  pair_.Kill(1);
  std::filesystem::copy(Data(1), Data(1) + ".copy", std::filesystem::copy_options::recursive);
  Start(1);
  ASSERT_TRUE(RunUntilQuiet());
  FillSegments(2);
  pair_.loop.RunFor(kHourMs);
  pair_.workers.store_stands_still = true;
  pair_.loop.RunFor(2 * kDayMs + kHourMs);
  pair_.Kill(1);
  std::filesystem::remove_all(Data(1));
  std::filesystem::rename(Data(1) + ".copy", Data(1));
  pair_.SetWire({.bytes_per_ms = 1, .stands_still = false});
  Start(1);
  ASSERT_TRUE(pair_.RunUntil([this] { return node(0).Status().peer_connected; }));
  pair_.workers.LetStoreGoOn();
  pair_.loop.RunFor(1000);
  EXPECT_EQ(OldestSegment(0), 1u);
  pair_.SetWire({});
  ASSERT_TRUE(RunUntilQuiet());
  pair_.loop.RunFor(kHourMs);
  EXPECT_GT(OldestSegment(0), 1u);
  EXPECT_EQ(node(0).Digests(), node(1).Digests());
}

// What came again had no room in its old place: the place stays damaged, and all that was in it is held.
TEST_F(UpkeepTest, ALostSegmentThatCameAgainDoesNotStopRetention) {
  StartPair();
  Deliver(0, "\nfirst of all\n");
  FillSegments(3);
  pair_.loop.RunFor(200'000);
  pair_.Kill(0);
  ASSERT_TRUE(std::filesystem::remove(Data(0) + "/journal/segment-00000002"));
  for (int start = 0; start < 2; ++start) {
    Start(0);
    EXPECT_EQ(node(0).Status().problems.size(), start == 0 ? 1u : 0u);
    ASSERT_TRUE(RunUntilQuiet());
    pair_.loop.RunFor(200'000);
    EXPECT_THAT(node(0).Status().problems, IsEmpty());
    EXPECT_EQ(node(0).Digests(), node(1).Digests());
    if (start == 0) pair_.Kill(0);
  }
  EXPECT_EQ(ReplayUntil(0, std::nullopt).digests, node(0).Digests());
  EXPECT_EQ(Inbox(replayed_), Inbox(Data(0)));
  FillSegments(1);
  pair_.loop.RunFor(2 * kDayMs + kHourMs);
  EXPECT_EQ(OldestSegment(0), node(0).Status().journal_end >> 32);
  EXPECT_THAT(node(0).Status().problems, IsEmpty());
  const ReplayReport report = ReplayUntil(0, std::nullopt);
  EXPECT_THAT(report.damaged, IsEmpty());
  EXPECT_EQ(report.digests, node(0).Digests());
  EXPECT_EQ(Inbox(replayed_), Inbox(Data(0)));
}

TEST_F(UpkeepTest, ANodeAloneNamesWhatItLostAndThenGoesOn) {
  Start(0);
  ASSERT_TRUE(pair_.RunUntil([this] { return node(0).generation() == 1; }));
  node(0).AddAccount(kAnn, "{PLAIN}pass", 0, [](absl::Status) {});
  pair_.loop.RunFor(200'000);
  FillSegments(2);
  pair_.loop.RunFor(200'000);
  pair_.Kill(0);
  ASSERT_TRUE((*disk_->Open(Data(0) + "/journal/segment-00000001", journal::OpenMode::kReadWrite))
                  ->WriteAt(400'000, "damage")
                  .ok());
  Start(0);
  ASSERT_EQ(node(0).Status().problems.size(), 2u);
  EXPECT_THAT(node(0).Status().problems[0].what + node(0).Status().problems[1].what,
              HasSubstr("the journal has lost the records"));
  pair_.loop.RunFor(kDayMs);
  EXPECT_EQ(OldestSegment(0), 1u);
  pair_.loop.RunFor(kDayMs + kHourMs);
  EXPECT_GT(OldestSegment(0), 1u);
  std::string all;
  for (const Problem& problem : node(0).Status().problems) all += problem.what;
  EXPECT_THAT(all, HasSubstr("which is not kept any more"));
}

TEST_F(UpkeepTest, AnExpungedLetterComesBackFromThePastUntilItIsPurged) {
  StartPair();
  Deliver(0, "Subject: precious\n\nkeep me\n");
  FillSegments(2);
  pair_.loop.RunFor(20 * kHourMs);
  const uint64_t before_ms = pair_.clock.NowMillis();
  pair_.loop.RunFor(4 * kHourMs);
  Expunge(1);
  FillSegments(1);
  pair_.loop.RunFor(kDayMs + 2 * kHourMs);
  // Two days after the start: its Deliver is in the base, its expunge in the journal.
  for (int place = 0; place < 2; ++place) {
    ASSERT_GT(OldestSegment(place), 1u);
    EXPECT_THAT(Inbox(Data(place)), Not(HasSubstr("keep me")));
    EXPECT_EQ(ExpungedBodies(place), 1u);
    EXPECT_THAT(ReplayUntil(place, before_ms).damaged, IsEmpty());
    EXPECT_THAT(Inbox(replayed_), HasSubstr("keep me"));
    EXPECT_EQ(ReplayUntil(place, std::nullopt).digests, node(place).Digests());
    EXPECT_THAT(Inbox(replayed_), Not(HasSubstr("keep me")));
  }
  // It was expunged 2027-01-16 08:00 UTC; that day ended two days before 2027-01-19 00:00. But the journal still tells
  // of it, and a replay begins with a base that has it.
  pair_.loop.RunFor(kDayMs + 18 * kHourMs);
  EXPECT_EQ(ExpungedBodies(0), 1u);
  EXPECT_THAT(ReplayUntil(0, std::nullopt).damaged, IsEmpty());
  FillSegments(1);
  pair_.loop.RunFor(2 * kDayMs + 2 * kHourMs);
  EXPECT_EQ(ExpungedBodies(0), 0u);
  EXPECT_EQ(ExpungedBodies(1), 0u);
  EXPECT_THAT(ReplayUntil(0, std::nullopt).damaged, IsEmpty());
}

TEST_F(UpkeepTest, ALetterThatWaitsForItsPlaceOutlivesItsSegment) {
  StartPair();
  node(0).SetHome(kAnn, 1, [](absl::Status) {});
  ASSERT_TRUE(pair_.RunUntil([&] { return node(1).HomeOf(journal::AccountIdOf(kAnn)) == Home::kHere; }));
  pair_.loop.RunFor(kHourMs);
  pair_.SetReachable(false);
  pair_.loop.RunFor(kHourMs);
  Deliver(0, "\nwaiting\n");
  FillSegments(1);
  pair_.SetReachable(true);
  pair_.loop.RunFor(kHourMs);
  ASSERT_TRUE(RunUntilQuiet());
  FillSegments(1);
  pair_.loop.RunFor(2 * kDayMs + kHourMs);
  ASSERT_GT(OldestSegment(0), 1u);
  const ReplayReport report = ReplayUntil(0, std::nullopt);
  EXPECT_THAT(report.damaged, IsEmpty());
  EXPECT_EQ(report.digests, node(0).Digests());
  EXPECT_EQ(Inbox(replayed_), Inbox(Data(0)));
}

TEST_F(UpkeepTest, ALetterDroppedForSomebodyWhoIsNotThereIsAdopted) {
  options_.heartbeat_ms = 500;
  options_.peer_timeout_ms = 3000;
  StartPair();
  // Either node's Maildir will do, whichever is the home.
  for (int place = 0; place < 2; ++place) {
    const std::string maildir = Data(place) + "/accounts/example.test/ann/Maildir";
    const std::string folder = place == 0 ? maildir : maildir + "/.Sent";
    ASSERT_TRUE(
        disk_->CreateWhole(folder + "/new/1700000000.from.another", "Subject: y\r\n\r\nadopt me\r\n", 1'700'000'000)
            .ok());
    pair_.loop.RunFor(65'000);
    EXPECT_FALSE(std::filesystem::exists(folder + "/new/1700000000.from.another"));
    auto session = Open(0);
    const Mailbox* mailbox = session->state().FindName(place == 0 ? "INBOX" : "Sent");
    ASSERT_EQ(mailbox->messages.size(), 1u);
    EXPECT_EQ(mailbox->messages[0].internal_date_s, 1'700'000'000);
    session.reset();
    pair_.loop.RunFor(61'000);  // the account leaves memory again
  }
  EXPECT_EQ(node(0).Digests(), node(1).Digests());
}

TEST_F(UpkeepTest, OtherMailFlowsWhileALargeLetterIsAdopted) {
  options_.segment_bytes = 4 << 20;
  options_.heartbeat_ms = 500;
  options_.peer_timeout_ms = 3000;
  StartPair();
  // Its first line ends where a piece does: the CR in one, the LF in the next.
  std::string text = "Subject: " + std::string((256 << 10) - 10, 's') + "\r\n\r\n";
  while (text.size() < 8 << 20) text += journal::HexU64(pair_.random.U64()) + "\r\n";
  text += "a CR \r in a line, and one at the end\r";
  std::string lf;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || text.substr(i, 2) != "\r\n") lf += text[i];
  }
  auto session = Open(0);
  const auto letters = [&session] { return session->state().FindName("INBOX")->messages.size(); };
  const std::string path = Data(0) + "/accounts/example.test/ann/Maildir/new/1700000000.from.another";
  const uint64_t end = node(0).Status().journal_end;
  ASSERT_TRUE(disk_->CreateWhole(path, text, 1'700'000'000).ok());
  ASSERT_TRUE(pair_.RunUntil([&] { return node(0).Status().journal_end > end + (256 << 10); }));
  Deliver(0, "\nsmall\n");
  EXPECT_EQ(letters(), 1u) << "the small one is not behind the large one";
  ASSERT_TRUE(pair_.RunUntil([&] { return letters() == 2; }));
  pair_.loop.RunFor(5000);
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(Inbox(Data(0)).find(lf) != std::string::npos);
  EXPECT_TRUE(Inbox(Data(1)).find(lf) != std::string::npos);
}

// The part that is in the journal goes, and nothing of the letter remains.
TEST_F(UpkeepTest, ALetterThatIsCutWhileItIsAdoptedIsNotMail) {
  options_.segment_bytes = 4 << 20;
  options_.heartbeat_ms = 500;
  options_.peer_timeout_ms = 3000;
  StartPair();
  std::string text = "Subject: x\r\n\r\n";
  while (text.size() < 4 << 20) text += journal::HexU64(pair_.random.U64()) + "\r\n";
  auto session = Open(0);
  const std::string path = Data(0) + "/accounts/example.test/ann/Maildir/new/1700000000.from.another";
  const uint64_t end = node(0).Status().journal_end;
  ASSERT_TRUE(disk_->CreateWhole(path, text, 1'700'000'000).ok());
  ASSERT_TRUE(pair_.RunUntil([&] { return node(0).Status().journal_end > end + (256 << 10); }));
  std::filesystem::remove(path);
  pair_.loop.RunFor(5000);
  EXPECT_TRUE(session->state().FindName("INBOX")->messages.empty());
  for (int place = 0; place < 2; ++place) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(Data(place))) {
      EXPECT_THAT(entry.path().string(), Not(HasSubstr("/spool/"))) << "left over";
    }
  }
}

TEST_F(UpkeepTest, AnAdoptionThatWasInterruptedBeginsAnew) {
  options_.segment_bytes = 4 << 20;
  options_.heartbeat_ms = 500;
  options_.peer_timeout_ms = 3000;
  StartPair();
  std::string text = "Subject: x\n\n";
  while (text.size() < 4 << 20) text += journal::HexU64(pair_.random.U64()) + "\n";
  Open(0).reset();  // it is looked at soon
  const std::string path = Data(0) + "/accounts/example.test/ann/Maildir/new/1700000000.from.another";
  const uint64_t end = node(0).Status().journal_end;
  ASSERT_TRUE(disk_->CreateWhole(path, text, 1'700'000'000).ok());
  ASSERT_TRUE(pair_.RunUntil([&] { return node(0).Status().journal_end > end + (256 << 10); }, 90'000));
  pair_.Kill(0);
  Start(0);
  ASSERT_TRUE(RunUntilQuiet());
  pair_.loop.RunFor(65'000);
  EXPECT_FALSE(std::filesystem::exists(path));
  auto session = Open(0);
  EXPECT_EQ(session->state().FindName("INBOX")->messages.size(), 1u);
  EXPECT_TRUE(Inbox(Data(0)).find(text) != std::string::npos);
}

// docs/operator.md, "Letters from the past": the files of a replay have names of ours.
TEST_F(UpkeepTest, ALetterFromThePastIsAdopted) {
  options_.heartbeat_ms = 500;
  options_.peer_timeout_ms = 3000;
  options_.checkpoint_ms = 5000;
  StartPair();
  Deliver(0, "Subject: precious\n\nkeep me\n");
  Deliver(0, "Subject: kept\n\nnever deleted\n");
  pair_.loop.RunFor(10'000);
  const uint64_t before_ms = pair_.clock.NowMillis();
  pair_.loop.RunFor(kHourMs);
  Expunge(1);
  pair_.loop.RunFor(65'000);
  ReplayUntil(0, before_ms);
  ASSERT_THAT(Inbox(replayed_), HasSubstr("keep me"));
  // Both of them, at the node that is not the home.
  const std::string past = replayed_ + "/accounts/example.test/ann/Maildir/new";
  const std::string present = Data(1) + "/accounts/example.test/ann/Maildir/new";
  for (const auto& entry : std::filesystem::directory_iterator(past)) {
    std::filesystem::copy(entry.path(), present, std::filesystem::copy_options::overwrite_existing);
    const std::string name = entry.path().filename();
    ASSERT_TRUE(disk_->SetModified(present + "/" + name, 1'700'000'000).ok());
  }
  pair_.loop.RunFor(65'000);
  ASSERT_TRUE(RunUntilQuiet());
  auto session = Open(0);
  EXPECT_EQ(session->state().FindName("INBOX")->messages.size(), 2u) << "nothing twice";
  session.reset();
  pair_.loop.RunFor(10'000);
  EXPECT_EQ(node(0).Digests(), node(1).Digests());
  for (int place = 0; place < 2; ++place) {
    EXPECT_THAT(Inbox(Data(place)), HasSubstr("keep me"));
    EXPECT_THAT(Inbox(Data(place)), HasSubstr("never deleted"));
  }
}

TEST_F(UpkeepTest, CatchingUpIsToldWhileItLasts) {
  StartPair();
  std::filesystem::create_directories(root_);
  ASSERT_TRUE(journal::SetLogFile(root_ + "/log"));
  pair_.Kill(1);
  pair_.loop.RunFor(kHourMs);
  for (int i = 0; i < 400; ++i) Deliver(0, "\nsome text\n");
  Start(1);
  std::optional<CatchUpStatus> out, in;
  ASSERT_TRUE(pair_.RunUntil(
      [&] {
        if (!out) out = node(0).Status().catch_up_out;
        if (!in) in = node(1).Status().catch_up_in;
        return out && in;
      },
      600'000));
  EXPECT_GE(out->records_to_go, 400u);
  EXPECT_GE(in->records_to_go, 400u);
  ASSERT_TRUE(RunUntilQuiet());
  EXPECT_FALSE(node(0).Status().catch_up_out.has_value());
  EXPECT_FALSE(node(1).Status().catch_up_in.has_value());
  EXPECT_THAT(LogText(), HasSubstr("catch_up_started way=out records_to_go=4"));
  EXPECT_THAT(LogText(), HasSubstr("catch_up_started way=in records_to_go=4"));
  EXPECT_THAT(LogText(), HasSubstr("caught_up way=out records=4"));
  EXPECT_THAT(LogText(), HasSubstr("caught_up way=in records=4"));
}

}  // namespace
}  // namespace gemel::engine
