#include "engine/link_messages.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace gemel::engine {
namespace {

using journal::Dot;
using journal::Origin;
using journal::VectorClock;

template <class T>
void PutInt(T value, std::string* out) {
  char bytes[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i) bytes[i] = static_cast<char>(static_cast<uint64_t>(value) >> (8 * i));
  out->append(bytes, sizeof bytes);
}
void PutText(std::string_view text, std::string* out) {
  PutInt<uint32_t>(static_cast<uint32_t>(text.size()), out);
  out->append(text);
}
void PutDot(const Dot& dot, std::string* out) {
  PutInt(dot.origin.node, out);
  PutInt(dot.origin.incarnation, out);
  PutInt(dot.seq, out);
}

// Takes values from the front; after the first shortage everything reads as zero and ok() is false.
class Taker {
 public:
  explicit Taker(std::string_view in) : in_(in) {}
  template <class T>
  T Int() {
    if (in_.size() < sizeof(T)) return Fail(), T{};
    uint64_t value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<uint64_t>(static_cast<uint8_t>(in_[i])) << (8 * i);
    in_.remove_prefix(sizeof(T));
    return static_cast<T>(value);
  }
  bool Bool() { return Int<uint8_t>() != 0; }
  std::string Bytes(size_t count) {
    if (in_.size() < count) return Fail(), std::string();
    std::string bytes(in_.substr(0, count));
    in_.remove_prefix(count);
    return bytes;
  }
  std::string Text() { return Bytes(Int<uint32_t>()); }
  std::string Rest() { return Bytes(in_.size()); }
  Dot TakeDot() {
    Dot dot;
    dot.origin.node = Int<uint64_t>();
    dot.origin.incarnation = Int<uint64_t>();
    dot.seq = Int<uint64_t>();
    return dot;
  }
  template <class Id>
  Id TakeId() {
    const std::string bytes = Bytes(16);
    return ok_ ? Id::FromBytes(bytes) : Id{};
  }
  VectorClock Clock() {
    absl::StatusOr<VectorClock> clock = VectorClock::Decode(&in_);
    if (!clock.ok()) return Fail(), VectorClock{};
    return *std::move(clock);
  }
  size_t left() const { return in_.size(); }
  bool ok() const { return ok_; }
  bool done() const { return ok_ && in_.empty(); }

