#include "imap/section.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "imap/test_body.h"

namespace gemel::imap {
namespace {

using Text = SectionSpec::Text;

const char kMessage[] =
    "Subject: outer\nX-A: 1\nContent-Type: multipart/mixed;\n boundary=o\nx-a: 2\n\npreamble\n"
    "--o\nContent-Type: text/plain\n\nfirst\n\n"
    "--o\nContent-Type: message/rfc822\nX: y\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=i\n\n"
    "--i\n\nin 1\n--i\nContent-Type: text/html\n\nin 2\n--i--\n"
    "--o\nContent-Type: message/rfc822\n\nSubject: plain inner\n\ntext\n"
    "--o--\n";

std::string ReadAll(absl::StatusOr<std::unique_ptr<SectionReader>> reader, size_t piece_bytes) {
  if (!reader.ok()) return "[" + std::string(absl::StatusCodeToString(reader.status().code())) + "]";
  std::string bytes;
  while (true) {
    auto piece = (*reader)->Next(piece_bytes);
    EXPECT_TRUE(piece.ok()) << piece.status();
    if (!piece.ok() || piece->empty()) break;
    EXPECT_LE(piece->size(), piece_bytes);
    bytes += *piece;
  }
  EXPECT_EQ(bytes.size(), (*reader)->bytes());
  EXPECT_EQ((*reader)->bytes_left(), 0U);
  return bytes;
}

// With the structure, and where it can do without: the same.
std::string Fetch(const std::string& text, const SectionSpec& spec) {
  auto body = std::make_shared<MemoryMessage>(text);
  const auto structure = Structure::Parse(*body);
  EXPECT_TRUE(structure.ok());
  const uint64_t crlf_bytes = ToCrlf(text).size();
  std::string bytes = ReadAll(SectionReader::Open(body, crlf_bytes, &*structure, spec, std::nullopt), 1000);
  if (!NeedsStructure(spec, std::nullopt)) {
    EXPECT_EQ(ReadAll(SectionReader::Open(body, crlf_bytes, nullptr, spec, std::nullopt), 3), bytes);
  }
  return bytes;
}

std::string Part(std::vector<uint32_t> part, Text text = Text::kAll, std::vector<std::string> fields = {}) {
  return Fetch(kMessage, {std::move(part), text, std::move(fields)});
}

TEST(Section, WholeHeaderText) {
  const std::string all = ToCrlf(kMessage);
  EXPECT_EQ(Part({}), all);
  EXPECT_EQ(Part({}, Text::kHeader), all.substr(0, all.find("preamble")));
  EXPECT_EQ(Part({}, Text::kText), all.substr(all.find("preamble")));
}

// RFC 3501, 9: CHAR8 is any octet but NUL.
TEST(Section, ANulIsSaidOtherwise) {
  const std::string nul(1, '\0');
  EXPECT_EQ(Fetch("A: b\n\n" + nul + "x" + nul + "\n", {{}, Text::kText, {}}), "\x80x\x80\r\n");
}

TEST(Section, Parts) {
  EXPECT_EQ(Part({1}), "first\r\n");
  EXPECT_EQ(Part({1}, Text::kMime), "Content-Type: text/plain\r\n\r\n");
  EXPECT_EQ(Part({1, 1}), "first\r\n");  // as Dovecot: the part itself
  EXPECT_EQ(Part({1, 1, 1}), "[NOT_FOUND]");
  EXPECT_EQ(Part({1, 2}), "[NOT_FOUND]");
  EXPECT_EQ(Part({4}), "[NOT_FOUND]");
  EXPECT_EQ(Part({0}), "[NOT_FOUND]");
  EXPECT_EQ(Part({4294967295}), "[NOT_FOUND]");
  EXPECT_EQ(Part({1}, Text::kHeader), "[NOT_FOUND]");
  EXPECT_EQ(Part({1}, Text::kText), "[NOT_FOUND]");
}

TEST(Section, NestedMessages) {
  EXPECT_EQ(Part({2}, Text::kMime), "Content-Type: message/rfc822\r\nX: y\r\n\r\n");
  EXPECT_EQ(Part({2}, Text::kHeader), "Subject: inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n");
  EXPECT_EQ(Part({2}), Part({2}, Text::kHeader) + Part({2}, Text::kText));
  EXPECT_EQ(Part({2, 1}), "in 1");
  EXPECT_EQ(Part({2, 2}), "in 2");
  EXPECT_EQ(Part({2, 2}, Text::kMime), "Content-Type: text/html\r\n\r\n");
  EXPECT_EQ(Part({2, 3}), "[NOT_FOUND]");
  EXPECT_EQ(Part({3, 1}), "text");
  EXPECT_EQ(Part({3, 1}, Text::kMime), "Subject: plain inner\r\n\r\n");
  EXPECT_EQ(Part({3, 2}), "[NOT_FOUND]");
  EXPECT_EQ(Part({2}, Text::kHeaderFields, {"SUBJECT"}), "Subject: inner\r\n\r\n");
}

// RFC 3501, 6.4.5: every message has a part 1.
TEST(Section, PartOneOfAPlainMessage) {
  const std::string text = "Subject: x\n\nbody\n";
  EXPECT_EQ(Fetch(text, {{1}, Text::kAll, {}}), "body\r\n");
  EXPECT_EQ(Fetch(text, {{2}, Text::kAll, {}}), "[NOT_FOUND]");
  EXPECT_EQ(Fetch(text, {{1, 1}, Text::kAll, {}}), "[NOT_FOUND]");
}

TEST(Section, HeaderFields) {
  EXPECT_EQ(Part({}, Text::kHeaderFields, {"x-A", "Nothing"}), "X-A: 1\r\nx-a: 2\r\n\r\n");
  EXPECT_EQ(Part({}, Text::kHeaderFields, {"content-type"}), "Content-Type: multipart/mixed;\r\n boundary=o\r\n\r\n");
  EXPECT_EQ(Part({}, Text::kHeaderFieldsNot, {"Content-Type"}), "Subject: outer\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
  EXPECT_EQ(Part({}, Text::kHeaderFields, {"None"}), "\r\n");
  // 7.4.2: no blank line where the message has none
  EXPECT_EQ(Fetch("Subject : x\nTo: y\n", {{}, Text::kHeaderFields, {"subject"}}), "Subject : x\r\n");
  EXPECT_EQ(Fetch("", {{}, Text::kHeaderFields, {"subject"}}), "");
  const std::string longline(200000, 'z');
  EXPECT_EQ(Fetch("A: " + longline + "\n " + longline + "\nB: b\n\n", {{}, Text::kHeaderFieldsNot, {"a"}}),
            "B: b\r\n\r\n");
}

TEST(Section, PartialsAreSlices) {
  const std::vector<SectionSpec> specs = {
      {{}, Text::kAll, {}}, {{}, Text::kHeaderFields, {"Subject", "x-a"}}, {{2}, Text::kText, {}}};
  auto body = std::make_shared<MemoryMessage>(kMessage);
  const auto structure = Structure::Parse(*body);
  ASSERT_TRUE(structure.ok());
  for (const SectionSpec& spec : specs) {
    const std::string whole = Fetch(kMessage, spec);
    for (uint64_t offset = 0; offset <= whole.size() + 2; ++offset) {
      for (const uint64_t length : {1U, 2U, 3U, 7U, 1000U}) {
        const std::string expected = offset < whole.size() ? whole.substr(offset, length) : "";
        EXPECT_EQ(ReadAll(SectionReader::Open(body, structure->file().crlf_bytes(), &*structure, spec,
                                              PartialRange{offset, length}),
                          2),
                  expected)
            << offset << " " << length;
      }
    }
  }
}

TEST(Section, PartialFarInsideIsFoundByMarks) {
  std::mt19937 random(7);
  std::string text = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n";
  const size_t begin = text.size();
  while (text.size() < 3000000) text += std::string(random() % 150, 'q') + std::to_string(random()) + "\n";
  const size_t end = text.size() - 1;
  text += "--b--\n";
  auto body = std::make_shared<MemoryMessage>(text);
  const auto structure = Structure::Parse(*body);
  ASSERT_TRUE(structure.ok());
  const std::string part = ToCrlf(text.substr(begin, end - begin));
  const uint64_t crlf_bytes = structure->file().crlf_bytes();
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = random() % part.size();
    body->bytes_read = 0;
    auto reader = SectionReader::Open(body, crlf_bytes, &*structure, {{1}, Text::kAll, {}}, PartialRange{offset, 300});
    ASSERT_TRUE(reader.ok());
    std::string bytes;
    for (auto piece = (*reader)->Next(77); piece.ok() && !piece->empty(); piece = (*reader)->Next(77)) bytes += *piece;
    EXPECT_EQ(bytes, part.substr(offset, 300));
    EXPECT_LT(body->bytes_read, 3 * kNewlineMarkBytes);  // not from the start
  }
}

TEST(Section, AChangedFileIsNoticed) {
  auto body = std::make_shared<MemoryMessage>("A: b\n\nc\n");
  const auto structure = Structure::Parse(MemoryMessage("A: b\n\nother\n"));
  EXPECT_EQ(SectionReader::Open(body, 11, &*structure, {}, std::nullopt).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(SectionReader::Open(body, 5, nullptr, {}, std::nullopt).status().code(), absl::StatusCode::kDataLoss);
  auto reader = SectionReader::Open(body, 12, nullptr, {}, std::nullopt);  // one line more than there is
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->Next(100).status().code(), absl::StatusCode::kDataLoss);
  body->fail_at_read = 0;
  reader = SectionReader::Open(body, 11, nullptr, {}, std::nullopt);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->Next(100).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace gemel::imap
