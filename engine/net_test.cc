#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/net_address.h"
#include "engine/net_loop.h"
#include "engine/net_server.h"
#include "engine/net_test_client.h"
#include "engine/net_workers.h"

namespace gemel::engine {
namespace {

constexpr uint64_t kLongMs = 20'000;  // a test that waits this long has failed

std::string TempDirectory() {
  static int count = 0;
  std::string path = testing::TempDir() + "/gemel-net-" + std::to_string(getpid()) + "-" + std::to_string(count++);
  std::filesystem::create_directories(path);
  return path;
}

// ---- loop and workers ----

TEST(NetLoop, RunsPostedStepsInOrderAlsoFromOtherThreads) {
  NetLoop loop;
  std::vector<int> ran;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) loop.Post([&, i] { ran.push_back(i); });
    loop.Post([&] { loop.Stop(); });
  });
  loop.Run();
  other.join();
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(NetLoop, TimersRunInOrderOfTheirTimeUnlessCancelled) {
  NetLoop loop;
  std::string ran;
  loop.After(20, [&] { ran += 'c'; });
  loop.After(1, [&] { ran += 'a'; });
  const TimerId cancelled = loop.After(5, [&] { ran += 'b'; });
  loop.Cancel(cancelled);
  loop.Cancel(12345);
  EXPECT_TRUE(loop.RunUntil([&] { return ran.size() == 2; }, kLongMs));
  EXPECT_EQ(ran, "ac");
}

TEST(NetLoop, ATimerThatSetsItselfAnewLeavesOthersTheirTurn) {
  NetLoop loop;
  int ticks = 0;
  std::function<void()> tick = [&] { ++ticks, loop.After(0, tick); };
  tick();
  bool posted = false;
  loop.Post([&] { posted = true; });
  EXPECT_TRUE(loop.RunUntil([&] { return posted && ticks > 10; }, kLongMs));
}

TEST(ThreadWorkers, EachLaneInOrderAndDrainedAtTheEnd) {
  std::vector<int> journal, store;
  std::atomic<int> passwords{0};
  {
    ThreadWorkers workers;
    for (int i = 0; i < 100; ++i) {
      workers.Post(Lane::kJournal, [&, i] { journal.push_back(i); });
      workers.Post(Lane::kStore, [&, i] { store.push_back(i); });
      workers.Post(Lane::kPasswords, [&] { ++passwords; });
    }
  }
  ASSERT_EQ(journal.size(), 100u);
  ASSERT_EQ(store.size(), 100u);
  EXPECT_EQ(journal[99], 99);
  EXPECT_TRUE(std::is_sorted(store.begin(), store.end()));
  EXPECT_EQ(passwords, 100);
}

// ---- sessions ----

struct Seen {
  Connection* connection = nullptr;
  std::string bytes;
  bool answers_after_end = false;
  int connected = 0, tls = 0, timeouts = 0, closed = 0, shutdowns = 0, destroyed = 0;
};

// Greets, echoes, and does what a line asks for.
class EchoSession : public ProtocolSession {
 public:
  EchoSession(Connection& connection, Seen& seen) : connection_(connection), seen_(seen) {
    seen_.connection = &connection;
  }
  ~EchoSession() override { ++seen_.destroyed; }
  void OnConnected() override {
    ++seen_.connected;
    connection_.Send("hello " + connection_.peer_address() + (connection_.loopback() ? " loopback" : "") + "\n");
  }
  void OnBytes(std::string_view bytes) override {
    seen_.bytes += bytes;
    buffer_ += bytes;
    for (size_t end; (end = buffer_.find('\n')) != std::string::npos;) {
      const std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      if (line == "STARTTLS") {
        connection_.Send("go ahead\n");
        connection_.StartTls();
        buffer_.clear();
        return;
      }
      if (line == "QUIT") {
        connection_.Send("bye\n");
        connection_.CloseAfterSending();
        return;
      }
      if (line == "PAUSE") {
        connection_.PauseReading();
        return;
      }
      if (line == "BIG") {
        for (int i = 0; i < 256; ++i) connection_.Send(std::string(64 * 1024, 'x'));
        connection_.OnDrained([this] { connection_.Send("drained\n"); });
        continue;
      }
      connection_.Send(line + "\n");
    }
  }
  void OnTls() override { ++seen_.tls; }
  void OnTimeout() override {
    ++seen_.timeouts;
    connection_.Send("timeout\n");
    connection_.CloseAfterSending();
  }
  void OnClosed() override { ++seen_.closed; }
  bool OnInputEnd() override { return seen_.answers_after_end; }
  void OnShutdown() override {
    ++seen_.shutdowns;
    connection_.Send("shutting down\n");
    connection_.CloseAfterSending();
  }

