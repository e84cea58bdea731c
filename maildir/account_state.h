// What an account is: its mailboxes, messages, flags. The rules that change it live in engine/apply.h; the index and
// the base (this folder) store it. Values only, no I/O.
//
// Threads: none; the engine's loop owns each account's state. The store gets copies of what it must write.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "journal/clock.h"
#include "journal/ids.h"
#include "journal/record.h"

namespace gemel::maildir {

using journal::AccountId;
using journal::Dot;
using journal::Flags;
using journal::Guid;
using journal::MailboxId;
using journal::ModSeq;
using journal::SpecialUse;
using journal::Uid;

// Keywords that a mailbox takes from clients. Its FLAGS are told in one line, and its Maildir has letters for 26.
inline constexpr size_t kMailboxKeywordsMax = 1000;

// Index into Mailbox::keyword_sets; 0 is the empty set.
using KeywordSet = uint32_t;

struct Message {
  Uid uid = 0;
  KeywordSet keywords = 0;
  Dot dot;
  Guid guid;
  ModSeq modseq = 0;
  int64_t internal_date_s = 0;
  uint64_t bytes = 0;       // LF form, on disk
  uint64_t crlf_bytes = 0;  // RFC822.SIZE
  Flags flags = 0;
  bool operator==(const Message&) const = default;
};

// An UID that is gone, for VANISHED (RFC 7162).
struct Vanished {
  Uid uid = 0;
  ModSeq modseq = 0;
  bool operator==(const Vanished&) const = default;
};

struct Mailbox {
  MailboxId id;
  std::string name;  // UTF-8, '/' between levels
  uint32_t uid_validity = 0;
  Uid uid_next = 1;  // state: never goes down
  ModSeq highest_modseq = 0;
  SpecialUse special_use = SpecialUse::kNone;
  std::vector<std::string> keywords;                    // in the order of first use; the first 26 have Maildir letters
  std::vector<std::vector<uint16_t>> keyword_sets{{}};  // sorted indexes into keywords; [0] is empty
  std::vector<Message> messages;                        // sorted by uid
  std::vector<Vanished> vanished;                       // in the order in which they went
  absl::flat_hash_map<Dot, Uid> by_dot;

  Message* Find(Uid uid);
  const Message* Find(Uid uid) const;
  const Message* Find(const Dot& dot) const;
  // The sets are interned: equal sets have equal numbers. Adds names that are new. A name is the same in any case (RFC
  // 9051, 2.3.2), and the mailbox spells it as when it first came: KeywordNames says how. What no index is left for is
  // dropped; who gives commands asks HasRoomFor before it comes to that.
  KeywordSet Intern(const std::vector<std::string>& names);
  bool HasRoomFor(const std::vector<std::string>& names) const;  // within kMailboxKeywordsMax
  std::vector<std::string> KeywordNames(KeywordSet set) const;
  // Keeps `messages` sorted and by_dot right. A message that is there under this UID is replaced. False, and nothing is
  // done: the UID is another message's.
  bool Insert(const Message& message);
  bool Remove(Uid uid);                   // without leaving a Vanished
  void RemoveAll(std::vector<Uid> uids);  // in one pass
};

// A delivery that waits for the home's Place: everything about the message but its UID.
struct Unplaced {
  Message message;  // uid and modseq 0, keywords 0
  MailboxId wanted;
  std::vector<std::string> keywords;
  bool operator==(const Unplaced&) const = default;
};

struct AccountState {
  AccountId id;
  std::string name;           // "ann@example.test", as created
  ModSeq highest_modseq = 0;  // the counter is the account's (decision 5)
  uint32_t last_uid_validity = 0;
  std::map<MailboxId, Mailbox> mailboxes;
  std::set<std::string> subscriptions;  // names
  std::map<Dot, Unplaced> unplaced;
  journal::VectorClock applied;  // the node's applied clock when this state was stored

  Mailbox* Find(const MailboxId& mailbox);
  const Mailbox* Find(const MailboxId& mailbox) const;
  const Mailbox* FindName(std::string_view name) const;  // INBOX in any case (RFC 9051, 5.1)
};

// SHA-256 over the content (ids, names, UIDs, MODSEQs, flags, keyword names, tombstones; not `applied`, not the
// numbering of keyword sets): equal on both nodes when they hold the same.
std::string Digest(const AccountState& state);

// <INTERNALDATE>.<hash of the dot>.gemel,S=<bytes>,W=<crlf bytes>: a function of the record (decision 17).
std::string MaildirBaseName(const Message& message);
// The letters behind ":2,", sorted by ASCII: system flags (DFRST) and keyword letters a-z.
std::string MaildirFlagLetters(Flags flags, const std::vector<uint16_t>& keyword_indexes);

}  // namespace gemel::maildir
