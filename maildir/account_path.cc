#include "maildir/account_path.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "absl/strings/ascii.h"

namespace gemel::maildir {
namespace {

constexpr size_t kPartBytesMax = 200;

std::string EncodePart(std::string_view part) {
  if (part.empty()) return "%";  // nothing else is encoded so
  std::string out;
  for (const char raw : part) {
    const char c = absl::ascii_tolower(static_cast<unsigned char>(raw));
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '+' ||
                       c == '=' || (c == '.' && !out.empty());
    if (plain) {
      out.push_back(c);
    } else {
      out += fmt::format("%{:02x}", static_cast<uint8_t>(c));
    }
  }
  if (out.size() <= kPartBytesMax) return out;
  const std::string folded = absl::AsciiStrToLower(absl::string_view(part.data(), part.size()));
  const XXH128_hash_t hash = XXH3_128bits(folded.data(), folded.size());
  // '%' and 'x' together stand in no encoded byte.
  return fmt::format("{}%x{:016x}{:016x}", out.substr(0, 150), hash.high64, hash.low64);
}

}  // namespace

std::string AccountPath(std::string_view address) {
  const size_t at = address.rfind('@');
  if (at == std::string_view::npos) return "%/" + EncodePart(address);
  return EncodePart(address.substr(at + 1)) + "/" + EncodePart(address.substr(0, at));
}

}  // namespace gemel::maildir
