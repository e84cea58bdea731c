// What one session has told its client of the selected mailbox: message numbers, and what has changed since.
//
// A client's message numbers only move when it is told so: EXPUNGE never during FETCH, STORE and SEARCH (RFC 3501,
// 7.4.1). So the session keeps the UIDs that it has told, notes events as they come, and tells them at the end of a
// command, while the account's state is already ahead.
//
// Threads: none; the session's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "engine/service.h"
#include "imap/sequence_set.h"

namespace gemel::imap {

class MailboxView {
 public:
  // As the mailbox is now; messages from `recent_from` on are \Recent to this session.
  MailboxView(const engine::Mailbox& mailbox, bool read_only, engine::Uid recent_from);

  const engine::MailboxId& id() const { return id_; }
  bool read_only() const { return read_only_; }
  engine::Uid recent_from() const { return recent_from_; }
  bool IsRecent(engine::Uid uid) const { return uid >= recent_from_; }
  uint32_t exists() const { return static_cast<uint32_t>(uids_.size()); }
  uint32_t recent() const;
  const std::vector<engine::Uid>& uids() const { return uids_; }  // [0] is message 1

  uint32_t NumberOf(engine::Uid uid) const;  // 0: not in the view
  engine::Uid UidOf(uint32_t number) const { return uids_[number - 1]; }

  // Message numbers that a set names, ascending. False: a number above exists() (not with `uid`, where what is not
  // there is passed over).
  bool Resolve(const SequenceSet& set, bool uid, std::vector<uint32_t>* numbers) const;

  void Note(const std::vector<engine::MailboxEvent>& events);
  void NoteDeleted();  // the mailbox is gone: so are its messages
  bool HasNews() const { return !new_.empty() || !changed_.empty() || !expunged_.empty(); }
  bool HasNewMessages() const { return !new_.empty(); }

  // The client learns this message's flags, or knows them already.
  void ForgetChange(engine::Uid uid) { changed_.erase(uid); }
  bool IsChanged(engine::Uid uid) const { return changed_.contains(uid); }

  // Appends the untagged responses: EXPUNGE (if allowed), EXISTS and RECENT, FETCH of changed flags. `mailbox` is its
  // present state, null if it is gone; `with_uid`: the FETCHes name the UID.
  void Tell(const engine::Mailbox* mailbox, bool expunges, bool with_uid, std::string* out);

 private:
  void TellExpunged(std::string* out);

  engine::MailboxId id_;
  bool read_only_;
  engine::Uid recent_from_;
  std::vector<engine::Uid> uids_;              // ascending
  absl::flat_hash_set<engine::Uid> new_;       // not told yet
  absl::flat_hash_set<engine::Uid> changed_;   // flags
  absl::flat_hash_set<engine::Uid> expunged_;  // in uids_ still
};

}  // namespace gemel::imap
