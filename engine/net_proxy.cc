#include "engine/net_proxy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

void PutBigEndian(std::string* out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out->push_back(static_cast<char>(value >> shift));
}

uint32_t BigEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

std::string WithLength(const std::string& message) {
  std::string out;
  PutBigEndian(&out, static_cast<uint32_t>(message.size()), 4);
  return out + message;
}

enum class Took { kMessage, kMore, kTooLong };
// Takes the first length-prefixed message off `buffer`.
Took TakeMessage(std::string* buffer, std::string* message) {
  if (buffer->size() < 4) return Took::kMore;
  const uint32_t bytes = BigEndian(std::string_view(*buffer).substr(0, 4));
  if (bytes > kProxyMessageBytesMax) return Took::kTooLong;
  if (buffer->size() < 4 + bytes) return Took::kMore;
  *message = buffer->substr(4, bytes);
  buffer->erase(0, 4 + bytes);
  return Took::kMessage;
}

}  // namespace

std::string EncodeProxyHello(const ProxyHello& hello) {
  std::string out(hello.account.view());
  PutBigEndian(&out, hello.generation, 4);
  out.push_back(hello.tls ? 1 : 0);
  for (const std::string* text : {&hello.client_address, &hello.enabled, &hello.session_id}) {
    const std::string_view cut = std::string_view(*text).substr(0, 4096);
    PutBigEndian(&out, static_cast<uint32_t>(cut.size()), 2);
    out += cut;
  }
  return out;
}

absl::StatusOr<ProxyHello> DecodeProxyHello(std::string_view bytes) {
  const absl::Status bad = absl::InvalidArgumentError("malformed proxy hello");
  if (bytes.size() < 21) return bad;
  ProxyHello hello;
  hello.account = journal::AccountId::FromBytes(bytes.substr(0, 16));
  hello.generation = BigEndian(bytes.substr(16, 4));
  if (static_cast<uint8_t>(bytes[20]) > 1) return bad;
  hello.tls = bytes[20] == 1;
  bytes.remove_prefix(21);
  for (std::string* text : {&hello.client_address, &hello.enabled, &hello.session_id}) {
    if (bytes.size() < 2) return bad;
    const size_t length = BigEndian(bytes.substr(0, 2));
    if (bytes.size() < 2 + length) return bad;
    *text = std::string(bytes.substr(2, length));
    bytes.remove_prefix(2 + length);
  }
  if (!bytes.empty()) return bad;
  return hello;
}

namespace {

// ---- the home's end ----

// The client's connection as its session at home sees it.
class ProxiedConnection final : public Connection {
 public:
  ProxiedConnection(Connection& link, const ProxyHello& hello)
      : link_(link),
        hello_(hello),
        loopback_(hello.client_address == "unix" || hello.client_address == "::1" ||
                  hello.client_address.starts_with("127.")) {}
  void Send(std::string bytes) override { link_.Send(std::move(bytes)); }
  size_t unsent_bytes() const override { return link_.unsent_bytes(); }
  void OnDrained(std::function<void()> then) override { link_.OnDrained(std::move(then)); }
  void PauseReading() override { link_.PauseReading(); }
  void ResumeReading() override { link_.ResumeReading(); }
  void StartTls() override { link_.CloseAfterSending(); }  // tls_available() is false: never asked for
  void CloseAfterSending() override { link_.CloseAfterSending(); }
  void SetIdleTimeout(uint64_t milliseconds) override { link_.SetIdleTimeout(milliseconds); }
  void ProxyToHome(ProxyHello, std::string, std::function<void(absl::Status)> then) override {
    // The arrival's node asked for this home; if homes moved meanwhile, the client starts anew.
    link_.OnDrained([then = std::move(then)] { then(absl::FailedPreconditionError("already proxied")); });
  }
  const std::string& peer_address() const override { return hello_.client_address; }
  bool tls() const override { return hello_.tls; }
  std::string tls_description() const override { return hello_.tls ? "TLS at the other node" : ""; }
  bool tls_available() const override { return false; }
  bool loopback() const override { return loopback_; }
  const std::string& session_id() const override { return hello_.session_id; }

