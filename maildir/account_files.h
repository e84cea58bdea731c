// One account's directories and message files:
//
//   Maildir/{cur,new,tmp}          INBOX
//   Maildir/.A.B/{cur,new,tmp}     "A/B"
//   Maildir/[.A.B/]gemel-mailbox   the mailbox's id, 32 hex digits: the directory itself says whose it is, so that a
//                                  crash between a rename and its row in the index leaves no doubt
//   spool/<base>                   bodies that wait for their Place
//   expunged/<day>/<base>          bodies of expunged messages, by the UTC day on which they were moved there
//   aside/                         directories in the way of a rename, until theirs comes
//
// Threads: one at a time. Errors name the file: NotFound, ResourceExhausted (disk full), Unavailable.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "maildir/account_state.h"

namespace gemel::maildir {

inline constexpr size_t kCopyBytes = 256 * 1024;  // pieces in which a large body is copied

// Where a file's bytes come from: the trace, then either of the two.
struct BodySource {
  std::string_view trace;
  std::string_view bytes;
  std::string path;  // not empty: of a spooled body, instead of `bytes`
};

class AccountFiles {
 public:
  AccountFiles(journal::Disk& disk, std::string directory);

  // Reads which directory is whose; of those it knows, cur/, new/ and tmp/ are there then, whatever a crash has left.
  absl::Status Open();
  bool has_maildir() const { return has_maildir_; }
  const std::string& directory() const { return directory_; }
  std::string maildir() const { return directory_ + "/Maildir"; }

  // Makes the mailbox's directory, or renames it. A directory in the way goes aside, and comes back when its own
  // mailbox is put somewhere. A crash leaves a directory without a marker (made anew) or one of the two names.
  absl::Status PlaceMailbox(const MailboxId& mailbox, const std::string& name);
  // A directory for a mailbox whose name is not known (any more), out of sight.
  absl::Status MakeAside(const MailboxId& mailbox);
  // What is still in it goes to expunged/. Absent: fine.
  absl::Status RemoveMailbox(const MailboxId& mailbox, const std::string& day);
  // nullptr: no such mailbox.
  const std::string* Find(const MailboxId& mailbox) const;
  const std::map<MailboxId, std::string>& mailboxes() const { return paths_; }

  // A whole file under this name. One that is there already with other bytes (a torn one, replayed) is replaced.
  // A crash leaves nothing, or a file in tmp/, or the file (not synced).
  absl::Status CreateMessage(const std::string& path, const BodySource& body, int64_t mtime_s);
  // Makes `to` a name of `from`'s file, whatever it was; a copy of it, where that has as many names as there may be. A
  // crash may leave a link or a part of the copy in tmp/.
  absl::Status LinkOver(const std::string& from, const std::string& to);
  absl::Status Rename(const std::string& from, const std::string& to);    // makes to's directory if that is missing
  absl::Status Expunge(const std::string& path, const std::string& day);  // NotFound: it is gone

  std::string SpoolPath(std::string_view base) const;
  // Of all days, the newest; nullopt: none.
  std::optional<std::string> FindExpunged(std::string_view base) const;
  // In new/ or cur/ of this directory, whatever stands behind the base.
  std::optional<std::string> ScanFor(const std::string& mailbox_path, std::string_view base) const;

  journal::Disk& disk() const { return disk_; }

 private:
  // A directory's own name must be durable before a message is moved into it: a power cut could keep the rename and
  // lose the directory. Made rarely: with a mailbox, and once a day for expunged/.
  absl::Status MakeDurably(const std::string& path);
  absl::Status MakeMailbox(const MailboxId& mailbox, const std::string& path);
  absl::Status ClearTheWay(const std::string& path);
  absl::Status WriteBeside(const std::string& beside, const BodySource& body, int64_t mtime_s);
  void ReadMarker(const std::string& path);
  int64_t MarkerMade(const std::string& path) const;  // seconds since 1970

  journal::Disk& disk_;
  std::string directory_;
  bool has_maildir_ = false;
  std::map<MailboxId, std::string> paths_;  // full paths, without a slash at the end
};

// "new/x" or "cur/x" under some directory -> "tmp/x" there.
std::string TmpPathOf(const std::string& path);

}  // namespace gemel::maildir
