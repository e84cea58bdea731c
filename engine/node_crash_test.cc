// Power cuts: a node runs a script on a disk that can lose or tear whatever was not synced; before every operation of
// that disk the power fails in several ways, and a node that starts from what is left must have all that was
// acknowledged, nothing else but the one command in flight, and every letter byte for byte (invariants 1, 5, 6).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/test_lone_node.h"

namespace gemel::engine {
namespace {

using journal::CrashDisk;
using testing::kAnn;
using testing::Look;
using testing::Seen;
using testing::Started;

// How the unsynced may fare at each crash point: all lost, all kept, and random halves. `./dev test --deep` sets
// GEMEL_DEEP. Each is a start of a node.
int Ways() {
#ifdef GEMEL_SANITIZED  // ten times slower
  return 3;
#else
  return getenv("GEMEL_DEEP") != nullptr ? 1000 : 33;
#endif
}

class CrashTest : public ::testing::Test {
 protected:
  void Deliver(const std::string& body) {
    auto targets = run_->node().LookUpRecipient(kAnn);
    ASSERT_TRUE(targets.ok());
    auto delivery = run_->node().BeginDelivery(Via::kLmtp, "x@example.org");
    delivery->Write(body);
    std::optional<absl::Status> status;
    delivery->Finish({{kAnn, targets->front(), "Delivered-To: ann\n"}},
                     [&](absl::Status done) { status = std::move(done); });
    ASSERT_TRUE(run_->pair.RunUntil([&] { return status.has_value(); }));
    ASSERT_TRUE(status->ok()) << *status;
    Acknowledged();
  }
  void Do(AccountSession& session, Command command) {
    std::optional<CommandResult> result;
    session.Submit(std::move(command), [&](CommandResult done) { result = std::move(done); });
    ASSERT_TRUE(run_->pair.RunUntil([&] { return result.has_value(); }));
    ASSERT_TRUE(result->status.ok()) << result->status;
    Acknowledged();
  }
  // A client was told so: no crash may take it back.
  void Acknowledged() {
    watching_ = false;
    acknowledged_ = Look(*run_);
    JudgeAhead();
    watching_ = true;
  }
  // What a node has after a crash: what was acknowledged, or already what the command in flight does. The latter is
  // known only when that is acknowledged; until then it waits, each such sight once, as there are up to a million
  // crashes.
  void Crashed(const std::string& what, Seen seen) {
    ++crashes_;
    if (seen == acknowledged_) return;
    const auto same = std::find_if(ahead_.begin(), ahead_.end(), [&](const Ahead& each) { return each.seen == seen; });
    if (same != ahead_.end()) {
      ++same->crashes;
    } else {
      ahead_.push_back({what, std::move(seen), 1});
    }
  }
  void JudgeAhead() {
    for (const Ahead& each : ahead_) {
      if (each.seen == acknowledged_) continue;
      wrong_ += each.crashes;
      if (++told_ > 5) continue;
      std::string why =
          "the digests are " + each.seen.digest + ", those of the command in flight " + acknowledged_.digest;
      for (const auto& [guid, text] : acknowledged_.bodies) {
        const auto found = each.seen.bodies.find(guid);
        if (found != each.seen.bodies.end() && found->second == text) continue;
        why += " " + guid + ": " + (found == each.seen.bodies.end() ? "missing" : found->second.substr(0, 80));
      }
      ADD_FAILURE() << each.crashes << " crashes, the first before \"" << each.what
                    << "\", left neither what was acknowledged nor what came next: " << why;
    }
    ahead_.clear();
  }

  void Script() {
    watching_ = false;
    std::optional<absl::Status> added;
    run_->node().AddAccount(kAnn, "{X}x", 0, [&](absl::Status status) { added = status; });
    ASSERT_TRUE(run_->pair.RunUntil([&] { return added.has_value(); }));
    run_->pair.loop.RunFor(600);
    auto session = run_->Open(kAnn);
    ASSERT_NE(session, nullptr);
    Acknowledged();
    const MailboxId inbox = session->state().FindName("INBOX")->id;
    const MailboxId sent = session->state().FindName("Sent")->id;
    Deliver("Subject: 1\n\none\n");
    Deliver("Subject: 2\n\n" + std::string(5000, 'b') + "\n");
    Do(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kSeen, {"$Work"}, {1}});
    Do(*session, CopyCommand{inbox, sent, {1, 2}, false});
    run_->pair.loop.RunFor(1500);  // a checkpoint
    Deliver("Subject: large\n\n" + std::string(300'000, 'c') + "\n");
    Do(*session, CreateCommand{"a/b"});
    const MailboxId b = session->state().FindName("a/b")->id;
    Do(*session, CopyCommand{inbox, b, {2, 3}, true});
    Do(*session, StoreFlagsCommand{b, FlagOp::kReplace, journal::kDeleted, {}, {1}});
    Do(*session, ExpungeCommand{b, {1}});
    run_->pair.loop.RunFor(1500);
    Do(*session, RenameCommand{"a", "z"});
    Do(*session, SubscribeCommand{"z/b", true});
    Deliver("Subject: 4\n\nfour\n");
    Do(*session, DeleteCommand{"z/b"});
    Do(*session, StoreFlagsCommand{inbox, FlagOp::kRemove, journal::kSeen, {}, {1}});
    session.reset();
    run_->pair.loop.RunFor(1500);
  }

  std::unique_ptr<Started> run_;
  struct Ahead {
    std::string what;
    Seen seen;
    size_t crashes;
  };
  Seen acknowledged_;
  std::vector<Ahead> ahead_;
  size_t crashes_ = 0, wrong_ = 0, told_ = 0;
  bool watching_ = false;
};

TEST_F(CrashTest, EveryCrashPointRecoversWithAllThatWasAcknowledged) {
  CrashDisk disk;
  std::mt19937_64 random(7);
  uint64_t seed = 1000;
  run_ = std::make_unique<Started>(disk, 1);
  ASSERT_TRUE(run_->status.ok()) << run_->status;
  disk.SetObserver([&](const std::string& what) {
    if (!watching_) return;
    for (int way = 0; way < Ways(); ++way) {
      std::unique_ptr<CrashDisk> image = way == 0   ? disk.ImageOfSynced()
                                         : way == 1 ? disk.ImageOfAll()
                                                    : disk.Image([&](size_t, size_t) { return (random() & 1) != 0; });
      Started after(*image, ++seed);
      Seen seen;
      if (after.status.ok()) {
        seen = Look(after);
      } else {
        seen.digest = after.status.ToString();
      }
      Crashed(what + (way == 0 ? ", all unsynced lost" : way == 1 ? ", all kept" : ", some lost"), std::move(seen));
    }
  });
  Script();
  disk.SetObserver(nullptr);
  run_.reset();
  JudgeAhead();
  EXPECT_GT(crashes_, 100u * static_cast<size_t>(Ways()));
  EXPECT_EQ(wrong_, 0u) << "of " << crashes_ << " crashes";
  std::printf("%zu crashes over %llu operations of the disk\n", crashes_,
              static_cast<unsigned long long>(disk.operations()));
}

}  // namespace
}  // namespace gemel::engine
