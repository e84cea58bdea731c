// The texts that a SEARCH looks for, in one message: in its envelope, then in its file. Both go on where they stopped
// when a step's budget was spent, so that neither a large message nor many keys keep others waiting.
//
// Threads: one at a time.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "imap/decode.h"
#include "imap/envelope.h"
#include "imap/mime_header.h"
#include "imap/mime_structure.h"
#include "imap/search_key.h"
#include "imap/step_budget.h"
#include "maildir/store.h"

namespace gemel::imap {

enum class Truth : uint8_t { kNo, kYes, kUnknown };

// A key that memory does not decide.
struct TextKey {
  SearchKey::Kind kind = SearchKey::Kind::kText;
  std::optional<EnvelopeField> envelope_field;  // nullopt: the file must be read
  std::string field;                            // of kHeader
  std::string needle;                           // folded UTF-8
  DayNumber day = 0;                            // of kSent...
};

// Of the keys that the envelope decides. Each of its fields is decoded once for all of them.
class EnvelopeScan {
 public:
  // `rendered` as FETCH shows it; both must outlive this.
  EnvelopeScan(const std::vector<TextKey>& keys, std::string_view rendered) : keys_(keys), rendered_(rendered) {}
  // True: (*found)[i] is known of every such key i.
  bool Step(StepBudget& budget, std::vector<Truth>* found);

 private:
  Truth Look(const TextKey& key, StepBudget& budget);
  // As a reader sees it, folded; nullopt where there is none.
  const std::optional<std::string>& Field(EnvelopeField field, StepBudget& budget);
  const std::optional<DayNumber>& Sent(StepBudget& budget);

  const std::vector<TextKey>& keys_;
  const std::string_view rendered_;
  size_t next_ = 0;
  std::array<std::optional<std::optional<std::string>>, kEnvelopeFields> fields_;
  std::optional<std::optional<DayNumber>> sent_;
};

// Of the keys that look into the file: one pass over it for all of them.
class FileScan {
 public:
  // `keys` and `structure` must outlive this.
  FileScan(const std::vector<TextKey>& keys, std::shared_ptr<const maildir::Body> body, const Structure& structure);
  FileScan(const FileScan&) = delete;
  FileScan& operator=(const FileScan&) = delete;

  // Reads on until the budget is spent, or a key was found (then (*found)[i] is kYes, and it may be enough). True: the
  // end, and all are known. An error is the file's own, from Body::Read.
  absl::StatusOr<bool> Step(StepBudget& budget, std::vector<Truth>* found);

 private:
  absl::Status Piece(StepBudget& budget, std::vector<Truth>* found);
  absl::Status BeginHeader(const MimePart& part);
  void LookAtField(const HeaderField& field, StepBudget& budget, std::vector<Truth>* found);
  void BeginBody(const MimePart& part, StepBudget& budget);
  absl::Status BodyPiece(StepBudget& budget, std::vector<Truth>* found);

  const std::vector<TextKey>& keys_;
  const std::shared_ptr<const maildir::Body> body_;
  const std::vector<MimePart>& parts_;
  std::vector<bool> nested_;  // of parts_: the messages within message/rfc822 parts
  std::vector<size_t> open_;  // of keys_: not found yet
  bool wants_parts_ = false;  // not only the message's own header
  size_t overlap_bytes_ = 0;

  size_t part_ = 0;  // the one that is read: its header, then its body
  std::string header_;
  std::optional<HeaderReader> fields_;  // in header_
  ContentFields content_;
  std::unique_ptr<TextDecoder> decoder_;  // in the body
  uint64_t at_ = 0;
  std::string window_;  // the end of what was looked at, and what is new
};

}  // namespace gemel::imap
