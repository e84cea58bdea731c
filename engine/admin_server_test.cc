#include "engine/admin_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/admin_http.h"

namespace gemel::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class StringConnection : public Connection {
 public:
  void Send(std::string bytes) override { sent += bytes; }
  size_t unsent_bytes() const override { return 0; }
  void OnDrained(std::function<void()> then) override { then(); }
  void PauseReading() override {}
  void ResumeReading() override {}
  void StartTls() override {}
  void CloseAfterSending() override { closed = true; }
  void SetIdleTimeout(uint64_t) override {}
  void ProxyToHome(ProxyHello, std::string, std::function<void(absl::Status)>) override {}
  const std::string& peer_address() const override { return text_; }
  bool tls() const override { return false; }
  std::string tls_description() const override { return ""; }
  bool tls_available() const override { return false; }
  bool loopback() const override { return true; }
  const std::string& session_id() const override { return text_; }

  std::string Take() { return std::exchange(sent, ""); }
  std::string sent;
  bool closed = false;

 private:
  std::string text_ = "unix";
};

// Notes what it is asked; answers when the test says so.
class RecordingNode : public Node {
 public:
  void Start() override {}
  void Stop(uint64_t, std::function<void()>) override {}
  std::unique_ptr<ProtocolSession> AcceptLink(Connection&) override { return nullptr; }
  absl::Status CheckProxy(const ProxyHello&) const override { return absl::OkStatus(); }
  void SetPeer(PeerIdentity) override {}
  void AddAccount(std::string name, std::string hash, std::optional<uint8_t> home, Done d) override {
    Note("add " + name + " " + hash + (home ? " " + std::to_string(*home) : ""), std::move(d));
  }
  void SetPasswordHash(std::string name, std::string hash, Done d) override {
    Note("password " + name + " " + hash, std::move(d));
  }
  void SetAccountEnabled(std::string name, bool enabled, Done d) override {
    Note((enabled ? "enable " : "disable ") + name, std::move(d));
  }
  void SetDomain(std::string domain, bool exists, std::string alias_of, Done d) override {
    Note("domain " + domain + (exists ? "+" : "-") + alias_of, std::move(d));
  }
  void SetAlias(std::string address, std::vector<std::string> targets, Done d) override {
    std::string text = "alias " + address;
    for (const auto& target : targets) text += " " + target;
    Note(text, std::move(d));
  }
  void SetHome(std::string name, uint8_t place, Done d) override {
    Note("home " + name + " " + std::to_string(place), std::move(d));
  }
  std::vector<AccountInfo> Accounts() const override { return {{AccountId{}, "u@example.test", 1, true, false}}; }
  std::string AccountName(const AccountId& id) const override { return id.hex(); }
  std::vector<DomainInfo> Domains() const override { return {{"example.test", ""}}; }
  std::vector<AliasInfo> Aliases() const override { return {{"a@example.test", {"u@example.test"}}}; }
  NodeStatus Status() override {
    NodeStatus status;
    status.state = "paired";
    return status;
  }
  std::vector<std::pair<std::string, std::string>> Digests() override { return {{"u@example.test", "ab"}}; }

  absl::StatusOr<std::vector<DeliveryTarget>> LookUpRecipient(std::string_view) override {
    return absl::NotFoundError("");
  }
  absl::Status AcceptingMail() const override { return absl::OkStatus(); }
  std::unique_ptr<Delivery> BeginDelivery(Via, std::string) override { return nullptr; }
  void Authenticate(LoginAttempt, std::function<void(absl::StatusOr<Authenticated>)>) override {}
  Home HomeOf(const AccountId&) const override { return Home::kHere; }
  journal::Generation generation() const override { return 1; }
  void OpenAccount(const AccountId&, AccountListener&,
                   std::function<void(absl::StatusOr<std::unique_ptr<AccountSession>>)>) override {}
  const std::string& host_name() const override { return name_; }
  int64_t NowSeconds() const override { return 0; }
  uint64_t BootMillis() const override { return 0; }

  std::vector<std::string> asked;
  Done done;

 private:
  void Note(std::string what, Done d) {
    asked.push_back(std::move(what));
    done = std::move(d);
  }
  std::string name_ = "node";
};

class AdminServer : public testing::Test {
 protected:
  AdminServer() {
    hooks_.new_pairing_token = [] { return AdminHooks::PairingToken{"TOKEN", "127.0.0.1:7425"}; };
    session_ = MakeAdminSession(node_, hooks_, connection_);
    session_->OnConnected();
  }
  static std::string Request(const std::string& method, const std::string& target, const std::string& body = "") {
    return method + " " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
  }
  std::string Ask(const std::string& method, const std::string& target, const std::string& body = "") {
    session_->OnBytes(Request(method, target, body));
    return connection_.Take();
  }

  RecordingNode node_;
  AdminHooks hooks_;
  StringConnection connection_;
  std::unique_ptr<ProtocolSession> session_;
};

