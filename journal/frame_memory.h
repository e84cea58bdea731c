// What a journal remembers of the frames that it has seen, in bounded memory: their chain values and their bytes.
//
// Threads: whoever owns it locks.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "journal/ids.h"

namespace gemel::journal {

class FrameMemory {
 public:
  void Remember(const Origin& origin, Seq last_seq, uint64_t chain, uint64_t bytes);

  // The chain value after this record; nullopt: no frame ends with it. False: it may be so old that it is forgotten.
  bool FindChain(const Origin& origin, Seq seq, std::optional<uint64_t>* chain) const;

  // Bytes of the origin's frames behind this record. Exact for the newest frames; of older ones only sums over several
  // are known, and what lies between is taken to be spread evenly.
  uint64_t BytesAfter(const Origin& origin, Seq seq) const;

 private:
  using Mark = std::pair<Seq, uint64_t>;
  struct OfOrigin {
    std::deque<Mark> chains;  // of the newest frames
    std::vector<Mark> sums;   // of the bytes up to each: the older, the fewer
  };
  std::map<Origin, OfOrigin> origins_;
};

}  // namespace gemel::journal
