// An account's index: one SQLite file that holds the account's state as of some record, so that it need not be rebuilt
// at every start. A cache: it can be deleted. Tables: maildir/README.md, "Index".
//
// WAL mode with synchronous=NORMAL: other programs can read it, nothing is synced per change, and a power loss leaves
// an older state that is consistent in itself, with the clock that belongs to it.
//
// Threads: one at a time. Errors: DataLoss (damaged), ResourceExhausted (disk full), Unavailable (any other).
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "maildir/account_state.h"
#include "maildir/sqlite.h"
#include "maildir/store.h"

namespace gemel::maildir {

// What an operation leaves to be written, in the order of the operations.
struct MessageRow {
  MailboxId mailbox;
  Message message;
  std::vector<std::string> keywords;
  bool renames_file = false;  // a change of flags: tell the caller what was there before
};
struct GoneRow {
  MailboxId mailbox;
  Uid uid = 0;
  ModSeq modseq = 0;
  bool expunged = false;  // not moved: tell the caller which file went
};
struct UnplacedRow {
  Unplaced unplaced;
};
struct UnplacedGoneRow {
  Dot dot;
};
using IndexRow =
    std::variant<PutMailbox, DropMailbox, MessageRow, GoneRow, UnplacedRow, UnplacedGoneRow, PutSubscriptions>;

struct IndexMeta {
  ModSeq highest_modseq = 0;
  uint32_t last_uid_validity = 0;
  journal::VectorClock applied;
  bool complete = true;  // false: made over a Maildir that was there before, rows are missing until Rewrite
};

struct StoredMessage {
  MailboxId mailbox;
  Message message;  // keywords: 0
  std::vector<std::string> keywords;
};

// What a Write means for the files.
struct FileChanges {
  struct Renamed {
    StoredMessage before;
    StoredMessage after;
  };
  std::vector<std::variant<Renamed, StoredMessage>> changes;  // StoredMessage: it was expunged; in row order
};

class Index {
 public:
  enum class Create { kNo, kYes };
  // `vfs` empty: SQLite's own. NotFound: no file (Create::kNo). Unimplemented: a schema newer than ours.
  static absl::StatusOr<std::unique_ptr<Index>> Open(const std::string& path, const std::string& vfs, Create create);
  ~Index();
  Index(const Index&) = delete;
  Index& operator=(const Index&) = delete;

  absl::StatusOr<IndexMeta> ReadMeta();
  absl::StatusOr<std::vector<PutMailbox>> ReadMailboxes();
  absl::StatusOr<std::optional<StoredMessage>> FindMessage(const MailboxId& mailbox, Uid uid);
  // From the newest down, until `use` answers false.
  absl::Status ForEachMessage(const MailboxId& mailbox, const std::function<bool(const StoredMessage&)>& use);
  absl::StatusOr<AccountState> Load(const AccountId& account, const std::string& name);
  absl::Status LoadUnplaced(AccountState* state);  // and the subscriptions

  // All in one transaction; on an error nothing of it.
  absl::Status Write(const std::vector<IndexRow>& rows, const absl::flat_hash_map<Guid, std::string>& structures,
                     const IndexMeta& meta, FileChanges* changes);
  // Everything anew, but for the cached structures.
  absl::Status Rewrite(const AccountState& state);

  std::optional<std::string> Structure(const Guid& guid);
  // Structures of messages that are gone.
  absl::Status PruneStructures();

 private:
  static absl::StatusOr<std::unique_ptr<Index>> Open(const std::string& path, const std::string& vfs, Create create,
                                                     bool alone);
  explicit Index(sqlite3* db) : db_(db) {}
  absl::Status Prepare();
  absl::Status Execute(const char* sql);
  Query Statement(const char* sql);  // `sql`: a literal, which is its key
  absl::StatusOr<int64_t> MailboxNumber(const MailboxId& mailbox);
  absl::Status WriteMeta(const IndexMeta& meta);
  absl::Status WriteRows(const std::vector<IndexRow>& rows, FileChanges* changes);
  absl::Status WriteState(const AccountState& state);

  absl::Status Put(const PutMailbox& row);
  absl::Status Put(const DropMailbox& row);
  absl::Status Put(const MessageRow& row, FileChanges* changes);
  absl::Status Put(const GoneRow& row, FileChanges* changes);
  absl::Status Put(const UnplacedRow& row);
  absl::Status Put(const UnplacedGoneRow& row);
  absl::Status Put(const PutSubscriptions& row);
  absl::Status LoadMailboxes(AccountState* state);
  absl::Status LoadMessages(AccountState* state);
  absl::Status LoadVanished(AccountState* state);

  sqlite3* db_;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
  absl::flat_hash_map<MailboxId, int64_t> numbers_;
};

}  // namespace gemel::maildir
