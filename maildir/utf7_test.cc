#include "maildir/utf7.h"

#include <gtest/gtest.h>

#include <random>

namespace gemel::maildir {
namespace {

TEST(Utf7, KnownNames) {
  const std::pair<const char*, const char*> names[] = {
      {"INBOX", "INBOX"},
      {"", ""},
      {"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},  // RFC 3501, 5.1.3
      {"Entwürfe", "Entw&APw-rfe"},
      {"A & B", "A &- B"},
      {"&é&", "&-&AOk-&-"},
      {"😀", "&2D3eAA-"},
      {"a😀é", "a&2D3eAADp-"},
  };
  for (const auto& [utf8, utf7] : names) {
    EXPECT_EQ(*Utf7FromUtf8(utf8), utf7);
    EXPECT_EQ(*Utf8FromUtf7(utf7), utf8) << utf7;
  }
}

TEST(Utf7, EveryCodePointGoesThereAndBack) {
  std::string text;
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    uint32_t code = random() % 0x110000;
    if (i % 3 == 0) code %= 0x400;
    if (code >= 0xd800 && code <= 0xdfff) continue;
    text.clear();
    if (code < 0x80) {
      text = {static_cast<char>(code), 'a', static_cast<char>(code)};
    } else {
      const std::string plain = "x";
      // Through the decoder's own writer: base64 of UTF-16 is checked by KnownNames.
      auto put = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
      if (code < 0x800) {
        put(0xc0 | code >> 6);
      } else if (code < 0x10000) {
        put(0xe0 | code >> 12);
        put(0x80 | (code >> 6 & 63));
      } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 63));
        put(0x80 | (code >> 6 & 63));
      }
      put(0x80 | (code & 63));
      if (i % 2 == 0) text += plain + text;
    }
    const auto encoded = Utf7FromUtf8(text);
    ASSERT_TRUE(encoded.ok()) << code;
    const auto decoded = Utf8FromUtf7(*encoded);
    ASSERT_TRUE(decoded.ok()) << *encoded << decoded.status();
    EXPECT_EQ(*decoded, text);
  }
}

TEST(Utf7, RefusesWhatHasAnotherSpellingOrNone) {
  for (const char* name : {
           "&",           // shift without its end
           "a&AOk",       // the same
           "\xc3\xa9",    // 8-bit
           "a\x01",       // control
           "&AGE-",       // 'a' inside a shift
           "&AOk-&AOk-",  // two shifts where one would do
           "&AOl-",       // padding bits that are not zero
           "&AOkA-",      // a needless digit
           "&2D0-",       // lone high surrogate
           "&3gA-",       // lone low surrogate
           "&2D0AYQ-",    // high surrogate before something else
           "&A-",         // too short for a unit
           "&AO!-",       // not base64
           "&AO/-",       // '/' is ',' here
       }) {
    EXPECT_FALSE(Utf8FromUtf7(name).ok()) << name;
  }
}

TEST(Utf7, RefusesWhatIsNotUtf8) {
  for (const char* name :
       {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "a\xe2\x82"}) {
    EXPECT_FALSE(Utf7FromUtf8(name).ok());
    EXPECT_FALSE(IsUtf8(name));
  }
  EXPECT_TRUE(IsUtf8("aé台😀"));
}

}  // namespace
}  // namespace gemel::maildir
