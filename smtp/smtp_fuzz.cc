// A conversation with anybody. The first byte chooses the kind of session and its limits, the second how the rest is
// cut into reads. What is said and stored must not depend on the cuts, and a message is stored only where it ended
// by CRLF.CRLF or by BDAT LAST.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "journal/log.h"
#include "smtp/fakes.h"
#include "smtp/session.h"

namespace gemel::smtp {
namespace {

void Check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

struct Outcome {
  std::string said;
  std::vector<FakeService::Letter> letters;
  bool closed = false;
};

// `cuts` 0: all in one read, and stored only after it.
Outcome Converse(uint8_t settings, uint8_t cuts, std::string_view stream) {
  FakeService service;
  FakeConnection connection;
  SmtpLimits limits;
  auto options = std::make_shared<SessionOptions>();
  options->kind = (settings & 1) != 0 ? Kind::kSmtp : Kind::kLmtp;
  if ((settings & 2) != 0) options->message_bytes_max = 300;
  if ((settings & 4) != 0) options->line_bytes_max = 40;
  if ((settings & 8) != 0) service.result = absl::UnavailableError("");
  if ((settings & 16) != 0) options->received_max = 1;
  if ((settings & 32) != 0) connection.on_this_host = true;
  const bool tls = (settings & 64) != 0;
  service.writable = (settings & 128) == 0;
  {
    Session session(service, connection, limits, options);
    session.OnConnected();
    uint32_t random = cuts;
    while (!stream.empty()) {
      size_t n = stream.size();
      if (cuts != 0) {
        random = random * 1664525 + 1013904223;
        n = std::min<size_t>(n, (random >> 24) % (1 + cuts % 16) + 1);
      }
      session.OnBytes(stream.substr(0, n));
      if (cuts != 0 && (random >> 16 & 1) != 0) service.RunPosted();
      if (cuts != 0 && service.on_writable) std::exchange(service.on_writable, nullptr)();
      stream.remove_prefix(n);
    }
    service.RunPosted();
    if (connection.tls_starts != 0) {
      connection.tls_on = tls;
      session.OnTls();
      session.OnBytes("NOOP\r\nMAIL FROM:<x@a.test>\r\n");
    }
    session.OnShutdown();
    service.RunPosted();
    const size_t said_bytes = connection.sent.size();
    const bool closed = connection.closed;
    session.OnClosed();
    session.OnBytes("NOOP\r\n");
    service.RunPosted();
    Check(connection.sent.size() == said_bytes, "nothing is said after the end");
    Outcome outcome{std::move(connection.sent), std::move(service.letters), closed};
    Check(service.open == 0, "no delivery outlives its transaction");
    return outcome;
  }
}

void CheckReplies(std::string_view said) {
  while (!said.empty()) {
    const size_t end = said.find("\r\n");
    Check(end != std::string_view::npos, "every reply ends with CRLF");
    const std::string_view line = said.substr(0, end);
    Check(line.size() >= 4 && line.size() <= 5000, "a reply has a code");
    for (size_t i = 0; i < 3; ++i) Check(line[i] >= '0' && line[i] <= '9', "a reply's code is digits");
    Check(line[3] == ' ' || line[3] == '-', "behind the code");
    for (char c : line) Check(static_cast<unsigned char>(c) >= ' ' && c != 0x7f, "no control character in a reply");
    said.remove_prefix(end + 2);
  }
}

size_t Count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string_view::npos; ++at) ++n;
  return n;
}

std::string Upper(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  return upper;
}

}  // namespace
}  // namespace gemel::smtp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gemel::smtp;
  gemel::journal::SetLogLevel(gemel::journal::LogLevel::kOff);
  if (size < 2) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Outcome whole = Converse(data[0], 0, stream);
  const Outcome cut = Converse(data[0], data[1] == 0 ? 1 : data[1], stream);
  CheckReplies(whole.said);
  Check(whole.said == cut.said, "the cuts do not change what is said");
  Check(whole.closed == cut.closed, "the cuts do not change the end");
  Check(whole.letters.size() == cut.letters.size(), "the cuts do not change how much is stored");
  for (size_t i = 0; i < whole.letters.size(); ++i) {
    Check(whole.letters[i].body == cut.letters[i].body, "the cuts do not change what is stored");
  }

  const std::string upper = Upper(stream);
  const size_t by_data = Count(upper, "\r\n.\r\n");
  const bool bdat = upper.find("BDAT") != std::string::npos;
  Check(whole.letters.size() <= by_data + (bdat ? Count(upper, "LAST") : 0), "each message had its end");
  for (const FakeService::Letter& letter : whole.letters) {
    Check(bdat || letter.body.find('\r') == std::string::npos, "no CR is stored from DATA");
    Check(!letter.recipients.empty(), "somebody gets it");
    for (const auto& recipient : letter.recipients) {
      Check(recipient.target.name.ends_with("@example.test"), "it stays here");
      Check(Count(recipient.trace, "\n") >= 5 && recipient.trace.find('\r') == std::string::npos &&
                recipient.trace.starts_with("Return-Path: <") && recipient.trace.find("\n\n") == std::string::npos,
            "the trace is header lines");
      for (char c : recipient.trace) {
        Check(static_cast<unsigned char>(c) >= ' ' || c == '\n' || c == '\t', "the trace has no control character");
      }
    }
  }
  return 0;
}
