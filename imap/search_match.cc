#include "imap/search_match.h"

#include <algorithm>
#include <utility>

#include "imap/decode.h"
#include "imap/envelope.h"
#include "imap/internal_date.h"
#include "imap/mime_header.h"
#include "imap/mime_lines.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;

Truth Of(bool value) { return value ? Truth::kYes : Truth::kNo; }

bool Holds(std::string_view text, std::string_view needle) { return text.find(needle) != std::string_view::npos; }

// Which field of the envelope holds all there is to know of a header field. The address fields are not among them:
// HEADER looks at them as they are written.
std::optional<EnvelopeField> EnvelopeFieldOf(std::string_view name) {
  if (EqualsIgnoringCase(name, "Subject")) return EnvelopeField::kSubject;
  if (EqualsIgnoringCase(name, "Message-ID")) return EnvelopeField::kMessageId;
  if (EqualsIgnoringCase(name, "In-Reply-To")) return EnvelopeField::kInReplyTo;
  if (EqualsIgnoringCase(name, "Date")) return EnvelopeField::kDate;
  return std::nullopt;
}

EnvelopeField EnvelopeFieldOf(Kind kind) {
  switch (kind) {
    case Kind::kBcc:
      return EnvelopeField::kBcc;
    case Kind::kCc:
      return EnvelopeField::kCc;
    case Kind::kFrom:
      return EnvelopeField::kFrom;
    case Kind::kTo:
      return EnvelopeField::kTo;
    default:
      return EnvelopeField::kSubject;
  }
}

int CostOf(const SearchKey& key) {
  switch (key.kind) {
    case Kind::kSentBefore:
    case Kind::kSentOn:
    case Kind::kSentSince:
      return 1;
    case Kind::kBcc:
    case Kind::kCc:
    case Kind::kFrom:
    case Kind::kSubject:
    case Kind::kTo:
      return key.text.empty() ? 0 : 1;
    case Kind::kHeader:
      return EnvelopeFieldOf(key.field) ? 1 : 2;
    case Kind::kBody:
    case Kind::kText:
      return key.text.empty() ? 0 : 3;
    default:
      return 0;
  }
}

// Envelopes have one space where the header has several.
std::string OneSpace(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank) {
      out += c;
    } else if (out.empty() || out.back() != ' ') {
      out += ' ';
    }
  }
  return out;
}

bool HasKeyword(const SearchMessage& message, std::string_view name) {
  const maildir::Mailbox& mailbox = *message.mailbox;
  if (message.message->keywords >= mailbox.keyword_sets.size()) return false;
  for (const uint16_t index : mailbox.keyword_sets[message.message->keywords]) {
    if (index < mailbox.keywords.size() && EqualsIgnoringCase(mailbox.keywords[index], name)) return true;
  }
  return false;
}

// As BODYSTRUCTURE shows it: what was not taken apart is text. A delivery status (RFC 3464) reads as text, too.
bool IsText(const ContentFields& content) {
  if (!content.type || content.type->type.empty()) return true;
  const std::string& type = content.type->type;
  return EqualsIgnoringCase(type, "text") || EqualsIgnoringCase(type, "message") ||
         EqualsIgnoringCase(type, "multipart");
}

}  // namespace

// One pass over a file for all keys that look into it.
class SearchMatcher::FileScan {
 public:
  FileScan(const SearchMatcher& matcher, const maildir::Body& body, const Structure& structure)
      : body_(body), structure_(structure), found_(static_cast<size_t>(matcher.file_nodes_), Truth::kNo) {
    Collect(matcher.root_);
  }

  // `enough` is asked after each piece whether what was found decides. What was not found then is kNo.
  template <typename Enough>
  absl::Status Run(const Enough& enough) {
    const std::vector<MimePart>& parts = structure_.parts();
    std::vector<bool> nested(parts.size(), false);  // the messages within message/rfc822 parts
    for (const MimePart& part : parts) {
      if (part.kind == MimePart::Kind::kMessage) nested[part.children.front()] = true;
    }
    // A message/rfc822 part's text is that of what it holds; a multipart's that of its parts.
    for (uint32_t i = 0; i < parts.size(); ++i) {
      ContentFields content;
      if (const absl::Status status = Header(parts[i].header, i == 0, nested[i], &content); !status.ok()) {
        return status;
      }
      if (enough(found_)) return absl::OkStatus();
      if (parts[i].kind != MimePart::Kind::kLeaf || !wants_body_ || !IsText(content)) continue;
      if (const absl::Status status = TextBody(parts[i].body, content, enough); !status.ok()) return status;
      if (enough(found_)) return absl::OkStatus();
    }
    return absl::OkStatus();
  }

  const std::vector<Truth>& found() const { return found_; }

