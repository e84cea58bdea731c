#include "perf/imap_load.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include "perf/deliver.h"
#include "perf/imap_client.h"
#include "perf/letters.h"

namespace gemel::perf {
namespace {

class ImapRun {
 public:
  explicit ImapRun(const ImapOptions& options) : options_(options), progress_(options.progress) {}
  absl::StatusOr<std::vector<Row>> All();

 private:
  absl::Status Login();
  absl::Status Select();
  absl::Status WholeMailbox(std::string_view name, const std::string& command);
  absl::Status StoreEach();
  absl::Status StoreAll();
  absl::Status Append(std::string_view name, size_t size_bytes);
  absl::Status Copy();
  absl::Status Expunge();
  absl::Status Bodies();
  absl::Status Step(const std::string& name);
  absl::Status Timed(const std::string& command, Samples& seconds, uint64_t& bytes);
  Row& NewRow(std::string_view operation, const Samples& seconds);

  const ImapOptions& options_;
  Progress progress_;
  std::unique_ptr<ImapClient> client_;
  uint64_t messages_ = 0;
  std::vector<Row> rows_;
};

Row& ImapRun::NewRow(std::string_view operation, const Samples& seconds) {
  Row& row = rows_.emplace_back();
  row.Set("op", std::string(operation)).Set("times", static_cast<uint64_t>(seconds.size()));
  row.Set("first_ms", seconds.First() * 1000).SetMillis("", seconds);
  if (seconds.Sum() > 0) row.Set("per_s", static_cast<double>(seconds.size()) / seconds.Sum());
  return row;
}

absl::Status ImapRun::Timed(const std::string& command, Samples& seconds, uint64_t& bytes) {
  const Clock::time_point start = Clock::now();
  const absl::StatusOr<ImapReply> reply = client_->Command(command);
  if (!reply.ok())
    return absl::Status(reply.status().code(), fmt::format("{}: {}", command, std::string(reply.status().message())));
  seconds.Add(SecondsSince(start));
  bytes += reply->bytes;
  return absl::OkStatus();
}

absl::Status ImapRun::Login() {
  Samples seconds;
  for (int i = 0; i < options_.logins; ++i) {
    const Clock::time_point start = Clock::now();
    const auto client = ImapClient::Open(options_.server);
    if (!client.ok()) return client.status();
    absl::Status status = (*client)->Login(options_.user, options_.password);
    if (!status.ok()) return status;
    status = (*client)->Command("LOGOUT").status();
    if (!status.ok()) return status;
    seconds.Add(SecondsSince(start));
    if (progress_.Due()) progress_.Show(fmt::format("login {}", i));
  }
  NewRow("login", seconds);
  return absl::OkStatus();
}

absl::Status ImapRun::Select() {
  Samples seconds;
  for (int i = 0; i < 2 * options_.repeats; ++i) {
    const Clock::time_point start = Clock::now();
    const absl::StatusOr<ImapReply> reply = client_->Command("SELECT " + options_.mailbox);
    if (!reply.ok()) return reply.status();
    seconds.Add(SecondsSince(start));
  }
  NewRow("select", seconds).Set("messages", messages_);
  return absl::OkStatus();
}

absl::Status ImapRun::WholeMailbox(std::string_view name, const std::string& command) {
  Samples seconds;
  uint64_t bytes = 0;
  for (int i = 0; i < options_.repeats; ++i) {
    const absl::Status status = Timed(command, seconds, bytes);
    if (!status.ok()) return status;
    if (progress_.Due()) progress_.Show(fmt::format("{} {}", name, i));
  }
  NewRow(name, seconds).Set("messages", messages_).Set("bytes", bytes / static_cast<uint64_t>(options_.repeats));
  return absl::OkStatus();
}

absl::Status ImapRun::StoreEach() {
  Samples seconds;
  uint64_t bytes = 0;
  const uint64_t steps = std::min<uint64_t>(messages_, static_cast<uint64_t>(options_.single_steps));
  for (uint64_t i = 1; i <= steps; ++i) {
    const absl::Status status = Timed(fmt::format("STORE {} +FLAGS (\\Seen)", i), seconds, bytes);
    if (!status.ok()) return status;
    if (progress_.Due()) progress_.Show(fmt::format("store {}", i));
  }
  NewRow("store-each", seconds);
  return absl::OkStatus();
}

absl::Status ImapRun::StoreAll() {
  Samples seconds;
  uint64_t bytes = 0;
  for (int i = 0; i < options_.repeats; ++i) {
    const absl::Status status =
        Timed(fmt::format("STORE 1:* {}FLAGS (\\Flagged)", i % 2 == 0 ? '+' : '-'), seconds, bytes);
    if (!status.ok()) return status;
  }
  NewRow("store-all", seconds).Set("messages", messages_);
  return absl::OkStatus();
}

absl::Status ImapRun::Append(std::string_view name, size_t size_bytes) {
  Samples seconds;
  Letters letters(size_bytes, 7);
  std::string letter;
  for (int i = 0; i < options_.single_steps; ++i) {
    letter.clear();
    letters.Append(static_cast<uint64_t>(i), letter);
    const Clock::time_point start = Clock::now();
    const absl::Status status = client_->Append("Bench", letter);
    if (!status.ok()) return status;
    seconds.Add(SecondsSince(start));
    if (progress_.Due()) progress_.Show(fmt::format("{} {}", name, i));
  }
  NewRow(name, seconds);
  return absl::OkStatus();
}

absl::Status ImapRun::Copy() {
  Samples seconds;
  uint64_t bytes = 0;
  const uint64_t last = std::min<uint64_t>(messages_, 5000);
  absl::Status status = Timed(fmt::format("COPY 1:{} Bench", last), seconds, bytes);
  if (!status.ok()) return status;
  NewRow("copy", seconds).Set("messages", last);
  return absl::OkStatus();
}

absl::Status ImapRun::Expunge() {
  absl::StatusOr<ImapReply> reply = client_->Command("SELECT Bench");
  if (reply.ok()) reply = client_->Command("STORE 1:* +FLAGS.SILENT (\\Deleted)");
  if (!reply.ok()) return reply.status();
  const Clock::time_point start = Clock::now();
  reply = client_->Command("EXPUNGE");
  if (!reply.ok()) return reply.status();
  Samples seconds;
  seconds.Add(SecondsSince(start));
  const size_t last = reply->untagged_lines;
  reply = client_->Command("SELECT " + options_.mailbox);
  if (!reply.ok()) return reply.status();
  NewRow("expunge", seconds).Set("responses", static_cast<uint64_t>(last));
  return absl::OkStatus();
}

absl::Status ImapRun::Bodies() {
  Samples seconds;
  uint64_t bytes = 0;
  const uint64_t last = std::min<uint64_t>(messages_, 5000);
  absl::Status status = Timed(fmt::format("FETCH 1:{} (BODY.PEEK[])", last), seconds, bytes);
  if (!status.ok()) return status;
  NewRow("bodies", seconds)
      .Set("messages", last)
      .Set("mb_per_s", static_cast<double>(bytes) / 1e6 / std::max(seconds.Sum(), 1e-9));
  return absl::OkStatus();
}

absl::Status ImapRun::Step(const std::string& name) {
  if (name == "login") return Login();
  if (name == "select") return Select();
  if (name == "fetch-flags") return WholeMailbox(name, "FETCH 1:* (FLAGS)");
  if (name == "fetch-envelope") return WholeMailbox(name, "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE)");
  if (name == "fetch-size") return WholeMailbox(name, "FETCH 1:* (RFC822.SIZE INTERNALDATE)");
  const std::string rare(Letters::RareWord());
  if (name == "search-unseen") return WholeMailbox(name, "SEARCH UNSEEN");
  if (name == "search-subject") return WholeMailbox(name, "SEARCH SUBJECT \"contract\"");
  if (name == "search-body") return WholeMailbox(name, "SEARCH BODY \"" + rare + "\"");
  if (name == "search-text") return WholeMailbox(name, "SEARCH TEXT \"" + rare + "\"");
  if (name == "bodies") return Bodies();
  if (name == "store-each") return StoreEach();
  if (name == "store-all") return StoreAll();
  if (name == "append-4k") return Append(name, 4096);
  if (name == "append-64k") return Append(name, 65536);
  if (name == "copy") return Copy();
  if (name == "expunge") return Expunge();
  return absl::InvalidArgumentError(name + ": no such operation");
}

absl::StatusOr<std::vector<Row>> ImapRun::All() {
  for (const std::string& name : options_.operations) {
    const auto& known = ImapOperations();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return absl::InvalidArgumentError(name + ": no such operation");
    }
  }
  auto client = ImapClient::Open(options_.server);
  if (!client.ok()) return client.status();
  client_ = std::move(*client);
  absl::Status status = client_->Login(options_.user, options_.password);
  if (!status.ok()) return status;
  // Bench may be there from an earlier run: NO is as good as OK.
  absl::StatusOr<ImapReply> reply = client_->Command("DELETE Bench");
  if (!reply.ok() && !absl::IsFailedPrecondition(reply.status())) return reply.status();
  reply = client_->Command("CREATE Bench");
  if (!reply.ok()) return reply.status();
  reply = client_->Command("STATUS " + options_.mailbox + " (MESSAGES)");
  if (!reply.ok()) return reply.status();
  const absl::StatusOr<uint64_t> messages = NumberAfter(reply->untagged, "MESSAGES ");
  if (!messages.ok()) return messages.status();
  messages_ = *messages;
  if (messages_ == 0) return absl::FailedPreconditionError(options_.mailbox + " is empty");
  const auto wanted = [&](const std::string& name) {
    const auto& list = options_.operations;
    return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
  };
  if (!wanted("select")) {
    reply = client_->Command("SELECT " + options_.mailbox);
    if (!reply.ok()) return reply.status();
  }
  for (const std::string& name : ImapOperations()) {
    if (!wanted(name)) continue;
    status = Step(name);
    progress_.Clear();
    if (!status.ok()) return absl::Status(status.code(), name + ": " + std::string(status.message()));
  }
  return std::move(rows_);
}

// A client of the mix. Ends at the first error, which Result gives.
absl::Status MixClient(const MixOptions& options, int number, const std::atomic<bool>& stop, Samples& seconds,
                       std::mutex& seconds_mutex) {
  auto client = ImapClient::Open(options.server);
  if (!client.ok()) return client.status();
  const std::string user = ForAccount(options.users, static_cast<uint64_t>(number % options.accounts));
  absl::Status status = (*client)->Login(user, options.password);
  if (!status.ok()) return status;
  absl::StatusOr<ImapReply> reply = (*client)->Command("SELECT INBOX");
  if (!reply.ok()) return reply.status();
  Letters letters(4096, options.seed + static_cast<uint64_t>(number));
  std::string letter;
  letters.Append(0, letter);
  status = (*client)->Append("INBOX", letter);  // so that no mailbox is empty
  if (!status.ok()) return status;
  uint64_t random = options.seed * 1000 + static_cast<uint64_t>(number);
  Samples own;
  while (!stop) {
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    const uint64_t draw = (random >> 33) % 100;
    const Clock::time_point start = Clock::now();
    if (draw < 10) {
      letter.clear();
      letters.Append(own.size() + 1, letter);
      status = (*client)->Append("INBOX", letter);
    } else {
      std::string_view command = "NOOP";
      if (draw < 30)
        command = "FETCH * (UID FLAGS ENVELOPE BODYSTRUCTURE)";
      else if (draw < 45)
        command = "FETCH * (BODY.PEEK[])";
      else if (draw < 60)
        command = "FETCH 1:* (FLAGS)";
      else if (draw < 72)
        command = "STORE * +FLAGS (\\Seen)";
      else if (draw < 80)
        command = "STORE 1 -FLAGS (\\Seen)";
      else if (draw < 90)
        command = "SEARCH UNSEEN";
      status = (*client)->Command(command).status();
    }
    if (!status.ok()) return status;
    own.Add(SecondsSince(start));
    if (own.size() % 256 == 0 && stop) break;
  }
  const std::lock_guard<std::mutex> lock(seconds_mutex);
  seconds.Append(own);
  return absl::OkStatus();
}

// One LMTP session that delivers letters one by one, blocking.
class LmtpSession {
 public:
  static absl::StatusOr<std::unique_ptr<LmtpSession>> Open(const Address& server);
  ~LmtpSession() { close(fd_); }
  LmtpSession(const LmtpSession&) = delete;
  LmtpSession& operator=(const LmtpSession&) = delete;
  // Returns when the reply after the dot has come.
  absl::Status Deliver(const std::string& recipient, const std::string& letter);