 private:
  Connection& connection_;
  Seen& seen_;
  std::string buffer_;
};

class NetTest : public testing::Test {
 protected:
  SessionFactory Echo() {
    return [this](Connection& connection) { return std::make_unique<EchoSession>(connection, seen_); };
  }
  std::string Listen(const std::string& address, ListenOptions options = {}) {
    options.name = "test";
    options.address = address;
    auto bound = net_.Listen(options, Echo());
    EXPECT_TRUE(bound.ok()) << bound.status();
    return bound.value_or("");
  }
  void UseTls() {
    auto disk = journal::MakePosixDisk();
    auto tls = ClientTls::LoadSelfSigned(*disk, directory_, "mail.example.test");
    ASSERT_TRUE(tls.ok()) << tls.status();
    net_.SetClientTls(*std::move(tls));
  }
  bool Until(const std::function<bool()>& done) { return loop_.RunUntil(done, kLongMs); }
  bool UntilReceived(TestClient& client, const std::string& all) {
    return Until([&] { return client.received == all; });
  }

  const std::string directory_ = TempDirectory();
  Seen seen_;
  NetLoop loop_;
  Net net_{loop_};
};

TEST_F(NetTest, EchoesOverIPv4AndIPv6) {
  TestClient four(loop_, Listen("127.0.0.1:0"));
  four.Write("one\ntwo\n");
  EXPECT_TRUE(UntilReceived(four, "hello 127.0.0.1 loopback\none\ntwo\n")) << four.received;

  TestClient six(loop_, Listen("[::1]:0"));
  six.Write("three\n");
  EXPECT_TRUE(UntilReceived(six, "hello ::1 loopback\nthree\n")) << six.received;
}

TEST_F(NetTest, AnyAddressTakesBothFamilies) {
  const std::string bound = Listen("*:0");
  const std::string port = bound.substr(bound.rfind(':'));
  TestClient four(loop_, "127.0.0.1" + port);
  EXPECT_TRUE(UntilReceived(four, "hello 127.0.0.1 loopback\n")) << four.received;
  TestClient six(loop_, "[::1]" + port);
  EXPECT_TRUE(UntilReceived(six, "hello ::1 loopback\n")) << six.received;
}

TEST_F(NetTest, UnixSocketHasItsModeAndReplacesOnlyAStaleOne) {
  const std::string address = "unix:" + directory_ + "/socket";
  EXPECT_EQ(Listen(address), address);
  struct stat info;
  ASSERT_EQ(stat((directory_ + "/socket").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  TestClient client(loop_, address);
  EXPECT_TRUE(UntilReceived(client, "hello unix loopback\n")) << client.received;

  Net second(loop_);
  ListenOptions options;
  options.address = address;
  EXPECT_TRUE(absl::IsAlreadyExists(second.Listen(options, Echo()).status()));

  // A socket whose process is gone.
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un stale{};
  stale.sun_family = AF_UNIX;
  std::strcpy(stale.sun_path, (directory_ + "/stale").c_str());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&stale), sizeof stale), 0);
  close(fd);
  Listen("unix:" + directory_ + "/stale");
  TestClient other(loop_, "unix:" + directory_ + "/stale");
  EXPECT_TRUE(other.connected);

  std::ofstream(directory_ + "/file") << "not a socket";
  options.address = "unix:" + directory_ + "/file";
  EXPECT_FALSE(second.Listen(options, Echo()).ok());
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/file"));
}

