// What is no longer kept for point-in-time recovery: old segments of the journal, and the bodies of expunged letters.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "journal/log.h"
#include "journal/segment.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::LogLevel;

constexpr size_t kBasesAtOnce = 128;
constexpr uint64_t kPurgeRoundMs = 3600'000;
constexpr size_t kPurgedAccountsAtOnce = 64;
constexpr size_t kPurgedFilesAtOnce = 256;

// Ages are taken from this node's clock, as the times of the journal's files have it. The records' times are no
// measure: they stay ahead for as long as a clock of either node once was.

// After this the segment was not written, seconds since 1970. Where the clock was ahead then, the next one says it.
int64_t WrittenBefore(journal::Disk& disk, const std::string& directory, journal::SegmentNumber segment,
                      journal::SegmentNumber last, int64_t now_s) {
  for (; segment <= last; ++segment) {
    const absl::StatusOr<journal::FileInfo> file = disk.Stat(journal::SegmentPath(directory, segment));
    if (file.ok() && file->mtime_s <= now_s) return file->mtime_s;
  }
  return now_s;
}

// When the journal's oldest frame was made, or at the latest: its file may be written on for long. Seconds since 1970.
absl::StatusOr<int64_t> OldestTime(journal::Disk& disk, const std::string& directory, journal::Position oldest,
                                   journal::Position end) {
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(disk, directory, oldest, end);
  if (!reader.ok()) return reader.status();
  absl::StatusOr<std::optional<journal::Committed>> first = (*reader)->Next();
  if (!first.ok()) return first.status();
  if (!first->has_value()) return 0;
  const absl::StatusOr<journal::FileInfo> file = disk.Stat(journal::SegmentPath(directory, oldest >> 32));
  if (!file.ok()) return file.status();
  return std::min(file->mtime_s, static_cast<int64_t>(journal::HlcMillis((*first)->frame->base) / 1000));
}

}  // namespace

// The oldest segment goes when it is in the Maildirs and on the peer, when it was written longer ago than
// retain_time, and when without it there is still retain_size of journal. What it says lives on in the bases of the
// accounts that it touched. In small steps: the store's lane has mail to write.
void NodeImpl::RetireSegments() {
  if (retiring_ || failed_) return;
  const journal::Position segment = journal::Position{1} << 32;
  const journal::Position until = (journal_->oldest() / segment + 1) * segment;
  const journal::Position checkpoint = store_->last_checkpoint().position;
  if (until > checkpoint || journal_->BytesFrom(until) < options_.retain_bytes_min) return;
  if (identity_.peer && (link_ == nullptr || !link_->caught_up())) return;
  if (oldest_part_ == nullptr || oldest_part_->end != until) {
    retiring_ = true;
    env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), disk = &env_.disk, loop = &env_.loop,
                                     directory = JournalDirectory(), from = journal_->oldest(), until, checkpoint] {
      absl::StatusOr<JournalPart> part = ReadJournalPart(*disk, directory, from, until, checkpoint);
      loop->Post([this, alive, part = std::move(part)]() mutable {
        if (alive.expired()) return;
        retiring_ = false;
        if (!part.ok()) return EndRetiring(part.status());
        oldest_part_ = std::make_shared<const JournalPart>(*std::move(part));
        RetireSegments();
      });
    });
    return;
  }
  const int64_t written_s =
      WrittenBefore(env_.disk, JournalDirectory(), journal_->oldest() >> 32, committed_end_ >> 32, NowSeconds());
  if (NowSeconds() < written_s + static_cast<int64_t>(options_.retain_seconds)) return;
  if (!PeerHas(*oldest_part_)) return;
  if (options_.keep_readers_out) {
    readers_kept_out_ = options_.keep_readers_out();
    if (readers_kept_out_ == nullptr) {
      return AddProblem("readers", {"warning", "old journal segments are kept: a replay, export or verify reads them",
                                    "nothing; they go within a second of its end"});
    }
  }
  SolveProblem("readers");
  if (absl::Status status = MayRetire(*oldest_part_); !status.ok()) return EndRetiring(status);
  for (const std::string& place : oldest_part_->damage) {
    Log(LogLevel::kWarning, "damage_retired", {{"where", place}});
  }
  for (const std::string& records : oldest_part_->missing) {
    Log(LogLevel::kError, "records_given_up", {{"records", records}});
    AddProblem(
        absl::StrCat("given_up:", records),
        {"error",
         absl::StrCat("records ", records, " were lost in a damaged part of the journal, which is not kept any more"),
         "what they did may be in the Maildirs all the same; a restart takes this line away"});
  }
  retiring_ = true;
  AdvanceNextBases(oldest_part_, oldest_part_->accounts);
}

// What the peer lacks stays, and never goes what its cursor has still to read.
bool NodeImpl::PeerHas(const JournalPart& part) const {
  return !identity_.peer || (link_ != nullptr && link_->caught_up() && peer_held_.Covers(part.records));
}

