// What clients in use say, in their order and spelling: logging in, looking around, reading, writing, waiting. "C: "
// is what the client sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;

constexpr char kBill[] =
    "From: Eve <eve@example.org>\nTo: ann@example.test\nSubject: =?utf-8?Q?Caf=C3=A9?=\n"
    "Date: Tue, 2 Jan 2024 11:00:00 +0100\nMessage-ID: <2@example.org>\nMIME-Version: 1.0\n"
    "Content-Type: multipart/mixed; boundary=\"b1\"\n\n"
    "--b1\nContent-Type: text/plain; charset=utf-8\n\nSee the bill.\n"
    "--b1\nContent-Type: application/pdf; name=\"bill.pdf\"\n"
    "Content-Disposition: attachment; filename=\"bill.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERi0=\n"
    "--b1--\n";

class ClientsTest : public SessionTest {
 protected:
  ClientsTest() {
    Put("INBOX", kLetter, journal::kSeen);
    Put("INBOX", kBill);
  }
};
INSTANTIATE_TEST_SUITE_P(, ClientsTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(ClientsTest, Thunderbird) {
  client_.connection.has_tls = false;
  client_.Connect();
  client_.Talk(R"(C: 1 capability
S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED
S: 1 OK Capability completed.
C: 2 STARTTLS
S: 2 OK Begin TLS negotiation now.
)");
  client_.connection.has_tls = true;
  client_.session().OnTls();
  client_.Talk(R"(C: 3 capability
S: * CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN
S: 3 OK Capability completed.
C: 4 authenticate PLAIN AGFubkBleGFtcGxlLnRlc3QAcGFzcw==
S: 4 OK [CAPABILITY IMAP4rev1 ...
C: 5 ID ("name" "Thunderbird" "version" "128.5.0")
S: * ID ("name" "Gemel" ...
S: 5 OK ID completed.
C: 6 namespace
S: * NAMESPACE (("" "/")) NIL NIL
S: 6 OK Namespace completed.
C: 7 lsub "" "*"
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: 7 OK Lsub completed.
C: 8 list "" "INBOX"
S: * LIST (\HasNoChildren) "/" INBOX
S: 8 OK List completed.
C: 9 list "" "Trash"
S: * LIST (\HasNoChildren \Trash) "/" Trash
S: 9 OK List completed.
C: 10 select "INBOX"
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags permitted.
S: * 2 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY {N}] UIDs valid
S: * OK [UIDNEXT 3] Predicted next UID
S: 10 OK [READ-WRITE] Select completed.
C: 11 UID fetch 1:* (FLAGS)
S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent))
S: * 2 FETCH (UID 2 FLAGS (\Recent))
S: 11 OK Fetch completed.
C: 12 UID fetch 1 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID In-Reply-To)])
S: * 1 FETCH (UID 1 RFC822.SIZE 144 FLAGS (\Seen \Recent) BODY[HEADER.FIELDS (From To Cc ...
S: From: Bob <bob@example.org>
S: To: ann@example.test
S: Subject: Tea
S: Date: Mon, 1 Jan 2024 10:00:00 +0000
S: Message-ID: <1@example.org>
S: 
S: )
S: 12 OK Fetch completed.
C: 13 UID fetch 1 (UID RFC822.SIZE BODY[]<0.48>)
S: * 1 FETCH (UID 1 RFC822.SIZE 144 BODY[]<0> {48}
S: From: Bob <bob@example.org>
S: To: ann@example.tes)
S: 13 OK Fetch completed.
C: 14 UID fetch 2 (UID BODY.PEEK[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] BODY.PEEK[TEXT]<0.4>)
S: * 2 FETCH (UID 2 BODY[HEADER.FIELDS (Content-Type Content-Transfer-Encoding)] {48}
S: Content-Type: multipart/mixed; boundary="b1"
S: 
S:  BODY[TEXT]<0> {4}
S: --b1)
S: 14 OK Fetch completed.
C: 15 uid store 2 +Flags (\Seen)
S: * 2 FETCH (UID 2 FLAGS (\Seen \Recent))
S: 15 OK Store completed.
C: 16 uid store 2 +Flags (NonJunk)
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft NonJunk)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft NonJunk \*)] Flags permitted.
S: * 2 FETCH (UID 2 FLAGS (\Seen \Recent NonJunk))
S: 16 OK Store completed.
C: 17 IDLE
S: + idling
C: DONE
S: 17 OK Idle completed.
C: 18 uid move 1 "Trash"
S: * OK [COPYUID {N} 1 1] Moved UIDs.
S: * 1 EXPUNGE
S: 18 OK Move completed.
C: 19 STATUS "Trash" (UIDNEXT MESSAGES UNSEEN RECENT)
S: * STATUS Trash (UIDNEXT 2 MESSAGES 1 UNSEEN 0 RECENT 1)
S: 19 OK Status completed.
C: 20 close
S: 20 OK Close completed.
C: 21 logout
S: * BYE Logging out
S: 21 OK Logout completed.
)");
}

