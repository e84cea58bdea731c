#include "imap/search_match.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "imap/decode.h"
#include "imap/internal_date.h"
#include "imap/test_body.h"

namespace gemel::imap {
namespace {

using Kind = SearchKey::Kind;

SearchKey Key(Kind kind, std::string text = "") {
  SearchKey key;
  key.kind = kind;
  key.text = std::move(text);
  return key;
}
SearchKey Header(std::string field, std::string text) {
  SearchKey key = Key(Kind::kHeader, std::move(text));
  key.field = std::move(field);
  return key;
}
SearchKey Day(Kind kind, std::string_view date) {
  SearchKey key = Key(kind);
  key.day = *ParseSearchDate(date);
  return key;
}
SearchKey Tree(Kind kind, std::vector<SearchKey> children) {
  SearchKey key = Key(kind);
  key.children = std::move(children);
  return key;
}
SearchKey FlagKey(journal::Flags flag) {
  SearchKey key = Key(Kind::kFlag);
  key.flag = flag;
  return key;
}

// One message and what may be known of it; says which stage decided.
class SearchMatch : public testing::Test {
 protected:
  SearchMatch() {
    mailbox_.keywords = {"$Junk", "work"};
    mailbox_.keyword_sets = {{}, {1}};
    message_.uid = 40;
    message_.internal_date_s = *ParseInternalDate("10-Mar-2024 23:30:00 +0000");
    message_.crlf_bytes = 1000;
    message_.flags = journal::kSeen | journal::kFlagged;
    message_.keywords = 1;
  }

  // "yes", "no" from memory; "yes*" from the envelope; "yes**" from the file; or the error.
  std::string Ask(SearchKey key, const std::string& charset = "") {
    auto matcher = SearchMatcher::Compile(SearchProgram{charset, std::move(key)}, 7, 40);
    if (absl::IsUnimplemented(matcher.status())) return "bad charset";
    if (!matcher.ok()) return std::string(matcher.status().message());
    SearchMessage at;
    at.number = 7;
    at.message = &message_;
    at.mailbox = &mailbox_;
    at.recent = true;
    std::vector<Truth> found = matcher->NothingFound();
    if (const Truth t = matcher->Match(at, found); t != Truth::kUnknown) return t == Truth::kYes ? "yes" : "no";
    const auto body = std::make_shared<MemoryMessage>(text_);
    auto structure = Structure::Parse(*body);
    // In the smallest steps: every piece of the work is one.
    EnvelopeScan envelope(matcher->text_keys(), structure->envelope());
    for (StepBudget budget(1); !envelope.Step(budget, &found); budget = StepBudget(1)) {
    }
    if (const Truth t = matcher->Match(at, found); t != Truth::kUnknown) return t == Truth::kYes ? "yes*" : "no*";
    FileScan file(matcher->text_keys(), body, *structure);
    while (true) {
      StepBudget budget(1);
      const auto end = file.Step(budget, &found);
      EXPECT_TRUE(end.ok());
      if (const Truth t = matcher->Match(at, found); t != Truth::kUnknown) return t == Truth::kYes ? "yes**" : "no**";
      if (!end.ok() || *end) return "unknown at the end";
    }
  }

