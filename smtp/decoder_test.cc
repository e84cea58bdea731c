#include "smtp/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace gemel::smtp {
namespace {

// What a reader would write who takes one byte at a time and thinks of nothing else.
struct Plain {
  std::string out;
  size_t used = 0;
  bool done = false;
  bool bare = false;
};
Plain DecodePlainly(std::string_view in) {
  Plain plain;
  bool line_start = true;
  for (size_t i = 0; i < in.size();) {
    const std::string_view rest = in.substr(i);
    if (line_start && rest.starts_with(".\r\n")) {
      plain.used = i + 3;
      plain.done = true;
      return plain;
    }
    if (line_start && rest[0] == '.') {
      line_start = false;
      ++i;
      continue;
    }
    line_start = rest.starts_with("\r\n");
    if (line_start) {
      plain.out += '\n';
      i += 2;
      continue;
    }
    if (rest == "\r") break;  // not known yet what it means
    plain.bare = plain.bare || rest[0] == '\r' || rest[0] == '\n';
    plain.out += rest[0];
    ++i;
  }
  plain.used = in.size();
  return plain;
}

TEST(DataDecoderTest, EveryShortInputCutAtEveryPlace) {
  constexpr std::string_view kAlphabet = ".\r\nx";
  for (size_t length = 0; length <= 7; ++length) {
    for (size_t n = 0; n < (size_t{1} << (2 * length)); ++n) {
      std::string in;
      for (size_t k = 0; k < length; ++k) in += kAlphabet[(n >> (2 * k)) & 3];
      const Plain plain = DecodePlainly(in);
      for (size_t cut = 0; cut <= length; ++cut) {
        DataDecoder decoder;
        std::string out;
        size_t used = decoder.Feed(std::string_view(in).substr(0, cut), &out);
        if (!decoder.done()) used += decoder.Feed(std::string_view(in).substr(cut), &out);
        ASSERT_EQ(out, plain.out) << testing::PrintToString(in) << cut;
        ASSERT_EQ(decoder.done(), plain.done) << testing::PrintToString(in) << cut;
        ASSERT_EQ(used, plain.used) << testing::PrintToString(in) << cut;
        ASSERT_EQ(decoder.bare_cr() || decoder.bare_lf(), plain.bare) << testing::PrintToString(in) << cut;
      }
    }
  }
}

TEST(DataDecoderTest, LongInputsFullOfLineEndsInOneRead) {
  uint32_t random = 1;
  for (const std::string_view alphabet : {"x\r", "x\n", "\r\n", "x.\r\n", "\r\r\r\r\n"}) {
    std::string in;
    for (int i = 0; i < 50'000; ++i) {
      random = random * 1664525 + 1013904223;
      in += alphabet[(random >> 16) % alphabet.size()];
    }
    const Plain plain = DecodePlainly(in);
    DataDecoder decoder;
    std::string out;
    EXPECT_EQ(decoder.Feed(in, &out), plain.used);
    EXPECT_TRUE(out == plain.out) << testing::PrintToString(alphabet);
    EXPECT_EQ(decoder.done(), plain.done);
  }
}

TEST(DataDecoderTest, CountsLinesAndTheLongest) {
  DataDecoder decoder;
  std::string out;
  decoder.Feed("ab\r\n", &out);
  decoder.Feed("abc", &out);
  decoder.Feed("de\r\nx\r\n.\r\n", &out);
  EXPECT_TRUE(decoder.done());
  EXPECT_EQ(decoder.lines().ended(), 3u);
  EXPECT_EQ(decoder.lines().longest_bytes(), 5u);
}

TEST(ChunkDecoderTest, EveryShortInputCutAtEveryPlace) {
  constexpr std::string_view kAlphabet = "\r\nxy";
  for (size_t length = 0; length <= 7; ++length) {
    for (size_t n = 0; n < (size_t{1} << (2 * length)); ++n) {
      std::string in;
      for (size_t k = 0; k < length; ++k) in += kAlphabet[(n >> (2 * k)) & 3];
      std::string expected = in;
      for (const std::string_view line_end : {"\r\r\n", "\r\n"}) {
        for (size_t at = 0; (at = expected.find(line_end, at)) != std::string::npos; ++at) {
          expected.replace(at, line_end.size(), "\v");  // so that the second does not see the first's work
        }
      }
      for (char& c : expected) c = c == '\v' ? '\n' : c;
      for (size_t cut = 0; cut <= length; ++cut) {
        ChunkDecoder decoder;
        std::string out;
        decoder.Feed(std::string_view(in).substr(0, cut), &out);
        decoder.Feed(std::string_view(in).substr(cut), &out);
        decoder.Finish(&out);
        ASSERT_EQ(out, expected) << testing::PrintToString(in) << cut;
        ASSERT_EQ(decoder.lines().ended(), static_cast<uint64_t>(std::count(out.begin(), out.end(), '\n')));
      }
    }
  }
}

TEST(ChunkDecoderTest, ARunOfCrsIsPassedOnWhileItArrives) {
  ChunkDecoder decoder;
  std::string out;
  for (size_t fed = 1000; fed <= 100'000; fed += 1000) {
    decoder.Feed(std::string(1000, '\r'), &out);
    ASSERT_EQ(out.size(), fed - 2);
  }
  EXPECT_EQ(decoder.lines().longest_bytes(), out.size());
  decoder.Feed("\nab", &out);
  EXPECT_TRUE(out == std::string(99'998, '\r') + "\nab");
  EXPECT_EQ(decoder.lines().ended(), 1u);
}

}  // namespace
}  // namespace gemel::smtp
