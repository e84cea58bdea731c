// SEARCH and UID SEARCH, in steps.
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {
// RFC 3501, 6.4.4 and 6.4.8
void Session::Handle(SearchCommand& command) {
  tell_expunges_ = command.uid;
  tell_uids_ = command.uid;
  SearchView view;
  view.mailbox = view_->id();
  view.uids = view_->uids();
  view.recent_from = view_->recent_from();
  auto run = SearchRun::Start(*account_, std::move(view), std::move(command.program));
  if (!run.ok()) {
    const std::string text(run.status().message());
    switch (run.status().code()) {
      case absl::StatusCode::kUnimplemented:
        No(std::string("[BADCHARSET (") + kSearchCharsets + ")] " + text);
        return;
      case absl::StatusCode::kInvalidArgument:
        Bad(text);
        return;
      default:
        Failed(run.status());
        return;
    }
  }
  search_ = *std::move(run);
  search_by_uid_ = command.uid;
  SearchStep();
}

void Session::SearchStep() {
  switch (search_->Step(StepBudget(), Guarded([this] { SearchStep(); }))) {
    case SearchRun::Progress::kMore:
      loop_.Post(Guarded([this] { SearchStep(); }));
      return;
    case SearchRun::Progress::kWaiting:
      return;
    case SearchRun::Progress::kDone:
      break;
  }
  const std::unique_ptr<SearchRun> done = std::move(search_);
  out_ += "* SEARCH";
  for (const uint32_t number : done->matched()) {
    out_ += ' ';
    AppendNumber(search_by_uid_ ? view_->UidOf(number) : number, &out_);
  }
  out_ += "\r\n";
  if (!done->status().ok()) {
    Failed(absl::InternalError(done->status().message()));
    return;
  }
  Ok("Search completed.");
}

}  // namespace gemel::imap
