#include "journal/record.h"

#include <gtest/gtest.h>

#include "journal/log.h"
#include "journal/record_samples.h"
#include "journal/wire.h"

namespace gemel::journal {
namespace {

constexpr Hlc kBase = HlcFromMillis(1795475701123);

std::string Encoded(const Record& record) {
  std::string bytes;
  EncodeRecord(record, kBase, &bytes);
  return bytes;
}

TEST(RecordTest, EveryTypeComesBackAsItWent) {
  const std::vector<Record> samples = SampleRecords(kBase);
  ASSERT_EQ(samples.size(), std::variant_size_v<RecordBody>);
  std::string all;
  for (const Record& record : samples) EncodeRecord(record, kBase, &all);
  std::string_view rest = all;
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i].body.index(), i);
    absl::StatusOr<Record> back = DecodeRecord(&rest, kBase);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == samples[i]) << RecordTypeName(samples[i].body);
  }
  EXPECT_TRUE(rest.empty());
}

TEST(RecordTest, DefaultsComeBackToo) {
  for (const Record& sample : SampleRecords(kBase)) {
    Record record = sample;
    std::visit([](auto& body) { body = {}; }, record.body);
    const std::string bytes = Encoded(record);
    std::string_view rest = bytes;
    absl::StatusOr<Record> back = DecodeRecord(&rest, kBase);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == record) << RecordTypeName(record.body);
  }
}

TEST(RecordTest, RandomRecordsComeBack) {
  std::mt19937_64 rng(20261123);
  for (int i = 0; i < 20000; ++i) {
    const Record record = RandomRecord(rng, kBase);
    const std::string bytes = Encoded(record);
    std::string_view rest = bytes;
    absl::StatusOr<Record> back = DecodeRecord(&rest, kBase);
    ASSERT_TRUE(back.ok()) << i << ": " << back.status();
    ASSERT_TRUE(*back == record) << i << ": " << RecordTypeName(record.body);
    ASSERT_TRUE(rest.empty());
  }
}

TEST(RecordTest, ATruncatedRecordIsRefused) {
  for (const Record& record : SampleRecords(kBase)) {
    const std::string bytes = Encoded(record);
    for (size_t size = 0; size < bytes.size(); ++size) {
      std::string_view rest = std::string_view(bytes).substr(0, size);
      EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(&rest, kBase).status()));
      // The same with a length that fits what is left: a field is cut.
      std::string cut;
      std::string_view body = bytes;
      uint64_t length = 0;
      ASSERT_TRUE(TakeVarint(&body, &length));
      if (size >= body.size()) continue;
      PutVarint(size, &cut);
      cut += body.substr(0, size);
      rest = cut;
      EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(&rest, kBase).status())) << RecordTypeName(record.body) << size;
    }
  }
}

TEST(RecordTest, BytesBehindTheLastFieldAreRefused) {
  for (const Record& record : SampleRecords(kBase)) {
    const std::string bytes = Encoded(record);
    std::string_view body = bytes;
    uint64_t length = 0;
    ASSERT_TRUE(TakeVarint(&body, &length));
    std::string longer;
    PutVarint(length + 1, &longer);
    longer += body;
    longer += '\0';
    std::string_view rest = longer;
    EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(&rest, kBase).status())) << RecordTypeName(record.body);
  }
}

TEST(RecordTest, ANewerTypeIsSaidToBeNewer) {
  for (int type = std::variant_size_v<RecordBody> + 1; type < 64; ++type) {
    const std::string bytes = {2, static_cast<char>(type), 0};
    std::string_view rest = bytes;
    EXPECT_TRUE(absl::IsUnimplemented(DecodeRecord(&rest, kBase).status()));
  }
  std::string_view zero("\x02\x00\x00", 3);
  EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(&zero, kBase).status()));
}

TEST(RecordTest, FlippedBitsNeverCrashAndDecodeCanonically) {
  for (const Record& record : SampleRecords(kBase)) {
    const std::string bytes = Encoded(record);
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      std::string_view rest = flipped;
      absl::StatusOr<Record> back = DecodeRecord(&rest, kBase);
      if (!back.ok()) continue;
      // What is accepted means what it says: encoding it again gives something that decodes to the same.
      const std::string again = Encoded(*back);
      std::string_view again_rest = again;
      ASSERT_TRUE(*DecodeRecord(&again_rest, kBase) == *back);
    }
  }
}

