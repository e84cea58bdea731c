#include "journal/walker.h"

#include <algorithm>

namespace gemel::journal {

absl::StatusOr<Position> Walker::FindEnd() {
  absl::StatusOr<std::vector<SegmentNumber>> numbers = ListSegments(disk_, directory_);
  if (!numbers.ok()) return numbers.status();
  if (numbers->empty()) return Position{0};
  absl::StatusOr<std::unique_ptr<SegmentReader>> last = SegmentReader::Open(disk_, directory_, numbers->back());
  if (absl::IsDataLoss(last.status()) || absl::IsFailedPrecondition(last.status())) {
    return PositionOf(numbers->back(), 1);  // so that stepping there reports it
  }
  if (!last.ok()) return last.status();
  Recovery recovery;
  recovery.whole = false;
  recovery.tips = (*last)->header().tips;
  if (absl::Status s = ScanSegment(**last, std::nullopt, nullptr, &recovery); !s.ok()) return s;
  return recovery.end;
}

// The segment of position_, or the next readable one; moves position_ to its first frame where it lies before that.
absl::Status Walker::OpenSegment(Position until) {
  absl::StatusOr<std::vector<SegmentNumber>> numbers = ListSegments(disk_, directory_);
  if (!numbers.ok()) return numbers.status();
  if (numbers->empty()) return absl::NotFoundError(directory_ + ": no segments");
  if (position_ == 0) position_ = PositionOf(numbers->front(), 0);
  const SegmentNumber wanted = SegmentOf(position_);
  if (wanted < numbers->front()) {
    return absl::NotFoundError(PlaceText(position_) + ": no longer kept; the oldest segment is " +
                               std::to_string(numbers->front()));
  }
  absl::StatusOr<std::unique_ptr<SegmentReader>> reader = SegmentReader::Open(disk_, directory_, wanted);
  if (!reader.ok()) {
    if (absl::IsUnavailable(reader.status()) || absl::IsUnimplemented(reader.status())) return reader.status();
    // Behind a run of missing ones at once: a stray file's number may be high.
    const auto next = std::upper_bound(numbers->begin(), numbers->end(), wanted);
    position_ = next == numbers->end() ? until : PositionOf(*next, 0);
    return absl::DataLossError("segment " + std::to_string(wanted) + ": " + std::string(reader.status().message()));
  }
  reader_ = *std::move(reader);
  if (OffsetOf(position_) < reader_->first_offset()) position_ = PositionOf(wanted, reader_->first_offset());
  limit_ = reader_->segment_bytes();
  is_last_ = SegmentOf(until) <= wanted;
  end_known_ = is_last_;
  if (!is_last_) {
    absl::StatusOr<std::unique_ptr<SegmentReader>> next = SegmentReader::Open(disk_, directory_, wanted + 1);
    if (next.ok()) {
      limit_ = OffsetOf((*next)->header().previous_end);
      end_known_ = true;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Walker::Step>> Walker::Next(Position until) {
  if (until != read_until_ && reader_ != nullptr) reader_->ForgetWindow();
  read_until_ = until;
  while (position_ < until) {
    if (reader_ != nullptr && is_last_ && SegmentOf(until) > reader_->header().number) reader_.reset();
    if (reader_ == nullptr) {
      if (absl::Status s = OpenSegment(until); !s.ok()) return s;
      continue;
    }
    const SegmentNumber number = reader_->header().number;
    const uint64_t limit = SegmentOf(until) == number ? std::min(limit_, OffsetOf(until)) : limit_;
    const uint64_t at = OffsetOf(position_);
    if (at >= limit) {
      reader_.reset();
      position_ = PositionOf(number + 1, 0);
      continue;
    }
    absl::StatusOr<Look> look = reader_->LookAt(at, limit);
    if (!look.ok()) return look.status();
    const Position begin = position_;
    if (look->found == Look::Found::kFrame) {
      position_ = PositionOf(number, look->end);
      return std::optional<Step>(Step{begin, position_, std::move(look->header), look->shipped});
    }
    if (look->found != Look::Found::kNothing) {
      position_ = PositionOf(number, look->end);
      return absl::Status(look->why.code(), PlaceText(begin) + ": " + std::string(look->why.message()));
    }
    absl::StatusOr<std::optional<uint64_t>> behind = reader_->FindEnvelope(at + kFrameAlignBytes, limit);
    if (!behind.ok()) return behind.status();
    if (!*behind && !end_known_) {  // it ends where its frames end; the next segment is what is lost
      reader_.reset();
      position_ = PositionOf(number + 1, 0);
      continue;
    }
    position_ = PositionOf(number, behind->value_or(limit));
    return absl::DataLossError(PlaceText(begin) + ": " + std::to_string(position_ - begin) + " damaged bytes");
  }
  return std::optional<Step>();
}

}  // namespace gemel::journal
