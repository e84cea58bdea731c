// Mailboxes: SELECT, LIST, CREATE and the like. Dialogues: "C: " is what the client sends, "S: " what it must get, line
// by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MailboxesTest : public SessionTest {};
INSTANTIATE_TEST_SUITE_P(, MailboxesTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(MailboxesTest, SelectSaysWhatIsThere) {
  Put("INBOX", kLetter, journal::kSeen);
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Talk(R"(C: a SELECT inbox
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags permitted.
S: * 2 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY {N}] UIDs valid
S: * OK [UIDNEXT 3] Predicted next UID
S: a OK [READ-WRITE] Select completed.
C: b FETCH 1:* FLAGS
S: * 1 FETCH (FLAGS (\Seen \Recent))
S: * 2 FETCH (FLAGS (\Recent))
S: b OK Fetch completed.
C: c EXAMINE INBOX
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
S: * 2 EXISTS
S: * 0 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY {N}] UIDs valid
S: * OK [UIDNEXT 3] Predicted next UID
S: c OK [READ-ONLY] Examine completed.
C: d STORE 1 +FLAGS (\Deleted)
S: d NO [READ-ONLY] ...
C: e SELECT Nothing
S: e NO [NONEXISTENT] There is no such mailbox.
C: f FETCH 1 FLAGS
S: f BAD Not now; a mailbox must be selected.
)");
}

TEST_P(MailboxesTest, CloseExpungesSilentlyAndUnselectDoesNot) {
  Put("INBOX", kLetter, journal::kDeleted);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk("C: a UNSELECT\nS: a OK Unselect completed.\n");
  EXPECT_EQ(Named("INBOX").messages.size(), 1);
  client_.Say("s EXAMINE INBOX\r\n");
  client_.Talk("C: a CLOSE\nS: a OK Close completed.\n");
  EXPECT_EQ(Named("INBOX").messages.size(), 1);
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk("C: a CLOSE\nS: a OK Close completed.\n");
  EXPECT_EQ(Named("INBOX").messages.size(), 0);
}

TEST_P(MailboxesTest, Lists) {
  Create("Lists/C++/news");
  // Parents were made with it; without them their names still hold the tree together.
  for (const char* parent : {"Lists", "Lists/C++"}) {
    ASSERT_TRUE(Run(Ann(), engine::DeleteCommand{parent}).status.ok());
  }
  Create("Entwürfe & \"mehr\"");
  client_.LogIn();
  client_.Talk(R"(C: a LIST "" ""
S: * LIST (\Noselect) "/" ""
S: a OK List completed.
C: b LIST "" *
S: * LIST (\HasNoChildren \Archive) "/" Archive
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren) "/" "Entw&APw-rfe &- \"mehr\""
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\HasNoChildren \Junk) "/" Junk
S: * LIST (\Noselect \HasChildren) "/" Lists
S: * LIST (\Noselect \HasChildren) "/" Lists/C++
S: * LIST (\HasNoChildren) "/" Lists/C++/news
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren \Trash) "/" Trash
S: b OK List completed.
C: c LIST "Lists/" %
S: * LIST (\Noselect \HasChildren) "/" Lists/C++
S: c OK List completed.
C: d LIST "" in*
S: * LIST (\HasNoChildren) "/" INBOX
S: d OK List completed.
C: e LIST "" inbox
S: * LIST (\HasNoChildren) "/" INBOX
S: e OK List completed.
C: f LIST (SPECIAL-USE) "" * RETURN (SPECIAL-USE)
S: * LIST (\HasNoChildren \Archive) "/" Archive
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren \Junk) "/" Junk
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren \Trash) "/" Trash
S: f OK List completed.
C: g SUBSCRIBE Lists/C++/news
S: g OK Subscribe completed.
C: h LSUB "" *
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Lists/C++/news
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: h OK Lsub completed.
C: i LSUB "" %
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: * LSUB (\Noselect) "/" Lists
S: i OK Lsub completed.
C: j UNSUBSCRIBE Lists/C++/news
S: j OK Unsubscribe completed.
C: k LSUB "" *
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: k OK Lsub completed.
)");
}