 private:
  explicit LmtpSession(int fd) : fd_(fd) {}
  absl::Status Ask(const std::string& text, char good);

  int fd_;
  std::string in_;
};

absl::Status LmtpSession::Ask(const std::string& text, char good) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t sent = send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
    if (sent < 0) return absl::UnavailableError("LMTP: the connection is gone");
    done += static_cast<size_t>(sent);
  }
  while (true) {
    size_t end;
    while ((end = in_.find("\r\n")) != std::string::npos) {
      const std::string line = in_.substr(0, end);
      in_.erase(0, end + 2);
      if (line.size() > 3 && line[3] == '-') continue;
      if (line.empty() || line[0] != good) return absl::FailedPreconditionError("LMTP: " + line);
      return absl::OkStatus();
    }
    char buffer[4096];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got <= 0) return absl::UnavailableError("LMTP: the connection is gone");
    in_.append(buffer, static_cast<size_t>(got));
  }
}

absl::StatusOr<std::unique_ptr<LmtpSession>> LmtpSession::Open(const Address& server) {
  const absl::StatusOr<int> fd = Connect(server);
  if (!fd.ok()) return fd.status();
  std::unique_ptr<LmtpSession> session(new LmtpSession(*fd));
  absl::Status status = session->Ask("", '2');
  if (status.ok()) status = session->Ask("LHLO load.example.org\r\n", '2');
  if (!status.ok()) return status;
  return session;
}

