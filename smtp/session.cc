#include "smtp/session.h"

#include <algorithm>
#include <utility>

#include "journal/log.h"
#include "smtp/address.h"

namespace gemel::smtp {

const Session::CommandSpec Session::kCommands[] = {
    {"MAIL", &Session::OnMail, false}, {"RCPT", &Session::OnRcpt, true},          {"DATA", &Session::OnData, true},
    {"BDAT", &Session::OnBdat, true},  {"HELO", &Session::OnHelo, false},         {"EHLO", &Session::OnEhlo, false},
    {"LHLO", &Session::OnLhlo, false}, {"RSET", &Session::OnRset, false},         {"NOOP", &Session::OnNoop, false},
    {"VRFY", &Session::OnVrfy, false}, {"EXPN", &Session::OnExpn, false},         {"HELP", &Session::OnHelp, false},
    {"QUIT", &Session::OnQuit, true},  {"STARTTLS", &Session::OnStartTls, false},
};

namespace {

bool IsBdat(std::string_view line) { return EqualsIgnoreCase(line.substr(0, 4), "BDAT"); }

}  // namespace

Session::Session(engine::Service& service, engine::Connection& connection, SmtpLimits& limits,
                 std::shared_ptr<const SessionOptions> options)
    : service_(service), connection_(connection), limits_(limits), options_(std::move(options)) {}

// RFC 5321, 3.1 and 4.3.1
void Session::OnConnected() {
  connection_.SetIdleTimeout(options_->idle_ms);
  if (shutting_down_) {
    Close("421 4.3.2 " + service_.host_name() + " is going down");
  } else {
    Reply("220 " + service_.host_name() + (lmtp() ? " LMTP" : " ESMTP") + " Gemel");
  }
  Settle();
}

// Asked at each arrival: where none comes, there is OnTimeout.
bool Session::TooSlow(size_t arrived_bytes) {
  if (!limited()) return false;
  const uint64_t now_ms = service_.BootMillis();
  const bool in_message = state_ == State::kData || state_ == State::kChunk || (state_ == State::kCommand && chunking_);
  if (!in_message || now_ms - message_since_ms_ > kSlowMs) {
    if (in_message && message_bytes_ + arrived_bytes < kMessageBytesMin) return true;
    message_since_ms_ = now_ms;
    message_bytes_ = 0;
  }
  message_bytes_ += arrived_bytes;
  return line_since_ms_ != 0 && now_ms - line_since_ms_ > kSlowMs;
}

void Session::OnBytes(std::string_view bytes) {
  if (state_ == State::kClosed || state_ == State::kTls) return;
  if (consuming_) {
    pending_.append(bytes);
    return;
  }
  if (TooSlow(bytes.size())) {
    Log("timeout", "it sends too slowly");
    Close("421 4.4.2 " + service_.host_name() + " Too slow");
    return Settle();
  }
  if (state_ == State::kFinishing || !pending_.empty()) {
    pending_.append(bytes);
    if (state_ != State::kFinishing) ConsumePending();
  } else {
    // The usual way: a message's bytes go from the socket's buffer to the store, only the start of a line is kept.
    consuming_ = true;
    const size_t used = Consume(bytes);
    const bool more = !pending_.empty();
    pending_.insert(0, bytes.substr(used));
    consuming_ = false;
    if (more || state_ == State::kTls || state_ == State::kClosed) ConsumePending();
  }
  Settle();
}

// May be called in any state: what cannot be used now stays, or is thrown away.
void Session::ConsumePending() {
  consuming_ = true;
  while (!pending_.empty()) {
    const std::string bytes = std::exchange(pending_, {});
    const size_t used = Consume(bytes);
    pending_.insert(0, bytes, used);
    if (used == 0) break;
  }
  consuming_ = false;
  // RFC 3207, 4.2: what came in clear behind STARTTLS may be somebody else's.
  if (state_ == State::kTls || state_ == State::kClosed) pending_.clear();
}

size_t Session::Consume(std::string_view bytes) {
  size_t used = 0;
  while (true) {
    const std::string_view rest = bytes.substr(used);
    // A command boundary, whether or not the next command is there.
    if (state_ == State::kCommand && shutting_down_) {
      Close("421 4.3.2 " + service_.host_name() + " is going down");
    }
    size_t n = 0;
    switch (state_) {
      case State::kCommand:
      case State::kSkipLine:
        n = ConsumeCommand(rest);
        break;
      case State::kData:
        n = ConsumeData(rest);
        break;
      case State::kChunk:
        n = ConsumeChunk(rest);
        break;
      case State::kFinishing:
      case State::kTls:
      case State::kClosed:
        return used;
    }
    used += n;
    if (n == 0) return used;
  }
}

size_t Session::ConsumeCommand(std::string_view bytes) {
  const size_t lf = bytes.find('\n');
  if (state_ == State::kSkipLine) {
    if (lf == std::string_view::npos) return bytes.size();
    state_ = State::kCommand;
    line_since_ms_ = 0;
    Refuse("500 5.5.2 Line too long");
    return lf + 1;
  }
  if (lf == std::string_view::npos || lf >= kCommandBytesMax) {
    if (bytes.size() < kCommandBytesMax) return 0;
    if (IsBdat(bytes)) {
      RefuseLine(bytes, "500 5.5.2 Line too long");
      return bytes.size();
    }
    state_ = State::kSkipLine;
    return lf == std::string_view::npos ? bytes.size() : lf;
  }
  line_since_ms_ = 0;
  Command(bytes.substr(0, lf));
  return lf + 1;
}

// RFC 5321, 2.4 and 4.1.1. `line` ends where its LF was.
void Session::Command(std::string_view line) {
  if (line.empty() || line.back() != '\r') return RefuseLine(line, "500 5.5.2 Lines end with CRLF");
  line.remove_suffix(1);
  for (char c : line) {
    if ((c >= 0 && c < ' ' && c != '\t') || c == 0x7f) {
      return RefuseLine(line, "500 5.5.2 Control character in a command");
    }
  }
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view verb = line.substr(0, space);
  std::string_view arguments = line.substr(space);
  while (!arguments.empty() && arguments.front() == ' ') arguments.remove_prefix(1);
  while (!arguments.empty() && arguments.back() == ' ') arguments.remove_suffix(1);
  for (const CommandSpec& command : kCommands) {
    if (!EqualsIgnoreCase(verb, command.verb)) continue;
    if (!command.brings_mail && !CountIdleCommand()) return;
    return (this->*command.handle)(arguments);
  }
  // A browser that was made to talk to us would go on with what somebody else wrote.
  if (EqualsIgnoreCase(verb, "GET") || EqualsIgnoreCase(verb, "POST") || EqualsIgnoreCase(verb, "CONNECT")) {
    Log("refused", "HTTP");
    return Close("421 4.7.0 This is not HTTP");
  }
  RefuseLine(line, "500 5.5.1 Unknown command");
}

bool Session::CountIdleCommand() {
  if (!limited() || options_->idle_commands_max == 0 || ++idle_commands_ <= options_->idle_commands_max) return true;
  Log("refused", "too many commands");
  Close("421 4.7.0 " + service_.host_name() + " Too many commands without a message");
  return false;
}

void Session::Reply(std::string_view line) {
  if (state_ == State::kClosed) return;
  replies_.append(line).append("\r\n");
}

void Session::Refuse(std::string_view line) {
  Reply(line);
  if (++errors_ > options_->errors_max && options_->errors_max != 0 && limited()) {
    Log("refused", "too many errors");
    Close("421 4.7.0 " + service_.host_name() + " Too many errors");
  }
}

// What follows a BDAT that cannot be read is a chunk of unknown length. To read it as commands is to let a letter speak
// for its sender.
void Session::RefuseLine(std::string_view command, std::string_view reply) {
  if (!IsBdat(command)) return Refuse(reply);
  Reply(reply);
  Close("421 4.7.0 Cannot tell where the chunk ends");
}

void Session::Close(std::string_view line) {
  Reply(line);
  state_ = State::kClosed;
  close_after_ = true;
  ResetTransaction();
}

void Session::Settle() {
  if (!replies_.empty()) connection_.Send(std::exchange(replies_, {}));
  if (std::exchange(start_tls_, false)) connection_.StartTls();
  if (close_after_) {
    close_after_ = false;
    connection_.CloseAfterSending();
    return;
  }
  if (state_ == State::kClosed) return;
  const bool in_line = state_ == State::kSkipLine || (state_ == State::kCommand && !pending_.empty());
  if (in_line && line_since_ms_ == 0) line_since_ms_ = service_.BootMillis();
  UpdatePause(kPausePending, pending_.size() > kPendingBytesMax);
  if ((pause_ & kPauseUnsent) == 0 && connection_.unsent_bytes() > kUnsentBytesMax) {
    UpdatePause(kPauseUnsent, true);
    connection_.OnDrained([this, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired()) UpdatePause(kPauseUnsent, false);
    });
  }
  if ((pause_ & kPauseStore) == 0 && delivery_ != nullptr && state_ != State::kFinishing && !delivery_->writable()) {
    UpdatePause(kPauseStore, true);
    delivery_->OnWritable([this, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired()) UpdatePause(kPauseStore, false);
    });
  }
}

