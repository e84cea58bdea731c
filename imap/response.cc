#include "imap/response.h"

#include <algorithm>
#include <charconv>

#include "imap/cursor.h"
#include "maildir/utf7.h"

namespace gemel::imap {

void AppendNumber(uint64_t number, std::string* out) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out->append(digits, static_cast<size_t>(end - digits));
}

void AppendString(std::string_view text, std::string* out) {
  constexpr size_t kQuotedBytesMax = 1024;
  const bool quotable = text.size() <= kQuotedBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
                          return static_cast<unsigned char>(c) < 0x80 && c != '\0' && c != '\r' && c != '\n';
                        });
  if (!quotable) {
    *out += '{';
    AppendNumber(text.size(), out);
    *out += "}\r\n";
    *out += text;
    return;
  }
  *out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') *out += '\\';
    *out += c;
  }
  *out += '"';
}

void AppendAstring(std::string_view text, std::string* out) {
  const bool atom =
      !text.empty() && std::all_of(text.begin(), text.end(), IsAtomChar) && !EqualsIgnoringCase(text, "NIL");
  if (atom) {
    *out += text;
  } else {
    AppendString(text, out);
  }
}

void AppendMailboxName(std::string_view utf8, std::string* out) {
  const auto name = maildir::Utf7FromUtf8(utf8);
  AppendAstring(name.ok() ? std::string_view(*name) : utf8, out);
}

void AppendFlags(journal::Flags flags, bool recent, const std::vector<std::string>& keywords, std::string* out) {
  const size_t start = out->size();
  const auto add = [out, start](std::string_view word) {
    if (out->size() > start) *out += ' ';
    *out += word;
  };
  if ((flags & journal::kAnswered) != 0) add("\\Answered");
  if ((flags & journal::kFlagged) != 0) add("\\Flagged");
  if ((flags & journal::kDeleted) != 0) add("\\Deleted");
  if ((flags & journal::kSeen) != 0) add("\\Seen");
  if ((flags & journal::kDraft) != 0) add("\\Draft");
  if (recent) add("\\Recent");
  for (const std::string& keyword : keywords) add(keyword);
}

std::string Printable(std::string_view text) {
  constexpr size_t kBytesMax = 400;
  std::string out(text.substr(0, kBytesMax));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

}  // namespace gemel::imap
