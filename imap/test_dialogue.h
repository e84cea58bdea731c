// Dialogues with IMAP sessions on two production nodes (engine/test_nodes.h), on a disk in memory. The account's home
// is place 1; a client arrives there, or at place 0, which passes it on: what it sees must be the same.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/test_nodes.h"
#include "imap/session.h"
#include "journal/crash_disk.h"
#include "journal/log.h"
#include "maildir/sqlite_disk_vfs.h"

namespace gemel::imap {

inline constexpr char kAnn[] = "ann@example.test";
inline constexpr uint8_t kHome = 1;
inline constexpr char kLetter[] =
    "From: Bob <bob@example.org>\nTo: ann@example.test\nSubject: Tea\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n"
    "Message-ID: <1@example.org>\n\nAt five?\n";

// The client's end, as a string. It can hold back what is sent, as a slow client does.
class ClientConnection : public engine::Connection {
 public:
  explicit ClientConnection(engine::testing::TestLoop& loop) : loop_(loop) {}
  ~ClientConnection() override { loop_.Cancel(idle_timer_); }
  void Send(std::string bytes) override {
    sent += bytes;
    unsent += holds_back ? bytes.size() : 0;
    unsent_max = std::max(unsent_max, unsent);
  }
  size_t unsent_bytes() const override { return unsent; }
  void OnDrained(std::function<void()> then) override { on_drained_ = std::move(then); }
  void PauseReading() override { reading = false; }
  void ResumeReading() override { reading = true; }
  void StartTls() override { tls_started = true; }
  void CloseAfterSending() override { closed = !proxied; }  // passed on, it is the home's to close
  void SetIdleTimeout(uint64_t milliseconds) override {
    idle_ms_ = milliseconds;
    Arrived();
  }
  // Something came: idling begins anew.
  void Arrived() {
    loop_.Cancel(std::exchange(idle_timer_, 0));
    if (idle_ms_ == 0 || closed) return;
    idle_timer_ = loop_.After(idle_ms_, [this] {
      Arrived();
      if (!closed) on_timeout();
    });
  }
  void ProxyToHome(engine::ProxyHello hello, std::string already_received,
                   std::function<void(absl::Status)> then) override {
    proxy(std::move(hello), std::move(already_received), std::move(then));
  }
  const std::string& peer_address() const override { return address; }
  bool tls() const override { return has_tls; }
  std::string tls_description() const override { return has_tls ? "TLSv1.3" : ""; }
  bool tls_available() const override { return can_tls; }
  bool loopback() const override { return is_loopback; }
  const std::string& session_id() const override { return id_; }

  // The kernel takes all that was held back.
  void Drain() {
    unsent = 0;
    if (auto then = std::exchange(on_drained_, nullptr)) then();
  }

  std::string address = "192.0.2.7";
  std::string sent;
  bool holds_back = false;  // nothing leaves until Drain
  size_t unsent = 0, unsent_max = 0;
  bool reading = true, tls_started = false, closed = false, proxied = false;
  bool has_tls = true, can_tls = true, is_loopback = false;
  std::function<void(engine::ProxyHello, std::string, std::function<void(absl::Status)>)> proxy;
  std::function<void()> on_timeout;

 private:
  engine::testing::TestLoop& loop_;
  uint64_t idle_ms_ = 0;
  engine::TimerId idle_timer_ = 0;
  std::function<void()> on_drained_;
  const std::string id_ = "test";
};

// One client of the node at `place`. Destroy it before the nodes.
class Client {
 public:
  Client(engine::testing::TestPair& pair, int place) : connection(pair.loop), pair_(pair), place_(place) {
    connection.on_timeout = [this] { session().OnTimeout(); };
    session_ = MakeSession(*pair_.nodes[place], pair_.loop, connection, {});
    connection.proxy = [this](engine::ProxyHello hello, std::string received, std::function<void(absl::Status)> then) {
      passed_on = hello;
      pair_.loop.Post([this, alive = std::weak_ptr<bool>(alive_), hello = std::move(hello),
                       received = std::move(received), then = std::move(then)] {
        if (!alive.expired()) PassOn(hello, received, then);
      });
    };
  }

  std::string Connect() {
    session_->OnConnected();
    Settle();
    return Take();
  }
  // Sends, lets all happen, and returns what came back.
  std::string Say(std::string_view bytes) {
    Write(bytes);
    Settle();
    return Take();
  }
  void Write(std::string_view bytes) {
    connection.Arrived();
    session().OnBytes(bytes);
  }
  // It goes without a word.
  void HangUp() {
    connection.closed = true;
    session().OnClosed();
  }
  void LogIn() {
    Connect();
    ASSERT_THAT(Say("a0 LOGIN ann@example.test pass\r\n"), ::testing::StartsWith("a0 OK"));
  }
  // Lines in pairs. In an "S: " line "{N}" stands for any number, and "..." at its end for any rest.
  void Talk(std::string_view dialogue);
  std::string Take() { return std::exchange(connection.sent, ""); }
  void Settle() { pair_.loop.RunFor(settle_ms); }
  // That which talks to the client: after it was passed on, the home's.
  engine::ProtocolSession& session() { return at_home_ != nullptr ? *at_home_ : *session_; }

  ClientConnection connection;
  uint64_t settle_ms = 20;  // simulated, for an answer; a wrong password takes seconds
  std::optional<engine::ProxyHello> passed_on;

