#include "imap/mime_header.h"

#include <algorithm>
#include <tuple>

#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

// Nobody means more; a header that is all parameters must not cost the sorting of a million of them.
constexpr size_t kParamsMax = 1000;

std::string_view TrimRight(std::string_view s, std::string_view blanks) {
  const size_t last = s.find_last_not_of(blanks);
  return last == std::string_view::npos ? std::string_view() : s.substr(0, last + 1);
}

// One of the pieces into which RFC 2231 lets a parameter be cut: key*<index>[*]=value.
struct ParamPiece {
  std::string key;
  uint32_t index = 0;
  bool extended = false;
  std::string value;
  size_t position = 0;
};

// False: `name` only looks like one.
bool SplitPieceName(std::string_view name, ParamPiece* piece) {
  const size_t star = name.find('*');
  std::string_view rest = name.substr(star + 1);
  piece->key = name.substr(0, star);
  if (rest.empty()) {  // key*=
    piece->extended = true;
    return true;
  }
  uint64_t index = 0;
  while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
    index = std::min<uint64_t>(index * 10 + static_cast<uint64_t>(rest[0] - '0'), UINT32_MAX);
    rest.remove_prefix(1);
  }
  piece->index = static_cast<uint32_t>(index);
  if (rest == "*") {
    piece->extended = true;
    rest = {};
  }
  return rest.empty();
}

// Joins the pieces of each key in the order of their numbers; where one is missing they are left as they came.
void JoinPieces(std::vector<ParamPiece> pieces, MimeParams* params) {
  std::sort(pieces.begin(), pieces.end(), [](const ParamPiece& a, const ParamPiece& b) {
    return std::tie(a.key, a.index, a.position) < std::tie(b.key, b.index, b.position);
  });
  for (size_t i = 0; i < pieces.size();) {
    size_t next = i;
    bool whole = true, extended = false;
    for (; next < pieces.size() && EqualsIgnoringCase(pieces[next].key, pieces[i].key); ++next) {
      whole = whole && pieces[next].index == next - i;
      extended = extended || pieces[next].extended;
    }
    if (!whole) {
      for (; i < next; ++i) {
        params->emplace_back(pieces[i].key + "*" + std::to_string(pieces[i].index) + (pieces[i].extended ? "*" : ""),
                             pieces[i].value);
      }
      continue;
    }
    // A value that is percent-encoded in part is so as a whole from here on, with a charset in front.
    std::string value = extended && !pieces[i].extended ? "''" : "";
    const std::string key = pieces[i].key + (extended ? "*" : "");
    for (; i < next; ++i) {
      for (const char c : pieces[i].value) {
        if (c == '%' && extended && !pieces[i].extended) {
          value += "%25";
        } else {
          value += c;
        }
      }
    }
    params->emplace_back(key, std::move(value));
  }
}

// ";" name "=" value. kEnd: no more. kError: not one; go on behind the next character.
TokenReader::Result ReadParam(TokenReader& in, std::string* name, std::string* value) {
  name->clear();
  value->clear();
  if (in.at_end()) return TokenReader::kEnd;
  if (!in.Is(';')) return TokenReader::kError;
  in.Advance();
  if (in.SkipBlanks() != TokenReader::kMore) return TokenReader::kError;
  if (in.MimeToken(*name) != TokenReader::kMore || name->empty() || !in.Is('=')) return TokenReader::kError;
  in.Advance();
  TokenReader::Result result = in.SkipBlanks();
  if (result != TokenReader::kMore) return result == TokenReader::kEnd ? TokenReader::kMore : result;
  if (in.Is('"')) {
    result = in.QuotedString(*value);
  } else if (in.Is('=')) {
    // name==?utf-8?b?...?=, which some programs write
    while (!in.at_end() && std::string_view("; \t\r\n").find(in.peek()) == std::string_view::npos) {
      *value += in.peek();
      in.Advance();
    }
  } else {
    result = in.MimeToken(*value);
  }
  return result == TokenReader::kError ? result : TokenReader::kMore;
}

void ReadParams(TokenReader& in, MimeParams* params) {
  std::vector<ParamPiece> pieces;
  std::string name, value;
  while (params->size() + pieces.size() < kParamsMax) {
    const TokenReader::Result result = ReadParam(in, &name, &value);
    if (result == TokenReader::kEnd) break;
    if (result == TokenReader::kError) {
      if (in.at_end()) break;
      if (!in.Is(';')) in.Advance();  // ReadParam has taken the one that it began at, if any
      continue;
    }
    ParamPiece piece;
    if (name.find('*') != std::string::npos && SplitPieceName(name, &piece)) {
      piece.value = value;
      piece.position = pieces.size();
      pieces.push_back(std::move(piece));
    } else {
      params->emplace_back(name, value);
    }
  }
  JoinPieces(std::move(pieces), params);
}

