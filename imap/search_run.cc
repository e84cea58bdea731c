#include "imap/search_run.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "imap/mime_structure.h"
#include "imap/search_match.h"

namespace gemel::imap {

// Envelopes are fetched for so many messages at once.
constexpr size_t kEnvelopesAtOnce = 256;

class SearchRun::Impl {
 public:
  Impl(engine::AccountSession& session, SearchView view, SearchMatcher matcher)
      : session_(session), view_(std::move(view)), matcher_(std::move(matcher)) {}

  Progress Step(size_t messages, uint64_t file_bytes_max, std::function<void()> ready) {
    const maildir::Mailbox* mailbox = session_.state().Find(view_.mailbox);
    if (mailbox == nullptr) return Progress::kDone;
    uint64_t file_bytes = 0;
    for (; messages > 0 && next_ < view_.uids.size(); --messages) {
      if (file_bytes > file_bytes_max) return Progress::kMore;
      switch (One(*mailbox, &file_bytes, ready)) {
        case Outcome::kYes:
          matched_.push_back(static_cast<uint32_t>(next_ + 1));
          break;
        case Outcome::kNo:
          break;
        case Outcome::kWait:
          return Progress::kWaiting;
      }
      ++next_;
    }
    return next_ < view_.uids.size() ? Progress::kMore : Progress::kDone;
  }

  const std::vector<uint32_t>& matched() const { return matched_; }
  const absl::Status& status() const { return status_; }

 private:
  enum class Outcome { kYes, kNo, kWait };

  Outcome One(const maildir::Mailbox& mailbox, uint64_t* file_bytes, std::function<void()>& ready) {
    const engine::Uid uid = view_.uids[next_];
    const maildir::Message* message = mailbox.Find(uid);
    if (message == nullptr) return Outcome::kNo;
    SearchMessage at;
    at.number = static_cast<uint32_t>(next_ + 1);
    at.message = message;
    at.mailbox = &mailbox;
    at.recent = uid >= view_.recent_from;
    Truth truth = matcher_.Match(at);
    if (truth != Truth::kUnknown) return truth == Truth::kYes ? Outcome::kYes : Outcome::kNo;

    const std::optional<std::string>& cached = Cached(mailbox);
    if (const auto texts = cached ? CachedTexts::Open(*cached) : std::nullopt) {
      at.envelope = texts->envelope();
      truth = matcher_.Match(at);
      if (truth != Truth::kUnknown) return truth == Truth::kYes ? Outcome::kYes : Outcome::kNo;
    }
    const std::shared_ptr<maildir::Body> body = Open(mailbox, *message, ready);
    if (body == nullptr) return waiting_for_ == uid ? Outcome::kWait : Outcome::kNo;
    *file_bytes += std::max<uint64_t>(body->bytes(), 1);
    auto matched = WithFile(at, *body, cached);
    if (!matched.ok()) {
      Failed(matched.status());
      return Outcome::kNo;
    }
    return *matched ? Outcome::kYes : Outcome::kNo;
  }

  absl::StatusOr<bool> WithFile(SearchMessage at, const maildir::Body& body, const std::optional<std::string>& cached) {
    std::optional<Structure> structure = cached ? Structure::FromCache(*cached) : std::nullopt;
    if (!structure || structure->file().end != body.bytes()) {
      auto parsed = Structure::Parse(body);
      if (!parsed.ok()) return parsed.status();
      structure = *std::move(parsed);
      session_.CacheStructure(at.message->guid, structure->ToCache());
    }
    at.envelope = structure->envelope();
    const Truth truth = matcher_.Match(at);
    if (truth != Truth::kUnknown) return truth == Truth::kYes;
    return matcher_.MatchFile(at, body, *structure);
  }

  // What is cached for message next_; fetched for those behind it at the same time, as long as memory does not say
  // that nobody will ask for theirs.
  const std::optional<std::string>& Cached(const maildir::Mailbox& mailbox) {
    static const std::optional<std::string> kNone;
    if (next_ < cached_from_ || next_ >= cached_from_ + cached_.size()) {
      std::vector<journal::Guid> guids;
      const size_t end = std::min(view_.uids.size(), next_ + kEnvelopesAtOnce);
      for (size_t i = next_; i < end; ++i) {
        const maildir::Message* message = mailbox.Find(view_.uids[i]);
        guids.push_back(message != nullptr ? message->guid : journal::Guid());
      }
      cached_ = session_.CachedStructures(guids);
      cached_from_ = next_;
      if (cached_.empty()) return kNone;
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

  size_t cached_from_ = 0;
  std::vector<std::optional<std::string>> cached_;

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

SearchRun::Progress SearchRun::Step(size_t messages, uint64_t file_bytes_max, std::function<void()> ready) {
  return impl_->Step(messages, file_bytes_max, std::move(ready));
}
const std::vector<uint32_t>& SearchRun::matched() const { return impl_->matched(); }
const absl::Status& SearchRun::status() const { return impl_->status(); }

}  // namespace gemel::imap
