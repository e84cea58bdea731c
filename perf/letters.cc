#include "perf/letters.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace gemel::perf {
namespace {

constexpr std::string_view kIdMark = "IDIDIDIDIDIDIDID";
constexpr size_t kPoolLetters = 64;
constexpr size_t kBase64Line = 76;

constexpr std::array<std::string_view, 160> kWords = {
    "the",       "to",       "and",       "of",        "a",        "in",        "we",       "for",       "is",
    "you",       "that",     "on",        "it",        "with",     "have",      "be",       "this",      "at",
    "as",        "will",     "are",       "can",       "not",      "from",      "please",   "our",       "by",
    "if",        "your",     "or",        "but",       "was",      "has",       "all",      "would",     "they",
    "so",        "what",     "do",        "me",        "an",       "there",     "when",     "about",     "which",
    "should",    "one",      "some",      "time",      "just",     "need",      "new",      "know",      "after",
    "who",       "their",    "also",      "other",     "them",     "more",      "could",    "then",      "out",
    "week",      "server",   "meeting",   "order",     "invoice",  "attached",  "question", "report",    "thanks",
    "number",    "already",  "tomorrow",  "monday",    "customer", "delivery",  "version",  "problem",   "change",
    "message",   "project",  "draft",     "contract",  "budget",   "password",  "printer",  "holiday",   "train",
    "minutes",   "account",  "payment",   "address",   "together", "probably",  "perhaps",  "yesterday", "between",
    "release",   "schedule", "agenda",    "committee", "proposal", "reference", "document", "signature", "approve",
    "colleague", "travel",   "hotel",     "ticket",    "backup",   "network",   "cable",    "disk",      "failure",
    "restart",   "update",   "install",   "package",   "archive",  "folder",    "letter",   "regards",   "sincerely",
    "morning",   "evening",  "afternoon", "office",    "building", "floor",     "kitchen",  "coffee",    "garden",
    "bicycle",   "weather",  "rain",      "winter",    "summer",   "music",     "concert",  "museum",    "library",
    "lecture",   "student",  "teacher",   "exam",      "result",   "chapter",   "author",   "publisher", "edition",
    "harbour",   "island",   "mountain",  "river",     "village",  "market",    "baker"};

// splitmix64: the same letters from the same seed on every machine.
uint64_t Next(uint64_t& state) {
  uint64_t z = (state += 0x9E3779B97F4A7C15ULL);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// Common words often, rare ones seldom; one in eight is made of syllables (names, products, numbers), as the
// vocabulary of real mail has no end.
std::string Word(uint64_t& random) {
  const uint64_t draw = Next(random);
  if (draw % 8 == 0) {
    static constexpr std::string_view kSyllables[] = {"ka", "ro", "mi", "ten", "sal", "vor", "lin", "des",
                                                      "pa", "qu", "er", "ost", "hum", "bri", "zel", "ny"};
    std::string word;
    for (uint64_t bits = draw >> 8, n = 2 + (draw >> 60) % 3; n > 0; --n, bits >>= 4) word += kSyllables[bits & 15];
    return word;
  }
  const double unit = static_cast<double>(draw >> 11) * 0x1p-53;
  return std::string(kWords[static_cast<size_t>(unit * unit * kWords.size())]);
}

std::string Base64(uint64_t& random, size_t chars) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < chars; ++i) text += kAlphabet[Next(random) & 63];
  return text;
}

void AppendProse(uint64_t& random, size_t bytes, std::string& out) {
  const size_t end = out.size() + bytes;
  size_t line = 0;
  while (out.size() < end) {
    const std::string word = Word(random);
    out += word;
    line += word.size() + 1;
    if (line > 66) {
      out += "\r\n";
      line = 0;
    } else {
      out += Next(random) % 12 == 0 ? ", " : " ";
    }
  }
}

}  // namespace