TEST_P(ClientsTest, AppleMail) {
  client_.Connect();
  client_.Talk(R"(C: 1.17 CAPABILITY
S: * CAPABILITY IMAP4rev1 ...
S: 1.17 OK Capability completed.
C: 2.17 ID ("name" "Mac OS X Mail" "version" "16.0" "os" "Mac OS X" "vendor" "Apple Inc.")
S: * ID ("name" "Gemel" ...
S: 2.17 OK ID completed.
C: 3.17 AUTHENTICATE PLAIN
S: + 
C: AGFubkBleGFtcGxlLnRlc3QAcGFzcw==
S: 3.17 OK [CAPABILITY IMAP4rev1 ...
C: 4.17 LIST "" ""
S: * LIST (\Noselect) "/" ""
S: 4.17 OK List completed.
C: 5.17 LIST "" "*"
S: * LIST (\HasNoChildren \Archive) "/" Archive
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\HasNoChildren \Junk) "/" Junk
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren \Trash) "/" Trash
S: 5.17 OK List completed.
C: 6.17 STATUS Sent (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)
S: * STATUS Sent (MESSAGES 0 UIDNEXT 1 UIDVALIDITY {N} UNSEEN 0)
S: 6.17 OK Status completed.
)");
  EXPECT_THAT(client_.Say("7.17 SELECT INBOX\r\n"), HasSubstr("\r\n7.17 OK [READ-WRITE] "));
  client_.Talk(R"(C: 8.17 FETCH 1:2 (FLAGS UID)
S: * 1 FETCH (FLAGS (\Seen \Recent) UID 1)
S: * 2 FETCH (FLAGS (\Recent) UID 2)
S: 8.17 OK Fetch completed.
C: 9.17 UID FETCH 2 (INTERNALDATE UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (date subject from)])
S: * 2 FETCH (INTERNALDATE "...
S: From: Eve <eve@example.org>
S: Subject: =?utf-8?Q?Caf=C3=A9?=
S: Date: Tue, 2 Jan 2024 11:00:00 +0100
S: 
S: )
S: 9.17 OK Fetch completed.
C: 10.17 UID FETCH 2 (BODYSTRUCTURE)
S: * 2 FETCH (UID 2 BODYSTRUCTURE (("text" "plain" ("charset" "utf-8") NIL NIL "7bit" ...
S: 10.17 OK Fetch completed.
C: 11.17 UID FETCH 2 (BODY.PEEK[1.MIME] BODY.PEEK[1] BODY.PEEK[2]<0.4>)
S: * 2 FETCH (UID 2 BODY[1.MIME] {43}
S: Content-Type: text/plain; charset=utf-8
S: 
S:  BODY[1] {13}
S: See the bill. BODY[2]<0> {4}
S: JVBE)
S: 11.17 OK Fetch completed.
C: 12.17 UID STORE 2 +FLAGS.SILENT (\Seen)
S: 12.17 OK Store completed.
C: 13.17 UID SEARCH 1:* NOT DELETED
S: * SEARCH 1 2
S: 13.17 OK Search completed.
C: 14.17 APPEND Sent (\Seen) "02-Jan-2024 12:00:00 +0000" {9}
S: + OK
C: Subject: 
S: 14.17 OK [APPENDUID {N} 1] Append completed.
C: 15.17 UID COPY 2 Archive
S: 15.17 OK [COPYUID {N} 2 1] Copy completed.
C: 16.17 UID STORE 2 +FLAGS.SILENT (\Deleted)
S: 16.17 OK Store completed.
C: 17.17 UID EXPUNGE 2
S: * 2 EXPUNGE
S: 17.17 OK Expunge completed.
C: 18.17 IDLE
S: + idling
)");
  Put("INBOX", kLetter);
  Settle();
  EXPECT_EQ(client_.Take(), "* 2 EXISTS\r\n* 2 RECENT\r\n");
  client_.Talk(R"(C: DONE
S: 18.17 OK Idle completed.
C: 19.17 CHECK
S: 19.17 OK Check completed.
C: 20.17 LOGOUT
S: * BYE Logging out
S: 20.17 OK Logout completed.
)");
}

TEST_P(ClientsTest, Outlook) {
  client_.Connect();
  client_.Talk(R"(C: mzx1 CAPABILITY
S: * CAPABILITY IMAP4rev1 ...
S: mzx1 OK Capability completed.
C: mzx2 LOGIN "ann@example.test" "pass"
S: mzx2 OK ...
C: mzx3 ID ("vendor" "Microsoft" "os" "Windows Mobile" "os-version" "7.0" "guid" "30314535464446353344413633")
S: * ID ("name" "Gemel" ...
S: mzx3 OK ID completed.
C: mzx4 LIST "" "INBOX"
S: * LIST (\HasNoChildren) "/" INBOX
S: mzx4 OK List completed.
C: mzx5 LSUB "" "%"
S: * LSUB () "/" Archive
S: * LSUB () "/" Drafts
S: * LSUB () "/" INBOX
S: * LSUB () "/" Junk
S: * LSUB () "/" Sent
S: * LSUB () "/" Trash
S: mzx5 OK Lsub completed.
C: mzx6 STATUS "INBOX" (MESSAGES UNSEEN)
S: * STATUS INBOX (MESSAGES 2 UNSEEN 1)
S: mzx6 OK Status completed.
)");
  EXPECT_THAT(client_.Say("mzx7 SELECT \"INBOX\"\r\n"), HasSubstr("\r\nmzx7 OK [READ-WRITE] "));
  client_.Talk(R"(C: mzx8 UID FETCH 1:* (UID FLAGS)
S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent))
S: * 2 FETCH (UID 2 FLAGS (\Recent))
S: mzx8 OK Fetch completed.
C: mzx9 UID FETCH 1 (UID FLAGS RFC822.SIZE BODY.PEEK[HEADER] INTERNALDATE)
S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent) RFC822.SIZE 144 BODY[HEADER] {134}
S: From: Bob <bob@example.org>
S: To: ann@example.test
S: Subject: Tea
S: Date: Mon, 1 Jan 2024 10:00:00 +0000
S: Message-ID: <1@example.org>
S: 
S:  INTERNALDATE "...
S: mzx9 OK Fetch completed.
C: mzx10 UID FETCH 1 (UID FLAGS RFC822.SIZE BODY.PEEK[])
S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent) RFC822.SIZE 144 BODY[] {144}
S: From: Bob <bob@example.org>
S: To: ann@example.test
S: Subject: Tea
S: Date: Mon, 1 Jan 2024 10:00:00 +0000
S: Message-ID: <1@example.org>
S: 
S: At five?
S: )
S: mzx10 OK Fetch completed.
C: mzx11 UID STORE 2 +FLAGS (\Seen \Answered)
S: * 2 FETCH (UID 2 FLAGS (\Answered \Seen \Recent))
S: mzx11 OK Store completed.
C: mzx12 CREATE "Old letters"
S: mzx12 OK Create completed.
C: mzx13 SUBSCRIBE "Old letters"
S: mzx13 OK Subscribe completed.
C: mzx14 UID COPY 1 "Old letters"
S: mzx14 OK [COPYUID {N} 1 1] Copy completed.
C: mzx15 UID STORE 1 +FLAGS (\Deleted \Seen)
S: * 1 FETCH (UID 1 FLAGS (\Deleted \Seen \Recent))
S: mzx15 OK Store completed.
C: mzx16 EXPUNGE
S: * 1 EXPUNGE
S: mzx16 OK Expunge completed.
C: mzx17 NOOP
S: mzx17 OK NOOP completed.
C: mzx18 RENAME "Old letters" "Old letters 2024"
S: mzx18 OK Rename completed.
C: mzx19 LIST "" "Old*"
S: * LIST (\HasNoChildren) "/" "Old letters 2024"
S: mzx19 OK List completed.
C: mzx20 LOGOUT
S: * BYE Logging out
S: mzx20 OK Logout completed.
)");
}

