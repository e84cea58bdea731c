#include "smtp/trace.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "smtp/address.h"

namespace gemel::smtp {
namespace {

// A client may call itself anything: what is no host name must not become a comment or a line of its own.
void AppendName(std::string_view name, std::string* out) {
  if (name.empty()) out->append("unknown");
  for (char c : name) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
                       c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
    out->push_back(plain ? c : '?');
  }
}

}  // namespace

std::string MailDate(int64_t seconds) {
  static constexpr std::array<const char*, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = seconds;
  std::tm utc{};
  gmtime_r(&time, &utc);  // not strftime: its names follow the locale
  std::array<char, 80> text;
  const int n = std::snprintf(
      text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d +0000", kDays[static_cast<size_t>(utc.tm_wday)],
      utc.tm_mday, kMonths[static_cast<size_t>(utc.tm_mon)], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
  return {text.data(), static_cast<size_t>(n)};
}

std::string TraceHeaders(const TraceFields& fields) {
  std::string out;
  out.reserve(400);
  out.append("Return-Path: <").append(fields.sender).append(">\n");
  out.append("Delivered-To: ").append(fields.delivered_to).append("\n");
  out.append("Received: from ");
  AppendName(fields.helo, &out);
  out.append(" (").append(AddressLiteral(fields.peer_address)).append(")");
  if (!fields.tls.empty()) out.append("\n\t(using ").append(fields.tls).append(")");
  out.append("\n\tby ").append(fields.host_name).append(" (Gemel) with ").append(fields.protocol);
  out.append(" id ").append(fields.id);
  out.append("\n\tfor <").append(fields.recipient).append(">; ").append(MailDate(fields.now_s)).append("\n");
  return out;
}

}  // namespace gemel::smtp
