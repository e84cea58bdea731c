#include "imap/mime_token.h"

#include <array>
#include <cstdint>

namespace gemel::imap {
namespace {

enum CharClass : uint8_t { kNone = 0, kAtext = 1, kAtextOnly = 2 };  // kAtextOnly: atext that ends a MIME token

constexpr std::array<uint8_t, 256> MakeClasses() {
  std::array<uint8_t, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    // 8-bit bytes are taken for letters: headers in raw UTF-8 or Latin-1 are common.
    const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80;
    classes[c] = alnum ? kAtext : kNone;
  }
  for (const char c : std::string_view("!#$%&'*+-^_`{|}~")) classes[static_cast<uint8_t>(c)] = kAtext;
  for (const char c : std::string_view("/=?")) classes[static_cast<uint8_t>(c)] = kAtextOnly;
  return classes;
}
constexpr std::array<uint8_t, 256> kClasses = MakeClasses();

bool IsAtext(char c) { return kClasses[static_cast<uint8_t>(c)] != kNone; }
bool IsTokenChar(char c) { return kClasses[static_cast<uint8_t>(c)] == kAtext || c == '.'; }

}  // namespace

TokenReader::Result TokenReader::SkipComment() {
  comment_.clear();
  ++at_;  // '('
  for (int depth = 1; !at_end(); ++at_) {
    const char c = text_[at_];
    if (c == '\\') {
      if (++at_ >= text_.size()) return kError;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')' && --depth == 0) {
      ++at_;
      return More();
    }
    comment_ += text_[at_];
  }
  return kError;  // no ')'
}

TokenReader::Result TokenReader::SkipBlanks() {
  while (!at_end()) {
    const char c = text_[at_];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++at_;
    } else if (c == '(') {
      if (SkipComment() == kError) return kError;
    } else {
      return kMore;
    }
  }
  return kEnd;
}

TokenReader::Result TokenReader::Atom(std::string& out) {
  const size_t begin = at_;
  while (!at_end() && IsAtext(text_[at_])) ++at_;
  if (at_ == begin) return kError;
  out += text_.substr(begin, at_ - begin);
  return SkipBlanks();
}

TokenReader::Result TokenReader::DotAtom(std::string& out) {
  if (at_end() || !IsAtext(text_[at_])) return kError;
  while (true) {
    const size_t begin = at_;
    while (!at_end() && IsAtext(text_[at_])) ++at_;
    out += text_.substr(begin, at_ - begin);
    if (const Result r = SkipBlanks(); r != kMore) return r;
    if (text_[at_] != '.') return kMore;
    out += '.';
    ++at_;
    if (const Result r = SkipBlanks(); r != kMore) return r;
  }
}

TokenReader::Result TokenReader::LocalPart(std::string& out) {
  if (Is('"')) return QuotedString(out);
  Result result = kError;
  do {
    while (Is('.')) {
      out += '.';
      ++at_;
      result = SkipBlanks();
      if (result != kMore) return result;
    }
    if (Is('@')) break;
    result = Atom(out);
  } while (result == kMore && Is('.'));
  return result;
}

TokenReader::Result TokenReader::AtomOrDots(std::string& out) {
  const size_t begin = at_;
  while (!at_end() && (IsAtext(text_[at_]) || text_[at_] == '.')) ++at_;
  out += text_.substr(begin, at_ - begin);
  return at_end() ? kEnd : SkipBlanks();
}

TokenReader::Result TokenReader::Phrase(std::string& out) {
  if (at_end()) return kEnd;
  if (Is('.')) return kError;
  while (true) {
    const Result r = Is('"') ? QuotedString(out) : AtomOrDots(out);
    if (r != kMore) return r;
    if (!IsAtext(peek()) && !Is('"') && !Is('.')) return kMore;
    out += ' ';
  }
}

TokenReader::Result TokenReader::QuotedString(std::string& out) {
  for (++at_; !at_end(); ++at_) {
    char c = text_[at_];
    if (c == '"') {
      ++at_;
      return SkipBlanks();
    }
    if (c == '\\') {
      if (++at_ >= text_.size()) return kError;
      c = text_[at_];
    } else if (c == '\n' || (c == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n')) {
      continue;  // folding
    }
    out += c;
  }
  return kError;  // no closing '"'
}

TokenReader::Result TokenReader::Domain(std::string& out) {
  ++at_;  // '@'
  if (SkipBlanks() != kMore) return kError;
  if (!Is('[')) return DotAtom(out);
  for (const size_t begin = at_; !at_end(); ++at_) {
    if (text_[at_] == '\\') {
      ++at_;
    } else if (text_[at_] == ']') {
      ++at_;
      out += text_.substr(begin, at_ - begin);
      return SkipBlanks();
    }
  }
  return kError;  // no ']'
}

TokenReader::Result TokenReader::MimeToken(std::string& out) {
  const size_t begin = at_;
  while (!at_end() && IsTokenChar(text_[at_])) ++at_;
  out += text_.substr(begin, at_ - begin);
  return at_end() ? kEnd : SkipBlanks();
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

}  // namespace gemel::imap
