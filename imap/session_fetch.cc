// FETCH and UID FETCH; also the answers of STORE, which are those of a FETCH of the flags.
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/session_impl.h"
#include "journal/log.h"

namespace gemel::imap {

// RFC 3501, 6.4.5 and 6.4.8
void Session::Handle(FetchCommand& command) {
  tell_expunges_ = command.uid;
  tell_uids_ = command.uid;
  FetchPlan plan;
  if (!Resolve(command.set, command.uid, &plan.numbers)) return;
  plan.items = std::move(command.items);
  plan.uid = command.uid;
  plan.mark_seen = SetsSeen(plan.items) && !view_->read_only() && !IsReadOnly();
  StartFetch(std::move(plan));
}

void Session::StartFetch(FetchPlan plan) {
  if (const engine::Mailbox* mailbox = SelectedMailbox()) TellFlagNames(*mailbox);
  fetch_ = std::make_unique<FetchRun>(*account_, *view_, std::move(plan));
  FetchStep();
}

void Session::FetchStep() {
  switch (fetch_->Step(&out_, Guarded([this] { FetchStep(); }))) {
    case FetchRun::Progress::kMore:
      Flush();
      if (connection_.unsent_bytes() > kUnsentBytesMax) {
        connection_.OnDrained(Guarded([this] { FetchStep(); }));
      } else {
        loop_.Post(Guarded([this] { FetchStep(); }));
      }
      return;
    case FetchRun::Progress::kWaiting:
      return;
    case FetchRun::Progress::kBroken:
      journal::Log(journal::LogLevel::kError, "imap_message_unreadable",
                   {{"user", user_.name},
                    {"session", connection_.session_id()},
                    {"error", std::string(fetch_->status().message())}});
      Bye("");
      return;
    case FetchRun::Progress::kDone:
      break;
  }
  const std::unique_ptr<FetchRun> done = std::move(fetch_);
  if (!done->status().ok()) {
    Failed(absl::InternalError(done->status().message()));
  } else if (done->some_gone() && !tell_expunges_) {
    No("[EXPUNGEISSUED] Some of these messages were expunged meanwhile.");
  } else {
    Ok(done->done_text());
  }
}

}  // namespace gemel::imap
