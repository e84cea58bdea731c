// The commands around a message: greeting, envelope, and what else a client may say.
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "journal/log.h"
#include "smtp/address.h"
#include "smtp/session.h"

namespace gemel::smtp {
namespace {

// Takes "FROM:" or "TO:" from the front of *arguments, and the blanks that many clients put behind it.
bool TakeKeyword(std::string_view keyword, std::string_view* arguments) {
  if (!EqualsIgnoreCase(arguments->substr(0, keyword.size()), keyword)) return false;
  arguments->remove_prefix(keyword.size());
  while (!arguments->empty() && arguments->front() == ' ') arguments->remove_prefix(1);
  return true;
}

// Takes the next "KEY[=VALUE]" from the front of *rest; an empty key at its end.
std::pair<std::string_view, std::string_view> TakeParameter(std::string_view* rest) {
  while (!rest->empty() && rest->front() == ' ') rest->remove_prefix(1);
  const std::string_view word = rest->substr(0, rest->find(' '));
  rest->remove_prefix(word.size());
  const size_t equals = word.find('=');
  if (equals == std::string_view::npos) return {word, {}};
  return {word.substr(0, equals), word.substr(equals + 1)};
}

// For names that go into replies, headers and the log.
bool IsHelloName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.find_first_of(" \t<>()\"\\") == std::string_view::npos &&
         IsValidUtf8(name);
}

}  // namespace

// RFC 5321, 4.1.1.1; RFC 2033, 4.1
void Session::Hello(std::string_view arguments, bool extended) {
  if (!IsHelloName(arguments)) return Refuse("501 5.5.4 Say who you are: a host name or an address literal");
  ResetTransaction();
  hello_ = true;
  extended_ = extended;
  helo_ = arguments;
  if (!extended) return Reply("250 " + service_.host_name());
  Reply("250-" + service_.host_name());
  Reply("250-PIPELINING");                                                       // RFC 2920
  Reply("250-SIZE " + std::to_string(options_->message_bytes_max));              // RFC 1870
  if (connection_.tls_available() && !connection_.tls()) Reply("250-STARTTLS");  // RFC 3207
  Reply("250-ENHANCEDSTATUSCODES");                                              // RFC 2034
  Reply("250-8BITMIME");                                                         // RFC 6152
  Reply("250-SMTPUTF8");                                                         // RFC 6531
  Reply("250-CHUNKING");                                                         // RFC 3030
  Reply("250-VRFY");
  Reply("250 HELP");
}

void Session::OnHelo(std::string_view arguments) {
  if (lmtp()) return Refuse("500 5.5.1 This is LMTP: greet with LHLO");  // RFC 2033, 4.1
  Hello(arguments, false);
}

void Session::OnEhlo(std::string_view arguments) {
  if (lmtp()) return Refuse("500 5.5.1 This is LMTP: greet with LHLO");
  Hello(arguments, true);
}

void Session::OnLhlo(std::string_view arguments) {
  if (!lmtp()) return Refuse("500 5.5.1 This is SMTP: greet with EHLO");
  Hello(arguments, true);
}

// RFC 5321, 4.1.1.2; RFC 1870; RFC 6152; RFC 6531, 3.4; RFC 3030
void Session::OnMail(std::string_view arguments) {
  if (!hello_) return Refuse(lmtp() ? "503 5.5.1 Send LHLO first" : "503 5.5.1 Send EHLO or HELO first");
  if (mail_) return Refuse("503 5.5.1 There is a transaction already");
  if (!TakeKeyword("FROM:", &arguments)) return Refuse("501 5.5.4 Syntax: MAIL FROM:<address>");
  absl::StatusOr<Path> path = ParsePath(arguments, PathKind::kReverse);
  if (!path.ok() || (!path->rest.empty() && path->rest.front() != ' ')) {
    return Refuse("501 5.1.7 Malformed sender address");
  }
  smtputf8_ = false;
  if (!MailParameters(path->rest)) return;
  if (path->non_ascii && !smtputf8_) return Refuse("553 5.6.7 That address needs SMTPUTF8");
  if (EnoughMessages()) {  // the last of them were refused
    return Close("421 4.7.0 " + service_.host_name() + " Enough messages for one connection");
  }
  const absl::Status accepting = service_.AcceptingMail();
  if (!accepting.ok()) {
    const bool full = absl::IsResourceExhausted(accepting);
    journal::Log(journal::LogLevel::kWarning, "mail_refused_for_now",
                 {{"session", connection_.session_id()},
                  {"from", path->address},
                  {"reason", std::string_view(accepting.message().data(), accepting.message().size())}});
    return Reply(full ? "452 4.3.1 No room for mail now" : "451 4.3.0 No mail can be stored safely now");
  }
  mail_ = true;
  sender_ = std::move(path->address);
  Reply("250 2.1.0 Ok");
}

