#include "journal/clock.h"

#include <openssl/rand.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "journal/wire.h"

namespace gemel::journal {
namespace {

auto LowerBound(auto& entries, const Origin& origin) {
  return std::lower_bound(entries.begin(), entries.end(), origin,
                          [](const auto& entry, const Origin& o) { return entry.first < o; });
}

uint64_t MillisOf(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1000000;
}

class KernelClock : public Clock {
 public:
  uint64_t NowMillis() const override { return MillisOf(CLOCK_REALTIME); }
  uint64_t BootMillis() const override { return MillisOf(CLOCK_BOOTTIME); }
};

class OpenSslRandom : public Random {
 public:
  void Fill(void* out, size_t bytes) override {
    if (RAND_bytes(static_cast<unsigned char*>(out), static_cast<int>(bytes)) != 1) {
      std::fputs("gemel: the system gives no random numbers\n", stderr);
      std::abort();  // identities drawn without entropy could be drawn twice
    }
  }
};

}  // namespace

Seq VectorClock::Get(const Origin& origin) const {
  const auto it = LowerBound(entries_, origin);
  return it != entries_.end() && it->first == origin ? it->second : 0;
}

void VectorClock::Raise(const Origin& origin, Seq seq) {
  if (seq == 0) return;  // an absent entry says the same
  const auto it = LowerBound(entries_, origin);
  if (it != entries_.end() && it->first == origin) {
    it->second = std::max(it->second, seq);
  } else {
    entries_.insert(it, {origin, seq});
  }
}

void VectorClock::Remove(const Origin& origin) {
  const auto it = LowerBound(entries_, origin);
  if (it != entries_.end() && it->first == origin) entries_.erase(it);
}

void VectorClock::Merge(const VectorClock& other) {
  for (const auto& [origin, seq] : other.entries_) Raise(origin, seq);
}

bool VectorClock::Covers(const VectorClock& other) const {
  return std::all_of(other.entries_.begin(), other.entries_.end(),
                     [this](const auto& entry) { return Get(entry.first) >= entry.second; });
}

void VectorClock::EncodeTo(std::string* out) const {
  PutVarint(entries_.size(), out);
  for (const auto& [origin, seq] : entries_) {
    PutFixed(origin.node, out);
    PutFixed(origin.incarnation, out);
    PutVarint(seq, out);
  }
}

absl::StatusOr<VectorClock> VectorClock::Decode(std::string_view* in) {
  constexpr size_t kEntryBytesMin = 17;
  uint64_t count = 0;
  if (!TakeVarint(in, &count) || count > in->size() / kEntryBytesMin) {
    return absl::DataLossError("vector clock: bad number of entries");
  }
  VectorClock clock;
  clock.entries_.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    Origin origin;
    Seq seq = 0;
    if (!TakeFixed(in, &origin.node) || !TakeFixed(in, &origin.incarnation) || !TakeVarint(in, &seq) || seq == 0) {
      return absl::DataLossError("vector clock: bad entry");
    }
    if (!clock.entries_.empty() && !(clock.entries_.back().first < origin)) {
      return absl::DataLossError("vector clock: entries out of order");
    }
    clock.entries_.emplace_back(origin, seq);
  }
  return clock;
}

std::string VectorClock::ToString() const {
  std::string out;
  for (const auto& [origin, seq] : entries_) {
    if (!out.empty()) out += ' ';
    out += HexU64(origin.node) + "/" + HexU64(origin.incarnation) + ":" + std::to_string(seq);
  }
  return out;
}

Clock& SystemClock() {
  static KernelClock clock;
  return clock;
}

Random& SystemRandom() {
  static OpenSslRandom random;
  return random;
}

}  // namespace gemel::journal
