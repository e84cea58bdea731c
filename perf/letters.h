// Letters for load: realistic enough for compression, parsing and search to cost what they cost in life.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gemel::perf {

// A fixed number of letters is made once, from a seed; each one handed out differs in its Message-ID,
// in a Received header and in a line of its body, so that no two have the same content. One in five has a base64 part.
// Lines end in CRLF and no line begins with a dot, so that a letter goes over LMTP, SMTP and APPEND unchanged. Not
// thread-safe.
class Letters {
 public:
  // `size_bytes`: of each whole letter, with CRLF; at least kSizeBytesMin (smaller ones are raised to it).
  Letters(size_t size_bytes, uint64_t seed);

  // Appends one letter to `out`. `id` must not repeat under one `seed`.
  void Append(uint64_t id, std::string& out);

  // A word that is in about one letter in 64, for SEARCH.
  static std::string_view RareWord() { return "zanzibar"; }

  static constexpr size_t kSizeBytesMin = 1536;

 private:
  std::string Make(size_t size_bytes, bool with_attachment);

  struct Letter {
    std::string text;
    std::vector<size_t> id_offsets;  // where each 16-digit id stands
  };
  std::vector<Letter> pool_;
  uint64_t seed_;
  uint64_t random_;
};

}  // namespace gemel::perf
