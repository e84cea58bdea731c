#include "imap/decode.h"

#include <gmime/gmime.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "imap/mime_header.h"
#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

void AppendUtf8(std::string* out, gunichar c) {
  std::array<char, 6> bytes;
  out->append(bytes.data(), static_cast<size_t>(g_unichar_to_utf8(c, bytes.data())));
}

// What RFC 5051 (i;unicode-casemap) does: case out, then compatibility decomposition, one character at a time, so that
// text can come in pieces.
void AppendFolded(std::string* out, std::string_view character) {
  gchar* folded = g_utf8_casefold(character.data(), static_cast<gssize>(character.size()));
  for (const gchar* p = folded; *p != '\0'; p = g_utf8_next_char(p)) {
    const gunichar c = g_utf8_get_char(p);
    if (c < 0x80) {
      *out += static_cast<char>(c);
      continue;
    }
    std::array<gunichar, G_UNICHAR_MAX_DECOMPOSITION_LENGTH> parts;
    const gsize n = g_unichar_fully_decompose(c, TRUE, parts.data(), parts.size());
    for (gsize i = 0; i < n; ++i) AppendUtf8(out, g_unichar_tolower(parts[i]));
  }
  g_free(folded);
}

// The charset's name for iconv, nullptr where no conversion is wanted: UTF-8 and what is within it.
bool IsUtf8Name(std::string_view charset) {
  return charset.empty() || EqualsIgnoringCase(charset, "utf-8") || EqualsIgnoringCase(charset, "utf8") ||
         EqualsIgnoringCase(charset, "us-ascii") || EqualsIgnoringCase(charset, "ascii");
}

iconv_t OpenIconv(std::string_view charset) {
  InitMime();
  // Names come from letters; iconv would read a path or options out of some of them.
  for (const char c : charset) {
    if (!g_ascii_isalnum(c) && c != '-' && c != '_' && c != '.' && c != ':' && c != '+') {
      return reinterpret_cast<iconv_t>(-1);
    }
  }
  if (charset.size() > 64) return reinterpret_cast<iconv_t>(-1);
  return g_mime_iconv_open("UTF-8", std::string(charset).c_str());
}
bool IsOpen(iconv_t cd) { return cd != reinterpret_cast<iconv_t>(-1); }

}  // namespace

void InitMime() {
  static std::once_flag once;
  std::call_once(once, [] { g_mime_init(); });
}

