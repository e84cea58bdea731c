#include "perf/imap_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace gemel::perf {
namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr int kReplySecondsMax = 300;

// The size of the literal that `line` ends in, or 0.
uint64_t LiteralBytes(std::string_view line) {
  if (line.size() < 3 || line.back() != '}') return 0;
  const size_t open = line.rfind('{');
  if (open == std::string_view::npos) return 0;
  uint64_t bytes = 0;
  const auto [stop, error] = std::from_chars(line.data() + open + 1, line.data() + line.size() - 1, bytes);
  return error == std::errc() && stop == line.data() + line.size() - 1 ? bytes : 0;
}

void Keep(std::string_view text, ImapReply& reply) {
  if (reply.untagged.size() < ImapClient::kUntaggedKeptMax) reply.untagged.append(text);
}

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

absl::StatusOr<uint64_t> NumberAfter(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  uint64_t number = 0;
  if (at == std::string_view::npos ||
      std::from_chars(text.data() + at + mark.size(), text.data() + text.size(), number).ec != std::errc()) {
    return absl::NotFoundError(fmt::format("no number behind \"{}\" in: {}", mark, text.substr(0, 200)));
  }
  return number;
}

absl::StatusOr<std::unique_ptr<ImapClient>> ImapClient::Open(const Address& server) {
  const absl::StatusOr<int> fd = Connect(server);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<ImapClient> client(new ImapClient(*fd));
  client->buffer_.resize(kReadBytes);
  const absl::StatusOr<std::string_view> greeting = client->ReadLine();
  if (!greeting.ok()) return greeting.status();
  if (greeting->substr(0, 5) != "* OK ") {
    return absl::UnavailableError(fmt::format("{} greeted with: {}", server.Text(), *greeting));
  }
  return client;
}

ImapClient::~ImapClient() { close(fd_); }

absl::Status ImapClient::Login(const std::string& user, const std::string& password) {
  absl::StatusOr<ImapReply> reply = Command("LOGIN " + Quoted(user) + " " + Quoted(password));
  if (!reply.ok()) return reply.status();
  capabilities_ = reply->tagged;
  if (capabilities_.find("[CAPABILITY") == std::string::npos) {
    reply = Command("CAPABILITY");
    if (!reply.ok()) return reply.status();
    capabilities_ = reply->untagged;
  }
  return absl::OkStatus();
}

bool ImapClient::Has(std::string_view capability) const {
  return capabilities_.find(fmt::format(" {}", capability)) != std::string::npos;
}

absl::StatusOr<ImapReply> ImapClient::Command(std::string_view command) {
  const absl::Status status = Send(command);
  if (!status.ok()) return status;
  return Receive();
}

absl::Status ImapClient::Send(std::string_view command) {
  return Write(fmt::format("t{} {}\r\n", ++sent_tags_, command));
}

absl::StatusOr<ImapReply> ImapClient::Receive() {
  const std::string tag = fmt::format("t{} ", ++received_tags_);
  ImapReply reply;
  bool inside = false;  // behind a literal: the line goes on with the same response
  while (true) {
    const absl::StatusOr<std::string_view> line = ReadLine();
    if (!line.ok()) return line.status();
    reply.bytes += line->size() + 2;
    if (!inside && line->substr(0, tag.size()) == tag) {
      reply.tagged = std::string(line->substr(tag.size()));
      if (reply.tagged.substr(0, 2) != "OK") return absl::FailedPreconditionError(reply.tagged);
      return reply;
    }
    if (!inside && line->substr(0, 2) != "* " && line->substr(0, 1) != "+") {
      return absl::DataLossError(fmt::format("not a response: {}", line->substr(0, 200)));
    }
    if (!inside) ++reply.untagged_lines;
    Keep(*line, reply);
    Keep("\n", reply);
    const uint64_t literal_bytes = LiteralBytes(*line);
    inside = literal_bytes > 0 || (line->size() >= 3 && line->substr(line->size() - 3) == "{0}");
    const absl::Status status = Skip(literal_bytes, reply);
    if (!status.ok()) return status;
  }
}