 private:
  Connection& link_;
  const ProxyHello hello_;
  const bool loopback_;
};

class ProxyAcceptor final : public ProtocolSession {
 public:
  ProxyAcceptor(Connection& link, const LinkHandlers& handlers) : link_(link), handlers_(handlers) {}
  ~ProxyAcceptor() override { session_.reset(); }  // before its connection

  void OnConnected() override { link_.SetIdleTimeout(kProxyDialMs); }
  void OnBytes(std::string_view bytes) override {
    if (session_ != nullptr) return session_->OnBytes(bytes);
    if (refused_) return;
    buffer_ += bytes;
    std::string message;
    switch (TakeMessage(&buffer_, &message)) {
      case Took::kMore:
        return;
      case Took::kTooLong:
        return Answer(absl::InvalidArgumentError("proxy hello too long"));
      case Took::kMessage:
        Open(message);
    }
  }
  void OnTls() override {}
  void OnTimeout() override {
    if (session_ != nullptr) return session_->OnTimeout();
    link_.CloseAfterSending();
  }
  void OnClosed() override {
    if (session_ != nullptr) session_->OnClosed();
  }
  void OnShutdown() override {
    if (session_ != nullptr) return session_->OnShutdown();
    link_.CloseAfterSending();
  }

 private:
  void Open(const std::string& message) {
    absl::StatusOr<ProxyHello> hello = DecodeProxyHello(message);
    absl::Status status = hello.status();
    if (status.ok()) status = handlers_.check_proxy(*hello);
    if (!status.ok()) return Answer(status);
    connection_ = std::make_unique<ProxiedConnection>(link_, *hello);
    session_ = handlers_.make_proxied(*connection_, *hello);
    if (session_ == nullptr) return Answer(absl::UnavailableError("the home takes no session now"));
    link_.SetIdleTimeout(0);
    Answer(absl::OkStatus());
    session_->OnConnected();
    if (!buffer_.empty()) session_->OnBytes(std::exchange(buffer_, ""));
  }

  void Answer(const absl::Status& status) {
    std::string answer(1, static_cast<char>(status.code()));
    answer += std::string(status.message()).substr(0, 1024);
    link_.Send(WithLength(answer));
    if (status.ok()) return;
    refused_ = true;
    journal::Log(journal::LogLevel::kInfo, "proxy_refused",
                 {{"session", link_.session_id()}, {"reason", std::string(status.message())}});
    link_.CloseAfterSending();
  }

  Connection& link_;
  const LinkHandlers& handlers_;
  std::string buffer_;
  bool refused_ = false;
  std::unique_ptr<ProxiedConnection> connection_;
  std::unique_ptr<ProtocolSession> session_;
};

}  // namespace

std::unique_ptr<ProtocolSession> MakeProxyAcceptor(Connection& link, const LinkHandlers& handlers) {
  if (!handlers.check_proxy || !handlers.make_proxied) return nullptr;
  return std::make_unique<ProxyAcceptor>(link, handlers);
}

// ---- the arrival's end ----

namespace {

// Where the home's answers stand: a word of the arrival's may come between two of them, but not inside a line or a
// literal. A line that merely looks as if a literal followed costs the client that word.
class AnswerFollower {
 public:
  void Feed(std::string_view bytes) {
    while (!bytes.empty()) {
      if (literal_left_ > 0) {
        const size_t skipped = static_cast<size_t>(std::min<uint64_t>(literal_left_, bytes.size()));
        literal_left_ -= skipped;
        bytes.remove_prefix(skipped);
        continue;
      }
      if (std::exchange(between_, false)) first_ = bytes.front();
      const size_t end = bytes.find('\n');
      line_end_.append(bytes.substr(0, end));
      if (line_end_.size() > kMarkBytesMax) line_end_.erase(0, line_end_.size() - kMarkBytesMax);
      if (end == std::string_view::npos) return;
      bytes.remove_prefix(end + 1);
      OnLineEnd();
    }
  }
  bool between() const { return between_; }
  // Since the last call a command was answered, or the client was asked to go on.
  bool TakeAnswered() { return std::exchange(answered_, false); }