 private:
  // As net_proxy.h does it between two hosts.
  void PassOn(const engine::ProxyHello& hello, const std::string& received,
              const std::function<void(absl::Status)>& then) {
    engine::Node* home = pair_.nodes[1 - place_].get();
    absl::Status status = home == nullptr ? absl::UnavailableError("connection refused") : home->CheckProxy(hello);
    connection.proxied = status.ok();
    then(status);
    if (!status.ok()) return;
    connection.proxied = false;
    Preauthenticated client{hello.account, kAnn};
    at_home_ = MakeSession(*home, pair_.loop, connection, {}, std::move(client));
    at_home_->OnConnected();
    if (!received.empty()) at_home_->OnBytes(received);
  }

  engine::testing::TestPair& pair_;
  const int place_;
  std::unique_ptr<engine::ProtocolSession> session_, at_home_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

inline bool MatchesLine(std::string_view line, std::string_view pattern) {
  while (!pattern.empty()) {
    if (pattern == "...") return true;
    if (pattern.starts_with("{N}")) {
      const size_t digits = std::min(line.find_first_not_of("0123456789"), line.size());
      if (digits == 0) return false;
      line.remove_prefix(digits);
      pattern.remove_prefix(3);
      continue;
    }
    if (line.empty() || line[0] != pattern[0]) return false;
    line.remove_prefix(1);
    pattern.remove_prefix(1);
  }
  return line.empty();
}

inline void Client::Talk(std::string_view dialogue) {
  std::string got;
  size_t line_number = 0;
  while (!dialogue.empty()) {
    const size_t end = std::min(dialogue.find('\n'), dialogue.size());
    std::string_view line = dialogue.substr(0, end);
    dialogue.remove_prefix(std::min(dialogue.size(), end + 1));
    ++line_number;
    if (line.starts_with("C: ")) {
      EXPECT_EQ(got, "") << "not expected before line " << line_number;
      got = Say(std::string(line.substr(3)) + "\r\n");
    } else if (line.starts_with("S: ")) {
      line.remove_prefix(3);
      const size_t line_end = got.find("\r\n");
      const std::string answer = got.substr(0, line_end);
      got = line_end == std::string::npos ? "" : got.substr(line_end + 2);
      EXPECT_TRUE(MatchesLine(answer, line))
          << "line " << line_number << "\n  wanted " << line << "\n  got    " << answer;
    }
  }
  EXPECT_EQ(got, "") << "not expected at the end";
}

// Ann's account at home on place 1, and what tests do to it from behind.
class Dialogue : public engine::testing::NodeTest {
 protected:
  Dialogue() : Dialogue(std::make_unique<journal::CrashDisk>()) {}
  ~Dialogue() override {
    ann_.reset();
    pair_.Cut();
    for (auto& node : pair_.nodes) node.reset();
    journal::SetLogLevel(journal::LogLevel::kInfo);
  }

  std::unique_ptr<Client> NewClient(int place) { return std::make_unique<Client>(pair_, place); }
  engine::AccountSession& Ann() {
    if (ann_ == nullptr) ann_ = Open(kHome, kAnn, listener_);
    return *ann_;
  }
  void Settle() { pair_.loop.RunFor(20); }
  const engine::Mailbox& Named(const std::string& name) { return *Ann().state().FindName(name); }
  void Create(const std::string& name) {
    EXPECT_TRUE(Run(Ann(), engine::CreateCommand{name}).status.ok());
    Settle();
  }
  // A letter, byte for byte; returns its UID.
  engine::Uid Put(const std::string& mailbox, const std::string& lf_bytes, journal::Flags flags = 0) {
    auto append = Ann().BeginAppend({Named(mailbox).id, flags, {}, std::nullopt});
    append->Write(lf_bytes);
    std::optional<engine::CommandResult> result;
    append->Finish([&](engine::CommandResult done) { result = std::move(done); });
    EXPECT_TRUE(pair_.RunUntil([&] { return result.has_value(); }));
    EXPECT_TRUE(result->status.ok()) << result->status;
    Settle();
    return result->copied.empty() ? 0 : result->copied.front().second;
  }
  std::string BodyOf(const std::string& mailbox, engine::Uid uid) {
    return Text(Ann(), Named(mailbox), *Named(mailbox).Find(uid));
  }
  static constexpr uint64_t kDiskBytes = 1 << 30, kFreeBytesMin = 1 << 20;
  journal::CrashDisk& memory() { return static_cast<journal::CrashDisk&>(*disk_); }
  // Before a node is killed: nothing may hold on to it.
  void LetGo() { ann_.reset(); }

 private:
  explicit Dialogue(std::unique_ptr<journal::CrashDisk> disk)
      : Dialogue(std::make_shared<maildir::SqliteDiskVfs>(*disk), std::move(disk)) {}
  // By reference: a disk moved into an argument may be gone before the other argument looks at it.
  Dialogue(std::shared_ptr<maildir::SqliteDiskVfs> vfs, std::unique_ptr<journal::CrashDisk>&& disk)
      : NodeTest(std::move(disk), vfs) {
    journal::SetLogLevel(journal::LogLevel::kOff);
    options_.sqlite_vfs = vfs->name();
    options_.free_bytes_min = kFreeBytesMin;
    memory().SetCapacity(kDiskBytes);
    StartPair();
    AddAccount(kAnn, kHome);
  }

  engine::testing::Listener listener_;
  std::unique_ptr<engine::AccountSession> ann_;
};

// A dialogue that must be the same wherever the client arrives: the parameter is the place.
class SessionTest : public Dialogue, public ::testing::WithParamInterface<int> {
 protected:
  SessionTest() : owned_(NewClient(GetParam())), client_(*owned_) {}
  std::unique_ptr<Client> Another() { return NewClient(GetParam()); }

 private:
  const std::unique_ptr<Client> owned_;

 protected:
  Client& client_;
};

inline std::string NameOfArrival(const ::testing::TestParamInfo<int>& info) {
  return info.param == kHome ? "AtHome" : "PassedOn";
}

}  // namespace gemel::imap
