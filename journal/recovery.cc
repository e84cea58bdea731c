#include "journal/recovery.h"

#include <algorithm>

namespace gemel::journal {

const std::vector<RecoveryRow>& RecoveryTable() {
  constexpr auto any = std::nullopt;
  static const std::vector<RecoveryRow> table = {
      // name, at, known_durable, hole_before, more_behind, action, why
      {"A", AtPlace::kContinues, any, any, any, RecoveryAction::kTake, "the usual case"},
      {"L", AtPlace::kFills, any, any, any, RecoveryAction::kTake, "a frame that was fetched again"},
      {"B", AtPlace::kAhead, any, true, any, RecoveryAction::kTake, "what is between lies in the hole: missing"},
      {"C", AtPlace::kAhead, true, false, any, RecoveryAction::kReportHole, "history without its beginning"},
      {"D", AtPlace::kAhead, false, false, any, RecoveryAction::kCut, "of a batch that was never synced"},
      {"E", AtPlace::kConflicts, true, any, any, RecoveryAction::kReportHole, "two histories: trust the first"},
      {"F", AtPlace::kConflicts, false, any, any, RecoveryAction::kCut, "of a batch that was never synced"},
      {"G", AtPlace::kDamaged, true, any, any, RecoveryAction::kReportHole, "was good once: the disk's damage"},
      {"H", AtPlace::kDamaged, false, any, any, RecoveryAction::kCut, "torn write"},
      {"I", AtPlace::kNothing, true, any, any, RecoveryAction::kReportHole, "was good once: the disk's damage"},
      {"J", AtPlace::kNothing, false, any, true, RecoveryAction::kCut, "torn write, and its batch's rest behind it"},
      {"K", AtPlace::kNothing, false, any, false, RecoveryAction::kEnd, "an orderly end, or nothing reached the disk"},
  };
  return table;
}

const RecoveryRow& Decide(const RecoveryInput& input) {
  const auto fits = [](std::optional<bool> wanted, bool is) { return !wanted || *wanted == is; };
  const std::vector<RecoveryRow>& table = RecoveryTable();
  const auto row = std::find_if(table.begin(), table.end(), [&](const RecoveryRow& r) {
    return r.at == input.at && fits(r.known_durable, input.known_durable) && fits(r.hole_before, input.hole_before) &&
           fits(r.more_behind, input.more_behind);
  });
  return *row;  // recovery_test.cc: exactly one row fits each input
}

VectorClock Recovery::held() const { return HeldClock(tips, gaps); }

VectorClock HeldClock(const Tips& tips, const std::vector<Gap>& gaps) {
  VectorClock clock;
  for (const auto& [origin, tip] : tips) {
    Seq seq = tip.seq;
    for (const Gap& gap : gaps) {
      if (gap.origin == origin) seq = std::min(seq, gap.first - 1);
    }
    clock.Raise(origin, seq);
  }
  return clock;
}

namespace {

// The gap that begins with this frame.
std::vector<Gap>::iterator GapOf(const FrameHeader& header, std::vector<Gap>* gaps) {
  return std::find_if(gaps->begin(), gaps->end(), [&header](const Gap& gap) {
    return gap.origin == header.origin && gap.first == header.first_seq && gap.last >= header.last_seq() &&
           gap.chain_before == header.previous_chain &&
           (gap.last != header.last_seq() || gap.chain_after == header.chain);
  });
}

AtPlace Classify(const Look& look, Recovery* recovery) {
  const Tips& tips = recovery->tips;
  if (look.found == Look::Found::kDamaged) return AtPlace::kDamaged;
  if (look.found != Look::Found::kFrame) return AtPlace::kNothing;
  const auto it = tips.find(look.header.origin);
  const Tip tip = it == tips.end() ? Tip{} : it->second;
  if (look.header.first_seq == tip.seq + 1) {
    return look.header.previous_chain == tip.chain ? AtPlace::kContinues : AtPlace::kConflicts;
  }
  if (look.header.first_seq > tip.seq) return AtPlace::kAhead;
  const bool fills = !recovery->whole || GapOf(look.header, &recovery->gaps) != recovery->gaps.end();
  return fills ? AtPlace::kFills : AtPlace::kConflicts;
}

// `look`: where the damage begins.
void ReportHole(Position begin, Position end, const Look& look, std::string why, Recovery* recovery) {
  Damage damage{begin, end, "", std::nullopt, false};
  damage.text = PlaceText(begin) + ": " + std::to_string(end - begin) + " damaged bytes (";
  std::string records = "the records in them";
  if (look.found == Look::Found::kDamaged) {
    why = std::string(look.why.message());
    // A good header tells what the payload was.
    if (absl::StatusOr<FrameHeader> header = DecodeFrameHeader(look.shipped); header.ok()) {
      damage.last = Dot{header->origin, header->last_seq()};
      records = "records " + MissingText({header->origin, header->first_seq, header->last_seq()});
    }
  }
  damage.text += why + "); " + records + " must come from the peer";
  recovery->damage.push_back(std::move(damage));
  if (!recovery->holes.empty() && recovery->holes.back().end == begin) {
    recovery->holes.back().end = end;
  } else {
    recovery->holes.push_back({begin, end});
  }
}

// How far the last segment is known to have been durable: what its own good frames say.
absl::StatusOr<uint64_t> DurableOffset(SegmentReader& reader) {
  uint64_t durable = reader.first_offset();
  uint64_t offset = reader.first_offset();
  while (true) {
    absl::StatusOr<std::optional<uint64_t>> at = reader.FindEnvelope(offset, reader.segment_bytes());
    if (!at.ok()) return at.status();
    if (!*at) return durable;
    absl::StatusOr<Look> look = reader.LookAt(**at, reader.segment_bytes());
    if (!look.ok()) return look.status();
    // An envelope that verifies says the truth about what was durable, whatever became of its frame.
    if (SegmentOf(look->envelope.synced_to) == reader.header().number) {
      durable = std::max(durable, OffsetOf(look->envelope.synced_to));
    }
    offset = look->found == Look::Found::kFrame ? look->end : **at + kFrameAlignBytes;
  }
}

void NoteCut(const FrameHeader& header, Recovery* recovery) {
  for (Recovered::Missing& run : recovery->cut_records) {
    if (run.origin != header.origin || run.last + 1 != header.first_seq) continue;
    run.last = header.last_seq();
    return;
  }
  recovery->cut_records.push_back({header.origin, header.first_seq, header.last_seq()});
}

void TakeFrame(const FrameHeader& header, Position begin, Position end, Recovery* recovery) {
  Tip& tip = recovery->tips[header.origin];
  if (header.first_seq <= tip.seq) {
    FillGap(header, end, &recovery->gaps);
    recovery->refetched.emplace_back(Dot{header.origin, header.last_seq()}, end - begin);
    return;
  }
  Position& tip_end = recovery->tip_ends[header.origin];
  if (header.first_seq > tip.seq + 1) {
    recovery->gaps.push_back(
        {header.origin, tip.seq + 1, header.first_seq - 1, tip.chain, header.previous_chain, tip_end, begin});
  }
  tip = {header.last_seq(), header.chain};
  tip_end = end;
}

}  // namespace

bool FillGap(const FrameHeader& header, Position end, std::vector<Gap>* gaps) {
  const auto gap = GapOf(header, gaps);
  if (gap == gaps->end()) return false;
  gap->first = header.last_seq() + 1;
  gap->chain_before = header.chain;
  gap->after = end;
  if (gap->first > gap->last) gaps->erase(gap);
  return true;
}

absl::Status ScanSegment(SegmentReader& reader, std::optional<uint64_t> sealed_end,
                         const std::function<void(Position, Position, const FrameHeader&)>& frame, Recovery* recovery) {
  const SegmentNumber number = reader.header().number;
  const uint64_t limit = sealed_end.value_or(reader.segment_bytes());
  uint64_t durable = limit;
  if (!sealed_end) {
    absl::StatusOr<uint64_t> offset = DurableOffset(reader);
    if (!offset.ok()) return offset.status();
    durable = *offset;
    if (SegmentOf(recovery->durable_floor) == number) {
      durable = std::min(limit, std::max(durable, OffsetOf(recovery->durable_floor)));
    }
  }
  recovery->known_durable = PositionOf(number, durable);
  uint64_t at = reader.first_offset();
  while (at < limit) {
    absl::StatusOr<Look> look = reader.LookAt(at, limit);
    if (!look.ok()) return look.status();
    if (look->found == Look::Found::kNewer) {
      return absl::UnimplementedError(PlaceText(PositionOf(number, at)) + ": " + std::string(look->why.message()));
    }
    RecoveryInput input{
        .at = Classify(*look, recovery), .known_durable = at < durable, .hole_before = !recovery->holes.empty()};
    std::optional<uint64_t> behind;
    if (input.at != AtPlace::kContinues && input.at != AtPlace::kFills && input.at != AtPlace::kAhead) {
      // Behind this frame, where it has an end; else anywhere.
      absl::StatusOr<std::optional<uint64_t>> found =
          reader.FindEnvelope(look->end != 0 ? look->end : at + kFrameAlignBytes, limit);
      if (!found.ok()) return found.status();
      behind = *found;
      input.more_behind = behind.has_value();
      look = reader.LookAt(at, limit);  // the window has moved
      if (!look.ok()) return look.status();
    }
    const RecoveryRow& row = Decide(input);
    switch (row.action) {
      case RecoveryAction::kTake:
        TakeFrame(look->header, PositionOf(number, at), PositionOf(number, look->end), recovery);
        if (frame) frame(PositionOf(number, at), PositionOf(number, look->end), look->header);
        at = look->end;
        continue;
      case RecoveryAction::kReportHole: {
        // What was never known to be durable is no damage.
        const uint64_t end = look->end != 0 ? look->end : std::min(durable, behind.value_or(durable));
        ReportHole(PositionOf(number, at), PositionOf(number, end), *look, row.why, recovery);
        at = end;
        continue;
      }
      case RecoveryAction::kCut: {
        uint64_t last = look->end != 0 ? look->end : at;
        if (look->found == Look::Found::kFrame) NoteCut(look->header, recovery);
        for (uint64_t from = at + kFrameAlignBytes;;) {
          absl::StatusOr<std::optional<uint64_t>> more = reader.FindEnvelope(from, limit);
          if (!more.ok()) return more.status();
          if (!*more) break;
          absl::StatusOr<Look> torn = reader.LookAt(**more, limit);
          if (!torn.ok()) return torn.status();
          last = std::max(last, torn->end);
          if (torn->found == Look::Found::kFrame) NoteCut(torn->header, recovery);
          from = **more + kFrameAlignBytes;
        }
        recovery->cut_bytes = std::min(last, limit) - at;
        break;
      }
      case RecoveryAction::kEnd:
        break;
    }
    break;
  }
  recovery->end = PositionOf(number, at);
  recovery->segments.push_back({.number = number,
                                .first_offset = reader.first_offset(),
                                .end_offset = at,
                                .segment_bytes = reader.segment_bytes(),
                                .salt = reader.header().salt,
                                .tips = reader.header().tips});
  return absl::OkStatus();
}

namespace {

// A file with a number so far above the last that can be read is none of this journal's.
constexpr SegmentNumber kSegmentsLostMax = 1024;

// Segments whose files or headers are gone: their frames are missing, and what they were the next header tells, unless
// that was made when they were lost already (`told`).
void ReportLostSegments(SegmentNumber first, SegmentNumber last, std::string_view why, bool told, Recovery* recovery) {
  const Position place = PositionOf(first, 0);
  const std::string which = first == last ? "segment " + std::to_string(first)
                                          : "segments " + std::to_string(first) + " to " + std::to_string(last);
  recovery->damage.push_back({place, place,
                              which + ": " + std::string(why) + "; the records in " + (first == last ? "it" : "them") +
                                  " must come from the peer",
                              std::nullopt, told});
  recovery->holes.push_back({place, place});
}

// The header knows every origin's newest frame before its segment: what we have not seen is missing.
void CatchUpWithHeader(const SegmentHeader& header, bool first, Recovery* recovery) {
  for (const auto& [origin, newest] : header.tips) {
    Tip& tip = recovery->tips[origin];
    Position& tip_end = recovery->tip_ends[origin];
    if (newest.seq <= tip.seq) continue;
    if (!first) {
      recovery->gaps.push_back(
          {origin, tip.seq + 1, newest.seq, tip.chain, newest.chain, tip_end, PositionOf(header.number, 0)});
    }
    tip = newest;
    tip_end = 0;
  }
}

// Damage is a problem unless all that was there is held: it was fetched again, and had no room in its old place. Where
// no header tells what was there, the bytes do: no gap is left, and what filled them is just as long as the holes.
void ReportDamage(Recovery* recovery) {
  const VectorClock held = recovery->held();
  uint64_t unknown_bytes = 0, refetched_bytes = 0;
  for (const Damage& damage : recovery->damage) unknown_bytes += damage.last ? 0 : damage.end - damage.begin;
  for (const auto& [last, bytes] : recovery->refetched) {
    const bool known = std::any_of(recovery->damage.begin(), recovery->damage.end(),
                                   [&last](const Damage& damage) { return damage.last == last; });
    refetched_bytes += known ? 0 : bytes;
  }
  const auto is_held = [&](const Damage& damage) {
    if (damage.last) return held.Covers(*damage.last);
    if (damage.end > damage.begin) return recovery->gaps.empty() && unknown_bytes == refetched_bytes;
    return damage.told && std::none_of(recovery->gaps.begin(), recovery->gaps.end(),
                                       [&damage](const Gap& gap) { return gap.behind > damage.begin; });
  };
  for (const Damage& damage : recovery->damage) {
    if (!is_held(damage)) recovery->problems.push_back(damage.text);
  }
}

// The newest segments are gone, with all that says so.
void EndBelowFloor(Recovery* recovery) {
  if (SegmentOf(recovery->end) >= SegmentOf(recovery->durable_floor)) return;
  const SegmentNumber lost = SegmentOf(recovery->durable_floor);
  ReportLostSegments(lost, lost, "a checkpoint knows of it, and its file is missing", false, recovery);
  recovery->end = PositionOf(SegmentOf(recovery->durable_floor), 0);
  recovery->cut_bytes = 0;
  recovery->cut_records.clear();
}

// The oldest segments are gone, with more of them than a checkpoint covers.
void BeginBehindFloor(SegmentNumber first, Position previous_end, Recovery* recovery) {
  const Position floor = recovery->durable_floor;
  if (floor == 0 || SegmentOf(floor) >= first || previous_end <= floor) return;
  recovery->problems.push_back(PlaceText(floor) + ": all from here to the beginning of segment " +
                               std::to_string(first) +
                               " is missing, and no checkpoint covers it; it must come from the peer");
}

}  // namespace

absl::StatusOr<Recovery> Recover(Disk& disk, const std::string& directory,
                                 const std::function<void(Position, Position, const FrameHeader&)>& frame,
                                 Position durable_floor) {
  absl::StatusOr<std::vector<SegmentNumber>> numbers = ListSegments(disk, directory);
  if (!numbers.ok()) return numbers.status();
  Recovery recovery;
  recovery.durable_floor = durable_floor;
  if (numbers->empty()) {
    EndBelowFloor(&recovery);
    ReportDamage(&recovery);
    return recovery;
  }

  std::map<SegmentNumber, Position> previous_ends;  // of the segments that can be read
  for (SegmentNumber number : *numbers) {
    absl::StatusOr<std::unique_ptr<SegmentReader>> reader = SegmentReader::Open(disk, directory, number);
    if (reader.ok()) {
      previous_ends[number] = (*reader)->header().previous_end;
    } else if (!absl::IsDataLoss(reader.status()) && !absl::IsFailedPrecondition(reader.status())) {
      return reader.status();
    }
  }
  if (previous_ends.empty()) {
    return absl::FailedPreconditionError(directory + ": no segment has a readable header: not a journal, or lost");
  }
  const SegmentNumber last_readable = previous_ends.rbegin()->first;
  if (numbers->back() > last_readable && numbers->back() - last_readable > kSegmentsLostMax) {
    return absl::FailedPreconditionError(SegmentPath(directory, numbers->back()) +
                                         ": has no segment's header, and the last segment that can be read is " +
                                         std::to_string(last_readable) +
                                         ": it is no part of this journal; move it away, then start again");
  }
  BeginBehindFloor(previous_ends.begin()->first, previous_ends.begin()->second, &recovery);
  // Whether the next one's header tells what was in the segments up to this one.
  const auto told = [&previous_ends](SegmentNumber number) {
    const auto next = previous_ends.find(number + 1);
    return next != previous_ends.end() && OffsetOf(next->second) > 0;
  };
  SegmentNumber expected = numbers->front();
  for (const SegmentNumber number : *numbers) {
    if (number > expected) {
      const std::string_view why = number == expected + 1 ? "its file is missing" : "their files are missing";
      ReportLostSegments(expected, number - 1, why, told(number - 1), &recovery);
    }
    expected = number + 1;
    if (!previous_ends.contains(number)) {
      ReportLostSegments(number, number, "both copies of its header are damaged", told(number), &recovery);
      recovery.end = PositionOf(number, 0);
      continue;
    }
    absl::StatusOr<std::unique_ptr<SegmentReader>> opened = SegmentReader::Open(disk, directory, number);
    if (!opened.ok()) return opened.status();
    SegmentReader& reader = **opened;
    if (!reader.header_problem().empty()) recovery.problems.push_back(reader.header_problem());
    CatchUpWithHeader(reader.header(), recovery.segments.empty() && recovery.holes.empty(), &recovery);
    std::optional<uint64_t> sealed_end;
    if (number != numbers->back()) {
      const auto next = previous_ends.find(number + 1);
      // Without the next header this one's end is where its frames end; what it may have lost the tips will tell.
      if (next != previous_ends.end()) sealed_end = OffsetOf(next->second);
    }
    recovery.cut_bytes = 0;
    recovery.cut_records.clear();
    if (absl::Status s = ScanSegment(reader, sealed_end, frame, &recovery); !s.ok()) return s;
  }
  EndBelowFloor(&recovery);
  ReportDamage(&recovery);
  return recovery;
}

}  // namespace gemel::journal
