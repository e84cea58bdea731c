// SEARCH's arguments (RFC 3501, 6.4.4). Declared in command_args.h.
#include <limits>
#include <utility>

#include "imap/command_args.h"
#include "imap/internal_date.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;

constexpr size_t kSearchKeysMax = 4096;

SearchKey OfKind(Kind kind) {
  SearchKey key;
  key.kind = kind;
  return key;
}

SearchKey OfFlag(journal::Flags flag) {
  SearchKey key = OfKind(Kind::kFlag);
  key.flag = flag;
  return key;
}

SearchKey Not(SearchKey key) {
  SearchKey result = OfKind(Kind::kNot);
  result.children.push_back(std::move(key));
  return result;
}

bool TakeDay(Cursor& in, DayNumber* out) {
  std::string text;
  if (in.Peek() == '"') {
    if (!in.TakeString(&text)) return false;
  } else if (!in.TakeAtom(&text)) {
    return false;
  }
  const auto day = ParseSearchDate(text);
  if (!day) return in.Fail("bad date, expected d-Mon-yyyy");
  *out = *day;
  return true;
}

// Keys that are one word.
bool SimpleKey(const std::string& word, SearchKey* out) {
  constexpr std::pair<std::string_view, journal::Flags> kFlags[] = {{"ANSWERED", journal::kAnswered},
                                                                    {"DELETED", journal::kDeleted},
                                                                    {"DRAFT", journal::kDraft},
                                                                    {"FLAGGED", journal::kFlagged},
                                                                    {"SEEN", journal::kSeen}};
  const std::string_view positive = word.starts_with("UN") ? std::string_view(word).substr(2) : word;
  for (const auto& [name, flag] : kFlags) {
    if (name != positive) continue;
    SearchKey key = OfFlag(flag);
    *out = word.starts_with("UN") ? Not(std::move(key)) : std::move(key);
    return true;
  }
  if (word == "ALL") {
    out->kind = Kind::kAll;
  } else if (word == "RECENT") {
    out->kind = Kind::kRecent;
  } else if (word == "OLD") {
    *out = Not(OfKind(Kind::kRecent));
  } else if (word == "NEW") {
    out->kind = Kind::kAnd;
    out->children.push_back(OfKind(Kind::kRecent));
    out->children.push_back(Not(OfFlag(journal::kSeen)));
  } else {
    return false;
  }
  return true;
}

bool TakeText(Cursor& in, Kind kind, SearchKey* out) {
  out->kind = kind;
  return in.TakeSpace() && in.TakeAstring(&out->text);
}

bool TakeKey(Cursor& in, int depth, size_t* keys, SearchKey* out);

// Keys with arguments. `known` is false where the word is none of them.
bool TakeKeyWithArguments(Cursor& in, const std::string& word, int depth, size_t* keys, SearchKey* out, bool* known) {
  constexpr std::pair<std::string_view, Kind> kTexts[] = {
      {"BCC", Kind::kBcc},         {"BODY", Kind::kBody}, {"CC", Kind::kCc},    {"TO", Kind::kTo},
      {"SUBJECT", Kind::kSubject}, {"TEXT", Kind::kText}, {"FROM", Kind::kFrom}};
  constexpr std::pair<std::string_view, Kind> kDays[] = {{"BEFORE", Kind::kBefore}, {"ON", Kind::kOn},
                                                         {"SINCE", Kind::kSince},   {"SENTBEFORE", Kind::kSentBefore},
                                                         {"SENTON", Kind::kSentOn}, {"SENTSINCE", Kind::kSentSince}};
  *known = true;
  for (const auto& [name, kind] : kTexts) {
    if (name == word) return TakeText(in, kind, out);
  }
  for (const auto& [name, kind] : kDays) {
    if (name != word) continue;
    out->kind = kind;
    return in.TakeSpace() && TakeDay(in, &out->day);
  }
  if (word == "HEADER") return in.TakeSpace() && in.TakeAstring(&out->field) && TakeText(in, Kind::kHeader, out);
  if (word == "LARGER" || word == "SMALLER") {
    out->kind = word == "LARGER" ? Kind::kLarger : Kind::kSmaller;
    return in.TakeSpace() && in.TakeNumber(&out->bytes, std::numeric_limits<int64_t>::max());
  }
  if (word == "KEYWORD" || word == "UNKEYWORD") {
    SearchKey key = OfKind(Kind::kKeyword);
    if (!in.TakeSpace() || !in.TakeAtom(&key.text)) return false;
    *out = word == "KEYWORD" ? std::move(key) : Not(std::move(key));
    return true;
  }
  if (word == "UID") {
    out->kind = Kind::kUidSet;
    return in.TakeSpace() && TakeSequenceSet(in, &out->set);
  }
  if (word == "NOT") {
    SearchKey key;
    if (!in.TakeSpace() || !TakeKey(in, depth, keys, &key)) return false;
    *out = Not(std::move(key));
    return true;
  }
  if (word == "OR") {
    out->kind = Kind::kOr;
    out->children.resize(2);
    return in.TakeSpace() && TakeKey(in, depth, keys, out->children.data()) && in.TakeSpace() &&
           TakeKey(in, depth, keys, out->children.data() + 1);
  }
  *known = false;
  return true;
}

// Keys with spaces between them, up to the end or a ")".
bool TakeKeys(Cursor& in, int depth, size_t* keys, SearchKey* out) {
  std::vector<SearchKey> list;
  do {
    SearchKey key;
    if (!TakeKey(in, depth, keys, &key)) return false;
    list.push_back(std::move(key));
  } while (in.TakeIf(' ') && !in.at_end());
  if (list.size() == 1) {
    *out = std::move(list.front());
  } else {
    *out = OfKind(Kind::kAnd);
    out->children = std::move(list);
  }
  return true;
}

bool TakeKey(Cursor& in, int depth, size_t* keys, SearchKey* out) {
  if (++depth > kSearchDepthMax) return in.Fail("search keys lie too deep in one another");
  if (++*keys > kSearchKeysMax) return in.Fail("too many search keys");
  if (in.TakeIf('(')) return TakeKeys(in, depth, keys, out) && in.Take(')');
  if (in.Peek() == '*' || (in.Peek() >= '0' && in.Peek() <= '9')) {
    out->kind = Kind::kSequenceSet;
    return TakeSequenceSet(in, &out->set);
  }
  std::string word;
  if (!in.TakeUpperAtom(&word)) return false;
  if (SimpleKey(word, out)) return true;
  bool known = false;
  if (!TakeKeyWithArguments(in, word, depth, keys, out, &known)) return false;
  return known || in.Fail("unknown search key");
}

}  // namespace

bool TakeSearchProgram(Cursor& in, SearchProgram* out) {
  Cursor ahead = in;
  std::string word;
  if (ahead.TakeUpperAtom(&word) && word == "CHARSET") {
    in = ahead;
    if (!in.TakeSpace() || !in.TakeAstring(&out->charset) || !in.TakeSpace()) return false;
    out->charset = ToUpper(out->charset);
  }
  size_t keys = 0;
  return TakeKeys(in, 0, &keys, &out->key);
}

}  // namespace gemel::imap