Letters::Letters(size_t size_bytes, uint64_t seed) : seed_(seed), random_(seed) {
  size_bytes = std::max(size_bytes, kSizeBytesMin);
  for (size_t i = 0; i < kPoolLetters; ++i) {
    Letter letter;
    letter.text = Make(size_bytes, i % 5 == 0);
    for (size_t at = 0; (at = letter.text.find(kIdMark, at)) != std::string::npos; at += kIdMark.size()) {
      letter.id_offsets.push_back(at);
    }
    pool_.push_back(std::move(letter));
  }
}

std::string Letters::Make(size_t size_bytes, bool with_attachment) {
  const uint64_t who = Next(random_);
  std::string subject;
  for (int i = 0; i < 4; ++i) subject += Word(random_) + ' ';
  std::string text = fmt::format(
      "Received: from relay{0}.example.org (relay{0}.example.org [192.0.2.{0}])\r\n"
      "\tby mx.example.test with ESMTPS id {1}; Mon, 23 Nov 2026 09:{2:02}:{3:02} +0100\r\n"
      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=k{0};\r\n\tbh={4};\r\n\tb={5}\r\n\t "
      "{6}\r\n"
      "Message-ID: <{1}.{0}@example.org>\r\n"
      "Date: Mon, 23 Nov 2026 09:{2:02}:{3:02} +0100\r\n"
      "From: \"Sender {0}\" <sender{0}@example.org>\r\n"
      "To: Users of the Pair <users@example.test>\r\n"
      "Subject: {7}\r\n"
      "MIME-Version: 1.0\r\n",
      who % 200 + 1, kIdMark, (who >> 8) % 60, (who >> 16) % 60, Base64(random_, 44), Base64(random_, 70),
      Base64(random_, 40), subject);
  const std::string plain = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n";
  const std::string boundary = "=_part_" + Base64(random_, 16);
  const std::string close = "\r\n--" + boundary + "--\r\n";
  text +=
      with_attachment ? fmt::format("Content-Type: multipart/mixed; boundary=\"{0}\"\r\n\r\n--{0}\r\n", boundary) : "";
  text += plain + fmt::format("Reference {}\r\n\r\n", kIdMark);
  if (pool_.size() == 7) text += fmt::format("Greetings from {}.\r\n", RareWord());
  if (!with_attachment) {
    AppendProse(random_, size_bytes - std::min(size_bytes, text.size() + 100), text);
  } else {
    AppendProse(random_, (size_bytes - std::min(size_bytes, text.size() + 400)) / 2, text);
    text += fmt::format(
        "\r\n--{}\r\nContent-Type: application/pdf; name=\"paper.pdf\"\r\nContent-Transfer-Encoding: base64\r\n"
        "Content-Disposition: attachment; filename=\"paper.pdf\"\r\n\r\n",
        boundary);
    while (text.size() + kBase64Line + 2 + close.size() + 80 < size_bytes) {
      text += Base64(random_, kBase64Line) + "\r\n";
    }
    text += close;
  }
  // The last line, or the epilogue, makes the size exact.
  if (text.size() + 2 < size_bytes) {
    const size_t fill = size_bytes - text.size() - 2;
    for (size_t i = 0; i < fill; ++i) text += static_cast<char>('a' + i % 26);
  }
  text += "\r\n";
  return text;
}

void Letters::Append(uint64_t id, std::string& out) {
  const Letter& letter = pool_[Next(random_) % pool_.size()];
  const size_t start = out.size();
  out += letter.text;
  char digits[17];
  // Mixed with the seed, so that two runs do not bring the same letters; one-to-one in `id`.
  std::snprintf(digits, sizeof digits, "%016llx",
                static_cast<unsigned long long>((id + 1) * 0x9E3779B97F4A7C15ULL ^ seed_ * 0xD1B54A32D192ED03ULL));
  for (const size_t at : letter.id_offsets) std::memcpy(out.data() + start + at, digits, 16);
}

}  // namespace gemel::perf
