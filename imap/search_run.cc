#include "imap/search_run.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "imap/mime_structure.h"
#include "imap/search_match.h"

namespace gemel::imap {

// Envelopes are fetched for so many messages at once.
constexpr size_t kEnvelopesAtOnce = 64;

class SearchRun::Impl {
 public:
  Impl(engine::AccountSession& session, SearchView view, SearchMatcher matcher)
      : session_(session), view_(std::move(view)), matcher_(std::move(matcher)) {}

  Progress Step(StepBudget budget, std::function<void()> ready) {
    const maildir::Mailbox* mailbox = session_.state().Find(view_.mailbox);
    if (mailbox == nullptr) return Progress::kDone;
    while (next_ < view_.uids.size()) {
      if (budget.spent()) return Progress::kMore;
      switch (Advance(*mailbox, budget, ready)) {
        case Outcome::kYes:
          matched_.push_back(static_cast<uint32_t>(next_ + 1));
          EndMessage();
          break;
        case Outcome::kNo:
          EndMessage();
          break;
        case Outcome::kMore:
          break;
        case Outcome::kWait:
          return Progress::kWaiting;
      }
    }
    return Progress::kDone;
  }

  const std::vector<uint32_t>& matched() const { return matched_; }
  const absl::Status& status() const { return status_; }

 private:
  enum class Outcome { kYes, kNo, kMore, kWait };
  enum class Stage { kMemory, kCache, kEnvelope, kOpen, kFile };  // of message next_

  // A piece of the work on message next_. Its flags may change between two of them; what is found in its texts stays.
  Outcome Advance(const maildir::Mailbox& mailbox, StepBudget& budget, std::function<void()>& ready) {
    const engine::Uid uid = view_.uids[next_];
    const maildir::Message* message = mailbox.Find(uid);
    if (message == nullptr) return Outcome::kNo;
    const SearchMessage at{static_cast<uint32_t>(next_ + 1), message, &mailbox, uid >= view_.recent_from};
    switch (stage_) {
      case Stage::kMemory:
        found_ = matcher_.NothingFound();
        return Decided(at, Stage::kCache, budget);
      case Stage::kCache:
        if (const auto texts = CachedTexts::Open(Cached(mailbox, budget))) {
          BeginEnvelope(texts->envelope());
        } else {
          stage_ = Stage::kOpen;
        }
        return Outcome::kMore;
      case Stage::kEnvelope:
        if (!envelope_->Step(budget, &found_)) return Outcome::kMore;
        return Decided(at, structure_ ? Stage::kFile : Stage::kOpen, budget);
      case Stage::kOpen:
        body_ = Open(mailbox, *message, ready);
        if (body_ == nullptr) return waiting_for_ == uid ? Outcome::kWait : Outcome::kNo;
        return FindStructure(*message, budget);
      case Stage::kFile:
        if (file_ == nullptr) file_ = std::make_unique<FileScan>(matcher_.text_keys(), body_, *structure_);
        const auto end = file_->Step(budget, &found_);
        if (end.ok()) return Decided(at, Stage::kFile, budget);
        Failed(end.status());
        return Outcome::kNo;
    }
    return Outcome::kNo;
  }

  // Whether what is known is enough; else `next` finds out more.
  Outcome Decided(const SearchMessage& at, Stage next, StepBudget& budget) {
    budget.Spend(matcher_.CostOfMatch(at));
    const Truth truth = matcher_.Match(at, found_);
    if (truth != Truth::kUnknown) return truth == Truth::kYes ? Outcome::kYes : Outcome::kNo;
    stage_ = next;
    return Outcome::kMore;
  }

  void BeginEnvelope(std::string_view rendered) {
    found_ = matcher_.NothingFound();
    envelope_.emplace(matcher_.text_keys(), rendered);
    stage_ = Stage::kEnvelope;
  }

  // Parsed anew, it is of another file or there was none: then the envelope is looked at again.
  Outcome FindStructure(const maildir::Message& message, StepBudget& budget) {
    budget.Spend(StepBudget::kOpen);
    structure_ = Structure::FromCache(cached_[next_ - cached_from_]);
    if (structure_ && structure_->file().end == body_->bytes()) {
      stage_ = Stage::kFile;
      return Outcome::kMore;
    }
    budget.Spend(std::max(body_->bytes(), StepBudget::kParse));
    auto parsed = Structure::Parse(*body_);
    if (!parsed.ok()) {
      Failed(parsed.status());
      return Outcome::kNo;
    }
    structure_ = *std::move(parsed);
    session_.CacheStructure(message.guid, structure_->ToCache());
    BeginEnvelope(structure_->envelope());
    return Outcome::kMore;
  }