absl::Status LmtpSession::Deliver(const std::string& recipient, const std::string& letter) {
  absl::Status status = Ask("MAIL FROM:<load@example.org>\r\n", '2');
  if (status.ok()) status = Ask("RCPT TO:<" + recipient + ">\r\n", '2');
  if (status.ok()) status = Ask("DATA\r\n", '3');
  if (status.ok()) status = Ask(letter + ".\r\n", '2');
  return status;
}

// Watches one selected INBOX until it has a given number of messages.
class Watcher {
 public:
  Watcher(ImapClient& client, Watch watch) : client_(client), watch_(watch) {}
  absl::StatusOr<uint64_t> Start();
  absl::Status WaitFor(uint64_t messages);

 private:
  static constexpr double kSecondsMax = 60;
  void Note(std::string_view text);
  ImapClient& client_;
  Watch watch_;
  uint64_t exists_ = 0;
};

// Takes the numbers of all "* N EXISTS" in `text`, which may be several lines.
void Watcher::Note(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.find(" EXISTS") == std::string_view::npos) continue;
    const absl::StatusOr<uint64_t> number = NumberAfter(line, "* ");
    if (number.ok()) exists_ = *number;
  }
}

absl::StatusOr<uint64_t> Watcher::Start() {
  const absl::StatusOr<ImapReply> reply = client_.Command("SELECT INBOX");
  if (!reply.ok()) return reply.status();
  Note(reply->untagged);
  if (watch_ == Watch::kIdle) {
    absl::Status status = client_.StartIdle();
    if (!status.ok()) return status;
  }
  return exists_;
}

