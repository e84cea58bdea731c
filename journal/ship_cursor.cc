// ShipCursor: what a peer lacks, read from the disk. Only for catching up: what is committed now goes to the peer from
// memory.
#include <algorithm>

#include "journal/journal.h"
#include "journal/walker.h"

namespace gemel::journal {
namespace {

class CursorImpl : public ShipCursor {
 public:
  CursorImpl(Disk& disk, const Journal& journal, const std::string& directory, VectorClock theirs,
             std::vector<NodeId> nodes)
      : disk_(disk),
        journal_(journal),
        directory_(directory),
        theirs_(std::move(theirs)),
        nodes_(std::move(nodes)),
        walker_(disk, directory, 0) {}

  absl::StatusOr<std::vector<Committed>> Next(size_t bytes_max) override {
    if (!started_) {
      if (absl::Status s = Start(); !s.ok()) return s;
    }
    const Position until = journal_.end();
    std::vector<Committed> out;
    size_t bytes = 0;
    while (bytes < bytes_max) {
      absl::StatusOr<std::optional<Walker::Step>> step = walker_.Next(until);
      if (!step.ok()) {
        if (!out.empty() && !absl::IsDataLoss(step.status())) break;  // what was read goes out; the next call says it
        if (absl::IsDataLoss(step.status()) && SegmentOf(walker_.position()) >= SegmentOf(journal_.oldest())) {
          continue;  // TakeIfWanted says so where it concerns the peer
        }
        return step.status();
      }
      if (!*step) break;
      if (absl::Status s = TakeIfWanted(**step, &out, &bytes); !s.ok()) {
        if (out.empty()) return s;
        failed_ = s;
        break;
      }
    }
    if (out.empty() && !failed_.ok()) return failed_;
    return out;
  }

  Position position() const override { return walker_.position(); }

 private:
  bool Wanted(const Origin& origin) const {
    return nodes_.empty() || std::find(nodes_.begin(), nodes_.end(), origin.node) != nodes_.end();
  }

  // Begins with the newest segment before which the peer has everything.
  absl::Status Start() {
    absl::StatusOr<std::vector<SegmentNumber>> numbers = ListSegments(disk_, directory_);
    if (!numbers.ok()) return numbers.status();
    for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
      absl::StatusOr<std::unique_ptr<SegmentReader>> reader = SegmentReader::Open(disk_, directory_, *number);
      if (absl::IsDataLoss(reader.status())) continue;
      if (!reader.ok()) return reader.status();
      const Tips& tips = (*reader)->header().tips;
      const bool covered = std::all_of(tips.begin(), tips.end(), [this](const auto& entry) {
        return !Wanted(entry.first) || theirs_.Get(entry.first) >= entry.second.seq;
      });
      if (covered) {
        walker_.Seek(PositionOf(*number, (*reader)->first_offset()));
        started_ = true;
        return absl::OkStatus();
      }
    }
    return absl::NotFoundError(directory_ + ": the peer lacks what is no longer kept here; it needs a resync");
  }

  absl::Status TakeIfWanted(const Walker::Step& step, std::vector<Committed>* out, size_t* bytes) {
    const Origin& origin = step.header.origin;
    const Seq have = theirs_.Get(origin);
    if (!Wanted(origin) || step.header.last_seq() <= have) return absl::OkStatus();
    const std::string place = PlaceText(step.begin) + ": ";
    if (step.header.first_seq != have + 1) {
      return absl::DataLossError(place + "the peer lacks records before this frame, and they are damaged here");
    }
    absl::StatusOr<Frame> frame = DecodeShipped(step.shipped, std::nullopt);
    if (!frame.ok()) return absl::Status(frame.status().code(), place + std::string(frame.status().message()));
    *bytes += frame->shipped.size();
    theirs_.Raise(origin, frame->last_seq());
    out->push_back({std::make_shared<const Frame>(*std::move(frame)), step.begin, step.end});
    return absl::OkStatus();
  }

  Disk& disk_;
  const Journal& journal_;
  const std::string directory_;
  VectorClock theirs_;
  const std::vector<NodeId> nodes_;
  Walker walker_;
  bool started_ = false;
  absl::Status failed_;  // final: repeated by every later call
};

}  // namespace

std::unique_ptr<ShipCursor> ShipCursor::Make(Disk& disk, const Journal& journal, const std::string& directory,
                                             VectorClock theirs, std::vector<NodeId> nodes) {
  return std::make_unique<CursorImpl>(disk, journal, directory, std::move(theirs), std::move(nodes));
}

}  // namespace gemel::journal
