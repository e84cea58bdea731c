// Materialises accounts on disk: Maildir++ files and the SQLite index, from what the engine has applied.
//
//   <root>/accounts/<domain>/<local>/{Maildir,index.sqlite,base,expunged,spool}      names percent-encoded
//
// Nothing here is on the way of an acknowledgement. The engine enqueues batches; RunOnce works them off (on
// the store's lane in production; tests call it themselves), a checkpoint makes all of it durable with one syncfs and
// writes <root>/checkpoint, which says from where the journal must be replayed. Every operation is idempotent, so that
// a replay over newer files does no harm; maildir/README.md says of each what a crash between two of its system calls
// leaves.
//
// Threads: Enqueue, backlog_bytes, Load, OpenBody, cached structures, ParkedAccounts: any thread. RunOnce, RetryParked,
// Checkpoint: one at a time.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/disk.h"
#include "journal/journal.h"
#include "maildir/account_state.h"

namespace gemel::maildir {

// ---- what the engine tells the store; each carries the values after the change ----

// Mailbox made, renamed, or its row changed (UIDNEXT, HIGHESTMODSEQ, keywords): name decides.
struct PutMailbox {
  MailboxId mailbox;
  std::string name;
  uint32_t uid_validity = 0;
  Uid uid_next = 1;
  ModSeq highest_modseq = 0;
  SpecialUse special_use = SpecialUse::kNone;
  std::vector<std::string> keywords;
};
struct DropMailbox {  // its messages went before
  MailboxId mailbox;
  ModSeq modseq = 0;  // of its going: the account's counter has seen it
};
// Where the body of a new message comes from.
struct InlineBody {
  std::shared_ptr<const std::string> bytes;  // LF form, without the trace
};
struct SpooledBody {
  Dot body;           // first chunk
  bool done = false;  // the last message made of it: the spool goes
};
struct PutMessage {
  MailboxId mailbox;
  Message message;
  std::vector<std::string> keywords;  // names
  std::string trace;
  std::variant<InlineBody, SpooledBody> body;
};
// The same message, in a second mailbox (a hard link) or in another (a rename). `message` is the new one.
struct CopyMessage {
  MailboxId from;
  Dot source;
  MailboxId to;
  Message message;
  std::vector<std::string> keywords;
};
struct MoveMessage {
  MailboxId from;
  MailboxId to;
  Uid old_uid = 0;
  ModSeq vanished_modseq = 0;  // of the old UID
  Message message;
  std::vector<std::string> keywords;
};
// Flags in journal and index at once, in the file's name at the checkpoint (budget.md, choice 4).
struct PutFlags {
  MailboxId mailbox;
  Message message;
  std::vector<std::string> keywords;
};
struct DropMessage {
  MailboxId mailbox;
  Dot dot;
  Uid uid = 0;
  ModSeq modseq = 0;  // of its going
};
struct PutSubscriptions {
  std::vector<std::string> names;
};
// A delivery that waits for its Place: body kept in the spool under the Deliver's dot, row kept in the index.
struct PutUnplaced {
  Unplaced unplaced;
  std::string trace;
  std::variant<InlineBody, SpooledBody> body;
};
struct PlaceMessage {  // the unplaced one has its place now
  MailboxId mailbox;
  Message message;
  std::vector<std::string> keywords;
};
// Part of a body that is too large for one record, or is shared by several Delivers. Belongs to no account.
struct SpoolChunk {
  Dot body;
  uint64_t offset = 0;
  bool last = false;
  std::string bytes;
};
struct SpoolDrop {
  Dot body;
};

using StoreOp = std::variant<PutMailbox, DropMailbox, PutMessage, CopyMessage, MoveMessage, PutFlags, DropMessage,
                             PutSubscriptions, PutUnplaced, PlaceMessage, SpoolChunk, SpoolDrop>;

// The operations of one or more whole groups of records.
struct StoreBatch {
  struct Item {
    AccountId account;  // zero for spool operations
    StoreOp op;
  };
  std::vector<Item> items;
  std::shared_ptr<const journal::VectorClock> applied;  // after it: what the touched accounts' rows then cover
  journal::Position position = 0;                       // the journal is materialised up to here after it
};

struct CheckpointInfo {
  journal::Position position = 0;  // everything before it is in the store, durably
  journal::VectorClock applied;
};

// A message's file (trace and body, LF form). Reading is thread-safe.
class Body {
 public:
  virtual ~Body() = default;
  virtual uint64_t bytes() const = 0;
  virtual absl::StatusOr<std::string> Read(uint64_t offset, size_t bytes) const = 0;
};

// A file in new/ or cur/ that is no message's: another program put it there, or a person brought it back from the past.
struct Stranger {
  MailboxId mailbox;
  std::string path;
  int64_t mtime_s = 0;  // for one with a name of ours: the INTERNALDATE in it
  uint64_t bytes = 0;
  Flags flags = 0;  // from its name, where it lay in cur/
};

struct StoreOptions {
  std::string root = {};
  size_t index_rows_at_once = 64;            // rows kept in memory per account before they are written
  size_t spool_memory_bytes = 1024 * 1024;   // single-chunk bodies up to this stay in memory
  size_t open_indexes_max = 200;             // SQLite handles kept open, about 100 KiB each
  size_t structure_bytes_max = 32ull << 20;  // of cached structures that wait for their index, over all accounts
  std::string sqlite_vfs = {};               // empty: SQLite's own; tests name one over their Disk
  journal::Clock* clock = nullptr;           // for the days in expunged/; null: the system's
};

class Store {
 public:
  static absl::StatusOr<std::unique_ptr<Store>> Open(journal::Disk& disk, StoreOptions options);
  virtual ~Store() = default;

