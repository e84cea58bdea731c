#include "perf/deliver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <string_view>

#include "perf/letters.h"

namespace gemel::perf {
namespace {

constexpr size_t kReadBytes = 64 * 1024;
constexpr int kStallSecondsMax = 120;  // RFC 5321, 4.5.3.2.6 allows 10 minutes: no server under test needs that

// What the next reply answers.
enum class Awaited { kGreeting, kHello, kMail, kRecipient, kData, kFinal, kReset };

struct Connection {
  int fd = -1;
  std::string in;   // bytes of an unfinished line
  std::string out;  // bytes not yet written, from out_done on
  size_t out_done = 0;
  bool wants_write = false;
  std::deque<Awaited> awaited;
  uint64_t message = 0;  // number of the letter under way
  int asked_recipients = 0;
  int accepted_recipients = 0;
  int replies_left = 0;  // after the final dot
  bool in_message = false;
  bool refused = false;
  Clock::time_point message_started;
};

class Run {
 public:
  explicit Run(const DeliverOptions& options)
      : options_(options), letters_(options.size_bytes, options.seed), progress_(options.progress) {}
  ~Run() {
    for (const auto& connection : connections_) {
      if (connection->fd >= 0) close(connection->fd);
    }
    if (epoll_ >= 0) close(epoll_);
  }

  absl::Status Open();
  absl::Status Loop();
  DeliverResult Take() { return std::move(result_); }

 private:
  bool MayStart() const;
  void StartMessage(Connection& connection);
  void SendBody(Connection& connection);
  void SendRecipient(Connection& connection, int index);
  absl::Status OnReply(Connection& connection, std::string_view line);
  void OnEnvelopeReply(Connection& connection, Awaited what, bool good);
  void OnFinal(Connection& connection, bool good);
  void EndMessage(Connection& connection);
  absl::Status OnReadable(Connection& connection);
  void Flush(Connection& connection);
  void Drop(Connection& connection);
  void NoteRefusal(std::string_view line);
  std::string HelloLine() const {
    return options_.protocol == Protocol::kLmtp ? "LHLO load.example.org\r\n" : "EHLO load.example.org\r\n";
  }

  const DeliverOptions& options_;
  Letters letters_;
  Progress progress_;
  DeliverResult result_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::string read_buffer_ = std::string(kReadBytes, '\0');
  int epoll_ = -1;
  int alive_ = 0;
  int greeted_ = 0;
  uint64_t started_messages_ = 0;
  Clock::time_point last_reply_;
};

absl::Status Run::Open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return absl::InternalError(fmt::format("epoll_create1: {}", std::strerror(errno)));
  for (int i = 0; i < options_.connections; ++i) {
    const absl::StatusOr<int> fd = Connect(options_.server);
    if (!fd.ok()) return fd.status();
    auto connection = std::make_unique<Connection>();
    connection->fd = *fd;
    connection->awaited.push_back(Awaited::kGreeting);
    fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection.get();
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, *fd, &event) != 0) {
      return absl::InternalError(fmt::format("epoll_ctl: {}", std::strerror(errno)));
    }
    connections_.push_back(std::move(connection));
    ++alive_;
  }
  return absl::OkStatus();
}

absl::Status Run::Loop() {
  epoll_event events[64];
  last_reply_ = Clock::now();
  while (alive_ > 0) {
    const int n = epoll_wait(epoll_, events, 64, 1000);
    if (n < 0 && errno != EINTR) return absl::InternalError(fmt::format("epoll_wait: {}", std::strerror(errno)));
    for (int i = 0; i < n; ++i) {
      Connection& connection = *static_cast<Connection*>(events[i].data.ptr);
      if (connection.fd >= 0 && (events[i].events & EPOLLOUT) != 0) Flush(connection);
      if (connection.fd >= 0 && (events[i].events & ~EPOLLOUT) != 0) {
        const absl::Status status = OnReadable(connection);
        if (!status.ok()) return status;
      }
    }
    if (n == 0 && SecondsSince(last_reply_) > kStallSecondsMax) {
      return absl::DeadlineExceededError(fmt::format("no reply for {} s", kStallSecondsMax));
    }
    if (progress_.Due()) {
      const double seconds = greeted_ == options_.connections ? SecondsSince(result_.started) : 0;
      progress_.Show(fmt::format("{} accepted, {} refused, {:.0f}/s, {:.0f} s", result_.accepted_messages,
                                 result_.refused_messages,
                                 seconds > 0 ? static_cast<double>(result_.accepted_messages) / seconds : 0, seconds));
    }
  }
  progress_.Clear();
  if (greeted_ < options_.connections) {
    return absl::UnavailableError(
        fmt::format("{} closed the connection before its greeting and hello were done", options_.server.Text()));
  }
  result_.seconds = std::chrono::duration<double>(last_reply_ - result_.started).count();
  return absl::OkStatus();
}

