#include "imap/search_run.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "imap/mime_structure.h"
#include "imap/test_body.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;
using Progress = SearchRun::Progress;

// An account with one mailbox whose files are in memory, and may be away for a while.
class FakeAccount : public engine::AccountSession {
 public:
  FakeAccount() {
    mailbox_id_.bytes[0] = 1;
    state_.mailboxes[mailbox_id_].id = mailbox_id_;
  }
  void Add(engine::Uid uid, std::string text) {
    maildir::Message message;
    message.uid = uid;
    message.guid.bytes[0] = static_cast<uint8_t>(uid);
    message.bytes = text.size();
    state_.mailboxes[mailbox_id_].messages.push_back(message);
    files_[uid] = std::make_shared<MemoryMessage>(std::move(text));
  }
  void Expunge(engine::Uid uid) {
    auto& messages = state_.mailboxes[mailbox_id_].messages;
    std::erase_if(messages, [uid](const maildir::Message& m) { return m.uid == uid; });
    files_.erase(uid);
  }
  void Arrive() {
    for (auto& then : std::exchange(waiting_, {})) then();
  }

  const engine::AccountState& state() const override { return state_; }
  bool read_only() const override { return false; }
  void Submit(engine::Command, std::function<void(engine::CommandResult)>) override {}
  std::unique_ptr<Append> BeginAppend(AppendOptions) override { return nullptr; }
  void OpenBody(const engine::MailboxId&, const engine::Message& message,
                std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) override {
    waiting_.push_back([this, uid = message.uid, done = std::move(done)] {
      const auto file = files_.find(uid);
      if (file == files_.end()) return done(absl::NotFoundError("expunged"));
      done(std::shared_ptr<maildir::Body>(file->second));
    });
  }
  std::shared_ptr<maildir::Body> TryOpenBody(const engine::MailboxId&, const engine::Message& message) override {
    ++opened;
    return files_away ? nullptr : files_[message.uid];
  }
  std::vector<std::optional<std::string>> CachedStructures(const std::vector<journal::Guid>& guids) override {
    std::vector<std::optional<std::string>> out;
    for (const journal::Guid& guid : guids) {
      const auto found = cache.find(guid);
      out.push_back(found != cache.end() ? std::optional(found->second) : std::nullopt);
    }
    return out;
  }
  void CacheStructure(const journal::Guid& guid, std::string bytes) override { cache[guid] = std::move(bytes); }
  engine::Uid RecentFrom(const engine::MailboxId&, bool) override { return 0; }

  SearchView View() const {
    SearchView view;
    view.mailbox = mailbox_id_;
    for (const maildir::Message& message : state_.mailboxes.at(mailbox_id_).messages) view.uids.push_back(message.uid);
    return view;
  }

  bool files_away = false;
  int opened = 0;
  std::map<journal::Guid, std::string> cache;
  std::map<engine::Uid, std::shared_ptr<MemoryMessage>> files_;

 private:
  engine::MailboxId mailbox_id_;
  maildir::AccountState state_;
  std::vector<std::function<void()>> waiting_;
};

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
  auto run = SearchRun::Start(account, account.View(), std::move(program));
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
  account.cache[account.state().mailboxes.begin()->second.messages[0].guid] = "\x7f from a later version";
  account.cache[account.state().mailboxes.begin()->second.messages[1].guid] =
      Structure::Parse(MemoryMessage("Subject: pear\n\nanother length\n"))->ToCache();
  EXPECT_EQ(Search(account, Program(Kind::kText, "apple")), (std::vector<uint32_t>{1, 2}));
  EXPECT_TRUE(Structure::FromCache(account.cache.begin()->second));
}

TEST(SearchRun, YieldsByMessagesAndByBytes) {
  FakeAccount account;
  Fill(account);
  auto run = SearchRun::Start(account, account.View(), Program(Kind::kBody, "nothing"));
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
  auto run = SearchRun::Start(account, account.View(), Program(Kind::kBody, "pear"));
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
    auto run = SearchRun::Start(account, account.View(), Program(Kind::kBody, "pear"));
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
  auto run = SearchRun::Start(account, account.View(), Program(Kind::kBody, "p"));
  ASSERT_TRUE(run.ok());
  EXPECT_EQ((*run)->Step(100, 1 << 20, [] {}), Progress::kDone);
  EXPECT_EQ((*run)->matched(), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ((*run)->status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace gemel::imap
