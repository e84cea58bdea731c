#include "engine/admin_server.h"

#include <boost/json.hpp>

#include "engine/admin_http.h"
#include "engine/status.h"
#include "fmt/format.h"

namespace gemel::engine {
namespace {

namespace json = boost::json;

constexpr uint64_t kAdminTimeoutMs = 60'000;

int HttpStatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
      return 503;
    default:
      return 500;
  }
}

// A request's body, read with the errors an administrator can use.
class Arguments {
 public:
  static absl::StatusOr<Arguments> Parse(const std::string& body) {
    boost::system::error_code error;
    json::value value = json::parse(body, error);
    if (error || !value.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
    return Arguments(std::move(value.get_object()));
  }

  // These remember the first argument that is missing or of the wrong kind; see status().
  std::string Text(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value && value->is_string()) return std::string(value->get_string());
    return Missing(name, "a text"), "";
  }
  std::string TextOrEmpty(const char* name) { return object_.contains(name) ? Text(name) : ""; }
  bool Bool(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value && value->is_bool()) return value->get_bool();
    return Missing(name, "true or false"), false;
  }
  uint8_t Place(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value && value->is_int64() && (value->get_int64() == 0 || value->get_int64() == 1)) {
      return static_cast<uint8_t>(value->get_int64());
    }
    return Missing(name, "0 or 1"), 0;
  }
  std::optional<uint8_t> PlaceOrNone(const char* name) {
    if (const json::value* value = object_.if_contains(name); !value || value->is_null()) return std::nullopt;
    return Place(name);
  }
  std::vector<std::string> Texts(const char* name) {
    std::vector<std::string> out;
    const json::value* value = object_.if_contains(name);
    if (!value || !value->is_array()) return Missing(name, "a list of texts"), out;
    for (const json::value& item : value->get_array()) {
      if (!item.is_string()) return Missing(name, "a list of texts"), out;
      out.emplace_back(item.get_string());
    }
    return out;
  }
  const absl::Status& status() const { return status_; }

 private:
  explicit Arguments(json::object object) : object_(std::move(object)) {}
  void Missing(const char* name, const char* wanted) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(fmt::format("\"{}\" must be {}", name, wanted));
  }

  json::object object_;
  absl::Status status_;
};

class AdminSession : public ProtocolSession {
 public:
  AdminSession(Node& node, const AdminHooks& hooks, Connection& connection)
      : node_(node), hooks_(hooks), connection_(connection) {}

  void OnConnected() override { connection_.SetIdleTimeout(kAdminTimeoutMs); }

  void OnBytes(std::string_view bytes) override {
    // One request at a time: who sends another before the answer has it read afterwards, or is too much.
    pending_.append(bytes);
    if (pending_.size() > 2 * kAdminRequestBytesMax) return connection_.CloseAfterSending();
    if (!busy_) Read();
  }

  void OnTls() override {}
  void OnTimeout() override {
    if (!busy_) connection_.CloseAfterSending();
  }
  void OnClosed() override { alive_.reset(); }
  void OnShutdown() override {
    if (!busy_) connection_.CloseAfterSending();
    closing_ = true;
  }

 private:
  void Read() {
    std::string_view rest = pending_;
    const auto complete = parser_->Feed(&rest);
    pending_.erase(0, pending_.size() - rest.size());
    if (!complete.ok()) {
      closing_ = true;
      return Answer(complete.status());
    }
    if (!*complete) return;
    const AdminRequest request = parser_->Get();
    parser_ = std::make_unique<AdminParser<AdminRequest>>(kAdminRequestBytesMax);
    closing_ |= !request.keep_alive;
    busy_ = true;
    if (request.method == "GET") {
      Get(request.target);
    } else if (request.method == "POST") {
      Post(request);
    } else {
      Answer(absl::InvalidArgumentError("only GET and POST"));
    }
  }

