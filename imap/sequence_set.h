// Sequence sets (RFC 3501, 9: sequence-set), of message numbers or of UIDs.
//
// Threads: none; values.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemel::imap {

class SequenceSet {
 public:
  static constexpr uint32_t kStar = 0;  // "*"; numbers themselves are never 0
  struct Range {
    uint32_t first = 0;
    uint32_t last = 0;  // as written, so maybe below first; either may be kStar
    bool operator==(const Range&) const = default;
  };

  // Nullopt: bad syntax, a number 0 or above 2^32-1.
  static std::optional<SequenceSet> Parse(std::string_view text);
  static SequenceSet All();  // 1:*

  // The set with "*" as `largest`, its ranges ordered, sorted and joined; done once, before Contains.
  // With largest == 0 (an empty mailbox) nothing is in it.
  SequenceSet Resolved(uint32_t largest) const;

  bool Contains(uint32_t number) const;  // of a resolved set
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }

  // For numbers that come in ascending order, as in COPYUID (RFC 4315, 3): joined where they follow one another.
  static std::string Render(const std::vector<uint32_t>& ascending);

 private:
  std::vector<Range> ranges_;
};

}  // namespace gemel::imap