std::optional<std::string> ParseEncoding(std::string_view value) {
  TokenReader in(value);
  in.SkipBlanks();
  std::string token;
  if (in.MimeToken(token) == TokenReader::kError || !in.at_end() || token.empty()) return std::nullopt;
  return token;
}

std::vector<std::string> ParseLanguages(std::string_view value) {
  std::vector<std::string> languages;
  TokenReader in(value);
  in.SkipBlanks();
  for (std::string tag; in.Atom(tag) != TokenReader::kError; tag.clear()) {
    languages.push_back(tag);
    if (!in.Is(',') || languages.size() >= kParamsMax) break;
    in.Advance();
    in.SkipBlanks();
  }
  return languages;
}

}  // namespace

bool HeaderReader::Next(HeaderField* field) {
  if (at_ >= block_.size() || block_[at_] == '\n' || block_.substr(at_, 2) == "\r\n") return false;
  field->begin = at_;
  size_t colon = std::string_view::npos;
  size_t line = at_;
  do {  // one line, and those that begin with a blank
    const size_t lf = std::min(block_.find('\n', line), block_.size());
    if (colon == std::string_view::npos && line == at_) {
      colon = block_.substr(line, lf - line).find(':');
      if (colon != std::string_view::npos) colon += line;
    }
    line = std::min(lf + 1, block_.size());
  } while (line < block_.size() && (block_[line] == ' ' || block_[line] == '\t'));
  field->end = at_ = line;
  std::string_view whole = block_.substr(field->begin, field->end - field->begin);
  if (!whole.empty() && whole.back() == '\n') whole.remove_suffix(1);
  if (!whole.empty() && whole.back() == '\r') whole.remove_suffix(1);
  if (colon == std::string_view::npos) {
    field->name = whole;
    field->value = {};
    return true;
  }
  field->name = TrimRight(whole.substr(0, colon - field->begin), " \t");
  field->value = whole.substr(std::min(whole.size(), colon - field->begin + 1));
  const size_t first = field->value.find_first_not_of(" \t\r\n");
  // Blanks before the first word go, a fold among them too; the RFC 5322 value begins behind them.
  field->value.remove_prefix(first == std::string_view::npos ? field->value.size() : first);
  return true;
}

std::string Unfold(std::string_view value) {
  std::string out;
  out.reserve(value.size());
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\n' || (value[i] == '\r' && i + 1 < value.size() && value[i + 1] == '\n')) continue;
    out += value[i];
  }
  return out;
}

const std::string* MimeValue::Param(std::string_view name) const {
  for (const auto& [key, value] : params) {
    if (EqualsIgnoringCase(key, name)) return &value;
  }
  return nullptr;
}

MimeValue ParseContentType(std::string_view value) {
  MimeValue out;
  TokenReader in(value);
  if (in.SkipBlanks() != TokenReader::kMore) return out;
  // A broken type is kept as far as it can be read, so that it is not taken for text/plain.
  if (in.MimeToken(out.type) != TokenReader::kMore || !in.Is('/')) return out;
  in.Advance();
  if (in.SkipBlanks() != TokenReader::kMore) return out;
  if (in.MimeToken(out.subtype) == TokenReader::kError) return out;
  ReadParams(in, &out.params);
  return out;
}

std::optional<MimeValue> ParseDisposition(std::string_view value) {
  MimeValue out;
  TokenReader in(value);
  in.SkipBlanks();
  if (in.MimeToken(out.type) == TokenReader::kError) return std::nullopt;
  ReadParams(in, &out.params);
  return out;
}

void AddContentField(const HeaderField& field, ContentFields* fields) {
  if (field.name.size() < 10 || !EqualsIgnoringCase(field.name.substr(0, 8), "Content-")) return;
  const std::string_view name = field.name.substr(8);
  const auto set_once = [&field](std::optional<std::string>* where) {
    if (!where->has_value()) *where = Unfold(field.value);
  };
  if (EqualsIgnoringCase(name, "Type")) {
    if (!fields->type) fields->type = ParseContentType(field.value);
  } else if (EqualsIgnoringCase(name, "Transfer-Encoding")) {
    if (!fields->encoding) fields->encoding = ParseEncoding(field.value);
  } else if (EqualsIgnoringCase(name, "ID")) {
    set_once(&fields->id);
  } else if (EqualsIgnoringCase(name, "Description")) {
    set_once(&fields->description);
  } else if (EqualsIgnoringCase(name, "MD5")) {
    set_once(&fields->md5);
  } else if (EqualsIgnoringCase(name, "Disposition")) {
    if (!fields->disposition) fields->disposition = ParseDisposition(field.value);
  } else if (EqualsIgnoringCase(name, "Language")) {
    if (fields->languages.empty()) fields->languages = ParseLanguages(field.value);
  } else if (EqualsIgnoringCase(name, "Location")) {
    set_once(&fields->location);
  }
}

}  // namespace gemel::imap
