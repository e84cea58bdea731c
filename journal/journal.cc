#include "journal/journal.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "journal/frame.h"
#include "journal/frame_memory.h"
#include "journal/recovery.h"
#include "journal/segment.h"
#include "journal/segment_store.h"

namespace gemel::journal {
namespace {

// What one commit takes: enough to amortise its sync, little enough that a large body does not hold up the rest.
constexpr size_t kCommitBytesMax = 4 * 1024 * 1024;

// For pending_bytes: near enough to what encoding will give.
size_t ApproximateBytes(const Record& record) {
  static constexpr size_t kOther = 100;
  if (const auto* chunk = std::get_if<BodyChunk>(&record.body)) return kOther + chunk->bytes.size();
  if (const auto* deliver = std::get_if<Deliver>(&record.body)) {
    return kOther + deliver->trace.size() + deliver->inline_body.size();
  }
  static constexpr size_t kDot = 4;  // they come in runs
  return std::visit(
      [](const auto& body) {
        if constexpr (requires { body.messages.size(); }) {
          return kOther + kDot * body.messages.size();
        } else {
          return kOther;
        }
      },
      record.body);
}

// Something queued: own records, or a frame as it was received.
struct Item {
  Origin origin;
  Generation generation = 0;
  Seq first_seq = 0;
  std::vector<Record> records;
  VectorClock applied;
  std::string received;
  size_t bytes = 0;
};

// A frame on its way to the disk.
struct Prepared {
  std::shared_ptr<Frame> frame;
  size_t queued_bytes = 0;  // of the items that end with it
  Position begin = 0;
  Position end = 0;
  bool fills_gap = false;  // goes back to where it was lost, or, where there is no room, behind the newest
};

class JournalImpl : public Journal {
 public:
  JournalImpl(Disk& disk, JournalOptions options)
      : disk_(disk), options_(std::move(options)), encoder_(options_.zstd_level), store_(disk, options_) {}

  absl::Status Init(Recovered* recovered);

  void StartOrigin(const Origin& origin, Generation generation) override {
    std::lock_guard lock(queue_mutex_);
    origin_ = origin;
    generation_ = generation;
    next_seq_ = 1;
  }
  void SetGeneration(Generation generation) override {
    std::lock_guard lock(queue_mutex_);
    generation_ = generation;
  }
  Seq Append(std::vector<Record> records, const VectorClock& applied) override;
  void AppendReceived(std::string shipped) override;
  size_t pending_bytes() const override {
    std::lock_guard lock(queue_mutex_);
    return pending_bytes_;
  }
  absl::StatusOr<std::vector<Committed>> CommitOnce(std::vector<absl::Status>* rejected) override;

  VectorClock held() const override {
    std::lock_guard lock(state_mutex_);
    return held_;
  }
  Position end() const override {
    std::lock_guard lock(state_mutex_);
    return end_;
  }
  std::optional<uint64_t> ChainAt(const Origin& origin, Seq seq) const override;

  absl::Status Retire(Position position) override;
  Position oldest() const override {
    std::lock_guard lock(state_mutex_);
    return PositionOf(segments_.front().number, segments_.front().first_offset);
  }
  uint64_t bytes_on_disk() const override {
    std::lock_guard lock(state_mutex_);
    return bytes_on_disk_;
  }
  uint64_t BytesFrom(Position position) const override {
    std::lock_guard lock(state_mutex_);
    uint64_t bytes = 0;
    for (const SegmentInfo& segment : segments_) {
      const Position end = PositionOf(segment.number, segment.end_offset);
      if (end > position) bytes += end - std::max(position, PositionOf(segment.number, segment.first_offset));
    }
    return bytes;
  }
  uint64_t BytesAfter(const Origin& origin, Seq seq) const override {
    std::lock_guard lock(state_mutex_);
    return frames_.BytesAfter(origin, seq);
  }

 private:
  absl::Status Gather(std::vector<absl::Status>* rejected);
  absl::Status PrepareOwn(Item item);
  absl::Status FinishOwnFrame();
  void PrepareReceived(Item item, std::vector<absl::Status>* rejected);
  bool PrepareRefetched(const FrameHeader& header, Prepared prepared);
  absl::Status WriteRepair(std::vector<Prepared>* batch);
  absl::Status Roll(uint64_t frame_bytes);
  absl::Status WriteBatch(std::vector<Prepared>* batch);
  std::vector<Committed> Publish(std::vector<Prepared> batch);
  absl::Status RemoveUnreadable();
  void CountBytes() {  // with state_mutex_ held
    bytes_on_disk_ = store_.SpareBytes();
    for (const SegmentInfo& segment : segments_) bytes_on_disk_ += segment.segment_bytes;
  }
  size_t FrameBytesMax() const { return std::min<size_t>(options_.frame_bytes_max, options_.segment_bytes / 4); }