// Answers and gives false where a parameter is not to be had.
bool Session::MailParameters(std::string_view rest) {
  while (true) {
    const auto [key, value] = TakeParameter(&rest);
    if (key.empty()) return true;
    if (extended_ && EqualsIgnoreCase(key, "SIZE")) {
      uint64_t size = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), size);
      const bool digits = !value.empty() && end == value.data() + value.size();
      if (digits && (error == std::errc::result_out_of_range || size > options_->message_bytes_max)) {
        Refuse("552 5.3.4 Message too big: at most " + std::to_string(options_->message_bytes_max) + " bytes");
        return false;
      }
      if (digits && error == std::errc()) continue;
    } else if (extended_ && EqualsIgnoreCase(key, "BODY")) {
      if (EqualsIgnoreCase(value, "7BIT") || EqualsIgnoreCase(value, "8BITMIME")) continue;
      if (EqualsIgnoreCase(value, "BINARYMIME")) {
        Refuse("555 5.6.1 BINARYMIME is not supported");
        return false;
      }
    } else if (extended_ && EqualsIgnoreCase(key, "SMTPUTF8") && value.empty()) {
      smtputf8_ = true;
      continue;
    } else {
      Refuse("555 5.5.4 Parameter not supported");
      return false;
    }
    Refuse("501 5.5.4 Malformed parameter");
    return false;
  }
}

// RFC 5321, 4.1.1.3 and 7.1: an address that is not ours is refused here, whatever it looks like.
void Session::OnRcpt(std::string_view arguments) {
  if (!mail_) return Refuse("503 5.5.1 Send MAIL first");
  if (chunking_) return Refuse("503 5.5.1 The message has begun already");
  if (!TakeKeyword("TO:", &arguments)) return Refuse("501 5.5.4 Syntax: RCPT TO:<address>");
  absl::StatusOr<Path> path = ParsePath(arguments, PathKind::kForward);
  if (!path.ok() || (!path->rest.empty() && path->rest.front() != ' ')) {
    return Refuse("501 5.1.3 Malformed recipient address");
  }
  std::string_view rest = path->rest;
  if (!TakeParameter(&rest).first.empty()) return Refuse("555 5.5.4 Parameter not supported");
  if (path->non_ascii && !smtputf8_) return Refuse("553 5.6.7 That address needs SMTPUTF8");
  // Not counted as idle: the message for those before it is to come (RFC 5321, 4.5.3.1.10).
  if (rcpts_.size() >= options_->recipients_max) return Reply("452 4.5.3 Too many recipients");

  absl::StatusOr<std::vector<engine::DeliveryTarget>> found = service_.LookUpRecipient(path->address);
  if (found.ok() && !found->empty()) return AddRecipient(std::move(path->address), *std::move(found));

  std::string reply;
  const absl::StatusCode code = found.ok() ? absl::StatusCode::kNotFound : found.status().code();
  switch (code) {
    case absl::StatusCode::kNotFound:
      reply = absl::StrCat("550 5.1.1 <", path->address, "> User unknown");
      break;
    case absl::StatusCode::kInvalidArgument:
      reply = absl::StrCat("550 5.7.1 <", path->address, "> Relaying denied");
      break;
    case absl::StatusCode::kPermissionDenied:
      reply = absl::StrCat("550 5.2.1 <", path->address, "> Mailbox disabled");
      break;
    case absl::StatusCode::kFailedPrecondition:
      reply = absl::StrCat("550 5.4.6 <", path->address, "> Its aliases lead in a circle");
      break;
    case absl::StatusCode::kResourceExhausted:
      return PutOff("452 4.3.1 No room for mail now");
    default:
      return PutOff("451 4.3.0 Cannot look that up now");
  }
  journal::Log(journal::LogLevel::kInfo, "recipient_refused",
               {{"session", connection_.session_id()},
                {"client", connection_.peer_address()},
                {"from", sender_},
                {"to", path->address},
                {"reply", reply}});
  // Over LMTP it is our own MTA that asks, for somebody else: a list with many dead addresses is not its error.
  if (lmtp()) return Reply(reply);
  Refuse(reply);
}

