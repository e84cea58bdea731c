#include "engine/header_scan.h"

#include <strings.h>

namespace gemel::engine {

std::string FindHeader(std::string_view message, std::string_view name) {
  while (!message.empty() && message[0] != '\n' && message[0] != '\r') {
    const bool here = message.size() > name.size() && message[name.size()] == ':' &&
                      strncasecmp(message.data(), name.data(), name.size()) == 0;
    size_t end = message.find('\n');
    while (end != std::string_view::npos && end + 1 < message.size() &&
           (message[end + 1] == ' ' || message[end + 1] == '\t')) {
      end = message.find('\n', end + 1);
    }
    if (here) {
      std::string value;
      for (const char c :
           message.substr(name.size() + 1, end == std::string_view::npos ? end : end - name.size() - 1)) {
        if (c != '\r' && c != '\n') value += c;
      }
      const size_t begin = value.find_first_not_of(" \t");
      if (begin == std::string::npos) return "";
      return value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
    }
    if (end == std::string_view::npos) break;
    message.remove_prefix(end + 1);
  }
  return "";
}

}  // namespace gemel::engine