std::string FoldCase(std::string_view utf8) {
  // Most text is ASCII to its end.
  std::string out(utf8.size(), '\0');
  size_t i = 0;
  for (; i < utf8.size() && static_cast<uint8_t>(utf8[i]) < 0x80; ++i) {
    const char c = utf8[i];
    out[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  }
  out.resize(i);
  while (i < utf8.size()) {
    const char c = utf8[i];
    if (static_cast<uint8_t>(c) < 0x80) {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
      ++i;
      continue;
    }
    const gunichar decoded = g_utf8_get_char_validated(utf8.data() + i, static_cast<gssize>(utf8.size() - i));
    if (decoded == static_cast<gunichar>(-1) || decoded == static_cast<gunichar>(-2)) {
      std::string latin1;
      AppendUtf8(&latin1, static_cast<uint8_t>(c));
      AppendFolded(&out, latin1);
      ++i;
      continue;
    }
    const auto bytes = static_cast<size_t>(g_utf8_next_char(utf8.data() + i) - (utf8.data() + i));
    AppendFolded(&out, utf8.substr(i, bytes));
    i += bytes;
  }
  return out;
}

std::optional<std::string> ToUtf8(std::string_view text, std::string_view charset) {
  if (IsUtf8Name(charset)) return std::string(text);
  const iconv_t cd = OpenIconv(charset);
  if (!IsOpen(cd)) return std::nullopt;
  std::string in(text), out(text.size() * 4 + 16, '\0');
  char* from = in.data();
  char* to = out.data();
  size_t from_left = in.size(), to_left = out.size();
  bool ok = iconv(cd, &from, &from_left, &to, &to_left) != static_cast<size_t>(-1);
  ok = iconv(cd, nullptr, nullptr, &to, &to_left) != static_cast<size_t>(-1) && ok;
  g_mime_iconv_close(cd);
  if (!ok) return std::nullopt;
  out.resize(out.size() - to_left);
  return out;
}

std::string DecodeHeader(std::string_view raw_value) {
  std::string value = Unfold(raw_value);
  std::replace(value.begin(), value.end(), '\0', ' ');
  if (value.find("=?") == std::string::npos) {
    return value;  // FoldCase takes what is no UTF-8 for Latin-1
  }
  InitMime();
  char* decoded = g_mime_utils_header_decode_text(nullptr, value.c_str());
  std::string out = decoded != nullptr ? decoded : value;
  g_free(decoded);
  return out;
}

class TextDecoder::Impl {
 public:
  Impl(std::string_view encoding, std::string_view charset) {
    InitMime();
    g_mime_encoding_init_decode(&transfer_, g_mime_content_encoding_from_string(std::string(encoding).c_str()));
    if (IsUtf8Name(charset)) return;
    iconv_ = OpenIconv(charset);
    if (!IsOpen(iconv_)) iconv_ = OpenIconv("windows-1252");
  }
  ~Impl() {
    if (IsOpen(iconv_)) g_mime_iconv_close(iconv_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::string Decode(std::string_view bytes, bool last) {
    std::string decoded(g_mime_encoding_outlen(&transfer_, bytes.size()) + 16, '\0');
    const size_t n = last ? g_mime_encoding_flush(&transfer_, bytes.data(), bytes.size(), decoded.data())
                          : g_mime_encoding_step(&transfer_, bytes.data(), bytes.size(), decoded.data());
    decoded.resize(n);
    pending_ += decoded;
    return IsOpen(iconv_) ? Convert(last) : TakeUtf8(last);
  }

 private:
  // All of pending_ but a character that is cut off at its end.
  std::string TakeUtf8(bool last) {
    size_t keep = 0;
    if (!last) {
      for (size_t back = 1; back <= std::min<size_t>(3, pending_.size()); ++back) {
        const auto c = static_cast<uint8_t>(pending_[pending_.size() - back]);
        if (c < 0x80) break;
        if (c < 0xc0) continue;  // within a character
        if (back < (c >= 0xf0 ? 4U : c >= 0xe0 ? 3U : 2U)) keep = back;
        break;
      }
    }
    const std::string out = FoldCase(std::string_view(pending_).substr(0, pending_.size() - keep));
    pending_.erase(0, pending_.size() - keep);
    return out;
  }

  std::string Convert(bool last) {
    std::string out;
    std::array<char, 4096> buffer;
    char* from = pending_.data();
    size_t left = pending_.size();
    while (left > 0) {
      char* to = buffer.data();
      size_t room = buffer.size();
      const size_t result = iconv(iconv_, &from, &left, &to, &room);
      const int error = errno;
      out.append(buffer.data(), buffer.size() - room);
      if (result != static_cast<size_t>(-1) || error == E2BIG) continue;
      if (error == EINVAL && !last) break;  // a character that goes on in the next piece
      out += "\xef\xbf\xbd";                // U+FFFD for a byte that is no character
      ++from;
      --left;
    }
    pending_.erase(0, pending_.size() - left);
    return FoldCase(out);
  }

  GMimeEncoding transfer_;
  iconv_t iconv_ = reinterpret_cast<iconv_t>(-1);
  std::string pending_;  // decoded, not converted
};

TextDecoder::TextDecoder(std::string_view encoding, std::string_view charset)
    : impl_(std::make_unique<Impl>(encoding, charset)) {}
TextDecoder::~TextDecoder() = default;
std::string TextDecoder::Decode(std::string_view bytes) { return impl_->Decode(bytes, false); }
std::string TextDecoder::Finish() { return impl_->Decode({}, true); }

}  // namespace gemel::imap
