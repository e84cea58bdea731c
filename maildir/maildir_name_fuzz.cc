// File and folder names, as other programs may have left them in a Maildir: never a crash, and whatever is taken is
// written again as the same bytes.
#include <cstdlib>
#include <string>
#include <string_view>

#include "maildir/account_path.h"
#include "maildir/file_name.h"
#include "maildir/folder_names.h"
#include "maildir/utf7.h"

namespace {

void Check(bool good) {
  if (!good) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gemel::maildir;
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  if (const auto name = ParseFileName(in)) {
    Check(IsOwnFileName(in) && name->base == BaseOf(in));
    std::string again(name->base);
    if (name->has_flags) {
      again += ":2," + MaildirFlagLetters(name->flags, {}) + std::string(name->keyword_letters);
    }
    Check(again == in);
  }
  FlagsOfAnyName(in);
  if (const auto directory = DirectoryOfMailbox(in); directory.ok()) {
    Check(directory->find('/') == std::string::npos && directory->find('\0') == std::string::npos);
    Check(*directory != "." && *directory != "..");
    const auto back = MailboxOfDirectory(*directory);
    Check(back.ok() && (*back == in || IsInbox(in)));
  }
  if (const auto mailbox = MailboxOfDirectory(in); mailbox.ok()) Check(*DirectoryOfMailbox(*mailbox) == in);
  if (const auto utf8 = Utf8FromUtf7(in); utf8.ok()) Check(IsUtf8(*utf8) && *Utf7FromUtf8(*utf8) == in);
  const std::string path = AccountPath(in);
  const size_t slash = path.find('/');
  Check(slash != std::string::npos && path.find('/', slash + 1) == std::string::npos);
  Check(path.front() != '.' && path[slash + 1] != '.' && slash > 0 && slash + 1 < path.size());
  return 0;
}
