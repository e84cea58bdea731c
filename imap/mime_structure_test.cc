#include "imap/mime_structure.h"

#include <gtest/gtest.h>

#include <string>

#include "imap/test_body.h"

namespace gemel::imap {
namespace {

Structure Parse(const std::string& text) {
  auto structure = Structure::Parse(MemoryMessage(text));
  EXPECT_TRUE(structure.ok()) << structure.status();
  return *std::move(structure);
}

std::string Bytes(const std::string& text, const FileRange& range) {
  EXPECT_LE(range.begin, range.end);
  EXPECT_LE(range.end, text.size());
  const std::string bytes = text.substr(range.begin, range.bytes());
  EXPECT_EQ(static_cast<uint64_t>(std::count(bytes.begin(), bytes.end(), '\n')), range.newlines);
  return bytes;
}

TEST(Structure, PlainMessage) {
  const std::string text = "Subject: hi\nFrom: a@b\n\none\ntwo\n";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 1U);
  EXPECT_EQ(Bytes(text, s.parts()[0].header), "Subject: hi\nFrom: a@b\n\n");
  EXPECT_EQ(Bytes(text, s.parts()[0].body), "one\ntwo\n");
  EXPECT_EQ(s.body_structure(), R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL))");
  EXPECT_EQ(s.body(), R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2))");
  EXPECT_EQ(s.file().crlf_bytes(), text.size() + 5);
}

TEST(Structure, EmptyFileAndHeaderOnly) {
  const Structure empty = Parse("");
  EXPECT_EQ(empty.body(), R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0))");
  EXPECT_EQ(empty.envelope(), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
  const std::string text = "Subject: no end";
  const Structure s = Parse(text);
  EXPECT_EQ(Bytes(text, s.parts()[0].header), text);
  EXPECT_EQ(Bytes(text, s.parts()[0].body), "");
  EXPECT_EQ(s.envelope(), R"((NIL "no end" NIL NIL NIL NIL NIL NIL NIL NIL))");
}

TEST(Structure, Multipart) {
  const std::string text =
      "Content-Type: multipart/mixed; boundary=\"b 1\"\nContent-Language: de, en\n\npreamble\n--b 1\n\nfirst\n"
      "--b 1 \t\nContent-Type: image/PNG; name=x.png\nContent-Transfer-Encoding: BASE64\nContent-ID: <i@d>\n"
      "Content-Description: a picture\nContent-MD5: Q2hlY2s=\nContent-Location: http://x/\n"
      "Content-Disposition: attachment; filename=\"x \\\"y.png\"\n\nAAAA\n\n--b 1--\nepilogue\n--b 1\nstill\n";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 3U);
  EXPECT_EQ(s.parts()[0].children, (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(Bytes(text, s.parts()[1].header), "\n");
  EXPECT_EQ(Bytes(text, s.parts()[1].body), "first");
  EXPECT_EQ(Bytes(text, s.parts()[2].body), "AAAA\n");
  EXPECT_EQ(Bytes(text, s.parts()[0].body), text.substr(text.find("preamble")));
  EXPECT_EQ(
      s.body_structure(),
      R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL))"
      R"(("image" "PNG" ("name" "x.png") "<i@d>" "a picture" "BASE64" 6 "Q2hlY2s=" )"
      R"(("attachment" ("filename" "x \"y.png")) NIL "http://x/") "mixed" ("boundary" "b 1") NIL ("de" "en") NIL))");
  EXPECT_EQ(s.body(), R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0))"
                      R"(("image" "PNG" ("name" "x.png") "<i@d>" "a picture" "BASE64" 6) "mixed"))");
}

TEST(Structure, NestedMessageHasEnvelope) {
  const std::string inner =
      "From: Me <me@x.y>\nSubject: in\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\na\n--i--";
  const std::string text =
      "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n" + inner + "\n--o--\n";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 4U);
  EXPECT_EQ(s.parts()[1].kind, MimePart::Kind::kMessage);
  EXPECT_EQ(Bytes(text, s.parts()[1].body), inner);
  EXPECT_EQ(Bytes(text, s.parts()[3].body), "a");
  EXPECT_EQ(
      s.body(),
      R"((("message" "rfc822" NIL NIL NIL "7bit" )" + std::to_string(s.parts()[1].body.crlf_bytes()) +
          R"( (NIL "in" (("Me" NIL "me" "x.y")) (("Me" NIL "me" "x.y")) (("Me" NIL "me" "x.y")) NIL NIL NIL NIL NIL) )"
          R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) "alternative") 7) "mixed"))");
}

