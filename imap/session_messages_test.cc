// Messages: FETCH, STORE, COPY, SEARCH, EXPUNGE, and what is told of changes. Dialogues: "C: " is what the client
// sends, "S: " what it must get, line by line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "imap/test_dialogue.h"

namespace gemel::imap {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kMinute = 60'000;

class MessagesTest : public SessionTest {};
INSTANTIATE_TEST_SUITE_P(, MessagesTest, ::testing::Values(kHome, 1 - kHome), NameOfArrival);

TEST_P(MessagesTest, StoreTellsFlagsUnlessSilent) {
  Put("INBOX", kLetter);
  Put("INBOX", kLetter);
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

TEST_P(MessagesTest, StoreSilentStillTellsWhatSomebodyElseChanged) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  other.Say("t STORE 1 +FLAGS (\\Answered)\r\n");
  client_.Talk(R"(C: a STORE 1 +FLAGS.SILENT (\Flagged)
S: * 1 FETCH (FLAGS (\Answered \Flagged \Recent))
S: a OK Store completed.
)");
}

// RFC 3501, 7.4.1: message numbers stand still during FETCH, STORE and SEARCH.
TEST_P(MessagesTest, ExpungeIsToldOnlyWhereItMay) {
  for (int i = 0; i < 3; ++i) Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
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

TEST_P(MessagesTest, NewMessagesAreToldAtTheEndOfEveryCommand) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  Put("INBOX", kLetter);
  client_.Talk(R"(C: a FETCH 1:* FLAGS
S: * 1 EXISTS
S: * 1 RECENT
S: a OK Fetch completed.
C: b UID EXPUNGE 1:*
S: b OK Expunge completed.
)");
}

TEST_P(MessagesTest, IdleTellsAtOnce) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a IDLE\r\n"), "+ idling\r\n");
  Put("INBOX", kLetter);
  Settle();
  EXPECT_EQ(client_.Take(), "* 1 EXISTS\r\n* 1 RECENT\r\n");
  pair_.loop.RunFor(kMinute * 2);
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  EXPECT_EQ(client_.Say("done\r\nb NOOP\r\n"), "a OK Idle completed.\r\nb OK NOOP completed.\r\n");
  pair_.loop.RunFor(kMinute * 29);
  EXPECT_EQ(client_.Take(), "");
  pair_.loop.RunFor(kMinute);
  EXPECT_THAT(client_.Take(), StartsWith("* BYE Autologout"));
}

TEST_P(MessagesTest, IdleEndsWithAutologout) {
  client_.LogIn();
  client_.Say("a IDLE\r\n");
  for (int i = 0; i < 15; ++i) {
    pair_.loop.RunFor(kMinute * 2);
    EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  }
  pair_.loop.RunFor(kMinute * 2);
  EXPECT_THAT(client_.Take(), StartsWith("* BYE Autologout"));
  EXPECT_TRUE(client_.connection.closed);
}

// What it is to be told is kept as what has changed, not as text.
TEST_P(MessagesTest, IdleToWhoDoesNotReadIsBounded) {
  constexpr int kMessages = 500, kRounds = 40;
  for (int i = 0; i < kMessages; ++i) Deliver(kHome, kAnn, kLetter).IgnoreError();
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Say("a IDLE\r\n");
  client_.connection.holds_back = true;
  std::vector<engine::Uid> all;
  for (const engine::Message& message : Named("INBOX").messages) all.push_back(message.uid);
  ASSERT_EQ(all.size(), kMessages);
  const auto flag = [&](engine::FlagOp op) {
    ASSERT_TRUE(Run(Ann(), engine::StoreFlagsCommand{Named("INBOX").id, op, journal::kFlagged, {}, all}).status.ok());
    Settle();
  };
  const auto flag_often = [&] {
    for (int i = 0; i < kRounds; ++i) flag(i % 2 == 0 ? engine::FlagOp::kAdd : engine::FlagOp::kRemove);
    EXPECT_LT(client_.connection.unsent_max, 300 * 1024);
  };
  flag_often();
  // When it reads, it learns how things are now.
  client_.Take();
  client_.connection.Drain();
  Settle();
  const std::string news = client_.Take();
  EXPECT_THAT(news, StartsWith("* 1 FETCH (FLAGS (\\Recent))\r\n* 2 FETCH (FLAGS (\\Recent))\r\n"));
  EXPECT_EQ(std::count(news.begin(), news.end(), '\n'), kMessages);
  // Another command in between, and IDLE tells as before.
  flag_often();
  client_.Say("DONE\r\nb IDLE\r\n");
  client_.connection.Drain();
  client_.connection.Drain();
  EXPECT_THAT(client_.Take(), ::testing::EndsWith("+ idling\r\n"));
  flag(engine::FlagOp::kAdd);
  EXPECT_THAT(client_.Take(), StartsWith("* 1 FETCH (FLAGS (\\Flagged \\Recent))"));
}

