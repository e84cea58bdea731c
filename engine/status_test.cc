#include "engine/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gemel::engine {
namespace {

using testing::HasSubstr;

NodeStatus Sample() {
  NodeStatus s;
  s.version = "0.1.0";
  s.node = "00000000000000aa";
  s.peer_node = "00000000000000bb";
  s.place = 1;
  s.generation = 7;
  s.state = "paired";
  s.policy = "pair-if-up";
  s.peer_connected = true;
  s.last_contact_ms = 120;
  s.clock = {{"00000000000000aa/0000000000000001", 12}};
  s.catch_up_out = CatchUpStatus{1000, 5 << 20, 2000, 10 << 20, 12'345};
  s.unprotected = 3;
  s.unprotected_since_s = 0;
  s.journal_bytes = 3ull << 30;
  s.problems = {{"warning", "the peer is away", "look at its log"}};
  return s;
}

TEST(Status, JsonReadsBack) {
  const std::string json = StatusJson(Sample());
  const auto back = StatusFromJson(json);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(StatusJson(*back), json);
  EXPECT_EQ(back->place, 1);
  EXPECT_EQ(back->last_contact_ms, 120u);
  ASSERT_TRUE(back->catch_up_out.has_value());
  EXPECT_EQ(back->catch_up_out->records_to_go, 2000u);
  EXPECT_FALSE(back->catch_up_in.has_value());
  ASSERT_EQ(back->clock.size(), 1u);
  EXPECT_EQ(back->clock[0].seq, 12u);
  ASSERT_EQ(back->problems.size(), 1u);
  EXPECT_EQ(back->problems[0].what_to_do, "look at its log");
}

TEST(Status, OtherJsonIsRefused) {
  EXPECT_FALSE(StatusFromJson("[]").ok());
  EXPECT_FALSE(StatusFromJson("{\"place\": \"one\"}").ok());
  EXPECT_FALSE(StatusFromJson("{").ok());
  EXPECT_TRUE(StatusFromJson("{\"from_a_later_version\": 1}").ok());
}

TEST(Status, TextSaysWhatMatters) {
  const std::string text = StatusText(Sample());
  EXPECT_THAT(text, HasSubstr("paired, generation 7"));
  EXPECT_THAT(text, HasSubstr("3 changes on this disk only, since 1970-01-01T00:00:00Z"));
  EXPECT_THAT(text, HasSubstr("3.0 GiB"));
  EXPECT_THAT(text, HasSubstr("sent 1000 records (5.0 MiB) for 12 s, 2000 (10.0 MiB) to go"));
  EXPECT_THAT(text, HasSubstr("warning: the peer is away\n    look at its log"));
}

TEST(Status, OnlyErrorsAreBad) {
  NodeStatus s = Sample();
  EXPECT_TRUE(StatusIsGood(s));
  s.problems.push_back({"error", "the disk failed", "replace it"});
  EXPECT_FALSE(StatusIsGood(s));
}

}  // namespace
}  // namespace gemel::engine
