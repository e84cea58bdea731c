#include "imap/fetch_run.h"

#include <algorithm>
#include <utility>

#include "imap/response.h"

namespace gemel::imap {
namespace {

using Kind = FetchItem::Kind;
using Text = SectionSpec::Text;

constexpr size_t kStepBytesMax = 128 * 1024;  // answered in one step, whatever that costs
constexpr size_t kPieceBytes = 32 * 1024;
constexpr size_t kWindowMessages = 64;  // structures asked for, and messages marked \Seen, at once

bool IsSection(Kind kind) {
  return kind == Kind::kSection || kind == Kind::kRfc822 || kind == Kind::kRfc822Header || kind == Kind::kRfc822Text;
}

// As the client wrote it, but for the partial, of which only the offset is repeated.
void PutSectionName(const FetchItem& item, std::string* out) {
  if (item.kind != Kind::kSection) {
    *out += item.kind == Kind::kRfc822 ? "RFC822" : item.kind == Kind::kRfc822Header ? "RFC822.HEADER" : "RFC822.TEXT";
    return;
  }
  *out += "BODY[";
  const SectionSpec& section = item.section;
  for (const uint32_t number : section.part) {
    if (out->back() != '[') *out += '.';
    AppendNumber(number, out);
  }
  if (!section.part.empty() && section.text != Text::kAll) *out += '.';
  switch (section.text) {
    case Text::kAll:
      break;
    case Text::kHeader:
      *out += "HEADER";
      break;
    case Text::kText:
      *out += "TEXT";
      break;
    case Text::kMime:
      *out += "MIME";
      break;
    case Text::kHeaderFields:
    case Text::kHeaderFieldsNot: {
      *out += section.text == Text::kHeaderFields ? "HEADER.FIELDS (" : "HEADER.FIELDS.NOT (";
      for (const std::string& field : section.fields) {
        if (&field != section.fields.data()) *out += ' ';
        AppendAstring(field, out);
      }
      *out += ')';
      break;
    }
  }
  *out += ']';
  if (item.partial) {
    *out += '<';
    AppendNumber(item.partial->offset, out);
    *out += '>';
  }
}

}  // namespace

bool SetsSeen(const std::vector<FetchItem>& items) {
  return std::any_of(items.begin(), items.end(),
                     [](const FetchItem& item) { return IsSection(item.kind) && !item.peek; });
}

FetchRun::FetchRun(engine::AccountSession& account, MailboxView& view, FetchPlan plan)
    : account_(account), view_(view), plan_(std::move(plan)) {
  const auto wants = [this](Kind kind) {
    return std::any_of(plan_.items.begin(), plan_.items.end(),
                       [kind](const FetchItem& item) { return item.kind == kind; });
  };
  needs_texts_ = wants(Kind::kEnvelope) || wants(Kind::kBody) || wants(Kind::kBodyStructure);
  for (const FetchItem& item : plan_.items) {
    if (!IsSection(item.kind)) continue;
    needs_body_ = true;
    needs_structure_ = needs_structure_ || NeedsStructure(item.section, item.partial);
  }
  FetchItem item;
  if (plan_.uid && !wants(Kind::kUid)) {
    item.kind = Kind::kUid;
    plan_.items.insert(plan_.items.begin(), item);
  }
}

FetchRun::Progress FetchRun::Step(std::string* out, std::function<void()> ready) {
  const size_t start = out->size();
  budget_ = StepBudget();
  mailbox_ = account_.state().Find(view_.id());
  while (true) {
    if (reader_ != nullptr) {
      if (!PutPiece(out)) return Progress::kBroken;
    } else if (in_message_) {
      if (next_item_ == plan_.items.size()) {
        EndMessage(out);
      } else if (!PutItem(plan_.items[next_item_++], out)) {
        return Progress::kBroken;
      }
    } else if (next_ == plan_.numbers.size()) {
      return Progress::kDone;
    } else {
      switch (BeginMessage(out, ready)) {
        case Begin::kBegun:
          break;
        case Begin::kSkip:
          body_.reset();
          ++next_;
          break;
        case Begin::kWait:
          return Progress::kWaiting;
      }
    }
    if (out->size() - start >= kStepBytesMax || budget_.spent()) return Progress::kMore;
  }
}

// All that can be missing or fail is looked at before the first word of the answer.
FetchRun::Begin FetchRun::BeginMessage(std::string* out, const std::function<void()>& ready) {
  budget_.Spend(StepBudget::kMessage);
  const uint32_t number = plan_.numbers[next_];
  const engine::Message* message = mailbox_ == nullptr ? nullptr : mailbox_->Find(view_.UidOf(number));
  if (message == nullptr) {
    some_gone_ = true;
    return Begin::kSkip;
  }
  message_ = *message;
  if (needs_texts_ || needs_structure_) LoadCache();
  structure_.reset();
  if (needs_structure_) structure_ = Structure::FromCache(cached_);
  const bool parse = (needs_structure_ && !structure_) || (needs_texts_ && !CachedTexts::Open(cached_));
  if ((needs_body_ || parse) && body_ == nullptr) {
    body_ = account_.TryOpenBody(view_.id(), message_);
    if (body_ == nullptr) {
      account_.OpenBody(
          view_.id(), message_,
          [this, ready, alive = std::weak_ptr<char>(alive_)](absl::StatusOr<std::shared_ptr<maildir::Body>> opened) {
            if (alive.expired()) return;
            if (opened.ok()) {
              body_ = *std::move(opened);
            } else {
              Skip(opened.status());
              ++next_;
            }
            ready();
          });
      return Begin::kWait;
    }
  }
  if (parse) {
    const absl::Status parsed = ParseStructure();
    if (!parsed.ok()) {
      Skip(parsed);
      return Begin::kSkip;
    }
  }
  if (plan_.mark_seen && (message_.flags & journal::kSeen) == 0 && !marked_.contains(message_.uid)) {
    MarkSeen(ready);
    return Begin::kWait;
  }
  *out += "* ";
  AppendNumber(number, out);
  *out += " FETCH (";
  in_message_ = true;
  first_word_ = true;
  next_item_ = 0;
  return Begin::kBegun;
}

void FetchRun::Skip(const absl::Status& status) {
  if (status.code() == absl::StatusCode::kNotFound) {
    some_gone_ = true;
  } else if (status_.ok()) {
    status_ = status;
  }
}

// \Seen goes a little ahead of what is sent, so that the answers carry the flag: this message, and those of the next
// ones that can be read without waiting. A disk that is full does not keep mail from being read.
void FetchRun::MarkSeen(const std::function<void()>& ready) {
  engine::StoreFlagsCommand store;
  store.mailbox = view_.id();
  store.flags = journal::kSeen;
  store.uids.push_back(message_.uid);
  const size_t end = std::min(plan_.numbers.size(), next_ + kWindowMessages);
  for (size_t i = next_ + 1; i < end; ++i) {
    const engine::Message* message = mailbox_->Find(view_.UidOf(plan_.numbers[i]));
    if (message == nullptr || (message->flags & journal::kSeen) != 0) continue;
    if (account_.TryOpenBody(view_.id(), *message) != nullptr) store.uids.push_back(message->uid);
  }
  marked_ = told_seen_ = {store.uids.begin(), store.uids.end()};
  account_.Submit(std::move(store),
                  [this, ready, alive = std::weak_ptr<char>(alive_)](const engine::CommandResult& result) {
                    if (alive.expired()) return;
                    if (!result.status.ok()) told_seen_.clear();
                    ready();
                  });
}

// Structures are read a window at a time: one query instead of one a message.
void FetchRun::LoadCache() {
  if (std::exchange(cached_of_, next_) == next_) return;
  if (next_ < window_start_ || next_ >= window_start_ + window_.size()) {
    std::vector<journal::Guid> guids;
    const size_t end = std::min(plan_.numbers.size(), next_ + kWindowMessages);
    for (size_t i = next_; i < end; ++i) {
      const engine::Message* message = mailbox_->Find(view_.UidOf(plan_.numbers[i]));
      guids.push_back(message == nullptr ? journal::Guid{} : message->guid);
    }
    window_ = account_.CachedStructures(guids);
    window_.resize(guids.size());
    window_start_ = next_;
  }
  std::optional<std::string>& cached = window_[next_ - window_start_];
  cached_ = cached ? std::move(*cached) : std::string();
  cached.reset();
  budget_.Spend(cached_.size());
}

absl::Status FetchRun::ParseStructure() {
  budget_.Spend(std::max(body_->bytes(), StepBudget::kParse));
  auto parsed = Structure::Parse(*body_);
  if (!parsed.ok()) return parsed.status();
  structure_ = *std::move(parsed);
  cached_ = structure_->ToCache();
  account_.CacheStructure(message_.guid, cached_);
  return absl::OkStatus();
}

bool FetchRun::PutItem(const FetchItem& item, std::string* out) {
  if (!std::exchange(first_word_, false)) *out += ' ';
  switch (item.kind) {
    case Kind::kUid:
      *out += "UID ";
      AppendNumber(message_.uid, out);
      return true;
    case Kind::kFlags:
      PutFlags(out);
      return true;
    case Kind::kInternalDate:
      *out += "INTERNALDATE \"";
      *out += FormatInternalDate(message_.internal_date_s);
      *out += '"';
      return true;
    case Kind::kRfc822Size:
      *out += "RFC822.SIZE ";
      AppendNumber(message_.crlf_bytes, out);
      return true;
    case Kind::kEnvelope:
      *out += "ENVELOPE ";
      *out += CachedTexts::Open(cached_)->envelope();
      return true;
    case Kind::kBody:
      budget_.Spend(cached_.size());  // of which little may be left
      *out += "BODY ";
      *out += CachedTexts::Open(cached_)->body();
      return true;
    case Kind::kBodyStructure:
      *out += "BODYSTRUCTURE ";
      *out += CachedTexts::Open(cached_)->body_structure();
      return true;
    case Kind::kSection:
    case Kind::kRfc822:
    case Kind::kRfc822Header:
    case Kind::kRfc822Text:
      return PutSection(item, out);
  }
  return true;
}

void FetchRun::PutFlags(std::string* out) {
  if (message_.keywords != keyword_set_) {
    keyword_set_ = message_.keywords;
    keyword_names_.clear();
    if (mailbox_ != nullptr) keyword_names_ = mailbox_->KeywordNames(keyword_set_);
  }
  *out += "FLAGS (";
  AppendFlags(message_.flags, view_.IsRecent(message_.uid), keyword_names_, out);
  *out += ')';
  view_.ForgetChange(message_.uid);
}

bool FetchRun::PutSection(const FetchItem& item, std::string* out) {
  PutSectionName(item, out);
  const auto open = [this, &item] {
    return SectionReader::Open(body_, message_.crlf_bytes, structure_ ? &*structure_ : nullptr, item.section,
                               item.partial);
  };
  auto opened = open();
  // What was cached is of another file: it is parsed anew, once.
  if (opened.status().code() == absl::StatusCode::kDataLoss && ParseStructure().ok()) opened = open();
  if (!opened.ok()) {
    *out += " NIL";
    if (opened.status().code() != absl::StatusCode::kNotFound && status_.ok()) status_ = opened.status();
    return true;
  }
  *out += " {";
  AppendNumber((*opened)->bytes(), out);
  *out += "}\r\n";
  reader_ = *std::move(opened);
  budget_.Spend(reader_->bytes_searched());
  return true;
}

bool FetchRun::PutPiece(std::string* out) {
  if (reader_->bytes_left() == 0) {
    reader_.reset();
    return true;
  }
  const auto piece = reader_->Next(kPieceBytes);
  if (!piece.ok() || piece->empty()) {
    status_ = piece.ok() ? absl::DataLossError("a message is shorter than its size says") : piece.status();
    return false;
  }
  *out += *piece;
  return true;
}

void FetchRun::EndMessage(std::string* out) {
  const bool told = std::any_of(plan_.items.begin(), plan_.items.end(),
                                [](const FetchItem& item) { return item.kind == Kind::kFlags; });
  if (!told && told_seen_.contains(message_.uid)) {
    if (!std::exchange(first_word_, false)) *out += ' ';
    PutFlags(out);
  }
  *out += ")\r\n";
  in_message_ = false;
  body_.reset();
  ++next_;
}

}  // namespace gemel::imap
