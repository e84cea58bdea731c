// Replay and export, also beside the running node whose journal it is.
#include "engine/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "engine/data_lock.h"
#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using testing::Listener;
using testing::NodeTest;

class ReplayTest : public NodeTest {
 protected:
  ReplayTest() {
    options_.segment_bytes = 1 << 20;
    options_.retain_bytes_min = 1;
    options_.retain_seconds = 0;
    options_.keep_readers_out = [this] { return readers_ ? nullptr : std::make_shared<int>(0); };
  }
  std::string Data() { return Options(0).data_directory; }
  std::string Target() { return root_ + "/target" + std::to_string(++targets_); }
  absl::StatusOr<ReplayReport> ExportAll(const std::string& target) {
    return Export(*disk_, {Data(), target, ""}, nullptr);
  }
  // Until the first segments of node 0 are gone.
  void Retire() {
    const uint64_t oldest = pair_.nodes[0]->Status().journal_oldest;
    const bool retired = pair_.RunUntil([&] { return pair_.nodes[0]->Status().journal_oldest > oldest; }, 120'000);
    ASSERT_TRUE(retired);
  }
  static std::string Unique(int i) {  // that does not compress
    journal::Random& random = journal::SystemRandom();
    std::string text = "Subject: " + std::to_string(i) + "\n\n";
    for (int line = 0; line < 10000; ++line)
      text += journal::HexU64(random.U64()) + journal::HexU64(random.U64()) + "\n";
    return text;
  }
  void DeliverLarge(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Deliver(i % 2, "ann@example.test", Unique(i)).ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(100);
  }

  bool readers_ = false;  // somebody reads the journal

 private:
  int targets_ = 0;
};

TEST_F(ReplayTest, AnAccountWithoutMailboxesIsExported) {
  pair_.identities[0].peer.reset();
  Start(0);
  ASSERT_TRUE(pair_.RunUntil([this] { return pair_.nodes[0]->generation() == 1; }));
  std::optional<absl::Status> done;
  pair_.nodes[0]->AddAccount("ann@example.test", testing::kPassHash, 0, [&](absl::Status status) { done = status; });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  pair_.Kill(0);
  ReplayOptions options;
  options.journal_directory = Data() + "/journal";
  options.target = Target();
  const auto all = Replay(*disk_, options, nullptr);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->accounts, 1u);
  EXPECT_EQ(all->mailboxes, 0u) << "killed before they were made";
  const auto exported = ExportAll(Target());
  EXPECT_TRUE(exported.ok()) << exported.status();
}

// What the journal no longer has comes from bases and Maildirs, which belong to the node and are only read.
TEST_F(ReplayTest, AnExportBesideARunningNodeIsWholeAndTouchesNothing) {
  StartPair();
  AddAccount("ann@example.test", 0);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  const MailboxId inbox = Inbox(*session).id;
  DeliverLarge(12);
  Retire();
  // After the bases: moved, flagged, expunged, so that files are not where the bases say.
  const MailboxId archive = session->state().FindName("Archive")->id;
  ASSERT_TRUE(Run(*session, CopyCommand{inbox, archive, {2}, true}).status.ok());
  ASSERT_TRUE(Run(*session, CopyCommand{inbox, archive, {3}, false}).status.ok());
  ASSERT_TRUE(Run(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {"$Work"}, {1, 4}}).status.ok());
  ASSERT_TRUE(Run(*session, ExpungeCommand{inbox, {1}}).status.ok());
  pair_.loop.RunFor(100);

  // A letter on its way, of which a part is in the node's spool.
  std::unique_ptr<Delivery> under_way = pair_.nodes[0]->BeginDelivery(Via::kLmtp, "x@example.org");
  const std::string large = Unique(99) + Unique(100) + Unique(101);
  under_way->Write(large);
  ASSERT_TRUE(pair_.RunUntil([&] { return !std::filesystem::is_empty(Data() + "/spool"); }));
  const auto before = pair_.nodes[0]->Digests();

  const std::string target = Target();
  const auto report = ExportAll(target);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->digests, before);
  EXPECT_TRUE(report->damaged.empty()) << report->damaged.front();
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(target + "/accounts/example.test/ann/Maildir"))
    files += absl::StrContains(entry.path().filename().string(), ".gemel,S=");
  EXPECT_EQ(files, 12u) << "11 letters, and a copy";

  EXPECT_TRUE(std::filesystem::is_empty(target + "/spool")) << "what is under way is nothing yet";
  EXPECT_FALSE(std::filesystem::is_empty(Data() + "/spool")) << "the node's own, needed in a moment";
  std::vector<Delivery::Recipient> recipients;
  const auto targets = pair_.nodes[0]->LookUpRecipient("ann@example.test");
  recipients.push_back({"ann@example.test", targets->front(), ""});
  std::optional<absl::Status> finished;
  under_way->Finish(std::move(recipients), [&](absl::Status done) { finished = std::move(done); });
  ASSERT_TRUE(pair_.RunUntil([&] { return finished.has_value(); }));
  EXPECT_TRUE(finished->ok()) << *finished;
  pair_.loop.RunFor(1000);
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages.back()), large);
}