  // Says where an account lies; before anything else about it, also at every start. Idempotent.
  virtual void Know(const AccountId& account, const std::string& name) = 0;

  virtual void Enqueue(StoreBatch batch) = 0;
  virtual size_t backlog_bytes() const = 0;  // not yet materialised; the engine's back-pressure
  virtual size_t backlog_items() const = 0;
  // Works off what is queued, at most about `items`. False: nothing was there. An error (disk full, a failed write of
  // the spool) keeps the rest queued; call again later. It names the file.
  virtual absl::StatusOr<bool> RunOnce(size_t items) = 0;

  // Accounts whose files or index cannot be written, for another reason than a full disk: RunOnce passes them over, and
  // the checkpoint stays before what they lack, until RetryParked gets through with them.
  struct Parked {
    AccountId account;
    absl::Status why;
    size_t backlog_bytes = 0, backlog_items = 0;
  };
  virtual std::vector<Parked> ParkedAccounts() const = 0;
  virtual void RetryParked() = 0;

  // All that was worked off so far becomes durable: pending rows and renames, syncfs, then the checkpoint file, which
  // does not go beyond `limit`: how far the caller has made durable what is not kept here. nullopt: there is nothing.
  // FailedPrecondition: a sync has failed, now or earlier. What it lost is not known, and a later sync would not say
  // so: there is no checkpoint any more until the store is opened anew, and the journal replayed from the last one.
  virtual absl::StatusOr<CheckpointInfo> Checkpoint(const std::optional<CheckpointInfo>& limit) = 0;
  absl::StatusOr<CheckpointInfo> Checkpoint() { return Checkpoint(std::nullopt); }
  virtual CheckpointInfo last_checkpoint() const = 0;  // as found at Open, later as written

  // The account as of all that was enqueued before (works its part of the queue off first). NotFound: no index and
  // no base: a new account. DataLoss: the index is damaged or missing although the account has a Maildir: set aside
  // as index.sqlite.damaged-<n>; the engine rebuilds from base and journal.
  virtual absl::StatusOr<AccountState> Load(const AccountId& account) = 0;
  // Writes the whole of `state` anew: after a rebuild.
  virtual absl::Status Rewrite(const AccountState& state) = 0;

