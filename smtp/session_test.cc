// Who may say what, when, and how much of it.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/dialogue.h"

namespace gemel::smtp {
namespace {

class SessionCommandsTest : public SessionTest {};

TEST_F(SessionCommandsTest, LmtpGreetsAndOffersWhatItDoes) {
  Open(Kind::kLmtp, false);
  Dialogue(R"(
S: 220 mx.example.test LMTP Gemel
C: LHLO client.test
S: 250-mx.example.test
S: 250-PIPELINING
S: 250-SIZE 157286400
S: 250-STARTTLS
S: 250-ENHANCEDSTATUSCODES
S: 250-8BITMIME
S: 250-SMTPUTF8
S: 250-CHUNKING
S: 250-VRFY
S: 250 HELP
C: EHLO client.test
S: 500 5.5.1 *
C: HELO client.test
S: 500 5.5.1 *
C: QUIT
S: 221 2.0.0 mx.example.test Bye
)");
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, SmtpGreets) {
  Open(Kind::kSmtp, false);
  Dialogue(R"(
S: 220 mx.example.test ESMTP Gemel
C: LHLO client.test
S: 500 5.5.1 *
C: MAIL FROM:<x@a.test>
S: 503 5.5.1 *
C: EHLO
S: 501 5.5.4 *
C: EHLO a)(b
S: 501 5.5.4 *
C: helo client.test
S: 250 mx.example.test
C: mail from:<x@a.test>
S: 250 2.1.0 Ok
)");
}

TEST_F(SessionCommandsTest, LmtpDeliversAndAnswersForEachRecipientInOrder) {
  Open(Kind::kLmtp);
  service_.result = absl::UnavailableError("");
  Dialogue(R"(
C: MAIL FROM:<x@a.test>
S: 250 2.1.0 Ok
C: RCPT TO:<bob@example.test>
S: 250 2.1.5 Ok
C: RCPT TO:<nobody@example.test>
S: 550 5.1.1 <nobody@example.test> User unknown
C: RCPT TO:<ann@example.test>
S: 250 2.1.5 Ok
C: DATA
S: 354 *
C: Subject: hello
C: 
C: text
C: .
S: 451 4.3.0 Not stored, try again
S: 451 4.3.0 Not stored, try again
)");
  service_.result = absl::OkStatus();
  Dialogue(R"(
C: MAIL FROM:<>
C: RCPT TO:<ann@example.test>
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 *
C: Subject: hello
C: 
C: ..text
C: .
S: 250 2.0.0 <ann@example.test> Stored as s1.2
)");
  ASSERT_EQ(service_.letters.size(), 1u);
  EXPECT_EQ(service_.letters[0].body, "Subject: hello\n\n.text\n");
  EXPECT_EQ(service_.letters[0].sender, "");
  EXPECT_EQ(service_.letters[0].via, engine::Via::kLmtp);
  EXPECT_EQ(service_.open, 0);
}

TEST_F(SessionCommandsTest, AllRepliesToOneReadAreOneSend) {
  Open(Kind::kSmtp);
  session_->OnBytes("MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<no@example.test>\r\nDATA\r\n");
  EXPECT_EQ(connection_.sends, 1);
  EXPECT_EQ(Lines(connection_.sent, "\r\n").size(), 4u);
}

TEST_F(SessionCommandsTest, CommandsBehindTheDotAreAnsweredAfterIt) {
  Open(Kind::kSmtp);
  Envelope();
  Talk("DATA\r\n");
  connection_.sent.clear();
  session_->OnBytes("one\r\n.\r\nMAIL FROM:<y@a.test>\r\nRCPT TO:<bob@exa");
  session_->OnBytes("mple.test>\r\nQUIT\r\n");
  EXPECT_EQ(connection_.sent, "");
  connection_.sends = 0;
  service_.RunPosted();
  EXPECT_EQ(connection_.sends, 1);
  EXPECT_EQ(connection_.sent,
            "250 2.0.0 Stored as s1.1\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n221 2.0.0 mx.example.test Bye\r\n");
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, ManyMessagesInOneRead) {
  Open(Kind::kLmtp);
  std::string said;
  for (int i = 0; i < 5; ++i) {
    said += "MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nBDAT 4 LAST\r\nab\r\n";
  }
  Talk(said);
  EXPECT_EQ(Bodies(), std::vector<std::string>(5, "ab\n"));
}

TEST_F(SessionCommandsTest, EveryByteOnItsOwn) {
  Open(Kind::kSmtp);
  const std::string said =
      "MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.y\r\n.\r\n"
      "MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nBDAT 3\r\na\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n";
  for (char c : said) {
    session_->OnBytes(std::string_view(&c, 1));
    service_.RunPosted();
  }
  EXPECT_EQ(Bodies(), (std::vector<std::string>{"A: b\n\n.x\ny\n", "a\n\n"}));
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, TraceHeaders) {
  connection_.peer = "2001:db8::7";
  connection_.tls_on = true;
  Open(Kind::kSmtp);
  Dialogue(R"(
C: MAIL FROM:<x@a.test> SMTPUTF8
C: RCPT TO:<ann+Work@example.test>
C: RCPT TO:<bob@example.test>
C: BDAT 0 LAST
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
S: 250 2.0.0 Stored as s1.1
)");
  ASSERT_EQ(service_.letters.size(), 1u);
  const auto& recipients = service_.letters[0].recipients;
  ASSERT_EQ(recipients.size(), 2u);
  EXPECT_EQ(recipients[0].address, "ann+Work@example.test");
  EXPECT_EQ(recipients[0].target.folder, "Work");
  EXPECT_EQ(recipients[0].trace,
            "Return-Path: <x@a.test>\n"
            "Delivered-To: ann@example.test\n"
            "Received: from client.test ([IPv6:2001:db8::7])\n"
            "\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)\n"
            "\tby mx.example.test (Gemel) with UTF8SMTPS id s1.1\n"
            "\tfor <ann+Work@example.test>; Mon, 23 Nov 2026 23:15:01 +0000\n");
  EXPECT_NE(recipients[1].trace.find("Delivered-To: bob@example.test\n"), std::string::npos);
  EXPECT_EQ(recipients[1].trace.find("ann"), std::string::npos) << "who else got it is nobody's business";
}

TEST_F(SessionCommandsTest, AnAliasIsOneReplyAndNobodyGetsTwoCopies) {
  Open(Kind::kLmtp);
  Dialogue(R"(
C: MAIL FROM:<x@a.test>
C: RCPT TO:<all@example.test>
C: RCPT TO:<ann@example.test>
C: RCPT TO:<ann+Work@example.test>
C: BDAT 0 LAST
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
S: 250 2.0.0 <all@example.test> *
S: 250 2.0.0 <ann@example.test> *
S: 250 2.0.0 <ann+Work@example.test> *
)");
  ASSERT_EQ(service_.letters.size(), 1u);
  EXPECT_EQ(service_.letters[0].recipients.size(), 3u);
}

TEST_F(SessionCommandsTest, ABigAliasIsNamedOnlySoOften) {
  options_.recipients_max = 100'000;
  Open(Kind::kSmtp);
  Talk("MAIL FROM:<x@a.test>\r\n");
  for (size_t i = 0; i < Session::kTargetsMax / 2; ++i) Talk("RCPT TO:<all@example.test>\r\n");
  EXPECT_TRUE(Talk("RCPT TO:<all@example.test>\r\n").starts_with("452 4.5.3 "));
  Talk("BDAT 0 LAST\r\n");
  ASSERT_EQ(service_.letters.size(), 1u);
  EXPECT_EQ(service_.letters[0].recipients.size(), 2u);
  Envelope("all@example.test");
  EXPECT_TRUE(Talk("BDAT 0 LAST\r\n").starts_with("250 "));
}

// ---- never a relay ----

TEST_F(SessionCommandsTest, NeverRelays) {
  for (const Kind kind : {Kind::kSmtp, Kind::kLmtp}) {
    connection_.on_this_host = true;  // not even for this host itself
    Open(kind);
    Talk("MAIL FROM:<ann@example.test>\r\n");
    for (const char* address :
         {"<who@other.test>", "<@example.test:who@other.test>", "<@example.test,@b.test:who@other.test>",
          "<who@[192.0.2.1]>", "<who@[IPv6:2001:db8::1]>", "<postmaster@other.test>", "<\"who\"@other.test>",
          "<who@sub.example.test>", "<who@example.test.other.test>"}) {
      EXPECT_TRUE(Talk("RCPT TO:" + std::string(address) + "\r\n").starts_with("550 5.7.1 ")) << address;
    }
    // Ours by their domain, and nobody's here: what stands before the @ is never taken for a way on.
    for (const char* address :
         {"<who%other.test@example.test>", "<other.test!who@example.test>", "<\"who@other.test\"@example.test>",
          "<\"@other.test:who\"@example.test>", "<\"other.test!who\"@example.test>"}) {
      EXPECT_TRUE(Talk("RCPT TO:" + std::string(address) + "\r\n").starts_with("550 5.1.1 ")) << address;
    }
    for (const char* address : {"<who@other.test@example.test>", "<who@example.test,ann@other.test>", "<ann>", "<>",
                                "<@other.test>", "<@other.test:>", "<ann@>", "<@example.test@other.test:x@y.test>",
                                "ann@example.test", "<ann@example.test", "<ann@example.test>>", "<ann@[other.test]>",
                                "<ann@[192.0.2.256]>", "<\"ann@example.test>", "<a b@example.test>"}) {
      EXPECT_TRUE(Talk("RCPT TO:" + std::string(address) + "\r\n").starts_with("501 5.1.3 ")) << address;
    }
    EXPECT_NE(Talk("DATA\r\n").find("No valid recipients"), std::string::npos);
    EXPECT_EQ(service_.begun, 0);
  }
}

TEST_F(SessionCommandsTest, ASourceRouteToUsIsIgnored) {
  Open(Kind::kSmtp);
  Envelope("@other.test,@b.test:ann@example.test");
  EXPECT_EQ(service_.lookups.back(), "ann@example.test");
  Talk("RSET\r\n");
  Envelope("\"ann\"@example.test");
  EXPECT_EQ(service_.lookups.back(), "ann@example.test");
}

TEST_F(SessionCommandsTest, PostmasterIsAlwaysThere) {
  Open(Kind::kSmtp);
  Dialogue(R"(
C: MAIL FROM:<x@a.test>
S: 250 2.1.0 Ok
C: RCPT TO:<postmaster>
S: 250 2.1.5 Ok
C: RCPT TO:<PostMaster@example.test>
S: 550 5.1.1 *
C: RCPT TO:<postmaster@example.test>
S: 250 2.1.5 Ok
)");
}

// ---- TLS ----

TEST_F(SessionCommandsTest, NothingSurvivesStartTls) {
  Open(Kind::kSmtp);
  Envelope();
  EXPECT_EQ(Talk("STARTTLS\r\nMAIL FROM:<evil@a.test>\r\n"), "220 2.0.0 Go ahead\r\n");
  EXPECT_EQ(connection_.tls_starts, 1);
  EXPECT_EQ(Talk("RCPT TO:<ann@example.test>\r\n"), "");
  connection_.tls_on = true;
  session_->OnTls();
  Dialogue(R"(
C: RCPT TO:<ann@example.test>
S: 503 5.5.1 Send MAIL first
C: MAIL FROM:<x@a.test>
S: 503 5.5.1 Send EHLO or HELO first
C: STARTTLS
S: 503 5.5.1 TLS is on already
)");
  EXPECT_EQ(Talk("EHLO client.test\r\n").find("STARTTLS"), std::string::npos);
}

TEST_F(SessionCommandsTest, StartTlsWithoutACertificate) {
  connection_.has_certificate = false;
  Open(Kind::kSmtp);
  EXPECT_TRUE(Talk("STARTTLS\r\n").starts_with("454 4.7.0 "));
  EXPECT_TRUE(Talk("STARTTLS now\r\n").starts_with("501 5.5.4 "));
  EXPECT_EQ(Talk("EHLO client.test\r\nHELP\r\n").find("STARTTLS"), std::string::npos);
  connection_.has_certificate = true;
  EXPECT_NE(Talk("HELP\r\n").find("STARTTLS"), std::string::npos);
}

// ---- limits and time ----

TEST_F(SessionCommandsTest, TooManyErrors) {
  options_.errors_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\n");
  EXPECT_FALSE(connection_.closed);
  EXPECT_EQ(Lines(Talk("X\r\nX\r\nX\r\n"), "\r\n").size(), 2u);
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, AStoredMessageForgivesErrors) {
  options_.errors_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\n");
  Envelope();
  Talk("BDAT 0 LAST\r\nX\r\nX\r\n");
  EXPECT_FALSE(connection_.closed);
}

TEST_F(SessionCommandsTest, OurOwnHostIsNotCounted) {
  connection_.on_this_host = true;
  options_.errors_max = 2;
  options_.idle_commands_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n");
  EXPECT_FALSE(connection_.closed);
}

TEST_F(SessionCommandsTest, TooMuchTalk) {
  options_.idle_commands_max = 3;
  Open(Kind::kSmtp);  // EHLO is one
  EXPECT_EQ(Lines(Talk("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), "\r\n").back().substr(0, 9), "421 4.7.0");
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, RecipientsThatArePutOffAreTalkAsWell) {
  options_.idle_commands_max = 5;
  for (const bool own : {false, true}) {
    connection_.closed = false;
    connection_.on_this_host = own;
    Open(Kind::kSmtp);  // EHLO is one, MAIL another
    Talk("MAIL FROM:<x@a.test>\r\n");
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(Talk("RCPT TO:<busy@example.test>\r\n").starts_with("451 4.3.0 "));
    }
    EXPECT_TRUE(Talk("RCPT TO:<busy@example.test>\r\n").starts_with(own ? "451 4.3.0 " : "421 4.7.0 "));
    EXPECT_EQ(connection_.closed, !own);
  }
}

TEST_F(SessionCommandsTest, TooManyRecipients) {
  options_.recipients_max = 1;
  Open(Kind::kSmtp);
  Envelope();
  EXPECT_TRUE(Talk("RCPT TO:<bob@example.test>\r\n").starts_with("452 4.5.3 "));
}

// Said with the last reply, not to the next MAIL: an MTA that keeps connections would put that message off.
TEST_F(SessionCommandsTest, EnoughMessages) {
  options_.messages_max = 2;
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 0 LAST\r\n");
  EXPECT_FALSE(connection_.closed);
  Envelope();
  EXPECT_TRUE(Talk("BDAT 0 LAST\r\nNOOP\r\n").starts_with("250 2.0.0 Stored as s1.2\r\n421 4.7.0 "));
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionCommandsTest, AMailboxGetsSoMuchAMinute) {
  limits_.set_messages_per_mailbox_minute_max(1);
  Open(Kind::kSmtp);
  Envelope();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Talk("RCPT TO:<ann@example.test>\r\n").starts_with("250 ")) << "RCPT alone takes nothing";
  }
  EXPECT_TRUE(Talk("BDAT 0 LAST\r\n").starts_with("250 "));
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("250 "));
  EXPECT_TRUE(Talk("RCPT TO:<ann@example.test>\r\n").starts_with("450 4.2.1 "));
  EXPECT_TRUE(Talk("RCPT TO:<bob@example.test>\r\n").starts_with("250 "));
  service_.now_s += 60;
  EXPECT_TRUE(Talk("RCPT TO:<ann@example.test>\r\n").starts_with("250 "));
}

TEST_F(SessionCommandsTest, SilenceEndsIt) {
  Open(Kind::kSmtp);
  EXPECT_EQ(connection_.idle_ms, 300'000u);
  Envelope();
  Talk("DATA\r\nhalf");
  connection_.sent.clear();
  session_->OnTimeout();
  EXPECT_TRUE(connection_.sent.starts_with("421 4.4.2 "));
  EXPECT_TRUE(connection_.closed);
  EXPECT_EQ(service_.open, 0);
}

// A byte now and then is no silence.
TEST_F(SessionCommandsTest, ACommandLineArrivesInTime) {
  for (const std::string& start : {std::string("N"), std::string(5000, 'x')}) {
    connection_.closed = false;
    Open(Kind::kSmtp);
    service_.boot_ms += Session::kSlowMs;  // silent for long, between commands
    EXPECT_EQ(Talk("NOOP\r\nNOOP\r\n" + start), "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n");
    service_.boot_ms += Session::kSlowMs;
    EXPECT_EQ(Talk("O"), "");
    service_.boot_ms += 1;
    EXPECT_EQ(Talk("O"), "421 4.4.2 mx.example.test Too slow\r\n");
    EXPECT_TRUE(connection_.closed);
  }
}

TEST_F(SessionCommandsTest, AMessageArrivesAtARate) {
  constexpr uint64_t kHalfMs = Session::kSlowMs / 2 + 1;
  for (const char* begin : {"DATA\r\n", "BDAT 1000000\r\n", "BDAT 1\r\n"}) {
    const std::string half(Session::kMessageBytesMin / 2 + 8, 'x');
    const bool one_byte_chunks = std::string_view(begin) == "BDAT 1\r\n";
    const std::string piece = one_byte_chunks ? "xBDAT 1\r\n" : half;
    for (const bool own : {false, true}) {
      connection_.closed = false;
      connection_.on_this_host = own;
      Open(Kind::kSmtp);
      Envelope();
      Talk(begin);
      if (!one_byte_chunks) {
        for (int i = 0; i < 10; ++i) {
          service_.boot_ms += kHalfMs;
          EXPECT_EQ(Talk(half), "") << i;
        }
      }
      for (int i = 0; i < 5 && !connection_.closed; ++i) {
        service_.boot_ms += kHalfMs;
        EXPECT_EQ(Talk(one_byte_chunks ? piece : "x").find("421 4.4.2") != std::string::npos, connection_.closed);
      }
      EXPECT_EQ(connection_.closed, !own) << begin;
    }
  }
}

TEST_F(SessionCommandsTest, WhileTheStoreIsSlowTheClientIsNot) {
  Open(Kind::kSmtp);
  Envelope();
  service_.writable = false;
  Talk("DATA\r\n");
  service_.boot_ms += 10 * Session::kSlowMs;
  service_.writable = true;
  service_.on_writable();
  EXPECT_TRUE(Talk("x\r\n.\r\n").starts_with("250 "));
  Envelope();
  session_->OnBytes("BDAT 0 LAST\r\n");
  service_.boot_ms += 10 * Session::kSlowMs;
  session_->OnBytes("NO");
  service_.boot_ms += 10 * Session::kSlowMs;
  service_.RunPosted();
  EXPECT_EQ(Talk("OP\r\n"), "250 2.0.0 Ok\r\n");
}

TEST_F(SessionCommandsTest, OurOwnSlownessIsNotSilence) {
  Open(Kind::kSmtp);
  Envelope();
  session_->OnBytes("BDAT 0 LAST\r\n");
  connection_.idle_ms = 0;
  session_->OnTimeout();
  EXPECT_FALSE(connection_.closed);
  EXPECT_NE(connection_.idle_ms, 0u);
  service_.RunPosted();
  EXPECT_EQ(service_.letters.size(), 1u);
}

}  // namespace
}  // namespace gemel::smtp
