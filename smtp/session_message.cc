// A message: its bytes by DATA or BDAT, its storing, and what the client is told of it.
#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "journal/log.h"
#include "smtp/address.h"
#include "smtp/session.h"
#include "smtp/trace.h"

namespace gemel::smtp {
namespace {

constexpr size_t kSliceBytes = 64 * 1024;  // of a read that are decoded at once

// All sessions run on one thread, and nothing of it lives past a call. It holds a decoded slice at most.
std::string& DecodedBytes() {
  static thread_local std::string bytes;
  bytes.clear();
  return bytes;
}

// For what Delivery::Finish says, which is never for good: who cannot get mail was refused at RCPT.
std::string_view StoreReply(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? "452 4.3.1 No room for mail now" : "451 4.3.0 Not stored, try again";
}

}  // namespace

const char* Session::NotReady() const {
  if (!mail_) return "503 5.5.1 Send MAIL first";
  if (!rcpts_.empty()) return nullptr;
  return lmtp() ? "503 5.5.1 No valid recipients" : "554 5.5.1 No valid recipients";  // RFC 2033, 4.2
}

bool Session::EnoughMessages() const {
  return limited() && options_->messages_max != 0 && messages_ >= options_->messages_max;
}

void Session::BeginMessage() {
  ++messages_;
  lf_bytes_ = crlf_bytes_ = announced_bytes_ = 0;
  refusal_ = Refusal::kNone;
  data_ = {};
  chunks_ = {};
  header_ = {};
  delivery_ = service_.BeginDelivery(lmtp() ? engine::Via::kLmtp : engine::Via::kSmtp, sender_);
}

// RFC 5321, 4.1.1.4
void Session::OnData(std::string_view arguments) {
  if (!arguments.empty()) return Refuse("501 5.5.4 DATA takes no argument");
  if (chunking_) return Refuse("503 5.5.1 The message began with BDAT");  // RFC 3030, 2
  if (const char* reason = NotReady()) return Refuse(reason);
  BeginMessage();
  state_ = State::kData;
  Reply("354 End with a dot on a line of its own");
}

size_t Session::ConsumeData(std::string_view bytes) {
  std::string& decoded = DecodedBytes();
  const size_t used = data_.Feed(bytes.substr(0, kSliceBytes), &decoded);
  Take(decoded, data_.lines());
  if (data_.bare_lf() || data_.bare_cr()) RefuseMessage(Refusal::kBareLineEnd);
  if (data_.done()) EndOfMessage();
  return used;
}

// RFC 3030, 2
void Session::OnBdat(std::string_view arguments) {
  uint64_t size = 0;
  const auto [end, error] = std::from_chars(arguments.data(), arguments.data() + arguments.size(), size);
  const std::string_view rest = arguments.substr(static_cast<size_t>(end - arguments.data()));
  const bool last = EqualsIgnoreCase(rest.substr(std::min(rest.find_first_not_of(' '), rest.size())), "LAST");
  if (error != std::errc() || !(rest.empty() || (last && rest.front() == ' '))) {
    return RefuseLine("BDAT", "501 5.5.4 Syntax: BDAT bytes [LAST]");
  }
  chunk_bytes_left_ = size;
  chunk_last_ = last;
  state_ = State::kChunk;
  if (!chunking_) {
    if (const char* reason = NotReady()) {
      chunk_reply_ = reason;
    } else {
      BeginMessage();
      chunking_ = true;
    }
  }
  if (chunk_reply_ == nullptr) {
    announced_bytes_ += std::min(size, options_->message_bytes_max + 1);
    if (announced_bytes_ > options_->message_bytes_max) RefuseMessage(Refusal::kTooBig);
  }
  if (size == 0) EndOfChunk();
}

size_t Session::ConsumeChunk(std::string_view bytes) {
  const size_t used = static_cast<size_t>(std::min<uint64_t>({bytes.size(), chunk_bytes_left_, kSliceBytes}));
  if (used == 0) return 0;
  chunk_bytes_left_ -= used;
  if (chunk_reply_ == nullptr) {
    std::string& decoded = DecodedBytes();
    chunks_.Feed(bytes.substr(0, used), &decoded);
    Take(decoded, chunks_.lines());
  }
  if (chunk_bytes_left_ == 0) EndOfChunk();
  return used;
}

void Session::EndOfChunk() {
  state_ = State::kCommand;
  if (chunk_reply_ != nullptr) return Refuse(std::exchange(chunk_reply_, nullptr));
  if (!chunk_last_) {
    if (refusal_ == Refusal::kNone) return Reply("250 2.0.0 Ok");
    // RFC 3030, 2: only the last chunk is answered for each recipient of LMTP.
    const std::string_view reply = RefusalReply();
    Log("rejected", reply);
    ResetTransaction();
    return Refuse(reply);
  }
  std::string& decoded = DecodedBytes();
  chunks_.Finish(&decoded);
  Take(decoded, chunks_.lines());
  EndOfMessage();
}

void Session::Take(std::string_view lf_bytes, const LineCount& lines) {
  if (lf_bytes.empty()) return;
  lf_bytes_ += lf_bytes.size();
  crlf_bytes_ = lf_bytes_ + lines.ended();
  header_.Feed(lf_bytes);
  if (crlf_bytes_ > options_->message_bytes_max) RefuseMessage(Refusal::kTooBig);
  if (lines.longest_bytes() > options_->line_bytes_max) RefuseMessage(Refusal::kLongLine);
  if (header_.received_count() > options_->received_max) RefuseMessage(Refusal::kHops);
  if (delivery_ != nullptr) delivery_->Write(lf_bytes);
}

void Session::RefuseMessage(Refusal reason) {
  refusal_ = std::max(refusal_, reason);
  delivery_.reset();
  UpdatePause(kPauseStore, false);
}

std::string_view Session::RefusalReply() const {
  switch (refusal_) {
    case Refusal::kNone:
      break;
    case Refusal::kHops:
      return "554 5.4.6 Too many hops: the message goes in circles";
    case Refusal::kLongLine:
      return "550 5.6.0 The message has too long a line";
    case Refusal::kTooBig:
      return "552 5.3.4 Message too big";
    case Refusal::kBareLineEnd:
      return "550 5.6.11 The message has a bare CR or LF: its lines must end with CRLF";
  }
  return "451 4.3.0 Not stored, try again";
}

std::string Session::MessageLabel() const { return absl::StrCat(connection_.session_id(), ".", messages_); }

// RFC 3848; RFC 6531, 4.3
std::string_view Session::ProtocolName() const {
  const bool tls = connection_.tls();
  if (lmtp()) return smtputf8_ ? (tls ? "UTF8LMTPS" : "UTF8LMTP") : (tls ? "LMTPS" : "LMTP");
  if (smtputf8_) return tls ? "UTF8SMTPS" : "UTF8SMTP";
  if (tls) return "ESMTPS";
  return extended_ ? "ESMTP" : "SMTP";
}

std::string Session::TraceFor(const Target& target) const {
  const std::string label = MessageLabel();
  const std::string tls = connection_.tls() ? connection_.tls_description() : std::string();
  return TraceHeaders({.sender = sender_,
                       .delivered_to = target.target.name,
                       .recipient = target.address,
                       .helo = helo_,
                       .peer_address = connection_.peer_address(),
                       .host_name = service_.host_name(),
                       .protocol = ProtocolName(),
                       .tls = tls,
                       .id = label,
                       .now_s = service_.NowSeconds()});
}

void Session::EndOfMessage() {
  if (refusal_ != Refusal::kNone) {
    state_ = State::kCommand;
    const std::string_view reply = RefusalReply();
    Log("rejected", reply);
    const size_t replies = lmtp() ? rcpts_.size() : 1;
    ResetTransaction();
    for (size_t i = 1; i < replies; ++i) Reply(reply);
    return Refuse(reply);
  }
  state_ = State::kFinishing;
  std::vector<engine::Delivery::Recipient> recipients;
  recipients.reserve(targets_.size());
  // Only now: an envelope that is never followed by a message takes nothing from anybody.
  for (const Target& target : targets_) limits_.CountMessage(target.target.account, service_.NowSeconds());
  for (const Target& target : targets_) recipients.push_back({target.address, target.target, TraceFor(target)});
  delivery_->Finish(std::move(recipients), [this, alive = std::weak_ptr<char>(alive_)](const absl::Status& status) {
    if (!alive.expired() && state_ == State::kFinishing) Stored(status);
  });
}

void Session::Stored(const absl::Status& status) {
  state_ = State::kCommand;
  ReplyToMessage(status);
  ResetTransaction();
  // Not at the next MAIL: an MTA that keeps connections would put that message off.
  if (EnoughMessages()) Close("421 4.7.0 " + service_.host_name() + " Enough messages for one connection");
  ConsumePending();
  if (input_ended_ && state_ != State::kFinishing) EndSilently();
  // A command boundary even if nothing was waiting.
  if (state_ == State::kCommand && shutting_down_) Close("421 4.3.2 " + service_.host_name() + " is going down");
  Settle();
}

// One line for each mailbox, so that "what became of my letter" is one grep.
void Session::LogOutcome(const Target& target, const absl::Status& status) const {
  if (status.ok()) {
    journal::Log(journal::LogLevel::kInfo, "delivered",
                 {{"id", MessageLabel()},
                  {"client", connection_.peer_address()},
                  {"from", sender_},
                  {"to", target.target.name},
                  {"as", target.address},
                  {"bytes", crlf_bytes_},
                  {"message_id", header_.message_id()}});
    return;
  }
  journal::Log(journal::LogLevel::kWarning, "not_delivered",
               {{"id", MessageLabel()},
                {"client", connection_.peer_address()},
                {"from", sender_},
                {"to", target.target.name},
                {"as", target.address},
                {"reply", StoreReply(status)},
                {"reason", std::string_view(status.message().data(), status.message().size())}});
}

void Session::ReplyToMessage(const absl::Status& status) {
  for (const Target& target : targets_) LogOutcome(target, status);
  if (status.ok()) errors_ = idle_commands_ = 0;
  const std::string stored = "Stored as " + MessageLabel();
  if (!lmtp()) return Reply(status.ok() ? "250 2.0.0 " + stored : std::string(StoreReply(status)));
  // RFC 2033, 4.2: one for each accepted RCPT, in their order.
  for (const std::string& rcpt : rcpts_) {
    Reply(status.ok() ? absl::StrCat("250 2.0.0 <", rcpt, "> ", stored) : std::string(StoreReply(status)));
  }
}

void Session::ResetTransaction() {
  mail_ = false;
  smtputf8_ = false;
  chunking_ = false;
  sender_.clear();
  rcpts_.clear();
  targets_.clear();
  targets_known_.clear();
  targets_named_ = 0;
  delivery_.reset();
  refusal_ = Refusal::kNone;
  chunk_reply_ = nullptr;
  UpdatePause(kPauseStore, false);
}

}  // namespace gemel::smtp
