#include "maildir/store_queue.h"

#include <iterator>

namespace gemel::maildir {
namespace {

constexpr size_t kOpBytes = sizeof(StoreOp) + 64;  // with its share of the queue

// Message bytes that an operation holds, and the message it makes; null where it makes none.
struct Making {
  const Message* message = nullptr;
  const std::string* trace = nullptr;
  const std::variant<InlineBody, SpooledBody>* body = nullptr;
};

Making MakingOf(const StoreOp& op) {
  if (const auto* put = std::get_if<PutMessage>(&op)) return {&put->message, &put->trace, &put->body};
  if (const auto* put = std::get_if<PutUnplaced>(&op)) return {&put->unplaced.message, &put->trace, &put->body};
  return {};
}

// What the spool keeps for it.
size_t SpooledFor(const StoreOp& op) {
  const Making making = MakingOf(op);
  const bool spooled = making.body != nullptr && std::holds_alternative<SpooledBody>(*making.body);
  return spooled ? making.message->bytes : 0;
}

}  // namespace

size_t BytesOf(const StoreOp& op) {
  if (const auto* chunk = std::get_if<SpoolChunk>(&op)) return kOpBytes + chunk->bytes.size();
  const Making making = MakingOf(op);
  if (making.body == nullptr) return kOpBytes;
  const auto* in_place = std::get_if<InlineBody>(making.body);
  return kOpBytes + making.trace->size() + (in_place == nullptr ? 0 : in_place->bytes->size());
}

StoreQueue::StoreQueue(const SpoolMark& start, Spool& spool) : spool_(spool), reached_(start), queued_(start) {}

void StoreQueue::Add(StoreBatch batch) {
  const std::lock_guard lock(mutex_);
  if (batch.applied == nullptr) batch.applied = queued_.applied;
  const uint64_t number = next_batch_++;
  absl::flat_hash_map<AccountId, std::shared_ptr<StoreUnit>> units;
  for (StoreBatch::Item& item : batch.items) {
    const size_t bytes = BytesOf(item.op);
    bytes_ += bytes;
    ++items_;
    if (const auto* chunk = std::get_if<SpoolChunk>(&item.op)) spool_.Expect(*chunk, queued_);
    if (const auto* drop = std::get_if<SpoolDrop>(&item.op)) spool_.Close(drop->body);
    const Making making = MakingOf(item.op);
    if (making.body != nullptr) {
      if (const auto* spooled = std::get_if<SpooledBody>(making.body)) spool_.Claim(*spooled);
    }
    std::shared_ptr<StoreUnit>& unit = units[item.account];
    if (unit == nullptr) {
      unit = std::make_shared<StoreUnit>();
      unit->batch = number;
      unit->account = item.account;
      unit->applied = batch.applied;
      turns_.push_back(unit);
      waiting_[item.account].units.push_back(unit);
    }
    Backlog& backlog = waiting_[item.account].backlog;
    backlog.bytes += bytes + SpooledFor(item.op);
    ++backlog.items;
    if (making.body != nullptr && std::holds_alternative<InlineBody>(*making.body)) {
      waiting_[item.account].bodies[making.message->dot] = {unit, unit->ops.size()};
    }
    unit->ops.push_back(std::move(item.op));
    unit->bytes.push_back(bytes);
  }
  queued_ = {.position = batch.position, .applied = std::move(batch.applied)};
  const auto added = batches_.emplace_hint(batches_.end(), number, Batch{.remaining = units.size(), .after = queued_});
  if (units.empty()) EndBatch(added);
}

size_t StoreQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

size_t StoreQueue::items() const {
  const std::lock_guard lock(mutex_);
  return items_;
}

StoreQueue::Backlog StoreQueue::backlog(const AccountId& account) const {
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  return it == waiting_.end() ? Backlog{} : it->second.backlog;
}

std::shared_ptr<StoreUnit> StoreQueue::Front(const AccountId& account) const {
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  return it == waiting_.end() ? nullptr : it->second.units.front();
}

std::optional<AccountId> StoreQueue::Next() {
  const std::lock_guard lock(mutex_);
  for (; !turns_.empty(); turns_.pop_front()) {
    const StoreUnit& unit = *turns_.front();
    if (unit.next < unit.ops.size() && !parked_.contains(unit.account)) return unit.account;
  }
  return std::nullopt;
}

void StoreQueue::Park(const AccountId& account) {
  const std::lock_guard lock(mutex_);
  parked_.insert(account);
}

void StoreQueue::Unpark(const AccountId& account) {
  const std::lock_guard lock(mutex_);
  if (parked_.erase(account) == 0) return;
  const auto it = waiting_.find(account);
  if (it == waiting_.end()) return;
  turns_.insert(turns_.begin(), it->second.units.begin(), it->second.units.end());
}

void StoreQueue::Done(const AccountId& account, const std::shared_ptr<StoreUnit>& unit) {
  StoreOp done;  // its memory goes outside the lock
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  StoreOp& op = unit->ops[unit->next];
  bytes_ -= unit->bytes[unit->next];
  --items_;
  it->second.backlog.bytes -= unit->bytes[unit->next] + SpooledFor(op);
  --it->second.backlog.items;
  if (const Making making = MakingOf(op); making.message != nullptr) {
    const auto body = it->second.bodies.find(making.message->dot);
    if (body != it->second.bodies.end() && body->second == std::pair(unit, unit->next)) it->second.bodies.erase(body);
  }
  done = std::move(op);
  if (++unit->next < unit->ops.size()) return;
  it->second.units.pop_front();
  if (it->second.units.empty()) waiting_.erase(it);
  const auto batch = batches_.find(unit->batch);
  if (--batch->second.remaining == 0) EndBatch(batch);
}

void StoreQueue::EndBatch(std::map<uint64_t, Batch>::iterator batch) {
  (batch == batches_.begin() ? reached_ : std::prev(batch)->second.after) = std::move(batch->second.after);
  batches_.erase(batch);
}

SpoolMark StoreQueue::reached() const {
  const std::lock_guard lock(mutex_);
  return reached_;
}

std::optional<StoreQueue::QueuedBody> StoreQueue::FindBody(const AccountId& account, const Dot& dot) const {
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  if (it == waiting_.end()) return std::nullopt;
  const auto body = it->second.bodies.find(dot);
  if (body == it->second.bodies.end()) return std::nullopt;
  const Making making = MakingOf(body->second.first->ops[body->second.second]);
  if (making.body == nullptr) return std::nullopt;
  return QueuedBody{.trace = *making.trace, .bytes = std::get<InlineBody>(*making.body).bytes};
}

}  // namespace gemel::maildir
