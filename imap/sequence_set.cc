#include "imap/sequence_set.h"

#include <algorithm>
#include <limits>

namespace gemel::imap {
namespace {

// nz-number or "*"; takes it from the front of *in.
std::optional<uint32_t> TakeNumber(std::string_view* in) {
  if (!in->empty() && in->front() == '*') {
    in->remove_prefix(1);
    return SequenceSet::kStar;
  }
  uint64_t value = 0;
  size_t digits = 0;
  while (digits < in->size() && (*in)[digits] >= '0' && (*in)[digits] <= '9') {
    value = value * 10 + static_cast<uint64_t>((*in)[digits] - '0');
    if (value > std::numeric_limits<uint32_t>::max()) return std::nullopt;
    ++digits;
  }
  if (digits == 0 || value == 0) return std::nullopt;
  in->remove_prefix(digits);
  return static_cast<uint32_t>(value);
}

}  // namespace

std::optional<SequenceSet> SequenceSet::Parse(std::string_view text) {
  SequenceSet set;
  while (true) {
    const auto first = TakeNumber(&text);
    if (!first) return std::nullopt;
    Range range{*first, *first};
    if (!text.empty() && text.front() == ':') {
      text.remove_prefix(1);
      const auto last = TakeNumber(&text);
      if (!last) return std::nullopt;
      range.last = *last;
    }
    set.ranges_.push_back(range);
    if (text.empty()) return set;
    if (text.front() != ',') return std::nullopt;
    text.remove_prefix(1);
  }
}

SequenceSet SequenceSet::All() {
  SequenceSet set;
  set.ranges_.push_back({1, kStar});
  return set;
}

SequenceSet SequenceSet::Resolved(uint32_t largest) const {
  SequenceSet result;
  if (largest == 0) return result;
  result.ranges_.reserve(ranges_.size());
  for (Range range : ranges_) {
    if (range.first == kStar) range.first = largest;
    if (range.last == kStar) range.last = largest;
    if (range.first > range.last) std::swap(range.first, range.last);
    result.ranges_.push_back(range);
  }
  std::sort(result.ranges_.begin(), result.ranges_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  size_t kept = 0;
  for (size_t i = 1; i < result.ranges_.size(); ++i) {
    Range& before = result.ranges_[kept];
    const Range& range = result.ranges_[i];
    if (range.first <= before.last || range.first - 1 == before.last) {
      before.last = std::max(before.last, range.last);
    } else {
      result.ranges_[++kept] = range;
    }
  }
  result.ranges_.resize(result.ranges_.empty() ? 0 : kept + 1);
  return result;
}

bool SequenceSet::Contains(uint32_t number) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), number,
                                      [](uint32_t value, const Range& range) { return value < range.first; });
  return after != ranges_.begin() && number <= std::prev(after)->last;
}

std::string SequenceSet::Render(const std::vector<uint32_t>& ascending) {
  std::string out;
  for (size_t i = 0; i < ascending.size();) {
    size_t end = i + 1;
    while (end < ascending.size() && ascending[end] == ascending[end - 1] + 1) ++end;
    if (!out.empty()) out += ',';
    out += std::to_string(ascending[i]);
    if (end - i > 1) out += ':' + std::to_string(ascending[end - 1]);
    i = end;
  }
  return out;
}

}  // namespace gemel::imap
