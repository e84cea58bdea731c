// From the bytes of DATA and BDAT on the wire to a message in LF form (decision 8), while they arrive.
//
// Values only, no I/O; nothing is held back but what the last two bytes may still mean. Output is appended to *out.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::smtp {

// Of the lines decoded so far. A line's CRLF is not counted, a dot that is stuffed is.
class LineCount {
 public:
  void Add(uint64_t bytes) { longest_ = std::max(longest_, bytes_ += bytes); }
  void EndLine() {
    ++ended_;
    bytes_ = 0;
  }
  uint64_t ended() const { return ended_; }
  uint64_t longest_bytes() const { return longest_; }  // the one that has not ended included

 private:
  uint64_t ended_ = 0;
  uint64_t bytes_ = 0;
  uint64_t longest_ = 0;
};

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
  const LineCount& lines() const { return lines_; }  // without the final dot

 private:
  enum class State : uint8_t {
    kLineStart,
    kDot,    // "." at the start of a line
    kDotCr,  // "." CR at the start of a line
    kText,
    kCr,  // CR in or behind text
    kDone,
  };

  State state_ = State::kLineStart;
  bool bare_cr_ = false;
  bool bare_lf_ = false;
  LineCount lines_;
};

// BDAT (RFC 3030): CRLF, bare LF and CRCRLF become LF; another CR stays.
class ChunkDecoder {
 public:
  void Feed(std::string_view in, std::string* out);
  void Finish(std::string* out);  // the message ends here
  const LineCount& lines() const { return lines_; }

 private:
  uint64_t crs_ = 0;  // held back, at most the two that an LF would take with it
  LineCount lines_;
};

}  // namespace gemel::smtp
