#include "maildir/folder_names.h"

#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "maildir/utf7.h"

namespace gemel::maildir {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";

// As listescape: the separator, the escape itself, and a '~' at the start, which Dovecot would take for a home
// directory.
std::string EscapeLevel(std::string_view level, bool first) {
  std::string out;
  for (size_t i = 0; i < level.size(); ++i) {
    const char c = level[i];
    if (c == '.' || c == '\\' || (c == '~' && first && i == 0)) {
      out.push_back('\\');
      out.push_back(kHex[static_cast<uint8_t>(c) >> 4]);
      out.push_back(kHex[static_cast<uint8_t>(c) & 15]);
    } else {
      out.push_back(c);
    }
  }
  return out;
}

absl::Status CheckLevel(std::string_view level) {
  if (level.empty()) return absl::InvalidArgumentError("the mailbox name has an empty level");
  if (level == "." || level == "..") {
    return absl::InvalidArgumentError("\".\" and \"..\" are not levels of a mailbox name");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsInbox(std::string_view name) {
  return absl::EqualsIgnoreCase(absl::string_view(name.data(), name.size()), "INBOX");
}

std::string FoldInbox(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  std::string folded(name);
  if (IsInbox(first)) folded.replace(0, first.size(), "INBOX");
  return folded;
}

bool IsSameMailbox(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const size_t first = a.substr(0, a.find('/')).size();
  const bool inbox = IsInbox(a.substr(0, first)) && IsInbox(b.substr(0, b.find('/')));
  return inbox ? a.substr(first) == b.substr(first) : a == b;
}

absl::Status CheckMailboxName(std::string_view utf8) { return DirectoryOfMailbox(utf8).status(); }

absl::StatusOr<std::string> DirectoryOfMailbox(std::string_view utf8) {
  if (IsInbox(utf8)) return std::string();
  if (!IsUtf8(utf8)) return absl::InvalidArgumentError("the mailbox name is not UTF-8");
  for (size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<uint8_t>(utf8[i]);
    // C0, DEL, and C1 as UTF-8 writes it (RFC 9051, 5.1).
    const bool c1 = byte == 0xc2 && i + 1 < utf8.size() && static_cast<uint8_t>(utf8[i + 1]) < 0xa0;
    if (byte < 0x20 || byte == 0x7f || c1) {
      return absl::InvalidArgumentError("the mailbox name has a control character");
    }
  }
  std::string directory;
  for (size_t start = 0; start <= utf8.size();) {
    const size_t end = std::min(utf8.find('/', start), utf8.size());
    const std::string_view level = utf8.substr(start, end - start);
    if (absl::Status status = CheckLevel(level); !status.ok()) return status;
    auto encoded = Utf7FromUtf8(EscapeLevel(level, start == 0));
    if (!encoded.ok()) return encoded.status();
    directory += "." + *encoded;
    start = end + 1;
  }
  if (directory.size() > kDirectoryNameBytesMax) {
    return absl::InvalidArgumentError("the mailbox name is too long: " + std::to_string(directory.size()) +
                                      " bytes on disk, at most " + std::to_string(kDirectoryNameBytesMax));
  }
  return directory;
}

absl::StatusOr<std::string> MailboxOfDirectory(std::string_view directory) {
  if (directory.empty()) return std::string("INBOX");
  if (directory.front() != '.') return absl::InvalidArgumentError("not a Maildir++ folder");
  std::string escaped;
  for (const char c : directory.substr(1)) escaped.push_back(c == '.' ? '/' : c);
  auto utf8 = Utf8FromUtf7(escaped);
  if (!utf8.ok()) return utf8.status();
  std::string name;
  for (size_t i = 0; i < utf8->size(); ++i) {
    if ((*utf8)[i] != '\\') {
      name.push_back((*utf8)[i]);
      continue;
    }
    const size_t high = i + 1 < utf8->size() ? kHex.find((*utf8)[i + 1]) : std::string_view::npos;
    const size_t low = i + 2 < utf8->size() ? kHex.find((*utf8)[i + 2]) : std::string_view::npos;
    if (high == std::string_view::npos || low == std::string_view::npos) {
      return absl::InvalidArgumentError("a backslash without two hexadecimal digits");
    }
    name.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  // One name, one directory: anything else is somebody else's spelling.
  auto again = DirectoryOfMailbox(name);
  if (!again.ok()) return again.status();
  if (*again != directory) return absl::InvalidArgumentError("not how this name is written here");
  return name;
}

}  // namespace gemel::maildir
