// The session's inside, shared by the files that hold its commands: session_login.cc, session_mailboxes.cc,
// session_list.cc, session_select.cc, session_append.cc, session_fetch.cc, session_store.cc, session_search.cc.
//
// Rules that a reader would miss:
// - One command at a time: while busy_, bytes wait in the reader. A handler ends with exactly one of Ok, No, Bad, now
//   or from a callback.
// - Callbacks are wrapped in Guarded: nothing happens after the session's end, and Pump runs behind each.
// - The account's state moves on while a command waits. What the client knows is view_; message numbers mean view_.
// - A pointer into account_->state() lives until the next return to the loop.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/connection.h"
#include "engine/loop.h"
#include "engine/service.h"
#include "imap/command_reader.h"
#include "imap/mailbox_view.h"
#include "imap/session.h"

namespace gemel::imap {

// No further command is begun, nor anything told that waits, while this much of the answers is unsent.
inline constexpr size_t kUnsentBytesMax = 256 * 1024;

class AppendRun;
class FetchRun;
class SearchRun;
struct FetchPlan;

class Session final : public engine::ProtocolSession, public engine::AccountListener {
 public:
  Session(engine::Service& service, engine::Loop& loop, engine::Connection& connection, const SessionOptions& options,
          std::optional<Preauthenticated> preauthenticated);
  ~Session() override;

  void OnConnected() override;
  void OnBytes(std::string_view bytes) override;
  void OnTls() override;
  void OnTimeout() override;
  void OnClosed() override;
  void OnShutdown() override;

  void OnMailboxEvents(const engine::MailboxId& mailbox, const std::vector<engine::MailboxEvent>& events) override;
  void OnMailboxDeleted(const engine::MailboxId& mailbox) override;
  void OnAccountClosed(std::string_view reason) override;
  void OnSettled() override;

 private:
  enum class Phase : uint8_t { kNotAuthenticated, kAuthenticated, kSelected, kClosed };
  enum class Waiting : uint8_t { kNothing, kSaslResponse, kIdleDone };  // for a line that is no command

  // ---- session.cc: input, output, life ----
  template <class F>
  auto Guarded(F f) {
    return [this, alive = std::weak_ptr<char>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (alive.expired() || phase_ == Phase::kClosed) return;
      f(std::forward<decltype(args)>(args)...);
      if (!alive.expired()) Pump();
    };
  }
  void Pump();
  bool PumpOne();  // false: nothing more to do now
  void OnItem(CommandReader::Item item);
  void Dispatch(Command command);
  bool Allowed(const CommandBody& body);
  void FlowControl();
  void Flush();
  void Untagged(std::string_view text);
  void Tagged(std::string_view text);  // ends the command; tells news first
  void Ok(std::string_view text) { Tagged(std::string("OK ").append(text)); }
  void No(std::string_view text) { Tagged(std::string("NO ").append(text)); }
  void Bad(std::string_view text) { Tagged(std::string("BAD ").append(text)); }
  // NO with the response code that belongs to it. `not_found` is the code of NotFound, "NONEXISTENT" or "TRYCREATE".
  void Failed(const absl::Status& status, std::string_view not_found = "NONEXISTENT");
  void Bye(std::string_view text);
  void Close();
  void TellNews(bool expunges, bool with_uid);
  void TellIdle();                                     // soon; once for all that happens until then
  void TellFlagNames(const engine::Mailbox& mailbox);  // where there are more than the client knows
  bool IsReadOnly() const { return account_ == nullptr || account_->read_only(); }
  bool RefuseWrites();  // true: answered NO; the account cannot be changed here and now
  const engine::Mailbox* SelectedMailbox() const;
  void Deselect();
  // Resolves to numbers of the view; false: answered BAD.
  bool Resolve(const SequenceSet& set, bool uid, std::vector<uint32_t>* numbers);
  std::vector<engine::Uid> UidsOf(const std::vector<uint32_t>& numbers) const;
  // A name from the wire, as UTF-8; nullopt: answered.
  static absl::StatusOr<std::string> Utf8Name(const std::string& name);
  std::optional<std::string> DecodeName(const std::string& name);
  // The mailbox that a name from the wire means, nullptr: answered NO with the code for NotFound.
  const engine::Mailbox* FindMailbox(const std::string& name, std::string_view not_found = "NONEXISTENT");
  void Submit(engine::Command command, std::function<void(engine::CommandResult)> done);