TEST_P(MessagesTest, IdleEndsForWhoTakesNothing) {
  client_.LogIn();
  client_.Say("a IDLE\r\n");
  client_.connection.holds_back = true;
  pair_.loop.RunFor(kMinute * 2);
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  client_.connection.Drain();
  pair_.loop.RunFor(kMinute * 2);
  EXPECT_EQ(client_.Take(), "* OK Still here\r\n");
  pair_.loop.RunFor(kMinute * 2);
  EXPECT_TRUE(client_.connection.closed);
}

TEST_P(MessagesTest, FetchOfABodySetsSeen) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a FETCH 1 (BODY.PEEK[HEADER.FIELDS (SUBJECT)]<0.9> UID)\r\n"),
            "* 1 FETCH (BODY[HEADER.FIELDS (SUBJECT)]<0> {9}\r\nSubject:  UID 1)\r\na OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("b UID FETCH 1 BODY[TEXT]\r\n"),
            "* 1 FETCH (UID 1 BODY[TEXT] {10}\r\nAt five?\r\n FLAGS (\\Seen \\Recent))\r\nb OK Fetch completed.\r\n");
  EXPECT_EQ(client_.Say("c FETCH 1 (RFC822.SIZE BODY[9.1])\r\n"),
            "* 1 FETCH (RFC822.SIZE 144 BODY[9.1] NIL)\r\nc OK Fetch completed.\r\n");
}

TEST_P(MessagesTest, FetchEnvelopeFillsTheCache) {
  Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const std::string first = client_.Say("a FETCH 1 FULL\r\n");
  EXPECT_THAT(first, HasSubstr("ENVELOPE (\"Mon, 1 Jan 2024 10:00:00 +0000\" \"Tea\" ((\"Bob\" NIL \"bob\""));
  EXPECT_THAT(first, HasSubstr("BODY (\"text\" \"plain\""));
  EXPECT_TRUE(Ann().CachedStructures({Named("INBOX").messages.front().guid}).front().has_value());
  EXPECT_EQ(client_.Say("a FETCH 1 FULL\r\n"), first);
}

