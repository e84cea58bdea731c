// Input, output and life of a session: what is common to all commands.
#include "imap/session.h"

#include <algorithm>
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"
#include "journal/log.h"
#include "maildir/utf7.h"

namespace gemel::imap {
namespace {

// Reading stops while this much waits for the command that runs, and goes on below the half of it.
constexpr size_t kBufferedBytesMax = 128 * 1024;
constexpr size_t kFlushBytes = 64 * 1024;

std::string_view ResponseCode(const absl::Status& status, std::string_view not_found) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return not_found;
    case absl::StatusCode::kAlreadyExists:
      return "ALREADYEXISTS";
    case absl::StatusCode::kInvalidArgument:
      return "CANNOT";
    case absl::StatusCode::kPermissionDenied:
      return "NOPERM";
    case absl::StatusCode::kOutOfRange:
      return "LIMIT";
    case absl::StatusCode::kResourceExhausted:
      return "OVERQUOTA";
    case absl::StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case absl::StatusCode::kFailedPrecondition:
      return "";
    default:
      return "SERVERBUG";
  }
}

}  // namespace

std::unique_ptr<engine::ProtocolSession> MakeSession(engine::Service& service, engine::Loop& loop,
                                                     engine::Connection& connection, const SessionOptions& options,
                                                     std::optional<Preauthenticated> preauthenticated) {
  return std::make_unique<Session>(service, loop, connection, options, std::move(preauthenticated));
}

Session::Session(engine::Service& service, engine::Loop& loop, engine::Connection& connection,
                 const SessionOptions& options, std::optional<Preauthenticated> preauthenticated)
    : service_(service),
      loop_(loop),
      connection_(connection),
      options_(options),
      preauthenticated_(std::move(preauthenticated)) {}

// What holds on to the account goes before it.
Session::~Session() {
  alive_.reset();
  search_.reset();
  fetch_.reset();
  append_.reset();
  account_.reset();
}

void Session::OnConnected() {
  StartLoginTimer();
  if (preauthenticated_) {
    // The other node has greeted and answered the login.
    user_ = {preauthenticated_->account, preauthenticated_->name};
    busy_ = true;
    OpenAccount();
    return;
  }
  Untagged("OK [CAPABILITY " + Capabilities() + "] " + service_.host_name() + " Gemel ready.");
  Flush();
}

void Session::OnBytes(std::string_view bytes) {
  if (phase_ == Phase::kClosed) return;
  bytes_in_ += bytes.size();
  reader_.Feed(bytes);
  if (phase_ == Phase::kNotAuthenticated && bytes_in_ > options_.login_bytes_max) {
    Bye("Too much was sent before logging in.");
    return;
  }
  Pump();
}

void Session::OnTls() {
  if (phase_ == Phase::kClosed) return;
  StartLoginTimer();
  busy_ = false;
  Pump();
}

void Session::OnTimeout() {
  if (phase_ == Phase::kClosed) return;
  // A client that reads a long answer says nothing meanwhile; one that takes nothing is gone.
  const uint64_t taken = bytes_out_ - connection_.unsent_bytes();
  const bool takes = taken > std::exchange(bytes_taken_at_timeout_, taken);
  if (waiting_ == Waiting::kIdleDone && keepalives_ * options_.keepalive_ms < options_.idle_timeout_ms &&
      (takes || connection_.unsent_bytes() == 0)) {
    ++keepalives_;
    Untagged("OK Still here");
    Flush();
    connection_.SetIdleTimeout(options_.keepalive_ms);
    return;
  }
  if (busy_ && waiting_ == Waiting::kNothing && append_ == nullptr && takes) {
    connection_.SetIdleTimeout(options_.idle_timeout_ms);
    return;
  }
  Bye("Autologout; idle for too long.");
}

void Session::OnClosed() { Close(); }

