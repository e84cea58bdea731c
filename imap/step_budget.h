// What one step of a long command (FETCH, SEARCH) may cost before the loop lets others run: one notion for both.
//
// Threads: values.
#pragma once
#include <algorithm>
#include <cstdint>

namespace gemel::imap {

// The unit is a byte that is looked at once: parsed, decoded, or compared with one text. Work is counted as it is done,
// in pieces that are small themselves; a step ends behind the piece that spends the last of it.
class StepBudget {
 public:
  static constexpr uint64_t kStep = 1 << 20;
  // What the smallest counts for, as its bytes do not say it.
  static constexpr uint64_t kMessage = 2 * 1024;  // to look at a message's flags, or to answer them
  static constexpr uint64_t kOpen = 4 * 1024;     // a file, or a decoder
  static constexpr uint64_t kParse = 32 * 1024;   // a message's structure
  static constexpr uint64_t kKey = 32;            // a key of SEARCH, or a header field

  explicit StepBudget(uint64_t cost_max = kStep) : left_(cost_max) {}
  void Spend(uint64_t cost) { left_ -= std::min(left_, cost); }
  bool spent() const { return left_ == 0; }

 private:
  uint64_t left_;
};

}  // namespace gemel::imap