 private:
  void Collect(const Node& node) {
    for (const Node& child : node.children) Collect(child);
    if (node.file_index < 0) return;
    nodes_.push_back(&node);
    wants_body_ = wants_body_ || node.kind != Kind::kHeader;
    overlap_bytes_ = std::max(overlap_bytes_, node.needle.size());
  }

  void Look(const Node& node, std::string_view folded) {
    Truth& truth = found_[static_cast<size_t>(node.file_index)];
    if (truth == Truth::kNo && Holds(folded, node.needle)) truth = Truth::kYes;
  }

  // BODY looks at the header of a nested message, which is part of the body, and not at those of MIME parts.
  absl::Status Header(const FileRange& range, bool is_main, bool is_nested_message, ContentFields* content) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(range.bytes(), kHeaderBytesMax));
    if (bytes == 0) return absl::OkStatus();
    auto block = body_.Read(range.begin, bytes);
    if (!block.ok()) return block.status();
    HeaderReader reader(*block);
    HeaderField field;
    while (reader.Next(&field)) {
      AddContentField(field, content);
      std::optional<std::string> value, line;
      for (const Node* node : nodes_) {
        if (node->kind == Kind::kHeader) {
          if (!is_main || !EqualsIgnoringCase(node->field, field.name)) continue;
          if (!value) value = FoldCase(DecodeHeader(field.value));
          Look(*node, *value);
        } else if (node->kind == Kind::kText || is_nested_message) {
          if (!line) line = FoldCase(std::string(field.name) + ": " + DecodeHeader(field.value));
          Look(*node, *line);
        }
      }
    }
    return absl::OkStatus();
  }

  template <typename Enough>
  absl::Status TextBody(const FileRange& range, const ContentFields& content, const Enough& enough) {
    const std::string* charset = content.type ? content.type->Param("charset") : nullptr;
    TextDecoder decoder(content.encoding ? *content.encoding : "8bit", charset != nullptr ? *charset : "");
    std::string window;  // the end of what was looked at, and what is new
    for (uint64_t at = range.begin; at <= range.end;) {
      const auto bytes = static_cast<size_t>(std::min<uint64_t>(kReadBytes, range.end - at));
      if (bytes == 0) {
        window += decoder.Finish();
      } else {
        auto piece = body_.Read(at, bytes);
        if (!piece.ok()) return piece.status();
        if (piece->empty()) return absl::DataLossError("the message file is shorter than it was");
        window += decoder.Decode(*piece);
        at += piece->size();
      }
      for (const Node* node : nodes_) {
        if (node->kind != Kind::kHeader) Look(*node, window);
      }
      if (bytes == 0 || enough(found_)) break;
      if (window.size() > overlap_bytes_) window.erase(0, window.size() - overlap_bytes_);
    }
    return absl::OkStatus();
  }

  const maildir::Body& body_;
  const Structure& structure_;
  std::vector<const Node*> nodes_;
  std::vector<Truth> found_;
  bool wants_body_ = false;
  size_t overlap_bytes_ = 0;
};

absl::StatusOr<SearchMatcher> SearchMatcher::Compile(const SearchProgram& program, uint32_t messages,
                                                     uint32_t uid_largest) {
  SearchMatcher matcher;
  // Also where no key has text: the client is told that it would not be understood.
  if (!ToUtf8("", program.charset)) return absl::InvalidArgumentError("unknown charset");
  auto root = CompileNode(program.key, program, messages, uid_largest, &matcher.file_nodes_);
  if (!root.ok()) return root.status();
  matcher.root_ = *std::move(root);
  return matcher;
}

absl::StatusOr<SearchMatcher::Node> SearchMatcher::CompileNode(const SearchKey& key, const SearchProgram& program,
                                                               uint32_t messages, uint32_t uid_largest,
                                                               int* file_nodes) {
  Node node;
  node.kind = key.kind;
  node.flag = key.flag;
  node.day = key.day;
  node.bytes = key.bytes;
  node.field = key.field;
  node.cost = CostOf(key);
  if (key.kind == Kind::kSequenceSet) node.set = key.set.Resolved(messages);
  if (key.kind == Kind::kUidSet) node.set = key.set.Resolved(uid_largest);
  const std::optional<std::string> text = ToUtf8(key.text, program.charset);
  if (!text) return absl::InvalidArgumentError("the text is not lawful in the charset");
  node.needle = key.kind == Kind::kKeyword ? *text : FoldCase(*text);
  if (node.cost == 1) node.needle = OneSpace(node.needle);
  if (node.cost >= 2) node.file_index = (*file_nodes)++;
  for (const SearchKey& child : key.children) {
    auto compiled = CompileNode(child, program, messages, uid_largest, file_nodes);
    if (!compiled.ok()) return compiled.status();
    node.cost = std::max(node.cost, compiled->cost);
    node.children.push_back(*std::move(compiled));
  }
  std::sort(node.children.begin(), node.children.end(), [](const Node& a, const Node& b) { return a.cost < b.cost; });
  return node;
}

