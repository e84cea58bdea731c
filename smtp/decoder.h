// From the bytes of DATA and BDAT on the wire to a message in LF form (decision 8), while they arrive.
//
// Values only, no I/O; nothing is held back but what the last byte or two may still mean. Output is appended to *out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::smtp {

// DATA (RFC 5321, 4.1.1.4 and 4.5.2). Only CRLF "." CRLF ends it: any reading of a bare LF or CR as a line end is one
// that the sender's next hop may not share, and a letter can then be smuggled behind it. So they neither end a line
// nor a message; their presence is reported, and the session refuses the message when it has all been swallowed.
class DataDecoder {
 public:
  // Takes bytes from the front of `in` and gives how many; fewer than all only when done().
  size_t Feed(std::string_view in, std::string* out);
  bool done() const { return state_ == State::kDone; }

  bool bare_cr() const { return bare_cr_; }
  bool bare_lf() const { return bare_lf_; }
  uint64_t lines() const { return lines_; }                      // ended so far, without the final dot
  uint64_t line_bytes_longest() const { return line_longest_; }  // without CRLF, dots still stuffed

 private:
  enum class State : uint8_t {
    kLineStart,
    kDot,    // "." at the start of a line
    kDotCr,  // "." CR at the start of a line
    kText,
    kCr,  // CR in or behind text
    kDone,
  };
  void EndLine(std::string* out);
  size_t FeedText(std::string_view in, std::string* out);

  State state_ = State::kLineStart;
  bool bare_cr_ = false;
  bool bare_lf_ = false;
  uint64_t lines_ = 0;
  uint64_t line_bytes_ = 0;
  uint64_t line_longest_ = 0;
};

// BDAT (RFC 3030): CRLF, bare LF and CRCRLF become LF; another CR stays.
class ChunkDecoder {
 public:
  void Feed(std::string_view in, std::string* out);
  void Finish(std::string* out);  // the message ends here
  uint64_t lines() const { return lines_; }

 private:
  uint64_t crs_ = 0;  // at the end of what was fed
  uint64_t lines_ = 0;
};

}  // namespace gemel::smtp
