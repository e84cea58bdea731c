#include "smtp/decoder.h"

#include <algorithm>
#include <cstring>

namespace gemel::smtp {

void DataDecoder::EndLine(std::string* out) {
  out->push_back('\n');
  ++lines_;
  line_bytes_ = 0;
  state_ = State::kLineStart;
}

// One memchr for the LF and one for a CR before it: both run at memory speed, which a loop over bytes does not.
size_t DataDecoder::FeedText(std::string_view in, std::string* out) {
  const char* const begin = in.data();
  const auto* lf = static_cast<const char*>(std::memchr(begin, '\n', in.size()));
  const size_t until_lf = lf != nullptr ? static_cast<size_t>(lf - begin) : in.size();
  const auto* cr = static_cast<const char*>(std::memchr(begin, '\r', until_lf));
  const size_t text = cr != nullptr ? static_cast<size_t>(cr - begin) : until_lf;
  out->append(begin, text);
  line_bytes_ += text;
  line_longest_ = std::max(line_longest_, line_bytes_);
  if (cr != nullptr) {
    if (cr + 1 == lf) {
      EndLine(out);
      return text + 2;
    }
    state_ = State::kCr;
    return text + 1;
  }
  if (lf != nullptr) {
    bare_lf_ = true;
    out->push_back('\n');
    ++line_bytes_;
    return text + 1;
  }
  return text;
}

size_t DataDecoder::Feed(std::string_view in, std::string* out) {
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
      case State::kText:
        i += FeedText(in.substr(i), out);
        break;
      case State::kCr:
        if (c == '\n') {
          EndLine(out);
          ++i;
        } else {
          bare_cr_ = true;
          out->push_back('\r');
          ++line_bytes_;
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
  size_t i = 0;
  while (i < in.size()) {
    if (in[i] == '\r') {
      ++crs_;
      ++i;
      continue;
    }
    if (in[i] == '\n') {
      if (crs_ > 2) out->append(crs_ - 2, '\r');
      out->push_back('\n');
      ++lines_;
      ++i;
    } else {
      out->append(crs_, '\r');
      const std::string_view rest = in.substr(i);
      const auto* lf = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
      const size_t until_lf = lf != nullptr ? static_cast<size_t>(lf - rest.data()) : rest.size();
      const auto* cr = static_cast<const char*>(std::memchr(rest.data(), '\r', until_lf));
      const size_t text = cr != nullptr ? static_cast<size_t>(cr - rest.data()) : until_lf;
      out->append(rest.data(), text);
      i += text;
    }
    crs_ = 0;
  }
}

void ChunkDecoder::Finish(std::string* out) {
  out->append(crs_, '\r');
  crs_ = 0;
}

}  // namespace gemel::smtp
