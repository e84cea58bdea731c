// Sessions as dialogues: "C: " is what the client sends, "S: " what it must get, line by line.
#include "imap/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_account.h"
#include "journal/log.h"

namespace gemel::imap {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kLetter[] =
    "From: Bob <bob@example.org>\nTo: ann@example.test\nSubject: Tea\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n"
    "Message-ID: <1@example.org>\n\nAt five?\n";

class Client {
 public:
  Client(TestService& service, TestLoop& loop, SessionOptions options = {},
         std::optional<Preauthenticated> preauthenticated = std::nullopt)
      : loop_(loop), session_(MakeSession(service, loop, connection, options, std::move(preauthenticated))) {}

  std::string Connect() {
    session_->OnConnected();
    loop_.Run();
    return Take();
  }
  // Sends, lets all happen, and returns what came back.
  std::string Say(std::string_view bytes) {
    session_->OnBytes(bytes);
    loop_.Run();
    return Take();
  }
  void LogIn() {
    Connect();
    ASSERT_THAT(Say("a0 LOGIN ann@example.test pass\r\n"), StartsWith("a0 OK"));
  }
  // Lines in pairs; "S: ..." at the end of a line matches any rest of it.
  void Talk(std::string_view dialogue);
  std::string Take() { return std::exchange(connection.sent, ""); }
  engine::ProtocolSession& session() { return *session_; }

  TestConnection connection;

 private:
  TestLoop& loop_;
  std::unique_ptr<engine::ProtocolSession> session_;
};

void Client::Talk(std::string_view dialogue) {
  std::string got;
  size_t line_number = 0;
  while (!dialogue.empty()) {
    const size_t end = std::min(dialogue.find('\n'), dialogue.size());
    std::string_view line = dialogue.substr(0, end);
    dialogue.remove_prefix(std::min(dialogue.size(), end + 1));
    ++line_number;
    if (line.starts_with("C: ")) {
      EXPECT_EQ(got, "") << "not expected before line " << line_number;
      got = Say(std::string(line.substr(3)) + "\r\n");
    } else if (line.starts_with("S: ")) {
      line.remove_prefix(3);
      const size_t line_end = got.find("\r\n");
      const std::string answer = got.substr(0, line_end);
      got = line_end == std::string::npos ? "" : got.substr(line_end + 2);
      if (line.ends_with("...")) {
        EXPECT_THAT(answer, StartsWith(std::string(line.substr(0, line.size() - 3)))) << "line " << line_number;
      } else {
        EXPECT_EQ(answer, line) << "line " << line_number;
      }
    }
  }
  EXPECT_EQ(got, "") << "not expected at the end";
}

class SessionTest : public testing::Test {
 protected:
  void SetUp() override { journal::SetLogLevel(journal::LogLevel::kOff); }
  void TearDown() override { journal::SetLogLevel(journal::LogLevel::kInfo); }