Truth SearchMatcher::Match(const SearchMessage& message) const { return Eval(root_, message, nullptr); }

absl::StatusOr<bool> SearchMatcher::MatchFile(const SearchMessage& message, const maildir::Body& body,
                                              const Structure& structure) const {
  FileScan scan(*this, body, structure);
  // A key that was not found yet may still be: until the end only what was found counts as known.
  std::vector<Truth> so_far;
  const absl::Status status = scan.Run([this, &message, &so_far](const std::vector<Truth>& found) {
    so_far = found;
    std::replace(so_far.begin(), so_far.end(), Truth::kNo, Truth::kUnknown);
    return Eval(root_, message, &so_far) != Truth::kUnknown;
  });
  if (!status.ok()) return status;
  const Truth early = so_far.empty() ? Truth::kUnknown : Eval(root_, message, &so_far);
  if (early != Truth::kUnknown) return early == Truth::kYes;
  return Eval(root_, message, &scan.found()) == Truth::kYes;
}

Truth SearchMatcher::Eval(const Node& node, const SearchMessage& message, const std::vector<Truth>* file) const {
  switch (node.kind) {
    case Kind::kAnd:
    case Kind::kOr: {
      const Truth decides = node.kind == Kind::kAnd ? Truth::kNo : Truth::kYes;
      Truth result = node.kind == Kind::kAnd ? Truth::kYes : Truth::kNo;
      for (const Node& child : node.children) {
        const Truth truth = Eval(child, message, file);
        if (truth == decides) return decides;
        if (truth == Truth::kUnknown) result = Truth::kUnknown;
      }
      return result;
    }
    case Kind::kNot: {
      if (node.children.size() != 1) return Truth::kNo;
      const Truth truth = Eval(node.children[0], message, file);
      return truth == Truth::kUnknown ? truth : Of(truth == Truth::kNo);
    }
    default:
      return EvalLeaf(node, message, file);
  }
}

Truth SearchMatcher::EvalLeaf(const Node& node, const SearchMessage& message, const std::vector<Truth>* file) const {
  const maildir::Message& m = *message.message;
  switch (node.kind) {
    case Kind::kAll:
      return Truth::kYes;
    case Kind::kSequenceSet:
      return Of(node.set.Contains(message.number));
    case Kind::kUidSet:
      return Of(node.set.Contains(m.uid));
    case Kind::kFlag:
      return Of((m.flags & node.flag) != 0);
    case Kind::kRecent:
      return Of(message.recent);
    case Kind::kKeyword:
      return Of(HasKeyword(message, node.needle));
    case Kind::kBefore:
      return Of(DayOf(m.internal_date_s) < node.day);
    case Kind::kOn:
      return Of(DayOf(m.internal_date_s) == node.day);
    case Kind::kSince:
      return Of(DayOf(m.internal_date_s) >= node.day);
    case Kind::kLarger:
      return Of(m.crlf_bytes > node.bytes);
    case Kind::kSmaller:
      return Of(m.crlf_bytes < node.bytes);
    default:
      break;
  }
  if (node.cost == 0) return Truth::kYes;  // a text that everything holds: ""
  if (node.file_index >= 0) {
    return file == nullptr ? Truth::kUnknown : (*file)[static_cast<size_t>(node.file_index)];
  }
  return message.envelope ? EvalEnvelope(node, message) : Truth::kUnknown;
}

Truth SearchMatcher::EvalEnvelope(const Node& node, const SearchMessage& message) const {
  const std::string_view envelope = *message.envelope;
  switch (node.kind) {
    case Kind::kSentBefore:
    case Kind::kSentOn:
    case Kind::kSentSince: {
      const auto date = FieldOfEnvelope(envelope, EnvelopeField::kDate);
      const auto day = date ? DayOfDateHeader(*date) : std::nullopt;
      if (!day) return Truth::kNo;
      return Of(node.kind == Kind::kSentBefore ? *day < node.day
                : node.kind == Kind::kSentOn   ? *day == node.day
                                               : *day >= node.day);
    }
    default: {
      const EnvelopeField field =
          node.kind == Kind::kHeader ? *EnvelopeFieldOf(node.field) : EnvelopeFieldOf(node.kind);
      const auto value = FieldOfEnvelope(envelope, field);
      return Of(value && Holds(FoldCase(DecodeHeader(*value)), node.needle));
    }
  }
}

}  // namespace gemel::imap
