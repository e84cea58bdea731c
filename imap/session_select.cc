// Commands about the selected mailbox as a whole: SELECT, EXAMINE, CHECK, CLOSE, UNSELECT, EXPUNGE, IDLE.
#include <algorithm>
#include <limits>
#include <utility>

#include "imap/append_run.h"
#include "imap/cursor.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {

// RFC 3501, 6.3.1 and 6.3.2
void Session::Handle(SelectCommand& command) {
  Deselect();  // also where the new one cannot be selected
  const engine::Mailbox* mailbox = FindMailbox(command.mailbox);
  if (mailbox == nullptr) return;
  const bool read_only = command.examine || IsReadOnly();
  view_ = std::make_unique<MailboxView>(*mailbox, read_only, account_->RecentFrom(mailbox->id, !read_only));
  phase_ = Phase::kSelected;

  const auto unseen = std::find_if(mailbox->messages.begin(), mailbox->messages.end(),
                                   [](const auto& message) { return (message.flags & journal::kSeen) == 0; });
  const auto line = [this](std::string_view before, uint64_t number, std::string_view after) {
    out_.append("* ").append(before);
    AppendNumber(number, &out_);
    out_.append(after).append("\r\n");
  };
  keywords_told_ = std::numeric_limits<size_t>::max();  // nothing yet, not even the system flags
  TellFlagNames(*mailbox);
  line("", view_->exists(), " EXISTS");
  line("", view_->recent(), " RECENT");
  if (unseen != mailbox->messages.end()) {
    line("OK [UNSEEN ", static_cast<uint64_t>(unseen - mailbox->messages.begin()) + 1, "] First unseen.");
  }
  line("OK [UIDVALIDITY ", mailbox->uid_validity, "] UIDs valid");
  line("OK [UIDNEXT ", mailbox->uid_next, "] Predicted next UID");
  Ok(read_only ? (command.examine ? "[READ-ONLY] Examine completed." : "[READ-ONLY] Select completed.")
               : "[READ-WRITE] Select completed.");
}

// RFC 3501, 6.4.1: nothing is ever unchecked here.
void Session::Handle(CheckCommand&) { Ok("Check completed."); }

// Those that carry \Deleted, of all that the client knows or of `uids`.
std::vector<engine::Uid> Session::DeletedUids(const SequenceSet* uids) const {
  std::vector<engine::Uid> deleted;
  const engine::Mailbox* mailbox = SelectedMailbox();
  if (mailbox == nullptr) return deleted;
  const SequenceSet wanted =
      (uids == nullptr ? SequenceSet::All() : *uids).Resolved(view_->uids().empty() ? 0 : view_->uids().back());
  for (const engine::Message& message : mailbox->messages) {
    if ((message.flags & journal::kDeleted) != 0 && wanted.Contains(message.uid)) deleted.push_back(message.uid);
  }
  return deleted;
}

// RFC 3501, 6.4.2; RFC 3691, 2. Messages go without EXPUNGEs.
void Session::Handle(CloseCommand& command) {
  const std::string_view what = command.expunge ? "Close completed." : "Unselect completed.";
  engine::ExpungeCommand expunge;
  if (command.expunge && !view_->read_only() && !IsReadOnly()) {
    expunge.mailbox = view_->id();
    expunge.uids = DeletedUids(nullptr);
  }
  Deselect();
  if (expunge.uids.empty()) {
    Ok(what);
    return;
  }
  SubmitAndAnswer(std::move(expunge), "Close");
}

// RFC 3501, 6.4.3; RFC 4315, 2.1
void Session::Handle(ExpungeCommand& command) {
  tell_uids_ = command.uids.has_value();
  if (view_->read_only() && !IsReadOnly()) {
    No("[READ-ONLY] The mailbox was opened with EXAMINE.");
    return;
  }
  if (RefuseWrites()) return;
  engine::ExpungeCommand expunge;
  expunge.mailbox = view_->id();
  expunge.uids = DeletedUids(command.uids ? &*command.uids : nullptr);
  if (expunge.uids.empty()) {
    Ok("Expunge completed.");
    return;
  }
  SubmitAndAnswer(std::move(expunge), "Expunge");
}

// RFC 2177, 3
void Session::Handle(IdleCommand&) {
  TellNews(true, false);
  out_ += "+ idling\r\n";
  waiting_ = Waiting::kIdleDone;
  keepalives_ = 0;
  connection_.SetIdleTimeout(options_.keepalive_ms);
}

void Session::OnIdleLine(std::string_view line) {
  connection_.SetIdleTimeout(options_.idle_timeout_ms);
  telling_ = false;  // what waits for OnDrained may never be called: the next command asks for it, too
  if (EqualsIgnoringCase(line, "DONE")) {
    Ok("Idle completed.");
  } else {
    Bad("Expected DONE.");
  }
}

}  // namespace gemel::imap
