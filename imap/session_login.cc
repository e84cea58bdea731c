// Commands of any state, and those by which a client logs in.
#include <utility>

#include "absl/strings/escaping.h"
#include "imap/append_run.h"
#include "imap/cursor.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"
#include "journal/log.h"

namespace gemel::imap {
namespace {

constexpr int kFailedLoginsMax = 3;

}  // namespace

bool Session::LoginAllowed() const { return connection_.tls() || connection_.loopback() || options_.plaintext_login; }

// From the greeting, or from STARTTLS: whoever has not logged in by then goes, however much it has to say.
void Session::StartLoginTimer() {
  loop_.Cancel(login_timer_);
  login_timer_ = loop_.After(options_.login_timeout_ms, Guarded([this] { Bye("Nobody logged in for too long."); }));
}

std::string Session::Capabilities() const {
  std::string text = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE";
  if (phase_ == Phase::kNotAuthenticated) {
    if (!connection_.tls() && connection_.tls_available()) text += " STARTTLS";
    text += LoginAllowed() ? " AUTH=PLAIN" : " LOGINDISABLED";
  } else {
    text += " NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE APPENDLIMIT=";
    AppendNumber(options_.append_bytes_max, &text);
  }
  return text;
}

// RFC 3501, 6.1.1
void Session::Handle(CapabilityCommand&) {
  Untagged("CAPABILITY " + Capabilities());
  Ok("Capability completed.");
}

// RFC 3501, 6.1.2
void Session::Handle(NoopCommand&) { Ok("NOOP completed."); }

// RFC 3501, 6.1.3
void Session::Handle(LogoutCommand&) {
  Untagged("BYE Logging out");
  Ok("Logout completed.");
  Flush();
  Close();
  connection_.CloseAfterSending();
}

// RFC 2971, 3.1
void Session::Handle(IdCommand& command) {
  for (const auto& [name, value] : command.fields) {
    if (!EqualsIgnoringCase(name, "name")) continue;
    journal::Log(journal::LogLevel::kDebug, "imap_client",
                 {{"session", connection_.session_id()}, {"client", Printable(value)}});
  }
  Untagged("ID (\"name\" \"Gemel\" \"version\" \"" GEMEL_VERSION "\")");
  Ok("ID completed.");
}

// RFC 5161, 3.1: nothing that this server has needs to be enabled, so nothing is.
void Session::Handle(EnableCommand&) {
  Untagged("ENABLED");
  Ok("Enabled.");
}

// RFC 2342, 5
void Session::Handle(NamespaceCommand&) {
  Untagged("NAMESPACE ((\"\" \"/\")) NIL NIL");
  Ok("Namespace completed.");
}

// RFC 3501, 6.2.1
void Session::Handle(StartTlsCommand&) {
  if (connection_.tls()) {
    Bad("TLS is there already.");
    return;
  }
  if (!connection_.tls_available()) {
    Bad("TLS is not available.");
    return;
  }
  Ok("Begin TLS negotiation now.");
  busy_ = true;     // until OnTls
  reader_.Clear();  // nothing that came in clear behind the command survives it
  Flush();
  connection_.StartTls();
}

// RFC 3501, 6.2.3
void Session::Handle(LoginCommand& command) {
  if (!LoginAllowed()) {
    No("[PRIVACYREQUIRED] Logging in needs TLS here.");
    return;
  }
  LogIn(std::move(command.user), std::move(command.password));
}

// RFC 3501, 6.2.2; RFC 4616; RFC 4959
void Session::Handle(AuthenticateCommand& command) {
  if (!LoginAllowed()) {
    No("[PRIVACYREQUIRED] Logging in needs TLS here.");
    return;
  }
  if (command.mechanism != "PLAIN") {
    No("[CANNOT] Unsupported authentication mechanism.");
    return;
  }
  if (command.initial_response) {
    OnSaslResponse(*command.initial_response == "=" ? "" : *command.initial_response);
    return;
  }
  out_ += "+ \r\n";
  waiting_ = Waiting::kSaslResponse;
}

// RFC 4616, 2: [authzid] NUL authcid NUL passwd
void Session::OnSaslResponse(std::string_view base64) {
  std::string plain;
  if (base64 == "*") {
    Bad("Authentication aborted.");
    return;
  }
  if (!absl::Base64Unescape(absl::string_view(base64.data(), base64.size()), &plain)) {
    Bad("That is not base64.");
    return;
  }
  const size_t first = plain.find('\0');
  const size_t second = first == std::string::npos ? first : plain.find('\0', first + 1);
  if (second == std::string::npos || plain.find('\0', second + 1) != std::string::npos) {
    Bad("That is not a PLAIN message.");
    return;
  }
  const std::string authorize_as = plain.substr(0, first);
  std::string user = plain.substr(first + 1, second - first - 1);
  if (!authorize_as.empty() && authorize_as != user) {
    No("[AUTHORIZATIONFAILED] Nobody may act as somebody else here.");
    return;
  }
  LogIn(std::move(user), plain.substr(second + 1));
}

void Session::LogIn(std::string user, std::string password) {
  service_.Authenticate(
      {std::move(user), std::move(password), connection_.peer_address(), connection_.session_id()},
      Guarded([this](const absl::StatusOr<engine::Authenticated>& result) { OnAuthenticated(result); }));
}

void Session::LoginFailed(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kPermissionDenied) {
    Failed(status);
    return;
  }
  No("[AUTHENTICATIONFAILED] Wrong name or password.");
  if (++failed_logins_ >= kFailedLoginsMax) Bye("Too many failed logins.");
}