 private:
  void Fail() {
    ok_ = false;
    in_ = {};
  }
  std::string_view in_;
  bool ok_ = true;
};

void EncodePayload(const Hello& hello, std::string* out) {
  PutInt(hello.version, out);
  out->append(hello.cluster.view());
  PutInt(hello.node, out);
  PutInt(hello.place, out);
  PutInt(hello.incarnation, out);
  PutInt(hello.generation, out);
  hello.held.EncodeTo(out);
  PutInt<uint32_t>(static_cast<uint32_t>(hello.chains.size()), out);
  for (const Hello::Chain& chain : hello.chains) {
    PutDot(Dot{chain.origin, chain.seq}, out);
    PutInt(chain.chain, out);
  }
  PutText(hello.software, out);
}
void EncodePayload(const FrameMessage& frame, std::string* out) { out->append(frame.shipped); }
void EncodePayload(const Ack& ack, std::string* out) { ack.held.EncodeTo(out); }
void EncodePayload(const Ping& ping, std::string* out) {
  PutInt(ping.id, out);
  PutInt<uint8_t>(ping.disk_full ? 1 : 0, out);
}
void EncodePayload(const Pong& pong, std::string* out) { PutInt(pong.id, out); }
void EncodePayload(const Goodbye& goodbye, std::string* out) { out->append(goodbye.reason); }
void EncodePayload(const BodyRequest& request, std::string* out) {
  out->append(request.account.view());
  PutDot(request.message, out);
  PutInt(request.offset, out);
}
void EncodePayload(const BodyPart& part, std::string* out) {
  PutDot(part.message, out);
  PutInt(part.offset, out);
  PutInt<uint8_t>(static_cast<uint8_t>((part.found ? 1 : 0) | (part.last ? 2 : 0)), out);
  out->append(part.bytes);
}

Hello TakeHello(Taker& in) {
  Hello hello;
  hello.version = in.Int<uint32_t>();
  if (hello.version != kLinkVersion) return in.Rest(), hello;  // what follows may mean something else
  hello.cluster = in.TakeId<journal::ClusterId>();
  hello.node = in.Int<uint64_t>();
  hello.place = in.Int<uint8_t>();
  hello.incarnation = in.Int<uint64_t>();
  hello.generation = in.Int<journal::Generation>();
  hello.held = in.Clock();
  const uint32_t count = in.Int<uint32_t>();
  for (uint32_t i = 0; i < count && in.ok(); ++i) {
    const Dot dot = in.TakeDot();
    hello.chains.push_back({dot.origin, dot.seq, in.Int<uint64_t>()});
  }
  hello.software = in.Text();
  return hello;
}

absl::StatusOr<LinkMessage> Decode(uint8_t type, std::string_view payload) {
  Taker in(payload);
  LinkMessage message;
  switch (type) {
    case 0:
      message = TakeHello(in);
      break;
    case 1:
      message = FrameMessage{in.Rest()};
      break;
    case 2:
      message = Ack{in.Clock()};
      break;
    case 3: {
      Ping ping{in.Int<uint64_t>()};
      const uint8_t bits = in.Int<uint8_t>();
      ping.disk_full = (bits & 1) != 0;
      message = ping;
      break;
    }
    case 4:
      message = Pong{in.Int<uint64_t>()};
      break;
    case 5:
      message = Goodbye{in.Rest()};
      break;
    case 6: {
      BodyRequest request;
      request.account = in.TakeId<journal::AccountId>();
      request.message = in.TakeDot();
      request.offset = in.Int<uint64_t>();
      message = request;
      break;
    }
    case 7: {
      BodyPart part;
      part.message = in.TakeDot();
      part.offset = in.Int<uint64_t>();
      const uint8_t bits = in.Int<uint8_t>();
      part.found = (bits & 1) != 0;
      part.last = (bits & 2) != 0;
      part.bytes = in.Rest();
      message = std::move(part);
      break;
    }
    default:
      return absl::DataLossError(absl::StrCat("a link message of unknown type ", type));
  }
  if (!in.done()) return absl::DataLossError(absl::StrCat("a malformed link message of type ", type));
  return message;
}

}  // namespace

std::string Encode(const LinkMessage& message) {
  std::string out(5, '\0');
  std::visit([&out](const auto& body) { EncodePayload(body, &out); }, message);
  const uint32_t length = static_cast<uint32_t>(out.size() - 4);
  for (size_t i = 0; i < 4; ++i) out[i] = static_cast<char>(length >> (8 * i));
  out[4] = static_cast<char>(message.index());
  return out;
}

absl::StatusOr<std::optional<LinkMessage>> LinkDecoder::Next() {
  const std::string_view in = std::string_view(buffer_).substr(taken_);
  const auto wait = [this]() -> absl::StatusOr<std::optional<LinkMessage>> {
    buffer_.erase(0, taken_);
    taken_ = 0;
    return std::nullopt;
  };
  if (in.size() < 4) return wait();
  const uint32_t length = Taker(in).Int<uint32_t>();
  if (length == 0 || length > kLinkMessageBytesMax) {
    return absl::DataLossError(
        absl::StrCat("a link message of ", length, " bytes: not a Gemel node, or a damaged stream"));
  }
  if (in.size() < 4 + static_cast<size_t>(length)) return wait();
  taken_ += 4 + length;
  absl::StatusOr<LinkMessage> message = Decode(static_cast<uint8_t>(in[4]), in.substr(5, length - 1));
  if (!message.ok()) return message.status();
  return std::optional<LinkMessage>(*std::move(message));
}

}  // namespace gemel::engine
