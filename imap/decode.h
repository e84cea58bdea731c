// Mail text as a reader would see it, for comparing: encoded words, transfer encodings and charsets undone, case
// folded.
//
// Forgiving: what cannot be decoded is kept as it is, so that a search still finds it by its bytes.
//
// Threads: any, but TextDecoder one at a time.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace gemel::imap {

// Before the first use of GMime; again does nothing.
void InitMime();

// To UTF-8. Nullopt: iconv knows no such charset, or the text is not lawful in it.
std::optional<std::string> ToUtf8(std::string_view text, std::string_view charset);

// For comparing without regard to case (RFC 5051): Unicode case folding and decomposition. Bytes that are no UTF-8 are
// taken for Latin-1.
std::string FoldCase(std::string_view utf8);

// A header value, unfolded, its encoded words (RFC 2047) decoded. 8-bit text is left for FoldCase.
std::string DecodeHeader(std::string_view raw_value);

// A part's body piece by piece: from its transfer encoding and charset to folded UTF-8 (FoldCase).
class TextDecoder {
 public:
  // `encoding`, `charset` as the headers name them; unknown ones count as 8bit and Windows-1252.
  TextDecoder(std::string_view encoding, std::string_view charset);
  ~TextDecoder();
  TextDecoder(const TextDecoder&) = delete;
  TextDecoder& operator=(const TextDecoder&) = delete;

  // What `bytes` decode to, as far as it is complete; the rest comes with a later call.
  std::string Decode(std::string_view bytes);
  std::string Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gemel::imap
