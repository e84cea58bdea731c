#include "imap/mime_text.h"

#include <cstddef>
#include <cstdint>

namespace gemel::imap {
namespace {

// Above that, escaping every one costs more than a literal's head.
constexpr size_t kEscapesMax = 4;

}  // namespace

void AppendMimeString(std::string* out, std::string_view text) {
  size_t escapes = 0;
  bool literal = false, nul = false;
  for (const char c : text) {
    if (c == '"' || c == '\\') ++escapes;
    if (c == '\0') nul = true;
    if (c == '\r' || c == '\n' || c == '\0' || static_cast<uint8_t>(c) >= 0x80) literal = true;
  }
  if (literal || escapes > kEscapesMax) {
    *out += '{';
    *out += std::to_string(text.size());
    *out += "}\r\n";
    const size_t start = out->size();
    *out += text;
    if (nul) {
      for (size_t i = start; i < out->size(); ++i) {
        if ((*out)[i] == '\0') (*out)[i] = '\x80';
      }
    }
    return;
  }
  *out += '"';
  if (escapes == 0) {
    *out += text;
  } else {
    for (const char c : text) {
      if (c == '"' || c == '\\') *out += '\\';
      *out += c;
    }
  }
  *out += '"';
}

void AppendMimeNString(std::string* out, const std::optional<std::string>& text) {
  if (text) {
    AppendMimeString(out, *text);
  } else {
    *out += "NIL";
  }
}

void AppendHumanString(std::string* out, std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  bool blank = false;
  for (const char c : text) {
    if (c == '\r' || c == '\n') continue;
    if (c == ' ' || c == '\t') {
      blank = true;
      continue;
    }
    if (blank && !clean.empty()) clean += ' ';
    blank = false;
    clean += c;
  }
  AppendMimeString(out, clean);
}

}  // namespace gemel::imap
