// The grammar of commands, and where they begin and end.
#include "imap/command_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/append_run.h"
#include "imap/command_reader.h"
#include "imap/list_pattern.h"
#include "imap/message_view.h"
#include "imap/test_body.h"

namespace gemel::imap {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Body>
Body Parsed(std::string_view bytes) {
  ParseResult result = ParseCommand(bytes);
  EXPECT_TRUE(result.command) << bytes << ": " << result.error;
  if (!result.command || !std::holds_alternative<Body>(result.command->body)) {
    ADD_FAILURE() << bytes << " is another command";
    return {};
  }
  return std::get<Body>(result.command->body);
}

std::string ErrorOf(std::string_view bytes) {
  const ParseResult result = ParseCommand(bytes);
  EXPECT_FALSE(result.command) << bytes;
  return result.error;
}

TEST(CommandParser, Strings) {
  EXPECT_EQ(Parsed<SelectCommand>("a select atom]").mailbox, "atom]");
  EXPECT_EQ(Parsed<SelectCommand>("a SELECT \"q \\\" \\\\ d\"").mailbox, "q \" \\ d");
  EXPECT_EQ(Parsed<SelectCommand>("a SELECT {4}\r\nl\r\nt").mailbox, "l\r\nt");
  EXPECT_EQ(Parsed<SelectCommand>("a SELECT {0+}\r\n").mailbox, "");
  EXPECT_EQ(Parsed<SelectCommand>("a SELECT x  ").mailbox, "x");
  for (const char* bad : {"a SELECT", "a SELECT ", "a  SELECT x", "a SELECT \"x", "a SELECT \"\\x\"", "a SELECT x y",
                          "a SELECT {4}\r\nabc", "a SELECT {1}x", "a SELECT \xc3\xa4", "+ SELECT x", "a SELECT x%"}) {
    EXPECT_NE(ErrorOf(bad), "") << bad;
  }
  EXPECT_NE(ErrorOf(std::string_view("a SELECT \"\0\"", 12)), "");
}

TEST(CommandParser, SequenceSets) {
  const auto set = Parsed<FetchCommand>("a FETCH 4,2:*,7:5 UID").set;
  EXPECT_THAT(set.ranges(), ElementsAre(SequenceSet::Range{4, 4}, SequenceSet::Range{2, 0}, SequenceSet::Range{7, 5}));
  EXPECT_THAT(set.Resolved(3).ranges(), ElementsAre(SequenceSet::Range{2, 7}));
  EXPECT_TRUE(set.Resolved(3).Contains(6));
  EXPECT_FALSE(set.Resolved(3).Contains(1));
  EXPECT_TRUE(set.Resolved(0).empty());
  for (const char* bad : {"", "0", "1:", ",", "1,,2", "1:2:3", "4294967296", "a", "1 2", "-1"}) {
    EXPECT_FALSE(SequenceSet::Parse(bad)) << bad;
  }
  EXPECT_EQ(SequenceSet::Render({1, 2, 3, 5, 9, 10}), "1:3,5,9:10");
  EXPECT_EQ(SequenceSet::Render({}), "");
}

TEST(CommandParser, FetchItems) {
  const auto items = Parsed<FetchCommand>(
                         "a UID FETCH 1 (FLAGS BODY BODY[] BODY.PEEK[1.2.MIME]<5.10> "
                         "BODY[3.HEADER.FIELDS (To \"X Y\")] body[header] RFC822.TEXT)")
                         .items;
  ASSERT_EQ(items.size(), 7);
  EXPECT_EQ(items[1].kind, FetchItem::Kind::kBody);
  EXPECT_EQ(items[2].kind, FetchItem::Kind::kSection);
  EXPECT_FALSE(items[2].peek);
  EXPECT_EQ(items[3].section.text, SectionSpec::Text::kMime);
  EXPECT_THAT(items[3].section.part, ElementsAre(1, 2));
  EXPECT_EQ(items[3].partial->offset, 5);
  EXPECT_EQ(items[3].partial->length, 10);
  EXPECT_TRUE(items[3].peek);
  EXPECT_THAT(items[4].section.fields, ElementsAre("To", "X Y"));
  EXPECT_EQ(items[5].section.text, SectionSpec::Text::kHeader);
  EXPECT_EQ(items[6].section.text, SectionSpec::Text::kText);
  EXPECT_EQ(Parsed<FetchCommand>("a FETCH 1 ALL").items.size(), 4);
  EXPECT_EQ(Parsed<FetchCommand>("a FETCH 1 full").items.size(), 5);
  for (const char* bad : {"()", "(ALL)", "BODY[", "BODY[0]", "BODY[MIME]", "BODY[1.]", "BODY[HEADER.FIELDS]",
                          "BODY[HEADER.FIELDS ()]", "BODY[]<1>", "BODY[]<1.0>", "BODY.PEEK", "FLAGS UID", "X"}) {
    EXPECT_NE(ErrorOf(std::string("a FETCH 1 ") + bad), "") << bad;
  }
}

TEST(CommandParser, SearchKeys) {
  using Kind = SearchKey::Kind;
  const auto search =
      Parsed<SearchCommand>("a SEARCH CHARSET utf-8 1:3 UNSEEN OR (FROM x SINCE 1-Feb-1994) NOT KEYWORD k NEW");
  EXPECT_EQ(search.program.charset, "UTF-8");
  const SearchKey& key = search.program.key;
  ASSERT_EQ(key.kind, Kind::kAnd);
  ASSERT_EQ(key.children.size(), 4);
  EXPECT_EQ(key.children[0].kind, Kind::kSequenceSet);
  EXPECT_EQ(key.children[1].kind, Kind::kNot);
  EXPECT_EQ(key.children[1].children[0].flag, journal::kSeen);
  ASSERT_EQ(key.children[2].kind, Kind::kOr);
  EXPECT_EQ(key.children[2].children[0].children[1].day, 8797);
  EXPECT_EQ(key.children[2].children[1].kind, Kind::kNot);
  EXPECT_EQ(key.children[3].kind, Kind::kAnd);

  std::string deep = "ALL";
  for (int i = 1; i < kSearchDepthMax; ++i) deep = "NOT " + deep;
  EXPECT_EQ(Parsed<SearchCommand>("a SEARCH " + deep).program.key.kind, Kind::kNot);
  EXPECT_THAT(ErrorOf("a SEARCH NOT " + deep), HasSubstr("deep"));
  EXPECT_THAT(ErrorOf("a SEARCH " + std::string(10'000, '(')), HasSubstr("deep"));
  for (const char* bad : {"", "FOO", "OR SEEN", "NOT", "(SEEN", "SEEN)", "SINCE 32-Jan-2024", "SINCE 29-Feb-2023",
                          "HEADER x", "LARGER x", "UID", "CHARSET x", "SEEN,ALL"}) {
    EXPECT_NE(ErrorOf(std::string("a SEARCH ") + bad), "") << bad;
  }
}

TEST(CommandParser, FlagsToStore) {
  const auto store = Parsed<StoreCommand>("a STORE 2 -FLAGS.silent (\\seen $Work $work \\Recent)");
  EXPECT_EQ(store.op, journal::FlagOp::kRemove);
  EXPECT_TRUE(store.silent);
  EXPECT_EQ(store.flags, journal::kSeen);
  EXPECT_THAT(store.keywords, ElementsAre("$Work"));
  EXPECT_EQ(Parsed<StoreCommand>("a UID STORE 2 FLAGS \\Draft \\Deleted").flags, journal::kDraft | journal::kDeleted);
  EXPECT_THAT(ErrorOf("a STORE 1 FLAGS (\\Foo)"), HasSubstr("unknown system flag"));
  EXPECT_NE(ErrorOf("a STORE 1 FLAGS (a"), "");
  EXPECT_NE(ErrorOf("a STORE 1 FLAG (a)"), "");
}

// Whatever BODYSTRUCTURE shows can be asked for.
TEST(CommandParser, SectionsReachAsDeepAsStructures) {
  std::string text;
  for (int i = 0; i < 120; ++i) {
    const std::string boundary = "b" + std::to_string(i) + "e";
    text += "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n--" + boundary + "\n";
  }
  const auto structure = Structure::Parse(MemoryMessage(text + "\nleaf\n"));
  ASSERT_TRUE(structure.ok());
  std::string path;
  for (const MimePart* part = &structure->parts()[0]; !part->children.empty();
       part = &structure->parts()[part->children[0]]) {
    path += path.empty() ? "1" : ".1";
  }
  EXPECT_GT(path.size(), 2 * 90);
  const auto items = Parsed<FetchCommand>("a FETCH 1 BODY[" + path + ".MIME]").items;
  ASSERT_EQ(items.size(), 1);
  EXPECT_EQ(items[0].section.part.size(), (path.size() + 1) / 2);
  EXPECT_THAT(ErrorOf("a FETCH 1 BODY[" + path + ".1.1]"), HasSubstr("too deep"));
}

TEST(CommandParser, WhatIsUnknown) {
  EXPECT_EQ(ErrorOf("a XYZZY"), "unknown command");
  EXPECT_EQ(ParseCommand("tag XYZZY").tag, "tag");
  EXPECT_EQ(ParseCommand("").tag, "*");
  EXPECT_NE(ErrorOf("a UID NOOP"), "");
  EXPECT_NE(ErrorOf("a APPEND INBOX \"text\""), "");
}

// ---- framing ----

std::vector<std::string> Story(CommandReader& reader) {
  std::vector<std::string> story;
  while (true) {
    const CommandReader::Item item = reader.Next();
    switch (item.kind) {
      case CommandReader::Kind::kNeedMore:
        return story;
      case CommandReader::Kind::kContinue:
        story.emplace_back("+");
        break;
      case CommandReader::Kind::kCommand:
        story.push_back(item.parsed.tag + (item.parsed.command ? " good" : " bad"));
        break;
      case CommandReader::Kind::kAppend:
        story.push_back(item.parsed.tag + " append");
        reader.AcceptLiteral();
        break;
      case CommandReader::Kind::kAppendBytes:
        story.emplace_back(item.bytes);
        break;
      case CommandReader::Kind::kAppendEnd:
        story.push_back(item.parsed.error.empty() ? "end" : "bad end");
        break;
    }
  }
}

TEST(CommandReader, ByteByByteIsTheSame) {
  const std::string bytes = "a LOGIN {3}\r\nann {4+}\r\n\r\n\"x\r\nb NOOP\nc FROB\r\n\r\nd SELECT {70000+}\r\n" +
                            std::string(70'000, '\n') + "{3+}\r\nabc\r\ne NOOP\r\n";
  std::vector<std::string> story;
  CommandReader slow;
  for (const char c : bytes) {
    slow.Feed({&c, 1});
    for (auto& line : Story(slow)) story.push_back(std::move(line));
  }
  EXPECT_THAT(story, ElementsAre("+", "a good", "b good", "c bad", "d bad", "e good"));
  CommandReader fast;
  fast.Feed(bytes);
  EXPECT_EQ(Story(fast), story);
  EXPECT_EQ(fast.buffered_bytes(), 0);
}

TEST(CommandReader, AppendPassesThrough) {
  CommandReader reader;
  reader.Feed("a APPEND {5}\r\nINBOX (\\Seen) {6+}\r\nabc");
  EXPECT_THAT(Story(reader), ElementsAre("+", "a append", "abc"));
  reader.Feed("d\r\n\r\nb NOOP\r\n");
  EXPECT_THAT(Story(reader), ElementsAre("d\r\n", "end", "b good"));
}

TEST(CommandReader, LongLinesAreCutAndForgotten) {
  CommandReader reader;
  size_t bad = 0;
  reader.Feed("a ");
  for (int i = 0; i < 1000; ++i) {
    reader.Feed(std::string(1000, 'x'));
    for (const std::string& line : Story(reader)) bad += line == "a bad" ? 1 : 100;
    EXPECT_LE(reader.buffered_bytes(), kLineBytesMax + 1000);
  }
  EXPECT_EQ(bad, 1);
  reader.Feed("\r\nb NOOP\r\n");
  EXPECT_THAT(Story(reader), ElementsAre("b good"));
}

TEST(CommandReader, ManyLiteralsAreBounded) {
  CommandReader reader;
  std::vector<std::string> story;
  reader.Feed("a SEARCH");
  for (int i = 0; i < 6; ++i) {
    reader.Feed(" SUBJECT {60000+}\r\n" + std::string(60'000, 'x'));
    for (auto& line : Story(reader)) story.push_back(std::move(line));
  }
  reader.Feed("\r\nb NOOP\r\n");
  for (auto& line : Story(reader)) story.push_back(std::move(line));
  EXPECT_THAT(story, ElementsAre("a bad", "b good"));
}

// Decision 8: CRLF, bare LF and CRCRLF end a line; every other CR stays.
TEST(LineEnds, AreTheSameHoweverTheyAreCut) {
  const std::string in = "a\r\nb\nc\r\r\nd\re\r\r\r\nf\r\rg\r";
  const std::string want = "a\nb\nc\nd\re\r\nf\r\rg\r";
  for (size_t piece = 1; piece <= in.size(); ++piece) {
    LineEnds line_ends;
    std::string out;
    for (size_t at = 0; at < in.size(); at += piece) line_ends.Append(std::string_view(in).substr(at, piece), &out);
    line_ends.Finish(&out);
    EXPECT_EQ(out, want) << piece;
  }
}

TEST(ListPattern, Wildcards) {
  EXPECT_TRUE(MatchesListPattern("*", "a/b"));
  EXPECT_FALSE(MatchesListPattern("%", "a/b"));
  EXPECT_TRUE(MatchesListPattern("%/%", "a/b"));
  EXPECT_TRUE(MatchesListPattern("a*b", "a/x/b"));
  EXPECT_FALSE(MatchesListPattern("a%b", "a/x/b"));
  EXPECT_TRUE(MatchesListPattern("inBox", "INBOX"));
  EXPECT_TRUE(MatchesListPattern("inbox/%", "INBOX/a"));
  EXPECT_FALSE(MatchesListPattern("Sent", "sent"));
  EXPECT_TRUE(MatchesListPattern("%%**", ""));
  EXPECT_FALSE(MatchesListPattern("", "a"));
  EXPECT_TRUE(MatchesListPattern("a%*%/b", "a/x/b"));
  EXPECT_FALSE(MatchesListPattern("a%%b", "a/b"));
  EXPECT_FALSE(MatchesListPattern("*abc*", "ab"));
  EXPECT_FALSE(MatchesListPattern(std::string(2000, '*') + "b", std::string(2000, 'a')));
}

}  // namespace
}  // namespace gemel::imap