TEST(RecordTest, CountsThatCannotBeAreNotAllocated) {
  std::string body = {static_cast<char>(15), 0};  // Expunge
  body += std::string(16, 'm');                   // mailbox
  body += std::string("\x01\x00", 2);             // modseq, only_deleted
  PutVarint(uint64_t{1} << 60, &body);            // origins
  std::string bytes;
  PutVarint(body.size(), &bytes);
  bytes += body;
  std::string_view rest = bytes;
  EXPECT_TRUE(absl::IsDataLoss(DecodeRecord(&rest, kBase).status()));
}

TEST(RecordTest, DotsOfOneOriginCostAByteEach) {
  Expunge expunge;
  for (Seq seq = 1000; seq < 1500; ++seq) expunge.messages.push_back({{1, 2}, seq});
  const std::string bytes = Encoded({.account = {}, .time = kBase, .body = expunge});
  EXPECT_LT(bytes.size(), 550u);
}

TEST(WireTest, AVarintHasOneEncoding) {
  for (uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{1} << 35, UINT64_MAX}) {
    std::string bytes;
    PutVarint(value, &bytes);
    std::string_view in = bytes;
    uint64_t back = 0;
    ASSERT_TRUE(TakeVarint(&in, &back));
    EXPECT_EQ(back, value);
    EXPECT_TRUE(in.empty());
  }
  uint64_t ignored;
  std::string_view overlong("\x80\x00", 2);
  EXPECT_FALSE(TakeVarint(&overlong, &ignored));
  std::string_view too_great("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
  EXPECT_FALSE(TakeVarint(&too_great, &ignored));
}

TEST(ClockTest, CoversMergesAndDecodes) {
  VectorClock a, b;
  a.Raise({1, 1}, 5);
  a.Raise({2, 1}, 3);
  b.Raise({1, 1}, 4);
  EXPECT_TRUE(a.Covers(b));
  EXPECT_FALSE(b.Covers(a));
  EXPECT_TRUE(a.Covers(Dot{{2, 1}, 3}));
  EXPECT_FALSE(a.Covers(Dot{{2, 2}, 1}));
  b.Raise({0, 9}, 1);
  b.Merge(a);
  EXPECT_EQ(b.entries().size(), 3u);
  std::string bytes;
  b.EncodeTo(&bytes);
  std::string_view in = bytes;
  EXPECT_EQ(*VectorClock::Decode(&in), b);
  for (size_t size = 0; size < bytes.size(); ++size) {
    in = std::string_view(bytes).substr(0, size);
    EXPECT_FALSE(VectorClock::Decode(&in).ok());
  }
  b.Remove({1, 1});
  EXPECT_EQ(b.Get({1, 1}), 0u);
  EXPECT_EQ(a.ToString(), "0000000000000001/0000000000000001:5 0000000000000002/0000000000000001:3");
}

TEST(IdsTest, TextFormsComeBackAndAccountsFoldCase) {
  const AccountId ann = AccountIdOf("Ann@Example.test");
  EXPECT_EQ(ann, AccountIdOf("ann@example.test"));
  EXPECT_NE(ann.hex(), AccountIdOf("bob@example.test").hex());
  EXPECT_EQ(AccountId::FromHex(ann.hex()), ann);
  EXPECT_FALSE(AccountId::FromHex("xyz").has_value());
  EXPECT_FALSE(AccountId::FromHex(std::string(32, 'g')).has_value());
  EXPECT_NE(BuiltInMailboxId(ann, "INBOX"), BuiltInMailboxId(ann, "Sent"));
  EXPECT_EQ(HexU64(0xabc), "0000000000000abc");
  EXPECT_EQ(U64FromHex("0000000000000abc"), 0xabcu);
  EXPECT_FALSE(U64FromHex("").has_value());
  EXPECT_FALSE(U64FromHex("12345678123456781").has_value());
}

TEST(LogTest, AValueFromOutsideCannotForgeAFieldOrALine) {
  EXPECT_EQ(FormatLogFields("delivered", {{"account", "user0@example.test"}, {"bytes", 4040}, {"ok", true}}),
            "delivered account=user0@example.test bytes=4040 ok=true");
  EXPECT_EQ(FormatLogFields("e", {{"a", "x y=z\n\"\\\x01"}, {"b", ""}}), "e a=\"x y=z\\n\\\"\\\\\\x01\" b=\"\"");
  EXPECT_EQ(FormatLogFields("e", {{"a", -5}, {"b", 1.5}, {"c", UINT64_MAX}}), "e a=-5 b=1.5 c=18446744073709551615");
}

}  // namespace
}  // namespace gemel::journal
