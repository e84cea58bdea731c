// SEARCH over one mailbox, in steps (RFC 3501, 6.4.4).
//
// Per message, what is cheap is looked at first: flags, numbers, dates and sizes from memory; then the cached ENVELOPE
// (FROM, TO, CC, BCC, SUBJECT, SENT...); the file only when the answer still hangs on it. Text is compared as
// substrings of what a reader would see (RFC 2047 and transfer encodings decoded, converted to UTF-8), without regard
// to case (Unicode case folding).
//
// Threads: the loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/service.h"
#include "imap/search_key.h"
#include "imap/step_budget.h"

namespace gemel::imap {

// For NO [BADCHARSET (...)]: names that SEARCH takes. Others work too, where iconv knows them.
inline constexpr char kSearchCharsets[] =
    "US-ASCII UTF-8 ISO-8859-1 ISO-8859-15 WINDOWS-1252 KOI8-R ISO-2022-JP GB18030";

// What the session sees of the mailbox; taken when the command starts.
struct SearchView {
  engine::MailboxId mailbox;
  std::vector<engine::Uid> uids;  // by message number: [0] is message 1
  engine::Uid recent_from = 0;    // messages at or above are \Recent
};

class SearchRun {
 public:
  // `session` must outlive the run. Unimplemented: the charset is unknown: NO [BADCHARSET (kSearchCharsets)].
  // InvalidArgument: a text is not lawful in it. OutOfRange: more than kFileKeysMax keys look into files.
  static absl::StatusOr<std::unique_ptr<SearchRun>> Start(engine::AccountSession& session, SearchView view,
                                                          SearchProgram program);
  ~SearchRun();
  SearchRun(const SearchRun&) = delete;
  SearchRun& operator=(const SearchRun&) = delete;

  enum class Progress { kMore, kWaiting, kDone };
  // Goes on, within a letter too, until `budget` is spent; only taking a letter's structure apart, where it is not
  // cached, is one piece, and that reads its file once. kMore: yield to the loop and step again. kWaiting: a file is
  // being restored; `ready`, given with this call, is called on the loop when it is there (never from inside Step, and
  // not after the run is destroyed).
  Progress Step(StepBudget budget, std::function<void()> ready);

  // The message numbers that matched, ascending; complete when Step has said kDone. A message that was expunged
  // meanwhile does not match.
  const std::vector<uint32_t>& matched() const;
  // The first failure to read a file, if any: the answer may then lack messages, say NO [SERVERBUG] or the like.
  const absl::Status& status() const;

 private:
  class Impl;
  explicit SearchRun(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gemel::imap