void Session::OnShutdown() {
  if (phase_ == Phase::kClosed) return;
  shutting_down_ = true;
  // An APPEND or a login that waits for its client is given up; another command ends first.
  if (!busy_ || waiting_ != Waiting::kNothing || append_ != nullptr) Bye("The server is shutting down.");
}

void Session::OnMailboxEvents(const engine::MailboxId& mailbox, const std::vector<engine::MailboxEvent>& events) {
  if (view_ != nullptr && view_->id() == mailbox) view_->Note(events);
}

void Session::OnMailboxDeleted(const engine::MailboxId& mailbox) {
  if (view_ != nullptr && view_->id() == mailbox) view_->NoteDeleted();
}

// As a step of its own: the listener must not call back, and saying goodbye lets go of the account.
void Session::OnAccountClosed(std::string_view reason) {
  loop_.Post(Guarded([this, text = std::string(reason)] { Bye(text); }));
}

void Session::OnSettled() {
  if (waiting_ == Waiting::kIdleDone && view_ != nullptr && view_->HasNews()) TellIdle();
}

// A client that does not read is told when it does: until then the view keeps what there is to tell, each thing once.
void Session::TellIdle() {
  if (std::exchange(telling_, true)) return;
  std::function<void()> tell = Guarded([this] {
    telling_ = false;
    if (waiting_ == Waiting::kIdleDone) TellNews(true, false);
  });
  if (connection_.unsent_bytes() > kUnsentBytesMax) {
    connection_.OnDrained(std::move(tell));
  } else {
    loop_.Post(std::move(tell));
  }
}

// ---- input ----

void Session::Pump() {
  if (pumping_ || phase_ == Phase::kClosed) return;
  pumping_ = true;
  const std::weak_ptr<char> alive = alive_;
  while (PumpOne()) {
    if (out_.size() >= kFlushBytes) Flush();
    if (connection_.unsent_bytes() > kUnsentBytesMax && !draining_ && !busy_) {
      draining_ = true;
      connection_.OnDrained(Guarded([this] { draining_ = false; }));
    }
  }
  pumping_ = false;
  if (phase_ == Phase::kClosed) return;
  Flush();
  FlowControl();
}

bool Session::PumpOne() {
  if (phase_ == Phase::kClosed || draining_) return false;
  if (shutting_down_ && !busy_) {
    Bye("The server is shutting down.");
    return false;
  }
  if (waiting_ != Waiting::kNothing) {
    const auto line = reader_.NextLine();
    if (!line) return false;
    if (std::exchange(waiting_, Waiting::kNothing) == Waiting::kIdleDone) {
      OnIdleLine(*line);
    } else {
      OnSaslResponse(*line);
    }
    return true;
  }
  if (append_ != nullptr ? !append_->WantsBytes() : busy_) return false;
  CommandReader::Item item = reader_.Next();
  if (item.kind == CommandReader::Kind::kNeedMore) return false;
  OnItem(std::move(item));
  return true;
}

void Session::OnItem(CommandReader::Item item) {
  switch (item.kind) {
    case CommandReader::Kind::kNeedMore:
      return;
    case CommandReader::Kind::kContinue:
      out_ += "+ OK\r\n";
      return;
    case CommandReader::Kind::kAppendBytes:
      AppendBytes(item.bytes);
      return;
    case CommandReader::Kind::kAppendEnd:
      EndAppend(item.parsed.error);
      return;
    case CommandReader::Kind::kCommand:
    case CommandReader::Kind::kAppend:
      break;
  }
  busy_ = true;
  // A command that cannot be read may be one during which numbers must stand still.
  tell_expunges_ = item.parsed.command.has_value();
  tell_uids_ = false;
  tag_ = item.parsed.tag;
  if (!item.parsed.command) {
    Bad(Printable(item.parsed.error));
  } else if (!Allowed(item.parsed.command->body)) {
    if (item.kind == CommandReader::Kind::kAppend) reader_.RefuseLiteral();
    Bad(phase_ == Phase::kNotAuthenticated ? "Log in first."
        : view_ == nullptr                 ? "Not now; a mailbox must be selected."
                                           : "Not now.");
  } else if (item.kind == CommandReader::Kind::kAppend) {
    BeginAppend(std::move(std::get<AppendCommand>(item.parsed.command->body)), item.literal);
  } else {
    Dispatch(std::move(*item.parsed.command));
  }
}

