// The header lines that a delivery puts before a message (RFC 5321, 4.4).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::smtp {

struct TraceFields {
  std::string_view sender;        // envelope, "" for <>
  std::string_view delivered_to;  // the account's name
  std::string_view recipient;     // envelope, as given
  std::string_view helo;          // as the client called itself
  std::string_view peer_address;  // without port; "unix" for a Unix socket
  std::string_view host_name;     // ours
  std::string_view protocol;      // ESMTPS, LMTP, UTF8SMTP ... (RFC 3848; RFC 6531, 4.3)
  std::string_view tls;           // "TLSv1.3 TLS_AES_256_GCM_SHA384", "" without
  std::string_view id;
  int64_t now_s = 0;
};

// Return-Path, Delivered-To, Received; LF form, each line ended.
std::string TraceHeaders(const TraceFields& fields);

// "Mon, 23 Nov 2026 23:15:01 +0000" (RFC 5322, 3.3)
std::string MailDate(int64_t seconds);

}  // namespace gemel::smtp