void Session::UpdatePause(uint8_t reason, bool on) {
  if (state_ == State::kClosed) return;
  const uint8_t before = pause_;
  pause_ = static_cast<uint8_t>(on ? before | reason : before & ~reason);
  if (before == 0 && pause_ != 0) connection_.PauseReading();
  if (before != 0 && pause_ == 0) {
    message_since_ms_ = service_.BootMillis();  // it was we who were slow
    message_bytes_ = 0;
    connection_.ResumeReading();
  }
}

void Session::OnTls() {
  if (state_ != State::kTls) return;
  // RFC 3207, 4.2: everything that was said before is forgotten.
  state_ = State::kCommand;
  pending_.clear();
  hello_ = extended_ = false;
  helo_.clear();
  ResetTransaction();
  if (shutting_down_) Close("421 4.3.2 " + service_.host_name() + " is going down");
  Settle();
}

void Session::OnTimeout() {
  if (state_ == State::kClosed) return;
  // The client may be waiting for us. One that does not take its replies is not.
  if (state_ == State::kFinishing || (pause_ & ~kPauseUnsent) != 0) {
    connection_.SetIdleTimeout(options_->idle_ms);
    return;
  }
  if (mail_) Log("timeout", "in a transaction");
  Close("421 4.4.2 " + service_.host_name() + " Nothing heard for too long");
  Settle();
}

void Session::OnClosed() {
  if (state_ == State::kFinishing) {
    Log("connection_lost", "while storing: the client will not know the outcome and will send the message again");
  } else if (state_ == State::kData || state_ == State::kChunk) {
    Log("connection_lost", "in a message");
  }
  state_ = State::kClosed;
  ResetTransaction();
  pending_.clear();
}

// `nc -N` and scripts: what was said before is answered, then it is over.
bool Session::OnInputEnd() {
  input_ended_ = true;
  if (state_ != State::kFinishing) EndSilently();
  Settle();
  return true;
}

void Session::EndSilently() {
  if (state_ == State::kClosed) return;
  OnClosed();
  close_after_ = true;
}

void Session::OnShutdown() {
  if (state_ == State::kClosed || shutting_down_) return;
  shutting_down_ = true;
  if (state_ == State::kCommand && !consuming_) {
    Close("421 4.3.2 " + service_.host_name() + " is going down");
    Settle();
  }
}

void Session::Log(std::string_view event, std::string_view detail) const {
  journal::Log(journal::LogLevel::kInfo, event,
               {{"session", connection_.session_id()},
                {"client", connection_.peer_address()},
                {"from", sender_},
                {"detail", detail}});
}

}  // namespace gemel::smtp
