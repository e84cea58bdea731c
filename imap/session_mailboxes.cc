// Commands about mailboxes as wholes: CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE, STATUS.
#include <algorithm>
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {

void Session::SubmitAndAnswer(engine::Command command, std::string_view what) {
  Submit(std::move(command), [this, text = std::string(what) + " completed."](const engine::CommandResult& result) {
    if (result.status.ok()) {
      Ok(text);
    } else {
      Failed(result.status);
    }
  });
}

// RFC 3501, 6.3.3
void Session::Handle(CreateCommand& command) {
  if (RefuseWrites()) return;
  auto name = DecodeName(command.mailbox);
  if (!name) return;
  SubmitAndAnswer(engine::CreateCommand{*std::move(name)}, "Create");
}

// RFC 3501, 6.3.4
void Session::Handle(DeleteCommand& command) {
  if (RefuseWrites()) return;
  auto name = DecodeName(command.mailbox);
  if (!name) return;
  // Our own view of it goes without EXPUNGEs.
  const engine::Mailbox* mailbox = account_->state().FindName(*name);
  const bool selected = mailbox != nullptr && view_ != nullptr && view_->id() == mailbox->id;
  Submit(engine::DeleteCommand{*std::move(name)}, [this, selected](const engine::CommandResult& result) {
    if (!result.status.ok()) {
      Failed(result.status);
      return;
    }
    if (selected) Deselect();
    Ok("Delete completed.");
  });
}

// RFC 3501, 6.3.5
void Session::Handle(RenameCommand& command) {
  if (RefuseWrites()) return;
  auto from = DecodeName(command.from);
  if (!from) return;
  auto to = DecodeName(command.to);
  if (!to) return;
  SubmitAndAnswer(engine::RenameCommand{*std::move(from), *std::move(to)}, "Rename");
}

// RFC 3501, 6.3.6 and 6.3.7
void Session::Handle(SubscribeCommand& command) {
  if (RefuseWrites()) return;
  auto name = DecodeName(command.mailbox);
  if (!name) return;
  SubmitAndAnswer(engine::SubscribeCommand{*std::move(name), command.on}, command.on ? "Subscribe" : "Unsubscribe");
}

// RFC 3501, 6.3.10; RFC 7889, 3.1
void Session::Handle(StatusCommand& command) {
  const engine::Mailbox* mailbox = FindMailbox(command.mailbox);
  if (mailbox == nullptr) return;
  const auto count = [mailbox](auto wanted) {
    return static_cast<uint64_t>(std::count_if(mailbox->messages.begin(), mailbox->messages.end(), wanted));
  };
  std::string text = "* STATUS ";
  AppendMailboxName(mailbox->name, &text);
  text += " (";
  for (const StatusItem item : command.items) {
    if (text.back() != '(') text += ' ';
    switch (item) {
      case StatusItem::kMessages:
        text += "MESSAGES ";
        AppendNumber(mailbox->messages.size(), &text);
        break;
      case StatusItem::kRecent: {
        const engine::Uid recent_from = account_->RecentFrom(mailbox->id, false);
        text += "RECENT ";
        AppendNumber(count([recent_from](const engine::Message& message) { return message.uid >= recent_from; }),
                     &text);
        break;
      }
      case StatusItem::kUidNext:
        text += "UIDNEXT ";
        AppendNumber(mailbox->uid_next, &text);
        break;
      case StatusItem::kUidValidity:
        text += "UIDVALIDITY ";
        AppendNumber(mailbox->uid_validity, &text);
        break;
      case StatusItem::kAppendLimit:
        text += "APPENDLIMIT ";
        AppendNumber(options_.append_bytes_max, &text);
        break;
      case StatusItem::kUnseen:
        text += "UNSEEN ";
        AppendNumber(count([](const engine::Message& message) { return (message.flags & journal::kSeen) == 0; }),
                     &text);
        break;
    }
  }
  out_ += text + ")\r\n";
  Ok("Status completed.");
}

}  // namespace gemel::imap
