// Values as gemeld.toml and the command line write them. Functions only; errors say what would be right.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace gemel::engine {

// "64MiB", "1GiB", "4096"; "500ms", "3s", "14d". InvalidArgument says what would be right.
absl::StatusOr<uint64_t> ParseBytes(std::string_view text);
absl::StatusOr<uint64_t> ParseMilliseconds(std::string_view text);
std::string FormatBytes(uint64_t bytes);
std::string FormatMilliseconds(uint64_t milliseconds);

struct HostPort {
  std::string host;  // without brackets
  uint16_t port = 0;
  std::string ToString() const;  // IPv6 in brackets
};
// "192.0.2.1:25", "[::1]:25", "mx.example.test:25".
absl::StatusOr<HostPort> ParseHostPort(std::string_view text);

std::string QuoteToml(std::string_view text);  // as a TOML string, with its quotes

}  // namespace gemel::engine
