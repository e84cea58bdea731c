// Between two nodes: pinned keys, application protocols, and proxied clients. Both nodes on one loop.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/net_proxy.h"
#include "engine/net_server.h"
#include "engine/net_test_client.h"

namespace gemel::engine {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;

constexpr uint64_t kLongMs = 20'000;

ProxyHello SomeHello() {
  ProxyHello hello;
  hello.account = journal::AccountIdOf("user@example.test");
  hello.generation = 7;
  hello.client_address = "192.0.2.1";
  hello.tls = true;
  hello.enabled = "CONDSTORE";
  hello.session_id = "abc";
  return hello;
}

TEST(ProxyHello, IsReadAsItWasWritten) {
  const ProxyHello hello = SomeHello();
  const std::string bytes = EncodeProxyHello(hello);
  const auto read = DecodeProxyHello(bytes);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->account, hello.account);
  EXPECT_EQ(read->generation, 7u);
  EXPECT_EQ(read->client_address, "192.0.2.1");
  EXPECT_TRUE(read->tls);
  EXPECT_EQ(read->enabled, "CONDSTORE");
  EXPECT_EQ(read->session_id, "abc");
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_FALSE(DecodeProxyHello(bytes.substr(0, i)).ok()) << i;
  EXPECT_FALSE(DecodeProxyHello(bytes + "x").ok());
}

// Says what happens to it; sends what a test tells it to.
struct Log {
  std::vector<std::string> events;
  Connection* connection = nullptr;
  std::string bytes;
};
class LoggingSession : public ProtocolSession {
 public:
  LoggingSession(Connection& connection, Log& log) : log_(log) { log_.connection = &connection; }
  ~LoggingSession() override { log_.connection = nullptr; }
  void OnConnected() override { log_.events.push_back("connected"); }
  void OnBytes(std::string_view bytes) override { log_.bytes += bytes; }
  void OnTls() override { log_.events.push_back("tls"); }
  void OnTimeout() override { log_.events.push_back("timeout"); }
  void OnClosed() override { log_.events.push_back("closed"); }
  void OnShutdown() override { log_.events.push_back("shutdown"); }

 private:
  Log& log_;
};

struct TestNode {
  explicit TestNode(NetLoop& loop) : net(loop), keys(*NewKeyAndCertificate("node", false)) {
    net.SetPeerTls(*PeerTls::Make(keys.key_pem, keys.certificate_pem,
                                  [this](std::string_view, const std::string& key) { return key == pinned; }));
    handlers.make_link = [this](Connection& connection) { return std::make_unique<LoggingSession>(connection, link); };
  }
  void Listen(size_t unproven_max = 16) { address = *net.ListenPeer("127.0.0.1:0", handlers, unproven_max); }
  Net net;
  KeyAndCertificate keys;
  std::string pinned;
  LinkHandlers handlers;
  std::string address;
  Log link;
};

class PeerTest : public testing::Test {
 protected:
  PeerTest() {
    a_.pinned = b_.keys.key_fingerprint;
    b_.pinned = a_.keys.key_fingerprint;
  }
  bool Until(const std::function<bool()>& done) { return loop_.RunUntil(done, kLongMs); }
  void Dial(const std::string& alpn = kAlpnLink) {
    a_.net.DialPeer(
        b_.address, alpn, 5000,
        [this](Connection& connection) { return std::make_unique<LoggingSession>(connection, dialled_); },
        [this](absl::Status status) { failed_ = status; });
  }

  NetLoop loop_;
  TestNode a_{loop_}, b_{loop_};
  Log dialled_;
  absl::Status failed_;
};

TEST_F(PeerTest, LinkCarriesBytesBothWays) {
  b_.Listen();
  Dial();
  ASSERT_TRUE(Until([&] { return dialled_.connection != nullptr && b_.link.connection != nullptr; }));
  EXPECT_THAT(dialled_.connection->tls_description(), testing::StartsWith("TLSv1.3"));
  dialled_.connection->Send(std::string(3'000'000, 'a'));
  b_.link.connection->Send(std::string(2'000'000, 'b'));
  EXPECT_TRUE(Until([&] { return b_.link.bytes.size() == 3'000'000 && dialled_.bytes.size() == 2'000'000; }));
  b_.link.connection->CloseAfterSending();
  EXPECT_TRUE(Until([&] { return dialled_.connection == nullptr; }));
  EXPECT_THAT(dialled_.events, ElementsAre("connected", "closed"));
  EXPECT_THAT(b_.link.events, ElementsAre("connected"));
  EXPECT_TRUE(failed_.ok());
}

