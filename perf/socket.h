// Plain TCP sockets for the load generator.
#pragma once
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace gemel::perf {

// "127.0.0.1:2424", "[::1]:143" or "localhost:24".
struct Address {
  std::string host;
  uint16_t port = 0;
  std::string Text() const;
};

// InvalidArgument: no port, or not a number.
absl::StatusOr<Address> ParseAddress(const std::string& text);

// A connected, blocking socket with TCP_NODELAY; the caller closes it. Unavailable: nobody answers there.
absl::StatusOr<int> Connect(const Address& address);

}  // namespace gemel::perf
