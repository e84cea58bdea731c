// Keywords are the same in any case (RFC 3501, 2.3.2 leaves it open; all servers in use fold it).
#pragma once
#include <string>
#include <vector>

#include "engine/service.h"
#include "imap/cursor.h"

namespace gemel::imap {

// `keywords` as the mailbox spells them where it has them.
inline std::vector<std::string> KnownSpelling(const engine::Mailbox& mailbox, std::vector<std::string> keywords) {
  for (std::string& keyword : keywords) {
    for (const std::string& known : mailbox.keywords) {
      if (!EqualsIgnoringCase(known, keyword)) continue;
      keyword = known;
      break;
    }
  }
  return keywords;
}

}  // namespace gemel::imap