absl::Status Watcher::WaitFor(uint64_t messages) {
  const Clock::time_point start = Clock::now();
  while (exists_ < messages) {
    if (SecondsSince(start) > kSecondsMax) {
      return absl::DeadlineExceededError(fmt::format("the letter is not to be seen after {:.0f} s", kSecondsMax));
    }
    if (watch_ == Watch::kIdle) {
      const absl::StatusOr<std::string> line = client_.NextLine(kSecondsMax);
      if (!line.ok()) return line.status();
      Note(*line);
    } else {
      const absl::StatusOr<ImapReply> reply = client_.Command("NOOP");
      if (!reply.ok()) return reply.status();
      Note(reply->untagged);
      if (exists_ < messages) std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  }
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& ImapOperations() {
  static const std::vector<std::string> operations = {
      "login",          "select",      "fetch-flags", "fetch-size", "fetch-envelope", "search-unseen",
      "search-subject", "search-body", "search-text", "bodies",     "store-each",     "store-all",
      "append-4k",      "append-64k",  "copy",        "expunge"};
  return operations;
}

absl::StatusOr<std::vector<Row>> ImapLoad(const ImapOptions& options) { return ImapRun(options).All(); }

absl::StatusOr<Row> ImapMix(const MixOptions& options) {
  std::atomic<bool> stop = false;
  Samples seconds;
  std::mutex mutex;
  absl::Status first_error;
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(options.clients));
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < options.clients; ++i) {
    threads.emplace_back([&, i] {
      const absl::Status status = MixClient(options, i, stop, seconds, mutex);
      if (status.ok()) return;
      stop = true;
      const std::lock_guard<std::mutex> lock(mutex);
      if (first_error.ok()) first_error = status;
    });
  }
  Progress progress(options.progress);
  while (!stop && SecondsSince(start) < options.seconds) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!progress.Due()) continue;
    const double now = SecondsSince(start);
    const std::lock_guard<std::mutex> lock(mutex);
    progress.Show(fmt::format("{} commands, {:.0f}/s, {:.0f} of {:.0f} s", seconds.size(),
                              static_cast<double>(seconds.size()) / now, now, options.seconds));
  }
  progress.Clear();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  if (!first_error.ok()) return first_error;
  Row row;
  row.Set("clients", static_cast<uint64_t>(options.clients)).Set("commands", static_cast<uint64_t>(seconds.size()));
  row.Set("per_s", static_cast<double>(seconds.size()) / SecondsSince(start)).SetMillis("", seconds);
  return row;
}

