#include "maildir/store_queue.h"

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
  Batch& added = batches_.emplace_back();
  const uint64_t number = first_batch_ + batches_.size() - 1;
  absl::flat_hash_map<AccountId, std::shared_ptr<StoreUnit>> units;
  for (StoreBatch::Item& item : batch.items) {
    bytes_ += BytesOf(item.op);
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
      added.units.push_back(unit);
      waiting_[item.account].units.push_back(unit);
    }
    if (making.body != nullptr && std::holds_alternative<InlineBody>(*making.body)) {
      waiting_[item.account].bodies[making.message->dot] = {unit, unit->ops.size()};
    }
    unit->ops.push_back(std::move(item.op));
  }
  added.remaining = added.units.size();
  added.after = {.position = batch.position, .applied = std::move(batch.applied)};
  queued_ = added.after;
  AdvanceLocked();
}

size_t StoreQueue::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

size_t StoreQueue::items() const {
  const std::lock_guard lock(mutex_);
  return items_;
}

std::shared_ptr<StoreUnit> StoreQueue::Front(const AccountId& account) const {
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  return it == waiting_.end() ? nullptr : it->second.units.front();
}

std::optional<AccountId> StoreQueue::Next() const {
  const std::lock_guard lock(mutex_);
  if (batches_.empty()) return std::nullopt;
  const Batch& batch = batches_.front();
  return batch.units[batch.first]->account;
}

void StoreQueue::Done(const AccountId& account, const std::shared_ptr<StoreUnit>& unit) {
  StoreOp done;  // its memory goes outside the lock
  const std::lock_guard lock(mutex_);
  const auto it = waiting_.find(account);
  StoreOp& op = unit->ops[unit->next];
  bytes_ -= BytesOf(op);
  --items_;
  if (const Making making = MakingOf(op); making.message != nullptr) {
    const auto body = it->second.bodies.find(making.message->dot);
    if (body != it->second.bodies.end() && body->second == std::pair(unit, unit->next)) it->second.bodies.erase(body);
  }
  done = std::move(op);
  if (++unit->next < unit->ops.size()) return;
  it->second.units.pop_front();
  if (it->second.units.empty()) waiting_.erase(it);
  --batches_[unit->batch - first_batch_].remaining;
  AdvanceLocked();
}

void StoreQueue::AdvanceLocked() {
  while (!batches_.empty() && batches_.front().remaining == 0) {
    reached_ = std::move(batches_.front().after);
    batches_.pop_front();
    ++first_batch_;
  }
  if (batches_.empty()) return;
  Batch& batch = batches_.front();
  while (batch.units[batch.first]->next == batch.units[batch.first]->ops.size()) ++batch.first;
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