void Session::Dispatch(Command command) {
  std::visit([this](auto& body) { Handle(body); }, command.body);
}

// RFC 3501, 6: which commands belong to which state.
bool Session::Allowed(const CommandBody& body) {
  const auto is = [&body]<class... T>(std::type_identity<T>...) { return (std::holds_alternative<T>(body) || ...); };
  if (is(std::type_identity<CapabilityCommand>{}, std::type_identity<NoopCommand>{},
         std::type_identity<LogoutCommand>{}, std::type_identity<IdCommand>{})) {
    return true;
  }
  if (is(std::type_identity<StartTlsCommand>{}, std::type_identity<LoginCommand>{},
         std::type_identity<AuthenticateCommand>{})) {
    return phase_ == Phase::kNotAuthenticated;
  }
  if (is(std::type_identity<CheckCommand>{}, std::type_identity<CloseCommand>{}, std::type_identity<ExpungeCommand>{},
         std::type_identity<SearchCommand>{}, std::type_identity<FetchCommand>{}, std::type_identity<StoreCommand>{},
         std::type_identity<CopyCommand>{})) {
    return phase_ == Phase::kSelected;
  }
  return phase_ == Phase::kAuthenticated || phase_ == Phase::kSelected;
}

void Session::FlowControl() {
  const size_t buffered = reader_.buffered_bytes();
  if (!reading_paused_ && buffered > kBufferedBytesMax) {
    reading_paused_ = true;
    connection_.PauseReading();
  } else if (reading_paused_ && buffered < kBufferedBytesMax / 2) {
    reading_paused_ = false;
    connection_.ResumeReading();
  }
}

// ---- output ----

void Session::Flush() {
  if (out_.empty()) return;
  bytes_out_ += out_.size();
  connection_.Send(std::move(out_));
  out_.clear();
}

void Session::Untagged(std::string_view text) {
  out_ += "* ";
  out_ += text;
  out_ += "\r\n";
}

void Session::Tagged(std::string_view text) {
  TellNews(tell_expunges_, tell_uids_);
  out_ += tag_;
  out_ += ' ';
  out_ += text;
  out_ += "\r\n";
  busy_ = false;
}

void Session::Failed(const absl::Status& status, std::string_view not_found) {
  const std::string_view code = ResponseCode(status, not_found);
  std::string text;
  if (!code.empty()) text.append("[").append(code).append("] ");
  const std::string message = Printable({status.message().data(), status.message().size()});
  if (status.code() == absl::StatusCode::kInternal || code == "SERVERBUG") {
    journal::Log(journal::LogLevel::kError, "imap_command_failed",
                 {{"user", user_.name}, {"session", connection_.session_id()}, {"error", message}});
    text += "Internal error; the server's log says more.";
  } else {
    text += message.empty() ? "Failed." : message;
  }
  No(text);
}

void Session::TellNews(bool expunges, bool with_uid) {
  if (view_ == nullptr) return;
  const engine::Mailbox* mailbox = SelectedMailbox();
  if (mailbox != nullptr) TellFlagNames(*mailbox);
  if (!view_->HasNews()) return;
  // Whoever is told first has them as \Recent; the watermark moves so that later sessions do not.
  if (view_->HasNewMessages() && !view_->read_only() && mailbox != nullptr) account_->RecentFrom(view_->id(), true);
  view_->Tell(mailbox, expunges, with_uid, &out_);
}