TEST(Structure, DigestPartsAreMessages) {
  const Structure s = Parse(
      "Content-Type: multipart/digest; boundary=d\n\n--d\n\nSubject: one\n\nbody\n--d\n"
      "Content-Type: text/plain\n\nplain\n--d--\n");
  ASSERT_EQ(s.parts().size(), 4U);
  EXPECT_EQ(s.parts()[1].kind, MimePart::Kind::kMessage);
  EXPECT_EQ(s.parts()[3].kind, MimePart::Kind::kLeaf);
  EXPECT_NE(s.body().find(R"((NIL "one" NIL)"), std::string::npos);
}

// RFC 2046, 5.1.1: a boundary may begin with another, and an outer one ends inner parts.
TEST(Structure, BoundariesThatBeginWithOneAnother) {
  const std::string text =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\n\nin 1\n"
      "--bb\n\nin 2\n--bb--\n--b\n\nout\n--b--\n";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 5U);
  EXPECT_EQ(s.parts()[0].children, (std::vector<uint32_t>{1, 4}));
  EXPECT_EQ(s.parts()[1].children, (std::vector<uint32_t>{2, 3}));
  EXPECT_EQ(Bytes(text, s.parts()[3].body), "in 2");
  EXPECT_EQ(Bytes(text, s.parts()[4].body), "out");
}

TEST(Structure, OuterBoundaryEndsWhatIsOpen) {
  const std::string text =
      "Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/mixed; boundary=in\n\n--in\n"
      "Content-Type: message/rfc822\n\nSubject: cut\n--out\n\nnext\n";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 5U);
  EXPECT_EQ(s.parts()[0].children, (std::vector<uint32_t>{1, 4}));
  EXPECT_EQ(Bytes(text, s.parts()[3].header), "Subject: cut");
  EXPECT_EQ(Bytes(text, s.parts()[2].body), "Subject: cut");
  EXPECT_EQ(Bytes(text, s.parts()[4].body), "next\n");
}

TEST(Structure, EmptyParts) {
  const std::string text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\nX: y\n\n--b\nX: y\n--b";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 5U);  // nothing begins behind a boundary that has no end of line
  EXPECT_EQ(Bytes(text, s.parts()[1].header), "");
  EXPECT_EQ(Bytes(text, s.parts()[2].header), "\n");
  EXPECT_EQ(Bytes(text, s.parts()[3].header), "X: y\n\n");
  EXPECT_EQ(Bytes(text, s.parts()[4].header), "X: y");
  for (size_t i = 1; i < 5; ++i) EXPECT_EQ(Bytes(text, s.parts()[i].body), "") << i;
}

TEST(Structure, MultipartWithoutPartsOrBoundary) {
  const Structure none = Parse("Content-Type: multipart/mixed; boundary=b\n\nnothing\n");
  EXPECT_EQ(none.body(), R"((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed"))");
  const Structure unbounded = Parse("Content-Type: multipart/mixed\n\nnothing\n");
  EXPECT_EQ(unbounded.body(), R"(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 1))");
}

TEST(Structure, DepthIsBounded) {
  std::string text;
  for (int i = 0; i < 500; ++i) {
    text += "Content-Type: multipart/mixed; boundary=b" + std::to_string(i) + "x\n\n--b" + std::to_string(i) + "x\n";
  }
  EXPECT_EQ(Parse(text).parts().size(), kMimeDepthMax);
  std::string messages;
  for (int i = 0; i < 500; ++i) messages += "Content-Type: message/rfc822\n\n";
  EXPECT_EQ(Parse(messages).parts().size(), kMimeDepthMax);
}

TEST(Structure, NumberOfPartsIsBounded) {
  std::string text = "Content-Type: multipart/mixed; boundary=b\n\n";
  for (size_t i = 0; i < kMimePartsMax + 100; ++i) text += "--b\n\nx\n";
  const Structure s = Parse(text);
  EXPECT_EQ(s.parts().size(), kMimePartsMax);
  Bytes(text, s.parts().back().body);
}

TEST(Structure, LinesLongerThanABuffer) {
  const std::string longline(300000, 'x');
  const std::string text = "Subject: " + longline + "\nContent-Type: multipart/mixed; boundary=b\n\n" + longline +
                           "\n--b" + longline + "\n\n" + longline + "--b\n--b--";
  const Structure s = Parse(text);
  ASSERT_EQ(s.parts().size(), 2U);
  EXPECT_EQ(Bytes(text, s.parts()[1].header), "\n");
  EXPECT_EQ(Bytes(text, s.parts()[1].body), longline + "--b");
  EXPECT_EQ(s.parts()[0].body.newlines, 4U);
}

