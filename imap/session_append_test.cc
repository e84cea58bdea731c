// APPEND, and what waits or fails. Dialogues: "C: " is what the client sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class AppendTest : public SessionTest {
 protected:
  // Until the nodes have noticed.
  void Fill() {
    memory().SetCapacity(kDiskBytes - *memory().FreeBytes(root_) + kFreeBytesMin / 2);
    pair_.loop.RunFor(3000);
  }
};
INSTANTIATE_TEST_SUITE_P(, AppendTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(AppendTest, AppendInPieces) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a APPEND INBOX (\\Seen $Fwd) \" 1-Feb-2024 10:00:00 +0100\" {14}\r\n"), "+ OK\r\n");
  for (const char c : std::string_view("a: b\r\n\r\nc\nd\r")) client_.Say(std::string_view(&c, 1));
  EXPECT_EQ(client_.Say("\r"), "");
  EXPECT_EQ(client_.Say("\n"), "");
  const std::string answer = client_.Say("\r\n");
  EXPECT_THAT(answer, HasSubstr("$Fwd \\*)] Flags permitted.\r\n* 1 EXISTS\r\n* 1 RECENT\r\na OK [APPENDUID "));
  EXPECT_THAT(answer, ::testing::EndsWith(" 1] Append completed.\r\n"));
  const engine::Message& message = Named("INBOX").messages.front();
  EXPECT_EQ(BodyOf("INBOX", 1), "a: b\n\nc\nd\n");
  EXPECT_EQ(message.flags, journal::kSeen);
  EXPECT_EQ(message.internal_date_s, 1706778000);
}

TEST_P(AppendTest, AppendIsRefusedBeforeItIsSent) {
  client_.LogIn();
  client_.Talk(R"(C: a APPEND Nowhere {10}
S: a NO [TRYCREATE] There is no such mailbox.
C: b APPEND INBOX {999999999999}
S: b NO [TOOBIG] ...
C: c APPEND INBOX (\Bogus) {3}
S: c BAD APPEND: unknown system flag
C: d APPEND INBOX {0}
S: d NO [CANNOT] ...
)");
  // What comes unasked is passed over.
  EXPECT_EQ(client_.Say("e APPEND Nowhere {11+}\r\nx LOGOUT\r\n\r\n\r\nf NOOP\r\n"),
            "e NO [TRYCREATE] There is no such mailbox.\r\nf OK NOOP completed.\r\n");
  EXPECT_THAT(client_.Say("g APPEND INBOX {3+}\r\nabc {3+}\r\nabc\r\nh NOOP\r\n"),
              "g BAD APPEND: only one message at a time\r\nh OK NOOP completed.\r\n");
  EXPECT_TRUE(Named("INBOX").messages.empty());
}

// The client is read no faster than the journal writes, and nothing of it is lost.
TEST_P(AppendTest, ReadingPausesWhileMuchIsOnItsWay) {
  client_.LogIn();
  const std::string piece = std::string(49'998, 'y') + "\r\n";
  constexpr int kPieces = 80;
  std::string got = client_.Say("a APPEND INBOX {" + std::to_string(kPieces * piece.size()) + "+}\r\n");
  int pauses = 0;
  for (int i = 0; i < kPieces; ++i) {
    client_.session().OnBytes(piece);  // nothing else happens meanwhile
    if (client_.connection.reading) continue;
    ++pauses;
    EXPECT_GE(i, 10) << "some of it is taken at once";
    client_.Settle();
    EXPECT_TRUE(client_.connection.reading);
  }
  EXPECT_GT(pauses, 0);
  got += client_.Say("\r\nb NOOP\r\n");
  EXPECT_THAT(got,
              ::testing::MatchesRegex("a OK \\[APPENDUID [0-9]+ 1\\] Append completed.\r\nb OK NOOP completed.\r\n"));
  std::string lf;
  for (int i = 0; i < kPieces; ++i) lf += std::string(49'998, 'y') + "\n";
  EXPECT_TRUE(BodyOf("INBOX", 1) == lf);
}

TEST_P(AppendTest, AFullDiskHasItsCode) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  Fill();
  EXPECT_THAT(client_.Say("a APPEND INBOX {3+}\r\nabc\r\n"), StartsWith("a NO [OVERQUOTA] "));
  EXPECT_THAT(client_.Say("b STORE 1 +FLAGS (\\Seen)\r\n"), StartsWith("b NO [OVERQUOTA] "));
  // A full disk does not keep mail from being read; it just stays unseen.
  EXPECT_EQ(client_.Say("c FETCH 1 BODY[TEXT]\r\n"),
            "* 1 FETCH (BODY[TEXT] {10}\r\nAt five?\r\n)\r\nc OK Fetch completed.\r\n");
}

}  // namespace
}  // namespace gemel::imap
