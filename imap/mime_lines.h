// A message file line by line, in bounded memory.
//
// Threads: one at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "maildir/store.h"

namespace gemel::imap {

inline constexpr size_t kReadBytes = 64 * 1024;

// A line with its newline, or a piece of one that is longer than kReadBytes. Lives until the next call.
struct LinePiece {
  std::string_view text;
  uint64_t begin = 0;  // in the file
  bool starts_line = true;
  bool ends_line = true;  // the newline is the last byte
  uint64_t end() const { return begin + text.size(); }
};

class LineScanner {
 public:
  // Bytes [begin, end) of `body`, which must outlive this; begin is the start of a line.
  LineScanner(const maildir::Body& body, uint64_t begin, uint64_t end) : body_(body), next_read_(begin), end_(end) {
    at_file_ = begin;
  }
  // False at the end, or at a failure: see status().
  bool Next(LinePiece* piece);
  const absl::Status& status() const { return status_; }

 private:
  bool Fill();

  const maildir::Body& body_;
  uint64_t next_read_;
  const uint64_t end_;
  uint64_t at_file_ = 0;  // of buffer_[at_]
  std::string buffer_;
  size_t at_ = 0;
  bool starts_line_ = true;
  absl::Status status_;
};

// The empty line that ends a header.
inline bool IsEmptyLine(const LinePiece& piece) {
  return piece.starts_line && piece.ends_line && (piece.text == "\n" || piece.text == "\r\n");
}

}  // namespace gemel::imap