void Session::OnAuthenticated(const absl::StatusOr<engine::Authenticated>& result) {
  if (!result.ok()) {
    LoginFailed(result.status());
    return;
  }
  user_ = *result;
  if (service_.HomeOf(user_.account) == engine::Home::kPeer) {
    ProxyToHome();
  } else {
    OpenAccount();
  }
}

// Decision 13: the account's home answers from here on; the client does not notice.
void Session::ProxyToHome() {
  engine::ProxyHello hello;
  hello.account = user_.account;
  hello.generation = service_.generation();
  hello.client_address = connection_.peer_address();
  hello.tls = connection_.tls();
  hello.session_id = connection_.session_id();
  Flush();
  connection_.ProxyToHome(
      std::move(hello), std::string(reader_.buffered()), Guarded([this](absl::Status status) {
        if (!status.ok()) {
          // It went away just now: what was last shown can still be read.
          if (service_.HomeOf(user_.account) == engine::Home::kPeer) {
            Failed(absl::UnavailableError("The server of this account cannot be reached; try again."));
          } else {
            OpenAccount();
          }
          return;
        }
        phase_ = Phase::kAuthenticated;
        journal::Log(journal::LogLevel::kInfo, "imap_login",
                     {{"user", user_.name},
                      {"rip", connection_.peer_address()},
                      {"session", connection_.session_id()},
                      {"tls", connection_.tls()},
                      {"proxied", true}});
        reader_.Clear();
        Ok("[CAPABILITY " + Capabilities() + "] Logged in.");
        Flush();
        Close();
      }));
}

void Session::OpenAccount() {
  service_.OpenAccount(user_.account, *this,
                       Guarded([this](absl::StatusOr<std::unique_ptr<engine::AccountSession>> opened) {
                         if (opened.ok()) {
                           account_ = *std::move(opened);
                           LoggedIn();
                         } else if (preauthenticated_) {
                           Bye("[UNAVAILABLE] " + std::string(opened.status().message()));
                         } else {
                           Failed(opened.status());
                         }
                       }));
}

void Session::LoggedIn() {
  phase_ = Phase::kAuthenticated;
  loop_.Cancel(std::exchange(login_timer_, 0));
  connection_.SetIdleTimeout(options_.idle_timeout_ms);
  journal::Log(journal::LogLevel::kInfo, "imap_login",
               {{"user", user_.name},
                {"rip", connection_.peer_address()},
                {"session", connection_.session_id()},
                {"tls", connection_.tls()},
                {"from_peer", preauthenticated_.has_value()}});
  if (preauthenticated_) {
    busy_ = false;
  } else {
    Ok("[CAPABILITY " + Capabilities() + "] Logged in.");
  }
}

}  // namespace gemel::imap
