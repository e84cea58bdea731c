#include "imap/search_run.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "imap/mime_structure.h"
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
  while ((*run)->Step(2, 1 << 20, [] {}) == Progress::kMore) {
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

TEST(SearchRun, YieldsByMessagesAndByBytes) {
  FakeAccount account;
  Fill(account);
  auto run = SearchRun::Start(account, ViewOf(account), Program(Kind::kBody, "nothing"));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ((*run)->Step(1, 1 << 20, [] {}), Progress::kMore);
  EXPECT_EQ(account.opened, 1);
  EXPECT_EQ((*run)->Step(100, 1, [] {}), Progress::kMore);  // one file is more than a byte
  EXPECT_EQ(account.opened, 2);
  EXPECT_EQ((*run)->Step(100, 1, [] {}), Progress::kDone);
}

TEST(SearchRun, WaitsForAFileThatIsAway) {
  FakeAccount account;
  Fill(account);
  account.files_away = true;
  auto run = SearchRun::Start(account, ViewOf(account), Program(Kind::kBody, "pear"));
  ASSERT_TRUE(run.ok());
  int told = 0;
  EXPECT_EQ((*run)->Step(100, 1 << 20, [&told] { ++told; }), Progress::kWaiting);
  EXPECT_EQ((*run)->Step(100, 1 << 20, [] {}), Progress::kWaiting);  // too early does no harm
  EXPECT_EQ(told, 0);
  account.Arrive();
  EXPECT_EQ(told, 1);
  EXPECT_EQ((*run)->Step(100, 1 << 20, [&told] { ++told; }), Progress::kWaiting);
  account.Expunge(5);  // while it is fetched
  account.Arrive();
  EXPECT_EQ((*run)->Step(100, 1 << 20, [&told] { ++told; }), Progress::kWaiting);
  account.Arrive();
  EXPECT_EQ((*run)->Step(100, 1 << 20, [] {}), Progress::kDone);
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
    EXPECT_EQ((*run)->Step(100, 1 << 20, [&told] { told = true; }), Progress::kWaiting);
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
  EXPECT_EQ((*run)->Step(100, 1 << 20, [] {}), Progress::kDone);
  EXPECT_EQ((*run)->matched(), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ((*run)->status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace gemel::imap