// As many as like may connect and say nothing: the peer, which has shown its key, does not count among them.
TEST_F(PeerTest, WhoShowsNoKeyIsCounted) {
  b_.Listen(/*unproven_max=*/1);
  for (int i = 0; i < 2; ++i) {
    Dial();
    ASSERT_TRUE(Until([&] { return dialled_.connection != nullptr && b_.net.connections() == 1u + i; }));
    ASSERT_TRUE(Until([&] { return std::count(b_.link.events.begin(), b_.link.events.end(), "connected") == i + 1; }));
    dialled_.connection = nullptr;
  }
  TestClient silent(loop_, b_.address);
  ASSERT_TRUE(Until([&] { return b_.net.connections() == 3; }));
  TestClient refused(loop_, b_.address);
  EXPECT_TRUE(Until([&] { return refused.closed; }));
  EXPECT_FALSE(silent.closed);
}

TEST_F(PeerTest, ShutdownLeavesTheLinkToTheNode) {
  b_.Listen();
  Dial();
  ASSERT_TRUE(Until([&] { return dialled_.connection != nullptr && b_.link.connection != nullptr; }));
  a_.net.Shutdown();
  b_.net.Shutdown();
  dialled_.connection->Send("an acknowledgement");
  EXPECT_TRUE(Until([&] { return b_.link.bytes == "an acknowledgement"; }));
  a_.net.CloseAll();
  EXPECT_EQ(dialled_.connection, nullptr);  // gone when CloseAll returns
  EXPECT_THAT(dialled_.events, ElementsAre("connected", "closed"));
  EXPECT_TRUE(Until([&] { return b_.net.connections() == 0; }));
}

TEST_F(PeerTest, WrongKeyOfTheServerIsRefused) {
  b_.Listen();
  a_.pinned = std::string(64, '0');
  Dial();
  EXPECT_TRUE(Until([&] { return !failed_.ok(); }));
  EXPECT_TRUE(dialled_.events.empty());
  EXPECT_TRUE(Until([&] { return b_.net.connections() == 0; }));
  EXPECT_TRUE(b_.link.events.empty());
}

TEST_F(PeerTest, WrongKeyOfTheClientIsRefused) {
  b_.Listen();
  b_.pinned = "";
  Dial();
  // In TLS 1.3 the client's handshake is done before the server has seen its key.
  EXPECT_TRUE(Until([&] { return !failed_.ok() || dialled_.events.size() == 2; }));
  EXPECT_THAT(dialled_.events, testing::AnyOf(ElementsAre(), ElementsAre("connected", "closed")));
  EXPECT_TRUE(Until([&] { return b_.net.connections() == 0; }));
  EXPECT_TRUE(b_.link.events.empty());
}

TEST_F(PeerTest, PinIsAskedForAtEachHandshake) {
  b_.Listen();
  a_.pinned = "";
  Dial();
  EXPECT_TRUE(Until([&] { return !failed_.ok(); }));
  a_.pinned = b_.keys.key_fingerprint;
  Dial();
  EXPECT_TRUE(Until([&] { return b_.link.connection != nullptr; }));
}

TEST_F(PeerTest, ApplicationProtocolsThatNobodyServesAreRefused) {
  b_.Listen();
  for (const char* alpn : {kAlpnPair, kAlpnProxy, "gemel-link/2"}) {
    failed_ = absl::OkStatus();
    Dial(alpn);
    EXPECT_TRUE(Until([&] { return !failed_.ok(); })) << alpn;
  }
  EXPECT_TRUE(dialled_.events.empty());
}

TEST_F(PeerTest, MailClientOnTheLinkPortIsRefused) {
  b_.Listen();
  TestClient client(loop_, b_.address);
  client.StartTls();  // neither key nor application protocol
  EXPECT_TRUE(Until([&] { return client.closed || client.tls_failed; }));
  EXPECT_TRUE(b_.link.events.empty());
}

