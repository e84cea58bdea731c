// Messages: FETCH, STORE, COPY, SEARCH, EXPUNGE, and what is told of changes. Dialogues: "C: " is what the client
// sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MessagesTest : public SessionTest {};
INSTANTIATE_TEST_SUITE_P(, MessagesTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(MessagesTest, StoreTellsFlagsUnlessSilent) {
  Put("INBOX", kLetter);
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s EXAMINE INBOX\r\n");
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a STORE 1 +FLAGS (\Seen $Work)
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $Work \*)] Flags permitted.
S: * 1 FETCH (FLAGS (\Seen \Recent $Work))
S: a OK Store completed.
C: b STORE 1:2 -FLAGS.SILENT (\Seen $work)
S: b OK Store completed.
C: c UID STORE 2 FLAGS \Flagged
S: * 2 FETCH (UID 2 FLAGS (\Flagged \Recent))
S: c OK Store completed.
C: d STORE 3 FLAGS ()
S: d BAD There is no message with such a number.
C: e UID STORE 7:9 FLAGS ()
S: e OK Store completed.
C: f FETCH 1:2 (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS (\Recent))
S: * 2 FETCH (UID 2 FLAGS (\Flagged \Recent))
S: f OK Fetch completed.
)");
}

TEST_P(MessagesTest, StoreSilentStillTellsWhatSomebodyElseChanged) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  other.Say("t STORE 1 +FLAGS (\\Answered)\r\n");
  client_.Talk(R"(C: a STORE 1 +FLAGS.SILENT (\Flagged)
S: * 1 FETCH (FLAGS (\Answered \Flagged \Recent))
S: a OK Store completed.
)");
}

// RFC 3501, 7.4.1: message numbers stand still during FETCH, STORE and SEARCH.
TEST_P(MessagesTest, ExpungeIsToldOnlyWhereItMay) {
  for (int i = 0; i < 3; ++i) Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  other.Talk(R"(C: a STORE 1,3 +FLAGS.SILENT (\Deleted)
S: a OK Store completed.
C: b EXPUNGE
S: * 3 EXPUNGE
S: * 1 EXPUNGE
S: b OK Expunge completed.
)");
  client_.Talk(R"(C: a FETCH 2 UID
S: * 2 FETCH (UID 2)
S: a OK Fetch completed.
C: b FETCH 1:2 (UID FLAGS)
S: * 2 FETCH (UID 2 FLAGS (\Recent))
S: b NO [EXPUNGEISSUED] Some of these messages were expunged meanwhile.
C: c STORE 1 +FLAGS (\Seen)
S: c OK Store completed.
C: d NOOP
S: * 3 EXPUNGE
S: * 1 EXPUNGE
S: d OK NOOP completed.
C: e FETCH 1 UID
S: * 1 FETCH (UID 2)
S: e OK Fetch completed.
)");
}

TEST_P(MessagesTest, NewMessagesAreToldAtTheEndOfEveryCommand) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  Put("INBOX", kLetter);
  client_.Talk(R"(C: a FETCH 1:* FLAGS
S: * 1 EXISTS
S: * 1 RECENT
S: a OK Fetch completed.
C: b UID EXPUNGE 1:*
S: b OK Expunge completed.
)");
}

TEST_P(MessagesTest, IdleTellsAtOnce) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a IDLE\r\n"), "+ idling\r\n");
  Put("INBOX", kLetter);
  Settle();
  EXPECT_EQ(client_.Take(), "* 1 EXISTS\r\n* 1 RECENT\r\n");
  client_.session().OnTimeout();
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  EXPECT_EQ(client_.Say("done\r\nb NOOP\r\n"), "a OK Idle completed.\r\nb OK NOOP completed.\r\n");
}

TEST_P(MessagesTest, IdleEndsWithAutologout) {
  client_.LogIn();
  client_.Say("a IDLE\r\n");
  for (int i = 0; i < 15; ++i) {
    client_.session().OnTimeout();
    EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  }
  client_.session().OnTimeout();
  EXPECT_THAT(client_.Take(), StartsWith("* BYE Autologout"));
  EXPECT_TRUE(client_.connection.closed);
}

TEST_P(MessagesTest, FetchOfABodySetsSeen) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)]<0.9> UID)\r\n"),
            "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)]<0> {9}\r\nSubject:  UID 1)\r\na OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("b UID FETCH 1 BODY[TEXT]\r\n"),
            "* 1 FETCH (UID 1 BODY[TEXT] {10}\r\nAt five?\r\n FLAGS (\\Seen \\Recent))\r\nb OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("c FETCH 1 (RFC822.SIZE BODY[9.1])\r\n"),
            "* 1 FETCH (RFC822.SIZE 144 BODY[9.1] NIL)\r\nc OK Fetch completed.\r\n");
}

