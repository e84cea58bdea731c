// Logging in, and who is let in. Dialogues: "C: " is what the client sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