// 8-bit bytes in headers reach the client as they are, in literals (as with Dovecot 2.3).
TEST(Structure, EightBitHeaders) {
  const Structure s = Parse("Subject: gr\xc3\xbc\xc3\x9f\nContent-Type: text/plain; name=\"\xe4\"\n\n");
  EXPECT_EQ(s.envelope(), "(NIL {6}\r\ngr\xc3\xbc\xc3\x9f NIL NIL NIL NIL NIL NIL NIL NIL)");
  EXPECT_EQ(s.body(), "(\"text\" \"plain\" (\"name\" {1}\r\n\xe4 \"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
}

// RFC 2231 pieces are joined, and not decoded; a gap leaves them alone.
TEST(Structure, ParametersInPieces) {
  const Structure s =
      Parse("Content-Type: a/b;; x*1=\"two\"; x*0*=utf-8''on%20e; y*0=1; y*2=3; z==?utf-8?q?a?=; =; ;w=(c)v\n\n");
  EXPECT_EQ(s.body(),
            R"(("a" "b" ("z" "=?utf-8?q?a?=" "w" "v" "x*" "utf-8''on%20etwo" "y*0" "1" "y*2" "3") NIL NIL "7bit" 0))");
}

TEST(Structure, CacheRoundTrip) {
  std::string text =
      "Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
      "From: x\n\n";
  for (int i = 0; i < 20000; ++i) text += "line " + std::to_string(i) + "\n";
  text += "--b--\n";
  const Structure s = Parse(text);
  const std::string cached = s.ToCache();
  const auto back = Structure::FromCache(cached);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->parts(), s.parts());
  EXPECT_EQ(back->file(), s.file());
  EXPECT_EQ(back->body(), s.body());
  EXPECT_EQ(back->ToCache(), cached);
  EXPECT_EQ(back->NewlineMark(2 * kNewlineMarkBytes + 5), s.NewlineMark(2 * kNewlineMarkBytes + 5));
  const auto texts = CachedTexts::Open(cached);
  ASSERT_TRUE(texts);
  EXPECT_EQ(texts->envelope(), s.envelope());
  EXPECT_EQ(texts->body_structure(), s.body_structure());
  EXPECT_EQ(texts->body(), s.body());
}

TEST(Structure, DamagedCacheIsRefusedOrHarmless) {
  const std::string text =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nA: b\n\nc\n--b--\n";
  const std::string cached = Parse(text).ToCache();
  EXPECT_FALSE(Structure::FromCache(""));
  for (size_t size = 0; size < cached.size(); ++size) EXPECT_FALSE(Structure::FromCache(cached.substr(0, size)));
  EXPECT_FALSE(Structure::FromCache(cached + "x"));
  std::string other = cached;
  other[0] = 2;  // a later version
  EXPECT_FALSE(Structure::FromCache(other));
  for (size_t at = 0; at < cached.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = cached;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const auto s = Structure::FromCache(flipped);
      if (!s) continue;
      s->body();
      for (const MimePart& part : s->parts()) {
        EXPECT_LE(part.body.end, s->file().end);
        for (const uint32_t child : part.children) EXPECT_LT(child, s->parts().size());
      }
    }
  }
}

TEST(Structure, NewlineMarksAreExact) {
  std::string text;
  while (text.size() < 5 * kNewlineMarkBytes) text += std::string(text.size() % 97, 'y') + "\n";
  const Structure s = Parse(text);
  for (uint64_t at = 0; at < text.size(); at += 40001) {
    const auto [mark, newlines] = s.NewlineMark(at);
    EXPECT_LE(mark, at);
    EXPECT_LT(at - mark, kNewlineMarkBytes);
    EXPECT_EQ(newlines, static_cast<uint64_t>(std::count(text.begin(), text.begin() + static_cast<long>(mark), '\n')));
    const auto back = s.NewlineMarkForCrlf(mark + newlines);
    EXPECT_EQ(back.first, mark);
  }
}

TEST(Structure, AFailingDiskIsAnError) {
  MemoryMessage body("Subject: x\n\n" + std::string(200000, 'x'));
  body.fail_at_read = 1;
  EXPECT_EQ(Structure::Parse(body).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace gemel::imap
