#include "journal/record.h"

#include <algorithm>
#include <map>

#include "journal/record_fields.h"
#include "journal/wire.h"

namespace gemel::journal {
namespace {

// A record's first byte: its type and two bits. The type is the place in RecordBody, from 1: format, so that a new
// record is only ever added at the end.
constexpr uint8_t kTypeMask = 0x3f;
constexpr uint8_t kHasAccount = 0x40;
constexpr uint8_t kGroupContinues = 0x80;
constexpr size_t kTypeCount = std::variant_size_v<RecordBody>;
static_assert(kTypeCount == 21, "a new record type: README.md, its tests and the golden files want it too");
static_assert(kTypeCount <= kTypeMask);

constexpr std::string_view kTypeNames[kTypeCount] = {
    "Start", "Closed",        "GenerationBegin", "PeerSet",       "AccountSet", "DomainSet",   "AliasSet", "Release",
    "Take",  "BodyChunk",     "BodyDrop",        "Deliver",       "Place",      "FlagsChange", "Expunge",  "Copy",
    "Move",  "MailboxCreate", "MailboxRename",   "MailboxDelete", "Subscribe"};

const Dot& DotOf(const Dot& dot) { return dot; }
const Dot& DotOf(const PlacedMessage& message) { return message.message; }

class Encoder {
 public:
  explicit Encoder(std::string* out) : out_(out) {}

  void operator()(std::string_view, const uint8_t& v) { out_->push_back(static_cast<char>(v)); }
  void operator()(std::string_view, const bool& v) { out_->push_back(v ? 1 : 0); }
  void operator()(std::string_view, const uint32_t& v) { PutVarint(v, out_); }
  void operator()(std::string_view, const uint64_t& v) { PutVarint(v, out_); }
  void operator()(std::string_view, const int64_t& v) { PutVarint(ZigZag(v), out_); }
  void operator()(std::string_view, const std::string& v) {
    PutVarint(v.size(), out_);
    *out_ += v;
  }
  template <class Tag>
  void operator()(std::string_view, const Id128<Tag>& v) {
    out_->append(v.view());
  }
  void operator()(std::string_view, const std::array<uint8_t, 32>& v) {
    out_->append(reinterpret_cast<const char*>(v.data()), v.size());
  }
  void operator()(std::string_view, const Origin& v) {
    PutFixed(v.node, out_);
    PutFixed(v.incarnation, out_);
  }
  void operator()(std::string_view, const Dot& v) {
    (*this)("", v.origin);
    PutVarint(v.seq, out_);
  }
  void operator()(std::string_view, const VectorClock& v) { v.EncodeTo(out_); }
  void operator()(std::string_view, const Order& v) { Fields(*this, v); }
  template <class T>
    requires std::is_enum_v<T>
  void operator()(std::string_view, const T& v) {
    out_->push_back(static_cast<char>(v));
  }
  template <class T>
  void operator()(std::string_view, const std::optional<T>& v) {
    (*this)("", v.has_value());
    if (v) (*this)("", *v);
  }
  template <class T>
  void operator()(std::string_view, const std::vector<T>& v) {
    PutVarint(v.size(), out_);
    for (const T& element : v) (*this)("", element);
  }
  void operator()(std::string_view, const GenerationParent& v) { Fields(*this, v); }
  void operator()(std::string_view, const std::pair<MailboxId, Uid>& v) {
    (*this)("", v.first);
    (*this)("", v.second);
  }
  void operator()(std::string_view, const std::vector<Dot>& v) { Dots(v); }
  void operator()(std::string_view, const std::vector<PlacedMessage>& v) {
    Dots(v);
    int64_t previous = 0;
    for (const PlacedMessage& message : v) {
      PutVarint(ZigZag(static_cast<int64_t>(message.uid) - previous), out_);
      previous = message.uid;
    }
  }
  void Secret(std::string_view name, const auto& v) { (*this)(name, v); }
  void Text(std::string_view name, const std::string& v) { (*this)(name, v); }

 private:
  // Each origin once, then runs of one origin with their seqs as differences. The order stays.
  template <class T>
  void Dots(const std::vector<T>& dots) {
    std::vector<Origin> origins;
    std::vector<uint64_t> previous;
    size_t runs = 0;
    for (size_t i = 0; i < dots.size(); ++i) {
      const Origin& origin = DotOf(dots[i]).origin;
      if (std::find(origins.begin(), origins.end(), origin) == origins.end()) origins.push_back(origin);
      if (i == 0 || DotOf(dots[i - 1]).origin != origin) ++runs;
    }
    PutVarint(origins.size(), out_);
    for (const Origin& origin : origins) (*this)("", origin);
    PutVarint(runs, out_);
    previous.resize(origins.size());
    for (size_t i = 0; i < dots.size();) {
      const Origin& origin = DotOf(dots[i]).origin;
      const size_t index = static_cast<size_t>(std::find(origins.begin(), origins.end(), origin) - origins.begin());
      size_t end = i;
      while (end < dots.size() && DotOf(dots[end]).origin == origin) ++end;
      PutVarint(index, out_);
      PutVarint(end - i, out_);
      for (; i < end; ++i) {
        const Seq seq = DotOf(dots[i]).seq;
        PutVarint(ZigZag(static_cast<int64_t>(seq - previous[index])), out_);
        previous[index] = seq;
      }
    }
  }

