#include "engine/config_values.h"

#include <charconv>
#include <optional>

#include "fmt/format.h"

namespace gemel::engine {
namespace {

struct Unit {
  const char* suffix;
  uint64_t factor;
};
// Largest first, for formatting.
constexpr Unit kByteUnits[] = {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}};
constexpr Unit kTimeUnits[] = {{"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}, {"ms", 1}};

// nullopt: no number, an unknown unit, or too much.
std::optional<uint64_t> ParseWithUnit(std::string_view text, const Unit* begin, const Unit* end,
                                      bool bare_number_is_fine) {
  uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  std::string_view suffix = text.substr(rest - text.data());
  while (!suffix.empty() && suffix.front() == ' ') suffix.remove_prefix(1);
  if (suffix.empty() && (bare_number_is_fine || number == 0)) return number;
  for (const Unit* unit = begin; unit != end; ++unit) {
    if (suffix != unit->suffix) continue;
    if (number > UINT64_MAX / unit->factor) return std::nullopt;
    return number * unit->factor;
  }
  return std::nullopt;
}

std::string FormatWithUnit(uint64_t value, const Unit* begin, const Unit* end) {
  if (value == 0) return "0";
  for (const Unit* unit = begin; unit != end; ++unit) {
    if (value % unit->factor == 0) return fmt::format("{}{}", value / unit->factor, unit->suffix);
  }
  return fmt::format("{}", value);
}

}  // namespace

std::string QuoteToml(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

absl::StatusOr<uint64_t> ParseBytes(std::string_view text) {
  if (auto value = ParseWithUnit(text, std::begin(kByteUnits), std::end(kByteUnits), true)) return *value;
  return absl::InvalidArgumentError("a size is wanted, such as 4096, \"64KiB\", \"64MiB\" or \"2GiB\"");
}

absl::StatusOr<uint64_t> ParseMilliseconds(std::string_view text) {
  if (auto value = ParseWithUnit(text, std::begin(kTimeUnits), std::end(kTimeUnits), false)) return *value;
  return absl::InvalidArgumentError("a duration is wanted, such as \"500ms\", \"3s\", \"5min\", \"2h\" or \"14d\"");
}

std::string FormatBytes(uint64_t bytes) { return FormatWithUnit(bytes, std::begin(kByteUnits), std::end(kByteUnits)); }

std::string FormatMilliseconds(uint64_t milliseconds) {
  return FormatWithUnit(milliseconds, std::begin(kTimeUnits), std::end(kTimeUnits));
}

std::string HostPort::ToString() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

absl::StatusOr<HostPort> ParseHostPort(std::string_view text) {
  const auto bad = [&](const char* why) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {}; ADDRESS:PORT is wanted, such as 192.0.2.1:7425 or [::1]:7425", QuoteToml(text), why));
  };
  HostPort out;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t end = text.find("]:");
    if (end == std::string_view::npos) return bad("no ] with a port behind it");
    out.host = text.substr(1, end - 1);
    port = text.substr(end + 2);
  } else {
    const size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad("no port");
    out.host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (out.host.find(':') != std::string::npos) return bad("an IPv6 address needs brackets");
  }
  if (out.host.empty()) return bad("no address");
  const auto [rest, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
  if (error != std::errc() || rest != port.data() + port.size()) return bad("the port is not a number up to 65535");
  return out;
}

}  // namespace gemel::engine
