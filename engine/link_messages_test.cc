#include "engine/link_messages.h"

#include <gtest/gtest.h>

namespace gemel::engine {
namespace {

using journal::Dot;
using journal::Origin;

std::vector<LinkMessage> Samples() {
  Hello hello;
  hello.cluster = journal::ClusterId::FromBytes("0123456789abcdef");
  hello.node = 7;
  hello.place = 1;
  hello.incarnation = 99;
  hello.generation = 3;
  hello.held.Raise(Origin{7, 99}, 1234567);
  hello.chains.push_back({Origin{7, 99}, 1234567, 0xfeedfacecafebeef});
  hello.software = "0.1.0";
  Ack ack;
  ack.held.Raise(Origin{1, 2}, 3);
  return {hello,
          FrameMessage{std::string("\0frame\xff", 7)},
          ack,
          Ping{5, true},
          Pong{5},
          Goodbye{"going down"},
          BodyRequest{journal::AccountIdOf("a@example.test"), Dot{Origin{1, 2}, 3}, 1 << 20},
          BodyPart{Dot{Origin{1, 2}, 3}, 1 << 20, true, false, "bytes"}};
}

TEST(LinkMessages, EachIsReadAsItWasWrittenInAnyPieces) {
  std::string stream;
  for (const LinkMessage& message : Samples()) stream += Encode(message);
  for (const size_t piece : {size_t{1}, size_t{3}, stream.size()}) {
    LinkDecoder decoder;
    std::string again;
    size_t count = 0;
    for (size_t at = 0; at < stream.size(); at += piece) {
      decoder.Feed(std::string_view(stream).substr(at, piece));
      for (;;) {
        absl::StatusOr<std::optional<LinkMessage>> message = decoder.Next();
        ASSERT_TRUE(message.ok()) << message.status();
        if (!message->has_value()) break;
        again += Encode(**message);
        ++count;
      }
    }
    EXPECT_EQ(count, Samples().size());
    EXPECT_EQ(again, stream);
  }
}

TEST(LinkMessages, EveryTruncationIsRefusedOrWaitsForMore) {
  for (const LinkMessage& message : Samples()) {
    const std::string whole = Encode(message);
    for (size_t cut = 5; cut < whole.size(); ++cut) {
      std::string bytes = whole.substr(0, cut);
      const uint32_t length = static_cast<uint32_t>(cut - 4);  // says that it is whole
      for (size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(length >> (8 * i));
      LinkDecoder decoder;
      decoder.Feed(bytes);
      const absl::StatusOr<std::optional<LinkMessage>> read = decoder.Next();
      if (read.ok()) {
        EXPECT_EQ(Encode(**read), bytes) << "a shorter message of the same type";
      }
    }
  }
}

TEST(LinkMessages, AForeignStreamIsRefused) {
  for (const std::string& bytes : {std::string("EHLO mx.example.org\r\n"), std::string(5, '\0'),
                                   std::string("\xff\xff\xff\xff\x00", 5), std::string("\x01\x00\x00\x00\x63", 5)}) {
    LinkDecoder decoder;
    decoder.Feed(bytes);
    EXPECT_TRUE(absl::IsDataLoss(decoder.Next().status())) << bytes;
  }
}

TEST(LinkMessages, ANewerHelloIsReadAsFarAsItsVersion) {
  std::string bytes = Encode(Hello{});
  bytes[5] = 2;  // the version
  LinkDecoder decoder;
  decoder.Feed(bytes);
  const absl::StatusOr<std::optional<LinkMessage>> read = decoder.Next();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(std::get<Hello>(**read).version, 2u);
}

}  // namespace
}  // namespace gemel::engine
