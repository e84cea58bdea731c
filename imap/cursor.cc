#include "imap/cursor.h"

#include "imap/command_parser.h"

namespace gemel::imap {
namespace {

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

bool IsAtomChar(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte <= 0x20 || byte >= 0x7f) return false;
  switch (c) {
    case '(':
    case ')':
    case '{':
    case '%':
    case '*':
    case '"':
    case '\\':
    case ']':
      return false;
    default:
      return true;
  }
}

bool IsAstringChar(char c) { return IsAtomChar(c) || c == ']'; }

std::string ToUpper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = Upper(c);
  return out;
}

bool Cursor::Fail(std::string_view why) {
  if (error_.empty()) error_ = why;
  return false;
}

bool Cursor::TakeIf(char c) {
  if (rest_.empty() || rest_.front() != c) return false;
  rest_.remove_prefix(1);
  return true;
}

bool Cursor::Take(char c) {
  if (TakeIf(c)) return true;
  return Fail(std::string("expected '") + c + "'");
}

bool Cursor::TakeSpace() {
  if (TakeIf(' ')) return true;
  return Fail(at_end() ? "something is missing at the end" : "expected a space");
}

bool Cursor::TakeEnd() {
  while (TakeIf(' ')) {
  }
  return at_end() || Fail("something is left over at the end");
}

std::string_view Cursor::TakeWhile(bool (*wanted)(char)) {
  size_t n = 0;
  while (n < rest_.size() && wanted(rest_[n])) ++n;
  const std::string_view taken = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return taken;
}

bool Cursor::TakeTag(std::string* out) {
  *out = TakeWhile([](char c) { return IsAstringChar(c) && c != '+'; });
  return !out->empty() || Fail("a command starts with a tag");
}

bool Cursor::TakeAtom(std::string* out) {
  *out = TakeWhile(IsAtomChar);
  return !out->empty() || Fail("expected a word");
}

bool Cursor::TakeUpperAtom(std::string* out) {
  if (!TakeAtom(out)) return false;
  *out = ToUpper(*out);
  return true;
}

bool Cursor::TakeAstring(std::string* out) {
  if (Peek() == '"' || Peek() == '{') return TakeString(out);
  *out = TakeWhile(IsAstringChar);
  return !out->empty() || Fail("expected a word or a string");
}

bool Cursor::TakeString(std::string* out) {
  if (Peek() == '"') return TakeQuoted(out);
  if (Peek() == '{') return TakeLiteral(out);
  return Fail("expected a string");
}

bool Cursor::TakeNstring(std::string* out, bool* nil) {
  *nil = false;
  if (Peek() == '"' || Peek() == '{') return TakeString(out);
  std::string atom;
  if (!TakeAtom(&atom)) return false;
  if (!EqualsIgnoringCase(atom, "NIL")) return Fail("expected a string or NIL");
  *nil = true;
  out->clear();
  return true;
}

bool Cursor::TakeListPattern(std::string* out) {
  if (Peek() == '"' || Peek() == '{') return TakeString(out);
  *out = TakeWhile([](char c) { return IsAstringChar(c) || c == '%' || c == '*'; });
  return !out->empty() || Fail("expected a mailbox pattern");
}

bool Cursor::TakeNumber(uint64_t* out, uint64_t max) {
  const std::string_view digits = TakeWhile([](char c) { return c >= '0' && c <= '9'; });
  if (digits.empty()) return Fail("expected a number");
  uint64_t value = 0;
  for (const char c : digits) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (max - digit) / 10) return Fail("a number is too large");
    value = value * 10 + digit;
  }
  *out = value;
  return true;
}

// 8-bit bytes are let through: clients send them in search strings and passwords.
bool Cursor::TakeQuoted(std::string* out) {
  out->clear();
  rest_.remove_prefix(1);
  while (!rest_.empty()) {
    char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\') {
      if (rest_.empty() || (rest_.front() != '"' && rest_.front() != '\\')) return Fail("bad escape in a string");
      c = rest_.front();
      rest_.remove_prefix(1);
    }
    if (c == '\0' || c == '\r' || c == '\n') return Fail("a quoted string may not hold NUL or line ends");
    out->push_back(c);
  }
  return Fail("a quoted string has no end");
}

bool Cursor::TakeLiteral(std::string* out) {
  const size_t line_end = rest_.find('\n');
  if (line_end == std::string_view::npos) return Fail("bad literal");
  std::string_view line = rest_.substr(0, line_end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  const auto mark = LiteralMarkAtEnd(line);
  if (!mark || mark->mark_bytes != line.size()) return Fail("bad literal");
  rest_.remove_prefix(line_end + 1);
  if (mark->bytes > rest_.size()) return Fail("bad literal");
  *out = rest_.substr(0, mark->bytes);
  rest_.remove_prefix(mark->bytes);
  if (out->find('\0') != std::string::npos) return Fail("a literal may not hold NUL");
  return true;
}

}  // namespace gemel::imap
