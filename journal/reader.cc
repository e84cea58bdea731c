// JournalReader: what the files hold, decoded, for replay and for the offline tools.
#include <algorithm>
#include <deque>
#include <map>
#include <set>

#include "journal/journal.h"
#include "journal/walker.h"

namespace gemel::journal {
namespace {

class ReaderImpl : public JournalReader {
 public:
  ReaderImpl(Disk& disk, const std::string& directory, Position from, ReadOrder order)
      : disk_(disk), directory_(directory), from_(from), order_(order), walker_(disk, directory, from) {}

  absl::Status Init(Position until) {
    until_ = until;
    if (until != 0) return absl::OkStatus();
    absl::StatusOr<Position> end = walker_.FindEnd();
    if (!end.ok()) return end.status();
    until_ = *end;
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Committed>> Next() override {
    while (ready_.empty()) {
      absl::StatusOr<std::optional<Walker::Step>> step = walker_.Next(until_);
      if (absl::IsDataLoss(step.status())) lost_first_ |= segment_ == 0 && OffsetOf(walker_.position()) == 0;
      if (!step.ok()) return step.status();
      if (!*step) return std::optional<Committed>();
      absl::StatusOr<Frame> frame = DecodeShipped((*step)->shipped, std::nullopt);
      if (order_ == ReadOrder::kMended) {
        const absl::StatusOr<bool> wanted = Mend(**step);
        if (!wanted.ok()) return wanted.status();
        if (!*wanted) continue;
      }
      if (!frame.ok()) {
        const FrameHeader& header = (*step)->header;
        missing_.push_back({header.origin, header.first_seq, header.last_seq()});
        return absl::Status(frame.status().code(),
                            PlaceText((*step)->begin) + ": " + std::string(frame.status().message()));
      }
      ready_.push_back({std::make_shared<const Frame>(*std::move(frame)), (*step)->begin, (*step)->end});
      last_end_ = (*step)->end;
    }
    Committed next = std::move(ready_.front());
    ready_.pop_front();
    return std::optional<Committed>(std::move(next));
  }

  const std::vector<Recovered::Missing>& missing() const override { return missing_; }

 private:
  // Puts what is missing before this frame into ready_, if it lies further behind. False: the frame itself was given
  // already, or goes into a gap before `from`, and is in what the caller has of before.
  absl::StatusOr<bool> Mend(const Walker::Step& step) {
    std::vector<Recovered::Missing> lacking;
    const auto seen = [&](const Origin& origin, Seq before) {
      const auto [it, is_new] = seen_.try_emplace(origin, 0);
      const bool known = !is_new || whole_;
      if (known && it->second < before) lacking.push_back({origin, it->second + 1, before});
      it->second = std::max(it->second, before);
      return it;
    };
    const SegmentReader& segment = walker_.segment();
    if (segment.header().number != segment_) {
      // A segment's header tells what was before it. Where reading begins in the middle, that is not known.
      const bool first = segment_ == 0;
      if (first) whole_ = !lost_first_ && (from_ == 0 || OffsetOf(from_) <= segment.first_offset());
      segment_ = segment.header().number;
      for (const auto& [origin, tip] : segment.header().tips) {
        if (first && whole_) seen_[origin] = tip.seq;
        if (!first && seen_.contains(origin)) seen(origin, tip.seq);
      }
    }
    const FrameHeader& header = step.header;
    const auto before = seen_.find(header.origin);
    if (before != seen_.end() && header.last_seq() <= before->second) return !whole_ && !given_.contains(step.begin);
    seen(header.origin, header.first_seq - 1)->second = header.last_seq();
    if (lacking.empty()) return true;
    if (absl::Status s = Find(&lacking, step); !s.ok()) return s;
    missing_.insert(missing_.end(), lacking.begin(), lacking.end());
    return true;
  }

  // Leaves in *lacking what is not found.
  absl::Status Find(std::vector<Recovered::Missing>* lacking, const Walker::Step& before) {
    const Position place = last_end_ != 0 ? last_end_ : before.begin;
    Walker walker(disk_, directory_, before.end);
    while (!lacking->empty()) {
      absl::StatusOr<std::optional<Walker::Step>> step = walker.Next(until_);
      if (absl::IsDataLoss(step.status())) continue;
      if (!step.ok()) return step.status();
      if (!*step) break;
      const FrameHeader& header = (*step)->header;
      const auto gap = std::find_if(lacking->begin(), lacking->end(), [&header](const Recovered::Missing& each) {
        return each.origin == header.origin && each.first == header.first_seq && each.last >= header.last_seq();
      });
      if (gap == lacking->end()) continue;
      absl::StatusOr<Frame> frame = DecodeShipped((*step)->shipped, std::nullopt);
      if (!frame.ok()) continue;
      ready_.push_back({std::make_shared<const Frame>(*std::move(frame)), place, place});
      given_.insert((*step)->begin);
      gap->first = header.last_seq() + 1;
      if (gap->first > gap->last) lacking->erase(gap);
    }
    return absl::OkStatus();
  }

  Disk& disk_;
  const std::string directory_;
  const Position from_;
  const ReadOrder order_;
  Walker walker_;
  Position until_ = 0;
  std::deque<Committed> ready_;
  Position last_end_ = 0;  // of what was given
  SegmentNumber segment_ = 0;
  bool lost_first_ = false;     // the segment where reading should begin
  bool whole_ = false;          // what was before `from` is known
  std::map<Origin, Seq> seen_;  // the last one given, or before `from`
  std::set<Position> given_;    // frames that were given at another place
  std::vector<Recovered::Missing> missing_;
};

}  // namespace

std::string MissingText(const Recovered::Missing& missing) {
  return HexU64(missing.origin.node) + "/" + HexU64(missing.origin.incarnation) + ":" + std::to_string(missing.first) +
         "-" + std::to_string(missing.last);
}

absl::StatusOr<std::unique_ptr<JournalReader>> JournalReader::Open(Disk& disk, const std::string& directory,
                                                                   Position from, Position until, ReadOrder order) {
  auto reader = std::make_unique<ReaderImpl>(disk, directory, from, order);
  if (absl::Status s = reader->Init(until); !s.ok()) return s;
  return reader;
}

}  // namespace gemel::journal
