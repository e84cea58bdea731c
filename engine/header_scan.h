// Looks at a message's header while it passes, without taking it apart: how often it was received, and what it is
// called.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gemel::engine {

// Fed with LF form in any pieces. Holds at most kMessageIdBytesMax. Stops looking at the first empty line, at the
// first line that is no header field, or after kHeaderBytesMax.
class HeaderScan {
 public:
  void Feed(std::string_view lf_bytes) {
    if (!done_) Scan(lf_bytes);
  }
  bool done() const { return done_; }
  uint32_t received_count() const { return received_count_; }    // RFC 5321, 6.3: the way to see a loop
  const std::string& message_id() const { return message_id_; }  // of the first Message-ID, unfolded; "" without

  static constexpr size_t kMessageIdBytesMax = 998;
  static constexpr size_t kHeaderBytesMax = 1 << 20;

 private:
  void Scan(std::string_view bytes);
  void OnLineStart(std::string_view name);

  enum class Part : uint8_t { kName, kSkippedValue, kMessageId };
  Part part_ = Part::kName;
  bool line_start_ = true;
  bool done_ = false;
  uint32_t received_count_ = 0;
  size_t seen_bytes_ = 0;
  std::string name_;  // of the field, as far as it has arrived
  std::string message_id_;
  bool message_id_seen_ = false;
};

}  // namespace gemel::engine
