#include "maildir/file_name.h"

#include <gtest/gtest.h>

#include <random>

namespace gemel::maildir {
namespace {

Message Sample() {
  Message message;
  message.dot = {.origin = {.node = 1, .incarnation = 2}, .seq = 3};
  message.internal_date_s = 1700000000;
  message.bytes = 4040;
  message.crlf_bytes = 4141;
  return message;
}

TEST(FileName, IsAFunctionOfTheRecord) {
  // The hash must be the same in every version and on every machine: a change here is a change of the format.
  EXPECT_EQ(MaildirBaseName(Sample()), "1700000000.7c68b4906e7ea780.gemel,S=4040,W=4141");
  EXPECT_EQ(RelativePath(Sample(), {}), "new/" + MaildirBaseName(Sample()));
  Message flagged = Sample();
  flagged.flags = 31;
  EXPECT_EQ(RelativePath(flagged, {25, 0}), "cur/" + MaildirBaseName(Sample()) + ":2,DFRSTaz");
  EXPECT_EQ(RelativePath(Sample(), {26}), "cur/" + MaildirBaseName(Sample()) + ":2,");
}

TEST(FileName, ParsesWhatItWrites) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    Message message;
    message.dot = {.origin = {.node = random(), .incarnation = random()}, .seq = random()};
    message.internal_date_s = static_cast<int64_t>(random());
    message.bytes = random() >> (random() % 64);
    message.crlf_bytes = random() >> (random() % 64);
    message.flags = static_cast<Flags>(random() % 32);
    std::vector<uint16_t> keywords;
    for (uint16_t k = 0; k < 30; ++k) {
      if (random() % 4 == 0) keywords.push_back(k);
    }
    const std::string path = RelativePath(message, keywords);
    const auto name = ParseFileName(std::string_view(path).substr(4));
    ASSERT_TRUE(name) << path;
    EXPECT_EQ(name->base, MaildirBaseName(message));
    EXPECT_EQ(name->internal_date_s, message.internal_date_s);
    EXPECT_EQ(name->dot_hash, DotHash(message.dot));
    EXPECT_EQ(name->bytes, message.bytes);
    EXPECT_EQ(name->crlf_bytes, message.crlf_bytes);
    EXPECT_EQ(name->flags, message.flags);
    EXPECT_EQ(name->has_flags, path.starts_with("cur/"));
    EXPECT_EQ(name->keyword_letters.size(),
              static_cast<size_t>(std::count_if(keywords.begin(), keywords.end(), [](uint16_t k) { return k < 26; })));
  }
}

TEST(FileName, RefusesOthers) {
  const std::string base = MaildirBaseName(Sample());
  for (const std::string& name : std::vector<std::string>{"",
                                                          "1234.M5P6.host",
                                                          "1234.M5P6.host,S=5,W=6:2,S",
                                                          "x" + base,
                                                          base + "x",
                                                          base + ",",
                                                          "0" + base,
                                                          "+1" + base,
                                                          "99999999999999999999" + base.substr(10),
                                                          base + ":",
                                                          base + ":1,",
                                                          base + ":2,s S",
                                                          base + ":2,SF",
                                                          base + ":2,ba",
                                                          base + ":2,aa",
                                                          base + ":2,SS",
                                                          base + ":2,X",
                                                          "1700000000.0123456789ABCDEF.gemel,S=1,W=1",
                                                          "1700000000.0123456789abcdef.gemel,S=01,W=1",
                                                          "1700000000.0123456789abcdef.gemel,S=-1,W=1",
                                                          "1700000000.0123456789abcdef.gemel,S=1"}) {
    EXPECT_FALSE(ParseFileName(name)) << name;
  }
  EXPECT_TRUE(IsOwnFileName(base + ":2,X"));
  EXPECT_TRUE(IsOwnFileName(base));
  EXPECT_FALSE(IsOwnFileName("1234.M5P6.host:2,S"));
}

TEST(FileName, TakesFlagsFromAnybodysName) {
  EXPECT_EQ(FlagsOfAnyName("x:2,FS"), journal::kFlagged | journal::kSeen);
  EXPECT_EQ(FlagsOfAnyName("x:2,PSa"), journal::kSeen);
  EXPECT_EQ(FlagsOfAnyName("x"), 0);
  EXPECT_EQ(FlagsOfAnyName("S:1,T"), 0);
}

}  // namespace
}  // namespace gemel::maildir
