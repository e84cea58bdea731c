// The link's messages: length (4 bytes, little-endian, of what follows), type (1 byte), payload. Design 7.
// Bytes of each payload: engine/README.md, "Link". Foreign bytes: decoding checks everything and allocates no more
// than what has arrived.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/ids.h"

namespace gemel::engine {

inline constexpr uint32_t kLinkVersion = 1;
inline constexpr size_t kLinkMessageBytesMax = 8 * 1024 * 1024;

struct Hello {
  uint32_t version = kLinkVersion;
  journal::ClusterId cluster;
  journal::NodeId node = 0;
  uint8_t place = 0;
  journal::Incarnation incarnation = 0;
  journal::Generation generation = 0;
  journal::VectorClock held;  // durable here
  // What `held` says of each origin, as a chain value: two histories of one origin cannot be taken for one.
  struct Chain {
    journal::Origin origin;
    journal::Seq seq = 0;
    uint64_t chain = 0;
  };
  std::vector<Chain> chains;
  std::string software;  // version, for people
};
struct FrameMessage {
  std::string shipped;
};
struct Ack {
  journal::VectorClock held;  // entries that changed since the last Ack of this connection
};
struct Ping {
  uint64_t id = 0;
  bool disk_full = false;
};
struct Pong {
  uint64_t id = 0;
};
struct Goodbye {
  std::string reason;
};
// The reason after which nobody waits for the one that gives it.
inline constexpr char kJournalFailed[] = "this node's journal failed";
// One part of a message's file, to restore what was lost on one side. Each part is asked for.
struct BodyRequest {
  journal::AccountId account;
  journal::Dot message;
  uint64_t offset = 0;
};
struct BodyPart {
  journal::Dot message;
  uint64_t offset = 0;
  bool found = false;
  bool last = false;
  std::string bytes;
};

using LinkMessage = std::variant<Hello, FrameMessage, Ack, Ping, Pong, Goodbye, BodyRequest, BodyPart>;

std::string Encode(const LinkMessage& message);  // with length and type

// Collects bytes and gives whole messages. Not thread-safe.
class LinkDecoder {
 public:
  void Feed(std::string_view bytes) { buffer_.append(bytes); }
  // nullopt: more bytes are needed. DataLoss: not a message; the connection must end.
  absl::StatusOr<std::optional<LinkMessage>> Next();

 private:
  std::string buffer_;
  size_t taken_ = 0;
};

}  // namespace gemel::engine
