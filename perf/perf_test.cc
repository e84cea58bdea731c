// The load generator against a server that is told what to answer: what it counts must be what happened.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

#include "perf/deliver.h"
#include "perf/imap_client.h"
#include "perf/letters.h"
#include "perf/report.h"

namespace gemel::perf {
namespace {

// Serves `connections` connections one after another, on a port that the kernel gives. The script is called with each
// line outside letters, and with the dot that ends one; it gives the answer, or "!" to hang up.
class FakeServer {
 public:
  FakeServer(int connections, std::string greeting, std::string (*answer)(const std::string&))
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    address_ = {"127.0.0.1", ntohs(address.sin_port)};
    thread_ = std::thread([this, connections, greeting = std::move(greeting), answer] {
      for (int i = 0; i < connections; ++i) Serve(greeting, answer);
    });
  }
  ~FakeServer() {
    thread_.join();
    close(listener_);
  }
  const Address& address() const { return address_; }

 private:
  void Serve(const std::string& greeting, std::string (*answer)(const std::string&)) {
    const int fd = accept(listener_, nullptr, nullptr);
    Send(fd, greeting);
    std::string in;
    bool in_letter = false;
    char buffer[4096];
    ssize_t got;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
      in.append(buffer, static_cast<size_t>(got));
      size_t end;
      while ((end = in.find("\r\n")) != std::string::npos) {
        const std::string line = in.substr(0, end);
        in.erase(0, end + 2);
        if (in_letter && line != ".") continue;
        const std::string said = answer(line);
        if (said == "!") {
          close(fd);
          return;
        }
        in_letter = line == "DATA" && said.substr(0, 1) == "3";
        Send(fd, said);
      }
    }
    close(fd);
  }
  static void Send(int fd, const std::string& text) { send(fd, text.data(), text.size(), MSG_NOSIGNAL); }

  const int listener_;
  Address address_;
  std::thread thread_;
};

std::string Willing(const std::string& line) {
  if (line == "DATA") return "354 go on\r\n";
  if (line.substr(0, 4) == "LHLO") return "250-fake\r\n250 PIPELINING\r\n";
  return "250 2.0.0 fine\r\n";
}

// Knows user0 only.
std::string Choosy(const std::string& line) {
  if (line.substr(0, 4) == "RCPT" && line.find("<user0@") == std::string::npos) return "550 5.1.1 unknown\r\n";
  return Willing(line);
}

std::string HangsUpAtTheDot(const std::string& line) { return line == "." ? "!" : Willing(line); }

DeliverOptions Options(const FakeServer& server) {
  DeliverOptions options;
  options.server = server.address();
  options.connections = 1;
  options.count = 10;
  options.accounts = 2;
  options.progress = false;
  return options;
}

TEST(Deliver, CountsWhatWasAccepted) {
  for (const bool pipeline : {false, true}) {
    FakeServer server(1, "220 fake\r\n", Willing);
    DeliverOptions options = Options(server);
    options.pipeline = pipeline;
    const auto result = Deliver(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->accepted_messages, 10u);
    EXPECT_EQ(result->accepted_recipients, 10u);
    EXPECT_EQ(result->refused_messages + result->unknown_messages, 0u);
    EXPECT_EQ(result->latency_seconds.size(), 10u);
  }
}

TEST(Deliver, CountsRefusalsAndGoesOn) {
  for (const bool pipeline : {false, true}) {
    FakeServer server(1, "220 fake\r\n", Choosy);
    DeliverOptions options = Options(server);
    options.pipeline = pipeline;
    const auto result = Deliver(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->accepted_messages, 5u);
    EXPECT_EQ(result->refused_messages, 5u);
    ASSERT_EQ(result->refusals.count("550 5.1.1 unknown"), 1u);
    EXPECT_EQ(result->refusals.at("550 5.1.1 unknown"), 5u);
  }
}

TEST(Deliver, AReplyThatNeverComesIsUnknown) {
  FakeServer server(1, "220 fake\r\n", HangsUpAtTheDot);
  const auto result = Deliver(Options(server));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->accepted_messages, 0u);
  EXPECT_EQ(result->unknown_messages, 1u);
}

TEST(Deliver, AServerThatDoesNotWantUsIsAnError) {
  FakeServer server(1, "554 no\r\n", Willing);
  EXPECT_FALSE(Deliver(Options(server)).ok());
}

TEST(Letters, HaveTheirSizeAndNothingThatNeedsEscaping) {
  for (const size_t size_bytes : {size_t{4096}, size_t{65536}}) {
    Letters letters(size_bytes, 1);
    std::set<std::string> seen;
    for (uint64_t id = 0; id < 200; ++id) {
      std::string letter;
      letters.Append(id, letter);
      EXPECT_EQ(letter.size(), size_bytes);
      EXPECT_TRUE(seen.insert(letter).second) << "letter " << id << " came twice";
      EXPECT_EQ(letter.substr(letter.size() - 2), "\r\n");
      EXPECT_EQ(letter.find("\r\n."), std::string::npos);
      EXPECT_NE(letter.find("\r\n\r\n"), std::string::npos);
      for (size_t at = letter.find('\n'), from = 0; at != std::string::npos;
           from = at + 1, at = letter.find('\n', from)) {
        ASSERT_EQ(letter[at - 1], '\r');
        ASSERT_LE(at - from, 998u);
      }
    }
  }
}

TEST(Samples, PercentilesAreSamples) {
  Samples samples;
  for (int i = 100; i >= 1; --i) samples.Add(i);
  EXPECT_EQ(samples.Percentile(0.5), 50);
  EXPECT_EQ(samples.Percentile(0.99), 99);
  EXPECT_EQ(samples.Max(), 100);
  EXPECT_EQ(samples.First(), 100);
  EXPECT_EQ(Samples().Percentile(0.5), 0);
}

TEST(Address, Parses) {
  EXPECT_EQ(ParseAddress("[::1]:143")->host, "::1");
  EXPECT_EQ(ParseAddress("127.0.0.1:24")->port, 24);
  for (const char* wrong : {"localhost", "localhost:", "localhost:99999", "localhost:1x", "localhost:0"}) {
    EXPECT_FALSE(ParseAddress(wrong).ok()) << wrong;
  }
}

std::string ImapAnswer(const std::string& line) {
  const std::string tag = line.substr(0, line.find(' '));
  if (line.find("FETCH") != std::string::npos) {
    // The literal holds what looks like the tagged answer.
    const std::string literal = tag + " OK not yet\r\n";
    return "* 1 FETCH (BODY[] {" + std::to_string(literal.size()) + "}\r\n" + literal +
           " FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\n" + tag + " OK done\r\n";
  }
  if (line.find("SELECT") != std::string::npos) return tag + " NO there is none\r\n";
  return tag + " OK [CAPABILITY IMAP4rev1 LITERAL+] fine\r\n";
}

TEST(ImapClient, LiteralsAreNotReadAsLines) {
  FakeServer server(1, "* OK fake\r\n", ImapAnswer);
  auto client = ImapClient::Open(server.address());
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->Login("user", "pa\"ss").ok());
  EXPECT_TRUE((*client)->Has("LITERAL+"));
  EXPECT_FALSE((*client)->Has("IDLE"));
  const auto reply = (*client)->Command("FETCH 1:2 (BODY[] FLAGS)");
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->untagged_lines, 2u);
  EXPECT_EQ(reply->tagged, "OK done");
  EXPECT_EQ((*client)->Command("SELECT Nowhere").status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace gemel::perf
