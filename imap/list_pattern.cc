#include "imap/list_pattern.h"

#include <utility>
#include <vector>

namespace gemel::imap {
namespace {

char Upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

bool MatchesListPattern(std::string_view pattern, std::string_view name) {
  constexpr std::string_view kInbox = "INBOX";
  const size_t any_case = name.substr(0, name.find('/')) == kInbox ? kInbox.size() : 0;
  const auto wildcard = [pattern](size_t i) { return pattern[i] == '*' || pattern[i] == '%'; };
  // reached[i]: the pattern's first i characters match the part of the name read so far.
  std::vector<char> reached(pattern.size() + 1, 0);
  reached[0] = 1;
  for (size_t i = 0; i < pattern.size() && wildcard(i); ++i) reached[i + 1] = 1;
  for (size_t at = 0; at < name.size(); ++at) {
    const char c = name[at];
    std::vector<char> next(pattern.size() + 1, 0);
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (wildcard(i)) {
        if (next[i] != 0 || (reached[i + 1] != 0 && (pattern[i] == '*' || c != '/'))) next[i + 1] = 1;
      } else if (reached[i] != 0 && (pattern[i] == c || (at < any_case && Upper(pattern[i]) == c))) {
        next[i + 1] = 1;
      }
    }
    reached = std::move(next);
  }
  return reached.back() != 0;
}

}  // namespace gemel::imap
