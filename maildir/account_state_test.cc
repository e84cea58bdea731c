#include "maildir/account_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "maildir/base.h"
#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Message Numbered(Uid uid, journal::Seq seq) {
  Message message;
  message.uid = uid;
  message.dot = {.origin = {.node = 1, .incarnation = 1}, .seq = seq};
  return message;
}

TEST(Mailbox, StaysSortedWhateverTheOrder) {
  Mailbox mailbox;
  for (const Uid uid : {5u, 1u, 9u, 3u}) mailbox.Insert(Numbered(uid, uid * 10));
  std::vector<Uid> uids;
  for (const Message& message : mailbox.messages) uids.push_back(message.uid);
  EXPECT_THAT(uids, ElementsAre(1, 3, 5, 9));
  EXPECT_EQ(mailbox.Find(3)->dot.seq, 30u);
  EXPECT_EQ(mailbox.Find(Numbered(0, 90).dot)->uid, 9u);
  EXPECT_EQ(mailbox.Find(4), nullptr);
  EXPECT_FALSE(mailbox.Insert(Numbered(3, 77))) << "the UID is another message's";
  EXPECT_EQ(mailbox.Find(Numbered(0, 77).dot), nullptr);
  EXPECT_EQ(mailbox.Find(Numbered(0, 30).dot)->uid, 3u);
  EXPECT_TRUE(mailbox.Insert(Numbered(3, 30)));
  EXPECT_TRUE(mailbox.Remove(3));
  EXPECT_FALSE(mailbox.Remove(3));
  EXPECT_EQ(mailbox.Find(Numbered(0, 30).dot), nullptr);
}

TEST(Mailbox, ManyGoAtOnce) {
  Mailbox mailbox;
  for (Uid uid = 1; uid <= 9; ++uid) mailbox.Insert(Numbered(uid, uid * 10));
  mailbox.by_dot[Numbered(0, 40).dot] = 7;  // given another UID meanwhile
  mailbox.RemoveAll({8, 2, 4, 77});
  std::vector<Uid> uids;
  for (const Message& message : mailbox.messages) uids.push_back(message.uid);
  EXPECT_THAT(uids, ElementsAre(1, 3, 5, 6, 7, 9));
  EXPECT_FALSE(mailbox.by_dot.contains(Numbered(0, 20).dot));
  EXPECT_TRUE(mailbox.by_dot.contains(Numbered(0, 40).dot));
}

TEST(Mailbox, EqualKeywordSetsHaveEqualNumbers) {
  Mailbox mailbox;
  EXPECT_EQ(mailbox.Intern({}), 0u);
  const KeywordSet ab = mailbox.Intern({"a", "b"});
  EXPECT_EQ(mailbox.Intern({"b", "a", "b"}), ab);
  EXPECT_NE(mailbox.Intern({"b"}), ab);
  EXPECT_THAT(mailbox.KeywordNames(ab), ElementsAre("a", "b"));
  EXPECT_THAT(mailbox.KeywordNames(0), IsEmpty());
  EXPECT_THAT(mailbox.KeywordNames(99), IsEmpty());
  EXPECT_THAT(mailbox.keywords, ElementsAre("a", "b"));
}

TEST(Mailbox, KeywordsAreTheSameInAnyCase) {
  Mailbox mailbox;
  const KeywordSet once = mailbox.Intern({"Later"});
  EXPECT_EQ(mailbox.Intern({"LATER"}), once);
  EXPECT_EQ(mailbox.Intern({"later", "Later"}), once);
  EXPECT_THAT(mailbox.keywords, ElementsAre("Later"));
  // What was stored before they were is found as it is.
  mailbox.keywords = {"Later", "later"};
  EXPECT_THAT(mailbox.KeywordNames(mailbox.Intern({"later"})), ElementsAre("later"));
}

