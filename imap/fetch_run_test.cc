#include "imap/fetch_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "imap/test_account.h"

namespace gemel::imap {
namespace {

using Kind = FetchItem::Kind;
using Progress = FetchRun::Progress;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class FetchRunTest : public ::testing::Test {
 protected:
  void Start(Kind kind, bool mark_seen) {
    FetchItem item;
    item.kind = kind;
    if (kind == Kind::kRfc822Text) item.section.text = SectionSpec::Text::kText;
    Start(std::vector<FetchItem>{item}, mark_seen);
  }
  void Start(std::vector<FetchItem> items, bool mark_seen) {
    view_.emplace(account_.mailbox(), /*read_only=*/false, /*recent_from=*/1'000'000);
    FetchPlan plan;
    plan.items = std::move(items);
    plan.mark_seen = mark_seen;
    for (uint32_t number = 1; number <= view_->exists(); ++number) plan.numbers.push_back(number);
    run_.emplace(account_, *view_, std::move(plan));
  }
  Progress Step() {
    return run_->Step(&out_, [this] { ++ready_; });
  }
  // To its end; how many steps it took.
  int Run() {
    int steps = 0;
    for (Progress progress = Progress::kMore; progress != Progress::kDone && steps < 10'000; ++steps) {
      progress = Step();
      if (progress == Progress::kWaiting) account_.Arrive();
    }
    return steps;
  }

  FakeAccount account_;
  std::optional<MailboxView> view_;
  std::optional<FetchRun> run_;
  std::string out_;
  int ready_ = 0;
};

// Parsing is counted by what is read, not by letters: other sessions wait for one MiB and a file at most.
TEST_F(FetchRunTest, YieldsByBytesParsed) {
  constexpr int kLarge = 6, kSmall = 64;
  for (int i = 1; i <= kLarge; ++i) {
    account_.Add(static_cast<engine::Uid>(i), "Subject: a\n\n" + std::string(1'100'000, 'x'));
  }
  Start(Kind::kEnvelope, false);
  EXPECT_EQ(Run(), kLarge + 1);
  out_.clear();
  Start(Kind::kEnvelope, false);
  EXPECT_EQ(Run(), 1);  // from the cache

  for (int i = 0; i < kSmall; ++i) account_.Add(static_cast<engine::Uid>(kLarge + 1 + i), "Subject: a\n\nb\n");
  Start(Kind::kEnvelope, false);
  EXPECT_EQ(Run(), 3);
}

// So is what is read of headers, and of the bytes before a partial, however little is answered.
TEST_F(FetchRunTest, YieldsByBytesSearched) {
  constexpr int kItems = 8;
  std::string header;
  while (header.size() < 900'000) header += "X-A: words\n";
  account_.Add(1, header + "\n" + std::string(1'000'000, 'x'));
  FetchItem item;
  item.kind = Kind::kSection;
  item.peek = true;
  item.section = {{}, SectionSpec::Text::kHeaderFields, {"Q0"}};
  Start(std::vector<FetchItem>(kItems, item), false);
  EXPECT_GE(Run(), kItems);
  EXPECT_THAT(out_, HasSubstr("* 1 FETCH (BODY[HEADER.FIELDS (Q0)] {2}\r\n\r\n BODY[HEADER.FIELDS (Q0)]"));

  item.section = {{}, SectionSpec::Text::kText, {}};
  item.partial = PartialRange{900'000, 1};
  Start(std::vector<FetchItem>(kItems, item), false);
  EXPECT_GE(Run(), kItems);
  EXPECT_THAT(out_, HasSubstr("* 1 FETCH (BODY[TEXT]<900000> {1}\r\nx BODY[TEXT]"));
}

TEST_F(FetchRunTest, MarksAWindowAhead) {
  for (engine::Uid uid = 1; uid <= 100; ++uid) account_.Add(uid, "Subject: a\n\nb\n");
  Start(Kind::kRfc822, true);
  EXPECT_EQ(Step(), Progress::kWaiting);
  EXPECT_EQ(out_, "");
  account_.Arrive();
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(Step(), Progress::kWaiting);
  EXPECT_THAT(out_, HasSubstr("* 64 FETCH (RFC822 {17}\r\nSubject: a\r\n\r\nb\r\n FLAGS (\\Seen))\r\n"));
  EXPECT_THAT(out_, Not(HasSubstr("* 65 FETCH")));
  account_.Arrive();
  Run();
  ASSERT_EQ(account_.stores.size(), 2);
  EXPECT_EQ(account_.stores[0].uids.size(), 64);
  EXPECT_EQ(account_.stores[1].uids.size(), 36);
  EXPECT_THAT(out_, HasSubstr("* 100 FETCH (RFC822 {17}\r\nSubject: a\r\n\r\nb\r\n FLAGS (\\Seen))\r\n"));
}

TEST_F(FetchRunTest, WhatCannotBeOpenedIsNotMarked) {
  for (engine::Uid uid = 1; uid <= 3; ++uid) account_.Add(uid, "Subject: a\n\nb\n");
  account_.lost = {2};
  Start(Kind::kRfc822Text, true);
  Run();
  ASSERT_EQ(account_.stores.size(), 1);
  EXPECT_THAT(account_.stores[0].uids, ElementsAre(1, 3));
  EXPECT_EQ(out_,
            "* 1 FETCH (RFC822.TEXT {3}\r\nb\r\n FLAGS (\\Seen))\r\n"
            "* 3 FETCH (RFC822.TEXT {3}\r\nb\r\n FLAGS (\\Seen))\r\n");
  EXPECT_FALSE(run_->status().ok());
}

// A file that had to be restored is marked when it is there.
TEST_F(FetchRunTest, WhatArrivesLateIsMarkedThen) {
  for (engine::Uid uid = 1; uid <= 2; ++uid) account_.Add(uid, "Subject: a\n\nb\n");
  account_.files_away = true;
  Start(Kind::kRfc822Text, true);
  Run();
  ASSERT_EQ(account_.stores.size(), 2);
  EXPECT_THAT(account_.stores[0].uids, ElementsAre(1));
  EXPECT_THAT(account_.stores[1].uids, ElementsAre(2));
  EXPECT_THAT(out_, HasSubstr("* 2 FETCH (RFC822.TEXT {3}\r\nb\r\n FLAGS (\\Seen))\r\n"));
}

TEST_F(FetchRunTest, AStoreThatFailsDoesNotKeepMailFromBeingRead) {
  account_.Add(1, "Subject: a\n\nb\n");
  account_.store_status = absl::ResourceExhaustedError("the disk is full");
  Start(Kind::kRfc822Text, true);
  Run();
  EXPECT_EQ(out_, "* 1 FETCH (RFC822.TEXT {3}\r\nb\r\n)\r\n");
  EXPECT_TRUE(run_->status().ok());
  EXPECT_EQ(account_.stores.size(), 1);
}

}  // namespace
}  // namespace gemel::imap