TEST_F(AdminServer, TellsWhatItIsAsked) {
  EXPECT_THAT(Ask("GET", "/status"), HasSubstr("\"state\":\"paired\""));
  EXPECT_THAT(Ask("GET", "/accounts"), HasSubstr("\"home_place\":1"));
  EXPECT_THAT(Ask("GET", "/aliases"), HasSubstr("[\"u@example.test\"]"));
  EXPECT_THAT(Ask("GET", "/domains"), HasSubstr("example.test"));
  EXPECT_THAT(Ask("GET", "/digests"), HasSubstr("{\"u@example.test\":\"ab\"}"));
  EXPECT_THAT(Ask("POST", "/pair/token"), HasSubstr("TOKEN"));
  EXPECT_FALSE(connection_.closed);
}

TEST_F(AdminServer, AnswersAChangeWhenItIsDone) {
  EXPECT_EQ(Ask("POST", "/accounts/add", R"({"name":"u@example.test","password_hash":"{X}y","home":1})"), "");
  EXPECT_THAT(node_.asked, ElementsAre("add u@example.test {X}y 1"));
  node_.done(absl::OkStatus());
  EXPECT_THAT(connection_.Take(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServer, EachChangeReachesTheNode) {
  const auto change = [&](const std::string& target, const std::string& body) {
    Ask("POST", target, body);
    ASSERT_TRUE(node_.done) << target;
    std::exchange(node_.done, nullptr)(absl::OkStatus());
    EXPECT_THAT(connection_.Take(), StartsWith("HTTP/1.1 200 "));
  };
  change("/accounts/set-password", R"({"name":"u","password_hash":"h"})");
  change("/accounts/enable", R"({"name":"u","enabled":false})");
  change("/domains/set", R"({"domain":"d","exists":true,"alias_of":"e"})");
  change("/aliases/set", R"({"address":"a","targets":["b","c"]})");
  change("/home/set", R"({"name":"u","place":0})");
  EXPECT_THAT(node_.asked, ElementsAre("password u h", "disable u", "domain d+e", "alias a b c", "home u 0"));
}

TEST_F(AdminServer, MistakesAreExplainedAndNothingIsDone) {
  EXPECT_THAT(Ask("POST", "/home/set", R"({"name":"u","place":2})"), HasSubstr("\\\"place\\\" must be 0 or 1"));
  EXPECT_THAT(Ask("POST", "/accounts/add", "[]"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Ask("GET", "/nothing"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(Ask("DELETE", "/accounts"), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(node_.asked.empty());
}

TEST_F(AdminServer, ErrorsOfTheNodeBecomeHttpErrors) {
  Ask("POST", "/accounts/enable", R"({"name":"u","enabled":true})");
  node_.done(absl::NotFoundError("no account u"));
  const std::string answer = connection_.Take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(answer, HasSubstr("no account u"));
}

TEST_F(AdminServer, BytesMayComeOneByOneAndPipelined) {
  const std::string two = Request("POST", "/home/set", R"({"name":"u","place":0})") + Request("GET", "/domains");
  for (const char c : two) session_->OnBytes({&c, 1});
  EXPECT_EQ(connection_.Take(), "");  // the second waits for the first
  node_.done(absl::OkStatus());
  const std::string answers = connection_.Take();
  EXPECT_THAT(answers, HasSubstr("{}\nHTTP/1.1 200 "));
  EXPECT_THAT(answers, HasSubstr("example.test"));
}

TEST_F(AdminServer, ALateAnswerFindsNoSession) {
  Ask("POST", "/home/set", R"({"name":"u","place":0})");
  session_->OnClosed();
  session_.reset();
  node_.done(absl::OkStatus());
  EXPECT_EQ(connection_.Take(), "");
}

TEST_F(AdminServer, RubbishIsRefusedAndClosed) {
  session_->OnBytes("EHLO example.test\r\n\r\n");
  EXPECT_THAT(connection_.Take(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(connection_.closed);
}

TEST_F(AdminServer, TooLargeARequestIsRefused) {
  session_->OnBytes("POST /accounts/add HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_THAT(connection_.Take(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(connection_.closed);
}

TEST(AdminHttp, WhoMayNotIsToldSo) {
  const std::string refusal = AdminRefusal();
  AdminParser<AdminResponse> parser(1000);
  std::string_view bytes = refusal;
  ASSERT_TRUE(*parser.Feed(&bytes));
  const AdminResponse response = parser.Get();
  EXPECT_EQ(response.status, 403);
  EXPECT_THAT(response.body, HasSubstr("only root"));
}

TEST(AdminHttp, AnswerReadsBack) {
  const std::string bytes = EncodeAdminResponse({404, "{\"error\":\"x\"}"}, false);
  AdminParser<AdminResponse> parser(1000);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string_view one(&bytes[i], 1);
    const auto complete = parser.Feed(&one);
    ASSERT_TRUE(complete.ok()) << complete.status();
    EXPECT_EQ(*complete, i + 1 == bytes.size());
  }
  const AdminResponse response = parser.Get();
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, "{\"error\":\"x\"}");
}

}  // namespace
}  // namespace gemel::engine
