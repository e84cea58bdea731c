// The Store over a Disk. See maildir/store.h for what it promises.
//
// Locks, outer first: an account's, the spool's (spool_work_), the queue's. None of them is held over a syncfs, and an
// account's for one operation or one flush of its index at a time.
#pragma once
#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "maildir/account.h"
#include "maildir/reconcile.h"
#include "maildir/spool.h"
#include "maildir/store.h"
#include "maildir/store_queue.h"

namespace gemel::maildir {

class DiskStore : public Store {
 public:
  DiskStore(journal::Disk& disk, StoreOptions options, CheckpointInfo found);
  absl::Status Start();

  void Know(const AccountId& account, const std::string& name) override;
  void Enqueue(StoreBatch batch) override { queue_.Add(std::move(batch)); }
  size_t backlog_bytes() const override { return queue_.bytes(); }
  size_t backlog_items() const override { return queue_.items(); }
  absl::StatusOr<bool> RunOnce(size_t items) override;
  std::vector<Parked> ParkedAccounts() const override;
  void RetryParked() override;
  absl::StatusOr<CheckpointInfo> Checkpoint(const std::optional<CheckpointInfo>& limit) override;
  CheckpointInfo last_checkpoint() const override;
  absl::StatusOr<AccountState> Load(const AccountId& account) override;
  absl::Status Rewrite(const AccountState& state) override;
  absl::StatusOr<std::shared_ptr<Body>> OpenBody(const AccountId& account, const MailboxId& mailbox,
                                                 const Message& message) override;
  absl::Status RestoreBody(const AccountId& account, const MailboxId& mailbox, const Message& message,
                           std::string_view trace_and_body) override;
  absl::StatusOr<std::vector<MissingBody>> Reconcile(const AccountState& state, Leftovers leftovers) override;
  absl::StatusOr<std::vector<Stranger>> FindStrangers(const AccountId& account) override;
  absl::StatusOr<bool> MayHaveStrangers(const AccountId& account) override;
  absl::StatusOr<std::string> ReadStranger(const Stranger& stranger, uint64_t offset, size_t bytes) override;
  absl::Status RemoveStranger(const Stranger& stranger) override;
  std::optional<std::string> CachedStructure(const AccountId& account, const Guid& guid) override;
  std::vector<std::optional<std::string>> CachedStructures(const AccountId& account,
                                                           const std::vector<Guid>& guids) override;
  void CacheStructure(const AccountId& account, const Guid& guid, std::string bytes) override;
  absl::StatusOr<std::shared_ptr<Body>> OpenExpunged(const AccountId& account, const Message& message) override;
  absl::StatusOr<size_t> PurgeExpunged(const AccountId& account, int64_t before_s, size_t files_max) override;
  absl::Status WriteBase(const AccountState& state) override;
  absl::StatusOr<AccountState> ReadBase(const AccountId& account) override;
  absl::Status WriteDovecotFiles(const AccountState& state) override;
  std::string AccountDirectory(const AccountId& account) const override;

 private:
  using AccountPtr = std::shared_ptr<Account>;

  absl::StatusOr<AccountPtr> Find(const AccountId& account) const;
  // One operation of the account's oldest unit. False: none.
  absl::StatusOr<bool> Step(const AccountId& account);
  // Unless its error says that the disk is full, which is everybody's. Returns it.
  absl::Status Park(const AccountId& account, absl::Status why);
  bool IsParked(const AccountId& account) const;
  absl::StatusOr<bool> StepSpool(uint64_t last_batch);
  absl::Status DrainSpool(uint64_t last_batch);
  absl::Status WorkOff(const AccountId& account);  // all of its queue as of now
  // Holds the account while its rows are whole groups; works off the rest of a unit that was begun.
  absl::StatusOr<std::unique_lock<std::mutex>> LockBetweenUnits(Account& account);
  absl::Status FlushAll(const AccountId& account);  // rows, then names
  void MarkDirty(const AccountId& account);
  // Never ResourceExhausted: what could not be written for want of room counts as written from then on, too.
  absl::Status SyncAll();
  // Of anything that makes the checkpoint durable: after an error no later one can be trusted.
  absl::Status AfterSync(absl::Status status);
  FindOwners OwnersOf(Account& account);
  // Notes that the account's index is in use, and closes the one not used for longest.
  void TouchIndex(const AccountPtr& account);

  journal::Disk& disk_;
  const StoreOptions options_;
  Spool spool_;
  std::mutex spool_work_;
  StoreQueue queue_;
  std::atomic<size_t> structure_bytes_ = 0;
  const AccountContext context_;
  const journal::VectorClock settled_;  // what the checkpoint found at Open covers

  mutable std::mutex accounts_mutex_;
  absl::flat_hash_map<AccountId, AccountPtr> accounts_;
  absl::flat_hash_set<AccountId> dirty_;
  std::map<AccountId, absl::Status> parked_;
  CheckpointInfo last_checkpoint_;

  std::mutex checkpoint_mutex_;
  std::mutex sync_mutex_;
  std::unique_ptr<journal::FileSystem> file_system_;  // open from before the first write on
  absl::Status sync_failed_;
  std::mutex handles_mutex_;
  std::list<AccountPtr> handles_;  // last used in front
  absl::flat_hash_map<AccountId, std::list<AccountPtr>::iterator> handle_of_;

  std::mutex seen_mutex_;
  SeenDirectories seen_;           // by MayHaveStrangers
  int64_t strangers_since_s_ = 0;  // what came earlier an earlier run has seen
};

}  // namespace gemel::maildir