 private:
  static constexpr size_t kMarkBytesMax = 24;  // "{18446744073709551615}\r"

  void OnLineEnd() {
    std::string_view line = line_end_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    const size_t open = line.rfind('{');
    bool literal = line.ends_with('}') && open != std::string_view::npos;
    if (literal)
      literal = absl::SimpleAtoi(absl::string_view(line.data() + open + 1, line.size() - open - 2), &literal_left_);
    line_end_.clear();
    if (literal) return;
    literal_left_ = 0;
    between_ = true;
    answered_ = answered_ || first_ != '*';
  }

  std::string line_end_;
  uint64_t literal_left_ = 0;
  bool between_ = true, answered_ = false;
  char first_ = '*';
};

}  // namespace

class ProxyRelay : public std::enable_shared_from_this<ProxyRelay> {
 public:
  class ClientSide;
  class HomeSide;

  SocketConnection* client = nullptr;  // nullptr: gone or closing
  std::weak_ptr<char> client_alive;
  SocketConnection* home = nullptr;  // likewise
  std::string hello, already_received;
  std::function<void(absl::Status)> then;  // empty: decided
  AnswerFollower answers;
  bool running = false;   // the client has sent something since the home's last answer
  bool stopping = false;  // ends when nothing runs

  // A closing connection has no session any more, and no use for ours.
  bool ClientIsThere() const { return client != nullptr && !client_alive.expired() && client->open(); }

  // The client's session carries on.
  void Fail(absl::Status status) {
    auto tell = std::exchange(then, nullptr);
    if (!tell || !ClientIsThere()) return;
    SocketConnection& connection = *std::exchange(client, nullptr);
    tell(std::move(status));
    connection.HoldReading(false);
  }

  void Succeed();

  // One end's queue is long: the other end waits until it is short.
  void PassOn(SocketConnection*& from, SocketConnection*& to, std::string_view bytes) {
    if (to == nullptr) return;
    to->Send(std::string(bytes));
    if (from == nullptr || to->unsent_bytes() < kProxyBufferBytesMax) return;
    from->PauseReading();
    to->OnDrained([self = weak_from_this(), &from] {
      if (const auto relay = self.lock(); relay != nullptr && from != nullptr) from->ResumeReading();
    });
  }

  void FromClient(std::string_view bytes) {
    running = true;
    PassOn(client, home, bytes);
  }
  void FromHome(std::string_view bytes) {
    answers.Feed(bytes);
    if (answers.TakeAnswered()) running = false;
    PassOn(home, client, bytes);
    if (stopping) Stop();
  }

  // As a session at home does it: a command that runs ends first. If it takes longer than this node takes to stop, the
  // connection just ends.
  void Stop() {
    stopping = true;
    if (running && home != nullptr && ClientIsThere()) return;
    CloseClient(/*say_goodbye=*/true);
    CloseHome();
  }

  // Says goodbye to the client, where it may, unless the home has ended its session properly.
  void CloseClient(bool say_goodbye) {
    if (!ClientIsThere()) return;
    SocketConnection& connection = *std::exchange(client, nullptr);
    if (say_goodbye && answers.between()) connection.Send(kProxyGoodbye);
    connection.CloseAfterSending();
  }

  void CloseHome() {
    if (home != nullptr) std::exchange(home, nullptr)->CloseAfterSending();
  }
};

class ProxyRelay::ClientSide final : public ProtocolSession {
 public:
  explicit ClientSide(std::shared_ptr<ProxyRelay> relay) : relay_(std::move(relay)) {}
  ~ClientSide() override {
    relay_->client = nullptr;
    relay_->CloseHome();
  }
  void OnConnected() override {}
  void OnBytes(std::string_view bytes) override { relay_->FromClient(bytes); }
  void OnTls() override {}
  void OnTimeout() override {}  // the home's session sees to that
  void OnClosed() override {
    relay_->client = nullptr;
    relay_->CloseHome();
  }
  void OnShutdown() override { relay_->Stop(); }

