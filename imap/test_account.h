// What a session stands on, in memory, for tests: a loop that is a queue, a connection that is a string, and a service
// with one account whose commands are applied at once. Thin on purpose: the rules that it follows are the engine's,
// and the dialogues also run against a real node (tests/).
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/connection.h"
#include "engine/loop.h"
#include "engine/service.h"

namespace gemel::imap {

class TestLoop : public engine::Loop {
 public:
  void Post(std::function<void()> step) override { steps_.push_back(std::move(step)); }
  engine::TimerId After(uint64_t, std::function<void()>) override { return 1; }
  void Cancel(engine::TimerId) override {}
  bool RunOne() {
    if (steps_.empty()) return false;
    auto step = std::move(steps_.front());
    steps_.pop_front();
    step();
    ++steps_run;
    return true;
  }
  void Run() {
    while (RunOne()) {
    }
  }
  size_t steps_run = 0;

 private:
  std::deque<std::function<void()>> steps_;
};

class TestConnection : public engine::Connection {
 public:
  void Send(std::string bytes) override {
    sent += bytes;
    unsent += holds_back ? bytes.size() : 0;
    unsent_max = std::max(unsent_max, unsent);
  }
  size_t unsent_bytes() const override { return unsent; }
  void OnDrained(std::function<void()> then) override { on_drained = std::move(then); }
  void PauseReading() override { reading = false; }
  void ResumeReading() override { reading = true; }
  void StartTls() override { tls_started = true; }
  void CloseAfterSending() override { closed = true; }
  void SetIdleTimeout(uint64_t milliseconds) override { idle_timeout_ms = milliseconds; }
  void ProxyToHome(engine::ProxyHello hello, std::string already_received,
                   std::function<void(absl::Status)> then) override {
    proxy_hello = std::move(hello);
    proxy_bytes = std::move(already_received);
    proxy_then = std::move(then);
  }
  const std::string& peer_address() const override { return address; }
  bool tls() const override { return has_tls; }
  std::string tls_description() const override { return has_tls ? "TLSv1.3" : ""; }
  bool tls_available() const override { return can_tls; }
  bool loopback() const override { return is_loopback; }
  const std::string& session_id() const override { return id; }

  // The kernel takes all that was held back.
  void Drain() {
    unsent = 0;
    if (auto then = std::exchange(on_drained, nullptr)) then();
  }

  std::string sent;
  bool holds_back = false;  // nothing leaves until Drain
  size_t unsent = 0, unsent_max = 0;
  std::function<void()> on_drained;
  bool reading = true, tls_started = false, closed = false;
  uint64_t idle_timeout_ms = 0;
  engine::ProxyHello proxy_hello;
  std::string proxy_bytes;
  std::function<void(absl::Status)> proxy_then;
  std::string address = "192.0.2.7";
  bool has_tls = true, can_tls = true, is_loopback = false;
  std::string id = "test";
};

class TestBody : public maildir::Body {
 public:
  explicit TestBody(std::string bytes) : text_(std::move(bytes)) {}
  uint64_t bytes() const override { return text_.size(); }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t bytes) const override {
    return offset >= text_.size() ? std::string() : text_.substr(offset, bytes);
  }

 private:
  std::string text_;
};

// The one account, and all sessions on it.
class TestService : public engine::Service {
 public:
  explicit TestService(TestLoop& loop);

  // ---- for the test ----
  engine::MailboxId Create(const std::string& name, journal::SpecialUse use = journal::SpecialUse::kNone);
  engine::Uid Deliver(const std::string& mailbox, std::string lf_bytes, journal::Flags flags = 0);
  engine::Mailbox& Named(const std::string& name);
  void CloseAccount(std::string_view reason);
  std::string BodyOf(const engine::Message& message) const { return bodies_.at(message.guid); }

  engine::Home home = engine::Home::kHere;
  absl::Status next_failure;         // of the next Submit or Append::Finish
  bool bodies_take_a_while = false;  // TryOpenBody has nothing
  bool append_blocked = false;       // an Append is not writable
  std::function<void()> append_writable;
  size_t structures_cached() const { return structures_.size(); }

  // ---- Service ----
  absl::StatusOr<std::vector<engine::DeliveryTarget>> LookUpRecipient(std::string_view) override {
    return absl::UnimplementedError("not here");
  }
  absl::Status AcceptingMail() const override { return absl::OkStatus(); }
  std::unique_ptr<engine::Delivery> BeginDelivery(engine::Via, std::string) override { return nullptr; }
  void Authenticate(std::string user, std::string password, std::string client_address,
                    std::function<void(absl::StatusOr<engine::Authenticated>)> done) override;
  engine::Home HomeOf(const engine::AccountId&) const override { return home; }
  journal::Generation generation() const override { return 1; }
  void OpenAccount(const engine::AccountId& account, engine::AccountListener& listener,
                   std::function<void(absl::StatusOr<std::unique_ptr<engine::AccountSession>>)> done) override;
  const std::string& host_name() const override { return host_name_; }
  int64_t NowSeconds() const override { return 1'700'000'000; }
  uint64_t BootMillis() const override { return 0; }

 private:
  friend class TestAccountSession;
  friend class TestAppend;
  struct Told {
    engine::MailboxId mailbox;
    std::vector<engine::MailboxEvent> events;
  };
  engine::CommandResult Apply(const engine::Command& command);
  absl::Status Store(const engine::StoreFlagsCommand& command);
  absl::Status Expunge(const engine::ExpungeCommand& command);
  engine::CommandResult Copy(const engine::CopyCommand& command);
  absl::Status Change(const engine::Command& command);
  engine::Uid Insert(engine::Mailbox& mailbox, engine::Message message, const std::vector<std::string>& keywords);
  void Tell(const engine::MailboxId& mailbox, engine::EventKind kind, engine::Uid uid);
  void Settle();

  TestLoop& loop_;
  std::string host_name_ = "mail.example.test";
  engine::AccountState state_;
  uint64_t counter_ = 0;
  std::map<journal::Guid, std::string> bodies_;
  std::map<journal::Guid, std::string> structures_;
  std::map<engine::MailboxId, engine::Uid> recent_;
  std::vector<engine::AccountListener*> listeners_;
};

}  // namespace gemel::imap