// Marked a little ahead of what is sent: a client that goes has not seen the rest.
TEST_P(MessagesTest, FetchMarksSeenAsItGoes) {
  const std::string large = kLetter + std::string(100'000, 'x') + "\n";
  constexpr size_t kMessages = 150;
  for (size_t i = 0; i < kMessages; ++i) Put("INBOX", large);
  const auto seen = [this] {
    const auto& messages = Named("INBOX").messages;
    return std::count_if(messages.begin(), messages.end(),
                         [](const auto& message) { return (message.flags & journal::kSeen) != 0; });
  };
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.connection.holds_back = true;
  std::string got = client_.Say("a FETCH 1:* BODY[]\r\n");
  EXPECT_EQ(seen(), 64);
  while (client_.connection.unsent > 0) {
    client_.connection.Drain();
    Settle();
    got += client_.Take();
  }
  EXPECT_EQ(seen(), kMessages);
  size_t told = 0;
  for (size_t at = 0; (at = got.find(" FLAGS (\\Seen \\Recent))\r\n", at)) != std::string::npos; ++at) ++told;
  EXPECT_EQ(told, kMessages);
  EXPECT_TRUE(got.ends_with("\r\na OK Fetch completed.\r\n"));
}

// A giant answer is made in slices: others run in between, and little is in memory when the client is slow.
TEST_P(MessagesTest, GiantFetchYieldsAndWaits) {
  std::string body = "Subject: big\n\n";
  for (int i = 0; i < 100'000; ++i) body += "All work and no play makes Jack a dull boy.\n";
  const uint64_t size = body.size() + 100'002;
  Put("INBOX", body);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.connection.holds_back = true;
  std::string got;
  const size_t steps_before = pair_.loop.steps_run;
  got += client_.Say("a FETCH 1 BODY.PEEK[]\r\nb NOOP\r\n");
  while (client_.connection.unsent > 0) {
    client_.connection.Drain();
    Settle();
    got += client_.Take();
  }
  EXPECT_LT(client_.connection.unsent_max, 600 * 1024);
  EXPECT_GT(pair_.loop.steps_run - steps_before, 10);
  EXPECT_THAT(got, StartsWith("* 1 FETCH (BODY[] {" + std::to_string(size) + "}\r\nSubject: big\r\n\r\nAll work"));
  EXPECT_TRUE(got.ends_with("dull boy.\r\n)\r\na OK Fetch completed.\r\nb OK NOOP completed.\r\n"));
}

TEST_P(MessagesTest, CopyAndMoveTellUids) {
  for (int i = 0; i < 4; ++i) Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a COPY 1,3:4 Archive
S: a OK [COPYUID {N} 1,3:4 1:3] Copy completed.
C: b UID MOVE 2,4 Archive
S: * OK [COPYUID {N} 2,4 4:5] Moved UIDs.
S: * 4 EXPUNGE
S: * 2 EXPUNGE
S: b OK Move completed.
C: c COPY 1 Nowhere
S: c NO [TRYCREATE] There is no such mailbox.
C: d STATUS Archive (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN)
S: * STATUS Archive (MESSAGES 5 RECENT 5 UIDNEXT 6 UIDVALIDITY {N} UNSEEN 5)
S: d OK Status completed.
C: e UID COPY 77 Archive
S: e OK Copy completed.
)");
}

// One keyword, whoever writes it how, and wherever its message goes.
TEST_P(MessagesTest, KeywordsAreTheSameInAnyCase) {
  for (int i = 0; i < 2; ++i) Put("INBOX", kLetter);
  Put("Archive", kLetter);
  client_.LogIn();
  client_.Say("s SELECT Archive\r\n");
  client_.Say("s STORE 1 +FLAGS.SILENT ($WORK)\r\n");
  client_.Say("s SELECT INBOX\r\n");
  client_.Say("s STORE 1:2 +FLAGS.SILENT ($Work)\r\n");
  client_.Talk(R"(C: a STORE 1 +FLAGS.SILENT ($wORK)
S: a OK Store completed.
C: b COPY 1 Archive
S: b OK [COPYUID {N} 1 2] Copy completed.
C: c MOVE 2 Archive
S: * OK [COPYUID {N} 2 3] Moved UIDs.
S: * 2 EXPUNGE
S: c OK Move completed.
C: d SELECT Archive
S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $WORK)
S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft $WORK \*)] Flags permitted.
S: * 3 EXISTS
S: * 2 RECENT
S: * OK [UNSEEN 1] First unseen.
S: * OK [UIDVALIDITY {N}] UIDs valid
S: * OK [UIDNEXT 4] Predicted next UID
S: d OK [READ-WRITE] Select completed.
C: e SEARCH KEYWORD $work
S: * SEARCH 1 2 3
S: e OK Search completed.
C: f STORE 1:3 -FLAGS.SILENT ($work)
S: f OK Store completed.
C: g FETCH 1:3 FLAGS
S: * 1 FETCH (FLAGS ())
S: * 2 FETCH (FLAGS (\Recent))
S: * 3 FETCH (FLAGS (\Recent))
S: g OK Fetch completed.
)");
}

