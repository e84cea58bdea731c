#include "smtp/decoder.h"

namespace gemel::smtp {
namespace {

// Finds CRs and LFs from left to right. memchr runs at memory speed, which a loop over bytes does not; the LF is
// remembered, so that no byte is looked at more than twice, however many of them are CRs.
class LineEnds {
 public:
  explicit LineEnds(std::string_view in) : in_(in), lf_(std::min(in.find('\n'), in.size())) {}
  // The first one at or behind `from`; the end of the input if there is none.
  size_t Next(size_t from) {
    if (lf_ < from) lf_ = std::min(in_.find('\n', from), in_.size());
    return std::min(in_.substr(0, lf_).find('\r', from), lf_);
  }

 private:
  const std::string_view in_;
  size_t lf_;
};

}  // namespace

size_t DataDecoder::Feed(std::string_view in, std::string* out) {
  LineEnds line_ends(in);
  size_t i = 0;
  while (i < in.size() && state_ != State::kDone) {
    const char c = in[i];
    switch (state_) {
      case State::kLineStart:
        if (c == '.') {
          state_ = State::kDot;
          ++i;
        } else {
          state_ = State::kText;
        }
        break;
      case State::kDot:  // stuffed, or the end: the dot itself is never part of the message
        if (c == '\r') {
          state_ = State::kDotCr;
          ++i;
        } else {
          state_ = State::kText;
        }
        break;
      case State::kDotCr:
        if (c == '\n') {
          state_ = State::kDone;
          ++i;
        } else {
          state_ = State::kCr;
        }
        break;
      case State::kText: {
        const size_t end = line_ends.Next(i);
        out->append(in, i, end - i);
        lines_.Add(end - i);
        i = end;
        if (i == in.size()) break;
        if (in[i] == '\r') {
          state_ = State::kCr;
        } else {
          bare_lf_ = true;
          out->push_back('\n');
          lines_.Add(1);
        }
        ++i;
        break;
      }
      case State::kCr:
        if (c == '\n') {
          out->push_back('\n');
          lines_.EndLine();
          state_ = State::kLineStart;
          ++i;
        } else {
          bare_cr_ = true;
          out->push_back('\r');
          lines_.Add(1);
          state_ = State::kText;
        }
        break;
      case State::kDone:
        break;
    }
  }
  return i;
}

void ChunkDecoder::Feed(std::string_view in, std::string* out) {
  LineEnds line_ends(in);
  for (size_t i = 0; i < in.size();) {
    const size_t end = line_ends.Next(i);
    if (end > i) {
      Finish(out);  // the CRs before a text are text
      out->append(in, i, end - i);
      lines_.Add(end - i);
      i = end;
      continue;
    }
    if (in[i] == '\n') {
      crs_ = 0;
      out->push_back('\n');
      lines_.EndLine();
    } else if (crs_ == 2) {
      out->push_back('\r');
      lines_.Add(1);
    } else {
      ++crs_;
    }
    ++i;
  }
}

void ChunkDecoder::Finish(std::string* out) {
  out->append(crs_, '\r');
  lines_.Add(crs_);
  crs_ = 0;
}

}  // namespace gemel::smtp