TEST_F(PeerTest, DialFailsWhereNobodyListensOrAnswersOrTheNameIsUnknown) {
  b_.Listen();
  const std::string address = b_.address;
  b_.net.StopListening();
  Dial();
  EXPECT_TRUE(failed_.ok());  // never from inside the call
  EXPECT_TRUE(Until([&] { return absl::IsUnavailable(failed_); })) << failed_;

  for (const char* bad : {"", "no-port", "host.invalid:1", "[::1:25"}) {
    failed_ = absl::OkStatus();
    b_.address = bad;
    Dial();
    EXPECT_TRUE(failed_.ok());
    EXPECT_TRUE(Until([&] { return !failed_.ok(); })) << bad;
  }

  const int silent = socket(AF_INET, SOCK_STREAM, 0);  // accepts in its backlog, and says nothing
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof any;
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&any), bytes), 0);
  ASSERT_EQ(listen(silent, 1), 0);
  getsockname(silent, reinterpret_cast<sockaddr*>(&any), &bytes);
  failed_ = absl::OkStatus();
  a_.net.DialPeer(
      "127.0.0.1:" + std::to_string(ntohs(any.sin_port)), kAlpnLink, 20,
      [this](Connection& connection) { return std::make_unique<LoggingSession>(connection, dialled_); },
      [this](absl::Status status) { failed_ = status; });
  EXPECT_TRUE(Until([&] { return !failed_.ok(); }));
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0; }));
  close(silent);
}

TEST_F(PeerTest, NetThatGoesWhileItResolvesANameDoesNotMind) {
  auto gone = std::make_unique<TestNode>(loop_);
  bool told = false;
  gone->net.DialPeer(
      "host.invalid:1", kAlpnLink, 5000, [](Connection&) { return nullptr; }, [&](absl::Status) { told = true; });
  gone.reset();
  bool later = false;
  loop_.After(20, [&] { later = true; });
  EXPECT_TRUE(Until([&] { return later; }));
  EXPECT_FALSE(told);
}

// ---- proxied clients ----

// Logs in with "LOGIN" and is passed on; "x" before that is echoed.
class ArrivalSession : public ProtocolSession {
 public:
  explicit ArrivalSession(Connection& connection) : connection_(connection) {}
  void OnConnected() override { connection_.Send("* OK arrival\r\n"); }
  void OnBytes(std::string_view bytes) override {
    buffer_ += bytes;
    if (!buffer_.starts_with("LOGIN\r\n")) return connection_.Send(std::exchange(buffer_, ""));
    connection_.ProxyToHome(SomeHello(), buffer_.substr(7), [this](absl::Status status) {
      buffer_.clear();
      connection_.Send(status.ok() ? "OK logged in\r\n" : "NO " + std::string(status.message()) + "\r\n");
    });
  }
  void OnTls() override {}
  void OnTimeout() override {}
  void OnClosed() override {}
  void OnShutdown() override { connection_.CloseAfterSending(); }

 private:
  Connection& connection_;
  std::string buffer_;
};

class ProxyTest : public PeerTest {
 protected:
  ProxyTest() {
    b_.handlers.check_proxy = [this](const ProxyHello& hello) {
      hello_ = hello;
      return check_;
    };
    b_.handlers.make_proxied = [this](Connection& connection, const ProxyHello&) {
      return std::make_unique<LoggingSession>(connection, home_);
    };
    b_.Listen();
    a_.net.SetPeerAddress([this] { return b_.address; });
    ListenOptions options;
    options.address = "127.0.0.1:0";
    arrival_ =
        *a_.net.Listen(options, [](Connection& connection) { return std::make_unique<ArrivalSession>(connection); });
  }
  std::unique_ptr<TestClient> LoggedIn() {
    auto client = std::make_unique<TestClient>(loop_, arrival_);
    client->Write("LOGIN\r\n");
    EXPECT_TRUE(Until([&] { return EndsWith_(client->received, "OK logged in\r\n"); }));
    EXPECT_TRUE(Until([&] { return home_.connection != nullptr; }));
    return client;
  }
  static bool EndsWith_(const std::string& text, std::string_view end) { return text.ends_with(end); }

  absl::Status check_;
  ProxyHello hello_;
  Log home_;
  std::string arrival_;
};

