// One account of the store: its files, its index, and what is not yet written to either.
//
// An operation does at once what creates, moves or links files, and leaves a row in memory. Rows go to the index
// together with the clock that they reach (FlushRows); renames for flags and the removal of expunged files follow once
// their rows are in the index (FlushNames). So the name of a file may lag behind its row; `names_` knows where it is.
//
// Threads: the caller holds `mutex` for every method.
#pragma once
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "maildir/account_files.h"
#include "maildir/index.h"
#include "maildir/reconcile.h"
#include "maildir/spool.h"
#include "maildir/store.h"

namespace gemel::maildir {

struct AccountContext {
  journal::Disk& disk;
  const StoreOptions& options;
  Spool& spool;
  journal::Clock& clock;
  std::atomic<size_t>& structure_bytes;  // in memory, of all accounts
};

class Account {
 public:
  Account(const AccountContext& context, const AccountId& id, std::string name, std::string directory);

  std::mutex mutex;
  const AccountId& id() const { return id_; }
  const std::string& directory() const { return files_.directory(); }

  // One operation. After an error it can be applied again; nothing of it is in the rows.
  absl::Status Apply(const StoreOp& op);
  // The operations so far are whole groups, and reach `applied`. Flush* and Load only after this.
  void EndUnit(const journal::VectorClock& applied);
  bool wants_flush() const { return rows_.size() + structures_.size() >= context_.options.index_rows_at_once; }
  bool has_work() const;

  // A damaged index is set aside and begun anew, incomplete, so that the queue goes on; Load reports it.
  absl::Status FlushRows();
  // At most about `count` renames; true: there may be more.
  absl::StatusOr<bool> FlushNames(size_t count);
  // Dropped mailboxes whose directories FlushNames has left behind. They are removed only after a sync that began
  // later: else a power cut could keep the removal and lose the rename that brought a message out of it.
  const std::vector<MailboxId>& emptied() const { return emptied_; }
  absl::Status RemoveEmptied(const std::vector<MailboxId>& mailboxes);

  absl::StatusOr<AccountState> Load();
  absl::Status Rewrite(const AccountState& state);
  absl::Status PruneStructures();

  // `message` as the caller knows it, which may be newer than the file's name. NotFound: nowhere.
  absl::StatusOr<std::unique_ptr<journal::File>> OpenMessage(const MailboxId& mailbox, const Message& message);
  absl::Status Restore(const MailboxId& mailbox, const Message& message, std::string_view bytes);

  std::optional<std::string> Structure(const Guid& guid);
  // Forgotten at once where too many wait: then it is computed again.
  void CacheStructure(const Guid& guid, std::string bytes);

  absl::StatusOr<AccountFiles*> Files();  // opened
  // See reconcile.h. Looks at what waits, then from the newest UID of that mailbox down, then everywhere.
  absl::StatusOr<FileOwners> FindOwners(const std::string& mailbox_path, const std::vector<std::string>& bases);
  SeenDirectories& seen() { return seen_; }  // for FindStrangerFiles
  std::string Today() const;                 // "2026-11-23", UTC

  bool has_index_open() const { return index_ != nullptr; }
  void CloseIndex() {  // rows stay in memory
    index_.reset();
    seen_.clear();
  }

 private:
  struct Lagging {
    MailboxId mailbox;
    std::string on_disk;  // "new/<base>" or "cur/<base>:2,..."
    std::string target;
  };
  struct Gone {
    MailboxId mailbox;
    std::string on_disk;
  };

  absl::Status Do(const PutMailbox& op);
  absl::Status Do(const DropMailbox& op);
  absl::Status Do(const PutMessage& op);
  absl::Status Do(const CopyMessage& op);
  absl::Status Do(const MoveMessage& op);
  absl::Status Do(const PutFlags& op);
  absl::Status Do(const DropMessage& op);
  absl::Status Do(const PutSubscriptions& op);
  absl::Status Do(const PutUnplaced& op);
  absl::Status Do(const PlaceMessage& op);
  absl::Status Do(const SpoolChunk&) { return absl::InternalError("a spool operation is no account's"); }
  absl::Status Do(const SpoolDrop&) { return absl::InternalError("a spool operation is no account's"); }

  absl::Status Ready();
  absl::Status ReadIndex();
  absl::Status BeginIndex();
  absl::Status OpenIndex(Index::Create create);  // Create::kNo: OK without one where it was damaged
  void SetAside(const absl::Status& why);
  std::string IndexPath() const { return directory() + "/index.sqlite"; }

  // Of a dropped mailbox, too, while its files wait to go. Of one that is not known only a guess: its files are found
  // by their bases.
  std::vector<uint16_t> KeywordIndexes(const MailboxId& mailbox, const std::vector<std::string>& names);
  std::string PathOf(const StoredMessage& stored);  // where its index row says that it is, below its mailbox
  absl::StatusOr<std::string> PathFor(const MailboxId& mailbox, const Message& message,
                                      const std::vector<std::string>& keywords);
  absl::Status Create(const std::string& path, const Message& message, const std::string& trace,
                      const std::variant<InlineBody, SpooledBody>& body);
  // Calls `use` with each path where the file may lie, until it does not answer NotFound.
  absl::Status WithFile(const MailboxId& mailbox, const Message& message, const std::vector<std::string>& keywords,
                        const std::function<absl::Status(const std::string&)>& use);
  void AddMessageRow(const MailboxId& mailbox, const Message& message, const std::vector<std::string>& keywords,
                     bool renames_file);
  void Note(const FileChanges& changes);
  void See(ModSeq modseq) { meta_.highest_modseq = std::max(meta_.highest_modseq, modseq); }

  const AccountContext context_;
  const AccountId id_;
  const std::string name_;
  AccountFiles files_;
  bool ready_ = false;
  bool begun_ = false;  // a fresh one's index was made
  bool fresh_ = false;  // neither index nor Maildir nor base was there when it was first touched
  std::unique_ptr<Index> index_;
  IndexMeta meta_;
  std::map<MailboxId, PutMailbox> mailboxes_;  // with all operations so far

  std::vector<IndexRow> rows_;
  bool new_clock_ = false;
  // Rows that a later operation of the same kind may change in place.
  absl::flat_hash_map<Dot, size_t> flag_rows_;
  absl::flat_hash_map<MailboxId, size_t> mailbox_rows_;
  absl::flat_hash_map<Guid, std::string> structures_;

  absl::flat_hash_map<Dot, Lagging> names_;
  std::deque<Gone> gone_;
  std::map<MailboxId, std::vector<std::string>> dropped_;  // with their keywords
  std::vector<MailboxId> emptied_;                         // dropped, and FlushNames is through with their files
  SeenDirectories seen_;
};

}  // namespace gemel::maildir