TEST(Mailbox, KeywordsThatNoIndexIsLeftForAreDropped) {
  Mailbox mailbox;
  for (size_t i = 0; i < kMailboxKeywordsMax - 1; ++i) mailbox.keywords.push_back("k" + std::to_string(i));
  EXPECT_TRUE(mailbox.HasRoomFor({"K1", "new"}));
  EXPECT_FALSE(mailbox.HasRoomFor({"new", "newer"}));
  for (size_t i = mailbox.keywords.size(); i < 65'536; ++i) mailbox.keywords.push_back("k" + std::to_string(i));
  EXPECT_TRUE(mailbox.HasRoomFor({"K1"}));
  EXPECT_THAT(mailbox.KeywordNames(mailbox.Intern({"k65535"})), ElementsAre("k65535"));
  EXPECT_THAT(mailbox.KeywordNames(mailbox.Intern({"new", "k1"})), ElementsAre("k1"));
  EXPECT_EQ(mailbox.keywords.size(), 65'536u);
}

class DigestTest : public testing::Test {
 protected:
  DigestTest() {
    inbox_ = model_.Create("INBOX");
    model_.Deliver(inbox_, "one\n", journal::kSeen, {"k", "l"});
    model_.Deliver(inbox_, "two\n");
    model_.Deliver(inbox_, "three\n");
    model_.Expunge(inbox_, 2);
    model_.Expunge(inbox_, 3);
    model_.Subscribe("INBOX");
    model_.DeliverUnplaced(inbox_, "waits\n");
  }
  StoreModel model_{"ann@example.test"};
  MailboxId inbox_;
};

TEST_F(DigestTest, SeesEveryFieldThatCounts) {
  const std::string before = Digest(model_.state);
  const auto changed = [&](auto&& change) {
    AccountState state = model_.state;
    change(state, *state.Find(inbox_));
    return Digest(state) != before;
  };
  EXPECT_TRUE(changed([](AccountState& s, Mailbox&) { s.id.bytes[0] ^= 1; }));
  EXPECT_TRUE(changed([](AccountState& s, Mailbox&) { ++s.highest_modseq; }));
  EXPECT_TRUE(changed([](AccountState& s, Mailbox&) { s.subscriptions.insert("x"); }));
  EXPECT_TRUE(changed([](AccountState& s, Mailbox&) { s.unplaced.clear(); }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { m.name = "Other"; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { ++m.uid_next; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { ++m.uid_validity; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { m.messages[0].flags ^= 1; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { ++m.messages[0].modseq; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { m.messages[0].keywords = 0; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { m.messages[0].guid.bytes[3] ^= 1; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { ++m.messages[0].dot.seq; }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { m.vanished.pop_back(); }));
  EXPECT_TRUE(changed([](AccountState&, Mailbox& m) { std::swap(m.keywords[0], m.keywords[1]); }));
}

TEST_F(DigestTest, DoesNotSeeHowItIsHeld) {
  const std::string before = Digest(model_.state);
  AccountState state = model_.state;
  Mailbox& mailbox = *state.Find(inbox_);
  mailbox.Intern({"l"});  // another numbering of the sets
  std::swap(mailbox.keyword_sets[1], mailbox.keyword_sets[2]);
  mailbox.messages[0].keywords = 2;
  state.applied.Raise({.node = 5, .incarnation = 5}, 5);
  EXPECT_EQ(Digest(state), before);
}

TEST_F(DigestTest, TheBaseHoldsAllOfIt) {
  model_.state.applied.Raise({.node = 5, .incarnation = 5}, 5);
  const std::string bytes = EncodeBase(model_.state);
  const auto state = DecodeBase(bytes);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(Digest(*state), Digest(model_.state));
  EXPECT_EQ(state->applied, model_.state.applied);
  EXPECT_EQ(state->name, model_.state.name);
  EXPECT_EQ(EncodeBase(*state), bytes);
}

TEST_F(DigestTest, EveryFlippedOrMissingByteOfABaseIsSeen) {
  const std::string bytes = EncodeBase(model_.state);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x10);
    const auto state = DecodeBase(flipped);
    ASSERT_FALSE(state.ok()) << "byte " << i;
    EXPECT_TRUE(absl::IsDataLoss(state.status()) || absl::IsUnimplemented(state.status())) << state.status();
    EXPECT_FALSE(DecodeBase(bytes.substr(0, i)).ok());
  }
  std::string newer = bytes;
  newer[8] = 2;
  EXPECT_TRUE(absl::IsUnimplemented(DecodeBase(newer).status()));
}

}  // namespace
}  // namespace gemel::maildir
