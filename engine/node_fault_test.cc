// Faults of the disk under a whole node: operation n of a script (a write, a sync, a name) fails with an I/O error,
// for every n, once or from then on (with sanitizers for some). Whatever the node acknowledges, then or later, is there
// after a power cut that loses all that was not synced; and the node either says that it has failed, or goes on as if
// nothing had been.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "engine/test_lone_node.h"

namespace gemel::engine {
namespace {

using journal::CrashDisk;
using testing::kAnn;
using testing::Look;
using testing::Seen;
using testing::Started;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kStride = 11;
#else
constexpr uint64_t kStride = 1;
#endif

// What the clients were told. A letter is known by its text.
struct Promises {
  std::set<std::string> delivered, expunged, flagged;
  std::set<std::string> tried_to_expunge;
  std::set<std::string> mailboxes;
};

class Script {
 public:
  explicit Script(Started& run) : run_(run) {}

  void Play() {
    AddAccount();
    run_.pair.loop.RunFor(600);
    Deliver("one");
    Deliver("two " + std::string(5000, 'b'));
    Flag("one");
    run_.pair.loop.RunFor(1500);  // a checkpoint
    Deliver("large " + std::string(300'000, 'c'));
    Create("a/b");
    Expunge("two " + std::string(5000, 'b'));
    run_.pair.loop.RunFor(1500);
    Deliver("three");
    Flag("three");
    Expunge("one");
    run_.pair.loop.RunFor(1500);
  }

  // One more letter. True: acknowledged.
  bool Deliver(const std::string& text) {
    auto targets = run_.node().LookUpRecipient(kAnn);
    if (!targets.ok() || targets->empty() || !run_.node().AcceptingMail().ok()) return false;
    auto delivery = run_.node().BeginDelivery(Via::kLmtp, "x@example.org");
    delivery->Write(Letter(text));
    std::optional<absl::Status> status;
    delivery->Finish({{kAnn, targets->front(), ""}}, [&](absl::Status done) { status = std::move(done); });
    EXPECT_TRUE(run_.pair.RunUntil([&] { return status.has_value(); })) << "no answer to a delivery";
    if (!status || !status->ok()) return false;
    promised.delivered.insert(Letter(text));
    return true;
  }
  static std::string Letter(const std::string& text) { return "Subject: x\n\n" + text + "\n"; }

  Promises promised;

 private:
  void AddAccount() {
    std::optional<absl::Status> added;
    run_.node().AddAccount(kAnn, "{X}x", 0, [&](absl::Status status) { added = status; });
    EXPECT_TRUE(run_.pair.RunUntil([&] { return added.has_value(); }));
  }
  bool Do(AccountSession& session, Command command) {
    std::optional<CommandResult> result;
    session.Submit(std::move(command), [&](CommandResult done) { result = std::move(done); });
    EXPECT_TRUE(run_.pair.RunUntil([&] { return result.has_value(); })) << "no answer to a command";
    return result && result->status.ok();
  }
  // The session and the UID of a letter in INBOX that was acknowledged; null: the node cannot show it.
  std::unique_ptr<AccountSession> Find(const std::string& text, Uid* uid) {
    if (!promised.delivered.contains(Letter(text))) return nullptr;
    bool done = false;
    std::unique_ptr<AccountSession> session;
    run_.node().OpenAccount(journal::AccountIdOf(kAnn), run_.nobody, [&](auto opened) {
      done = true;
      if (opened.ok()) session = *std::move(opened);
    });
    EXPECT_TRUE(run_.pair.RunUntil([&] { return done; }));
    const Mailbox* inbox = session == nullptr ? nullptr : session->state().FindName("INBOX");
    if (inbox == nullptr) return nullptr;
    for (const Message& message : inbox->messages) {
      if (message.bytes == Letter(text).size()) {
        *uid = message.uid;
        return session;
      }
    }
    ADD_FAILURE() << "an acknowledged letter is not shown: " << text.substr(0, 10);
    return nullptr;
  }
  void Flag(const std::string& text) {
    Uid uid = 0;
    auto session = Find(text, &uid);
    if (session == nullptr) return;
    const MailboxId inbox = session->state().FindName("INBOX")->id;
    if (Do(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kFlagged, {}, {uid}})) {
      promised.flagged.insert(Letter(text));
    }
  }
  void Expunge(const std::string& text) {
    Uid uid = 0;
    auto session = Find(text, &uid);
    if (session == nullptr) return;
    const MailboxId inbox = session->state().FindName("INBOX")->id;
    promised.tried_to_expunge.insert(Letter(text));
    if (Do(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {}, {uid}}) &&
        Do(*session, ExpungeCommand{inbox, {uid}})) {
      promised.expunged.insert(Letter(text));
    }
  }
  void Create(const std::string& name) {
    bool done = false;
    std::unique_ptr<AccountSession> session;
    if (!run_.node().LookUpRecipient(kAnn).ok()) return;
    run_.node().OpenAccount(journal::AccountIdOf(kAnn), run_.nobody, [&](auto opened) {
      done = true;
      if (opened.ok()) session = *std::move(opened);
    });
    EXPECT_TRUE(run_.pair.RunUntil([&] { return done; }));
    if (session != nullptr && Do(*session, CreateCommand{name})) promised.mailboxes.insert(name);
  }