  void EndMessage() {
    file_.reset();
    envelope_.reset();
    structure_.reset();
    body_.reset();
    stage_ = Stage::kMemory;
    ++next_;
  }

  // What is cached for message next_, "" for nothing; fetched for those behind it at the same time.
  const std::string& Cached(const maildir::Mailbox& mailbox, StepBudget& budget) {
    if (next_ < cached_from_ || next_ >= cached_from_ + cached_.size()) {
      std::vector<journal::Guid> guids;
      const size_t end = std::min(view_.uids.size(), next_ + kEnvelopesAtOnce);
      for (size_t i = next_; i < end; ++i) {
        const maildir::Message* message = mailbox.Find(view_.uids[i]);
        guids.push_back(message != nullptr ? message->guid : journal::Guid());
      }
      cached_.assign(guids.size(), "");
      cached_from_ = next_;
      std::vector<std::optional<std::string>> cached = session_.CachedStructures(guids);
      for (size_t i = 0; i < std::min(cached.size(), guids.size()); ++i) {
        cached_[i] = std::move(cached[i]).value_or("");
        budget.Spend(cached_[i].size());
      }
    }
    return cached_[next_ - cached_from_];
  }

  // Null: it must be waited for (waiting_for_ says so), or cannot be had.
  std::shared_ptr<maildir::Body> Open(const maildir::Mailbox& mailbox, const maildir::Message& message,
                                      std::function<void()>& ready) {
    if (waiting_for_ == message.uid) {
      if (!arrived_->has_value()) return nullptr;
      absl::StatusOr<std::shared_ptr<maildir::Body>> body = *std::exchange(*arrived_, std::nullopt);
      waiting_for_ = 0;
      if (body.ok()) return *body;
      if (!absl::IsNotFound(body.status())) Failed(body.status());  // NotFound: expunged meanwhile
      return nullptr;
    }
    if (auto body = session_.TryOpenBody(mailbox.id, message)) return body;
    waiting_for_ = message.uid;
    arrived_ = std::make_shared<std::optional<absl::StatusOr<std::shared_ptr<maildir::Body>>>>();
    std::weak_ptr<std::optional<absl::StatusOr<std::shared_ptr<maildir::Body>>>> arrived = arrived_;
    session_.OpenBody(mailbox.id, message,
                      [arrived, tell = std::move(ready)](absl::StatusOr<std::shared_ptr<maildir::Body>> body) {
                        const auto alive = arrived.lock();
                        if (alive == nullptr) return;  // the run is gone
                        *alive = std::move(body);
                        if (tell) tell();
                      });
    return nullptr;
  }

  void Failed(const absl::Status& status) {
    if (status_.ok()) status_ = status;
  }

  engine::AccountSession& session_;
  const SearchView view_;
  const SearchMatcher matcher_;
  size_t next_ = 0;
  std::vector<uint32_t> matched_;
  absl::Status status_;

  // Message next_, which a step may leave half done.
  Stage stage_ = Stage::kMemory;
  std::vector<Truth> found_;  // of matcher_.text_keys()
  std::optional<EnvelopeScan> envelope_;
  std::shared_ptr<maildir::Body> body_;
  std::optional<Structure> structure_;
  std::unique_ptr<FileScan> file_;

  size_t cached_from_ = 0;
  std::vector<std::string> cached_;

  engine::Uid waiting_for_ = 0;
  std::shared_ptr<std::optional<absl::StatusOr<std::shared_ptr<maildir::Body>>>> arrived_;
};

SearchRun::SearchRun(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SearchRun::~SearchRun() = default;

absl::StatusOr<std::unique_ptr<SearchRun>> SearchRun::Start(engine::AccountSession& session, SearchView view,
                                                            SearchProgram program) {
  auto matcher = SearchMatcher::Compile(program, static_cast<uint32_t>(view.uids.size()),
                                        view.uids.empty() ? 0 : view.uids.back());
  if (!matcher.ok()) return matcher.status();
  return std::unique_ptr<SearchRun>(
      new SearchRun(std::make_unique<Impl>(session, std::move(view), *std::move(matcher))));
}

SearchRun::Progress SearchRun::Step(StepBudget budget, std::function<void()> ready) {
  return impl_->Step(budget, std::move(ready));
}
const std::vector<uint32_t>& SearchRun::matched() const { return impl_->matched(); }
const absl::Status& SearchRun::status() const { return impl_->status(); }

}  // namespace gemel::imap
