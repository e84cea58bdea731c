// One LMTP or SMTP conversation in which mail comes in (RFC 5321, RFC 2033). Fed with bytes, gives bytes; tested
// without sockets. Where to start reading: smtp/README.md.
//
// Never a relay: a recipient is taken if Service::LookUpRecipient knows an account for it, and in no other way.
//
// Threads: the loop. Lifetime: `service`, `connection` and `limits` must outlive the session. It may be destroyed at
// any time: callbacks that are still under way then do nothing.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "engine/connection.h"
#include "engine/header_scan.h"
#include "engine/service.h"
#include "smtp/decoder.h"
#include "smtp/limits.h"

namespace gemel::smtp {

enum class Kind : uint8_t {
  kLmtp,  // greets with LHLO, answers each recipient for itself after the message
  kSmtp,  // from anybody, for our own domains
};

struct SessionOptions {
  Kind kind = Kind::kLmtp;
  uint64_t message_bytes_max = 150ull << 20;  // with CRLF line ends (RFC 1870, 3)
  uint64_t line_bytes_max = 1ull << 20;       // of the text; RFC 5321's 1000 is broken too often to be held to
  uint32_t recipients_max = 1000;             // a transaction; at least 100 (RFC 5321, 4.5.3.1.8)
  uint32_t received_max = 50;                 // Received lines that a message may have already (RFC 5321, 6.3)
  uint64_t idle_ms = 300'000;                 // RFC 5321, 4.5.3.2.7: at least five minutes
  // Per connection; 0: no limit. Clients on this host are not held to them.
  uint32_t errors_max = 20;          // refused commands since the last message that was stored; then 421
  uint32_t idle_commands_max = 100;  // commands that bring no message nearer (NOOP, RSET, MAIL ...), likewise
  uint32_t messages_max = 10'000;
};

class Session final : public engine::ProtocolSession {
 public:
  Session(engine::Service& service, engine::Connection& connection, SmtpLimits& limits,
          std::shared_ptr<const SessionOptions> options);

  void OnConnected() override;
  void OnBytes(std::string_view bytes) override;
  void OnTls() override;
  void OnTimeout() override;
  void OnClosed() override;
  bool OnInputEnd() override;
  void OnShutdown() override;

  // Commands that arrive while a message is being stored wait here; past this much the client waits too.
  static constexpr size_t kPendingBytesMax = 64 * 1024;
  static constexpr size_t kUnsentBytesMax = 256 * 1024;
  // Mailboxes that a transaction's recipients may lead to, by way of aliases.
  static constexpr size_t kTargetsMax = 20'000;
  // RFC 5321, 4.5.3.1.4 asks for 512; SIZE, BODY, SMTPUTF8 and long addresses need more.
  static constexpr size_t kCommandBytesMax = 4096;
  // A stranger that sends a byte now and then is never silent. So a command line has this long to arrive, and a message
  // has to come at this many bytes in each such time (about 55 a second).
  static constexpr uint64_t kSlowMs = 300'000;
  static constexpr uint64_t kMessageBytesMin = 16 * 1024;

 private:
  enum class State : uint8_t {
    kCommand,
    kSkipLine,  // a command line that was too long, up to its end
    kData,
    kChunk,      // in the bytes of a BDAT
    kFinishing,  // the message is being stored; what arrives waits
    kTls,        // the handshake is under way
    kClosed,
  };
  enum PauseReason : uint8_t { kPausePending = 1, kPauseStore = 2, kPauseUnsent = 4 };
  // What is wrong with the message that is arriving. Where several things are, the last of these is told, however
  // the message was cut into reads.
  enum class Refusal : uint8_t { kNone, kHops, kLongLine, kTooBig, kBareLineEnd };
  struct Target {
    std::string address;  // the envelope's that led here first
    engine::DeliveryTarget target;
  };
  struct CommandSpec {
    std::string_view verb;
    void (Session::*handle)(std::string_view arguments);
    bool brings_mail;  // not counted against idle_commands_max
  };
  static const CommandSpec kCommands[];

  bool lmtp() const { return options_->kind == Kind::kLmtp; }
  bool limited() const { return !connection_.loopback(); }

  // ---- session.cc: bytes in, replies out, beginning and end ----
  bool TooSlow(size_t arrived_bytes);
  void ConsumePending();
  size_t Consume(std::string_view bytes);  // how many were used
  size_t ConsumeCommand(std::string_view bytes);
  void Command(std::string_view line);
  bool CountIdleCommand();             // false: it was one too many, and that was said
  void Reply(std::string_view line);   // without CRLF; gathered until Settle
  void Refuse(std::string_view line);  // a reply that counts as the client's error
  void RefuseLine(std::string_view command, std::string_view reply);
  void Close(std::string_view line);  // the last reply
  void EndSilently();                 // nobody says anything any more
  // Ends every entry from outside: sends what was gathered, in one piece, then pauses, encrypts or closes. Nothing of
  // the session may be touched after it.
  void Settle();
  void UpdatePause(uint8_t reason, bool on);
  void Log(std::string_view event, std::string_view detail) const;

