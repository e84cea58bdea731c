#include "journal/frame_memory.h"

#include <algorithm>

namespace gemel::journal {
namespace {

constexpr size_t kChainsKept = 1024;  // the newest ones: older ones are read from the disk
constexpr size_t kSumsKept = 1024;

}  // namespace

void FrameMemory::Remember(const Origin& origin, Seq last_seq, uint64_t chain, uint64_t bytes) {
  auto& [chains, sums] = origins_[origin];
  const Mark entry(last_seq, chain);
  chains.insert(std::upper_bound(chains.begin(), chains.end(), entry), entry);  // at the end, but for a repair
  if (chains.size() > kChainsKept) chains.pop_front();

  if (!sums.empty() && last_seq <= sums.back().first) return;  // a repair: long ago, and few
  sums.emplace_back(last_seq, (sums.empty() ? 0 : sums.back().second) + bytes);
  if (sums.size() < kSumsKept) return;
  // Every second one goes, and the newest stays: what is old has been halved often.
  size_t kept = 0;
  for (size_t i = 1; i < sums.size(); i += 2) sums[kept++] = sums[i];
  sums.resize(kept);
}

bool FrameMemory::FindChain(const Origin& origin, Seq seq, std::optional<uint64_t>* chain) const {
  const auto it = origins_.find(origin);
  if (it == origins_.end() || seq < it->second.chains.front().first) return false;
  const auto& chains = it->second.chains;
  const auto at = std::lower_bound(chains.begin(), chains.end(), Mark(seq, 0));
  *chain = at != chains.end() && at->first == seq ? std::optional(at->second) : std::nullopt;
  return true;
}

uint64_t FrameMemory::BytesAfter(const Origin& origin, Seq seq) const {
  const auto it = origins_.find(origin);
  if (it == origins_.end()) return 0;
  const auto& sums = it->second.sums;
  const auto above = std::upper_bound(sums.begin(), sums.end(), Mark(seq, UINT64_MAX));
  if (above == sums.end()) return 0;
  const Mark below = above == sums.begin() ? Mark(0, 0) : *(above - 1);
  const double part = static_cast<double>(above->first - seq) / static_cast<double>(above->first - below.first);
  const uint64_t rest = static_cast<uint64_t>(static_cast<double>(above->second - below.second) * part);
  return sums.back().second - above->second + rest;
}

}  // namespace gemel::journal
