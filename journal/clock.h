// Vector clocks, hybrid time, and the wall clock that is passed in.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/ids.h"

namespace gemel::journal {

// Map origin -> highest seq such that all from 1 to it are held (or applied, where it says so).
// Sorted by origin: an entry of 24 bytes for each start of either node.
class VectorClock {
 public:
  Seq Get(const Origin& origin) const;        // 0 where the origin is unknown
  void Raise(const Origin& origin, Seq seq);  // to at least seq
  void Remove(const Origin& origin);
  void Merge(const VectorClock& other);  // entry-wise maximum
  bool Covers(const Dot& dot) const { return Get(dot.origin) >= dot.seq; }
  bool Covers(const VectorClock& other) const;  // every entry
  bool operator==(const VectorClock&) const = default;
  const std::vector<std::pair<Origin, Seq>>& entries() const& { return entries_; }
  void entries() && = delete;  // a loop over a clock that nobody keeps would outlive it
  bool empty() const { return entries_.empty(); }

  // varint count, then node (8 bytes), incarnation (8 bytes), varint seq each.
  void EncodeTo(std::string* out) const;
  static absl::StatusOr<VectorClock> Decode(std::string_view* in);  // takes from the front of *in
  std::string ToString() const;                                     // for logs: node/incarnation:seq ...

 private:
  std::vector<std::pair<Origin, Seq>> entries_;
};

// Hybrid logical time: milliseconds since 1970 << 16 | counter. Later writes compare greater, also across nodes
// that have heard from one another.
using Hlc = uint64_t;
constexpr uint64_t HlcMillis(Hlc t) { return t >> 16; }
constexpr Hlc HlcFromMillis(uint64_t ms) { return ms << 16; }

// Time, passed in. Both are thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t NowMillis() const = 0;   // since 1970, may jump
  virtual uint64_t BootMillis() const = 0;  // CLOCK_BOOTTIME: monotonic, counts while suspended
};
Clock& SystemClock();

// Randomness, passed in. Thread-safe in production.
class Random {
 public:
  virtual ~Random() = default;
  virtual void Fill(void* out, size_t bytes) = 0;
  uint64_t U64() {
    uint64_t v;
    Fill(&v, sizeof v);
    return v;
  }
};
Random& SystemRandom();  // OpenSSL's; aborts the process if there is no entropy

}  // namespace gemel::journal
