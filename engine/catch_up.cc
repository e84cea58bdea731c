#include "engine/catch_up.h"

#include <algorithm>

#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::LogLevel;

// As few as this are sent in a moment: no event.
constexpr uint64_t kFewRecords = 256;
constexpr uint64_t kProgressMs = 5000;

}  // namespace

uint64_t Lacking(const journal::VectorClock& target, const journal::VectorClock& held) {
  uint64_t records = 0;
  for (const auto& [origin, seq] : target.entries()) records += seq - std::min(seq, held.Get(origin));
  return records;
}

void CatchUp::Begin(journal::VectorClock target, const journal::VectorClock& held, std::optional<uint64_t> bytes_to_go,
                    uint64_t now_ms) {
  const uint64_t lacking = Lacking(target, held);
  if (running_ || lacking <= kFewRecords) return;
  running_ = true;
  target_ = std::move(target);
  records_ = to_go_ = lacking;
  bytes_ = 0;
  began_ms_ = logged_ms_ = now_ms;
  if (bytes_to_go) {
    Log(LogLevel::kInfo, "catch_up_started", {{"way", way_}, {"records_to_go", to_go_}, {"bytes_to_go", *bytes_to_go}});
  } else {
    Log(LogLevel::kInfo, "catch_up_started", {{"way", way_}, {"records_to_go", to_go_}});
  }
}

void CatchUp::Note(const journal::VectorClock& held, uint64_t now_ms) {
  if (!running_) return;
  to_go_ = Lacking(target_, held);
  if (to_go_ > 0) return;
  running_ = false;
  Log(LogLevel::kInfo, "caught_up",
      {{"way", way_}, {"records", records_}, {"bytes", bytes_}, {"ms", now_ms - began_ms_}});
}

std::optional<CatchUpStatus> CatchUp::Status(std::optional<uint64_t> bytes_to_go, uint64_t now_ms) const {
  if (!running_) return std::nullopt;
  CatchUpStatus status;
  status.records = records_ - std::min(records_, to_go_);
  status.records_to_go = to_go_;
  status.bytes = bytes_;
  const double each = status.records == 0 ? 0 : static_cast<double>(bytes_) / static_cast<double>(status.records);
  status.bytes_to_go = bytes_to_go.value_or(static_cast<uint64_t>(each * static_cast<double>(to_go_)));
  status.running_ms = now_ms - began_ms_;
  return status;
}

void CatchUp::LogProgress(std::optional<uint64_t> bytes_to_go, uint64_t now_ms) {
  if (!running_ || now_ms - logged_ms_ < kProgressMs) return;
  logged_ms_ = now_ms;
  const CatchUpStatus status = *Status(bytes_to_go, now_ms);
  Log(LogLevel::kInfo, "catch_up_progress",
      {{"way", way_},
       {"records", status.records},
       {"records_to_go", status.records_to_go},
       {"bytes", status.bytes},
       {"bytes_to_go", status.bytes_to_go},
       {"ms", status.running_ms}});
}

}  // namespace gemel::engine