  Disk& disk_;
  const JournalOptions options_;

  mutable std::mutex queue_mutex_;  // guards these
  std::deque<Item> queue_;
  size_t pending_bytes_ = 0;
  Origin origin_;
  Generation generation_ = 0;
  Seq next_seq_ = 1;

  std::mutex commit_mutex_;  // guards these: the writer's own
  absl::Status final_error_;
  FrameEncoder encoder_;
  SegmentStore store_;
  std::unique_ptr<File> file_;
  std::deque<Prepared> ready_;
  std::deque<Prepared> repairs_;  // with their places; before all in ready_
  std::vector<Hole> holes_;       // begin moves up as they are filled
  // What is in ready_ and repairs_ goes beyond the disk: held_ says what is durable.
  Tips prepared_tips_, durable_tips_;
  std::vector<Gap> prepared_gaps_, durable_gaps_;
  std::string payload_;          // of the own frame that is being filled
  std::shared_ptr<Frame> open_;  // that frame; none: nothing begun
  size_t open_queued_bytes_ = 0;
  std::string write_buffer_;

  mutable std::mutex state_mutex_;  // guards these: what is durable
  VectorClock held_;
  Position end_ = 0;
  std::vector<SegmentInfo> segments_;
  uint64_t bytes_on_disk_ = 0;
  FrameMemory frames_;
};

absl::Status JournalImpl::Init(Recovered* recovered) {
  if (options_.segment_bytes > kSegmentBytesMax) {
    return absl::InvalidArgumentError("journal: a segment has at most " + std::to_string(kSegmentBytesMax) + " bytes");
  }
  if (absl::Status s = disk_.MakeDirectories(options_.directory); !s.ok()) return s;
  // The directory's own name must be as durable as what is in it; its parent's is the caller's to see to.
  const size_t slash = options_.directory.find_last_of('/');
  const std::string parent = slash == 0 || slash == std::string::npos ? "/" : options_.directory.substr(0, slash);
  if (absl::Status s = disk_.SyncDirectory(parent); !s.ok()) return s;
  absl::StatusOr<Recovery> recovery = Recover(
      disk_, options_.directory,
      [this, recovered](Position, Position, const FrameHeader& header) {
        frames_.Remember(header.origin, header.last_seq(), header.chain, header.shipped_bytes());
        recovered->applied[header.origin.node].Merge(header.applied);
        Recovered::Newest& newest = recovered->newest[header.origin.node];
        if (header.base >= newest.base) newest = {header.origin, header.base};
      },
      options_.durable_floor);
  if (!recovery.ok()) return recovery.status();
  if (absl::Status s = store_.Open(); !s.ok()) return s;
  segments_ = std::move(recovery->segments);
  durable_tips_ = prepared_tips_ = recovery->tips;
  durable_gaps_ = prepared_gaps_ = recovery->gaps;
  holes_ = recovery->holes;
  end_ = recovery->end;
  if (segments_.empty() || SegmentOf(end_) != segments_.back().number || end_ < options_.durable_floor) {
    // The very first start, or a last segment of which nothing can be read.
    if (absl::Status s = Roll(0); !s.ok()) return s;
  } else {
    absl::StatusOr<std::unique_ptr<File>> file =
        store_.OpenLast(SegmentOf(end_), OffsetOf(recovery->known_durable), OffsetOf(end_), recovery->cut_bytes);
    if (!file.ok()) return file.status();
    file_ = *std::move(file);
  }
  std::lock_guard lock(state_mutex_);
  CountBytes();
  held_ = HeldClock(durable_tips_, durable_gaps_);
  recovered->held = held_;
  recovered->end = end_;
  recovered->cut_bytes = recovery->cut_bytes;
  recovered->cut_records = std::move(recovery->cut_records);
  recovered->problems = std::move(recovery->problems);
  recovered->missing.clear();
  for (const Gap& gap : durable_gaps_) recovered->missing.push_back({gap.origin, gap.first, gap.last});
  return absl::OkStatus();
}

Seq JournalImpl::Append(std::vector<Record> records, const VectorClock& applied) {
  Item item;
  for (const Record& record : records) item.bytes += ApproximateBytes(record);
  item.records = std::move(records);
  item.applied = applied;
  Seq first;
  {
    std::lock_guard lock(queue_mutex_);
    first = next_seq_;
    next_seq_ += item.records.size();
    item.origin = origin_;
    item.generation = generation_;
    item.first_seq = first;
    pending_bytes_ += item.bytes;
    queue_.push_back(std::move(item));
  }
  return first;
}

void JournalImpl::AppendReceived(std::string shipped) {
  {
    std::lock_guard lock(queue_mutex_);
    pending_bytes_ += shipped.size();
    Item& item = queue_.emplace_back();
    item.bytes = shipped.size();
    item.received = std::move(shipped);
  }
}

absl::StatusOr<std::vector<Committed>> JournalImpl::CommitOnce(std::vector<absl::Status>* rejected) {
  std::lock_guard commit_lock(commit_mutex_);
  if (!final_error_.ok()) return final_error_;
  absl::Status status = Gather(rejected);
  std::vector<Prepared> batch;
  if (status.ok()) status = WriteBatch(&batch);
  if (!status.ok()) {
    if (!absl::IsResourceExhausted(status)) final_error_ = status;
    return status;
  }
  return Publish(std::move(batch));
}

// Turns what is queued into frames, up to what one commit takes.
absl::Status JournalImpl::Gather(std::vector<absl::Status>* rejected) {
  size_t bytes = 0;
  for (const Prepared& prepared : ready_) bytes += prepared.frame->shipped.size();
  for (const Prepared& prepared : repairs_) bytes += prepared.frame->shipped.size();
  while (bytes < kCommitBytesMax) {
    Item item;
    {
      std::lock_guard lock(queue_mutex_);
      if (queue_.empty()) break;
      item = std::move(queue_.front());
      queue_.pop_front();
    }
    bytes += item.bytes;
    if (item.received.empty()) {
      if (absl::Status s = PrepareOwn(std::move(item)); !s.ok()) return s;
    } else {
      if (absl::Status s = FinishOwnFrame(); !s.ok()) return s;
      PrepareReceived(std::move(item), rejected);
    }
  }
  return FinishOwnFrame();
}

// Whether `later` has applied something of another node that `earlier` had not. What is a node's own goes by its seqs.
// What is closed is left out of `later` only, and who has applied the Closed has applied more of its creator.
static bool SawMoreOfOthers(const VectorClock& later, const VectorClock& earlier, NodeId own) {
  for (const auto& [origin, seq] : later.entries()) {
    if (origin.node != own && earlier.Get(origin) < seq) return true;
  }
  return false;
}

absl::Status JournalImpl::PrepareOwn(Item item) {
  Seq seq = item.first_seq;
  // A frame has one clock, and it must be true of each of its records: a Place that does not know its Deliver would be
  // replayed before it, and a record that knows too much would win over what it never saw.
  if (open_ != nullptr && SawMoreOfOthers(item.applied, open_->applied, item.origin.node)) {
    if (absl::Status s = FinishOwnFrame(); !s.ok()) return s;
  }
  for (Record& record : item.records) {
    if (open_ != nullptr && (open_->origin != item.origin || open_->generation != item.generation ||
                             record.time < open_->base || payload_.size() >= FrameBytesMax())) {
      if (absl::Status s = FinishOwnFrame(); !s.ok()) return s;
    }
    const size_t before = payload_.size();
    if (open_ != nullptr) {
      EncodeRecord(record, open_->base, &payload_);
      if (payload_.size() > FrameBytesMax()) {
        payload_.resize(before);
        if (absl::Status s = FinishOwnFrame(); !s.ok()) return s;
      }
    }
    if (open_ == nullptr) {
      open_ = std::make_shared<Frame>();
      open_->origin = item.origin;
      open_->generation = item.generation;
      open_->first_seq = seq;
      open_->base = record.time;
      open_->applied = item.applied;
      EncodeRecord(record, open_->base, &payload_);
    }
    open_->records.push_back(std::move(record));
    ++seq;
  }
  open_queued_bytes_ += item.bytes;
  return absl::OkStatus();
}

absl::Status JournalImpl::FinishOwnFrame() {
  if (open_ == nullptr) return absl::OkStatus();
  Tip& tip = prepared_tips_[open_->origin];
  if (open_->first_seq != tip.seq + 1) {
    return absl::InternalError("journal: the incarnation of this start was used before");
  }
  if (absl::Status s = encoder_.Finish(payload_, tip.chain, open_.get()); !s.ok()) return s;
  tip = {open_->last_seq(), open_->chain};
  ready_.push_back({.frame = std::move(open_), .queued_bytes = std::exchange(open_queued_bytes_, 0)});
  open_ = nullptr;
  payload_.clear();
  return absl::OkStatus();
}

void JournalImpl::PrepareReceived(Item item, std::vector<absl::Status>* rejected) {
  const auto drop = [&](absl::Status why) {
    std::lock_guard lock(queue_mutex_);
    pending_bytes_ -= item.bytes;
    if (!why.ok() && rejected != nullptr) rejected->push_back(std::move(why));
  };
  absl::StatusOr<Frame> frame = DecodeShipped(item.received, std::nullopt);
  if (!frame.ok()) return drop(frame.status());
  const std::string name = HexU64(frame->origin.node) + "/" + HexU64(frame->origin.incarnation) + ":" +
                           std::to_string(frame->first_seq) + "-" + std::to_string(frame->last_seq());
  const auto it = prepared_tips_.find(frame->origin);
  const Tip tip = it == prepared_tips_.end() ? Tip{} : it->second;
  absl::StatusOr<FrameHeader> header = DecodeFrameHeader(item.received);
  if (frame->last_seq() <= tip.seq) {
    Prepared prepared{.frame = std::make_shared<Frame>(*std::move(frame)), .queued_bytes = item.bytes};
    if (PrepareRefetched(*header, std::move(prepared))) return;
    return drop(absl::OkStatus());  // held already
  }
  Origin own;
  {
    std::lock_guard lock(queue_mutex_);
    own = origin_;
  }
  if (frame->origin == own) return drop(absl::FailedPreconditionError("frame " + name + " claims to be of this run"));
  if (frame->first_seq != tip.seq + 1) {
    return drop(
        absl::OutOfRangeError("frame " + name + " does not continue what is held, up to " + std::to_string(tip.seq)));
  }
  if (header->previous_chain != tip.chain) {
    return drop(absl::DataLossError("frame " + name + " belongs to another history of its origin"));
  }
  prepared_tips_[frame->origin] = {frame->last_seq(), frame->chain};
  ready_.push_back({.frame = std::make_shared<Frame>(*std::move(frame)), .queued_bytes = item.bytes});
}

// A frame that was damaged here. False: it was not.
bool JournalImpl::PrepareRefetched(const FrameHeader& header, Prepared prepared) {
  const auto gap = std::find_if(prepared_gaps_.begin(), prepared_gaps_.end(), [&](const Gap& g) {
    return g.origin == header.origin && g.first <= header.first_seq && header.last_seq() <= g.last;
  });
  if (gap == prepared_gaps_.end()) return false;
  const uint64_t bytes = StoredBytes(header.shipped_bytes());
  // Any hole between the gap's neighbours keeps the origin's order; the first that has room is where it was, unless
  // several origins' frames were lost side by side.
  const auto hole = std::find_if(holes_.begin(), holes_.end(), [&](const Hole& h) {
    return h.begin >= gap->after && h.end <= gap->behind && h.end - h.begin >= bytes;
  });
  // What goes behind the newest takes the rest of its gap along.
  const Position end = hole == holes_.end() ? UINT64_MAX : hole->begin + bytes;
  if (!FillGap(header, end, &prepared_gaps_)) return false;
  prepared.fills_gap = true;
  if (hole == holes_.end()) {
    ready_.push_back(std::move(prepared));
    return true;
  }
  prepared.begin = hole->begin;
  prepared.end = hole->begin += bytes;
  if (hole->begin == hole->end) holes_.erase(hole);
  repairs_.push_back(std::move(prepared));
  return true;
}

// One at a time: what meets a full disk stays queued alone.
absl::Status JournalImpl::WriteRepair(std::vector<Prepared>* batch) {
  Prepared& prepared = repairs_.front();
  const SegmentNumber number = SegmentOf(prepared.begin);
  const auto segment = std::find_if(segments_.begin(), segments_.end(),
                                    [number](const SegmentInfo& info) { return info.number == number; });
  if (segment != segments_.end()) {  // else retired meanwhile: nothing to mend
    write_buffer_.clear();
    StoreFrame({.shipped_bytes = 0, .position = prepared.begin, .synced_to = prepared.begin}, prepared.frame->shipped,
               segment->salt, &write_buffer_);
    absl::StatusOr<std::unique_ptr<File>> file =
        disk_.Open(SegmentPath(options_.directory, number), OpenMode::kReadWrite);
    if (!file.ok()) return file.status();
    if (absl::Status s = (*file)->WriteAt(OffsetOf(prepared.begin), write_buffer_); !s.ok()) return s;
    if (absl::Status s = (*file)->DataSync(); !s.ok()) return absl::UnavailableError(std::string(s.message()));
  }
  batch->push_back(std::move(prepared));
  repairs_.pop_front();
  return absl::OkStatus();
}

// Goes on in a new segment, with room for a frame of `frame_bytes`. Everything in the old one is durable.
absl::Status JournalImpl::Roll(uint64_t frame_bytes) {
  SegmentHeader header{.number = SegmentOf(end_) + 1,
                       .segment_bytes = options_.segment_bytes,
                       .previous_end = end_,
                       .salt = (options_.random != nullptr ? *options_.random : SystemRandom()).U64(),
                       .tips = durable_tips_};
  const uint64_t first = EncodeSegmentHeader(header).size();
  header.segment_bytes = std::max(header.segment_bytes, first + frame_bytes);
  absl::StatusOr<std::unique_ptr<File>> file = store_.Begin(header);
  if (!file.ok()) return file.status();
  file_ = *std::move(file);
  std::lock_guard lock(state_mutex_);
  end_ = PositionOf(header.number, first);
  segments_.push_back({.number = header.number,
                       .first_offset = first,
                       .end_offset = first,
                       .segment_bytes = header.segment_bytes,
                       .salt = header.salt,
                       .tips = header.tips});
  CountBytes();
  return absl::OkStatus();
}

// Writes as many frames as fit the segment, with one write and one sync.
absl::Status JournalImpl::WriteBatch(std::vector<Prepared>* batch) {
  if (!repairs_.empty()) return WriteRepair(batch);  // a commit of its own, so that an error loses nothing else
  if (ready_.empty()) return absl::OkStatus();
  const uint64_t first_bytes = StoredBytes(ready_.front().frame->shipped.size());
  if (OffsetOf(end_) + first_bytes > segments_.back().segment_bytes) {
    if (absl::Status s = Roll(first_bytes); !s.ok()) return s;
  }
  const SegmentInfo& segment = segments_.back();
  const Position synced_to = end_;
  Position at = end_;
  write_buffer_.clear();
  size_t count = 0;
  for (Prepared& prepared : ready_) {
    const std::string& shipped = prepared.frame->shipped;
    if (OffsetOf(at) + StoredBytes(shipped.size()) > segment.segment_bytes) break;
    StoreFrame({.shipped_bytes = 0, .position = at, .synced_to = synced_to}, shipped, segment.salt, &write_buffer_);
    prepared.begin = at;
    at += StoredBytes(shipped.size());
    prepared.end = at;
    ++count;
  }
  // After ResourceExhausted the same place is written again: nothing was acknowledged of it.
  if (absl::Status s = file_->WriteAt(OffsetOf(synced_to), write_buffer_); !s.ok()) return s;
  if (absl::Status s = file_->DataSync(); !s.ok()) {
    // Not ResourceExhausted, whatever the system calls it: what a failed sync has lost is not known.
    return absl::UnavailableError(std::string(s.message()));
  }
  for (; count > 0; --count) {
    batch->push_back(std::move(ready_.front()));
    ready_.pop_front();
  }
  return absl::OkStatus();
}

std::vector<Committed> JournalImpl::Publish(std::vector<Prepared> batch) {
  std::vector<Committed> out;
  if (batch.empty()) return out;
  size_t bytes = 0;
  {
    std::lock_guard lock(state_mutex_);
    bool gaps = !durable_gaps_.empty();
    for (Prepared& prepared : batch) {
      const Frame& frame = *prepared.frame;
      if (prepared.fills_gap) {
        FillGap(DecodeFrameHeader(frame.shipped).value(), prepared.end, &durable_gaps_);
        gaps = true;
      } else {
        durable_tips_[frame.origin] = {frame.last_seq(), frame.chain};
        if (!gaps) held_.Raise(frame.origin, frame.last_seq());
      }
      frames_.Remember(frame.origin, frame.last_seq(), frame.chain, frame.shipped.size());
      bytes += prepared.queued_bytes;
      out.push_back({std::move(prepared.frame), prepared.begin, prepared.end, prepared.fills_gap});
    }
    end_ = std::max(end_, out.back().end);
    segments_.back().end_offset = OffsetOf(end_);
    if (gaps) held_ = HeldClock(durable_tips_, durable_gaps_);
  }
  {
    std::lock_guard lock(queue_mutex_);
    pending_bytes_ -= bytes;
  }
  store_.PrepareSpare(OffsetOf(end_), segments_.back().segment_bytes);
  return out;
}

std::optional<uint64_t> JournalImpl::ChainAt(const Origin& origin, Seq seq) const {
  if (seq == 0) return 0;
  SegmentNumber holder = 0;
  {
    std::lock_guard lock(state_mutex_);
    if (std::optional<uint64_t> chain; frames_.FindChain(origin, seq, &chain)) return chain;
    for (const SegmentInfo& segment : segments_) {
      const auto tip = segment.tips.find(origin);
      if (tip == segment.tips.end() || tip->second.seq < seq) {
        holder = segment.number;  // begins before seq: the last such holds it, if any does
      } else if (tip->second.seq == seq) {
        return tip->second.chain;
      }
    }
  }
  if (holder == 0) return std::nullopt;
  absl::StatusOr<std::unique_ptr<SegmentReader>> reader = SegmentReader::Open(disk_, options_.directory, holder);
  if (!reader.ok()) return std::nullopt;
  for (uint64_t at = (*reader)->first_offset();;) {
    absl::StatusOr<Look> look = (*reader)->LookAt(at, (*reader)->segment_bytes());
    if (!look.ok() || look->found != Look::Found::kFrame) return std::nullopt;
    if (look->header.origin == origin && look->header.last_seq() >= seq) {
      return look->header.last_seq() == seq ? std::optional<uint64_t>(look->header.chain) : std::nullopt;
    }
    at = look->end;
  }
}

absl::Status JournalImpl::Retire(Position position) {
  std::lock_guard commit_lock(commit_mutex_);
  bool any = false;
  while (segments_.size() > 1 && PositionOf(segments_.front().number, segments_.front().end_offset) <= position) {
    const SegmentInfo& oldest = segments_.front();
    // One after the other, each durable before the next: a hole in the numbers is damage, never a retirement.
    if (absl::Status s = store_.Recycle(oldest.number, oldest.segment_bytes); !s.ok()) return s;
    std::lock_guard lock(state_mutex_);
    segments_.erase(segments_.begin());
    CountBytes();
    // What was damaged there is as far gone as what was whole.
    const Position kept = PositionOf(segments_.front().number, segments_.front().first_offset);
    for (std::vector<Gap>* gaps : {&prepared_gaps_, &durable_gaps_}) {
      std::erase_if(*gaps, [kept](const Gap& gap) { return gap.behind <= kept; });
    }
    std::erase_if(holes_, [kept](const Hole& hole) { return hole.end <= kept; });
    held_ = HeldClock(durable_tips_, durable_gaps_);
    any = true;
  }
  return any ? RemoveUnreadable() : absl::OkStatus();
}

// Segments that could not be read go with those before them.
absl::Status JournalImpl::RemoveUnreadable() {
  absl::StatusOr<std::vector<SegmentNumber>> numbers = ListSegments(disk_, options_.directory);
  if (!numbers.ok()) return numbers.status();
  for (const SegmentNumber number : *numbers) {
    if (number >= segments_.front().number) break;
    if (absl::Status s = disk_.Remove(SegmentPath(options_.directory, number)); !s.ok()) return s;
    if (absl::Status s = disk_.SyncDirectory(options_.directory); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(Disk& disk, JournalOptions options, Recovered* recovered) {
  auto journal = std::make_unique<JournalImpl>(disk, std::move(options));
  Recovered ignored;
  if (absl::Status s = journal->Init(recovered != nullptr ? recovered : &ignored); !s.ok()) return s;
  return journal;
}

}  // namespace gemel::journal