  maildir::Message message_;
  maildir::Mailbox mailbox_;
  std::string text_ = "Subject: x\n\nbody\n";
};

TEST_F(SearchMatch, FromMemory) {
  EXPECT_EQ(Ask(Key(Kind::kAll)), "yes");
  EXPECT_EQ(Ask(FlagKey(journal::kSeen)), "yes");
  EXPECT_EQ(Ask(FlagKey(journal::kDeleted)), "no");
  EXPECT_EQ(Ask(Key(Kind::kRecent)), "yes");
  EXPECT_EQ(Ask(Key(Kind::kKeyword, "WORK")), "yes");
  EXPECT_EQ(Ask(Key(Kind::kKeyword, "$Junk")), "no");
  SearchKey larger = Key(Kind::kLarger);
  larger.bytes = 999;
  EXPECT_EQ(Ask(larger), "yes");
  larger.bytes = 1000;
  EXPECT_EQ(Ask(larger), "no");
  SearchKey smaller = Key(Kind::kSmaller);
  smaller.bytes = 1000;
  EXPECT_EQ(Ask(smaller), "no");
  smaller.bytes = 1001;
  EXPECT_EQ(Ask(smaller), "yes");
}

TEST_F(SearchMatch, InternalDates) {
  EXPECT_EQ(Ask(Day(Kind::kOn, "10-Mar-2024")), "yes");
  EXPECT_EQ(Ask(Day(Kind::kOn, "11-Mar-2024")), "no");
  EXPECT_EQ(Ask(Day(Kind::kBefore, "10-Mar-2024")), "no");
  EXPECT_EQ(Ask(Day(Kind::kBefore, "11-Mar-2024")), "yes");
  EXPECT_EQ(Ask(Day(Kind::kSince, "10-Mar-2024")), "yes");
  EXPECT_EQ(Ask(Day(Kind::kSince, "11-Mar-2024")), "no");
}

TEST_F(SearchMatch, Sets) {
  SearchKey set = Key(Kind::kSequenceSet);
  set.set = *SequenceSet::Parse("1:3,*");
  EXPECT_EQ(Ask(set), "yes");
  set.set = *SequenceSet::Parse("1:6");
  EXPECT_EQ(Ask(set), "no");
  SearchKey uids = Key(Kind::kUidSet);
  uids.set = *SequenceSet::Parse("50:*");  // "*" is 40, so 40:50
  EXPECT_EQ(Ask(uids), "yes");
}

TEST_F(SearchMatch, LogicAsksForNoMoreThanItNeeds) {
  const SearchKey yes = Key(Kind::kAll), no = FlagKey(journal::kDeleted);
  const SearchKey subject = Key(Kind::kSubject, "x"), body = Key(Kind::kBody, "body");
  EXPECT_EQ(Ask(Tree(Kind::kAnd, {})), "yes");
  EXPECT_EQ(Ask(Tree(Kind::kAnd, {body, subject, no})), "no");
  EXPECT_EQ(Ask(Tree(Kind::kOr, {body, yes})), "yes");
  EXPECT_EQ(Ask(Tree(Kind::kOr, {body, subject})), "yes*");
  EXPECT_EQ(Ask(Tree(Kind::kAnd, {body, subject})), "yes**");
  EXPECT_EQ(Ask(Tree(Kind::kAnd, {body, Tree(Kind::kNot, {subject})})), "no*");
  EXPECT_EQ(Ask(Tree(Kind::kNot, {no})), "yes");
  EXPECT_EQ(Ask(Tree(Kind::kNot, {body})), "no**");
  EXPECT_EQ(Ask(Tree(Kind::kNot, {Key(Kind::kBody, "absent")})), "yes**");
  EXPECT_EQ(Ask(Tree(Kind::kOr, {Key(Kind::kBody, "absent"), Key(Kind::kText, "subject: X")})), "yes**");
}

TEST_F(SearchMatch, Envelope) {
  text_ =
      "From: =?iso-8859-1?Q?J=F6rg?= <joerg@example.org>\nTo: Some Body <s@b>, g: x@y;\nCc: c@d\nBcc: e@f\n"
      "Subject: =?UTF-8?B?R3LDvMOfZQ==?=\n =?UTF-8?Q?_aus_K=C3=B6ln?= and  more\nDate: Sun, 10 Mar 2024 23:59:00 "
      "-1100\n"
      "Message-ID: <Abc@x>\n\n";
  EXPECT_EQ(Ask(Key(Kind::kFrom, "j\xc3\xb6rg <JOERG@")), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kFrom, "missing_")), "no*");
  EXPECT_EQ(Ask(Key(Kind::kTo, "x@Y")), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kTo, "c@d")), "no*");
  EXPECT_EQ(Ask(Key(Kind::kCc, "c@d")), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kBcc, "e@f")), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kBcc, "")), "yes");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "GR\xc3\x9cSSE AUS K\xc3\x96LN")), "yes*");  // ß is ss
  EXPECT_EQ(Ask(Key(Kind::kSubject, "and  more")), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "UTF-8")), "no*");
  EXPECT_EQ(Ask(Header("message-id", "<abc@")), "yes*");
  EXPECT_EQ(Ask(Header("In-Reply-To", "")), "no*");
  EXPECT_EQ(Ask(Header("Message-ID", "")), "yes*");
  // The day as written there, whatever the zone.
  EXPECT_EQ(Ask(Day(Kind::kSentOn, "10-Mar-2024")), "yes*");
  EXPECT_EQ(Ask(Day(Kind::kSentSince, "11-Mar-2024")), "no*");
  EXPECT_EQ(Ask(Day(Kind::kSentBefore, "11-Mar-2024")), "yes*");
}