TEST_F(ProxyTest, ClientTalksToItsHomeAndPipelinedCommandsAreNotLost) {
  TestClient client(loop_, arrival_);
  client.Write("LOGIN\r\na SELECT INBOX\r\n");
  EXPECT_TRUE(Until([&] { return home_.bytes == "a SELECT INBOX\r\n"; })) << home_.bytes;
  EXPECT_EQ(hello_.generation, 7u);
  EXPECT_EQ(hello_.account, SomeHello().account);
  EXPECT_EQ(home_.connection->peer_address(), "192.0.2.1");
  EXPECT_TRUE(home_.connection->tls());
  EXPECT_FALSE(home_.connection->loopback());
  EXPECT_FALSE(home_.connection->tls_available());
  EXPECT_EQ(home_.connection->session_id(), "abc");
  home_.connection->Send("a OK selected\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(client.received, "a OK selected\r\n"); }));
  EXPECT_EQ(client.received, "* OK arrival\r\nOK logged in\r\na OK selected\r\n");

  client.Write("b LOGOUT\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(home_.bytes, "b LOGOUT\r\n"); }));
  home_.connection->Send("* BYE\r\nb OK\r\n");
  home_.connection->CloseAfterSending();
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_THAT(client.received, EndsWith("* BYE\r\nb OK\r\n"));  // and no goodbye of the proxy's
  EXPECT_THAT(home_.events, ElementsAre("connected"));
}

TEST_F(ProxyTest, HomeThatRefusesLeavesTheSessionWhereItWas) {
  check_ = absl::FailedPreconditionError("not the home");
  TestClient client(loop_, arrival_);
  client.Write("LOGIN\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(client.received, "NO not the home\r\n"); })) << client.received;
  client.Write("still here\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(client.received, "still here\r\n"); }));
  EXPECT_TRUE(home_.events.empty());
}

TEST_F(ProxyTest, HomeThatCannotBeReachedLikewise) {
  b_.net.StopListening();
  TestClient client(loop_, arrival_);
  client.Write("LOGIN\r\n");
  EXPECT_TRUE(Until([&] { return client.received.find("\r\nNO ") != std::string::npos; }));
  a_.net.SetPeerAddress([] { return std::string(); });
  client.received.clear();
  client.Write("LOGIN\r\n");
  EXPECT_TRUE(Until([&] { return client.received.find("NO no peer") != std::string::npos; })) << client.received;
}

TEST_F(ProxyTest, LostHomeIsToldToTheClient) {
  const auto client = LoggedIn();
  b_.net.CloseAll();  // no close_notify: as if it had been killed
  EXPECT_TRUE(Until([&] { return client->closed; }));
  EXPECT_THAT(client->received, EndsWith(kProxyGoodbye));
}

TEST_F(ProxyTest, ClientThatGoesAwayIsToldToTheHome) {
  auto client = LoggedIn();
  client.reset();
  EXPECT_TRUE(Until([&] { return !home_.events.empty() && home_.events.back() == "closed"; }));
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0 && b_.net.connections() == 0; }));
}

TEST_F(ProxyTest, ClientThatGoesAwayDuringTheDialHarmsNobody) {
  auto client = std::make_unique<TestClient>(loop_, arrival_);
  client->Write("LOGIN\r\n");
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 2; }));
  client->Reset();
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0 && b_.net.connections() == 0; }));
}

TEST_F(ProxyTest, GenerationsEndTakesProxiedSessionsAlong) {
  const auto client = LoggedIn();
  a_.net.CloseProxied();
  EXPECT_TRUE(Until([&] { return client->closed; }));
  EXPECT_THAT(client->received, EndsWith(kProxyGoodbye));
  EXPECT_TRUE(Until([&] { return home_.connection == nullptr; }));

  home_ = {};
  const auto second = LoggedIn();
  b_.net.CloseProxied();  // at the home
  EXPECT_TRUE(Until([&] { return second->closed; }));
  EXPECT_THAT(second->received, EndsWith(kProxyGoodbye));
  EXPECT_THAT(home_.events, ElementsAre("connected", "closed"));
}

TEST_F(ProxyTest, EndOfTheLinkTakesProxiedSessionsAlong) {
  Dial();
  ASSERT_TRUE(Until([&] { return dialled_.connection != nullptr && b_.link.connection != nullptr; }));
  const auto client = LoggedIn();
  dialled_.connection->CloseAfterSending();  // nothing was heard from the peer for too long, say
  EXPECT_TRUE(Until([&] { return client->closed; }));
  EXPECT_THAT(client->received, EndsWith(kProxyGoodbye));
  EXPECT_TRUE(Until([&] { return home_.connection == nullptr; }));
}

TEST_F(ProxyTest, SessionThatEndsItselfDuringTheDialIsNotCalledAgain) {
  TestClient client(loop_, arrival_);
  client.Write("LOGIN\r\n");
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 2; }));
  a_.net.Shutdown();
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_EQ(client.received, "* OK arrival\r\n");
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0 && b_.net.connections() == 0; }));
}

TEST_F(ProxyTest, ArrivalThatStopsSaysGoodbye) {
  const auto client = LoggedIn();
  a_.net.Shutdown();
  EXPECT_TRUE(Until([&] { return client->closed; }));
  EXPECT_THAT(client->received, EndsWith(kProxyGoodbye));
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0 && b_.net.connections() == 0; }));
}

