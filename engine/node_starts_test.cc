// Many starts, and what is closed of them; commands that are large.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/node_impl.h"
#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

class NodeStartsTest : public testing::NodeTest {};

// How many origins the clock of the newest frame of a node's journal names.
size_t NewestClock(journal::Disk& disk, const std::string& data) {
  size_t entries = 0;
  auto reader = journal::JournalReader::Open(disk, data + "/journal", 0);
  for (auto next = (*reader)->Next(); next.ok() && next->has_value(); next = (*reader)->Next()) {
    entries = (*next)->frame->applied.entries().size();
  }
  return entries;
}

TEST_F(NodeStartsTest, ThousandsOfStartsDoNotMakeFramesLong) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  pair_.Kill(0);
  pair_.Kill(1);
  // As if both had been started 2,000 times, for nothing: what they leave in the journals.
  std::unique_ptr<journal::Journal> journals[2];
  for (int place = 0; place < 2; ++place) {
    journal::JournalOptions options;
    options.directory = Options(place).data_directory + "/journal";
    options.segment_bytes = options_.segment_bytes;
    journals[place] = journal::Journal::Open(*disk_, options, nullptr).value();
  }
  for (int place = 0; place < 2; ++place) {
    for (int i = 0; i < 2000; ++i) {
      journals[place]->StartOrigin({pair_.identities[place].node, pair_.random.U64()}, 2);
      journal::Record start;
      start.time = journal::HlcFromMillis(pair_.clock.NowMillis());
      start.body = journal::Start{static_cast<uint8_t>(place), {}, 0, "test"};
      journals[place]->Append({start}, {});
    }
    while (journals[place]->pending_bytes() > 0) {
      const auto committed = journals[place]->CommitOnce(nullptr).value();
      for (const journal::Committed& each : committed) journals[1 - place]->AppendReceived(each.frame->shipped);
    }
    while (journals[1 - place]->pending_bytes() > 0) ASSERT_TRUE(journals[1 - place]->CommitOnce(nullptr).ok());
  }
  for (auto& journal : journals) journal.reset();
  Start(1);
  pair_.loop.RunFor(4000);
  EXPECT_FALSE(pair_.nodes[1]->Status().problems.empty()) << "so many starts are a problem while the peer is away";
  pair_.Kill(1);
  for (int start = 0; start < 3; ++start) {
    Start(0);
    Start(1);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(2000);
    for (int place = 0; place < 2; ++place) {
      EXPECT_TRUE(pair_.nodes[place]->Status().problems.empty());
      EXPECT_TRUE(Deliver(place, "ann@example.test", "\nhello\n").ok());
      EXPECT_TRUE(Deliver(place, "bob@example.test", "\nhello\n").ok());
    }
    ExpectEqual();
    for (int place = 0; place < 2; ++place) {
      EXPECT_LE(NewestClock(*disk_, Options(place).data_directory), 2u);
      EXPECT_GT(pair_.nodes[place]->Status().clock.size(), 4000u) << "hello and acknowledgements are whole";
    }
    if (start == 2) break;
    pair_.Kill(0);
    pair_.Kill(1);
  }
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
}

TEST_F(NodeStartsTest, ANodeAloneClosesItsOwnStarts) {
  for (int start = 0; start < 6; ++start) {
    Start(0);
    ASSERT_TRUE(pair_.RunUntil([this] { return pair_.nodes[0]->generation() == 1; }));
    if (start == 0) {
      pair_.nodes[0]->AddAccount("ann@example.test", testing::kPassHash, 0, [](const absl::Status&) {});
    }
    pair_.loop.RunFor(2000);
    EXPECT_TRUE(Deliver(0, "ann@example.test", "\nhello\n").ok());
    EXPECT_LE(NewestClock(*disk_, Options(0).data_directory), 2u);
    pair_.Kill(0);
  }
  StartPair();  // and the other one, which comes later, learns all
  ASSERT_TRUE(pair_.RunUntilQuiet());
  ExpectEqual();
}

TEST_F(NodeStartsTest, ACopyFromBeforeAStartWasClosedGetsAllBack) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  for (int place = 0; place < 2; ++place) {
    const std::string data = Options(place).data_directory;
    EXPECT_TRUE(Deliver(place, "ann@example.test", "\nbefore\n").ok());
    pair_.Kill(place);
    std::filesystem::copy(data, data + ".copy", std::filesystem::copy_options::recursive);
    Start(place);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    EXPECT_TRUE(Deliver(place, "ann@example.test", "\nsince\n").ok());
    EXPECT_TRUE(Deliver(place, "bob@example.test", "\nsince\n").ok());
    for (int start = 0; start < 2; ++start) {  // what was received between is closed
      pair_.Kill(place);
      Start(place);
      ASSERT_TRUE(pair_.RunUntilQuiet());
      pair_.loop.RunFor(2000);
    }
    ASSERT_LE(NewestClock(*disk_, Options(0).data_directory), 3u);
    const auto digests = pair_.nodes[1 - place]->Digests();
    pair_.Kill(place);
    std::filesystem::remove_all(data);
    std::filesystem::rename(data + ".copy", data);
    Start(place);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    EXPECT_EQ(pair_.nodes[place]->Digests(), digests);
    EXPECT_TRUE(Deliver(place, "bob@example.test", "\nafterwards\n").ok());
    ExpectEqual();
  }
}