absl::StatusOr<Row> Lag(const LagOptions& options) {
  auto client = ImapClient::Open(options.watch_on);
  if (!client.ok()) return client.status();
  absl::Status status = (*client)->Login(options.user, options.password);
  if (!status.ok()) return status;
  auto session = LmtpSession::Open(options.deliver_to);
  if (!session.ok()) return session.status();
  Watcher watcher(**client, options.watch);
  const absl::StatusOr<uint64_t> before = watcher.Start();
  if (!before.ok()) return before.status();

  Letters letters(options.size_bytes, static_cast<uint64_t>(getpid()));
  Progress progress(options.progress);
  Samples accept_seconds;
  Samples lag_seconds;
  for (int i = 0; i < options.count; ++i) {
    std::string letter;
    letters.Append(static_cast<uint64_t>(i), letter);
    const Clock::time_point sent = Clock::now();
    status = (*session)->Deliver(options.user, letter);
    if (!status.ok()) return status;
    const Clock::time_point accepted = Clock::now();
    accept_seconds.Add(std::chrono::duration<double>(accepted - sent).count());
    // What came before the 250 waits in the socket, so it counts as 0 plus the time of reading it.
    status = watcher.WaitFor(*before + static_cast<uint64_t>(i) + 1);
    if (!status.ok()) return status;
    lag_seconds.Add(SecondsSince(accepted));
    if (progress.Due()) progress.Show(fmt::format("{} of {}", i + 1, options.count));
    std::this_thread::sleep_for(std::chrono::duration<double>(options.pause_seconds));
  }
  Row row;
  row.Set("watch", std::string(options.watch == Watch::kIdle ? "idle" : "poll"));
  row.Set("letters", static_cast<uint64_t>(options.count));
  row.SetMillis("lag_", lag_seconds).SetMillis("accept_", accept_seconds);
  return row;
}

}  // namespace gemel::perf
