// One FETCH in steps, so that a giant one neither holds up others nor fills memory (RFC 3501, 6.4.5 and 7.4.2). One
// piece at most is long: taking a letter's structure apart, where it is not cached, reads its file once.
//
// Threads: the loop.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "engine/service.h"
#include "imap/fetch_item.h"
#include "imap/mailbox_view.h"
#include "imap/message_view.h"
#include "imap/step_budget.h"

namespace gemel::imap {

struct FetchPlan {
  std::vector<FetchItem> items;
  bool uid = false;               // the UID belongs into every answer
  bool mark_seen = false;         // where SetsSeen, and the mailbox can be changed
  std::vector<uint32_t> numbers;  // of the view, ascending
  std::string done_text = "Fetch completed.";
};

// Whether any of the items sets \Seen.
bool SetsSeen(const std::vector<FetchItem>& items);

class FetchRun {
 public:
  // Account and view must outlive the run; no EXPUNGE is told meanwhile.
  FetchRun(engine::AccountSession& account, MailboxView& view, FetchPlan plan);

  // kMore: send what is there, let others run, step again. kWaiting: `ready` is called on the loop when it can go on.
  // kBroken: the size that a literal announced cannot be kept; the connection must end.
  enum class Progress : uint8_t { kMore, kWaiting, kDone, kBroken };
  Progress Step(std::string* out, std::function<void()> ready);

  bool InResponse() const { return in_message_; }  // a step may end within one, in a literal or between two items
  bool some_gone() const { return some_gone_; }    // messages that were expunged before they could be told
  const absl::Status& status() const { return status_; }  // the first message that could not be read
  const std::string& done_text() const { return plan_.done_text; }

 private:
  enum class Begin : uint8_t { kBegun, kSkip, kWait };
  Begin BeginMessage(std::string* out, const std::function<void()>& ready);
  void Skip(const absl::Status& status);
  void MarkSeen(const std::function<void()>& ready);
  void LoadCache();
  absl::Status ParseStructure();
  bool PutItem(const FetchItem& item, std::string* out);
  void PutFlags(std::string* out);
  bool PutSection(const FetchItem& item, std::string* out);
  bool PutPiece(std::string* out);
  void EndMessage(std::string* out);

  engine::AccountSession& account_;
  MailboxView& view_;
  FetchPlan plan_;
  bool needs_texts_ = false;
  bool needs_structure_ = false;
  bool needs_body_ = false;

  size_t next_ = 0;  // into plan_.numbers: the message that is told or comes next
  bool in_message_ = false;
  bool first_word_ = true;
  size_t next_item_ = 0;
  engine::Message message_;                   // as it was when its answer began
  const engine::Mailbox* mailbox_ = nullptr;  // for one Step
  std::shared_ptr<maildir::Body> body_;
  std::string cached_;  // structure of message_, where needs_texts_ or needs_structure_
  size_t cached_of_ = std::numeric_limits<size_t>::max();  // the next_ that it belongs to
  std::optional<Structure> structure_;
  std::unique_ptr<SectionReader> reader_;  // in a literal

  std::vector<std::optional<std::string>> window_;  // cached structures of plan_.numbers[window_start_ ...]
  size_t window_start_ = 0;
  maildir::KeywordSet keyword_set_ = 0;  // whose names are in keyword_names_
  std::vector<std::string> keyword_names_;
  StepBudget budget_;  // of this step

  // What was last marked \Seen, or could not be: told_seen_ are those whose flags are told along for it.
  absl::flat_hash_set<engine::Uid> marked_, told_seen_;

  bool some_gone_ = false;
  absl::Status status_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace gemel::imap
