// The rules: what one record does to an account. Pure: no clock, disk, socket or random number (design 3).
//
// Total: whatever a record refers to may be gone, and then that part of it has no effect (decision 6). Both nodes and
// the replay tool run exactly this code over the same records, and so hold the same accounts.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/service.h"
#include "journal/journal.h"
#include "maildir/account_state.h"
#include "maildir/store.h"

namespace gemel::engine {

// What follows from applying records: operations for the store, and what sessions must be told. In order.
struct Effects {
  std::vector<maildir::StoreBatch::Item> store;
  struct MailboxEvents {
    MailboxId mailbox;
    std::vector<MailboxEvent> events;
  };
  std::vector<MailboxEvents> events;
  std::vector<MailboxId> deleted_mailboxes;
  std::vector<std::pair<Uid, Uid>> copied;  // of Copy and Move: (old, new); of Deliver: (0, new)
  uint32_t uid_validity = 0;                // of the mailbox that `copied` went to
  // UIDs that another message had already, so that the record left its own message where it was.
  std::vector<std::pair<MailboxId, Uid>> taken;
  bool applied = true;  // false: it had no effect (name taken, mailbox gone ...)

  void Event(const MailboxId& mailbox, EventKind kind, Uid uid, ModSeq modseq);
};

// `frame` holds the record (the body of a Deliver stays in it until the store has written it); `index` says which.
// Records that are not an account's are none of its business and must not be passed.
void Apply(AccountState& state, const std::shared_ptr<const journal::Frame>& frame, size_t index, Effects& effects);

// A command's records are one group: it is done as a whole or not at all. True: its mailboxes' names were taken, or a
// mailbox went, while it was on its way, and none of its records may be applied to its account. Asked before the first
// of them is. `find` gives the account; nullptr: not of interest. (The built-in mailboxes of a new account are no
// command: of those, what is not there yet is made.)
using GroupMember = std::pair<std::shared_ptr<const journal::Frame>, size_t>;
bool IsVoid(const std::vector<GroupMember>& group, const std::function<const AccountState*(const AccountId&)>& find);

// The mailboxes' rows (UIDNEXT, HIGHESTMODSEQ, keywords) of what `effects` touched since `from`; once per batch.
void AppendMailboxRows(const AccountState& state, const std::set<MailboxId>& touched, Effects& effects);
// Mailboxes that the store operations from index `from` on touch.
void CollectTouched(const Effects& effects, size_t from, std::set<MailboxId>& touched);

// The one built-in INBOX of an account.
MailboxId InboxOf(const AccountId& account);

// The mailboxes that a new account has, in the order of their creation.
struct BuiltInMailbox {
  const char* name;
  SpecialUse special_use;
};
inline constexpr BuiltInMailbox kBuiltInMailboxes[] = {
    {"INBOX", SpecialUse::kInbox}, {"Drafts", SpecialUse::kDrafts}, {"Sent", SpecialUse::kSent},
    {"Junk", SpecialUse::kJunk},   {"Trash", SpecialUse::kTrash},   {"Archive", SpecialUse::kArchive},
};

}  // namespace gemel::engine