absl::Status ImapClient::Append(std::string_view mailbox, std::string_view letter) {
  const bool plus = Has("LITERAL+");
  const std::string head = fmt::format("APPEND {} {{{}{}}}", mailbox, letter.size(), plus ? "+" : "");
  if (plus) {
    std::string all = fmt::format("t{} {}\r\n", ++sent_tags_, head);
    all.append(letter);
    all += "\r\n";
    const absl::Status status = Write(all);
    if (!status.ok()) return status;
    return Receive().status();
  }
  absl::Status status = Send(head);
  if (!status.ok()) return status;
  const absl::StatusOr<std::string_view> go = ReadLine();
  if (!go.ok()) return go.status();
  if (go->substr(0, 1) != "+") return absl::FailedPreconditionError(std::string(*go));
  status = Write(std::string(letter) + "\r\n");
  if (!status.ok()) return status;
  return Receive().status();
}

absl::Status ImapClient::StartIdle() {
  const absl::Status status = Send("IDLE");
  if (!status.ok()) return status;
  while (true) {
    const absl::StatusOr<std::string_view> line = ReadLine();
    if (!line.ok()) return line.status();
    if (line->substr(0, 1) == "+") return absl::OkStatus();
    if (line->substr(0, 2) != "* ") return absl::FailedPreconditionError(std::string(*line));
  }
}

absl::Status ImapClient::EndIdle() {
  const absl::Status status = Write("DONE\r\n");
  if (!status.ok()) return status;
  return Receive().status();
}

absl::StatusOr<std::string> ImapClient::NextLine(double seconds_max) {
  if (std::memchr(buffer_.data() + begin_, '\n', end_ - begin_) == nullptr) {
    pollfd ready{fd_, POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(seconds_max * 1000)) == 0) {
      return absl::DeadlineExceededError(fmt::format("no line within {:.0f} s", seconds_max));
    }
  }
  const absl::StatusOr<std::string_view> line = ReadLine();
  if (!line.ok()) return line.status();
  return std::string(*line);
}

absl::Status ImapClient::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return absl::UnavailableError(fmt::format("send: {}", std::strerror(errno)));
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

absl::Status ImapClient::Fill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(buffer_.size() * 2);
  pollfd ready{fd_, POLLIN, 0};
  const int n = poll(&ready, 1, kReplySecondsMax * 1000);
  if (n == 0) return absl::DeadlineExceededError(fmt::format("no answer within {} s", kReplySecondsMax));
  const ssize_t got = recv(fd_, buffer_.data() + end_, buffer_.size() - end_, 0);
  if (got < 0 && errno == EINTR) return absl::OkStatus();
  if (got < 0) return absl::UnavailableError(fmt::format("recv: {}", std::strerror(errno)));
  if (got == 0) return absl::UnavailableError("the server closed the connection");
  end_ += static_cast<size_t>(got);
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> ImapClient::ReadLine() {
  size_t searched = 0;
  while (true) {
    const char* start = buffer_.data() + begin_;
    const void* newline = std::memchr(start + searched, '\n', end_ - begin_ - searched);
    if (newline != nullptr) {
      size_t length = static_cast<size_t>(static_cast<const char*>(newline) - start);
      begin_ += length + 1;
      if (length > 0 && start[length - 1] == '\r') --length;
      return std::string_view(start, length);
    }
    searched = end_ - begin_;
    const absl::Status status = Fill();
    if (!status.ok()) return status;
  }
}

absl::Status ImapClient::Skip(uint64_t bytes, ImapReply& reply) {
  reply.bytes += bytes;
  while (bytes > 0) {
    if (begin_ == end_) {
      const absl::Status status = Fill();
      if (!status.ok()) return status;
    }
    const size_t step = static_cast<size_t>(std::min<uint64_t>(bytes, end_ - begin_));
    Keep(std::string_view(buffer_).substr(begin_, step), reply);
    begin_ += step;
    bytes -= step;
  }
  return absl::OkStatus();
}

}  // namespace gemel::perf
