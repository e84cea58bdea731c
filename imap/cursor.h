// A place in a command's bytes, and the grammar's small words (RFC 3501, 9: atom, astring, quoted, literal, number
// ...). Each Take... returns false and notes the first error where its word is not next; then the command is BAD.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "imap/mime_token.h"  // EqualsIgnoringCase

namespace gemel::imap {

bool IsAtomChar(char c);     // ATOM-CHAR
bool IsAstringChar(char c);  // ASTRING-CHAR
std::string ToUpper(std::string_view text);

class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}

  bool Fail(std::string_view why);  // false
  const std::string& error() const { return error_; }

  bool at_end() const { return rest_.empty(); }
  char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }
  std::string_view rest() const { return rest_; }

  bool TakeIf(char c);  // no error where it is not next
  bool Take(char c);
  bool TakeSpace();
  bool TakeEnd();  // nothing but spaces follows
  bool TakeTag(std::string* out);
  bool TakeAtom(std::string* out);
  bool TakeUpperAtom(std::string* out);
  bool TakeAstring(std::string* out);
  bool TakeString(std::string* out);  // quoted or literal
  bool TakeNstring(std::string* out, bool* nil);
  bool TakeListPattern(std::string* out);  // list-mailbox
  bool TakeNumber(uint64_t* out, uint64_t max);
  std::string_view TakeWhile(bool (*wanted)(char));

 private:
  bool TakeQuoted(std::string* out);
  bool TakeLiteral(std::string* out);

  std::string_view rest_;
  std::string error_;
};

}  // namespace gemel::imap