// What is damaged in the part must be held elsewhere, as far as anybody can know. A node alone has nobody to ask.
absl::Status NodeImpl::MayRetire(const JournalPart& part) const {
  if (part.damage.empty() || !identity_.peer) return absl::OkStatus();
  if (!part.missing.empty() || !missing_.empty()) {
    return absl::DataLossError(absl::StrCat(part.damage.front(), ": the peer may still have what was there"));
  }
  const journal::VectorClock held = journal_->held();
  for (const auto& [origin, seq] : peer_held_.entries()) {
    const bool of_the_pair = origin.node == identity_.node || origin.node == identity_.peer->node;
    if (of_the_pair && held.Get(origin) < seq) {
      return absl::UnavailableError(absl::StrCat(part.damage.front(), ": the peer is still sending"));
    }
  }
  return absl::OkStatus();
}

void NodeImpl::AdvanceNextBases(std::shared_ptr<const JournalPart> part, std::vector<AccountId> left) {
  if (left.empty()) return RetirePart(*part);
  std::vector<std::pair<AccountId, std::string>> some;
  for (; !left.empty() && some.size() < kBasesAtOnce; left.pop_back()) {
    if (const Account* account = directory_.Find(left.back())) some.emplace_back(account->id, account->name);
  }
  env_.workers.Post(Lane::kStore,
                    [this, alive = std::weak_ptr<bool>(alive_), disk = &env_.disk, loop = &env_.loop, store = store_,
                     directory = JournalDirectory(), part, some = std::move(some), left = std::move(left)] {
                      const absl::Status status = AdvanceBases(*disk, directory, *part, some, *store);
                      loop->Post([this, alive, status, part, left] {
                        if (alive.expired()) return;
                        if (!status.ok()) return EndRetiring(status);
                        AdvanceNextBases(part, left);
                      });
                    });
}

// Its bases took their time, in which the peer may have come back with less than it had.
void NodeImpl::RetirePart(const JournalPart& part) {
  if (!PeerHas(part)) {
    retiring_ = false;
    readers_kept_out_.reset();
    return;
  }
  absl::Status status = MayRetire(part);
  if (status.ok()) status = journal_->Retire(part.end);
  EndRetiring(status);
}

void NodeImpl::EndRetiring(const absl::Status& status) {
  retiring_ = false;
  readers_kept_out_.reset();
  if (status.ok()) {
    SolveProblem("retention");
    Log(LogLevel::kInfo, "segment_retired", {{"oldest", journal_->oldest()}});
    return RetireSegments();  // there may be more
  }
  oldest_part_ = nullptr;  // what is damaged in it may be another matter the next time
  Log(LogLevel::kError, "segment_not_retired", {{"error", std::string(status.message())}});
  AddProblem("retention", {"warning", absl::StrCat("old journal segments are kept: ", std::string(status.message())),
                           "it is tried again at each checkpoint; watch the free space"});
}

// A body goes when its expunge is older than retain_time and than all that the journal still has: a replay begins with
// the bases, and a letter that is in a base needs its body although the journal tells later that it was expunged.
// Days are the unit of expunged/, so one look at each account an hour is enough.
void NodeImpl::PurgeSome() {
  if (purge_.running || failed_ || stopping_) return;
  if (purge_.left.empty()) {
    if (purge_.began_ms != 0 && BootMillis() - purge_.began_ms < kPurgeRoundMs) return;
    purge_.began_ms = BootMillis();
    for (const auto& [id, account] : directory_.accounts()) purge_.left.push_back(id);
    if (purge_.left.empty()) return;
  }
  std::vector<AccountId> some;
  for (; !purge_.left.empty() && some.size() < kPurgedAccountsAtOnce; purge_.left.pop_back()) {
    some.push_back(purge_.left.back());
  }
  const int64_t window_s = NowSeconds() - static_cast<int64_t>(options_.retain_seconds);
  purge_.running = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, disk = &env_.disk,
                                   loop = &env_.loop, directory = JournalDirectory(), oldest = journal_->oldest(),
                                   end = journal_->end(), window_s, some = std::move(some)]() mutable {
    const absl::StatusOr<int64_t> oldest_s = OldestTime(*disk, directory, oldest, end);
    absl::Status status = oldest_s.status();
    if (!status.ok()) some.clear();
    size_t room = kPurgedFilesAtOnce;
    while (!some.empty() && room > 0) {
      absl::StatusOr<size_t> removed = store->PurgeExpunged(some.back(), std::min(window_s, *oldest_s), room);
      if (!removed.ok()) status = removed.status();
      if (removed.ok() && *removed >= room) break;
      if (removed.ok()) room -= *removed;
      some.pop_back();
    }
    loop->Post([this, alive, status, some = std::move(some)] {
      if (alive.expired()) return;
      purge_.running = false;
      purge_.left.insert(purge_.left.end(), some.begin(), some.end());
      if (!status.ok()) Log(LogLevel::kWarning, "expunged_not_purged", {{"error", std::string(status.message())}});
    });
  });
}

}  // namespace gemel::engine
