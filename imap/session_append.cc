// APPEND: its message passes through in pieces and is never whole in memory here.
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {

void Session::Handle(AppendCommand&) { Bad("APPEND without a message."); }

// RFC 3501, 6.3.11; RFC 2088; RFC 7889. All that can be refused is refused before the message is sent.
void Session::BeginAppend(AppendCommand command, const LiteralMark& literal) {
  const engine::Mailbox* mailbox = nullptr;
  if (literal.bytes > options_.append_bytes_max) {
    No("[TOOBIG] The message is larger than this server takes.");
  } else if (literal.bytes == 0) {
    No("[CANNOT] A message of no bytes cannot be stored.");
  } else if (!RefuseWrites()) {
    mailbox = FindMailbox(command.mailbox, "TRYCREATE");
  }
  if (mailbox != nullptr && !mailbox->HasRoomFor(command.keywords)) {
    No("[LIMIT] The mailbox has as many keywords as it may have.");
    mailbox = nullptr;
  }
  if (mailbox == nullptr) {
    reader_.RefuseLiteral();
    return;
  }
  engine::AccountSession::AppendOptions options;
  options.mailbox = mailbox->id;
  options.flags = command.flags;
  options.keywords = std::move(command.keywords);
  options.internal_date_s = command.internal_date_s;
  append_ = std::make_unique<AppendRun>(account_->BeginAppend(std::move(options)));
  reader_.AcceptLiteral();
  if (literal.synchronizing) out_ += "+ OK\r\n";
}

void Session::AppendBytes(std::string_view bytes) {
  append_->Write(bytes);
  if (append_->append().writable()) return;
  append_->set_blocked(true);
  append_->append().OnWritable(Guarded([this] {
    if (append_ != nullptr) append_->set_blocked(false);
  }));
}

void Session::EndAppend(const std::string& error) {
  if (!error.empty()) {
    append_.reset();  // nothing is stored
    Bad(error);
    return;
  }
  append_->Finish(Guarded([this](const engine::CommandResult& result) {
    // This runs inside a call of what is let go.
    loop_.Post([done = std::shared_ptr<AppendRun>(std::move(append_))] {});
    if (!result.status.ok()) {
      Failed(result.status, "TRYCREATE");
      return;
    }
    std::string text;
    if (!result.copied.empty()) {
      text += "[APPENDUID ";
      AppendNumber(result.uid_validity, &text);
      text += ' ';
      AppendNumber(result.copied.front().second, &text);
      text += "] ";
    }
    Ok(text + "Append completed.");
  }));
}

}  // namespace gemel::imap