// Not the one that made most.
TEST_F(NodeStartsTest, AStartNamesTheOneBeforeIt) {
  for (int start = 0; start < 4; ++start) {
    Start(0);
    ASSERT_TRUE(pair_.RunUntil([this] { return pair_.nodes[0]->generation() == 1; }));
    if (start == 0) pair_.nodes[0]->AddAccount("ann@example.test", testing::kPassHash, 0, [](absl::Status) {});
    for (int i = 0; i < 10 * (4 - start); ++i) {
      pair_.loop.RunFor(10);
      EXPECT_TRUE(Deliver(0, "ann@example.test", "\nhello\n").ok());
    }
    pair_.Kill(0);
  }
  auto reader = journal::JournalReader::Open(*disk_, Options(0).data_directory + "/journal", 0);
  journal::Dot last;  // of the incarnation before
  int starts = 0;
  for (auto next = (*reader)->Next(); next.ok() && next->has_value(); next = (*reader)->Next()) {
    const journal::Frame& frame = *(*next)->frame;
    for (const journal::Record& record : frame.records) {
      const auto* start = std::get_if<journal::Start>(&record.body);
      if (start == nullptr) continue;
      ++starts;
      EXPECT_EQ(start->predecessor, last.origin);
      EXPECT_EQ(start->predecessor_seq, last.seq);
    }
    last = {frame.origin, frame.last_seq()};
  }
  EXPECT_EQ(starts, 4);
}

// Under pair-required its first mailboxes are not confirmed while the peer is away.
TEST_F(NodeStartsTest, WhoOpensANewAccountDoesNotWaitForEver) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  for (const bool stops : {false, true}) {
    const std::string name = stops ? "bob@example.test" : "ann@example.test";
    bool added = false;
    pair_.nodes[0]->AddAccount(name, testing::kPassHash, 0, [&](absl::Status status) { added = status.ok(); });
    ASSERT_TRUE(pair_.RunUntil([&] { return added; }));
    pair_.SetWire({.bytes_per_ms = 0, .stands_still = true});
    std::optional<absl::Status> opened;
    testing::Listener listener;
    pair_.nodes[0]->OpenAccount(journal::AccountIdOf(name), listener, [&](auto done) { opened = done.status(); });
    pair_.loop.RunFor(1000);
    ASSERT_FALSE(opened.has_value());
    if (stops) pair_.nodes[0]->Stop(30'000, [] {});
    ASSERT_TRUE(pair_.RunUntil([&] { return opened.has_value(); }, 25'000));
    EXPECT_TRUE(absl::IsUnavailable(*opened)) << *opened;
    pair_.SetWire({});
    ASSERT_TRUE(stops || pair_.RunUntilQuiet());
  }
}

TEST(SplitMessages, GivesRecordsThatTheJournalTakes) {
  journal::Move move;
  for (uint64_t i = 0; i < 120'001; ++i) {
    move.messages.push_back({journal::Dot{{i % 2, i % 1000}, i << 30}, static_cast<Uid>(i * 7919)});
  }
  const auto records = SplitMessages(journal::AccountIdOf("ann@example.test"), move);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_TRUE(journal::CheckRecords(records, {}).ok());
  std::vector<journal::PlacedMessage> all;
  for (const journal::Record& record : records) {
    const auto& part = std::get<journal::Move>(record.body).messages;
    all.insert(all.end(), part.begin(), part.end());
  }
  EXPECT_EQ(all, move.messages);
}

TEST_F(NodeStartsTest, WhatTheJournalCannotTakeFailsAlone) {
  StartPair();
  AddAccount("ann@example.test", 0);
  std::optional<absl::Status> status;
  pair_.nodes[0]->SetAlias("all@example.test", std::vector<std::string>(300'000, "ann@example.test"),
                           [&](absl::Status done) { status = std::move(done); });
  ASSERT_TRUE(pair_.RunUntil([&] { return status.has_value(); }));
  EXPECT_FALSE(status->ok());
  EXPECT_TRUE(Deliver(0, "ann@example.test", "\nstill\n").ok());
  EXPECT_EQ(pair_.nodes[0]->Status().state, "paired");
}

}  // namespace
}  // namespace gemel::engine
