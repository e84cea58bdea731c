#include "imap/list_pattern.h"

#include <string>
#include <vector>

#include "imap/cursor.h"

namespace gemel::imap {
namespace {

// reached[i]: the pattern's first i characters match the part of the name read so far.
bool Matches(std::string_view pattern, std::string_view name) {
  std::vector<char> reached(pattern.size() + 1, 0);
  const auto wildcard = [pattern](size_t i) { return pattern[i] == '*' || pattern[i] == '%'; };
  reached[0] = 1;
  for (size_t i = 0; i < pattern.size() && wildcard(i); ++i) reached[i + 1] = 1;
  for (const char c : name) {
    std::vector<char> next(pattern.size() + 1, 0);
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (wildcard(i)) {
        if (next[i] != 0 || (reached[i + 1] != 0 && (pattern[i] == '*' || c != '/'))) next[i + 1] = 1;
      } else if (reached[i] != 0 && pattern[i] == c) {
        next[i + 1] = 1;
      }
    }
    reached = std::move(next);
  }
  return reached.back() != 0;
}

}  // namespace

bool MatchesListPattern(std::string_view pattern, std::string_view name) {
  constexpr std::string_view kInbox = "INBOX";
  if (name.starts_with(kInbox) && (name.size() == kInbox.size() || name[kInbox.size()] == '/') &&
      EqualsIgnoringCase(pattern.substr(0, kInbox.size()), kInbox)) {
    return Matches(std::string(kInbox).append(pattern.substr(kInbox.size())), name);
  }
  return Matches(pattern, name);
}

}  // namespace gemel::imap
