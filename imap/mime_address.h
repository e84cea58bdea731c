// Address lists (RFC 5322, 3.4 and 4.4), as ENVELOPE shows them (RFC 3501, 7.4.2).
//
// Threads: values.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gemel::imap {

// A mailbox has `mailbox` and `host`. The start of a group has its name in `mailbox` and no host; its end has nothing.
// What a mailbox lacks is filled with MISSING_MAILBOX, MISSING_DOMAIN, SYNTAX_ERROR, INVALID_ROUTE, as Dovecot does:
// a client that sees NIL there would take it for a group.
struct Address {
  std::optional<std::string> name;
  std::optional<std::string> route;
  std::optional<std::string> mailbox;
  std::optional<std::string> host;
};

// Never fails: what cannot be read ends the list. At most `addresses_max`, groups' ends not counted.
std::vector<Address> ParseAddresses(std::string_view value, size_t addresses_max);

}  // namespace gemel::imap