  // ---- session_commands.cc ----
  void Hello(std::string_view arguments, bool extended);
  void OnHelo(std::string_view arguments);
  void OnEhlo(std::string_view arguments);
  void OnLhlo(std::string_view arguments);
  void OnMail(std::string_view arguments);
  bool MailParameters(std::string_view rest);
  void OnRcpt(std::string_view arguments);
  void PutOff(std::string_view reply);
  void AddRecipient(std::string address, std::vector<engine::DeliveryTarget> targets);
  void OnRset(std::string_view arguments);
  void OnNoop(std::string_view arguments);
  void OnVrfy(std::string_view arguments);
  void OnExpn(std::string_view arguments);
  void OnHelp(std::string_view arguments);
  void OnQuit(std::string_view arguments);
  void OnStartTls(std::string_view arguments);

  // ---- session_message.cc ----
  void OnData(std::string_view arguments);
  void OnBdat(std::string_view arguments);
  const char* NotReady() const;  // why no message may begin now; nullptr: it may
  bool EnoughMessages() const;
  void BeginMessage();
  size_t ConsumeData(std::string_view bytes);
  size_t ConsumeChunk(std::string_view bytes);
  void EndOfChunk();
  void Take(std::string_view lf_bytes, const LineCount& lines);  // a part of the message
  void RefuseMessage(Refusal reason);                            // the rest is swallowed
  std::string_view RefusalReply() const;
  void EndOfMessage();
  void Stored(const absl::Status& status);
  void ReplyToMessage(const absl::Status& status);
  void LogOutcome(const Target& target, const absl::Status& status) const;
  void ResetTransaction();
  std::string TraceFor(const Target& target) const;
  std::string_view ProtocolName() const;
  std::string MessageLabel() const;  // for Received, replies and the log

  engine::Service& service_;
  engine::Connection& connection_;
  SmtpLimits& limits_;
  const std::shared_ptr<const SessionOptions> options_;

  State state_ = State::kCommand;
  bool consuming_ = false;    // OnBytes from inside a call of ours only adds to pending_
  bool close_after_ = false;  // Settle closes
  bool start_tls_ = false;    // Settle encrypts
  bool shutting_down_ = false;
  bool input_ended_ = false;  // the client sends no more, and may still listen
  uint8_t pause_ = 0;         // PauseReasons
  std::string pending_;       // received and not used
  std::string replies_;
  uint64_t line_since_ms_ = 0;     // the start of the command line that has not ended; 0: there is none
  uint64_t message_since_ms_ = 0;  // what arrived of a message since then: at least kMessageBytesMin in kSlowMs
  uint64_t message_bytes_ = 0;

  bool hello_ = false;
  bool extended_ = false;  // EHLO or LHLO
  std::string helo_;
  uint32_t errors_ = 0;
  uint32_t idle_commands_ = 0;
  uint32_t messages_ = 0;  // begun, for labels and messages_max

  // The transaction, from MAIL to its end.
  bool mail_ = false;
  bool smtputf8_ = false;
  bool chunking_ = false;  // a BDAT came: no DATA, no RCPT any more
  std::string sender_;
  std::vector<std::string> rcpts_;  // as given
  std::vector<Target> targets_;     // where they lead, each account and folder once
  absl::flat_hash_set<std::pair<engine::AccountId, std::string>> targets_known_;
  size_t targets_named_ = 0;  // by all rcpts_ together
  std::unique_ptr<engine::Delivery> delivery_;
  Refusal refusal_ = Refusal::kNone;
  const char* chunk_reply_ = nullptr;  // to the BDAT in progress if it belongs to no transaction
  bool chunk_last_ = false;
  uint64_t chunk_bytes_left_ = 0;
  uint64_t lf_bytes_ = 0;         // of the message so far, as it is stored ...
  uint64_t crlf_bytes_ = 0;       // ... with CRLF line ends ...
  uint64_t announced_bytes_ = 0;  // ... and what its BDATs announced, which may decode to less
  DataDecoder data_;
  ChunkDecoder chunks_;
  engine::HeaderScan header_;

  // Callbacks hold it weakly, so that they find out that the session is gone.
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace gemel::smtp