// No error of the client's, but its command has cost a look-up and brought no message nearer.
void Session::PutOff(std::string_view reply) {
  if (CountIdleCommand()) Reply(reply);
}

void Session::AddRecipient(std::string address, std::vector<engine::DeliveryTarget> targets) {
  // Else a big alias, named again and again, would keep the loop busy and fill the memory.
  if (targets_named_ + targets.size() > kTargetsMax) return PutOff("452 4.5.3 Too many recipients");
  const int64_t now_s = service_.NowSeconds();
  for (const engine::DeliveryTarget& target : targets) {
    if (!limits_.MayTakeMessage(target.account, now_s)) {
      return PutOff(absl::StrCat("450 4.2.1 <", address, "> gets too much mail at the moment"));
    }
  }
  // Two recipients that are the same mailbox in the end get one copy.
  targets_named_ += targets.size();
  for (engine::DeliveryTarget& target : targets) {
    const bool added = targets_known_.emplace(target.account, target.folder).second;
    if (added) targets_.push_back({address, std::move(target)});
  }
  rcpts_.push_back(std::move(address));
  Reply("250 2.1.5 Ok");
}

// RFC 5321, 4.1.1.5
void Session::OnRset(std::string_view arguments) {
  if (!arguments.empty()) return Refuse("501 5.5.4 RSET takes no argument");
  ResetTransaction();
  Reply("250 2.0.0 Ok");
}

// RFC 5321, 4.1.1.9
void Session::OnNoop(std::string_view) { Reply("250 2.0.0 Ok"); }

// RFC 5321, 3.5.3 and 7.3: who is here is told to nobody but a sender.
void Session::OnVrfy(std::string_view arguments) {
  if (arguments.empty()) return Refuse("501 5.5.4 Syntax: VRFY address");
  Reply("252 2.5.2 Send mail and see");
}

void Session::OnExpn(std::string_view) { Refuse("502 5.5.1 EXPN is not to be had here"); }

// RFC 5321, 4.1.1.8
void Session::OnHelp(std::string_view) {
  Reply(absl::StrCat("214-2.0.0 Gemel takes mail for the mailboxes of this host, by ", lmtp() ? "LMTP" : "SMTP", "."));
  Reply(absl::StrCat("214 2.0.0 Commands: ", lmtp() ? "LHLO" : "HELO EHLO", " MAIL RCPT DATA BDAT RSET NOOP VRFY",
                     connection_.tls_available() ? " STARTTLS" : "", " HELP QUIT"));
}

// RFC 5321, 4.1.1.10
void Session::OnQuit(std::string_view arguments) {
  if (!arguments.empty()) return Refuse("501 5.5.4 QUIT takes no argument");
  Close("221 2.0.0 " + service_.host_name() + " Bye");
}

// RFC 3207, 4
void Session::OnStartTls(std::string_view arguments) {
  if (!arguments.empty()) return Refuse("501 5.5.4 STARTTLS takes no argument");
  if (connection_.tls()) return Refuse("503 5.5.1 TLS is on already");
  if (!connection_.tls_available()) return Refuse("454 4.7.0 TLS is not to be had here");
  Reply("220 2.0.0 Go ahead");
  ResetTransaction();
  state_ = State::kTls;
  start_tls_ = true;
}

}  // namespace gemel::smtp