  TestLoop loop_;
  TestService service_{loop_};
  Client client_{service_, loop_};
};

TEST_F(SessionTest, GreetsAndLogsIn) {
  EXPECT_THAT(client_.Connect(), StartsWith("* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR"));
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

TEST_F(SessionTest, LoginWithLiteralsOfBothKinds) {
  client_.Connect();
  client_.Talk(R"(C: a LOGIN {16}
S: + OK
C: ann@example.test {4+}
C: wron
S: a NO [AUTHENTICATIONFAILED] ...
)");
  EXPECT_THAT(client_.Say("b LOGIN {16+}\r\nann@example.test {4+}\r\npass\r\n"), StartsWith("b OK"));
}

TEST_F(SessionTest, AuthenticatePlain) {
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
  Client other(service_, loop_);
  other.Connect();
  other.Talk("C: a AUTHENTICATE PLAIN AGFubkBleGFtcGxlLnRlc3QAcGFzcw==\nS: a OK ...\n");
}

TEST_F(SessionTest, NobodyActsAsSomebodyElse) {
  client_.Connect();
  // bob NUL ann@example.test NUL pass
  client_.Talk("C: a AUTHENTICATE PLAIN Ym9iAGFubkBleGFtcGxlLnRlc3QAcGFzcw==\nS: a NO [AUTHORIZATIONFAILED] ...\n");
}

TEST_F(SessionTest, ThreeFailedLoginsAreEnough) {
  client_.Connect();
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

TEST_F(SessionTest, NoPasswordInClear) {
  client_.connection.has_tls = false;
  EXPECT_THAT(client_.Connect(), HasSubstr("STARTTLS LOGINDISABLED]"));
  client_.Talk("C: a LOGIN ann@example.test pass\nS: a NO [PRIVACYREQUIRED] ...\n");
  // What was pipelined behind STARTTLS does not survive it.
  EXPECT_THAT(client_.Say("b STARTTLS\r\nc LOGIN ann@example.test pass\r\n"), "b OK Begin TLS negotiation now.\r\n");
  EXPECT_TRUE(client_.connection.tls_started);
  client_.connection.has_tls = true;
  client_.session().OnTls();
  loop_.Run();
  EXPECT_EQ(client_.Take(), "");
  client_.Talk("C: d LOGIN ann@example.test pass\nS: d OK ...\n");
}

TEST_F(SessionTest, LoopbackNeedsNoTls) {
  client_.connection.has_tls = client_.connection.can_tls = false;
  client_.connection.is_loopback = true;
  EXPECT_THAT(client_.Connect(), HasSubstr(" AUTH=PLAIN]"));
  client_.Talk("C: a LOGIN ann@example.test pass\nS: a OK ...\n");
}

TEST_F(SessionTest, UnauthenticatedBytesAreBounded) {
  client_.Connect();
  const std::string junk(100'000, 'x');
  for (int i = 0; i < 3; ++i) client_.Say(junk);
  EXPECT_TRUE(client_.connection.closed);
}

TEST_F(SessionTest, SelectSaysWhatIsThere) {
  service_.Deliver("INBOX", kLetter, journal::kSeen);
  service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Talk(R"(C: a SELECT inbox
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] Flags permitted.
S: * 2 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 2] First unseen.
S: * OK [UIDVALIDITY 1] UIDs valid
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
S: * OK [UIDVALIDITY 1] UIDs valid
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

TEST_F(SessionTest, StoreTellsFlagsUnlessSilent) {
  service_.Deliver("INBOX", kLetter);
  service_.Deliver("INBOX", kLetter);
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

TEST_F(SessionTest, StoreSilentStillTellsWhatSomebodyElseChanged) {
  service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  Client other(service_, loop_);
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  other.Say("t STORE 1 +FLAGS (\\Answered)\r\n");
  client_.Talk(R"(C: a STORE 1 +FLAGS.SILENT (\Flagged)
S: * 1 FETCH (FLAGS (\Answered \Flagged \Recent))
S: a OK Store completed.
)");
}

// RFC 3501, 7.4.1: message numbers stand still during FETCH, STORE and SEARCH.
TEST_F(SessionTest, ExpungeIsToldOnlyWhereItMay) {
  for (int i = 0; i < 3; ++i) service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  Client other(service_, loop_);
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

TEST_F(SessionTest, NewMessagesAreToldAtTheEndOfEveryCommand) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  service_.Deliver("INBOX", kLetter);
  client_.Talk(R"(C: a FETCH 1:* FLAGS
S: * 1 EXISTS
S: * 1 RECENT
S: a OK Fetch completed.
C: b UID EXPUNGE 1:*
S: b OK Expunge completed.
)");
}

TEST_F(SessionTest, IdleTellsAtOnce) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a IDLE\r\n"), "+ idling\r\n");
  service_.Deliver("INBOX", kLetter);
  loop_.Run();
  EXPECT_EQ(client_.Take(), "* 1 EXISTS\r\n* 1 RECENT\r\n");
  client_.session().OnTimeout();
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  EXPECT_EQ(client_.Say("done\r\nb NOOP\r\n"), "a OK Idle completed.\r\nb OK NOOP completed.\r\n");
}

TEST_F(SessionTest, IdleEndsWithAutologout) {
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

TEST_F(SessionTest, AppendInPieces) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a APPEND INBOX (\\Seen $Fwd) \" 1-Feb-2024 10:00:00 +0100\" {14}\r\n"), "+ OK\r\n");
  for (const char c : std::string_view("a: b\r\n\r\nc\nd\r")) client_.Say(std::string_view(&c, 1));
  EXPECT_EQ(client_.Say("\r"), "");
  EXPECT_EQ(client_.Say("\n"), "");
  EXPECT_THAT(client_.Say("\r\n"), testing::EndsWith("$Fwd \\*)] Flags permitted.\r\n* 1 EXISTS\r\n* 1 RECENT\r\n"
                                                     "a OK [APPENDUID 1 1] Append completed.\r\n"));
  const engine::Message& message = service_.Named("INBOX").messages.front();
  EXPECT_EQ(service_.BodyOf(message), "a: b\n\nc\nd\n");
  EXPECT_EQ(message.flags, journal::kSeen);
  EXPECT_EQ(message.internal_date_s, 1706778000);
}

TEST_F(SessionTest, AppendIsRefusedBeforeItIsSent) {
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
  EXPECT_TRUE(service_.Named("INBOX").messages.empty());
}

TEST_F(SessionTest, AppendWaitsWhileMuchIsOnItsWay) {
  client_.LogIn();
  service_.append_blocked = true;
  EXPECT_EQ(client_.Say("a APPEND INBOX {6+}\r\nabc"), "");
  EXPECT_EQ(client_.Say("def\r\nb NOOP\r\n"), "");
  service_.append_blocked = false;
  service_.append_writable();
  loop_.Run();
  EXPECT_EQ(client_.Take(), "a OK [APPENDUID 1 1] Append completed.\r\nb OK NOOP completed.\r\n");
  EXPECT_EQ(service_.BodyOf(service_.Named("INBOX").messages.front()), "abcdef");
}

TEST_F(SessionTest, FailuresHaveTheirCodes) {
  service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  service_.next_failure = absl::ResourceExhaustedError("The disk is full.");
  EXPECT_EQ(client_.Say("a APPEND INBOX {3+}\r\nabc\r\n"), "a NO [OVERQUOTA] The disk is full.\r\n");
  service_.next_failure = absl::UnavailableError("Not now.");
  EXPECT_EQ(client_.Say("b STORE 1 +FLAGS (\\Seen)\r\n"), "b NO [UNAVAILABLE] Not now.\r\n");
  // A full disk does not keep mail from being read; it just stays unseen.
  service_.next_failure = absl::ResourceExhaustedError("The disk is full.");
  EXPECT_THAT(client_.Say("c FETCH 1 BODY[TEXT]\r\n"),
              "* 1 FETCH (BODY[TEXT] {10}\r\nAt five?\r\n)\r\nc OK Fetch completed.\r\n");
}

TEST_F(SessionTest, FetchOfABodySetsSeen) {
  service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)]<0.9> UID)\r\n"),
            "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)]<0> {9}\r\nSubject:  UID 1)\r\na OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("b UID FETCH 1 BODY[TEXT]\r\n"),
            "* 1 FETCH (UID 1 BODY[TEXT] {10}\r\nAt five?\r\n FLAGS (\\Seen \\Recent))\r\nb OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("c FETCH 1 (RFC822.SIZE BODY[9.1])\r\n"),
            "* 1 FETCH (RFC822.SIZE 144 BODY[9.1] NIL)\r\nc OK Fetch completed.\r\n");
}

