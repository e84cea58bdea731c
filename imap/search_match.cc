#include "imap/search_match.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "imap/decode.h"
#include "imap/envelope.h"
#include "imap/internal_date.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;

Truth Of(bool value) { return value ? Truth::kYes : Truth::kNo; }

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
    case Kind::kSentBefore:
    case Kind::kSentOn:
    case Kind::kSentSince:
      return EnvelopeField::kDate;
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

}  // namespace

absl::StatusOr<SearchMatcher> SearchMatcher::Compile(const SearchProgram& program, uint32_t messages,
                                                     uint32_t uid_largest) {
  SearchMatcher matcher;
  // Also where no key has text: the client is told that it would not be understood.
  if (!ToUtf8("", program.charset)) return absl::UnimplementedError("This charset is not known here.");
  auto root = matcher.CompileNode(program.key, program, messages, uid_largest);
  if (!root.ok()) return root.status();
  matcher.root_ = *std::move(root);
  return matcher;
}

absl::StatusOr<SearchMatcher::Node> SearchMatcher::CompileNode(const SearchKey& key, const SearchProgram& program,
                                                               uint32_t messages, uint32_t uid_largest) {
  ++nodes_;
  Node node;
  node.kind = key.kind;
  node.flag = key.flag;
  node.day = key.day;
  node.bytes = key.bytes;
  node.cost = CostOf(key);
  if (key.kind == Kind::kSequenceSet) node.set = key.set.Resolved(messages);
  if (key.kind == Kind::kUidSet) node.set = key.set.Resolved(uid_largest);
  const std::optional<std::string> text = ToUtf8(key.text, program.charset);
  if (!text) return absl::InvalidArgumentError("A text to search for is not lawful in its charset.");
  if (key.kind == Kind::kKeyword) {
    ++keyword_nodes_;
    node.keyword = *text;
  }
  if (node.cost > 0) {
    if (const absl::Status status = AddTextKey(key, *text, &node); !status.ok()) return status;
  }
  for (const SearchKey& child : key.children) {
    auto compiled = CompileNode(child, program, messages, uid_largest);
    if (!compiled.ok()) return compiled.status();
    node.cost = std::max(node.cost, compiled->cost);
    node.children.push_back(*std::move(compiled));
  }
  std::sort(node.children.begin(), node.children.end(), [](const Node& a, const Node& b) { return a.cost < b.cost; });
  return node;
}

absl::Status SearchMatcher::AddTextKey(const SearchKey& key, const std::string& utf8, Node* node) {
  if (node->cost > 1 && ++file_keys_ > kFileKeysMax) {
    return absl::OutOfRangeError("One SEARCH looks for at most " + std::to_string(kFileKeysMax) +
                                 " texts within letters (BODY, TEXT, HEADER); ask in several.");
  }
  TextKey text{key.kind, std::nullopt, key.field, FoldCase(utf8), key.day};
  if (node->cost == 1) {
    text.envelope_field = key.kind == Kind::kHeader ? EnvelopeFieldOf(key.field) : EnvelopeFieldOf(key.kind);
    text.needle = OneSpace(text.needle);
  }
  node->text_key = text_keys_.size();
  text_keys_.push_back(std::move(text));
  return absl::OkStatus();
}

Truth SearchMatcher::Match(const SearchMessage& message, const std::vector<Truth>& found) const {
  return Eval(root_, message, found);
}

uint64_t SearchMatcher::CostOfMatch(const SearchMessage& message) const {
  const auto& sets = message.mailbox->keyword_sets;
  const size_t keywords = message.message->keywords < sets.size() ? sets[message.message->keywords].size() : 0;
  return StepBudget::kMessage + (nodes_ + keyword_nodes_ * keywords) * StepBudget::kKey;
}

Truth SearchMatcher::Eval(const Node& node, const SearchMessage& message, const std::vector<Truth>& found) const {
  switch (node.kind) {
    case Kind::kAnd:
    case Kind::kOr: {
      const Truth decides = node.kind == Kind::kAnd ? Truth::kNo : Truth::kYes;
      Truth result = node.kind == Kind::kAnd ? Truth::kYes : Truth::kNo;
      for (const Node& child : node.children) {
        const Truth truth = Eval(child, message, found);
        if (truth == decides) return decides;
        if (truth == Truth::kUnknown) result = Truth::kUnknown;
      }
      return result;
    }
    case Kind::kNot: {
      if (node.children.size() != 1) return Truth::kNo;
      const Truth truth = Eval(node.children[0], message, found);
      return truth == Truth::kUnknown ? truth : Of(truth == Truth::kNo);
    }
    default:
      return EvalLeaf(node, message, found);
  }
}

Truth SearchMatcher::EvalLeaf(const Node& node, const SearchMessage& message, const std::vector<Truth>& found) const {
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
      return Of(HasKeyword(message, node.keyword));
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
  return node.text_key ? found[*node.text_key] : Truth::kYes;  // a text that everything holds: ""
}

}  // namespace gemel::imap