TEST_P(ClientsTest, K9) {
  client_.Connect();
  client_.Talk(R"(C: 1 CAPABILITY
S: * CAPABILITY IMAP4rev1 ...
S: 1 OK Capability completed.
C: 2 AUTHENTICATE PLAIN AGFubkBleGFtcGxlLnRlc3QAcGFzcw==
S: 2 OK [CAPABILITY IMAP4rev1 ...
C: 3 NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: 3 OK Namespace completed.
C: 4 LIST "" "*" RETURN (SPECIAL-USE)
S: * LIST (\HasNoChildren \Archive) "/" Archive
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\HasNoChildren \Junk) "/" Junk
S: * LIST (\HasNoChildren \Sent) "/" Sent
S: * LIST (\HasNoChildren \Trash) "/" Trash
S: 4 OK List completed.
)");
  EXPECT_THAT(client_.Say("5 SELECT \"INBOX\"\r\n"), HasSubstr("\r\n5 OK [READ-WRITE] "));
  client_.Talk(R"(C: 6 UID SEARCH 1:2 SINCE 1-Jan-2020 NOT DELETED
S: * SEARCH 1 2
S: 6 OK Search completed.
C: 7 UID FETCH 1,2 (FLAGS UID)
S: * 1 FETCH (FLAGS (\Seen \Recent) UID 1)
S: * 2 FETCH (FLAGS (\Recent) UID 2)
S: 7 OK Fetch completed.
C: 8 UID FETCH 2 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (date subject from X-K9mail-Identity)])
S: * 2 FETCH (UID 2 RFC822.SIZE {N} BODY[HEADER.FIELDS (date subject from X-K9mail-Identity)] {101}
S: From: Eve <eve@example.org>
S: Subject: =?utf-8?Q?Caf=C3=A9?=
S: Date: Tue, 2 Jan 2024 11:00:00 +0100
S: 
S: )
S: 8 OK Fetch completed.
C: 9 UID FETCH 1 (BODYSTRUCTURE)
S: * 1 FETCH (UID 1 BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 1 NIL NIL NIL NIL))
S: 9 OK Fetch completed.
C: 10 UID FETCH 1 (BODY.PEEK[]<0.32768>)
S: * 1 FETCH (UID 1 BODY[]<0> {144}
S: From: Bob <bob@example.org>
S: To: ann@example.test
S: Subject: Tea
S: Date: Mon, 1 Jan 2024 10:00:00 +0000
S: Message-ID: <1@example.org>
S: 
S: At five?
S: )
S: 10 OK Fetch completed.
C: 11 UID STORE 2 +FLAGS.SILENT (\Seen)
S: 11 OK Store completed.
C: 12 UID SEARCH HEADER MESSAGE-ID "<2@example.org>"
S: * SEARCH 2
S: 12 OK Search completed.
C: 13 APPEND "Drafts" (\Seen) {12+}
C: Subject: a
C: 
S: 13 OK [APPENDUID {N} 1] Append completed.
C: 14 UID MOVE 1,2 "Archive"
S: * OK [COPYUID {N} 1:2 1:2] Moved UIDs.
S: * 2 EXPUNGE
S: * 1 EXPUNGE
S: 14 OK Move completed.
C: 15 IDLE
S: + idling
)");
  // A phone is out of reach for a while.
  pair_.loop.RunFor(5 * 60'000);
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n* OK Still here\r\n");
  client_.Talk(R"(C: DONE
S: 15 OK Idle completed.
C: 16 LOGOUT
S: * BYE Logging out
S: 16 OK Logout completed.
)");
}

}  // namespace
}  // namespace gemel::imap