TEST_F(SessionTest, FetchEnvelopeFillsTheCache) {
  service_.Deliver("INBOX", kLetter);
  service_.bodies_take_a_while = true;
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const std::string first = client_.Say("a FETCH 1 FULL\r\n");
  EXPECT_THAT(first, HasSubstr("ENVELOPE (\"Mon, 1 Jan 2024 10:00:00 +0000\" \"Tea\" ((\"Bob\" NIL \"bob\""));
  EXPECT_THAT(first, HasSubstr("BODY (\"text\" \"plain\""));
  EXPECT_EQ(service_.structures_cached(), 1);
  EXPECT_EQ(client_.Say("a FETCH 1 FULL\r\n"), first);
}

// A giant answer is made in slices: others run in between, and little is in memory when the client is slow.
TEST_F(SessionTest, GiantFetchYieldsAndWaits) {
  std::string body = "Subject: big\n\n";
  for (int i = 0; i < 100'000; ++i) body += "All work and no play makes Jack a dull boy.\n";
  const uint64_t size = body.size() + 100'002;
  service_.Deliver("INBOX", body);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.connection.holds_back = true;
  std::string got;
  const size_t steps_before = loop_.steps_run;
  got += client_.Say("a FETCH 1 BODY.PEEK[]\r\nb NOOP\r\n");
  while (client_.connection.unsent > 0) {
    client_.connection.Drain();
    loop_.Run();
    got += client_.Take();
  }
  EXPECT_LT(client_.connection.unsent_max, 600 * 1024);
  EXPECT_GT(loop_.steps_run - steps_before, 10);
  EXPECT_THAT(got, StartsWith("* 1 FETCH (BODY[] {" + std::to_string(size) + "}\r\nSubject: big\r\n\r\nAll work"));
  EXPECT_TRUE(got.ends_with("dull boy.\r\n)\r\na OK Fetch completed.\r\nb OK NOOP completed.\r\n"));
}

TEST_F(SessionTest, CopyAndMoveTellUids) {
  service_.Create("Archive");
  for (int i = 0; i < 4; ++i) service_.Deliver("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a COPY 1,3:4 Archive
S: a OK [COPYUID 2 1,3:4 1:3] Copy completed.
C: b UID MOVE 2,4 Archive
S: * OK [COPYUID 2 2,4 4:5] Moved UIDs.
S: * 4 EXPUNGE
S: * 2 EXPUNGE
S: b OK Move completed.
C: c COPY 1 Nowhere
S: c NO [TRYCREATE] There is no such mailbox.
C: d STATUS Archive (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)
S: * STATUS Archive (MESSAGES 5 RECENT 5 UIDNEXT 6 UIDVALIDITY 2 UNSEEN 5)
S: d OK Status completed.
C: e UID COPY 77 Archive
S: e OK Copy completed.
)");
}

TEST_F(SessionTest, SearchAnswersNumbersOrUids) {
  for (int i = 0; i < 3; ++i) service_.Deliver("INBOX", kLetter, i == 1 ? journal::kSeen : 0);
  service_.Deliver("INBOX", "Subject: =?utf-8?q?Caf=C3=A9?=\n\nx\n");
  service_.Named("INBOX").Remove(1);
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

TEST_F(SessionTest, CloseExpungesSilentlyAndUnselectDoesNot) {
  service_.Deliver("INBOX", kLetter, journal::kDeleted);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk("C: a UNSELECT\nS: a OK Unselect completed.\n");
  EXPECT_EQ(service_.Named("INBOX").messages.size(), 1);
  client_.Say("s EXAMINE INBOX\r\n");
  client_.Talk("C: a CLOSE\nS: a OK Close completed.\n");
  EXPECT_EQ(service_.Named("INBOX").messages.size(), 1);
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk("C: a CLOSE\nS: a OK Close completed.\n");
  EXPECT_EQ(service_.Named("INBOX").messages.size(), 0);
}

TEST_F(SessionTest, Lists) {
  service_.Create("Drafts", journal::SpecialUse::kDrafts);
  service_.Create("Lists/C++/news");
  service_.Create("Entwürfe & \"mehr\"");
  client_.LogIn();
  client_.Talk(R"(C: a LIST "" ""
S: * LIST (\Noselect) "/" ""
S: a OK List completed.
C: b LIST "" *
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: * LIST (\HasNoChildren) "/" "Entw&APw-rfe &- \"mehr\""
S: * LIST (\HasNoChildren) "/" INBOX
S: * LIST (\Noselect \HasChildren) "/" Lists
S: * LIST (\Noselect \HasChildren) "/" Lists/C++
S: * LIST (\HasNoChildren) "/" Lists/C++/news
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
S: * LIST (\HasNoChildren \Drafts) "/" Drafts
S: f OK List completed.
C: g SUBSCRIBE Lists/C++/news
S: g OK Subscribe completed.
C: h LSUB "" *
S: * LSUB () "/" Lists/C++/news
S: h OK Lsub completed.
C: i LSUB "" %
S: * LSUB (\Noselect) "/" Lists
S: i OK Lsub completed.
C: j UNSUBSCRIBE Lists/C++/news
S: j OK Unsubscribe completed.
C: k LSUB "" *
S: k OK Lsub completed.
)");
}

TEST_F(SessionTest, MailboxesComeAndGo) {
  client_.LogIn();
  client_.Talk(R"(C: a CREATE Work/
S: a OK Create completed.
C: b CREATE work&AOk-
S: b OK Create completed.
C: c CREATE Work
S: c NO [ALREADYEXISTS] Mailbox exists.
C: d RENAME Work Play
S: d OK Rename completed.
C: e SELECT Work
S: e NO [NONEXISTENT] There is no such mailbox.
C: f DELETE INBOX
S: f NO INBOX cannot be deleted.
C: g DELETE Play
S: g OK Delete completed.
C: h CREATE &bad
S: h NO [CANNOT] ...
C: i NAMESPACE
S: * NAMESPACE (("" "/")) NIL NIL
S: i OK Namespace completed.
)");
}

TEST_F(SessionTest, ADeletedMailboxEmptiesInOtherSessions) {
  service_.Create("Work");
  service_.Deliver("Work", kLetter);
  client_.LogIn();
  client_.Say("s SELECT Work\r\n");
  Client other(service_, loop_);
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

TEST_F(SessionTest, BadInputIsAnsweredAndSurvived) {
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

TEST_F(SessionTest, PipelinedCommandsAreAnsweredInOrder) {
  service_.Deliver("INBOX", kLetter);
  client_.Connect();
  EXPECT_THAT(client_.Say("a LOGIN ann@example.test pass\r\nb EXAMINE INBOX\r\nc FETCH 1 UID\r\nd LOGOUT\r\n"),
              testing::ContainsRegex("a OK.*\r\nb OK.*\r\n\\* 1 FETCH .UID 1.\r\nc OK.*\r\n\\* BYE.*\r\nd OK"));
}

TEST_F(SessionTest, ReadingPausesWhileMuchWaits) {
  client_.LogIn();
  service_.append_blocked = true;
  client_.Say("a APPEND INBOX {1000000}\r\nx");
  const std::string piece(50'000, 'y');
  for (int i = 0; i < 4 && client_.connection.reading; ++i) client_.Say(piece);
  EXPECT_FALSE(client_.connection.reading);
  service_.append_blocked = false;
  service_.append_writable();
  loop_.Run();
  EXPECT_TRUE(client_.connection.reading);
}

TEST_F(SessionTest, TheHomeTakesOver) {
  service_.home = engine::Home::kPeer;
  client_.Connect();
  EXPECT_EQ(client_.Say("a LOGIN ann@example.test pass\r\nb SELECT INBOX\r\n"), "");
  EXPECT_EQ(client_.connection.proxy_bytes, "b SELECT INBOX\r\n");
  EXPECT_EQ(client_.connection.proxy_hello.client_address, "192.0.2.7");
  EXPECT_TRUE(client_.connection.proxy_hello.tls);
  client_.connection.proxy_then(absl::OkStatus());
  loop_.Run();
  EXPECT_THAT(client_.Take(), StartsWith("a OK [CAPABILITY IMAP4rev1"));
  EXPECT_FALSE(client_.connection.closed);
  EXPECT_EQ(client_.Say("c NOOP\r\n"), "");

  // At home: no greeting, no login.
  service_.home = engine::Home::kHere;
  Preauthenticated ann;
  ann.account = journal::AccountIdOf("ann@example.test");
  ann.name = "ann@example.test";
  Client home(service_, loop_, {}, ann);
  EXPECT_EQ(home.Connect(), "");
  EXPECT_THAT(home.Say("b SELECT INBOX\r\n"), HasSubstr("b OK [READ-WRITE]"));
}

TEST_F(SessionTest, AHomeThatCannotBeReached) {
  service_.home = engine::Home::kPeer;
  client_.Connect();
  client_.Say("a LOGIN ann@example.test pass\r\nb NOOP\r\n");
  client_.connection.proxy_then(absl::UnavailableError("refused"));
  loop_.Run();
  EXPECT_EQ(client_.Take(),
            "a NO [UNAVAILABLE] The server of this account cannot be reached; try again.\r\nb OK NOOP completed.\r\n");
}

TEST_F(SessionTest, AnAccountWhoseHomeIsAwayCanBeRead) {
  service_.Deliver("INBOX", kLetter);
  service_.home = engine::Home::kPeerAway;
  client_.LogIn();
  EXPECT_THAT(client_.Say("a SELECT INBOX\r\n"), HasSubstr("a OK [READ-ONLY]"));
  client_.Talk(R"(C: b STORE 1 +FLAGS (\Seen)
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

TEST_F(SessionTest, GoodbyeWhenTheAccountMovesOrTheDaemonStops) {
  client_.LogIn();
  client_.Say("a IDLE\r\n");
  service_.CloseAccount("The account moved; please reconnect.");
  loop_.Run();
  EXPECT_EQ(client_.Take(), "* BYE The account moved; please reconnect.\r\n");
  EXPECT_TRUE(client_.connection.closed);

  Client other(service_, loop_);
  other.LogIn();
  other.session().OnShutdown();
  EXPECT_THAT(other.Take(), StartsWith("* BYE"));
  EXPECT_TRUE(other.connection.closed);
}

// The connection may go at any moment; what comes back afterwards finds nobody.
TEST_F(SessionTest, CallbacksAfterTheEndDoNothing) {
  service_.Deliver("INBOX", kLetter);
  for (const char* command : {"STORE 1 +FLAGS (\\Seen)", "FETCH 1 BODY[]", "COPY 1 INBOX", "CHECK"}) {
    auto client = std::make_unique<Client>(service_, loop_);
    client->LogIn();
    client->Say("s SELECT INBOX\r\n");
    client->session().OnBytes(std::string("a ") + command + "\r\n");
    client->session().OnClosed();
    client.reset();
    loop_.Run();
  }
}

}  // namespace
}  // namespace gemel::imap