// No word of the arrival's may be taken for the home's.
TEST_F(ProxyTest, NoGoodbyeInsideALineOrALiteral) {
  for (const char* half : {"* 1 FETCH (BODY[] {9}\r\nab\r\n", "* 1 FETCH (BODY[] {2}\r\nab", "* 1 FET",
                           "* 1 FETCH (BODY[] {30}\r\n)\r\na OK done\r\n", "* 1 FETCH (BODY[] {2}\r\n"}) {
    const auto client = LoggedIn();
    // Byte for byte, in pieces.
    for (const char* at = half; *at != '\0'; ++at) {
      const size_t received = client->received.size();
      home_.connection->Send(std::string(1, *at));
      EXPECT_TRUE(Until([&] { return client->received.size() > received; }));
    }
    a_.net.CloseProxied();
    EXPECT_TRUE(Until([&] { return client->closed; }));
    EXPECT_THAT(client->received, EndsWith(half));
    EXPECT_TRUE(Until([&] { return home_.connection == nullptr; }));
  }
  for (const char* whole : {"* 1 FETCH (BODY[] {2}\r\nab)\r\n", "* LIST () \"/\" {1}\r\na\r\n", "* OK {x}\r\n",
                            "* 1 FETCH (BODY[] {0}\r\n BODY[1] {3}\r\n\r\n))\r\n"}) {
    const auto client = LoggedIn();
    home_.connection->Send(whole);
    EXPECT_TRUE(Until([&] { return EndsWith_(client->received, whole); }));
    a_.net.CloseProxied();
    EXPECT_TRUE(Until([&] { return client->closed; }));
    EXPECT_THAT(client->received, EndsWith(std::string(whole) + kProxyGoodbye));
    EXPECT_TRUE(Until([&] { return home_.connection == nullptr; }));
  }
}

TEST_F(ProxyTest, ArrivalThatStopsLetsACommandEnd) {
  const auto client = LoggedIn();
  client->Write("a FETCH 1 BODY[]\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(home_.bytes, "BODY[]\r\n"); }));
  a_.net.Shutdown();
  bool later = false;
  loop_.After(20, [&] { later = true; });
  EXPECT_TRUE(Until([&] { return later; }));
  ASSERT_NE(home_.connection, nullptr);
  home_.connection->Send("* 1 FETCH (BODY[] {8}\r\na OK x\r\n)\r\n");
  EXPECT_TRUE(Until([&] { return EndsWith_(client->received, ")\r\n"); }));
  EXPECT_FALSE(client->closed);
  home_.connection->Send("a OK done\r\n");
  EXPECT_TRUE(Until([&] { return client->closed; }));
  EXPECT_THAT(client->received, EndsWith(std::string("a OK done\r\n") + kProxyGoodbye));
  EXPECT_TRUE(Until([&] { return a_.net.connections() == 0 && b_.net.connections() == 0; }));
}

TEST_F(ProxyTest, MuchPassesBothWaysAndASlowEndHoldsUpTheOther) {
  const auto client = LoggedIn();
  constexpr size_t kBytes = 48 << 20;  // more than the kernel's buffers on the way take
  // The client does not read: the home's queue must not simply move to the arrival's memory.
  client->StopReading();
  home_.connection->Send(std::string(kBytes, 'h'));
  bool later = false;
  loop_.After(200, [&] { later = true; });
  EXPECT_TRUE(Until([&] { return later; }));
  EXPECT_GT(home_.connection->unsent_bytes(), 0u);
  client->StartReading();
  EXPECT_TRUE(Until([&] { return client->received.size() > kBytes; }));
  EXPECT_EQ(client->received.size(), kBytes + strlen("* OK arrival\r\nOK logged in\r\n"));

  home_.connection->PauseReading();
  size_t written = 0;
  const std::string chunk(64 * 1024, 'c');
  const auto write_all = [&] {
    while (written < kBytes) {
      const ssize_t sent = send(client->fd(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent <= 0) return false;
      written += static_cast<size_t>(sent);
    }
    return true;
  };
  later = false;
  loop_.After(200, [&] { later = true; });
  EXPECT_TRUE(Until([&] { return write_all(), later; }));
  home_.connection->ResumeReading();
  std::function<void()> tick = [&] { loop_.After(1, tick); };
  tick();
  EXPECT_TRUE(Until([&] { return write_all() && home_.bytes.size() == written; }));
}

}  // namespace
}  // namespace gemel::engine
