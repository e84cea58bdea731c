// A message in memory, for tests.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "maildir/store.h"

namespace gemel::imap {

class MemoryMessage : public maildir::Body {
 public:
  explicit MemoryMessage(std::string text) : text_(std::move(text)) {}
  uint64_t bytes() const override { return text_.size(); }
  absl::StatusOr<std::string> Read(uint64_t offset, size_t bytes) const override {
    ++reads;
    bytes_read += bytes;
    if (fail_at_read >= 0 && reads > fail_at_read) return absl::UnavailableError("the disk failed");
    return offset >= text_.size() ? std::string() : text_.substr(static_cast<size_t>(offset), bytes);
  }

  int fail_at_read = -1;  // this read and all after it fail; counted from 0
  mutable int reads = 0;
  mutable uint64_t bytes_read = 0;

 private:
  std::string text_;
};

inline std::string ToCrlf(const std::string& lf) {
  std::string out;
  for (const char c : lf) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

}  // namespace gemel::imap