bool Run::MayStart() const {
  if (options_.count != 0 && started_messages_ >= options_.count) return false;
  return options_.seconds == 0 || SecondsSince(result_.started) < options_.seconds;
}

void Run::SendRecipient(Connection& connection, int index) {
  // Letters go round the accounts, and so do the recipients of one letter.
  const uint64_t account =
      (connection.message * static_cast<uint64_t>(options_.recipients_per_message) + static_cast<uint64_t>(index)) %
      static_cast<uint64_t>(options_.accounts);
  connection.out += "RCPT TO:<" + ForAccount(options_.recipients, account) + ">\r\n";
  connection.awaited.push_back(Awaited::kRecipient);
  ++connection.asked_recipients;
}

void Run::StartMessage(Connection& connection) {
  if (!MayStart()) {
    // The reply to QUIT is not waited for: it says nothing that the run needs.
    connection.out += "QUIT\r\n";
    Flush(connection);
    Drop(connection);
    return;
  }
  connection.message = started_messages_++;
  connection.in_message = true;
  connection.refused = false;
  connection.asked_recipients = 0;
  connection.accepted_recipients = 0;
  connection.message_started = Clock::now();
  connection.out += "MAIL FROM:<" + options_.sender + ">\r\n";
  connection.awaited.push_back(Awaited::kMail);
  if (options_.pipeline) {
    for (int i = 0; i < options_.recipients_per_message; ++i) SendRecipient(connection, i);
    connection.out += "DATA\r\n";
    connection.awaited.push_back(Awaited::kData);
  }
  Flush(connection);
}

void Run::SendBody(Connection& connection) {
  letters_.Append(connection.message, connection.out);
  connection.out += ".\r\n";
  connection.replies_left = options_.protocol == Protocol::kLmtp ? connection.accepted_recipients : 1;
  for (int i = 0; i < connection.replies_left; ++i) connection.awaited.push_back(Awaited::kFinal);
}

void Run::NoteRefusal(std::string_view line) { ++result_.refusals[std::string(line)]; }

// One reply, its last line; continuation lines ("250-...") never come here.
absl::Status Run::OnReply(Connection& connection, std::string_view line) {
  last_reply_ = Clock::now();
  if (connection.awaited.empty()) {
    // 421 may come at any time (RFC 5321, 3.8); anything else is a server that answers twice.
    NoteRefusal(line);
    if (connection.in_message) ++result_.unknown_messages;
    Drop(connection);
    return absl::OkStatus();
  }
  const Awaited what = connection.awaited.front();
  connection.awaited.pop_front();
  const bool good = line.size() >= 3 && line[0] == (what == Awaited::kData ? '3' : '2');
  if (!good) NoteRefusal(line);
  switch (what) {
    case Awaited::kGreeting:
    case Awaited::kHello:
      if (!good) return absl::UnavailableError(fmt::format("{} said: {}", options_.server.Text(), line));
      if (what == Awaited::kGreeting) {
        connection.out += HelloLine();
        connection.awaited.push_back(Awaited::kHello);
        Flush(connection);
      } else if (++greeted_ == options_.connections) {
        // All start together, so that the time of connecting is no part of the run.
        result_.started = Clock::now();
        for (const auto& each : connections_) {
          if (each->fd >= 0) StartMessage(*each);
        }
      }
      break;
    case Awaited::kMail:
    case Awaited::kRecipient:
    case Awaited::kData:
      OnEnvelopeReply(connection, what, good);
      break;
    case Awaited::kFinal:
      OnFinal(connection, good);
      break;
    case Awaited::kReset:
      if (!good) return absl::UnavailableError(fmt::format("RSET was answered: {}", line));
      StartMessage(connection);
      break;
  }
  return absl::OkStatus();
}

