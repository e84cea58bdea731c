// Messages: what is refused, where they end, and what becomes of them when somebody goes away.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/dialogue.h"

namespace gemel::smtp {
namespace {

class SessionMessageTest : public SessionTest {};

// ---- refusals ----

TEST_F(SessionMessageTest, EnvelopeErrors) {
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
C: RCPT TO:<loop@example.test>
S: 550 5.4.6 *
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

TEST_F(SessionMessageTest, ParametersNeedEhlo) {
  Open(Kind::kSmtp, false);
  Talk("HELO client.test\r\n");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test> SIZE=3\r\n").starts_with("555 5.5.4 "));
}

TEST_F(SessionMessageTest, SmallTalk) {
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

TEST_F(SessionMessageTest, NoRoomIsSaidBeforeTheMessage) {
  Open(Kind::kSmtp);
  service_.accepting = absl::ResourceExhaustedError("disk full");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("452 4.3.1 "));
  service_.accepting = absl::UnavailableError("peer away");
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("451 4.3.0 "));
  service_.accepting = absl::OkStatus();
  EXPECT_TRUE(Talk("MAIL FROM:<x@a.test>\r\n").starts_with("250 "));
}

TEST_F(SessionMessageTest, SmtpAnswersOnceForAllAndLmtpForEach) {
  for (const Kind kind : {Kind::kSmtp, Kind::kLmtp}) {
    Open(kind);
    const auto expect = [&](absl::Status result, std::string_view reply) {
      service_.result = std::move(result);
      Envelope();
      const std::vector<std::string> lines = Lines(Talk("RCPT TO:<bob@example.test>\r\nBDAT 0 LAST\r\n"), "\r\n");
      EXPECT_EQ(lines.size(), kind == Kind::kSmtp ? 2u : 3u);
      for (size_t i = 1; i < lines.size(); ++i) EXPECT_TRUE(lines[i].starts_with(reply)) << lines[i];
    };
    expect(absl::OkStatus(), "250 2.0.0 ");
    expect(absl::UnavailableError(""), "451 4.3.0 ");
    expect(absl::ResourceExhaustedError(""), "452 4.3.1 ");
    expect(absl::InternalError(""), "451 4.3.0 ");
  }
}

TEST_F(SessionMessageTest, TooBigWhileItArrives) {
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

TEST_F(SessionMessageTest, TooLongALine) {
  options_.line_bytes_max = 2000;
  Open(Kind::kSmtp);
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(std::string(2000, 'x') + "\r\n.\r\n").starts_with("250 "));
  Envelope();
  Talk("DATA\r\n");
  EXPECT_TRUE(Talk(std::string(2001, 'x') + "\r\n.\r\n").starts_with("550 5.6.0 "));
  for (const char fill : {'x', '\r'}) {
    Envelope();
    EXPECT_TRUE(Talk("BDAT 2000\r\n" + std::string(2000, fill)).starts_with("250 ")) << "it may end here";
    EXPECT_TRUE(Talk("BDAT 1 LAST\r\nx").starts_with("550 5.6.0 "));
  }
  EXPECT_EQ(service_.letters.size(), 1u);
}

TEST_F(SessionMessageTest, TooManyHops) {
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

TEST_F(SessionMessageTest, OnlyCrlfDotCrlfEndsData) {
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

TEST_F(SessionMessageTest, ARefusedMessageIsAnsweredForEachRecipientOfLmtp) {
  Open(Kind::kLmtp);
  Envelope();
  Talk("RCPT TO:<bob@example.test>\r\nDATA\r\n");
  EXPECT_EQ(Lines(Talk("a\nb\r\n.\r\n"), "\r\n").size(), 2u);
}

TEST_F(SessionMessageTest, CommandLinesEndWithCrlf) {
  Open(Kind::kSmtp);
  EXPECT_TRUE(Talk("NOOP\n").starts_with("500 5.5.2 "));
  EXPECT_TRUE(Talk("NOOP\rNOOP\r\n").starts_with("500 5.5.2 "));
  EXPECT_TRUE(Talk(std::string("NO\0OP\r\n", 7)).starts_with("500 5.5.2 "));
  EXPECT_EQ(Talk("NOOP\r"), "");
  EXPECT_EQ(Talk("\n"), "250 2.0.0 Ok\r\n");
}

TEST_F(SessionMessageTest, LongCommandLinesAreRefusedWholly) {
  Open(Kind::kSmtp);
  EXPECT_EQ(Talk("NOOP " + std::string(4000, 'x') + "\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_EQ(Talk("NOOP " + std::string(5000, 'x')), "");
  EXPECT_EQ(Talk(std::string(5000, 'x')), "");
  EXPECT_EQ(Talk("\r\nNOOP\r\n"), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
  EXPECT_EQ(Talk("NOOP " + std::string(5000, 'x') + "\r\nNOOP\r\n"), "500 5.5.2 Line too long\r\n250 2.0.0 Ok\r\n");
}

TEST_F(SessionMessageTest, ABrowserIsSentAway) {
  Open(Kind::kSmtp);
  EXPECT_EQ(Talk("POST / HTTP/1.1\r\nMAIL FROM:<x@a.test>\r\n"), "421 4.7.0 This is not HTTP\r\n");
  EXPECT_TRUE(connection_.closed);
}

// ---- BDAT ----

TEST_F(SessionMessageTest, Chunks) {
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

TEST_F(SessionMessageTest, ChunksMayHoldAnyLineEnd) {
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 6\r\na\nb\r\r\nBDAT 5 LAST\r\nc\rd\r\n");
  EXPECT_EQ(Bodies(), std::vector<std::string>{"a\nb\nc\rd\n"});
  Envelope();
  Talk("BDAT 4\r\nab\r\rBDAT 3 LAST\r\n\nc\r");
  EXPECT_EQ(Bodies().back(), "ab\nc\r") << "CRCRLF over two chunks";
}

TEST_F(SessionMessageTest, ChunkErrors) {
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

TEST_F(SessionMessageTest, AChunkOfUnknownLengthEndsTheConversation) {
  const std::string long_line = "BDAT " + std::string(5000, ' ') + "4";
  for (const std::string& line :
       {std::string("BDAT\r\n"), std::string("BDAT x\r\n"), std::string("BDAT -1\r\n"), std::string("BDAT 3 FIRST\r\n"),
        std::string("BDAT 3LAST\r\n"), std::string("BDAT 99999999999999999999999 LAST\r\n"),
        std::string("BDAT 3 LAST x\r\n"), std::string("BDAT 4\n"), std::string("bdat\t4\r\n"), std::string("BDAT4\r\n"),
        std::string("BDAT 4\r\r\n"), std::string("BDAT 4\0\r\n", 9), long_line, long_line + "\r\n"}) {
    connection_.closed = false;
    Open(Kind::kSmtp);
    Envelope();
    const std::string reply = Talk(line + "RSET\r\n");
    EXPECT_TRUE(reply.starts_with("50")) << line << reply;
    EXPECT_EQ(Lines(reply, "\r\n").size(), 2u) << line << reply;
    EXPECT_TRUE(reply.ends_with("421 4.7.0 Cannot tell where the chunk ends\r\n")) << line << reply;
    EXPECT_TRUE(connection_.closed) << line;
  }
}

// What is announced counts, also where it decodes to less: here lines that end with CRCRLF.
TEST_F(SessionMessageTest, ChunksBeyondTheLimitAreTooBigHoweverTheyDecode) {
  options_.message_bytes_max = 300;
  Open(Kind::kSmtp);
  std::string chunk;
  for (int i = 0; i < 50; ++i) chunk += "\r\r\n";
  Envelope();
  EXPECT_TRUE(Talk("BDAT 150\r\n" + chunk).starts_with("250 "));
  EXPECT_TRUE(Talk("BDAT 150 LAST\r\n" + chunk).starts_with("250 "));
  Envelope();
  EXPECT_TRUE(Talk("BDAT 150\r\n" + chunk).starts_with("250 "));
  EXPECT_TRUE(Talk("BDAT 151 LAST\r\n" + chunk + "x").starts_with("552 5.3.4 "));
  Envelope();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Talk("BDAT 150\r\n" + std::string(150, '\r')).starts_with("250 "));
  }
  EXPECT_TRUE(Talk("BDAT 1\r\n\r").starts_with("552 5.3.4 "));
  EXPECT_EQ(service_.letters.size(), 1u);
}

TEST_F(SessionMessageTest, RsetInTheMiddleOfChunks) {
  Open(Kind::kSmtp);
  Envelope();
  Talk("BDAT 3\r\nabc");
  EXPECT_EQ(service_.open, 1);
  EXPECT_EQ(Talk("RSET\r\n"), "250 2.0.0 Ok\r\n");
  EXPECT_EQ(service_.open, 0);
  EXPECT_EQ(service_.letters.size(), 0u);
}

// ---- back pressure ----

TEST_F(SessionMessageTest, AFullStoreStopsTheReading) {
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

TEST_F(SessionMessageTest, WhatWaitsForTheReplyIsBounded) {
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

TEST_F(SessionMessageTest, AClientThatDoesNotReadIsNotRead) {
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

TEST_F(SessionMessageTest, TheClientGoesAwayAtAnyByte) {
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
    }
  }
}

// As TheClientGoesAwayAtAnyByte, but it waits for its answers.
TEST_F(SessionMessageTest, TheClientEndsItsSendingAtAnyByte) {
  for (size_t n = 0; n <= kStory.size(); ++n) {
    for (const bool one_read : {false, true}) {
      connection_ = {};
      service_.letters.clear();
      Open(Kind::kSmtp, false);
      for (size_t i = 0; i < n; i += one_read ? n : 1) session_->OnBytes(kStory.substr(i, one_read ? n : 1));
      EXPECT_TRUE(session_->OnInputEnd());
      service_.RunPosted();
      EXPECT_TRUE(connection_.closed) << n;
      EXPECT_EQ(service_.open, 0) << n;
      const std::string_view said = kStory.substr(0, n);
      const std::vector<std::string> lines = Lines(connection_.sent, "\r\n");
      size_t stored = 0;
      for (const std::string& line : lines) stored += line.starts_with("250 2.0.0 Stored") ? 1 : 0;
      const size_t whole = (said.find("\r\n.\r\n") != std::string_view::npos ? 1u : 0u) +
                           (said.find("LAST\r\nc") != std::string_view::npos ? 1u : 0u);
      EXPECT_EQ(stored, whole) << n;
      EXPECT_EQ(service_.letters.size(), whole) << n;
      session_.reset();
    }
  }
  EXPECT_TRUE(connection_.sent.ends_with("250 2.0.0 Ok\r\n")) << "NOOP behind the last message";
}

TEST_F(SessionMessageTest, TheDaemonStopsAtAnyByte) {
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

TEST_F(SessionMessageTest, AMessageThatIsBeingStoredIsAnsweredBeforeGoodbye) {
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
