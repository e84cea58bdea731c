// The words that structured header fields are made of: comments, atoms, quoted strings (RFC 5322, 3.2; RFC 2045, 5.1).
// Forgiving: mail as it is, not as it should be. Quoting is undone; comments are skipped and the last one remembered.
//
// Threads: values over a text that must outlive them.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

namespace gemel::imap {

class TokenReader {
 public:
  explicit TokenReader(std::string_view text) : text_(text) {}

  // Every reading call also skips the blanks and comments behind what it read.
  //   kError  the text is not what was asked for, or breaks off within a quoted string or comment
  //   kEnd    read, and nothing follows
  //   kMore   read, and peek() follows
  enum Result { kError = -1, kEnd = 0, kMore = 1 };

  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool Is(char c) const { return !at_end() && text_[at_] == c; }
  void Advance() { ++at_; }
  size_t position() const { return at_; }
  void set_position(size_t at) { at_ = at; }

  Result SkipBlanks();
  Result Atom(std::string& out);          // at least one character
  Result DotAtom(std::string& out);       // blanks around the dots are dropped
  Result LocalPart(std::string& out);     // dots anywhere, as in "a..b" and ".a"
  Result Phrase(std::string& out);        // words with one space between them; may be empty
  Result QuotedString(std::string& out);  // peek() is '"'
  Result Domain(std::string& out);        // peek() is '@'; dot-atom or [literal]
  Result MimeToken(std::string& out);     // may be empty

  // Of the comments skipped since ClearComment, the last.
  const std::string& last_comment() const { return comment_; }
  void ClearComment() { comment_.clear(); }

 private:
  Result SkipComment();
  Result AtomOrDots(std::string& out);
  Result More() const { return at_end() ? kEnd : kMore; }

  std::string_view text_;
  size_t at_ = 0;
  std::string comment_;
};

bool EqualsIgnoringCase(std::string_view a, std::string_view b);  // ASCII

}  // namespace gemel::imap
