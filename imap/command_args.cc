#include "imap/command_args.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "imap/message_view.h"

namespace gemel::imap {
namespace {

using Kind = FetchItem::Kind;
using Text = SectionSpec::Text;

constexpr size_t kKeywordBytesMax = 128;
constexpr size_t kKeywordsMax = 64;
constexpr size_t kHeaderFieldsMax = 256;

// section-part: 1.2.3, with a "." behind it where a section-text follows.
bool TakeSectionPart(Cursor& in, SectionSpec* out, bool* text_follows) {
  *text_follows = true;
  while (in.Peek() >= '0' && in.Peek() <= '9') {
    uint64_t number = 0;
    if (!in.TakeNumber(&number, std::numeric_limits<uint32_t>::max())) return false;
    if (number == 0) return in.Fail("parts are counted from 1");
    if (out->part.size() == kMimeDepthMax) return in.Fail("a section lies too deep");
    out->part.push_back(static_cast<uint32_t>(number));
    *text_follows = in.TakeIf('.');
    if (!*text_follows) return true;
  }
  return true;
}

// header-list: SP "(" astring *(SP astring) ")"
bool TakeHeaderList(Cursor& in, std::vector<std::string>* out) {
  if (!in.TakeSpace() || !in.Take('(')) return false;
  do {
    std::string field;
    if (!in.TakeAstring(&field)) return false;
    if (out->size() == kHeaderFieldsMax) return in.Fail("too many header fields");
    out->push_back(std::move(field));
  } while (in.TakeIf(' '));
  return in.Take(')');
}

// RFC 3501, 9: section, behind the "["
bool TakeSection(Cursor& in, SectionSpec* out) {
  bool text_follows = false;
  if (in.TakeIf(']')) return true;
  if (!TakeSectionPart(in, out, &text_follows)) return false;
  if (text_follows) {
    const std::string word = ToUpper(in.TakeWhile([](char c) { return IsAtomChar(c) && c != '['; }));
    if (word == "HEADER") {
      out->text = Text::kHeader;
    } else if (word == "TEXT") {
      out->text = Text::kText;
    } else if (word == "MIME" && !out->part.empty()) {
      out->text = Text::kMime;
    } else if (word == "HEADER.FIELDS" || word == "HEADER.FIELDS.NOT") {
      out->text = word == "HEADER.FIELDS" ? Text::kHeaderFields : Text::kHeaderFieldsNot;
      if (!TakeHeaderList(in, &out->fields)) return false;
    } else {
      return in.Fail("unknown section");
    }
  }
  return in.Take(']');
}

bool TakePartial(Cursor& in, std::optional<PartialRange>* out) {
  if (!in.TakeIf('<')) return true;
  PartialRange range;
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (!in.TakeNumber(&range.offset, kMax) || !in.Take('.') || !in.TakeNumber(&range.length, kMax) || !in.Take('>')) {
    return false;
  }
  if (range.length == 0) return in.Fail("a partial of no octets");
  *out = range;
  return true;
}

bool TakeFetchItem(Cursor& in, FetchItem* out) {
  const std::string word = ToUpper(in.TakeWhile([](char c) { return IsAtomChar(c) && c != '[' && c != '<'; }));
  if (word == "BODY" || word == "BODY.PEEK") {
    out->kind = Kind::kBody;
    out->peek = word != "BODY";
    if (in.TakeIf('[')) {
      out->kind = Kind::kSection;
      return TakeSection(in, &out->section) && TakePartial(in, &out->partial);
    }
    return !out->peek || in.Fail("BODY.PEEK without a section");
  }
  constexpr std::pair<std::string_view, Kind> kItems[] = {
      {"UID", Kind::kUid},
      {"FLAGS", Kind::kFlags},
      {"INTERNALDATE", Kind::kInternalDate},
      {"RFC822.SIZE", Kind::kRfc822Size},
      {"ENVELOPE", Kind::kEnvelope},
      {"BODYSTRUCTURE", Kind::kBodyStructure},
      {"RFC822", Kind::kRfc822},
      {"RFC822.HEADER", Kind::kRfc822Header},
      {"RFC822.TEXT", Kind::kRfc822Text},
  };
  for (const auto& [name, kind] : kItems) {
    if (name != word) continue;
    out->kind = kind;
    if (kind == Kind::kRfc822Header) {
      out->section.text = Text::kHeader;
      out->peek = true;
    } else if (kind == Kind::kRfc822Text) {
      out->section.text = Text::kText;
    }
    return true;
  }
  return in.Fail("unknown item");
}

// RFC 3501, 6.4.5: ALL, FAST, FULL
bool TakeMacro(const std::string& word, std::vector<FetchItem>* out) {
  if (word != "ALL" && word != "FAST" && word != "FULL") return false;
  const auto add = [out](Kind kind) { out->emplace_back().kind = kind; };
  add(Kind::kFlags);
  add(Kind::kInternalDate);
  add(Kind::kRfc822Size);
  if (word != "FAST") add(Kind::kEnvelope);
  if (word == "FULL") add(Kind::kBody);
  return true;
}

}  // namespace

bool TakeSequenceSet(Cursor& in, SequenceSet* out) {
  const std::string_view text =
      in.TakeWhile([](char c) { return (c >= '0' && c <= '9') || c == '*' || c == ':' || c == ','; });
  auto set = SequenceSet::Parse(text);
  if (!set) return in.Fail("bad sequence set");
  *out = std::move(*set);
  return true;
}

bool TakeFlag(Cursor& in, journal::Flags* flags, std::vector<std::string>* keywords) {
  std::string word;
  if (!in.TakeIf('\\')) {
    if (!in.TakeAtom(&word)) return false;
    if (word.size() > kKeywordBytesMax) return in.Fail("a keyword is too long");
    const bool known = std::any_of(keywords->begin(), keywords->end(),
                                   [&word](const std::string& other) { return EqualsIgnoringCase(word, other); });
    if (!known) keywords->push_back(std::move(word));
    return keywords->size() <= kKeywordsMax || in.Fail("too many keywords");
  }
  constexpr std::pair<std::string_view, journal::Flags> kFlags[] = {
      {"SEEN", journal::kSeen},       {"ANSWERED", journal::kAnswered}, {"FLAGGED", journal::kFlagged},
      {"DELETED", journal::kDeleted}, {"DRAFT", journal::kDraft},       {"RECENT", 0}};
  if (!in.TakeUpperAtom(&word)) return false;
  for (const auto& [name, flag] : kFlags) {
    if (name != word) continue;
    *flags |= flag;
    return true;
  }
  return in.Fail("unknown system flag");
}

bool TakeFlagList(Cursor& in, journal::Flags* flags, std::vector<std::string>* keywords) {
  if (!in.Take('(')) return false;
  if (in.TakeIf(')')) return true;
  do {
    if (!TakeFlag(in, flags, keywords)) return false;
  } while (in.TakeIf(' '));
  return in.Take(')');
}

bool TakeFetchItems(Cursor& in, std::vector<FetchItem>* out) {
  constexpr size_t kItemsMax = 256;
  if (!in.TakeIf('(')) {
    Cursor ahead = in;
    std::string word;
    if (ahead.TakeUpperAtom(&word) && TakeMacro(word, out)) {
      in = ahead;
      return true;
    }
    FetchItem item;
    if (!TakeFetchItem(in, &item)) return false;
    out->push_back(std::move(item));
    return true;
  }
  do {
    FetchItem item;
    if (!TakeFetchItem(in, &item)) return false;
    if (out->size() == kItemsMax) return in.Fail("too many items");
    if (std::find(out->begin(), out->end(), item) == out->end()) out->push_back(std::move(item));
  } while (in.TakeIf(' '));
  return in.Take(')');
}

}  // namespace gemel::imap
