// One way of catching up: what one node lacked when the link came up (or fell behind) and the other sends it. Logs how
// it goes, and says so to `gemel status`. A backlog of a few records is no event, and none of this.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/node.h"
#include "journal/clock.h"

namespace gemel::engine {

// Records of `target` that `held` has not.
uint64_t Lacking(const journal::VectorClock& target, const journal::VectorClock& held);

// Times are BootMillis. On the loop.
class CatchUp {
 public:
  // As the log calls it: "out" or "in".
  explicit CatchUp(std::string_view way) : way_(way) {}

  // The receiving side holds `held` and shall hold `target`. Bytes to go: of journal, where they are known.
  void Begin(journal::VectorClock target, const journal::VectorClock& held, std::optional<uint64_t> bytes_to_go,
             uint64_t now_ms);
  void AddBytes(uint64_t bytes) { bytes_ += bytes; }  // went over the link
  // The receiving side holds `held` by now, durably. Ends it where nothing is lacking any more.
  void Note(const journal::VectorClock& held, uint64_t now_ms);
  // Bytes to go where they are known: else they are guessed from what has come.
  std::optional<CatchUpStatus> Status(std::optional<uint64_t> bytes_to_go, uint64_t now_ms) const;
  // Every few seconds while it lasts.
  void LogProgress(std::optional<uint64_t> bytes_to_go, uint64_t now_ms);
  bool running() const { return running_; }

 private:
  const std::string_view way_;
  bool running_ = false;
  journal::VectorClock target_;
  uint64_t records_ = 0;  // to go at the beginning
  uint64_t to_go_ = 0;
  uint64_t bytes_ = 0;
  uint64_t began_ms_ = 0;
  uint64_t logged_ms_ = 0;
};

}  // namespace gemel::engine
