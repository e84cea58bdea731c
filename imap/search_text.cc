#include "imap/search_text.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "imap/internal_date.h"
#include "imap/mime_lines.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;

Truth Of(bool value) { return value ? Truth::kYes : Truth::kNo; }

// memmem, as its time does not grow with the needle, whatever the two are; std::string_view::find's does.
bool Holds(std::string_view text, std::string_view needle) {
  return needle.empty() || memmem(text.data(), text.size(), needle.data(), needle.size()) != nullptr;
}

// As BODYSTRUCTURE shows it: what was not taken apart is text. A delivery status (RFC 3464) reads as text, too.
bool IsText(const ContentFields& content) {
  if (!content.type || content.type->type.empty()) return true;
  const std::string& type = content.type->type;
  return EqualsIgnoringCase(type, "text") || EqualsIgnoringCase(type, "message") ||
         EqualsIgnoringCase(type, "multipart");
}

}  // namespace

bool EnvelopeScan::Step(StepBudget& budget, std::vector<Truth>* found) {
  for (; next_ < keys_.size(); ++next_) {
    if (!keys_[next_].envelope_field) continue;
    if (budget.spent()) return false;
    (*found)[next_] = Look(keys_[next_], budget);
  }
  return true;
}

Truth EnvelopeScan::Look(const TextKey& key, StepBudget& budget) {
  budget.Spend(StepBudget::kKey);
  switch (key.kind) {
    case Kind::kSentBefore:
    case Kind::kSentOn:
    case Kind::kSentSince: {
      const std::optional<DayNumber>& sent = Sent(budget);
      if (!sent) return Truth::kNo;
      return Of(key.kind == Kind::kSentBefore ? *sent < key.day
                : key.kind == Kind::kSentOn   ? *sent == key.day
                                              : *sent >= key.day);
    }
    default: {
      const std::optional<std::string>& value = Field(*key.envelope_field, budget);
      if (!value) return Truth::kNo;
      budget.Spend(value->size());
      return Of(Holds(*value, key.needle));
    }
  }
}

const std::optional<std::string>& EnvelopeScan::Field(EnvelopeField field, StepBudget& budget) {
  auto& kept = fields_[static_cast<size_t>(field)];
  if (!kept) {
    budget.Spend(rendered_.size());
    std::optional<std::string> value = FieldOfEnvelope(rendered_, field);
    if (value) value = FoldCase(DecodeHeader(*value));
    kept.emplace(std::move(value));
  }
  return *kept;
}

const std::optional<DayNumber>& EnvelopeScan::Sent(StepBudget& budget) {
  if (!sent_) {
    budget.Spend(rendered_.size());
    const std::optional<std::string> date = FieldOfEnvelope(rendered_, EnvelopeField::kDate);
    sent_.emplace(date ? DayOfDateHeader(*date) : std::nullopt);
  }
  return *sent_;
}

FileScan::FileScan(const std::vector<TextKey>& keys, std::shared_ptr<const maildir::Body> body,
                   const Structure& structure)
    : keys_(keys), body_(std::move(body)), parts_(structure.parts()), nested_(parts_.size(), false) {
  for (const MimePart& part : parts_) {
    if (part.kind == MimePart::Kind::kMessage) nested_[part.children.front()] = true;
  }
  for (size_t i = 0; i < keys_.size(); ++i) {
    if (keys_[i].envelope_field) continue;
    open_.push_back(i);
    wants_parts_ = wants_parts_ || keys_[i].kind != Kind::kHeader;
    overlap_bytes_ = std::max(overlap_bytes_, keys_[i].needle.size());
  }
}

absl::StatusOr<bool> FileScan::Step(StepBudget& budget, std::vector<Truth>* found) {
  const size_t parts = wants_parts_ ? parts_.size() : 1;
  const size_t open_before = open_.size();
  while (part_ < parts && !budget.spent()) {
    if (const absl::Status status = Piece(budget, found); !status.ok()) return status;
    std::erase_if(open_, [found](size_t i) { return (*found)[i] == Truth::kYes; });
    if (open_.size() != open_before) break;
  }
  if (part_ < parts && !open_.empty()) return false;
  for (const size_t i : open_) (*found)[i] = Truth::kNo;
  return true;
}