// Two sessions give a new name at once: there is one of it.
TEST_P(MessagesTest, KeywordsAreTheSameInARace) {
  for (int i = 0; i < 2; ++i) Put("INBOX", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  const auto owned = Another();
  Client& other = *owned;
  other.LogIn();
  other.Say("s SELECT INBOX\r\n");
  client_.Write("a STORE 1 +FLAGS.SILENT (Later)\r\n");
  other.Write("a STORE 2 +FLAGS.SILENT (LATER)\r\n");
  Settle();
  client_.Take();
  EXPECT_THAT(Named("INBOX").keywords, ::testing::ElementsAre("Later"));
  EXPECT_EQ(client_.Say("b STORE 1:2 -FLAGS.SILENT (later)\r\n"), "b OK Store completed.\r\n");
  EXPECT_EQ(client_.Say("c FETCH 2 FLAGS\r\n"), "* 2 FETCH (FLAGS (\\Recent))\r\nc OK Fetch completed.\r\n");
}

TEST_P(MessagesTest, KeywordsOfAMailboxAreBounded) {
  for (int i = 0; i < 2; ++i) Put("INBOX", kLetter);
  Put("Archive", kLetter);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  for (size_t i = 0; i < maildir::kMailboxKeywordsMax; i += 50) {
    std::string flags;
    for (size_t k = i; k < i + 50; ++k) flags += (flags.empty() ? "k" : " k") + std::to_string(k);
    const std::string got = client_.Say("a STORE 1 FLAGS.SILENT (" + flags + ")\r\n");
    ASSERT_THAT(got, HasSubstr("a OK Store completed."));
    // That there may be more is said as long as it is so.
    EXPECT_EQ(got.find(" \\*)] Flags permitted.") != std::string::npos, i + 50 < maildir::kMailboxKeywordsMax);
  }
  client_.Talk(R"(C: a STORE 2 +FLAGS.SILENT (one-more)
S: a NO [LIMIT] ...
C: b STORE 2 FLAGS.SILENT (one-more)
S: b NO [LIMIT] ...
C: c STORE 2 +FLAGS.SILENT (K7)
S: c OK Store completed.
C: d STORE 2 -FLAGS.SILENT (one-more)
S: d OK Store completed.
C: e APPEND INBOX (one-more) {5}
S: e NO [LIMIT] ...
)");
  EXPECT_THAT(client_.Say("f APPEND INBOX (one-more) {4+}\r\na: b\r\n"), StartsWith("f NO [LIMIT] "));
  client_.Say("s SELECT Archive\r\ns STORE 1 +FLAGS.SILENT (one-more)\r\n");
  client_.Talk("C: g COPY 1 INBOX\nS: g NO [LIMIT] ...\n");
  EXPECT_EQ(Named("INBOX").keywords.size(), maildir::kMailboxKeywordsMax);
  EXPECT_EQ(Named("INBOX").messages.size(), 2);
}

TEST_P(MessagesTest, UidExpungeTakesOnlyItsSet) {
  for (int i = 0; i < 6; ++i) Put("INBOX", kLetter, i == 3 ? 0 : journal::kDeleted);
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Talk(R"(C: a UID EXPUNGE 2,4:5,99
S: * 5 EXPUNGE
S: * 2 EXPUNGE
S: a OK Expunge completed.
C: b UID EXPUNGE 77
S: b OK Expunge completed.
C: c EXPUNGE
S: * 4 EXPUNGE
S: * 2 EXPUNGE
S: * 1 EXPUNGE
S: c OK Expunge completed.
C: d FETCH 1:* UID
S: * 1 FETCH (UID 4)
S: d OK Fetch completed.
)");
}

// In a mailbox that was made since the start everything is recent, and for SEARCH, too.
TEST_P(MessagesTest, SearchKnowsWhatIsRecent) {
  Create("Work");
  Put("Work", kLetter, journal::kSeen);
  Put("Work", kLetter);
  client_.LogIn();
  client_.Say("s SELECT Work\r\n");
  client_.Talk(R"(C: a FETCH 1:2 FLAGS
S: * 1 FETCH (FLAGS (\Seen \Recent))
S: * 2 FETCH (FLAGS (\Recent))
S: a OK Fetch completed.
C: b SEARCH RECENT
S: * SEARCH 1 2
S: b OK Search completed.
C: c SEARCH NEW
S: * SEARCH 2
S: c OK Search completed.
C: d SEARCH OLD
S: * SEARCH
S: d OK Search completed.
)");
  Put("Work", kLetter);
  const auto owned = Another();
  Client& other = *owned;
  client_.Say("n NOOP\r\n");
  Put("Work", kLetter);
  other.LogIn();
  other.Say("s SELECT Work\r\n");
  other.Talk(R"(C: a SEARCH RECENT
S: * SEARCH 4
S: a OK Search completed.
C: b SEARCH OLD
S: * SEARCH 1 2 3
S: b OK Search completed.
)");
}

TEST_P(MessagesTest, SearchAnswersNumbersOrUids) {
  for (int i = 0; i < 3; ++i) Put("INBOX", kLetter, i == 1 ? journal::kSeen : 0);
  Put("INBOX", "Subject: =?utf-8?q?Caf=C3=A9?=\n\nx\n");
  ASSERT_TRUE(Run(Ann(), engine::StoreFlagsCommand{Named("INBOX").id, engine::FlagOp::kAdd, journal::kDeleted, {}, {1}})
                  .status.ok());
  ASSERT_TRUE(Run(Ann(), engine::ExpungeCommand{Named("INBOX").id, {1}}).status.ok());
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

// RFC 3501, 6.4.4: BADCHARSET is for a charset that is not known, and lists those that are.
TEST_P(MessagesTest, SearchSaysWhatIsWrong) {
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  EXPECT_EQ(client_.Say("a SEARCH CHARSET ISO-2022-JP SUBJECT {1+}\r\n\xff\r\n"),
            "a BAD A text to search for is not lawful in its charset.\r\n");
  std::string many = "b SEARCH";
  for (int i = 0; i <= 64; ++i) many += " BODY q" + std::to_string(i);
  EXPECT_THAT(client_.Say(many + "\r\n"), StartsWith("b NO [LIMIT] One SEARCH looks for at most 64 texts"));
}

TEST_P(MessagesTest, OthersAreServedWhileALetterIsSearched) {
  std::string text = "Subject: a\n\n";
  while (text.size() < 4 << 20) text += "some words in a line of text\n";
  Put("INBOX", text);
  const auto owned = Another();
  Client& other = *owned;
  for (Client* client : {&client_, &other}) client->LogIn();
  client_.Say("s SELECT INBOX\r\n");
  ASSERT_EQ(client_.Say("a SEARCH SUBJECT b\r\n"),
            "* SEARCH\r\na OK Search completed.\r\n");  // its structure is cached
  client_.Write("b SEARCH BODY nothing\r\n");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pair_.loop.RunOne());
    other.Write("n NOOP\r\n");
    EXPECT_EQ(other.Take(), "n OK NOOP completed.\r\n");
    EXPECT_EQ(client_.Take(), "");
  }
  Settle();
  EXPECT_EQ(client_.Take(), "* SEARCH\r\nb OK Search completed.\r\n");
}