  Started& run_;
};

// Empty: all that was promised is there.
std::string Broken(const Promises& promised, Started& after) {
  if (!after.status.ok()) return "does not start: " + after.status.ToString();
  const Seen seen = Look(after);
  std::set<std::string> there;
  for (const auto& [guid, text] : seen.bodies) there.insert(text);
  for (const std::string& letter : promised.delivered) {
    if (!promised.tried_to_expunge.contains(letter) && !there.contains(letter)) return "lost " + letter.substr(12, 10);
  }
  for (const std::string& letter : promised.expunged) {
    if (there.contains(letter)) return "not expunged " + letter.substr(12, 10);
  }
  if (promised.flagged.empty() && promised.mailboxes.empty()) return "";
  auto session = after.Open(kAnn);
  if (session == nullptr) return "the account cannot be opened";
  for (const std::string& name : promised.mailboxes) {
    if (session->state().FindName(name) == nullptr) return "no mailbox " + name;
  }
  for (const Message& message : session->state().FindName("INBOX")->messages) {
    for (const std::string& letter : promised.flagged) {
      if (message.bytes == letter.size() && there.contains(letter) && (message.flags & journal::kFlagged) == 0 &&
          !promised.tried_to_expunge.contains(letter)) {
        return "not flagged " + letter.substr(12, 10);
      }
    }
  }
  return "";
}

TEST(FaultTest, WhateverFailsNothingAcknowledgedIsLost) {
  uint64_t operations = 0;
  {
    CrashDisk disk;
    Started run(disk, 1);
    ASSERT_TRUE(run.status.ok());
    Script script(run);
    script.Play();
    EXPECT_EQ(script.promised.delivered.size(), 4u);
    EXPECT_EQ(script.promised.expunged.size(), 2u);
    EXPECT_EQ(script.promised.flagged.size(), 2u);
    EXPECT_EQ(script.promised.mailboxes.size(), 1u);
    operations = disk.operations();
  }
  size_t failed = 0, recovered = 0, did_not_start = 0, wrong = 0;
  uint64_t seed = 10'000;
  for (const bool for_ever : {false, true}) {
    for (uint64_t n = for_ever ? kStride / 2 : 0; n < operations && wrong < 5; n += kStride) {
      const std::string where = "operation " + std::to_string(n) + (for_ever ? " and all after it" : "");
      CrashDisk disk;
      std::string what;
      disk.SetObserver([&](const std::string& operation) {
        if (disk.operations() == n + 1 && what.empty()) what = operation;
      });
      disk.FailAt(n, absl::UnavailableError("injected: input/output error"), for_ever);
      auto run = std::make_unique<Started>(disk, 1);
      Promises promised;
      std::string problem;
      if (!run->status.ok()) {
        ++did_not_start;
      } else {
        Script script(*run);
        script.Play();
        run->pair.loop.RunFor(5000);  // what is tried again has been tried again
        if (run->node().Status().state == "failed") {
          ++failed;
          EXPECT_FALSE(script.Deliver("after all")) << where << ": acknowledged by a node that has failed";
        } else if (!for_ever) {
          ++recovered;
          if (!script.Deliver("after all")) problem = "neither failed nor taking mail";
          run->pair.loop.RunFor(1500);
          for (const Problem& each : run->node().Status().problems) problem = "still a problem: " + each.what;
        }
        promised = script.promised;
      }
      // A node may have two lives in one process's disk, not two machines': the power fails.
      std::unique_ptr<CrashDisk> synced = disk.ImageOfSynced();
      std::unique_ptr<CrashDisk> all = disk.ImageOfAll();
      run.reset();
      for (CrashDisk* image : {synced.get(), all.get()}) {
        Started after(*image, ++seed);
        const std::string broken = Broken(promised, after);
        if (!broken.empty() && problem.empty())
          problem = broken + (image == synced.get() ? ", all unsynced lost" : ", all kept");
      }
      if (problem.empty()) continue;
      ++wrong;
      ADD_FAILURE() << where << " (" << what << "): " << problem;
    }
  }
  std::printf("%llu operations: the node had failed %zu times, recovered %zu times, did not start %zu times\n",
              static_cast<unsigned long long>(operations), failed, recovered, did_not_start);
  EXPECT_GT(failed, 200 / kStride);
  EXPECT_GT(recovered, 200 / kStride);
}

}  // namespace
}  // namespace gemel::engine