  std::string* out_;
};

// Stops at the first field that is malformed; later calls then do nothing.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  // The name of the field that was wrong; empty: all well so far.
  std::string_view wrong() const { return wrong_; }
  std::string_view rest() const { return in_; }

  void operator()(std::string_view name, uint8_t& v) { Check(name, TakeFixed(&in_, &v)); }
  void operator()(std::string_view name, bool& v) {
    uint8_t byte = 0;
    if (!Check(name, TakeFixed(&in_, &byte) && byte <= 1)) return;
    v = byte == 1;
  }
  void operator()(std::string_view name, uint32_t& v) {
    uint64_t wide = 0;
    if (!Check(name, TakeVarint(&in_, &wide) && wide <= UINT32_MAX)) return;
    v = static_cast<uint32_t>(wide);
  }
  void operator()(std::string_view name, uint64_t& v) { Check(name, TakeVarint(&in_, &v)); }
  void operator()(std::string_view name, int64_t& v) {
    uint64_t wide = 0;
    if (Check(name, TakeVarint(&in_, &wide))) v = UnZigZag(wide);
  }
  void operator()(std::string_view name, std::string& v) {
    uint64_t bytes = 0;
    if (!Check(name, TakeVarint(&in_, &bytes) && bytes <= in_.size())) return;
    v.assign(in_.substr(0, bytes));
    in_.remove_prefix(bytes);
  }
  template <class Tag>
  void operator()(std::string_view name, Id128<Tag>& v) {
    Raw(name, v.bytes);
  }
  void operator()(std::string_view name, std::array<uint8_t, 32>& v) { Raw(name, v); }
  void operator()(std::string_view name, Origin& v) {
    Check(name, TakeFixed(&in_, &v.node) && TakeFixed(&in_, &v.incarnation));
  }
  void operator()(std::string_view name, Dot& v) {
    (*this)(name, v.origin);
    (*this)(name, v.seq);
  }
  void operator()(std::string_view name, VectorClock& v) {
    if (!wrong_.empty()) return;
    absl::StatusOr<VectorClock> clock = VectorClock::Decode(&in_);
    if (Check(name, clock.ok())) v = *std::move(clock);
  }
  void operator()(std::string_view, Order& v) { Fields(*this, v); }
  template <class T>
    requires std::is_enum_v<T>
  void operator()(std::string_view name, T& v) {
    uint8_t byte = 0;
    if (!Check(name, TakeFixed(&in_, &byte) && byte <= EnumMax(T{}))) return;
    v = static_cast<T>(byte);
  }
  template <class T>
  void operator()(std::string_view name, std::optional<T>& v) {
    bool present = false;
    (*this)(name, present);
    if (!present || !wrong_.empty()) return;
    (*this)(name, v.emplace());
  }
  template <class T>
  void operator()(std::string_view name, std::vector<T>& v) {
    uint64_t count = 0;
    if (!Check(name, TakeVarint(&in_, &count) && count <= in_.size())) return;  // each takes a byte at least
    for (uint64_t i = 0; i < count && wrong_.empty(); ++i) (*this)(name, v.emplace_back());
  }
  void operator()(std::string_view, GenerationParent& v) { Fields(*this, v); }
  void operator()(std::string_view name, std::pair<MailboxId, Uid>& v) {
    (*this)(name, v.first);
    (*this)(name, v.second);
  }
  void operator()(std::string_view name, std::vector<Dot>& v) {
    Dots(name, [&v](const Dot& dot) { v.push_back(dot); });
  }
  void operator()(std::string_view name, std::vector<PlacedMessage>& v) {
    Dots(name, [&v](const Dot& dot) { v.push_back({dot, 0}); });
    int64_t uid = 0;
    for (PlacedMessage& message : v) {
      uint64_t step = 0;
      if (!Check(name, TakeVarint(&in_, &step))) return;
      // Wraps like the seqs; what is out of range is refused below.
      uid = static_cast<int64_t>(static_cast<uint64_t>(uid) + static_cast<uint64_t>(UnZigZag(step)));
      if (!Check(name, uid >= 0 && uid <= UINT32_MAX)) return;
      message.uid = static_cast<Uid>(uid);
    }
  }
  void Secret(std::string_view name, auto& v) { (*this)(name, v); }
  void Text(std::string_view name, std::string& v) { (*this)(name, v); }

