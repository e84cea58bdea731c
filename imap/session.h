// One IMAP4rev1 client: a state machine that is fed with bytes (engine/connection.h) and works on an account
// (engine/service.h). Where to start reading: imap/README.md.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "engine/connection.h"
#include "engine/loop.h"
#include "engine/service.h"

namespace gemel::imap {

struct SessionOptions {
  uint64_t login_timeout_ms = 5 * 60'000;    // from the greeting (after STARTTLS from there) to the login
  uint64_t idle_timeout_ms = 30 * 60'000;    // after it (RFC 3501, 5.4: at least 30 minutes)
  uint64_t keepalive_ms = 2 * 60'000;        // "* OK Still here" in IDLE, so that NAT keeps the way open
  uint64_t login_bytes_max = 256 * 1024;     // that a client may send before it has logged in
  uint64_t append_bytes_max = 150ull << 20;  // a message, as sent; also told as APPENDLIMIT (RFC 7889)
  bool plaintext_login = false;              // LOGIN without TLS also from other hosts
};

// A client that logged in at the other node, of which this one is the home: no greeting, no login.
struct Preauthenticated {
  engine::AccountId account;
  std::string name;
};

// All must outlive the session.
std::unique_ptr<engine::ProtocolSession> MakeSession(engine::Service& service, engine::Loop& loop,
                                                     engine::Connection& connection, const SessionOptions& options,
                                                     std::optional<Preauthenticated> preauthenticated = std::nullopt);

}  // namespace gemel::imap