 private:
  const std::shared_ptr<ProxyRelay> relay_;
};

class ProxyRelay::HomeSide final : public ProtocolSession {
 public:
  HomeSide(std::shared_ptr<ProxyRelay> relay, SocketConnection& connection) : relay_(std::move(relay)) {
    relay_->home = &connection;
  }
  ~HomeSide() override { Gone(/*clean=*/false); }
  void OnConnected() override {
    if (!relay_->ClientIsThere()) return relay_->CloseHome();
    relay_->home->SetIdleTimeout(kProxyDialMs);
    relay_->home->Send(WithLength(relay_->hello));
  }
  void OnBytes(std::string_view bytes) override {
    if (!relay_->then) return relay_->FromHome(bytes);
    buffer_ += bytes;
    std::string message;
    const Took took = TakeMessage(&buffer_, &message);
    if (took == Took::kMore) return;
    if (took == Took::kTooLong || message.empty()) {
      relay_->Fail(absl::UnavailableError("the home answered nonsense"));
      return relay_->CloseHome();
    }
    const auto code = static_cast<absl::StatusCode>(message[0]);
    if (code != absl::StatusCode::kOk) {
      relay_->Fail(absl::Status(code, absl::string_view(message.data() + 1, message.size() - 1)));
      return relay_->CloseHome();
    }
    relay_->home->SetIdleTimeout(0);
    relay_->Succeed();
    if (!buffer_.empty()) relay_->FromHome(std::exchange(buffer_, ""));
  }
  void OnTls() override {}
  void OnTimeout() override {
    relay_->Fail(absl::UnavailableError("the home did not answer in time"));
    relay_->CloseHome();
  }
  void OnClosed() override { Gone(relay_->home != nullptr && relay_->home->closed_cleanly()); }
  void OnShutdown() override {
    if (!relay_->then) return relay_->Stop();
    relay_->Fail(absl::UnavailableError("this node stops"));
    relay_->CloseHome();
  }

 private:
  void Gone(bool clean) {
    relay_->home = nullptr;
    if (relay_->then) return relay_->Fail(absl::UnavailableError("the home closed the connection"));
    relay_->CloseClient(/*say_goodbye=*/!clean);
  }

  const std::shared_ptr<ProxyRelay> relay_;
  std::string buffer_;
};

void ProxyRelay::Succeed() {
  auto tell = std::exchange(then, nullptr);
  if (!ClientIsThere()) return CloseHome();
  tell(absl::OkStatus());
  client->ReplaceSession(std::make_unique<ClientSide>(shared_from_this()));
  if (!already_received.empty()) FromClient(std::exchange(already_received, ""));
  client->HoldReading(false);
}

std::shared_ptr<ProxyRelay> StartProxyRelay(NetLoop& loop, SocketConnection& client, ProxyHello hello,
                                            std::string already_received, std::function<void(absl::Status)> then,
                                            const DialHome& dial) {
  auto relay = std::make_shared<ProxyRelay>();
  relay->client = &client;
  relay->client_alive = client.alive();
  relay->hello = EncodeProxyHello(hello);
  relay->already_received = std::move(already_received);
  relay->then = std::move(then);
  if (!dial) {
    loop.Post([relay] { relay->Fail(absl::UnavailableError("no peer is set")); });
    return relay;
  }
  dial(
      [relay](Connection& connection) {
        // What Net dials is a SocketConnection.
        return std::make_unique<ProxyRelay::HomeSide>(relay, static_cast<SocketConnection&>(connection));
      },
      [relay](absl::Status status) { relay->Fail(std::move(status)); });
  return relay;
}

void EndProxyRelay(ProxyRelay& relay) {
  if (relay.then) {
    relay.Fail(absl::UnavailableError("the home changes"));
  } else {
    relay.CloseClient(/*say_goodbye=*/true);
  }
  relay.CloseHome();
}

}  // namespace gemel::engine