void Run::OnEnvelopeReply(Connection& connection, Awaited what, bool good) {
  if (!good) connection.refused = true;
  if (what == Awaited::kRecipient && good) ++connection.accepted_recipients;
  if (what == Awaited::kData) {
    if (good && connection.accepted_recipients > 0) {
      SendBody(connection);
      Flush(connection);
    } else if (good) {
      // No recipient was taken, yet DATA was (pipelined): an empty letter ends it (RFC 2920, 3.1).
      connection.out += ".\r\n";
      connection.replies_left = 1;
      connection.awaited.push_back(Awaited::kFinal);
      Flush(connection);
    } else {
      EndMessage(connection);
    }
    return;
  }
  if (options_.pipeline) return;
  if (!good && what == Awaited::kMail) {
    EndMessage(connection);
    return;
  }
  if (connection.asked_recipients < options_.recipients_per_message) {
    SendRecipient(connection, connection.asked_recipients);
  } else if (connection.accepted_recipients > 0) {
    connection.out += "DATA\r\n";
    connection.awaited.push_back(Awaited::kData);
  } else {
    EndMessage(connection);
    return;
  }
  Flush(connection);
}

void Run::OnFinal(Connection& connection, bool good) {
  if (good) {
    result_.accepted_recipients +=
        options_.protocol == Protocol::kLmtp ? 1 : static_cast<uint64_t>(connection.accepted_recipients);
  } else {
    connection.refused = true;
  }
  if (--connection.replies_left == 0) EndMessage(connection);
}

void Run::EndMessage(Connection& connection) {
  connection.in_message = false;
  if (connection.refused) {
    ++result_.refused_messages;
    // Clears an envelope that was half taken.
    connection.out += "RSET\r\n";
    connection.awaited.push_back(Awaited::kReset);
    Flush(connection);
    return;
  }
  ++result_.accepted_messages;
  result_.latency_seconds.Add(std::chrono::duration<double>(last_reply_ - connection.message_started).count());
  StartMessage(connection);
}

absl::Status Run::OnReadable(Connection& connection) {
  const ssize_t got = recv(connection.fd, read_buffer_.data(), read_buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return absl::OkStatus();
  if (got <= 0) {
    if (connection.in_message) ++result_.unknown_messages;
    Drop(connection);
    return absl::OkStatus();
  }
  connection.in.append(read_buffer_.data(), static_cast<size_t>(got));
  size_t start = 0;
  size_t end;
  while (connection.fd >= 0 && (end = connection.in.find("\r\n", start)) != std::string::npos) {
    const std::string_view line = std::string_view(connection.in).substr(start, end - start);
    start = end + 2;
    if (line.size() > 3 && line[3] == '-') continue;
    const absl::Status status = OnReply(connection, line);
    if (!status.ok()) return status;
  }
  connection.in.erase(0, start);
  return absl::OkStatus();
}

void Run::Flush(Connection& connection) {
  while (connection.out_done < connection.out.size()) {
    const ssize_t sent = send(connection.fd, connection.out.data() + connection.out_done,
                              connection.out.size() - connection.out_done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return;  // the next read tells that the connection has ended
    if (sent < 0) break;
    connection.out_done += static_cast<size_t>(sent);
  }
  const bool unfinished = connection.out_done < connection.out.size();
  if (!unfinished) {
    connection.out.clear();
    connection.out_done = 0;
  }
  if (unfinished == connection.wants_write) return;
  connection.wants_write = unfinished;
  epoll_event event{};
  event.events = unfinished ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.ptr = &connection;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void Run::Drop(Connection& connection) {
  close(connection.fd);
  connection.fd = -1;
  --alive_;
}

}  // namespace

std::string ForAccount(const std::string& pattern, uint64_t number) {
  const size_t at = pattern.find("%d");
  if (at == std::string::npos) return pattern;
  return pattern.substr(0, at) + std::to_string(number) + pattern.substr(at + 2);
}

absl::StatusOr<DeliverResult> Deliver(const DeliverOptions& options) {
  Run run(options);
  absl::Status status = run.Open();
  if (status.ok()) status = run.Loop();
  if (!status.ok()) return status;
  return run.Take();
}

}  // namespace gemel::perf