TEST_F(NetTest, BadAddressesAreRefused) {
  ListenOptions options;
  for (const char* address : {"", "25", "localhost:", "::1:25", "127.0.0.1:port", "[::1]25"}) {
    options.address = address;
    EXPECT_FALSE(net_.Listen(options, Echo()).ok()) << address;
  }
}

TEST_F(NetTest, AnAddressThatThisHostDoesNotHaveIsKnownFromOneThatIsTaken) {
  ListenOptions options;
  options.name = "test";
  for (const std::string address : {"192.0.2.1:0", "[2001:db8::1]:0"}) {  // for documents only: RFC 5737, RFC 3849
    options.address = address;
    const absl::Status status = net_.Listen(options, Echo()).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
  options.address = Listen("127.0.0.1:0");
  const absl::Status status = net_.Listen(options, Echo()).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

TEST_F(NetTest, LastWordsArriveAlthoughTheClientSaidMore) {
  TestClient client(loop_, Listen("127.0.0.1:0"));
  client.Write("QUIT\nmore\nand more\n");
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_EQ(client.received, "hello 127.0.0.1 loopback\nbye\n");
  EXPECT_EQ(seen_.closed, 0);  // it asked for it itself
  EXPECT_EQ(seen_.destroyed, 1);
  client.Reset();
  EXPECT_TRUE(Until([&] { return net_.connections() == 0; }));
}

TEST_F(NetTest, ClientThatGoesAwayIsToldToTheSessionOnce) {
  for (const bool reset : {false, true}) {
    seen_ = {};
    auto client = std::make_unique<TestClient>(loop_, Listen("127.0.0.1:0"));
    EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
    if (reset) client->Reset();
    client.reset();
    EXPECT_TRUE(Until([&] { return net_.connections() == 0; }));
    EXPECT_EQ(seen_.closed, 1);
    EXPECT_EQ(seen_.destroyed, 1);
  }
}

// `nc -N`: shutdown(2) with SHUT_WR, and then it reads.
TEST_F(NetTest, AClientThatSendsNoMoreIsStillAnswered) {
  seen_.answers_after_end = true;
  TestClient client(loop_, Listen("127.0.0.1:0"));
  client.Write("one\n");
  client.EndInput();
  EXPECT_TRUE(UntilReceived(client, "hello 127.0.0.1 loopback\none\n"));
  bool turned = false;
  loop_.After(20, [&] { turned = true; });
  EXPECT_TRUE(Until([&] { return turned; }));
  EXPECT_EQ(seen_.closed, 0);
  EXPECT_EQ(net_.connections(), 1u);
  seen_.connection->Send("stored\n");
  seen_.connection->CloseAfterSending();
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_EQ(client.received, "hello 127.0.0.1 loopback\none\nstored\n");
  EXPECT_TRUE(Until([&] { return net_.connections() == 0; }));
  EXPECT_EQ(seen_.closed, 0);
}

TEST_F(NetTest, WhoWaitsForAnAnswerAndGoesIsToldToTheSession) {
  seen_.answers_after_end = true;
  auto client = std::make_unique<TestClient>(loop_, Listen("127.0.0.1:0"));
  EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
  client->EndInput();
  bool turned = false;
  loop_.After(20, [&] { turned = true; });
  EXPECT_TRUE(Until([&] { return turned; }));
  EXPECT_EQ(net_.connections(), 1u);
  client->Reset();
  EXPECT_TRUE(Until([&] { return net_.connections() == 0; }));
  EXPECT_EQ(seen_.closed, 1);
}

TEST_F(NetTest, PausedReadingLeavesBytesWithTheSender) {
  TestClient client(loop_, Listen("127.0.0.1:0"));
  client.Write("PAUSE\n");
  EXPECT_TRUE(Until([&] { return seen_.bytes == "PAUSE\n"; }));
  client.Write("later\n");
  bool turned = false;
  loop_.After(1, [&] { turned = true; });
  EXPECT_TRUE(Until([&] { return turned; }));
  EXPECT_EQ(seen_.bytes, "PAUSE\n");
  seen_.connection->ResumeReading();
  EXPECT_TRUE(Until([&] { return seen_.bytes == "PAUSE\nlater\n"; }));
}

TEST_F(NetTest, ASlowReaderGetsItAllAndDrainingIsTold) {
  for (const bool tls : {false, true}) {
    seen_ = {};
    if (tls) UseTls();
    ListenOptions options;
    options.tls = tls ? ListenTls::kImplicit : ListenTls::kNone;
    TestClient client(loop_, Listen("127.0.0.1:0", options));
    if (tls) client.StartTls();
    EXPECT_TRUE(Until([&] { return !client.received.empty(); }));
    client.StopReading();
    client.Write("BIG\n");
    EXPECT_TRUE(Until([&] { return seen_.bytes == "BIG\n"; }));
    EXPECT_GT(seen_.connection->unsent_bytes(), SocketConnection::kDrainedBytes);
    client.StartReading();
    EXPECT_TRUE(Until([&] { return client.received.ends_with("drained\n"); }));
    EXPECT_EQ(client.received.size(), strlen("hello 127.0.0.1 loopback\n") + 256 * 64 * 1024 + strlen("drained\n"));
    EXPECT_EQ(seen_.connection->unsent_bytes(), 0u);
  }
}

TEST_F(NetTest, IdleTimeout) {
  TestClient client(loop_, Listen("127.0.0.1:0"));
  EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
  seen_.connection->SetIdleTimeout(3'600'000);
  seen_.connection->SetIdleTimeout(5);
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_EQ(seen_.timeouts, 1);
  EXPECT_TRUE(client.received.ends_with("timeout\n"));
}

TEST_F(NetTest, TooManyConnectionsGetTheGoodbyeLine) {
  ListenOptions options;
  options.connections_max = 2;
  options.connections_per_address_max = 1;  // does not bind this host's own clients
  options.goodbye = "421 too many\r\n";
  const std::string address = Listen("127.0.0.1:0", options);
  auto first = std::make_unique<TestClient>(loop_, address);
  TestClient second(loop_, address), third(loop_, address);
  EXPECT_TRUE(Until([&] { return third.closed; }));
  EXPECT_EQ(third.received, "421 too many\r\n");
  EXPECT_FALSE(second.closed);
  first.reset();
  EXPECT_TRUE(Until([&] { return net_.connections() == 1; }));
  TestClient fourth(loop_, address);
  EXPECT_TRUE(UntilReceived(fourth, "hello 127.0.0.1 loopback\n"));
}

TEST(NetAddress, ClientsAreCountedByAddressOrIPv6Network) {
  EXPECT_EQ(NetworkOf("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(NetworkOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(NetworkOf("2001:db8:1:2::"), NetworkOf("2001:db8:1:2:ffff:ffff:ffff:ffff"));
  EXPECT_NE(NetworkOf("2001:db8:1:2::1"), NetworkOf("2001:db8:1:3::1"));
  EXPECT_EQ(NetworkOf("unix"), "unix");
}

// Addresses of this host that are not loopback: to the listener, clients from there are strangers.
std::vector<std::string> StrangersAddresses() {
  std::vector<std::string> found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || (each->ifa_flags & IFF_LOOPBACK) != 0 || (each->ifa_flags & IFF_UP) == 0) continue;
    SocketAddress address;
    if (each->ifa_addr->sa_family == AF_INET) std::memcpy(&address.storage, each->ifa_addr, sizeof(sockaddr_in));
    if (each->ifa_addr->sa_family == AF_INET6) std::memcpy(&address.storage, each->ifa_addr, sizeof(sockaddr_in6));
    const std::string text = HostText(address);
    if (text.empty() || text.starts_with("fe80:")) continue;
    found.push_back(text.find(':') == std::string::npos ? text : "[" + text + "]");
  }
  freeifaddrs(all);
  return found;
}

TEST_F(NetTest, StrangersAreCountedByAddressAndApartFromThisHostsOwn) {
  const std::vector<std::string> addresses = StrangersAddresses();
  if (addresses.empty()) GTEST_SKIP() << "this host has no address but loopback";
  ListenOptions options;
  options.connections_max = 2;
  options.connections_per_address_max = 1;
  options.goodbye = "421 too many\r\n";
  for (const std::string& stranger : addresses) {
    const std::string bound = Listen("*:0", options);
    const std::string port = bound.substr(bound.rfind(':'));
    auto first = std::make_unique<TestClient>(loop_, stranger + port);
    TestClient second(loop_, stranger + port);
    EXPECT_TRUE(Until([&] { return second.closed; }));
    EXPECT_EQ(second.received, "421 too many\r\n");
    EXPECT_TRUE(Until([&] { return first->received.starts_with("hello "); }));
    TestClient own(loop_, "127.0.0.1" + port), own_too(loop_, "[::1]" + port);
    EXPECT_TRUE(UntilReceived(own, "hello 127.0.0.1 loopback\n")) << own.received;
    EXPECT_TRUE(UntilReceived(own_too, "hello ::1 loopback\n")) << own_too.received;
    first.reset();
    EXPECT_TRUE(Until([&] { return net_.connections() == 2; }));
    TestClient third(loop_, stranger + port);
    EXPECT_TRUE(Until([&] { return third.received.starts_with("hello "); }));
    own.Reset();
    own_too.Reset();
    third.Reset();
    EXPECT_TRUE(Until([&] { return net_.connections() == 0; }));
  }
}

TEST_F(NetTest, ShutdownLetsSessionsSayGoodbye) {
  const std::string address = Listen("127.0.0.1:0");
  TestClient client(loop_, address);
  EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
  net_.Shutdown();
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_TRUE(client.received.ends_with("shutting down\n"));
  EXPECT_FALSE(TestClient(loop_, address).connected);
}

TEST_F(NetTest, TenThousandRoundTrips) {
  TestClient client(loop_, Listen("127.0.0.1:0"));
  EXPECT_TRUE(Until([&] { return !client.received.empty(); }));
  for (int i = 0; i < 10'000; ++i) {
    client.received.clear();
    client.Write("ping\n");
    ASSERT_TRUE(UntilReceived(client, "ping\n")) << i;
  }
}

TEST_F(NetTest, AUnixSocketMayBeForSomeUsersOnly) {
  ListenOptions options;
  options.stranger_goodbye = "not you\n";
  options.unix_uids = {geteuid() + 1};
  TestClient stranger(loop_, Listen("unix:" + directory_ + "/theirs", options));
  EXPECT_TRUE(Until([&] { return stranger.closed; }));
  EXPECT_EQ(stranger.received, "not you\n");
  EXPECT_EQ(seen_.connected, 0);
  options.unix_uids.insert(geteuid());
  TestClient known(loop_, Listen("unix:" + directory_ + "/ours", options));
  EXPECT_TRUE(UntilReceived(known, "hello unix loopback\n")) << known.received;
}

// ---- TLS ----

TEST_F(NetTest, ImplicitTls) {
  UseTls();
  ListenOptions options;
  options.tls = ListenTls::kImplicit;
  TestClient client(loop_, Listen("127.0.0.1:0", options));
  client.StartTls();
  EXPECT_TRUE(UntilReceived(client, "hello 127.0.0.1 loopback\n"));
  EXPECT_TRUE(seen_.connection->tls());
  EXPECT_TRUE(seen_.connection->tls_description().starts_with("TLSv1.3 TLS_"));
  client.Write("QUIT\n");
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_TRUE(SSL_get_shutdown(client.ssl()) & SSL_RECEIVED_SHUTDOWN);
}

TEST_F(NetTest, Tls12IsSpokenAndOlderIsNot) {
  UseTls();
  ListenOptions options;
  options.tls = ListenTls::kImplicit;
  const std::string address = Listen("127.0.0.1:0", options);
  TestClient good(loop_, address);
  good.StartTls(TLS1_2_VERSION);
  EXPECT_TRUE(UntilReceived(good, "hello 127.0.0.1 loopback\n"));
  EXPECT_TRUE(seen_.connection->tls_description().starts_with("TLSv1.2 ECDHE-"));
  TestClient old(loop_, address);
  old.StartTls(TLS1_1_VERSION);
  EXPECT_TRUE(Until([&] { return old.tls_failed; }));
}

TEST_F(NetTest, ClearTextOnATlsPortIsRefused) {
  UseTls();
  ListenOptions options;
  options.tls = ListenTls::kImplicit;
  TestClient client(loop_, Listen("127.0.0.1:0", options));
  client.Write("EHLO there, this is no TLS\r\n");
  EXPECT_TRUE(Until([&] { return client.closed; }));
  EXPECT_EQ(seen_.connected, 0);
}

// RFC 3207, 6: nothing received in clear is obeyed after the handshake.
TEST_F(NetTest, StartTlsThrowsAwayWhatWasInjectedBehindIt) {
  UseTls();
  ListenOptions options;
  options.tls = ListenTls::kStartTls;
  TestClient client(loop_, Listen("127.0.0.1:0", options));
  EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
  EXPECT_TRUE(seen_.connection->tls_available());
  EXPECT_FALSE(seen_.connection->tls());
  client.Write("STARTTLS\ninjected\n");
  EXPECT_TRUE(UntilReceived(client, "hello 127.0.0.1 loopback\ngo ahead\n"));
  client.received.clear();
  client.StartTls();
  EXPECT_TRUE(Until([&] { return client.tls_done; }));
  client.Write("secret\n");
  EXPECT_TRUE(UntilReceived(client, "secret\n")) << client.received;
  EXPECT_EQ(seen_.tls, 1);
}

TEST_F(NetTest, WithoutCertificateNoTlsIsOffered) {
  ListenOptions options;
  options.tls = ListenTls::kStartTls;
  TestClient client(loop_, Listen("127.0.0.1:0", options));
  EXPECT_TRUE(Until([&] { return seen_.connected == 1; }));
  EXPECT_FALSE(seen_.connection->tls_available());
  options.tls = ListenTls::kImplicit;
  options.address = "127.0.0.1:0";
  EXPECT_FALSE(net_.Listen(options, Echo()).ok());
}

std::string CertificateFingerprint(TestClient& client) { return PeerKeyFingerprint(client.ssl()); }

TEST_F(NetTest, CertificatesAreReloadedAndABadOneIsNotTaken) {
  const std::string certificate = directory_ + "/cert.pem", key = directory_ + "/key.pem";
  const auto write = [](const std::string& path, const std::string& text) { std::ofstream(path) << text; };
  const auto one = NewKeyAndCertificate("one.example", true), two = NewKeyAndCertificate("two.example", true);
  ASSERT_TRUE(one.ok() && two.ok());
  write(certificate, one->certificate_pem);
  write(key, one->key_pem);
  auto tls = ClientTls::Load(certificate, key);
  ASSERT_TRUE(tls.ok()) << tls.status();
  net_.SetClientTls(*std::move(tls));
  ListenOptions options;
  options.tls = ListenTls::kImplicit;
  const std::string address = Listen("127.0.0.1:0", options);
  const auto shown = [&] {
    TestClient client(loop_, address);
    client.StartTls();
    EXPECT_TRUE(Until([&] { return client.tls_done; }));
    return CertificateFingerprint(client);
  };
  EXPECT_EQ(shown(), one->key_fingerprint);

  write(certificate, two->certificate_pem);  // the key is still the old one
  EXPECT_FALSE(net_.ReloadCertificates().ok());
  EXPECT_EQ(shown(), one->key_fingerprint);
  write(certificate, "rubbish");
  EXPECT_FALSE(net_.ReloadCertificates().ok());
  EXPECT_EQ(shown(), one->key_fingerprint);

  write(certificate, two->certificate_pem);
  write(key, two->key_pem);
  EXPECT_TRUE(net_.ReloadCertificates().ok());
  EXPECT_EQ(shown(), two->key_fingerprint);
}

}  // namespace
}  // namespace gemel::engine