// The first level INBOX in any case, and 8-bit patterns as names: as they are, or in modified UTF-7.
TEST_P(MailboxesTest, PatternsAreReadAsNamesAre) {
  for (const char* name : {"INBOX/Tea", "Work/inbox", "Entwürfe", "inboxes"}) Create(name);
  client_.LogIn();
  client_.Talk(R"(C: a LIST "" "inB%"
S: * LIST (\HasChildren) "/" INBOX
S: a OK List completed.
C: b LIST "" inbox/t*
S: b OK List completed.
C: c LIST "inbox/" T*
S: * LIST (\HasNoChildren) "/" INBOX/Tea
S: c OK List completed.
C: d LIST "" *iNbOx
S: * LIST (\HasChildren) "/" INBOX
S: d OK List completed.
C: e LIST "" "Entwü%"
S: * LIST (\HasNoChildren) "/" Entw&APw-rfe
S: e OK List completed.
C: f LIST "Entw&APw-" "%"
S: * LIST (\HasNoChildren) "/" Entw&APw-rfe
S: f OK List completed.
C: g SUBSCRIBE "Entwürfe"
S: g OK Subscribe completed.
C: h LSUB "Entwü" *
S: * LSUB () "/" Entw&APw-rfe
S: h OK Lsub completed.
C: i LSUB "" "&bad"
S: i OK Lsub completed.
)");
}

TEST_P(MailboxesTest, MailboxesComeAndGo) {
  client_.LogIn();
  client_.Talk(R"(C: a CREATE Work/
S: a OK Create completed.
C: a2 CREATE x//
S: a2 NO [CANNOT] the mailbox name has an empty level
C: a3 STATUS Work (APPENDLIMIT MESSAGES)
S: * STATUS Work (APPENDLIMIT 157286400 MESSAGES 0)
S: a3 OK Status completed.
C: b CREATE work&AOk-
S: b OK Create completed.
C: c CREATE Work
S: c NO [ALREADYEXISTS] the mailbox Work exists already
C: d RENAME Work Play
S: d OK Rename completed.
C: e SELECT Work
S: e NO [NONEXISTENT] There is no such mailbox.
C: f DELETE INBOX
S: f NO INBOX cannot be deleted
C: g DELETE Play
S: g OK Delete completed.
C: h CREATE &bad
S: h NO [CANNOT] ...
C: i NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: i OK Namespace completed.
)");
}

// RFC 3501, 6.3.5: LIST shows it, so it can be renamed.
TEST_P(MailboxesTest, ANameThatHasChildrenOnlyIsRenamed) {
  client_.LogIn();
  client_.Talk(R"(C: a CREATE p/q/r
S: a OK Create completed.
C: b DELETE p
S: b OK Delete completed.
C: c RENAME p pp/x
S: c OK Rename completed.
C: d LIST "" "p*"
S: * LIST (\HasChildren) "/" pp
S: * LIST (\Noselect \HasChildren) "/" pp/x
S: * LIST (\HasChildren) "/" pp/x/q
S: * LIST (\HasNoChildren) "/" pp/x/q/r
S: d OK List completed.
C: e RENAME p ppp
S: e NO [NONEXISTENT] ...
C: f RENAME pp pp/y
S: f NO ...
)");
}

TEST_P(MailboxesTest, SentMadeAnewIsSent) {
  client_.LogIn();
  client_.Talk(R"(C: a RENAME Sent Old
S: a OK Rename completed.
C: b CREATE Sent
S: b OK Create completed.
C: c LIST "" Sent
S: * LIST (\HasNoChildren) "/" Sent
S: c OK List completed.
C: d DELETE Sent
S: d OK Delete completed.
C: e DELETE Old
S: e OK Delete completed.
C: f CREATE Sent/2026
S: f OK Create completed.
C: g LIST "" Sent*
S: * LIST (\HasChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren) "/" Sent/2026
S: g OK List completed.
)");
}

