// Logging in, and who is let in. Dialogues: "C: " is what the client sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class LoginTest : public SessionTest {};
INSTANTIATE_TEST_SUITE_P(, LoginTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(LoginTest, GreetsAndLogsIn) {
  EXPECT_THAT(client_.Connect(), StartsWith("* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR"));
  client_.settle_ms = 20'000;
  client_.Talk(R"(C: a SELECT INBOX
S: a BAD Log in first.
C: b LOGIN ann@example.test wrong
S: b NO [AUTHENTICATIONFAILED] Wrong name or password.
C: c LOGIN ann@example.test pass
S: c OK [CAPABILITY IMAP4rev1 ...
C: d LOGIN ann@example.test pass
S: d BAD Not now...
C: e LOGOUT
S: * BYE Logging out
S: e OK Logout completed.
)");
  EXPECT_TRUE(client_.connection.closed);
}

TEST_P(LoginTest, LoginWithLiteralsOfBothKinds) {
  client_.Connect();
  client_.settle_ms = 20'000;
  client_.Talk(R"(C: a LOGIN {16}
S: + OK
C: ann@example.test {4+}
C: wron
S: a NO [AUTHENTICATIONFAILED] ...
)");
  EXPECT_THAT(client_.Say("b LOGIN {16+}\r\nann@example.test {4+}\r\npass\r\n"), StartsWith("b OK"));
}

TEST_P(LoginTest, AuthenticatePlain) {
  client_.Connect();
  client_.Talk(R"(C: a AUTHENTICATE PLAIN
S: + 
C: *
S: a BAD ...
C: b AUTHENTICATE PLAIN !!!
S: b BAD ...
C: c AUTHENTICATE GSSAPI
S: c NO ...
C: d AUTHENTICATE PLAIN
S: + 
C: AGFubkBleGFtcGxlLnRlc3QAcGFzcw==
S: d OK ...
)");
  const auto owned = Another();
  Client& other = *owned;
  other.Connect();
  other.Talk("C: a AUTHENTICATE PLAIN AGFubkBleGFtcGxlLnRlc3QAcGFzcw==\nS: a OK ...\n");
}

TEST_P(LoginTest, NobodyActsAsSomebodyElse) {
  client_.Connect();
  // bob NUL ann@example.test NUL pass
  client_.Talk("C: a AUTHENTICATE PLAIN Ym9iAGFubkBleGFtcGxlLnRlc3QAcGFzcw==\nS: a NO [AUTHORIZATIONFAILED] ...\n");
}

TEST_P(LoginTest, ThreeFailedLoginsAreEnough) {
  client_.Connect();
  client_.settle_ms = 20'000;
  client_.Talk(R"(C: a LOGIN ann@example.test x
S: a NO [AUTHENTICATIONFAILED] ...
C: b LOGIN nobody pass
S: b NO [AUTHENTICATIONFAILED] ...
C: c LOGIN ann@example.test z
S: c NO [AUTHENTICATIONFAILED] ...
S: * BYE Too many failed logins.
)");
  EXPECT_TRUE(client_.connection.closed);
}

// Who guesses is slowed down by address, whether or not it waits for the answer; each failure is in the log at once.
class GuessingTest : public SessionTest {
 protected:
  GuessingTest() {
    journal::SetLogLevel(journal::LogLevel::kWarning);
    std::filesystem::create_directories(root_);
    EXPECT_TRUE(journal::SetLogFile(root_ + "/log"));
  }
  ~GuessingTest() override { journal::SetLogFile(""); }

  std::vector<std::string> FailuresLogged() {
    std::ifstream in(root_ + "/log");
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) {
      if (line.find("imap_login_failed") != std::string::npos) lines.push_back(line);
    }
    return lines;
  }
  std::unique_ptr<Client> Connected() {
    auto client = Another();
    client->Connect();
    return client;
  }
  // Until it has happened, in simulated time, rounded.
  uint64_t SecondsUntil(const std::function<bool()>& done) {
    const uint64_t before_ms = pair_.clock.now_ms;
    EXPECT_TRUE(pair_.RunUntil(done));
    return (pair_.clock.now_ms - before_ms + 500) / 1000;
  }
  uint64_t SecondsUntilLogged(size_t failures) {
    return SecondsUntil([&] { return FailuresLogged().size() == failures; });
  }
  uint64_t SecondsUntilAnswered(Client& client) {
    return SecondsUntil([&] { return !client.connection.sent.empty(); });
  }
};
INSTANTIATE_TEST_SUITE_P(, GuessingTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(GuessingTest, HangingUpHelpsNobody) {
  for (size_t guess = 1; guess <= 4; ++guess) {
    const auto client = Connected();
    client->Write("a LOGIN ann@example.test wrong\r\n");
    client->HangUp();
    // What the failure before costs, although nobody waited for its answer.
    EXPECT_EQ(SecondsUntilLogged(guess), guess - 1);
  }
  // Nor is it better off with all at once.
  std::vector<std::unique_ptr<Client>> many;
  for (int i = 0; i < 3; ++i) {
    many.push_back(Connected());
    many.back()->Write("a LOGIN ann@example.test wrong\r\n");
  }
  EXPECT_EQ(SecondsUntilLogged(5), 4);
  EXPECT_EQ(SecondsUntilLogged(6), 5);
  EXPECT_EQ(SecondsUntilLogged(7), 6);
  EXPECT_EQ(SecondsUntilAnswered(*many.back()), 7);
}

// One client may have all addresses of a /64.
TEST_P(GuessingTest, AnotherAddressOfTheSameNetworkHelpsNobody) {
  uint64_t seconds = 0;
  for (const char* address : {"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"}) {
    const auto client = Another();
    client->connection.address = address;
    client->Connect();
    client->Write("a LOGIN ann@example.test wrong\r\n");
    EXPECT_EQ(SecondsUntilAnswered(*client), ++seconds);
  }
  const auto neighbour = Another();
  neighbour->connection.address = "2001:db8:0:1::1";
  neighbour->Connect();
  neighbour->Write("a LOGIN ann@example.test wrong\r\n");
  EXPECT_EQ(SecondsUntilAnswered(*neighbour), 1);
}

TEST_P(GuessingTest, ASuccessDoesNotClearTheAddress) {
  client_.Connect();
  client_.Write("a LOGIN ann@example.test wrong\r\n");
  EXPECT_EQ(SecondsUntilAnswered(client_), 1);
  EXPECT_THAT(client_.Take(), StartsWith("a NO [AUTHENTICATIONFAILED]"));
  client_.Write("b LOGIN bob@example.test wrong\r\n");
  EXPECT_EQ(SecondsUntilAnswered(client_), 2);

  const auto right = Connected();
  right->LogIn();
  const auto guesser = Connected();
  guesser->Write("a LOGIN bob@example.test wrong\r\n");
  EXPECT_EQ(SecondsUntilAnswered(*guesser), 3);
  // It is known meanwhile, and need not wait.
  const auto again = Connected();
  guesser->Write("b LOGIN bob@example.test wrong\r\n");
  again->Write("a LOGIN ann@example.test pass\r\n");
  EXPECT_EQ(SecondsUntilAnswered(*again), 0);
  EXPECT_THAT(again->Take(), StartsWith("a OK"));

  // One is forgotten each minute: three of four.
  pair_.loop.RunFor(3 * 60'000 + 10'000);
  const auto later = Connected();
  later->Write("a LOGIN bob@example.test wrong\r\n");
  EXPECT_EQ(SecondsUntilAnswered(*later), 2);
}

// A telephone behind the same address that tries again and again with an old password does not keep the others out.
TEST_P(GuessingTest, NamesThatHaveNotFailedGoFirst) {
  AddAccount("bob@example.test", kHome);
  const auto guess = [this] {
    auto client = Connected();
    client->Write("a LOGIN ann@example.test wrong\r\n");
    return client;
  };
  const auto first = guess();
  EXPECT_EQ(SecondsUntilAnswered(*first), 1);
  std::vector<std::unique_ptr<Client>> again;
  for (int i = 0; i < 5; ++i) again.push_back(guess());
  const auto neighbour = Connected();
  neighbour->Write("a LOGIN bob@example.test pass\r\n");
  // The one that is being checked already goes before it.
  EXPECT_EQ(SecondsUntilAnswered(*neighbour), 2);
  EXPECT_THAT(neighbour->Take(), StartsWith("a OK"));
  for (const auto& client : again)
    EXPECT_TRUE(pair_.RunUntil([&] { return !client->connection.sent.empty(); }, 600'000));
}

TEST_P(GuessingTest, WhoWaitsInLineIsBounded) {
  std::vector<std::unique_ptr<Client>> many;
  for (int i = 0; i < 66; ++i) many.push_back(Connected());
  for (const auto& client : many) client->Write("a LOGIN bob@example.test wrong\r\n");
  Settle();
  EXPECT_THAT(many.back()->Take(), StartsWith("a NO [UNAVAILABLE] "));
  EXPECT_EQ(many.front()->Take(), "");
}

TEST_P(GuessingTest, TheFailregexOfTheManualMatches) {
  const char* source = std::getenv("GEMEL_SOURCE");
  std::ifstream manual(std::string(source != nullptr ? source : ".") + "/docs/operator.md");
  std::string pattern;
  for (std::string line; pattern.empty() && std::getline(manual, line);) {
    const size_t at = line.find("failregex = ");
    if (at != std::string::npos) pattern = line.substr(at + 12);
  }
  const size_t address = pattern.find("<ADDR>");
  ASSERT_NE(address, std::string::npos) << "no failregex in docs/operator.md: run with GEMEL_SOURCE";
  pattern.replace(address, 6, "([0-9a-f.:]+)");
  client_.Connect();
  client_.Write("a LOGIN ann@example.test wrong\r\n");
  SecondsUntilLogged(1);
  client_.Write("b LOGIN \"a \\\" rip=198.51.100.9 session=x\" wrong\r\n");
  SecondsUntilLogged(2);
  for (const std::string& line : FailuresLogged()) {
    std::smatch match;
    ASSERT_TRUE(std::regex_match(line, match, std::regex(pattern))) << line;
    EXPECT_EQ(match[1], "192.0.2.7");
  }
}

// However much it has to say.
TEST_P(LoginTest, LoginTimeIsBounded) {
  client_.connection.has_tls = false;
  client_.Connect();
  const auto seconds_to_goodbye = [this] {
    uint64_t seconds = 0;
    for (; seconds < 400 && !client_.connection.closed; seconds += 10) {
      client_.Say("n NOOP\r\n");
      pair_.loop.RunFor(10'000 - client_.settle_ms);
    }
    return seconds;
  };
  for (int i = 0; i < 20; ++i) {
    client_.Say("n NOOP\r\n");
    pair_.loop.RunFor(10'000);
  }
  // It has begun anew: nothing of before is known of the client.
  client_.Say("b STARTTLS\r\n");
  client_.connection.has_tls = true;
  client_.session().OnTls();
  EXPECT_EQ(seconds_to_goodbye(), 300);
  EXPECT_THAT(client_.Take(), HasSubstr("* BYE Nobody logged in for too long.\r\n"));
}

TEST_P(LoginTest, NoPasswordInClear) {
  client_.connection.has_tls = false;
  EXPECT_THAT(client_.Connect(), HasSubstr("STARTTLS LOGINDISABLED]"));
  client_.Talk("C: a LOGIN ann@example.test pass\nS: a NO [PRIVACYREQUIRED] ...\n");
  // What was pipelined behind STARTTLS does not survive it.
  EXPECT_THAT(client_.Say("b STARTTLS\r\nc LOGIN ann@example.test pass\r\n"), "b OK Begin TLS negotiation now.\r\n");
  EXPECT_TRUE(client_.connection.tls_started);
  client_.connection.has_tls = true;
  client_.session().OnTls();
  Settle();
  EXPECT_EQ(client_.Take(), "");
  client_.Talk("C: d LOGIN ann@example.test pass\nS: d OK ...\n");
}

TEST_P(LoginTest, LoopbackNeedsNoTls) {
  client_.connection.has_tls = client_.connection.can_tls = false;
  client_.connection.is_loopback = true;
  EXPECT_THAT(client_.Connect(), HasSubstr(" AUTH=PLAIN]"));
  client_.Talk("C: a LOGIN ann@example.test pass\nS: a OK ...\n");
}

TEST_P(LoginTest, UnauthenticatedBytesAreBounded) {
  client_.Connect();
  const std::string junk(100'000, 'x');
  for (int i = 0; i < 3; ++i) client_.Say(junk);
  EXPECT_TRUE(client_.connection.closed);
}

// The client does not notice that it is passed on, and what it sent behind LOGIN is not lost.
TEST_P(LoginTest, TheHomeTakesOver) {
  client_.Connect();
  const std::string answers = client_.Say("a LOGIN ann@example.test pass\r\nb SELECT INBOX\r\n");
  EXPECT_THAT(answers, StartsWith("a OK [CAPABILITY IMAP4rev1"));
  EXPECT_THAT(answers, HasSubstr("b OK [READ-WRITE]"));
  EXPECT_FALSE(client_.connection.closed);
  pair_.loop.RunFor(10 * 60'000);  // the time for logging in is over
  EXPECT_EQ(client_.Say("c NOOP\r\n"), "c OK NOOP completed.\r\n");
  ASSERT_EQ(client_.passed_on.has_value(), GetParam() != kHome);
  if (client_.passed_on) {
    EXPECT_EQ(client_.passed_on->client_address, "192.0.2.7");
    EXPECT_TRUE(client_.passed_on->tls);
  }
}

class AwayTest : public Dialogue {
 protected:
  void KillHome() {
    LetGo();
    pair_.Kill(kHome);
    ASSERT_TRUE(
        pair_.RunUntil([&] { return pair_.nodes[0]->HomeOf(journal::AccountIdOf(kAnn)) == engine::Home::kPeerAway; }));
  }
};

TEST_F(AwayTest, AHomeThatCannotBeReached) {
  const auto client = NewClient(0);
  client->connection.proxy = [&](auto, auto, std::function<void(absl::Status)> then) {
    pair_.loop.Post([then] { then(absl::UnavailableError("refused")); });
  };
  client->Connect();
  EXPECT_EQ(client->Say("a LOGIN ann@example.test pass\r\nb NOOP\r\n"),
            "a NO [UNAVAILABLE] The server of this account cannot be reached; try again.\r\nb OK NOOP completed.\r\n");
}

// It went away between the look and the call: the client reads what was last shown.
TEST_F(AwayTest, AHomeThatGoesJustNow) {
  const auto client = NewClient(0);
  client->connection.proxy = [&](auto, auto, std::function<void(absl::Status)> then) {
    pair_.loop.Post([this, then] {
      KillHome();
      then(absl::UnavailableError("refused"));
    });
  };
  client->Connect();
  client->settle_ms = 5000;
  EXPECT_THAT(client->Say("a LOGIN ann@example.test pass\r\nb SELECT INBOX\r\n"), HasSubstr("b OK [READ-ONLY]"));
}

TEST_F(AwayTest, AnAccountWhoseHomeIsAwayCanBeRead) {
  Put("INBOX", kLetter);
  KillHome();
  pair_.loop.RunFor(4000);  // until it counts as away: before that a login waits
  const auto client = NewClient(0);
  client->LogIn();
  EXPECT_THAT(client->Say("a SELECT INBOX\r\n"), HasSubstr("a OK [READ-ONLY]"));
  client->Talk(R"(C: b STORE 1 +FLAGS (\Seen)
S: b NO [UNAVAILABLE] ...
C: c CREATE x
S: c NO [UNAVAILABLE] ...
C: d APPEND INBOX {3}
S: d NO [UNAVAILABLE] ...
C: e EXPUNGE
S: e NO [UNAVAILABLE] ...
C: f FETCH 1 (FLAGS BODY[TEXT])
S: * 1 FETCH (FLAGS (\Recent) BODY[TEXT] {10}
S: At five?
S: )
S: f OK Fetch completed.
)");
}

}  // namespace
}  // namespace gemel::imap
