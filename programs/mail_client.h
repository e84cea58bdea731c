// Just enough of an LMTP, SMTP and IMAP client for the demo: blocking, on loopback, in clear.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "programs/interrupt.h"

namespace gemel::programs {

// A TCP connection read by lines. Unavailable: refused, closed or silent for ten seconds. Cancelled: interrupted.
class LineSocket {
 public:
  explicit LineSocket(const Interrupt& interrupt) : interrupt_(interrupt) {}
  ~LineSocket() { Close(); }
  LineSocket(const LineSocket&) = delete;
  LineSocket& operator=(const LineSocket&) = delete;

  absl::Status Connect(const std::string& address);  // host:port
  void Close();
  bool connected() const { return fd_ >= 0; }
  absl::Status Write(std::string_view bytes);
  absl::StatusOr<std::string> ReadLine();  // without CRLF

 private:
  const Interrupt& interrupt_;
  int fd_ = -1;
  std::string buffer_;
  size_t used_ = 0;
};

class MailSender {
 public:
  MailSender(std::string address, bool lmtp, const Interrupt& interrupt)
      : address_(std::move(address)), lmtp_(lmtp), socket_(interrupt) {}

  // One transaction, on the connection kept from before or a new one. OK: the server said 250. Otherwise:
  //   Unknown            the letter was sent, and no reply or a 4yz came: it may be stored or not
  //   Unavailable        the server was not reached, or went away before the letter was sent
  //   ResourceExhausted  refused for now, before the letter was sent
  //   InvalidArgument    refused for good
  //   Cancelled          interrupted
  absl::Status Send(const std::string& from, const std::string& to, std::string_view crlf_letter);

 private:
  absl::Status Begin();
  absl::Status Command(std::string_view text, char wanted);  // first digit of the reply

  const std::string address_;
  const bool lmtp_;
  LineSocket socket_;
};

// The local parts of all Return-Path lines in an account's INBOX, with how often each is there.
absl::StatusOr<std::multiset<std::string>> ReturnPathsInInbox(const std::string& imap_address, const std::string& user,
                                                              const std::string& password, const Interrupt& interrupt);

}  // namespace gemel::programs
