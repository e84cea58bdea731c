// Finds where commands begin and end in a client's bytes (lines, literals), sans I/O. It takes nothing apart but the
// literal marks, and the start of an APPEND, whose message passes through in pieces.
//
//   reader.Feed(bytes);
//   switch (reader.Next().kind) ...            until kNeedMore
//
// After bad input it carries on behind the line end (and behind the literals that come unasked, RFC 2088), so that the
// next command is read as one.
//
// Bounded: kLineBytesMax, kLiteralBytesMax, kCommandBytesMax; the caller stops feeding while buffered_bytes() is large.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "imap/command_parser.h"

namespace gemel::imap {

inline constexpr size_t kLineBytesMax = 64 * 1024;      // of one command's lines together
inline constexpr size_t kLiteralBytesMax = 64 * 1024;   // but for APPEND's message
inline constexpr size_t kCommandBytesMax = 256 * 1024;  // with its literals

class CommandReader {
 public:
  enum class Kind : uint8_t {
    kNeedMore,
    kContinue,     // say "+": the client waits to send a literal
    kCommand,      // `parsed`
    kAppend,       // `parsed` is an AppendCommand, `literal` its message: call Accept- or RefuseLiteral
    kAppendBytes,  // `bytes`: some of the accepted literal; valid until the next call
    kAppendEnd,    // the command is whole; `parsed.error` is set where more than a line end followed
  };
  struct Item {
    Kind kind = Kind::kNeedMore;
    ParseResult parsed;
    LiteralMark literal;
    std::string_view bytes;
  };

  void Feed(std::string_view bytes);
  size_t buffered_bytes() const { return buffer_.size() - at_; }
  Item Next();

  // After kAppend. Accepted: kAppendBytes and kAppendEnd follow (say "+" first where the literal waits for it).
  // Refused: the literal, if it comes, is skipped; answer the command now.
  void AcceptLiteral();
  void RefuseLiteral();

  // A line that is no command (AUTHENTICATE's answer, IDLE's DONE), without its end. Nullopt: not there yet.
  // Longer than kLineBytesMax: cut.
  std::optional<std::string> NextLine();

  std::string_view buffered() const { return std::string_view(buffer_).substr(at_); }
  void Clear();  // forgets what is buffered

 private:
  enum class State : uint8_t {
    kLine,            // in a command's line
    kLiteral,         // literal_left_ bytes of a literal that belongs to command_
    kAppendDecision,  // kAppend was told
    kAppendLiteral,
    kAppendRest,   // behind the message: a line end should follow
    kSkipLiteral,  // of a command that is bad already
    kSkipLine,
  };
  bool TakeLine(size_t bytes_max, std::string_view* line, bool* too_long);
  void Consume(size_t bytes) { at_ += bytes; }
  Item OnLine(std::string_view line);
  Item OnLiteralMark(const LiteralMark& mark);
  Item Reject(ParseResult parsed, const std::optional<LiteralMark>& mark);
  Item RejectLine(std::string why);
  void SkipLiteral(const LiteralMark& mark);
  Item Done(ParseResult parsed);

  std::string buffer_;
  size_t at_ = 0;       // start of what is not consumed
  size_t scanned_ = 0;  // no line end before this place in buffer_
  State state_ = State::kLine;
  std::string command_;  // lines and literals so far, verbatim
  size_t line_bytes_ = 0;
  uint64_t literal_left_ = 0;
  LiteralMark append_literal_;
};

}  // namespace gemel::imap
