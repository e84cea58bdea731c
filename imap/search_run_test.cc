#include "imap/search_run.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "imap/mime_structure.h"
#include "imap/search_match.h"
#include "imap/test_account.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;
using Progress = SearchRun::Progress;

SearchView ViewOf(const FakeAccount& account) {
  SearchView view;
  view.mailbox = account.mailbox().id;
  for (const maildir::Message& message : account.mailbox().messages) view.uids.push_back(message.uid);
  return view;
}

SearchProgram Program(Kind kind, std::string text) {
  SearchProgram program;
  program.key.kind = kind;
  program.key.text = std::move(text);
  return program;
}

FakeAccount& Fill(FakeAccount& account) {
  account.Add(3, "Subject: apple\n\npear\n");
  account.Add(5, "Subject: pear\n\napple\n");
  account.Add(9, "Subject: plum\n\nplum\n");
  return account;
}

std::vector<uint32_t> Search(FakeAccount& account, SearchProgram program) {
  auto run = SearchRun::Start(account, ViewOf(account), std::move(program));
  EXPECT_TRUE(run.ok());
  while ((*run)->Step(StepBudget(1), [] {}) == Progress::kMore) {
  }
  EXPECT_TRUE((*run)->status().ok());
  return (*run)->matched();
}

TEST(SearchRun, FillsTheCacheAndThenNeedsNoFiles) {
  FakeAccount account;
  Fill(account);
  EXPECT_EQ(Search(account, Program(Kind::kSubject, "PEAR")), (std::vector<uint32_t>{2}));
  EXPECT_EQ(account.opened, 3);
  EXPECT_EQ(account.cache.size(), 3U);
  EXPECT_EQ(Search(account, Program(Kind::kSubject, "p")), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(account.opened, 3);
  EXPECT_EQ(Search(account, Program(Kind::kBody, "apple")), (std::vector<uint32_t>{2}));
  EXPECT_EQ(account.opened, 6);
  EXPECT_EQ(Search(account, Program(Kind::kAll, "")), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(account.opened, 6);
}

TEST(SearchRun, AStaleOrDamagedCacheIsMadeAnew) {
  FakeAccount account;
  Fill(account);
  account.cache[account.mailbox().messages[0].guid] = "\x7f from a later version";
  account.cache[account.mailbox().messages[1].guid] =
      Structure::Parse(MemoryMessage("Subject: pear\n\nanother length\n"))->ToCache();
  EXPECT_EQ(Search(account, Program(Kind::kText, "apple")), (std::vector<uint32_t>{1, 2}));
  EXPECT_TRUE(Structure::FromCache(account.cache.begin()->second));
}

// All of them, each with a text that nothing holds: none can be left out.
SearchProgram NoneOf(Kind kind, size_t keys) {
  SearchProgram program;
  program.key.kind = Kind::kAnd;
  for (size_t i = 0; i < keys; ++i) {
    SearchKey& key = program.key.children.emplace_back();
    key.kind = Kind::kNot;
    key.children.push_back(Program(kind, "q" + std::to_string(i)).key);
    key.children.front().field = "X-A";
  }
  return program;
}

constexpr int kEndless = 1'000'000;

// How many steps a search over the account takes. Each may look at so many bytes, and at the piece it is in.
int Steps(FakeAccount& account, const SearchProgram& program) {
  auto run = SearchRun::Start(account, ViewOf(account), program);
  EXPECT_TRUE(run.ok());
  int steps = 1;
  while ((*run)->Step(StepBudget(), [] {}) == Progress::kMore && steps < kEndless) ++steps;
  EXPECT_EQ((*run)->matched().size(), account.mailbox().messages.size());
  return steps;
}

void CacheAll(FakeAccount& account) {
  Steps(account, NoneOf(Kind::kSubject, 1));
  account.opened = 0;
}

TEST(SearchRun, YieldsByMessagesAndKeys) {
  FakeAccount account;
  for (engine::Uid uid = 1; uid <= 200; ++uid) account.Add(uid, "\n\n");
  EXPECT_EQ(Steps(account, NoneOf(Kind::kKeyword, 1)), 1);
  EXPECT_GE(Steps(account, NoneOf(Kind::kKeyword, 500)), 5);
}

TEST(SearchRun, YieldsWithinALetter) {
  FakeAccount account;
  std::string text = "Subject: a\n\n";
  while (text.size() < 4 << 20) text += "some words in a line of text\n";
  account.Add(1, text);
  CacheAll(account);
  MemoryMessage& file = *account.files_[1];
  file.bytes_read = 0;
  const int one = Steps(account, NoneOf(Kind::kBody, 1));
  EXPECT_GE(one, 8);  // what is decoded and compared is twice the letter
  EXPECT_EQ(account.opened, 1);
  EXPECT_LT(file.bytes_read, 5 << 20);  // no piece twice
  EXPECT_GE(Steps(account, NoneOf(Kind::kBody, kFileKeysMax)), 4 * one);
}

TEST(SearchRun, YieldsWithinAHeader) {
  FakeAccount account;
  std::string header;
  while (header.size() < 900'000) header += "X-A: words\n";
  account.Add(1, header + "\n");
  CacheAll(account);
  const int one = Steps(account, NoneOf(Kind::kHeader, 1));
  EXPECT_GE(Steps(account, NoneOf(Kind::kHeader, kFileKeysMax)), 10 * one);
  EXPECT_GE(Steps(account, NoneOf(Kind::kText, kFileKeysMax)), 10 * one);
}

TEST(SearchRun, YieldsWithinAnEnvelope) {
  FakeAccount account;
  std::string to = "To: a@example.org";
  for (int i = 0; i < 600; ++i) to += ",\n recipient" + std::to_string(i) + "@example.org";
  account.Add(1, to + "\n\n");
  CacheAll(account);
  EXPECT_EQ(Steps(account, NoneOf(Kind::kTo, 1)), 1);
  const int many = Steps(account, NoneOf(Kind::kTo, 1000));
  EXPECT_GE(many, 10);
  EXPECT_LE(many, 20);  // taken apart once, not for every key
  EXPECT_EQ(account.opened, 0);
}

TEST(SearchRun, ALetterMayGoWhileItIsSearched) {
  FakeAccount account;
  Fill(account);
  auto run = SearchRun::Start(account, ViewOf(account), NoneOf(Kind::kBody, 1));
  ASSERT_TRUE(run.ok());
  while (account.opened < 2) ASSERT_EQ((*run)->Step(StepBudget(1), [] {}), Progress::kMore);
  account.Expunge(5);
  EXPECT_EQ((*run)->Step(StepBudget(), [] {}), Progress::kDone);
  EXPECT_EQ((*run)->matched(), (std::vector<uint32_t>{1, 3}));
  EXPECT_TRUE((*run)->status().ok());
}

TEST(SearchRun, BoundsTheTextsSoughtInFiles) {
  FakeAccount account;
  Fill(account);
  for (const Kind kind : {Kind::kBody, Kind::kText, Kind::kHeader}) {
    EXPECT_TRUE(SearchRun::Start(account, ViewOf(account), NoneOf(kind, kFileKeysMax)).ok());
    EXPECT_EQ(SearchRun::Start(account, ViewOf(account), NoneOf(kind, kFileKeysMax + 1)).status().code(),
              absl::StatusCode::kOutOfRange);
  }
  EXPECT_TRUE(SearchRun::Start(account, ViewOf(account), NoneOf(Kind::kFrom, 4000)).ok());
}

TEST(SearchRun, WaitsForAFileThatIsAway) {
  FakeAccount account;
  Fill(account);
  account.files_away = true;
  auto run = SearchRun::Start(account, ViewOf(account), Program(Kind::kBody, "pear"));
  ASSERT_TRUE(run.ok());
  int told = 0;
  EXPECT_EQ((*run)->Step(StepBudget(), [&told] { ++told; }), Progress::kWaiting);
  EXPECT_EQ((*run)->Step(StepBudget(), [] {}), Progress::kWaiting);  // too early does no harm
  EXPECT_EQ(told, 0);
  account.Arrive();
  EXPECT_EQ(told, 1);
  EXPECT_EQ((*run)->Step(StepBudget(), [&told] { ++told; }), Progress::kWaiting);
  account.Expunge(5);  // while it is fetched
  account.Arrive();
  EXPECT_EQ((*run)->Step(StepBudget(), [&told] { ++told; }), Progress::kWaiting);
  account.Arrive();
  EXPECT_EQ((*run)->Step(StepBudget(), [] {}), Progress::kDone);
  EXPECT_EQ((*run)->matched(), (std::vector<uint32_t>{1}));
  EXPECT_TRUE((*run)->status().ok());
}

TEST(SearchRun, IsNotCalledBackAfterItsEnd) {
  FakeAccount account;
  Fill(account);
  account.files_away = true;
  bool told = false;
  {
    auto run = SearchRun::Start(account, ViewOf(account), Program(Kind::kBody, "pear"));
    ASSERT_TRUE(run.ok());
    EXPECT_EQ((*run)->Step(StepBudget(), [&told] { told = true; }), Progress::kWaiting);
  }
  account.Arrive();
  EXPECT_FALSE(told);
}

TEST(SearchRun, AFailingDiskIsReported) {
  FakeAccount account;
  Fill(account);
  account.files_[5]->fail_at_read = 0;
  auto run = SearchRun::Start(account, ViewOf(account), Program(Kind::kBody, "p"));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ((*run)->Step(StepBudget(), [] {}), Progress::kDone);
  EXPECT_EQ((*run)->matched(), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ((*run)->status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace gemel::imap