TEST_F(ReplayTest, ALetterWhoseFileIsCutOrGoneIsNamed) {
  StartPair();
  AddAccount("ann@example.test", 0);
  DeliverLarge(12);
  Retire();
  pair_.loop.RunFor(6000);
  const std::string maildir = Data() + "/accounts/example.test/ann/Maildir";
  std::filesystem::path first;
  for (const auto& entry : std::filesystem::directory_iterator(maildir + "/new")) {
    if (std::ifstream file(entry.path());
        std::string(std::istreambuf_iterator<char>(file), {}).find("Subject: 0\n") != std::string::npos) {
      first = entry.path();
    }
  }
  const auto expect_named = [this] {
    const auto report = ExportAll(Target());
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->damaged.size(), 1u);
    EXPECT_THAT(report->damaged[0], HasSubstr("ann@example.test INBOX UID 1"));
  };
  std::filesystem::resize_file(first, 1000);
  expect_named();
  ASSERT_TRUE(std::filesystem::remove(first));
  expect_named();
}

TEST_F(ReplayTest, ADamagedBaseIsNamedAndStopsNobodyElse) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 0);
  DeliverLarge(12);
  Retire();
  pair_.loop.RunFor(6000);
  std::filesystem::resize_file(Data() + "/accounts/example.test/bob/base", 20);
  const std::string target = Target();
  const auto report = ExportAll(target);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->damaged.size(), 1u);
  EXPECT_THAT(report->damaged[0], HasSubstr("bob@example.test"));
  EXPECT_THAT(report->damaged[0], HasSubstr("/bob/base"));
  EXPECT_EQ(report->messages, 12u);
}

TEST_F(ReplayTest, ProgressGoesFromNothingToAll) {
  StartPair();
  AddAccount("ann@example.test", 0);
  DeliverLarge(12);  // several segments
  std::vector<ReplayProgress> told;
  const auto note = [&told](const ReplayProgress& progress) { told.push_back(progress); };
  for (const bool exported : {false, true}) {
    told.clear();
    ReplayOptions options;
    options.journal_directory = Data() + "/journal";
    options.target = Target();
    const auto report = exported ? Export(*disk_, {Data(), options.target, ""}, note) : Replay(*disk_, options, note);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_GE(told.size(), 3u);
    EXPECT_LT(told.front().bytes, told.front().bytes_all * 9 / 10);
    for (size_t i = 1; i < told.size(); ++i) {
      EXPECT_GE(told[i].bytes, told[i - 1].bytes);
      EXPECT_EQ(told[i].bytes_all, told.front().bytes_all);
    }
    EXPECT_GT(told[told.size() / 2].bytes, told.front().bytes);
    EXPECT_EQ(told.back().bytes, told.back().bytes_all);
  }
}

TEST_F(ReplayTest, AJournalWithoutItsBeginningNeedsBases) {
  StartPair();
  AddAccount("ann@example.test", 0);
  DeliverLarge(12);
  Retire();
  const auto digests = pair_.nodes[0]->Digests();
  // As `gemel replay --directory` gives it: the bases are found beside the journal.
  ReplayOptions options;
  options.journal_directory = Data() + "/journal/";
  options.dry_run = true;
  const auto whole = Replay(*disk_, options, nullptr);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->digests, digests);
  // The journal alone.
  const std::string copy = root_ + "/copy/journal";
  std::filesystem::create_directories(copy);
  std::filesystem::copy(Data() + "/journal", copy, std::filesystem::copy_options::recursive);
  options.journal_directory = copy;
  auto refused = Replay(*disk_, options, nullptr).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("does not reach back to the first start"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("whole copy"));
  // With accounts, and without their bases.
  std::filesystem::create_directories(root_ + "/copy/node");
  std::filesystem::copy(Data() + "/node/directory", root_ + "/copy/node/directory");
  refused = Replay(*disk_, options, nullptr).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
}

TEST_F(ReplayTest, NothingIsRetiredWhileTheJournalIsRead) {
  StartPair();
  AddAccount("ann@example.test", 0);
  readers_ = true;
  DeliverLarge(12);
  pair_.loop.RunFor(20'000);
  EXPECT_EQ(pair_.nodes[0]->Status().journal_oldest >> 32, 1u);
  ASSERT_EQ(pair_.nodes[0]->Status().problems.size(), 1u);
  EXPECT_THAT(pair_.nodes[0]->Status().problems[0].what, HasSubstr("a replay, export or verify reads them"));
  readers_ = false;
  Retire();
  EXPECT_TRUE(pair_.nodes[0]->Status().problems.empty());
}

}  // namespace
}  // namespace gemel::engine
