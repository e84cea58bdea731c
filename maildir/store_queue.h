// What is queued for the store: per account in order, so that one account can be worked off before the rest, or be
// passed over for a while, and over all accounts as batches, so that the store knows up to where all is done.
//
// Threads: any.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "maildir/spool.h"
#include "maildir/store.h"

namespace gemel::maildir {

// One account's operations of one batch: whole groups. Only who works it off changes `next` and `ops`.
struct StoreUnit {
  uint64_t batch = 0;
  AccountId account;
  std::vector<StoreOp> ops;
  std::vector<size_t> bytes;  // BytesOf each as it came: the spool takes a chunk's bytes out of it
  size_t next = 0;
  std::shared_ptr<const journal::VectorClock> applied;
};

size_t BytesOf(const StoreOp& op);  // about what it holds in memory

class StoreQueue {
 public:
  StoreQueue(const SpoolMark& start, Spool& spool);

  void Add(StoreBatch batch);
  size_t bytes() const;
  size_t items() const;
  // Of one account: its items, and about the bytes in memory that wait for it, in the spool as well.
  struct Backlog {
    size_t bytes = 0;
    size_t items = 0;
  };
  Backlog backlog(const AccountId& account) const;

  // The oldest unit of this account that is not done; null: none.
  std::shared_ptr<StoreUnit> Front(const AccountId& account) const;
  // The account whose turn it is: of those that are not parked, the one with the oldest unit. nullopt: none has any.
  std::optional<AccountId> Next();
  void Park(const AccountId& account);
  void Unpark(const AccountId& account);
  // Of Front(account): its operation `next` was worked off.
  void Done(const AccountId& account, const std::shared_ptr<StoreUnit>& unit);

  // Everything before it was worked off.
  SpoolMark reached() const;

  // The trace and body of a message that is queued with its body.
  struct QueuedBody {
    std::string trace;
    std::shared_ptr<const std::string> bytes;
  };
  std::optional<QueuedBody> FindBody(const AccountId& account, const Dot& dot) const;

 private:
  struct Batch {
    size_t remaining = 0;  // units not done
    SpoolMark after;       // reached when it and all batches before it are done
  };
  struct Waiting {
    std::deque<std::shared_ptr<StoreUnit>> units;
    absl::flat_hash_map<Dot, std::pair<std::shared_ptr<StoreUnit>, size_t>> bodies;
    Backlog backlog;
  };
  void EndBatch(std::map<uint64_t, Batch>::iterator batch);

  Spool& spool_;
  mutable std::mutex mutex_;
  std::map<uint64_t, Batch> batches_;  // by number; those that are done are merged into the one before
  uint64_t next_batch_ = 0;
  std::deque<std::shared_ptr<StoreUnit>> turns_;  // all units that are not done, but for those of parked accounts
  absl::flat_hash_set<AccountId> parked_;
  absl::flat_hash_map<AccountId, Waiting> waiting_;
  SpoolMark reached_;
  SpoolMark queued_;  // reached once all is done
  size_t bytes_ = 0;
  size_t items_ = 0;
};

}  // namespace gemel::maildir