  // Also finds bodies that are still queued. NotFound: the file is gone or of the wrong size: the engine
  // restores it.
  virtual absl::StatusOr<std::shared_ptr<Body>> OpenBody(const AccountId& account, const MailboxId& mailbox,
                                                         const Message& message) = 0;
  // Puts back a file that was deleted or damaged behind our back; one that is there is written over, so that other
  // links to it are healed too. `mailbox` zero: one that waits for its Place.
  virtual absl::Status RestoreBody(const AccountId& account, const MailboxId& mailbox, const Message& message,
                                   std::string_view trace_and_body) = 0;

  // Compares files with `state` (after a crash; at scrub): renames what has the wrong name, brings back what lies in
  // expunged/, links a missing copy from another with the same GUID, moves our own files that no message names to
  // expunged/, as `leftovers` says, and returns the messages whose file is missing, of the wrong size or, where the
  // last checkpoint found at Open does not cover the message, with NUL bytes in it (what a power loss leaves of
  // unsynced writes; a letter that really has some is restored with the same bytes, which changes nothing).
  struct MissingBody {
    MailboxId mailbox;  // zero: it waits for its Place
    Message message;
  };
  // What no message names: kKeep while records wait that may name it again, since the files may be ahead of `state`.
  enum class Leftovers { kKeep, kRemove };
  virtual absl::StatusOr<std::vector<MissingBody>> Reconcile(const AccountState& state, Leftovers leftovers) = 0;

  // In new/ and cur/ of all its mailboxes. Cheap when no directory changed since the last call. One with a name of ours
  // is a stranger when no message has that name, in any mailbox; where one has it, and has its file, the stranger is
  // a second copy, and removed. Only for an account of which no record waits: its files may be ahead of its messages.
  virtual absl::StatusOr<std::vector<Stranger>> FindStrangers(const AccountId& account) = 0;
  // Whether to call it for an account that nobody uses: looks at its new/ directories only. One listing, and one stat
  // for each mailbox, where nothing has changed; the account is opened only where files with names of ours are new.
  virtual absl::StatusOr<bool> MayHaveStrangers(const AccountId& account) = 0;
  // A part of its bytes as they are; short only at its end. Unavailable: it is not the file any more that was found.
  virtual absl::StatusOr<std::string> ReadStranger(const Stranger& stranger, uint64_t offset, size_t bytes) = 0;
  virtual absl::Status RemoveStranger(const Stranger& stranger) = 0;  // after its adoption is durable

  // Rendered ENVELOPE, BODYSTRUCTURE and the like, cached by the protocol layer under the message's GUID; opaque.
  virtual std::optional<std::string> CachedStructure(const AccountId& account, const Guid& guid) = 0;
  virtual std::vector<std::optional<std::string>> CachedStructures(const AccountId& account,
                                                                   const std::vector<Guid>& guids) = 0;
  virtual void CacheStructure(const AccountId& account, const Guid& guid, std::string bytes) = 0;

  // An expunged message's file, kept for point-in-time recovery. NotFound: it was purged.
  virtual absl::StatusOr<std::shared_ptr<Body>> OpenExpunged(const AccountId& account, const Message& message) = 0;
  // Removes what was expunged on UTC days that ended before: retention's half for bodies. At most `files_max` of them;
  // how many there were: as many as that: there may be more.
  virtual absl::StatusOr<size_t> PurgeExpunged(const AccountId& account, int64_t before_s, size_t files_max) = 0;

  // Metadata that outlives the journal's segments (design 3, Base).
  virtual absl::Status WriteBase(const AccountState& state) = 0;
  virtual absl::StatusOr<AccountState> ReadBase(const AccountId& account) = 0;  // NotFound: none. DataLoss: damaged

  // Dovecot 2.3 finds its UIDs, flags, keywords: dovecot-uidlist, dovecot-keywords, subscriptions, renamed files.
  // Durable with the next checkpoint.
  virtual absl::Status WriteDovecotFiles(const AccountState& state) = 0;

  virtual std::string AccountDirectory(const AccountId& account) const = 0;
};

}  // namespace gemel::maildir
