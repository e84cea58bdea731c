#include "imap/list_pattern.h"

#include <algorithm>
#include <string>
#include <vector>

namespace gemel::imap {
namespace {

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool IsWildcard(char c) { return c == '*' || c == '%'; }

// Of wildcards in a row '*' does all that the others do, and one '%' as much as several.
std::string WithoutNeedlessWildcards(std::string_view pattern) {
  std::string needed;
  for (const char c : pattern) {
    if (!IsWildcard(c) || needed.empty() || !IsWildcard(needed.back())) {
      needed += c;
    } else if (c == '*') {
      needed.back() = c;
    }
  }
  return needed;
}

}  // namespace

bool MatchesListPattern(std::string_view whole_pattern, std::string_view name) {
  constexpr std::string_view kInbox = "INBOX";
  const size_t any_case = name.substr(0, name.find('/')) == kInbox ? kInbox.size() : 0;
  const std::string pattern = WithoutNeedlessWildcards(whole_pattern);
  const auto literals = std::count_if(pattern.begin(), pattern.end(), [](char c) { return !IsWildcard(c); });
  if (static_cast<size_t>(literals) > name.size()) return false;
  // reached[i]: the pattern's first i characters match the part of the name read so far.
  std::vector<char> reached(pattern.size() + 1, 0), next(pattern.size() + 1, 0);
  reached[0] = 1;
  for (size_t i = 0; i < pattern.size() && IsWildcard(pattern[i]); ++i) reached[i + 1] = 1;
  for (size_t at = 0; at < name.size(); ++at) {
    const char c = name[at];
    std::fill(next.begin(), next.end(), 0);
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (IsWildcard(pattern[i])) {
        if (next[i] != 0 || (reached[i + 1] != 0 && (pattern[i] == '*' || c != '/'))) next[i + 1] = 1;
      } else if (reached[i] != 0 && (pattern[i] == c || (at < any_case && Upper(pattern[i]) == c))) {
        next[i + 1] = 1;
      }
    }
    reached.swap(next);
  }
  return reached.back() != 0;
}

}  // namespace gemel::imap