TEST_P(MessagesTest, FetchEnvelopeFillsTheCache) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const std::string first = client_.Say("a FETCH 1 FULL\r\n");
  EXPECT_THAT(first, HasSubstr("ENVELOPE (\"Mon, 1 Jan 2024 10:00:00 +0000\" \"Tea\" ((\"Bob\" NIL \"bob\""));
  EXPECT_THAT(first, HasSubstr("BODY (\"text\" \"plain\""));
  EXPECT_TRUE(Ann().CachedStructures({Named("INBOX").messages.front().guid}).front().has_value());
  EXPECT_EQ(client_.Say("a FETCH 1 FULL\r\n"), first);
}

// A giant answer is made in slices: others run in between, and little is in memory when the client is slow.
TEST_P(MessagesTest, GiantFetchYieldsAndWaits) {
  std::string body = "Subject: big\n\n";
  for (int i = 0; i < 100'000; ++i) body += "All work and no play makes Jack a dull boy.\n";
  const uint64_t size = body.size() + 100'002;
  Put("INBOX", body);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.connection.holds_back = true;
  std::string got;
  const size_t steps_before = pair_.loop.steps_run;
  got += client_.Say("a FETCH 1 BODY.PEEK[]\r\nb NOOP\r\n");
  while (client_.connection.unsent > 0) {
    client_.connection.Drain();
    Settle();
    got += client_.Take();
  }
  EXPECT_LT(client_.connection.unsent_max, 600 * 1024);
  EXPECT_GT(pair_.loop.steps_run - steps_before, 10);
  EXPECT_THAT(got, StartsWith("* 1 FETCH (BODY[] {" + std::to_string(size) + "}\r\nSubject: big\r\n\r\nAll work"));
  EXPECT_TRUE(got.ends_with("dull boy.\r\n)\r\na OK Fetch completed.\r\nb OK NOOP completed.\r\n"));
}

TEST_P(MessagesTest, CopyAndMoveTellUids) {
  for (int i = 0; i < 4; ++i) Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a COPY 1,3:4 Archive
S: a OK [COPYUID {N} 1,3:4 1:3] Copy completed.
C: b UID MOVE 2,4 Archive
S: * OK [COPYUID {N} 2,4 4:5] Moved UIDs.
S: * 4 EXPUNGE
S: * 2 EXPUNGE
S: b OK Move completed.
C: c COPY 1 Nowhere
S: c NO [TRYCREATE] There is no such mailbox.
C: d STATUS Archive (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)
S: * STATUS Archive (MESSAGES 5 RECENT 5 UIDNEXT 6 UIDVALIDITY {N} UNSEEN 5)
S: d OK Status completed.
C: e UID COPY 77 Archive
S: e OK Copy completed.
)");
}

TEST_P(MessagesTest, SearchAnswersNumbersOrUids) {
  for (int i = 0; i < 3; ++i) Put("INBOX", kLetter, i == 1 ? journal::kSeen : 0);
  Put("INBOX", "Subject: =?utf-8?q?Caf=C3=A9?=\n\nx\n");
  ASSERT_TRUE(Run(Ann(), engine::StoreFlagsCommand{Named("INBOX").id, engine::FlagOp::kAdd, journal::kDeleted, {}, {1}})
                  .status.ok());
  ASSERT_TRUE(Run(Ann(), engine::ExpungeCommand{Named("INBOX").id, {1}}).status.ok());
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a SEARCH UNSEEN SUBJECT tea
S: * SEARCH 2
S: a OK Search completed.
C: b UID SEARCH OR SEEN BODY FIVE
S: * SEARCH 2 3
S: b OK Search completed.
C: c SEARCH FROM nobody
S: * SEARCH
S: c OK Search completed.
C: d SEARCH CHARSET X-NONE SUBJECT a
S: d NO [BADCHARSET (...
C: e SEARCH 2:*
S: * SEARCH 2 3
S: e OK Search completed.
)");
  EXPECT_EQ(client_.Say("f UID SEARCH CHARSET UTF-8 SUBJECT {5+}\r\nCAF\xc3\x89\r\n"),
            "* SEARCH 4\r\nf OK Search completed.\r\n");
}

}  // namespace
}  // namespace gemel::imap
