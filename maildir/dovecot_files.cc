#include "maildir/dovecot_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "maildir/file_name.h"
#include "maildir/folder_names.h"

namespace gemel::maildir {

std::string DovecotUidlist(const Mailbox& mailbox) {
  // 3 V<uidvalidity> N<next uid> G<mailbox guid>, then "<uid> G<guid> :<name without flags>" by UID. The name is the
  // whole base: without its ,S= and ,W= Dovecot silently takes the file for a new one.
  std::string out = fmt::format("3 V{} N{} G{}\n", mailbox.uid_validity, mailbox.uid_next, mailbox.id.hex());
  for (const Message& message : mailbox.messages) {
    out += fmt::format("{} G{} :{}\n", message.uid, message.guid.hex(), MaildirBaseName(message));
  }
  return out;
}

std::string DovecotKeywords(const Mailbox& mailbox) {
  std::string out;
  for (size_t i = 0; i < std::min<size_t>(mailbox.keywords.size(), 26); ++i) {
    out += fmt::format("{} {}\n", i, mailbox.keywords[i]);
  }
  return out;
}

std::string DovecotSubscriptions(const AccountState& state) {
  std::string out = "V\t2\n\n";
  for (const std::string& name : state.subscriptions) {
    // As on disk (listescape's spelling), but a TAB between levels; INBOX by its name.
    const auto directory = DirectoryOfMailbox(name);
    if (!directory.ok()) continue;  // no such mailbox can ever be
    out += directory->empty() ? "INBOX" : absl::StrReplaceAll(directory->substr(1), {{".", "\t"}});
    out += '\n';
  }
  return out;
}

namespace {

// Not synced by itself: one sync of the file system does it for all accounts.
absl::Status Replace(journal::Disk& disk, const std::string& path, std::string_view bytes) {
  const std::string beside = path + ".new";
  auto file = disk.Open(beside, journal::OpenMode::kCreate);
  if (!file.ok()) return file.status();
  absl::Status status = (*file)->Truncate(0);
  if (status.ok()) status = (*file)->WriteAt(0, bytes);
  file->reset();
  return status.ok() ? disk.Rename(beside, path) : status;
}

}  // namespace

absl::Status WriteDovecot(const AccountFiles& files, const AccountState& state) {
  journal::Disk& disk = files.disk();
  if (state.mailboxes.empty()) return absl::OkStatus();  // just made: there is no Maildir yet, nor anything to list
  for (const auto& [id, mailbox] : state.mailboxes) {
    const std::string* path = files.Find(id);
    if (path == nullptr) return absl::InternalError("mailbox " + mailbox.name + " has no directory");
    if (absl::Status s = Replace(disk, *path + "/dovecot-uidlist", DovecotUidlist(mailbox)); !s.ok()) return s;
    const std::string keywords = DovecotKeywords(mailbox);
    const absl::Status s = keywords.empty() ? disk.Remove(*path + "/dovecot-keywords")
                                            : Replace(disk, *path + "/dovecot-keywords", keywords);
    if (!s.ok() && !absl::IsNotFound(s)) return s;
  }
  return Replace(disk, files.maildir() + "/subscriptions", DovecotSubscriptions(state));
}

}  // namespace gemel::maildir
