#include "smtp/address.h"

#include <arpa/inet.h>

#include <array>
#include <optional>

#include "absl/status/status.h"

namespace gemel::smtp {
namespace {

constexpr size_t kDomainBytesMax = 255;  // RFC 5321, 4.5.3.1.2

bool IsAlnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsHigh(char c) { return static_cast<unsigned char>(c) >= 0x80; }
bool IsPrintable(char c) { return c >= ' ' && c <= '~'; }
// RFC 5322, 3.2.3; RFC 6531, 3.3 adds UTF-8.
bool IsAtext(char c) {
  return IsAlnum(c) || IsHigh(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}

// The content of a local part in the shortest lawful form.
std::string CanonicalLocal(std::string_view content) {
  bool plain = !content.empty() && content.front() != '.' && content.back() != '.';
  for (size_t i = 0; plain && i < content.size(); ++i) {
    plain = IsAtext(content[i]) || (content[i] == '.' && content[i - 1] != '.');
  }
  if (plain) return std::string(content);
  std::string quoted = "\"";
  for (char c : content) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

// Takes a quoted string (RFC 5321, 4.1.2: Quoted-string) from the front of *in and gives its content.
std::optional<std::string> TakeQuoted(std::string_view* in) {
  std::string content;
  for (size_t i = 1; i < in->size(); ++i) {
    char c = (*in)[i];
    if (c == '"') {
      in->remove_prefix(i + 1);
      return content;
    }
    if (c == '\\') {
      if (++i == in->size()) return std::nullopt;
      c = (*in)[i];
      if (!IsPrintable(c)) return std::nullopt;
    } else if (!IsPrintable(c) && !IsHigh(c)) {
      return std::nullopt;
    }
    content += c;
  }
  return std::nullopt;
}

// Real senders have dots in a row and at the end; such an address merely is nobody's here, so they are let through
// as they stand.
std::optional<std::string> TakeDotString(std::string_view* in) {
  size_t n = 0;
  while (n < in->size() && (IsAtext((*in)[n]) || (*in)[n] == '.')) ++n;
  if (n == 0) return std::nullopt;
  std::string local(in->substr(0, n));
  in->remove_prefix(n);
  return local;
}

bool IsLiteral(std::string_view inside) {
  std::array<unsigned char, 16> binary;
  if (inside.size() > 5 && EqualsIgnoreCase(inside.substr(0, 5), "IPv6:")) {
    return inet_pton(AF_INET6, std::string(inside.substr(5)).c_str(), binary.data()) == 1;
  }
  return inet_pton(AF_INET, std::string(inside).c_str(), binary.data()) == 1;
}

// Takes a domain or an address literal from the front of *in.
std::optional<std::string_view> TakeDomain(std::string_view* in) {
  size_t n = 0;
  if (!in->empty() && in->front() == '[') {
    n = in->find(']');
    if (n == std::string_view::npos || !IsLiteral(in->substr(1, n - 1))) return std::nullopt;
    ++n;
  } else {
    bool label_empty = true;
    for (; n < in->size(); ++n) {
      const char c = (*in)[n];
      if (c == '.') {
        if (label_empty) return std::nullopt;
        label_empty = true;
      } else if (IsAlnum(c) || IsHigh(c) || c == '-' || c == '_') {
        label_empty = false;
      } else {
        break;
      }
    }
    if (label_empty) return std::nullopt;
  }
  if (n > kDomainBytesMax) return std::nullopt;
  const std::string_view domain = in->substr(0, n);
  in->remove_prefix(n);
  return domain;
}

// Takes `@one,@two:` from the front of *in, if it is there. False: it begins and is malformed.
bool SkipSourceRoute(std::string_view* in) {
  if (in->empty() || in->front() != '@') return true;
  while (true) {
    if (in->empty() || in->front() != '@') return false;
    in->remove_prefix(1);
    if (!TakeDomain(in) || in->empty()) return false;
    const char separator = in->front();
    in->remove_prefix(1);
    if (separator == ':') return true;
    if (separator != ',') return false;
  }
}

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

bool IsValidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xc2 && lead <= 0xdf   ? 1
                     : lead >= 0xe0 && lead <= 0xef ? 2
                     : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                    : 0;
    if (more == 0) return false;
    for (int k = 0; k < more; ++k, ++i) {
      if (i == text.size()) return false;
      const auto c = static_cast<unsigned char>(text[i]);
      if ((c & 0xc0) != 0x80) return false;
      if (k == 0 && ((lead == 0xe0 && c < 0xa0) || (lead == 0xed && c > 0x9f) || (lead == 0xf0 && c < 0x90) ||
                     (lead == 0xf4 && c > 0x8f))) {
        return false;
      }
    }
  }
  return true;
}

std::string AddressLiteral(std::string_view ip_address) {
  const std::string ip(ip_address);
  std::array<unsigned char, 16> binary;
  if (inet_pton(AF_INET, ip.c_str(), binary.data()) == 1) return "[" + ip + "]";
  if (inet_pton(AF_INET6, ip.c_str(), binary.data()) == 1) return "[IPv6:" + ip + "]";
  return ip;
}

absl::StatusOr<Path> ParsePath(std::string_view text, PathKind kind) {
  const absl::Status malformed = absl::InvalidArgumentError("malformed path");
  if (text.empty() || text.front() != '<') return malformed;
  text.remove_prefix(1);
  Path path;
  if (kind == PathKind::kReverse && !text.empty() && text.front() == '>') {
    path.rest = text.substr(1);
    return path;
  }
  if (!SkipSourceRoute(&text)) return malformed;
  if (text.empty()) return malformed;
  const bool quoted = text.front() == '"';
  const std::optional<std::string> local = quoted ? TakeQuoted(&text) : TakeDotString(&text);
  if (!local || text.empty()) return malformed;
  path.address = quoted ? CanonicalLocal(*local) : *local;
  if (text.front() == '@') {
    text.remove_prefix(1);
    const std::optional<std::string_view> domain = TakeDomain(&text);
    if (!domain) return malformed;
    path.address += '@';
    path.address += *domain;
  } else if (kind == PathKind::kForward && !EqualsIgnoreCase(*local, "postmaster")) {
    return malformed;
  }
  if (text.empty() || text.front() != '>' || path.address.size() > kAddressBytesMax) return malformed;
  for (char c : path.address) path.non_ascii = path.non_ascii || IsHigh(c);
  if (path.non_ascii && !IsValidUtf8(path.address)) return malformed;
  path.rest = text.substr(1);
  return path;
}

}  // namespace gemel::smtp
