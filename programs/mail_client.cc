#include "programs/mail_client.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/config.h"
#include "fmt/format.h"

namespace gemel::programs {
namespace {

constexpr int kTimeoutSeconds = 10;

}  // namespace

absl::Status LineSocket::Connect(const std::string& address) {
  Close();
  const auto parsed = engine::ParseHostPort(address);
  if (!parsed.ok()) return parsed.status();
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(parsed->host.c_str(), std::to_string(parsed->port).c_str(), &hints, &found)) {
    return absl::UnavailableError(fmt::format("{}: {}", address, gai_strerror(error)));
  }
  fd_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval timeout{kTimeoutSeconds, 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  const int one = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  const int result = connect(fd_, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  if (result == 0) return absl::OkStatus();
  const std::string why = fmt::format("{}: {}", address, strerror(errno));
  Close();
  return absl::UnavailableError(why);
}

void LineSocket::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  buffer_.clear();
  used_ = 0;
}

absl::Status LineSocket::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> LineSocket::ReadLine() {
  for (;;) {
    if (const size_t end = buffer_.find('\n', used_); end != std::string::npos) {
      std::string line = buffer_.substr(used_, end - used_);
      used_ = end + 1;
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    buffer_.erase(0, used_);
    used_ = 0;
    pollfd wait[] = {{fd_, POLLIN, 0}, {interrupt_.fd(), POLLIN, 0}};
    const int ready = poll(wait, 2, kTimeoutSeconds * 1000);
    if (ready < 0 && errno == EINTR) continue;
    if (wait[1].revents != 0) return Interrupted();
    if (ready == 0) return absl::UnavailableError("no answer for ten seconds");
    char bytes[16 * 1024];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::UnavailableError(strerror(errno));
    if (n == 0) return absl::UnavailableError("closed");
    buffer_.append(bytes, static_cast<size_t>(n));
  }
}

absl::Status MailSender::Command(std::string_view text, char wanted) {
  if (!text.empty()) {
    if (auto status = socket_.Write(text); !status.ok()) return status;
  }
  for (;;) {
    const auto line = socket_.ReadLine();
    if (!line.ok()) return line.status();
    if (line->size() >= 4 && (*line)[3] == '-') continue;
    if (line->starts_with(wanted)) return absl::OkStatus();
    return line->starts_with('4') ? absl::ResourceExhaustedError(*line) : absl::InvalidArgumentError(*line);
  }
}

absl::Status MailSender::Begin() {
  if (auto status = socket_.Connect(address_); !status.ok()) return status;
  if (auto status = Command("", '2'); !status.ok()) return status;
  return Command(lmtp_ ? "LHLO demo.example.test\r\n" : "EHLO demo.example.test\r\n", '2');
}

absl::Status MailSender::Send(const std::string& from, const std::string& to, std::string_view crlf_letter) {
  absl::Status status = socket_.connected() ? absl::OkStatus() : Begin();
  if (status.ok()) status = Command(fmt::format("MAIL FROM:<{}>\r\n", from), '2');
  if (status.ok()) status = Command(fmt::format("RCPT TO:<{}>\r\n", to), '2');
  if (status.ok()) status = Command("DATA\r\n", '3');
  if (status.ok()) {
    std::string stuffed;
    stuffed.reserve(crlf_letter.size() + 64);
    bool at_start = true;
    for (const char c : crlf_letter) {
      if (at_start && c == '.') stuffed += '.';
      stuffed += c;
      at_start = c == '\n';
    }
    // After the dot LMTP has a reply for each recipient: there is one.
    status = Command(stuffed + ".\r\n", '2');
    // A 4yz for want of the peer or of room promises nothing (docs/operator.md, "Disk full").
    if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
      status = absl::UnknownError(status.message());
    }
  }
  if (!status.ok()) socket_.Close();
  return status;
}

absl::StatusOr<std::multiset<std::string>> ReturnPathsInInbox(const std::string& imap_address, const std::string& user,
                                                              const std::string& password, const Interrupt& interrupt) {
  LineSocket socket(interrupt);
  if (auto status = socket.Connect(imap_address); !status.ok()) return status;
  if (const auto greeting = socket.ReadLine(); !greeting.ok()) return greeting.status();
  std::multiset<std::string> found;
  bool empty = false;
  const std::string commands[] = {fmt::format("LOGIN \"{}\" \"{}\"", user, password), "EXAMINE INBOX",
                                  "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (RETURN-PATH)])", "LOGOUT"};
  for (const std::string& command : commands) {
    if (empty && command.starts_with("FETCH")) continue;  // 1:* of nothing is an error
    if (auto status = socket.Write(fmt::format("t {}\r\n", command)); !status.ok()) return status;
    for (;;) {
      const auto line = socket.ReadLine();
      if (!line.ok()) return line.status();
      constexpr std::string_view kField = "Return-Path: <";
      if (*line == "* 0 EXISTS") empty = true;
      if (line->starts_with(kField)) found.insert(line->substr(kField.size(), line->find('@') - kField.size()));
      if (line->starts_with("t OK")) break;
      if (line->starts_with("t ")) {
        return absl::FailedPreconditionError(fmt::format("{}: {} answered {}", imap_address, command, *line));
      }
    }
  }
  return found;
}

}  // namespace gemel::programs
