#include "imap/envelope.h"

#include <gtest/gtest.h>

#include <string>

namespace gemel::imap {
namespace {

// The From list of a message that has this From.
std::string From(const std::string& value) {
  Envelope envelope;
  size_t left = 100;
  AddEnvelopeField(HeaderField{"From", value, 0, 0}, &envelope, &left);
  std::string out;
  AppendEnvelope(&out, envelope);
  const std::string begin = "(NIL NIL ";
  EXPECT_EQ(out.substr(0, begin.size()), begin);
  // From, Sender and Reply-To are the same.
  const size_t size = (out.size() - begin.size() - std::string("  NIL NIL NIL NIL NIL)").size()) / 3;
  return out.substr(begin.size(), size);
}

std::string Render(const std::string& header) {
  Envelope envelope;
  size_t left = 100;
  HeaderReader reader(header);
  HeaderField field;
  while (reader.Next(&field)) AddEnvelopeField(field, &envelope, &left);
  std::string out;
  AppendEnvelope(&out, envelope);
  return out;
}

TEST(Envelope, Addresses) {
  EXPECT_EQ(From("a@b.c"), R"(((NIL NIL "a" "b.c")))");
  EXPECT_EQ(From("A B <a@b.c>"), R"((("A B" NIL "a" "b.c")))");
  EXPECT_EQ(From("\"B, \\\"A\\\"\" <a@b.c>, d@e"), R"((("B, \"A\"" NIL "a" "b.c")(NIL NIL "d" "e")))");
  EXPECT_EQ(From("a@b.c (Comment (nested) \\) here)"), R"((("Comment (nested) ) here" NIL "a" "b.c")))");
  EXPECT_EQ(From("<@r1,@r2:a@b>"), R"(((NIL "@r1,@r2" "a" "b")))");
  EXPECT_EQ(From("\"quoted local\"@b"), R"(((NIL NIL "quoted local" "b")))");
  EXPECT_EQ(From("a . b @ c . d"), R"(((NIL NIL "a.b" "c.d")))");
  EXPECT_EQ(From("x@[127.0.0.1]"), R"(((NIL NIL "x" "[127.0.0.1]")))");
  EXPECT_EQ(From("=?utf-8?q?J=C3=B6?= <j@x>"), R"((("=?utf-8?q?J=C3=B6?=" NIL "j" "x")))");
  EXPECT_EQ(From("J\xf6 <j@x>"), "(({2}\r\nJ\xf6 NIL \"j\" \"x\"))");
}

TEST(Envelope, Groups) {
  EXPECT_EQ(From("undisclosed-recipients:;"), R"(((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)))");
  EXPECT_EQ(
      From("a@b, G: c@d, E <e@f>; , h@i"),
      R"(((NIL NIL "a" "b")(NIL NIL "G" NIL)(NIL NIL "c" "d")("E" NIL "e" "f")(NIL NIL NIL NIL)(NIL NIL "h" "i")))");
  EXPECT_EQ(From("G: c@d"), R"(((NIL NIL "G" NIL)(NIL NIL "c" "d")(NIL NIL NIL NIL)))");
}

// As Dovecot 2.3 shows them.
TEST(Envelope, BrokenAddresses) {
  EXPECT_EQ(From(""), "NIL");
  EXPECT_EQ(From("noone"), R"(((NIL NIL "noone" "MISSING_DOMAIN")))");
  EXPECT_EQ(From("No One"), R"((("No One" NIL "MISSING_MAILBOX" "MISSING_DOMAIN")))");
  EXPECT_EQ(From("Name <>"), R"((("Name" NIL "MISSING_MAILBOX" "MISSING_DOMAIN")))");
  EXPECT_EQ(From("Name <a@b"), R"((("Name" NIL "a" "SYNTAX_ERROR")))");
  EXPECT_EQ(From("<@r a@b>"), R"(((NIL "INVALID_ROUTE" "MISSING_MAILBOX" "SYNTAX_ERROR")))");
}

TEST(Envelope, AddressesAreBounded) {
  std::string many, groups;
  for (int i = 0; i < 10000; ++i) many += "a@b,";
  for (int i = 0; i < 10000; ++i) groups += "g:;,";
  EXPECT_EQ(ParseAddresses(many, 50).size(), 50U);
  EXPECT_EQ(ParseAddresses(groups, 50).size(), 100U);
  EXPECT_EQ(ParseAddresses("a@b", 0).size(), 0U);
}

TEST(Envelope, Fields) {
  EXPECT_EQ(
      Render("DATE: Mon, 1 Jan 2024 00:00:00 +0000\nSubject:  folded\n\tand\t \tblank \nTo: t@x\nCc: c@x\nBcc: b@x\n"
             "Sender: s@x\nFrom: f@x\nReply-To: r@x\nIn-Reply-To: <1@x>\nMessage-ID:\n <2@x>\n\nSubject: body\n"),
      R"(("Mon, 1 Jan 2024 00:00:00 +0000" "folded and blank" ((NIL NIL "f" "x")) ((NIL NIL "s" "x")) )"
      R"(((NIL NIL "r" "x")) ((NIL NIL "t" "x")) ((NIL NIL "c" "x")) ((NIL NIL "b" "x")) "<1@x>" "<2@x>"))");
  // RFC 3501, 7.4.2: what is there but empty is "" for texts and NIL for addresses; Sender and Reply-To are From's.
  EXPECT_EQ(Render("Subject:\nFrom: f@x\nSender:\nTo:\n"),
            R"((NIL "" ((NIL NIL "f" "x")) ((NIL NIL "f" "x")) ((NIL NIL "f" "x")) NIL NIL NIL NIL NIL))");
  // A second From cannot hide behind the first, nor the first behind it.
  EXPECT_EQ(Render("From: a@x\nTo: t@x\nFrom: b@x\nSender: s@x\nReply-To: s@x\n"),
            R"((NIL NIL ((NIL NIL "a" "x")(NIL NIL "b" "x")) ((NIL NIL "s" "x")) ((NIL NIL "s" "x")) )"
            R"(((NIL NIL "t" "x")) NIL NIL NIL NIL))");
}

TEST(Envelope, Strings) {
  EXPECT_EQ(Render("Message-ID: \"\"\"\"\n").substr(37), R"("\"\"\"\"")"
                                                         ")");
  EXPECT_EQ(Render("Message-ID: \"\"\"\"\"\n").substr(37), "{5}\r\n\"\"\"\"\")");
  EXPECT_EQ(Render(std::string("Message-ID: a\0b\n", 16)).substr(37),
            "{3}\r\na\x80"
            "b)");
}

TEST(Envelope, FieldsBackForSearch) {
  const std::string envelope = Render(
      "Date: d\nSubject: s \"q\" \\ \xc3\xa4\nFrom: A B <a@b>, G: x@y, z@y;, noone, Some Body\nMessage-ID: <m>\n");
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kDate), "d");
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kSubject), "s \"q\" \\ \xc3\xa4");
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kFrom), "A B <a@b>, G: x@y, z@y;, noone, Some Body");
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kTo), "");
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kInReplyTo), std::nullopt);
  EXPECT_EQ(FieldOfEnvelope(envelope, EnvelopeField::kMessageId), "<m>");
  for (size_t size = 0; size < envelope.size(); ++size) {
    EXPECT_EQ(FieldOfEnvelope(envelope.substr(0, size), EnvelopeField::kMessageId).has_value(),
              size + 1 >= envelope.size());
  }
}

}  // namespace
}  // namespace gemel::imap
