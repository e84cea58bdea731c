#include "maildir/file_name.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace gemel::maildir {
namespace {

constexpr std::string_view kMark = ".gemel,S=";
constexpr std::string_view kFlagMark = ":2,";
constexpr size_t kKeywordLetters = 26;

struct Letter {
  char letter;
  Flags flag;
};
// By ASCII, as maildir(5) asks.
constexpr std::array<Letter, 5> kLetters{{{'D', journal::kDraft},
                                          {'F', journal::kFlagged},
                                          {'R', journal::kAnswered},
                                          {'S', journal::kSeen},
                                          {'T', journal::kDeleted}}};

// Decimal as fmt writes it: no sign but '-', no leading zero.
template <class T>
bool TakeNumber(std::string_view* in, T* value) {
  const auto [end, error] = std::from_chars(in->data(), in->data() + in->size(), *value);
  if (error != std::errc()) return false;
  const auto used = static_cast<size_t>(end - in->data());
  if (fmt::format("{}", *value) != in->substr(0, used)) return false;
  in->remove_prefix(used);
  return true;
}

bool Take(std::string_view* in, std::string_view expected) {
  if (!in->starts_with(expected)) return false;
  in->remove_prefix(expected.size());
  return true;
}

std::optional<FileName> ParseBase(std::string_view base) {
  FileName name;
  name.base = base;
  std::string_view rest = base;
  if (!TakeNumber(&rest, &name.internal_date_s) || !Take(&rest, ".") || rest.size() < 16) return std::nullopt;
  const auto hash = journal::U64FromHex(rest.substr(0, 16));
  if (!hash || journal::HexU64(*hash) != rest.substr(0, 16)) return std::nullopt;
  name.dot_hash = *hash;
  rest.remove_prefix(16);
  if (!Take(&rest, kMark) || !TakeNumber(&rest, &name.bytes)) return std::nullopt;
  if (!Take(&rest, ",W=") || !TakeNumber(&rest, &name.crlf_bytes) || !rest.empty()) return std::nullopt;
  return name;
}

}  // namespace

uint64_t DotHash(const Dot& dot) {
  // Fixed little-endian bytes, so that every machine gives a message the same name.
  std::array<uint8_t, 24> bytes{};
  const std::array<uint64_t, 3> parts{dot.origin.node, dot.origin.incarnation, dot.seq};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(parts[i / 8] >> (8 * (i % 8)));
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string MaildirBaseName(const Message& message) {
  return fmt::format("{}.{:016x}.gemel,S={},W={}", message.internal_date_s, DotHash(message.dot), message.bytes,
                     message.crlf_bytes);
}

std::string MaildirFlagLetters(Flags flags, const std::vector<uint16_t>& keyword_indexes) {
  std::string letters;
  for (const auto& [letter, flag] : kLetters) {
    if ((flags & flag) != 0) letters.push_back(letter);
  }
  const size_t system = letters.size();
  for (const uint16_t index : keyword_indexes) {
    if (index < kKeywordLetters) letters.push_back(static_cast<char>('a' + index));
  }
  std::sort(letters.begin() + static_cast<std::ptrdiff_t>(system), letters.end());
  return letters;
}

std::string RelativePath(const Message& message, const std::vector<uint16_t>& keyword_indexes) {
  if (message.flags == 0 && keyword_indexes.empty()) return "new/" + MaildirBaseName(message);
  return "cur/" + MaildirBaseName(message) + std::string(kFlagMark) +
         MaildirFlagLetters(message.flags, keyword_indexes);
}

std::optional<FileName> ParseFileName(std::string_view name) {
  const size_t colon = name.find(':');
  auto parsed = ParseBase(name.substr(0, colon));
  if (!parsed || colon == std::string_view::npos) return parsed;
  std::string_view rest = name.substr(colon);
  if (!Take(&rest, kFlagMark)) return std::nullopt;
  parsed->has_flags = true;
  for (const auto& [letter, flag] : kLetters) {
    if (rest.empty() || rest.front() != letter) continue;
    parsed->flags = static_cast<Flags>(parsed->flags | flag);
    rest.remove_prefix(1);
  }
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] < 'a' || rest[i] > 'z' || (i > 0 && rest[i] <= rest[i - 1])) return std::nullopt;
  }
  parsed->keyword_letters = rest;
  return parsed;
}

bool IsOwnFileName(std::string_view name) { return ParseBase(BaseOf(name)).has_value(); }

std::string_view BaseOf(std::string_view name) { return name.substr(0, name.find(':')); }

std::string_view FileNameOf(std::string_view path) { return path.substr(path.rfind('/') + 1); }

Flags FlagsOfAnyName(std::string_view name) {
  Flags flags = 0;
  const size_t mark = name.rfind(kFlagMark);
  if (mark == std::string_view::npos) return flags;
  for (const char c : name.substr(mark + kFlagMark.size())) {
    for (const auto& [letter, flag] : kLetters) {
      if (c == letter) flags = static_cast<Flags>(flags | flag);
    }
  }
  return flags;
}

}  // namespace gemel::maildir