TEST_F(SearchMatch, HeaderFields) {
  text_ = "X-Spam: Yes, =?utf-8?q?=C3=A4?=\nx-spam: second\nReceived: a\n\tb\n\nX-Other: in body\n";
  EXPECT_EQ(Ask(Header("X-SPAM", "yes, \xc3\x84")), "yes**");
  EXPECT_EQ(Ask(Header("x-spam", "SECOND")), "yes**");
  EXPECT_EQ(Ask(Header("x-spam", "")), "yes**");
  EXPECT_EQ(Ask(Header("x-other", "")), "no**");
  EXPECT_EQ(Ask(Header("received", "a\tb")), "yes**");
}

TEST_F(SearchMatch, DecodedBodies) {
  text_ =
      "Subject: main\nX: mainheader\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; "
      "charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\nX: partheader\n\nGr=FC=DFe an=\n alle\n--b\n"
      "Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\nPGI+xIznaXQ8L2I+IMSMYXU=\n--b\n"
      "Content-Type: application/x\n\nbinarywords\n--b\nContent-Type: message/rfc822\n\nSubject: nestedsubject\n\n"
      "nestedbody\n--b--\n";
  EXPECT_EQ(Ask(Key(Kind::kBody,
                    "gr\xc3\xbc\xc3\x9f"
                    "e an alle")),
            "yes**");
  EXPECT_EQ(Ask(Key(Kind::kBody,
                    "\xc4\x8d"
                    "au")),
            "yes**");
  EXPECT_EQ(Ask(Key(Kind::kBody, "binarywords")), "no**");
  EXPECT_EQ(Ask(Key(Kind::kBody, "mainheader")), "no**");
  EXPECT_EQ(Ask(Key(Kind::kBody, "partheader")), "no**");
  EXPECT_EQ(Ask(Key(Kind::kBody, "NestedBody")), "yes**");
  EXPECT_EQ(Ask(Key(Kind::kBody, "nestedsubject")), "yes**");
  EXPECT_EQ(Ask(Key(Kind::kText, "X: mainheader")), "yes**");
  EXPECT_EQ(Ask(Key(Kind::kText, "partheader")), "yes**");
  EXPECT_EQ(Ask(Key(Kind::kText, "nestedbody")), "yes**");
  EXPECT_EQ(Ask(Key(Kind::kText, "absent")), "no**");
  EXPECT_EQ(Ask(Key(Kind::kText, "")), "yes");
}

// A character, and the text looked for, cut by the pieces in which a file is read.
TEST_F(SearchMatch, AcrossPieces) {
  for (size_t fill = 64 * 1024 - 40; fill < 64 * 1024 + 10; ++fill) {
    text_ = "A: b\n\n" + std::string(fill, '.') + "\n\xc3\x84needle\xe2\x82\xac\n" + std::string(70000, '.');
    EXPECT_EQ(Ask(Key(Kind::kBody, "\xc3\xa4needle\xe2\x82\xac")), "yes**") << fill;
  }
}

TEST_F(SearchMatch, Charsets) {
  text_ = "Subject: =?utf-8?q?=C3=A4=E2=82=AC?=\n\n";
  EXPECT_EQ(Ask(Key(Kind::kSubject, "\xe4"), "ISO-8859-1"), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "\xe4\xa4"), "ISO-8859-15"), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "\xc3\x84"), "UTF-8"), "yes*");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "\xe4"), ""), "yes*");  // no UTF-8: taken for Latin-1
  EXPECT_EQ(Ask(Key(Kind::kSubject, "x"), "X-NO-SUCH"), "bad charset");
  EXPECT_EQ(Ask(Key(Kind::kAll), "X-NO-SUCH"), "bad charset");
  EXPECT_EQ(Ask(Key(Kind::kAll), "../../tmp/evil"), "bad charset");
  EXPECT_EQ(Ask(Key(Kind::kSubject, "\xff"), "ISO-2022-JP"), "A text to search for is not lawful in its charset.");
}

TEST(Decode, FoldCase) {
  EXPECT_EQ(FoldCase("ABC z"), "abc z");
  EXPECT_EQ(FoldCase("\xce\xa3\xcf\x82"), "\xcf\x83\xcf\x83");  // sigma, final sigma
  EXPECT_EQ(FoldCase("\xd0\x96"), "\xd0\xb6");                  // Cyrillic
  EXPECT_EQ(FoldCase("\xc3\xa9"), FoldCase("e\xcc\x81"));       // composed and not
  EXPECT_EQ(FoldCase("\xe9"), FoldCase("\xc3\xa9"));            // Latin-1
  EXPECT_EQ(FoldCase("\xef\xbc\xa1"), "a");                     // full width
}

}  // namespace
}  // namespace gemel::imap