// A step ends between two items when it has answered enough; no line may follow there.
TEST_P(MessagesTest, NoGoodbyeWithinAnAnswer) {
  std::string to = "To: a@example.org";
  for (int i = 0; i < 7000; ++i) to += ",\n recipient" + std::to_string(i) + "@some.example.test";
  Put("INBOX", to + "\n\n");
  client_.LogIn();
  client_.Say("s SELECT INBOX\r\n");
  client_.Say("a FETCH 1 ENVELOPE\r\n");  // now it is cached
  client_.connection.holds_back = true;
  const std::string answer = client_.Say("b FETCH 1 (ENVELOPE UID)\r\n");
  EXPECT_TRUE(answer.ends_with("\"some.example.test\")) NIL NIL NIL NIL)")) << answer.substr(answer.size() - 100);
  std::optional<absl::Status> moved;
  LetGo();
  pair_.nodes[kHome]->SetHome(kAnn, 1 - kHome, [&](absl::Status status) { moved = status; });
  ASSERT_TRUE(pair_.RunUntil([&] { return moved.has_value(); }));
  ASSERT_TRUE(moved->ok()) << *moved;
  EXPECT_EQ(client_.Take(), "");
  EXPECT_TRUE(client_.connection.closed);
}

}  // namespace
}  // namespace gemel::imap
