// Conversations. A dialogue's "C:" lines in a row are one read; its "S:" lines are all that is answered, where a line
// that ends in * may go on.
#include "smtp/session.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/fakes.h"

namespace gemel::smtp {
namespace {

std::vector<std::string> Lines(std::string_view text, std::string_view end) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t n = text.find(end);
    lines.emplace_back(text.substr(0, n));
    text.remove_prefix(n == std::string_view::npos ? text.size() : n + end.size());
  }
  return lines;
}

class SessionTest : public testing::Test {
 protected:
  void Open(Kind kind, bool greet = true) {
    auto options = std::make_shared<SessionOptions>(options_);
    options->kind = kind;
    session_ = std::make_unique<Session>(service_, connection_, limits_, options);
    session_->OnConnected();
    if (!greet) return;
    Talk(kind == Kind::kLmtp ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
    connection_.sent.clear();
    connection_.sends = 0;
  }
  // Feeds bytes and gives what is answered to them, also after the message is stored.
  std::string Talk(std::string_view bytes) {
    connection_.sent.clear();
    session_->OnBytes(bytes);
    service_.RunPosted();
    return connection_.sent;
  }
  void Dialogue(std::string_view script) {
    std::string say;
    std::vector<std::string> expect;
    const auto turn = [&] {
      if (say.empty() && expect.empty()) return;
      const std::string answer = say.empty() ? connection_.sent : Talk(say);
      connection_.sent.clear();
      EXPECT_TRUE(answer.empty() || answer.ends_with("\r\n")) << answer;
      const std::vector<std::string> got = Lines(answer, "\r\n");
      bool same = got.size() == expect.size();
      for (size_t i = 0; same && i < got.size(); ++i) {
        same = expect[i].ends_with('*') ? got[i].starts_with(expect[i].substr(0, expect[i].size() - 1))
                                        : got[i] == expect[i];
      }
      std::string expected;
      for (const std::string& line : expect) expected += line + "\n";
      EXPECT_TRUE(same) << "to:\n" << say << "\nexpected:\n" << expected << "\ngot:\n" << answer;
      say.clear();
      expect.clear();
    };
    for (const std::string& line : Lines(script, "\n")) {
      if (line.starts_with("C:")) {
        if (!expect.empty()) turn();
        say += (line.size() > 3 ? line.substr(3) : "") + "\r\n";
      } else if (line.starts_with("S:")) {
        expect.push_back(line.substr(3));
      } else {
        EXPECT_TRUE(line.empty()) << line;
      }
    }
    turn();
  }
  std::vector<std::string> Bodies() const {
    std::vector<std::string> bodies;
    for (const auto& letter : service_.letters) bodies.push_back(letter.body);
    return bodies;
  }
  void Envelope(std::string_view recipient = "ann@example.test") {
    Talk("MAIL FROM:<x@a.test>\r\nRCPT TO:<" + std::string(recipient) + ">\r\n");
  }

  FakeService service_;
  FakeConnection connection_;
  SmtpLimits limits_{LimitOptions{}};
  SessionOptions options_;
  std::unique_ptr<Session> session_;
};

TEST_F(SessionTest, LmtpGreetsAndOffersWhatItDoes) {
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

TEST_F(SessionTest, SmtpGreets) {
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

TEST_F(SessionTest, LmtpDeliversAndAnswersForEachRecipientInOrder) {
  Open(Kind::kLmtp);
  service_.results["bob@example.test"] = absl::UnavailableError("");
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
S: 250 2.0.0 <ann@example.test> Stored as s1.1
)");
  service_.results.clear();
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

TEST_F(SessionTest, AllRepliesToOneReadAreOneSend) {
  Open(Kind::kSmtp);
  session_->OnBytes("MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<no@example.test>\r\nDATA\r\n");
  EXPECT_EQ(connection_.sends, 1);
  EXPECT_EQ(Lines(connection_.sent, "\r\n").size(), 4u);
}

TEST_F(SessionTest, CommandsBehindTheDotAreAnsweredAfterIt) {
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

TEST_F(SessionTest, ManyMessagesInOneRead) {
  Open(Kind::kLmtp);
  std::string said;
  for (int i = 0; i < 5; ++i) {
    said += "MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nBDAT 4 LAST\r\nab\r\n";
  }
  Talk(said);
  EXPECT_EQ(Bodies(), std::vector<std::string>(5, "ab\n"));
}

TEST_F(SessionTest, EveryByteOnItsOwn) {
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

TEST_F(SessionTest, TraceHeaders) {
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

TEST_F(SessionTest, AnAliasIsOneReplyAndNobodyGetsTwoCopies) {
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
  service_.results["bob@example.test"] = absl::NotFoundError("");
  Dialogue(R"(
C: MAIL FROM:<x@a.test>
C: RCPT TO:<all@example.test>
C: RCPT TO:<ann@example.test>
C: BDAT 0 LAST
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
S: 550 5.1.1 User unknown
S: 250 2.0.0 <ann@example.test> *
)");
}

TEST_F(SessionTest, ABigAliasIsNamedOnlySoOften) {
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

TEST_F(SessionTest, NeverRelays) {
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

TEST_F(SessionTest, ASourceRouteToUsIsIgnored) {
  Open(Kind::kSmtp);
  Envelope("@other.test,@b.test:ann@example.test");
  EXPECT_EQ(service_.lookups.back(), "ann@example.test");
  Talk("RSET\r\n");
  Envelope("\"ann\"@example.test");
  EXPECT_EQ(service_.lookups.back(), "ann@example.test");
}

TEST_F(SessionTest, PostmasterIsAlwaysThere) {
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
  service_.bare_postmaster = false;
  service_.host = "example.test";
  EXPECT_EQ(Talk("RCPT TO:<postmaster>\r\n"), "250 2.1.5 Ok\r\n");
}

// ---- refusals ----

TEST_F(SessionTest, EnvelopeErrors) {
  options_.errors_max = 0;
  Open(Kind::kSmtp);
  Dialogue(R"(
C: RCPT TO:<ann@example.test>
S: 503 5.5.1 *
C: DATA
S: 503 5.5.1 *
C: MAIL
S: 501 5.5.4 *
C: MAIL FROM:x@a.test
S: 501 5.1.7 *
C: MAIL FROM:<x@a.test>SIZE=3
S: 501 5.1.7 *
C: MAIL FROM:<x@a.test> SIZE=many
S: 501 5.5.4 *
C: MAIL FROM:<x@a.test> SIZE=
S: 501 5.5.4 *
C: MAIL FROM:<x@a.test> SIZE=157286401
S: 552 5.3.4 *
C: MAIL FROM:<x@a.test> SIZE=99999999999999999999999
S: 552 5.3.4 *
C: MAIL FROM:<x@a.test> BODY=BINARYMIME
S: 555 5.6.1 BINARYMIME is not supported
C: MAIL FROM:<x@a.test> BODY=9BIT
S: 501 5.5.4 *
C: MAIL FROM:<x@a.test> AUTH=<>
S: 555 5.5.4 *
C: MAIL FROM:<x@a.test> RET=HDRS
S: 555 5.5.4 *
C: MAIL FROM:<ä@a.test>
S: 553 5.6.7 *
C: MAIL FROM: <x@a.test> BODY=8bitmime SIZE=157286400
S: 250 2.1.0 Ok
C: MAIL FROM:<x@a.test>
S: 503 5.5.1 *
C: RCPT FROM:<x@a.test>
S: 501 5.5.4 *
C: RCPT TO:<ann@example.test> NOTIFY=NEVER
S: 555 5.5.4 *
C: RCPT TO:<gone@example.test>
S: 550 5.2.1 *
C: RCPT TO:<busy@example.test>
S: 451 4.3.0 *
C: RCPT TO:<änn@example.test>
S: 553 5.6.7 *
C: DATA
S: 554 5.5.1 No valid recipients
C: RCPT TO: <ann@example.test>
S: 250 2.1.5 Ok
C: DATA now
S: 501 5.5.4 *
C: RSET
S: 250 2.0.0 Ok
C: MAIL FROM:<ä@a.test> SMTPUTF8
S: 250 2.1.0 Ok
C: RCPT TO:<änn@exämple.test>
S: 250 2.1.5 Ok
)");
}

TEST_F(SessionTest, ParametersNeedEhlo) {
  Open(Kind::kSmtp, false);
  Talk("HELO client.test\r\n");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test> SIZE=3\r\n").starts_with("555 5.5.4 "));
}

TEST_F(SessionTest, SmallTalk) {
  Open(Kind::kSmtp);
  Dialogue(R"(
C: NOOP with words
S: 250 2.0.0 Ok
C: VRFY ann
S: 252 2.5.2 *
C: VRFY
S: 501 5.5.4 *
C: EXPN all
S: 502 5.5.1 *
C: HELP
S: 214-2.0.0 *
S: 214 2.0.0 *
C: RSET
S: 250 2.0.0 Ok
C: RSET it
S: 501 5.5.4 *
C: TURN
S: 500 5.5.1 *
C: 
S: 500 5.5.1 *
C: QUIT now
S: 501 5.5.4 *
)");
}

TEST_F(SessionTest, NoRoomIsSaidBeforeTheMessage) {
  Open(Kind::kSmtp);
  service_.accepting = absl::ResourceExhaustedError("disk full");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("452 4.3.1 "));
  service_.accepting = absl::UnavailableError("peer away");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("451 4.3.0 "));
  service_.accepting = absl::OkStatus();
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("250 "));
}

TEST_F(SessionTest, SmtpAnswersOnceForAll) {
  Open(Kind::kSmtp);
  const auto answer = [&](absl::Status ann, absl::Status bob) {
    service_.results = {{"ann@example.test", ann}, {"bob@example.test", bob}};
    Talk("RSET\r\nMAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nRCPT TO:<bob@example.test>\r\n");
    return Talk("BDAT 0 LAST\r\n").substr(0, 9);
  };
  EXPECT_EQ(answer(absl::OkStatus(), absl::OkStatus()), "250 2.0.0");
  EXPECT_EQ(answer(absl::OkStatus(), absl::UnavailableError("")), "451 4.3.0");
  EXPECT_EQ(answer(absl::NotFoundError(""), absl::ResourceExhaustedError("")), "452 4.3.1");
  EXPECT_EQ(answer(absl::NotFoundError(""), absl::OkStatus()), "451 4.3.0");
  EXPECT_EQ(answer(absl::NotFoundError(""), absl::NotFoundError("")), "550 5.1.1");
  EXPECT_EQ(answer(absl::InternalError(""), absl::InternalError("")), "451 4.3.0");
}

TEST_F(SessionTest, TooBigWhileItArrives) {
  options_.message_bytes_max = 100;
  Open(Kind::kLmtp);
  const std::string line = std::string(48, 'x') + "\r\n";
  Envelope();
  Talk("RCPT TO:<bob@example.test>\r\nDATA\r\n");
  EXPECT_EQ(Talk(line + line + "."), "");
  EXPECT_EQ(Talk("\r\n"),
            "250 2.0.0 <ann@example.test> Stored as s1.1\r\n250 2.0.0 <bob@example.test> Stored as s1.1\r\n");
  Envelope();
  Talk("RCPT TO:<bob@example.test>\r\nDATA\r\n");
  EXPECT_EQ(Talk(line + line + "x"), "");
  EXPECT_EQ(service_.open, 0) << "nothing is kept of it";
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Talk(line), "");
  EXPECT_EQ(Talk("\r\n.\r\nNOOP\r\n"), "552 5.3.4 Message too big\r\n552 5.3.4 Message too big\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(service_.letters.size(), 1u);
}

TEST_F(SessionTest, TooLongALine) {
  options_.line_bytes_max = 2000;
  Open(Kind::kSmtp);
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(std::string(2000, 'x') + "\r\n.\r\n").starts_with("250 "));
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(std::string(2001, 'x') + "\r\n.\r\n").starts_with("550 5.6.0 "));
}

TEST_F(SessionTest, TooManyHops) {
  options_.received_max = 2;
  Open(Kind::kSmtp);
  const std::string hops = "Received: a\r\nReceived: b\r\n";
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(hops + "\r\nReceived: only text\r\n.\r\n").starts_with("250 "));
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(hops + "RECEIVED : c\r\n\r\n.\r\n").starts_with("554 5.4.6 "));
  EXPECT_EQ(service_.letters.size(), 1u);
}

// ---- smuggling ----

TEST_F(SessionTest, OnlyCrlfDotCrlfEndsData) {
  for (const char* end : {"\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r", "\n.\r", "\r\n.\r\r\n",
                          "\r\n.\n\r\n", "\r\n..\r\n", "\r\n. \r\n"}) {
    Open(Kind::kSmtp);
    Envelope();
    Talk("DATA\r\n");
    EXPECT_EQ(Talk("text" + std::string(end) + "MAIL FROM:<evil@a.test>\r\n"), "") << end;
    const bool clean = std::string_view(end) == "\r\n..\r\n" || std::string_view(end) == "\r\n. \r\n";
    const std::string reply = Talk("x\r\n.\r\n");
    EXPECT_TRUE(reply.starts_with(clean ? "250 2.0.0 " : "550 5.6.11 ")) << end << reply;
    EXPECT_EQ(Lines(reply, "\r\n").size(), 1u);
    EXPECT_EQ(service_.letters.size(), clean ? 1u : 0u) << end;
    service_.letters.clear();
    EXPECT_EQ(Talk("NOOP\r\n"), "250 2.0.0 Ok\r\n");
  }
}

TEST_F(SessionTest, ARefusedMessageIsAnsweredForEachRecipientOfLmtp) {
  Open(Kind::kLmtp);
  Envelope();
  Talk("RCPT TO:<bob@example.test>\r\nDATA\r\n");
  EXPECT_EQ(Lines(Talk("a\nb\r\n.\r\n"), "\r\n").size(), 2u);
}

TEST_F(SessionTest, CommandLinesEndWithCrlf) {
  Open(Kind::kSmtp);
  EXPECT_TRUE(Talk("NOOP\n").starts_with("500 5.5.2 "));
  EXPECT_TRUE(Talk("NOOP\rNOOP\r\n").starts_with("500 5.5.2 "));
  EXPECT_TRUE(Talk(std::string("NO\0OP\r\n", 7)).starts_with("500 5.5.2 "));
  EXPECT_EQ(Talk("NOOP\r"), "");
  EXPECT_EQ(Talk("\n"), "250 2.0.0 Ok\r\n");
}

TEST_F(SessionTest, LongCommandLinesAreRefusedWholly) {
  Open(Kind::kSmtp);
  EXPECT_EQ(Talk("NOOP " + std::string(4000, 'x') + "\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_EQ(Talk("NOOP " + std::string(5000, 'x')), "");
  EXPECT_EQ(Talk(std::string(5000, 'x')), "");
  EXPECT_EQ(Talk("\r\nNOOP\r\n"), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(Talk("NOOP " + std::string(5000, 'x') + "\r\nNOOP\r\n"), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
}

TEST_F(SessionTest, ABrowserIsSentAway) {
  Open(Kind::kSmtp);
  EXPECT_EQ(Talk("POST / HTTP/1.1\r\nMAIL FROM:<x@a.test>\r\n"), "421 4.7.0 This is not HTTP\r\n");
  EXPECT_TRUE(connection_.closed);
}

// ---- BDAT ----

TEST_F(SessionTest, Chunks) {
  Open(Kind::kSmtp);
  Dialogue(R"(
C: MAIL FROM:<x@a.test>
C: RCPT TO:<ann@example.test>
C: BDAT 8
C: .
C: a..
C: BDAT 0
C: BDAT 5 last
C: .
C: 
C: NOOP
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.0.0 Ok
S: 250 2.0.0 Ok
S: 250 2.0.0 Stored as s1.1
S: 250 2.0.0 Ok
)");
  EXPECT_EQ(Bodies(), std::vector<std::string>{".\na..\n.\n\n"});
}

TEST_F(SessionTest, ChunksMayHoldAnyLineEnd) {
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 6\r\na\nb\r\r\nBDAT 5 LAST\r\nc\rd\r\n");
  EXPECT_EQ(Bodies(), std::vector<std::string>{"a\nb\nc\rd\n"});
  Envelope();
  Talk("BDAT 4\r\nab\r\rBDAT 3 LAST\r\n\nc\r");
  EXPECT_EQ(Bodies().back(), "ab\nc\r") << "CRCRLF over two chunks";
}

TEST_F(SessionTest, ChunkErrors) {
  options_.message_bytes_max = 10;
  Open(Kind::kLmtp);
  Dialogue(R"(
C: BDAT 6
C: NOOP
S: 503 5.5.1 Send MAIL first
C: MAIL FROM:<x@a.test>
S: 250 2.1.0 Ok
C: BDAT 6 LAST
C: NOOP
S: 503 5.5.1 No valid recipients
C: RCPT TO:<ann@example.test>
C: RCPT TO:<bob@example.test>
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
C: BDAT 6
C: NOOP
S: 250 2.0.0 Ok
C: DATA
S: 503 5.5.1 *
C: RCPT TO:<ann@example.test>
S: 503 5.5.1 *
C: BDAT 6 LAST
C: NOOP
S: 552 5.3.4 Message too big
S: 552 5.3.4 Message too big
C: MAIL FROM:<x@a.test>
C: RCPT TO:<ann@example.test>
C: RCPT TO:<bob@example.test>
C: BDAT 12
C: 0123456789
C: BDAT 6 LAST
C: NOOP
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 250 2.1.5 Ok
S: 552 5.3.4 Message too big
S: 503 5.5.1 Send MAIL first
)");
  EXPECT_EQ(service_.letters.size(), 0u);
  EXPECT_EQ(service_.open, 0);
}

TEST_F(SessionTest, AChunkOfUnknownLengthEndsTheConversation) {
  for (const char* arguments : {"", "x", "-1", "3 FIRST", "3LAST", "99999999999999999999999 LAST", "3 LAST x"}) {
    connection_.closed = false;
    Open(Kind::kSmtp);
    Envelope();
    const std::string reply = Talk("BDAT " + std::string(arguments) + "\r\nRSET\r\n");
    EXPECT_TRUE(reply.starts_with("501 5.5.4 ")) << arguments;
    EXPECT_EQ(Lines(reply, "\r\n").size(), 2u) << reply;
    EXPECT_TRUE(connection_.closed) << arguments;
  }
}

TEST_F(SessionTest, RsetInTheMiddleOfChunks) {
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 3\r\nabc");
  EXPECT_EQ(service_.open, 1);
  EXPECT_EQ(Talk("RSET\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_EQ(service_.open, 0);
  EXPECT_EQ(service_.letters.size(), 0u);
}

// ---- TLS ----

TEST_F(SessionTest, NothingSurvivesStartTls) {
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

TEST_F(SessionTest, StartTlsWithoutACertificate) {
  connection_.has_certificate = false;
  Open(Kind::kSmtp);
  EXPECT_TRUE(Talk("STARTTLS\r\n").starts_with("454 4.7.0 "));
  EXPECT_TRUE(Talk("STARTTLS now\r\n").starts_with("501 5.5.4 "));
  EXPECT_EQ(Talk("EHLO client.test\r\n").find("STARTTLS"), std::string::npos);
}

// ---- limits and time ----

TEST_F(SessionTest, TooManyErrors) {
  options_.errors_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\n");
  EXPECT_FALSE(connection_.closed);
  EXPECT_EQ(Lines(Talk("X\r\nX\r\nX\r\n"), "\r\n").size(), 2u);
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionTest, AStoredMessageForgivesErrors) {
  options_.errors_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\n");
  Envelope();
  Talk("BDAT 0 LAST\r\nX\r\nX\r\n");
  EXPECT_FALSE(connection_.closed);
}

TEST_F(SessionTest, OurOwnHostIsNotCounted) {
  connection_.on_this_host = true;
  options_.errors_max = 2;
  options_.idle_commands_max = 2;
  Open(Kind::kSmtp);
  Talk("X\r\nX\r\nX\r\nNOOP\r\nNOOP\r\nNOOP\r\n");
  EXPECT_FALSE(connection_.closed);
}

TEST_F(SessionTest, TooMuchTalk) {
  options_.idle_commands_max = 3;
  Open(Kind::kSmtp);  // EHLO is one
  EXPECT_EQ(Lines(Talk("NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"), "\r\n").back().substr(0, 9), "421 4.7.0");
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionTest, TooManyRecipients) {
  options_.recipients_max = 1;
  Open(Kind::kSmtp);
  Envelope();
  EXPECT_TRUE(Talk("RCPT TO:<bob@example.test>\r\n").starts_with("452 4.5.3 "));
}

// Said with the last reply, not to the next MAIL: an MTA that keeps connections would put that message off.
TEST_F(SessionTest, EnoughMessages) {
  options_.messages_max = 2;
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 0 LAST\r\n");
  EXPECT_FALSE(connection_.closed);
  Envelope();
  EXPECT_TRUE(Talk("BDAT 0 LAST\r\nNOOP\r\n").starts_with("250 2.0.0 Stored as s1.2\r\n421 4.7.0 "));
  EXPECT_TRUE(connection_.closed);
}

TEST_F(SessionTest, TooManyConnections) {
  limits_.set_options({.connections_max = 0, .connections_per_address_max = 1});
  Open(Kind::kSmtp);
  FakeConnection other;
  {
    Session second(service_, other, limits_, std::make_shared<SessionOptions>());
    second.OnConnected();
    EXPECT_TRUE(other.sent.starts_with("421 4.7.0 ")) << other.sent;
    EXPECT_TRUE(other.closed);
  }
  session_.reset();
  EXPECT_EQ(limits_.connections(), 0u);
  Open(Kind::kSmtp);
  EXPECT_EQ(limits_.connections(), 1u);
}

TEST_F(SessionTest, AMailboxGetsSoMuchAMinute) {
  limits_.set_options({.messages_per_mailbox_minute_max = 1});
  Open(Kind::kSmtp);
  Envelope();
  EXPECT_TRUE(Talk("RCPT TO:<ann@example.test>\r\n").starts_with("450 4.2.1 "));
  EXPECT_TRUE(Talk("RCPT TO:<bob@example.test>\r\n").starts_with("250 "));
  service_.now_s += 60;
  EXPECT_TRUE(Talk("RCPT TO:<ann@example.test>\r\n").starts_with("250 "));
}

TEST_F(SessionTest, SilenceEndsIt) {
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

TEST_F(SessionTest, OurOwnSlownessIsNotSilence) {
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

// ---- back pressure ----

TEST_F(SessionTest, AFullStoreStopsTheReading) {
  Open(Kind::kSmtp);
  Envelope();
  service_.writable = false;
  Talk("DATA\r\n");
  EXPECT_TRUE(connection_.paused);
  service_.writable = true;
  service_.on_writable();
  EXPECT_FALSE(connection_.paused);
  Talk("text\r\n.\r\n");
  EXPECT_EQ(service_.letters.size(), 1u);
}

TEST_F(SessionTest, WhatWaitsForTheReplyIsBounded) {
  Open(Kind::kSmtp);
  Envelope();
  session_->OnBytes("BDAT 0 LAST\r\n");
  connection_.sent.clear();
  std::string noops;
  while (noops.size() <= Session::kPendingBytesMax) noops += "NOOP " + std::string(4000, 'x') + "\r\n";
  session_->OnBytes(noops);
  EXPECT_TRUE(connection_.paused);
  service_.RunPosted();
  EXPECT_FALSE(connection_.paused);
  EXPECT_EQ(Lines(connection_.sent, "\r\n").size(), noops.size() / 4007 + 1);
}

TEST_F(SessionTest, AClientThatDoesNotReadIsNotRead) {
  Open(Kind::kSmtp);
  connection_.unsent = Session::kUnsentBytesMax + 1;
  Talk("NOOP\r\n");
  EXPECT_TRUE(connection_.paused);
  connection_.unsent = 0;
  connection_.drained();
  EXPECT_FALSE(connection_.paused);
  connection_.unsent = Session::kUnsentBytesMax + 1;
  Talk("NOOP\r\n");
  session_->OnTimeout();
  EXPECT_TRUE(connection_.closed);
}

// ---- the end at any moment ----

constexpr std::string_view kStory =
    "EHLO c\r\nMAIL FROM:<x@a.test>\r\nRCPT TO:<all@example.test>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.\r\n"
    "MAIL FROM:<x@a.test>\r\nRCPT TO:<ann@example.test>\r\nBDAT 2\r\nabBDAT 1 LAST\r\ncNOOP\r\n";

TEST_F(SessionTest, TheClientGoesAwayAtAnyByte) {
  for (size_t n = 0; n <= kStory.size(); ++n) {
    for (const bool destroy : {false, true}) {
      Open(Kind::kSmtp, false);
      service_.letters.clear();
      for (size_t i = 0; i < n; ++i) {
        session_->OnBytes(kStory.substr(i, 1));
        if (i % 7 != 0) service_.RunPosted();
      }
      connection_.sends = 0;
      session_->OnClosed();
      EXPECT_EQ(service_.open, 0) << n;
      if (destroy) session_.reset();
      service_.RunPosted();  // a result that comes too late
      if (service_.on_writable) service_.on_writable();
      EXPECT_EQ(connection_.sends, 0) << n;
      if (!destroy) session_->OnBytes("NOOP\r\n");
      EXPECT_EQ(connection_.sends, 0) << n;
      session_.reset();
      EXPECT_EQ(limits_.connections(), 0u);
    }
  }
}

TEST_F(SessionTest, TheDaemonStopsAtAnyByte) {
  for (size_t n = 0; n <= kStory.size(); ++n) {
    connection_ = {};
    service_.letters.clear();
    Open(Kind::kSmtp, false);
    for (size_t i = 0; i < kStory.size(); ++i) {
      if (i == n) session_->OnShutdown();
      if (connection_.closed) break;
      session_->OnBytes(kStory.substr(i, 1));
      service_.RunPosted();
    }
    if (n == kStory.size()) session_->OnShutdown();
    EXPECT_TRUE(connection_.closed) << n;
    const std::vector<std::string> lines = Lines(connection_.sent, "\r\n");
    EXPECT_TRUE(lines.back().starts_with("421 4.3.2 ")) << n << lines.back();
    size_t stored = 0;
    for (const std::string& line : lines) stored += line.starts_with("250 2.0.0 Stored") ? 1 : 0;
    EXPECT_EQ(stored, service_.letters.size()) << n;
  }
}

TEST_F(SessionTest, AMessageThatIsBeingStoredIsAnsweredBeforeGoodbye) {
  Open(Kind::kLmtp);
  Envelope();
  session_->OnBytes("BDAT 0 LAST\r\n");
  session_->OnShutdown();
  EXPECT_FALSE(connection_.closed);
  connection_.sent.clear();
  service_.RunPosted();
  EXPECT_EQ(Lines(connection_.sent, "\r\n").size(), 2u);
  EXPECT_TRUE(connection_.closed);
}

}  // namespace
}  // namespace gemel::smtp