// RFC 3501, 6.3.5: its messages go, INBOX and its children stay.
TEST_P(MailboxesTest, RenameInboxMovesItsMessages) {
  Create("INBOX/Tea");
  Put("INBOX", kLetter, journal::kSeen);
  Put("INBOX", kLetter);
  Put("INBOX/Tea", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a RENAME INBOX Old/2024
S: * 2 EXPUNGE
S: * 1 EXPUNGE
S: a OK Rename completed.
C: b LIST "" "INBOX*"
S: * LIST (\HasChildren) "/" INBOX
S: * LIST (\HasNoChildren) "/" INBOX/Tea
S: b OK List completed.
C: c LIST "" "Old*"
S: * LIST (\HasChildren) "/" Old
S: * LIST (\HasNoChildren) "/" Old/2024
S: c OK List completed.
C: d STATUS INBOX (MESSAGES UIDNEXT)
S: * STATUS INBOX (MESSAGES 0 UIDNEXT 3)
S: d OK Status completed.
C: e STATUS INBOX/Tea (MESSAGES)
S: * STATUS INBOX/Tea (MESSAGES 1)
S: e OK Status completed.
C: f EXAMINE Old/2024
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
S: * 2 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY {N}] UIDs valid
S: * OK [UIDNEXT 3] Predicted next UID
S: f OK [READ-ONLY] Examine completed.
C: g FETCH 1:2 (FLAGS BODY.PEEK[TEXT])
S: * 1 FETCH (FLAGS (\Seen \Recent) BODY[TEXT] {10}
S: At five?
S: )
S: * 2 FETCH (FLAGS (\Recent) BODY[TEXT] {10}
S: At five?
S: )
S: g OK Fetch completed.
C: h RENAME INBOX Old/2024
S: h NO [ALREADYEXISTS] ...
)");
  Put("INBOX", kLetter);
  EXPECT_THAT(client_.Say("i EXAMINE INBOX\r\nj FETCH 1 UID\r\n"), HasSubstr("* 1 FETCH (UID 3)\r\n"));
}

// \Recent outlives the account in memory.
TEST_P(MailboxesTest, WhatArrivesWhileNobodyLooksIsRecent) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Say("s LOGOUT\r\n");
  LetGo();
  constexpr uint64_t kForgottenMs = 3 * 60'000;
  pair_.loop.RunFor(kForgottenMs);
  ASSERT_TRUE(Deliver(kHome, kAnn, kLetter).ok());
  pair_.loop.RunFor(kForgottenMs);
  const auto client = Another();
  client->LogIn();
  client->Talk(R"(C: a STATUS INBOX (RECENT)
S: * STATUS INBOX (RECENT 1)
S: a OK Status completed.
)");
  client->Say("b SELECT INBOX\r\n");
  client->Talk(R"(C: c FETCH 1:2 FLAGS
S: * 1 FETCH (FLAGS ())
S: * 2 FETCH (FLAGS (\Recent))
S: c OK Fetch completed.
)");
}

// After a start nobody knows who was told of what: but who set flags had been told of all before.
TEST_P(MailboxesTest, AfterAStartWhatCameAfterTheLastFlaggedIsRecent) {
  for (const journal::Flags flags : {0, 1, 0, 0}) Put("INBOX", kLetter, flags != 0 ? journal::kSeen : 0);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Say("s LOGOUT\r\n");
  LetGo();
  pair_.loop.RunFor(10'000);
  pair_.Kill(kHome);
  Start(kHome);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const auto client = Another();
  client->LogIn();
  client->Say("s SELECT INBOX\r\n");
  client->Talk(R"(C: a FETCH 1:4 FLAGS
S: * 1 FETCH (FLAGS ())
S: * 2 FETCH (FLAGS (\Seen))
S: * 3 FETCH (FLAGS (\Recent))
S: * 4 FETCH (FLAGS (\Recent))
S: a OK Fetch completed.
)");
}

TEST_P(MailboxesTest, ADeletedMailboxEmptiesInOtherSessions) {
  Create("Work");
  Put("Work", kLetter);
  client_.LogIn();
  client_.Say("s SELECT Work\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Talk("C: a DELETE Work\nS: a OK Delete completed.\n");
  client_.Talk(R"(C: a UID FETCH 1 (FLAGS BODY[])
S: * 1 EXPUNGE
S: a OK Fetch completed.
C: b STORE 1 +FLAGS (\Seen)
S: b BAD There is no message with such a number.
C: c CLOSE
S: c OK Close completed.
)");
}

}  // namespace
}  // namespace gemel::imap