// A message/rfc822 part's text is that of what it holds; a multipart's that of its parts.
absl::Status FileScan::Piece(StepBudget& budget, std::vector<Truth>* found) {
  const MimePart& part = parts_[part_];
  if (decoder_ != nullptr) return BodyPiece(budget, found);
  if (!fields_) return BeginHeader(part);
  HeaderField field;
  if (fields_->Next(&field)) {
    LookAtField(field, budget, found);
    return absl::OkStatus();
  }
  fields_.reset();
  budget.Spend(StepBudget::kKey);
  if (part.kind == MimePart::Kind::kLeaf && wants_parts_ && IsText(content_)) {
    BeginBody(part, budget);
  } else {
    ++part_;
  }
  return absl::OkStatus();
}

absl::Status FileScan::BeginHeader(const MimePart& part) {
  header_.clear();
  content_ = {};
  if (const uint64_t bytes = std::min<uint64_t>(part.header.bytes(), kHeaderBytesMax); bytes > 0) {
    auto block = body_->Read(part.header.begin, static_cast<size_t>(bytes));
    if (!block.ok()) return block.status();
    header_ = *std::move(block);
  }
  fields_.emplace(header_);
  return absl::OkStatus();
}

// BODY looks at the header of a nested message, which is part of the body, and not at those of MIME parts.
void FileScan::LookAtField(const HeaderField& field, StepBudget& budget, std::vector<Truth>* found) {
  AddContentField(field, &content_);
  budget.Spend((StepBudget::kKey + field.end - field.begin) * (1 + open_.size()));
  std::optional<std::string> value, line;
  for (const size_t i : open_) {
    const TextKey& key = keys_[i];
    if (key.kind == Kind::kHeader) {
      if (part_ != 0 || !EqualsIgnoringCase(key.field, field.name)) continue;
      if (!value) value = FoldCase(DecodeHeader(field.value));
      if (Holds(*value, key.needle)) (*found)[i] = Truth::kYes;
    } else if (key.kind == Kind::kText || nested_[part_]) {
      if (!line) line = FoldCase(std::string(field.name) + ": " + DecodeHeader(field.value));
      if (Holds(*line, key.needle)) (*found)[i] = Truth::kYes;
    }
  }
}

void FileScan::BeginBody(const MimePart& part, StepBudget& budget) {
  budget.Spend(StepBudget::kOpen);
  const std::string* charset = content_.type ? content_.type->Param("charset") : nullptr;
  decoder_ = std::make_unique<TextDecoder>(content_.encoding ? *content_.encoding : "8bit",
                                           charset != nullptr ? *charset : "");
  at_ = part.body.begin;
  window_.clear();
}

absl::Status FileScan::BodyPiece(StepBudget& budget, std::vector<Truth>* found) {
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(kReadBytes, parts_[part_].body.end - at_));
  if (bytes == 0) {
    window_ += std::exchange(decoder_, nullptr)->Finish();
    ++part_;
  } else {
    auto piece = body_->Read(at_, bytes);
    if (!piece.ok()) return piece.status();
    if (piece->empty()) return absl::DataLossError("the message file is shorter than it was");
    window_ += decoder_->Decode(*piece);
    at_ += piece->size();
  }
  budget.Spend(bytes + window_.size() * open_.size());
  for (const size_t i : open_) {
    if (keys_[i].kind != Kind::kHeader && Holds(window_, keys_[i].needle)) (*found)[i] = Truth::kYes;
  }
  if (window_.size() > overlap_bytes_) window_.erase(0, window_.size() - overlap_bytes_);
  return absl::OkStatus();
}

}  // namespace gemel::imap
