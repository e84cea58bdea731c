#include "engine/header_scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

namespace gemel::engine {
namespace {

HeaderScan Scan(std::string_view text, size_t piece = std::string_view::npos) {
  HeaderScan scan;
  for (size_t i = 0; i < text.size(); i += std::min(piece, text.size())) scan.Feed(text.substr(i, piece));
  return scan;
}

constexpr std::string_view kMessage =
    "Received: one\n\tby two\nreceived : three\nX-Received: no\nReceived-SPF: no\n"
    "Message-Id:\n  <a@b> \nSubject: Received: no\n folded\nMESSAGE-ID: <second>\n\nReceived: body\n";

TEST(HeaderScanTest, InPiecesOfAnySize) {
  for (size_t piece = 1; piece <= kMessage.size(); ++piece) {
    const HeaderScan scan = Scan(kMessage, piece);
    EXPECT_TRUE(scan.done());
    EXPECT_EQ(scan.received_count(), 2u) << piece;
    EXPECT_EQ(scan.message_id(), "<a@b>") << piece;
  }
}

TEST(HeaderScanTest, EndsWhereTheHeaderDoes) {
  EXPECT_FALSE(Scan("").done());
  EXPECT_FALSE(Scan("Received: x\nReceived").done());
  EXPECT_TRUE(Scan("\nReceived: x\n").done());
  EXPECT_EQ(Scan("\nReceived: x\n").received_count(), 0u);
  EXPECT_EQ(Scan("Received: x\nno field\nReceived: x\n").received_count(), 1u);
  EXPECT_TRUE(Scan(std::string(2000, 'x')).done());
  EXPECT_TRUE(Scan("A: " + std::string(HeaderScan::kHeaderBytesMax, 'x')).done());
}

TEST(HeaderScanTest, KeepsLittle) {
  EXPECT_EQ(Scan("Message-ID: " + std::string(5000, 'x') + "\n").message_id().size(), HeaderScan::kMessageIdBytesMax);
}

}  // namespace
}  // namespace gemel::engine
