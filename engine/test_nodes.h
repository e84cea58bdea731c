// A pair of production nodes with their data on the real disk, in one thread and on simulated time (test_world.h): what
// tests of the engine and of imap/ stand on.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/replay.h"
#include "engine/test_world.h"

namespace gemel::engine::testing {

// Of "pass": quick to check, unlike argon2.
inline constexpr char kPassHash[] =
    "{SSHA512}cGS5SkKWZQ/PWvQvJaQfXnAAD7FAuqVmI8302iorwl8NtRaPV7Hr2WsQxAc3wacyhZByZfYZrIWygc0vxfQgfXNhbHQ=";

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
  NodeTest() : NodeTest(journal::MakePosixDisk(), nullptr) {}
  // On another disk. `outlives` is destroyed after the nodes.
  NodeTest(std::unique_ptr<journal::Disk> disk, std::shared_ptr<void> outlives)
      : disk_(std::move(disk)), outlives_(std::move(outlives)) {
    options_.segment_bytes = 4 << 20;
    options_.free_bytes_min = 0;
    static int number = 0;
    root_ = ::testing::TempDir() + "/node_test_" + std::to_string(getpid()) + "_" + std::to_string(++number);
    std::filesystem::remove_all(root_);
  }
  ~NodeTest() override {
    pair_.Cut();
    for (auto& node : pair_.nodes) node.reset();
    std::filesystem::remove_all(root_);
  }

  virtual journal::Disk& DiskOf(int) { return *disk_; }
  virtual NodeOptions Options(int place) {
    NodeOptions options = options_;
    options.data_directory = root_ + "/" + std::to_string(place);
    options.host_name = "mx" + std::to_string(place) + ".example.test";
    options.ack_policy = policy_;
    return options;
  }
  void Start(int place) {
    const absl::Status status = pair_.Start(place, DiskOf(place), Options(place));
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
    pair_.nodes[0]->AddAccount(name, kPassHash, home, [&](absl::Status status) { done = std::move(status); });
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
    delivery->Finish(std::move(recipients), [&](absl::Status done) { status = std::move(done); });
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

  const std::unique_ptr<journal::Disk> disk_;
  const std::shared_ptr<void> outlives_;
  std::string root_;
  AckPolicy policy_ = AckPolicy::kPairIfUp;
  NodeOptions options_;  // of both, but for what Options() sets
  TestPair pair_;
};

}  // namespace gemel::engine::testing