// RFC 3501, 7.2.6: a client that sees a keyword should have been told that there is such a flag.
void Session::TellFlagNames(const engine::Mailbox& mailbox) {
  if (mailbox.keywords.size() == keywords_told_) return;
  keywords_told_ = mailbox.keywords.size();
  std::string flags;
  AppendFlags(journal::kSeen | journal::kAnswered | journal::kFlagged | journal::kDeleted | journal::kDraft, false,
              mailbox.keywords, &flags);
  Untagged("FLAGS (" + flags + ")");
  const char* more = mailbox.keywords.size() < maildir::kMailboxKeywordsMax ? " \\*" : "";
  Untagged(view_->read_only() ? "OK [PERMANENTFLAGS ()] Read-only mailbox."
                              : "OK [PERMANENTFLAGS (" + flags + more + ")] Flags permitted.");
}

// No goodbye may stand inside a FETCH answer that a step has left unfinished: then the connection just ends.
void Session::Bye(std::string_view text) {
  if (phase_ == Phase::kClosed) return;
  if (fetch_ == nullptr || !fetch_->InResponse()) Untagged("BYE " + Printable(text));
  Flush();
  Close();
  connection_.CloseAfterSending();
}

void Session::Close() {
  if (phase_ == Phase::kClosed) return;
  if (account_ != nullptr) {
    journal::Log(journal::LogLevel::kInfo, "imap_logout",
                 {{"user", user_.name},
                  {"rip", connection_.peer_address()},
                  {"session", connection_.session_id()},
                  {"in", bytes_in_},
                  {"out", bytes_out_}});
  }
  phase_ = Phase::kClosed;
  loop_.Cancel(std::exchange(login_timer_, 0));
  // As a step of its own: this may run inside a call of what is let go.
  loop_.Post([this, alive = std::weak_ptr<char>(alive_)] {
    if (alive.expired()) return;
    search_.reset();
    fetch_.reset();
    append_.reset();
    view_.reset();
    account_.reset();
  });
}

// ---- for the commands ----

bool Session::RefuseWrites() {
  if (!IsReadOnly()) return false;
  No("[UNAVAILABLE] The server of this account is away; it can only be read for now.");
  return true;
}

const engine::Mailbox* Session::SelectedMailbox() const {
  return view_ == nullptr || account_ == nullptr ? nullptr : account_->state().Find(view_->id());
}

void Session::Deselect() {
  view_.reset();
  if (phase_ == Phase::kSelected) phase_ = Phase::kAuthenticated;
}

bool Session::Resolve(const SequenceSet& set, bool uid, std::vector<uint32_t>* numbers) {
  if (view_->Resolve(set, uid, numbers)) return true;
  Bad("There is no message with such a number.");
  return false;
}

std::vector<engine::Uid> Session::UidsOf(const std::vector<uint32_t>& numbers) const {
  std::vector<engine::Uid> uids;
  uids.reserve(numbers.size());
  for (const uint32_t number : numbers) uids.push_back(view_->UidOf(number));
  return uids;
}

// Some clients send UTF-8 as it is.
absl::StatusOr<std::string> Session::Utf8Name(const std::string& name) {
  const bool eight_bit = std::any_of(name.begin(), name.end(), [](char c) { return (c & 0x80) != 0; });
  if (eight_bit && maildir::IsUtf8(name)) return name;
  return maildir::Utf8FromUtf7(name);
}

std::optional<std::string> Session::DecodeName(const std::string& name) {
  auto decoded = Utf8Name(name);
  if (decoded.ok()) return *std::move(decoded);
  Failed(decoded.status());
  return std::nullopt;
}

const engine::Mailbox* Session::FindMailbox(const std::string& name, std::string_view not_found) {
  const auto decoded = DecodeName(name);
  if (!decoded) return nullptr;
  const engine::Mailbox* mailbox = account_->state().FindName(*decoded);
  if (mailbox == nullptr) Failed(absl::NotFoundError("There is no such mailbox."), not_found);
  return mailbox;
}

void Session::Submit(engine::Command command, std::function<void(engine::CommandResult)> done) {
  account_->Submit(std::move(command), Guarded(std::move(done)));
}

}  // namespace gemel::imap
