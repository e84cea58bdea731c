#include "engine/header_scan.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"

namespace gemel::engine {
namespace {
constexpr size_t kNameBytesMax = 128;  // longer ones are no field that is looked for; RFC 5322 allows 997
}

void HeaderScan::OnLineStart(std::string_view name) {
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);  // RFC 5322, 4.5.3
  const absl::string_view text(name.data(), name.size());
  part_ = Part::kSkippedValue;
  if (absl::EqualsIgnoreCase(text, "Received")) {
    ++received_count_;
  } else if (!message_id_seen_ && absl::EqualsIgnoreCase(text, "Message-ID")) {
    message_id_seen_ = true;
    part_ = Part::kMessageId;
  }
}

void HeaderScan::Scan(std::string_view bytes) {
  while (!bytes.empty() && !done_) {
    if (line_start_) {
      line_start_ = false;
      if (bytes.front() == '\n') {
        done_ = true;
        return;
      }
      // A folded line carries on with the field before it.
      if (bytes.front() != ' ' && bytes.front() != '\t') {
        part_ = Part::kName;
        name_.clear();
      }
    }
    const auto* lf = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
    std::string_view line = bytes.substr(0, lf != nullptr ? static_cast<size_t>(lf - bytes.data()) : bytes.size());
    seen_bytes_ += line.size() + 1;
    bytes.remove_prefix(line.size() + (lf != nullptr ? 1 : 0));
    line_start_ = lf != nullptr;

    if (part_ == Part::kName) {
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos) {
        name_.append(line.substr(0, std::min(line.size(), kNameBytesMax + 1 - name_.size())));
        // No field: the body has begun without an empty line.
        done_ = lf != nullptr || name_.size() > kNameBytesMax;
        continue;
      }
      if (name_.empty()) {
        OnLineStart(line.substr(0, colon));
      } else {
        name_.append(line.substr(0, std::min(colon, kNameBytesMax)));
        OnLineStart(name_);
      }
      line.remove_prefix(colon + 1);
    }
    if (part_ == Part::kMessageId) {
      for (char c : line) {
        const bool blank = c == ' ' || c == '\t';
        if (!(blank && message_id_.empty()) && message_id_.size() < kMessageIdBytesMax) message_id_ += c;
      }
      while (!message_id_.empty() && line_start_ && (message_id_.back() == ' ' || message_id_.back() == '\t')) {
        message_id_.pop_back();
      }
    }
    done_ = done_ || seen_bytes_ > kHeaderBytesMax;
  }
}

}  // namespace gemel::engine
