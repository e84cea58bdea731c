#include "engine/apply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gemel::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr journal::Origin kFirstRun{1, 1}, kSecondRun{1, 2};

class ApplyTest : public ::testing::Test {
 protected:
  ApplyTest() {
    for (const MailboxId& id : {inbox_, archive_}) {
      Mailbox& mailbox = state_.mailboxes[id];
      mailbox.id = id;
      mailbox.name = id == inbox_ ? "INBOX" : "Archive";
      mailbox.uid_validity = 2;
    }
  }
  static MailboxId Id(uint8_t number) {
    MailboxId id;
    id.bytes[0] = number;
    return id;
  }
  Effects Do(Dot dot, journal::RecordBody body) {
    auto frame = std::make_shared<journal::Frame>();
    frame->origin = dot.origin;
    frame->first_seq = dot.seq;
    frame->count = 1;
    frame->records.push_back({state_.id, 0, false, std::move(body)});
    Effects effects;
    Apply(state_, frame, 0, effects);
    return effects;
  }
  Effects Deliver(Dot dot, MailboxId mailbox, Uid uid) {
    journal::Deliver deliver;
    deliver.order = journal::Order{mailbox, uid, 1};
    return Do(dot, std::move(deliver));
  }

  const MailboxId inbox_ = Id(1), archive_ = Id(2);
  AccountState state_;
};

// A home that had lost some of its records gave their UIDs once more. Whoever is there keeps the UID; nothing is lost.
TEST_F(ApplyTest, AUidThatIsTakenLeavesTheSecondMessageWhereItWas) {
  const Dot first{kFirstRun, 1}, second{kSecondRun, 1}, third{kSecondRun, 2};
  EXPECT_THAT(Deliver(first, inbox_, 1).taken, IsEmpty());
  EXPECT_THAT(Deliver(second, inbox_, 1).taken, ElementsAre(Pair(inbox_, 1)));
  Mailbox& inbox = *state_.Find(inbox_);
  ASSERT_EQ(inbox.messages.size(), 1u);
  EXPECT_EQ(inbox.messages[0].dot, first);
  ASSERT_TRUE(state_.unplaced.contains(second)) << "its home places it";

  EXPECT_THAT(Do(third, journal::Place{inbox_, 2, {{second, 1}}}).taken, ElementsAre(Pair(inbox_, 1)));
  EXPECT_TRUE(state_.unplaced.contains(second));
  EXPECT_THAT(Do(third, journal::Place{inbox_, 2, {{second, 2}}}).taken, IsEmpty());
  EXPECT_EQ(inbox.Find(second)->uid, 2u);
  EXPECT_THAT(state_.unplaced, IsEmpty());

  EXPECT_THAT(Do(third, journal::Copy{first, inbox_, {inbox_, 2, 3}}).taken, ElementsAre(Pair(inbox_, 2)));
  EXPECT_EQ(inbox.messages.size(), 2u);
  const Dot other{kFirstRun, 2};
  Deliver(other, archive_, 1);
  EXPECT_THAT(Do(third, journal::Move{inbox_, archive_, 3, {{first, 1}, {second, 2}}}).taken,
              ElementsAre(Pair(archive_, 1)));
  EXPECT_EQ(inbox.Find(first)->uid, 1u) << "not moved";
  EXPECT_EQ(state_.Find(archive_)->Find(other)->uid, 1u);
  EXPECT_EQ(state_.Find(archive_)->Find(second)->uid, 2u);
}

}  // namespace
}  // namespace gemel::engine