  void Get(const std::string& target) {
    if (target == "/status") return AnswerText(200, StatusJson(node_.Status()));
    if (target == "/accounts") {
      json::array out;
      for (const AccountInfo& account : node_.Accounts()) {
        out.push_back(json::object{{"name", account.name},
                                   {"id", account.id.hex()},
                                   {"home_place", account.home_place},
                                   {"home_here", account.home_here},
                                   {"enabled", account.enabled}});
      }
      return AnswerJson(out);
    }
    if (target == "/domains") {
      json::array out;
      for (const auto& info : node_.Domains()) {
        out.push_back(json::object{{"domain", info.domain}, {"alias_of", info.alias_of}});
      }
      return AnswerJson(out);
    }
    if (target == "/aliases") {
      json::array out;
      for (const auto& info : node_.Aliases()) {
        json::array targets(info.targets.begin(), info.targets.end());
        out.push_back(json::object{{"address", info.address}, {"targets", std::move(targets)}});
      }
      return AnswerJson(out);
    }
    if (target == "/digests") {
      json::object out;
      for (const auto& [account, digest] : node_.Digests()) out[account] = digest;
      return AnswerJson(out);
    }
    Answer(absl::NotFoundError("no such page: " + target));
  }

  void Post(const AdminRequest& request) {
    if (request.target == "/pair/token") {
      const auto token = hooks_.new_pairing_token();
      if (!token.ok()) return Answer(token.status());
      return AnswerJson(json::object{{"token", token->token}, {"address", token->address}});
    }
    auto arguments = Arguments::Parse(request.body);
    if (!arguments.ok()) return Answer(arguments.status());
    Arguments& a = *arguments;
    // All arguments are taken first, so that nothing is done with half of them.
    std::function<void()> act;
    if (request.target == "/accounts/add") {
      act = [this, name = a.Text("name"), hash = a.Text("password_hash"), home = a.PlaceOrNone("home")] {
        node_.AddAccount(name, hash, home, Done());
      };
    } else if (request.target == "/accounts/set-password") {
      act = [this, name = a.Text("name"), hash = a.Text("password_hash")] {
        node_.SetPasswordHash(name, hash, Done());
      };
    } else if (request.target == "/accounts/enable") {
      act = [this, name = a.Text("name"), enabled = a.Bool("enabled")] {
        node_.SetAccountEnabled(name, enabled, Done());
      };
    } else if (request.target == "/domains/set") {
      act = [this, domain = a.Text("domain"), exists = a.Bool("exists"), alias_of = a.TextOrEmpty("alias_of")] {
        node_.SetDomain(domain, exists, alias_of, Done());
      };
    } else if (request.target == "/aliases/set") {
      act = [this, address = a.Text("address"), targets = a.Texts("targets")] {
        node_.SetAlias(address, targets, Done());
      };
    } else if (request.target == "/home/set") {
      act = [this, name = a.Text("name"), place = a.Place("place")] { node_.SetHome(name, place, Done()); };
    } else {
      return Answer(absl::NotFoundError("no such page: " + request.target));
    }
    if (!a.status().ok()) return Answer(a.status());
    act();
  }

  // The node may answer after the client is gone and this session with it.
  Node::Done Done() {
    return [this, alive = std::weak_ptr<bool>(alive_)](const absl::Status& status) {
      if (alive.lock()) Answer(status);
    };
  }

  void Answer(const absl::Status& status) {
    if (status.ok()) return AnswerText(200, "{}");
    AnswerText(HttpStatusOf(status), json::serialize(json::object{{"error", std::string(status.message())}}));
  }
  void AnswerJson(const json::value& value) { AnswerText(200, json::serialize(value)); }
  void AnswerText(int status, std::string body) {
    connection_.Send(EncodeAdminResponse({status, std::move(body) + "\n"}, !closing_));
    busy_ = false;
    if (closing_) return connection_.CloseAfterSending();
    if (!pending_.empty()) Read();
  }

  Node& node_;
  const AdminHooks& hooks_;
  Connection& connection_;
  std::unique_ptr<AdminParser<AdminRequest>> parser_ =
      std::make_unique<AdminParser<AdminRequest>>(kAdminRequestBytesMax);
  std::string pending_;
  bool busy_ = false;     // an answer is owed
  bool closing_ = false;  // after the next answer
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::string AdminRefusal() {
  const json::object error{{"error", "only root and the user that gemeld runs as may do this"}};
  return EncodeAdminResponse({403, json::serialize(error) + "\n"}, false);
}

std::unique_ptr<ProtocolSession> MakeAdminSession(Node& node, const AdminHooks& hooks, Connection& connection) {
  return std::make_unique<AdminSession>(node, hooks, connection);
}

}  // namespace gemel::engine