  // ---- session_login.cc ----
  std::string Capabilities() const;
  bool LoginAllowed() const;
  void StartLoginTimer();
  void Handle(CapabilityCommand& command);
  void Handle(NoopCommand& command);
  void Handle(LogoutCommand& command);
  void Handle(IdCommand& command);
  void Handle(StartTlsCommand& command);
  void Handle(LoginCommand& command);
  void Handle(AuthenticateCommand& command);
  void Handle(EnableCommand& command);
  void Handle(NamespaceCommand& command);
  void OnSaslResponse(std::string_view base64);
  void LogIn(std::string user, std::string password);
  void OnAuthenticated(const absl::StatusOr<engine::Authenticated>& result);
  void LoginFailed(const absl::Status& status);
  void ProxyToHome();
  void OpenAccount();
  void LoggedIn();

  // ---- session_mailboxes.cc, session_list.cc ----
  void Handle(CreateCommand& command);
  void Handle(DeleteCommand& command);
  void Handle(RenameCommand& command);
  void Handle(SubscribeCommand& command);
  void Handle(StatusCommand& command);
  void Handle(ListCommand& command);
  void SubmitAndAnswer(engine::Command command, std::string_view what);

  // ---- session_select.cc ----
  void Handle(SelectCommand& command);
  void Handle(CheckCommand& command);
  void Handle(CloseCommand& command);
  void Handle(ExpungeCommand& command);
  void Handle(IdleCommand& command);
  void OnIdleLine(std::string_view line);
  std::vector<engine::Uid> DeletedUids(const SequenceSet* uids) const;

  // ---- session_append.cc ----
  void Handle(AppendCommand& command);  // never: APPEND comes as kAppend
  void BeginAppend(AppendCommand command, const LiteralMark& literal);
  void AppendBytes(std::string_view bytes);
  void EndAppend(const std::string& error);

  // ---- session_fetch.cc ----
  void Handle(FetchCommand& command);
  void StartFetch(FetchPlan plan);
  void FetchStep();

  // ---- session_store.cc: STORE, COPY, MOVE; session_search.cc ----
  void Handle(StoreCommand& command);
  void Handle(CopyCommand& command);
  void Handle(SearchCommand& command);
  void SearchStep();

  engine::Service& service_;
  engine::Loop& loop_;
  engine::Connection& connection_;
  const SessionOptions options_;
  std::optional<Preauthenticated> preauthenticated_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();

  Phase phase_ = Phase::kNotAuthenticated;
  Waiting waiting_ = Waiting::kNothing;
  CommandReader reader_;
  std::string out_;
  bool busy_ = false;  // a command runs; also before the greeting
  bool pumping_ = false;
  bool reading_paused_ = false;
  bool draining_ = false;  // much is unsent: no further command until OnDrained
  bool shutting_down_ = false;
  bool telling_ = false;  // TellIdle's step is to come
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
  uint64_t bytes_taken_at_timeout_ = 0;  // by the kernel
  uint64_t keepalives_ = 0;
  int failed_logins_ = 0;
  engine::TimerId login_timer_ = 0;

  // The command that runs.
  std::string tag_;
  bool tell_expunges_ = true;
  bool tell_uids_ = false;

  engine::Authenticated user_;
  std::unique_ptr<engine::AccountSession> account_;
  std::unique_ptr<MailboxView> view_;  // in kSelected
  size_t keywords_told_ = 0;           // of view_'s mailbox; names never go
  std::unique_ptr<FetchRun> fetch_;
  std::unique_ptr<AppendRun> append_;
  std::unique_ptr<SearchRun> search_;
  bool search_by_uid_ = false;
};

}  // namespace gemel::imap
