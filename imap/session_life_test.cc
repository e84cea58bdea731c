// A session from its first byte to its end. Dialogues: "C: " is what the client sends, "S: " what it must get, line by
// line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class LifeTest : public SessionTest {};
INSTANTIATE_TEST_SUITE_P(, LifeTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(LifeTest, BadInputIsAnsweredAndSurvived) {
  client_.LogIn();
  client_.Talk(R"(C: 
C: a
S: a BAD something is missing at the end
C: b FROB
S: b BAD unknown command
C: (
S: * BAD a command starts with a tag
C: d SELECT
S: d BAD SELECT: something is missing at the end
C: e SELECT a b
S: e BAD SELECT: something is left over at the end
C: f SELECT {70000}
S: f BAD a literal is too long
C: g NOOP
S: g OK NOOP completed.
)");
  EXPECT_EQ(client_.Say("h SELECT {70000+}\r\n" + std::string(70'000, 'x') + " junk\r\ni NOOP\r\n"),
            "h BAD a literal is too long\r\ni OK NOOP completed.\r\n");
  EXPECT_EQ(client_.Say("j SELECT " + std::string(100'000, 'x') + "\r\nk NOOP\r\n"),
            "j BAD the line is too long\r\nk OK NOOP completed.\r\n");
}

// RFC 7888, 4: its octets come all the same, wherever the line was cut.
TEST_P(LifeTest, ALiteralBehindALineThatIsTooLongIsNoCommand) {
  client_.LogIn();
  for (const size_t before : {65'000u, 65'490u, 65'520u, 65'529u, 65'530u, 65'531u, 65'535u, 65'536u, 131'040u}) {
    const std::string line = "x NOOP " + std::string(before - 7, 'a') + "{15+}\r\n";
    EXPECT_EQ(client_.Say(line + "y CREATE evil\r\n and what follows\r\nz NOOP\r\n").substr(0, 6), "x BAD ") << before;
    EXPECT_THAT(client_.Say("l LIST \"\" evil\r\n"), StartsWith("l OK")) << before;
  }
}

// RFC 3501, 7.4.1: what cannot be read may have been a FETCH, and its sender counts on its numbers.
TEST_P(LifeTest, NoExpungeWithAnAnswerToBadInput) {
  for (int i = 0; i < 2; ++i) Put("INBOX", kLetter, journal::kDeleted);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  other.Say("t UID EXPUNGE 1\r\n");
  Put("INBOX", kLetter);
  client_.Talk(R"(C: a FETCH 1 FROB
S: * 3 EXISTS
S: * 3 RECENT
S: a BAD FETCH: unknown item
C: b NOOP
S: * 1 EXPUNGE
S: b OK NOOP completed.
)");
}

TEST_P(LifeTest, SmallCommands) {
  client_.Connect();
  client_.Talk(R"(C: a ID NIL
S: * ID ("name" "Gemel" "version" ...
S: a OK ID completed.
C: b ENABLE CONDSTORE
S: b BAD Log in first.
C: c CAPABILITY
S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN
S: c OK Capability completed.
C: d LOGIN ann@example.test pass
S: d OK ...
C: e ID ("name" "Test \"7\"" "version" NIL)
S: * ID ("name" "Gemel" "version" ...
S: e OK ID completed.
C: f ID ("name")
S: f BAD ...
C: g ENABLE CONDSTORE QRESYNC X-FROB
S: * ENABLED
S: g OK Enabled.
C: h ENABLE
S: h BAD ...
C: i CHECK
S: i BAD Not now; a mailbox must be selected.
C: j CAPABILITY
S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT ...
S: j OK Capability completed.
)");
  client_.Say("s EXAMINE INBOX\r\n");
  Put("INBOX", kLetter);
  client_.Talk(R"(C: k CHECK
S: * 1 EXISTS
S: * 1 RECENT
S: k OK Check completed.
)");
}

TEST_P(LifeTest, SilenceEndsASession) {
  client_.LogIn();
  for (int i = 0; i < 2; ++i) {
    pair_.loop.RunFor(29 * 60'000);
    EXPECT_EQ(client_.Say("n NOOP\r\n"), "n OK NOOP completed.\r\n");
  }
  pair_.loop.RunFor(31 * 60'000);
  EXPECT_THAT(client_.Take(), StartsWith("* BYE Autologout; idle for too long.\r\n"));
  EXPECT_TRUE(client_.connection.closed);
}

TEST_P(LifeTest, PipelinedCommandsAreAnsweredInOrder) {
  Put("INBOX", kLetter);
  client_.Connect();
  EXPECT_THAT(client_.Say("a LOGIN ann@example.test pass\r\nb EXAMINE INBOX\r\nc FETCH 1 UID\r\nd LOGOUT\r\n"),
              testing::ContainsRegex("a OK.*\r\nb OK.*\r\n\\* 1 FETCH .UID 1.\r\nc OK.*\r\n\\* BYE.*\r\nd OK"));
}

TEST_P(LifeTest, GoodbyeWhenTheAccountMovesOrTheDaemonStops) {
  client_.LogIn();
  client_.Say("a IDLE\r\n");
  std::optional<absl::Status> moved;
  pair_.nodes[kHome]->SetHome(kAnn, 1 - kHome, [&](absl::Status status) { moved = status; });
  ASSERT_TRUE(pair_.RunUntil([&] { return moved.has_value(); }));
  ASSERT_TRUE(moved->ok()) << *moved;
  EXPECT_THAT(client_.Take(), ::testing::MatchesRegex("\\* BYE .*reconnect.*\r\n"));
  EXPECT_TRUE(client_.connection.closed);

  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.session().OnShutdown();
  EXPECT_THAT(other.Take(), StartsWith("* BYE"));
  EXPECT_TRUE(other.connection.closed);
}

// The connection may go at any moment; what comes back afterwards finds nobody.
TEST_P(LifeTest, CallbacksAfterTheEndDoNothing) {
  Put("INBOX", kLetter);
  for (const char* command : {"STORE 1 +FLAGS (\\Seen)", "FETCH 1 BODY[]", "COPY 1 INBOX", "CHECK"}) {
    auto client = Another();
    client->LogIn();
    client->Say("s SELECT INBOX\r\n");
    client->session().OnBytes(std::string("a ") + command + "\r\n");
    client->session().OnClosed();
    client.reset();
    Settle();
  }
}

}  // namespace
}  // namespace gemel::imap
