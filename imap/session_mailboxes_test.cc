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
C: d LIST "" inb%
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

TEST_P(MailboxesTest, MailboxesComeAndGo) {
  client_.LogIn();
  client_.Talk(R"(C: a CREATE Work/
S: a OK Create completed.
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