 private:
  bool Check(std::string_view name, bool good) {
    if (!good && wrong_.empty()) wrong_ = name.empty() ? "?" : name;
    if (!wrong_.empty()) in_ = {};
    return wrong_.empty();
  }
  template <class Array>
  void Raw(std::string_view name, Array& v) {
    if (!Check(name, in_.size() >= v.size())) return;
    std::memcpy(v.data(), in_.data(), v.size());
    in_.remove_prefix(v.size());
  }
  void Dots(std::string_view name, const auto& add) {
    uint64_t count = 0;
    if (!Check(name, TakeVarint(&in_, &count) && count <= in_.size() / sizeof(Origin))) return;
    std::vector<Dot> last(count);
    for (Dot& dot : last) (*this)(name, dot.origin);
    uint64_t runs = 0;
    if (!Check(name, TakeVarint(&in_, &runs))) return;
    for (uint64_t run = 0; run < runs; ++run) {
      uint64_t index = 0, length = 0;
      if (!Check(name, TakeVarint(&in_, &index) && index < count && TakeVarint(&in_, &length) && length > 0 &&
                           length <= in_.size())) {
        return;
      }
      for (uint64_t i = 0; i < length; ++i) {
        uint64_t step = 0;
        if (!Check(name, TakeVarint(&in_, &step))) return;
        last[index].seq += static_cast<uint64_t>(UnZigZag(step));
        add(last[index]);
      }
    }
  }

  std::string_view in_;
  std::string_view wrong_;
};

template <size_t I = 0>
bool EmplaceType(size_t index, RecordBody* body) {
  if constexpr (I < kTypeCount) {
    if (index == I) {
      body->emplace<I>();
      return true;
    }
    return EmplaceType<I + 1>(index, body);
  }
  return false;
}

}  // namespace

void EncodeRecord(const Record& record, Hlc base, std::string* out) {
  // The length stands before what it measures: one byte is kept for it, as most records are short or so long that
  // moving them is little beside compressing them.
  const size_t begin = out->size();
  out->push_back(0);
  const bool has_account = !record.account.empty();
  out->push_back(static_cast<char>((record.body.index() + 1) | (has_account ? kHasAccount : 0) |
                                   (record.group_continues ? kGroupContinues : 0)));
  if (has_account) out->append(record.account.view());
  PutVarint(record.time - base, out);
  Encoder encoder(out);
  std::visit([&encoder](const auto& body) { Fields(encoder, body); }, record.body);

  const uint64_t bytes = out->size() - begin - 1;
  if (bytes < 0x80) {
    (*out)[begin] = static_cast<char>(bytes);
  } else {
    std::string length;
    PutVarint(bytes, &length);
    out->replace(begin, 1, length);
  }
}

absl::StatusOr<Record> DecodeRecord(std::string_view* in, Hlc base) {
  uint64_t bytes = 0;
  if (!TakeVarint(in, &bytes) || bytes > in->size() || bytes == 0) {
    return absl::DataLossError("record: bad length");
  }
  std::string_view rest = in->substr(0, bytes);
  in->remove_prefix(bytes);
  const auto head = static_cast<uint8_t>(rest[0]);
  rest.remove_prefix(1);

  Record record;
  const size_t type = head & kTypeMask;
  if (type == 0) return absl::DataLossError("record: type 0");
  if (!EmplaceType(type - 1, &record.body)) {
    return absl::UnimplementedError("record: type " + std::to_string(type) + " is newer than this program");
  }
  record.group_continues = (head & kGroupContinues) != 0;
  if ((head & kHasAccount) != 0) {
    if (rest.size() < 16) return absl::DataLossError("record: no room for its account");
    record.account = AccountId::FromBytes(rest.substr(0, 16));
    rest.remove_prefix(16);
    if (record.account.empty()) return absl::DataLossError("record: an account of zeros");
  }
  uint64_t after_base = 0;
  if (!TakeVarint(&rest, &after_base) || base + after_base < base) return absl::DataLossError("record: bad time");
  record.time = base + after_base;

  Decoder decoder(rest);
  std::visit([&decoder](auto& body) { Fields(decoder, body); }, record.body);
  if (!decoder.wrong().empty() || !decoder.rest().empty()) {
    return absl::DataLossError("record: " + std::string(RecordTypeName(record.body)) + ": bad " +
                               std::string(decoder.wrong().empty() ? "end" : decoder.wrong()));
  }
  return record;
}

std::string_view RecordTypeName(const RecordBody& body) { return kTypeNames[body.index()]; }

}  // namespace gemel::journal
