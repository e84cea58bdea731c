// Structure as cached bytes, and back. Grammar: imap/MIME.md, "Cached structure".
#include <cstddef>
#include <limits>

#include "imap/mime_structure.h"

namespace gemel::imap {
namespace {

constexpr char kVersion = 1;

void AppendVarint(std::string* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out += static_cast<char>(value | 0x80);
  *out += static_cast<char>(value);
}

class CacheReader {
 public:
  explicit CacheReader(std::string_view bytes) : bytes_(bytes) {}
  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64 && !bytes_.empty(); shift += 7) {
      const auto byte = static_cast<uint8_t>(bytes_[0]);
      bytes_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Bytes(uint64_t size, std::string_view* out) {
    if (bytes_.size() < size) return false;
    *out = bytes_.substr(0, static_cast<size_t>(size));
    bytes_.remove_prefix(static_cast<size_t>(size));
    return true;
  }
  std::string_view rest() const { return bytes_; }
  bool at_end() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

// Cuts come in pairs; what lies between two goes. False: they are not ascending or lie outside.
bool ReadCuts(std::string_view varints, uint64_t limit, std::vector<uint32_t>* cuts) {
  CacheReader in(varints);
  uint64_t at = 0, step = 0;
  while (!in.at_end()) {
    if (!in.Varint(&step) || step > limit - at) return false;
    at += step;
    cuts->push_back(static_cast<uint32_t>(at));
  }
  return cuts->size() % 2 == 0;
}

std::string WithoutCuts(std::string_view text, const std::vector<uint32_t>& cuts) {
  std::string out;
  out.reserve(text.size());
  size_t from = 0;
  for (size_t i = 0; i + 1 < cuts.size(); i += 2) {
    out += text.substr(from, cuts[i] - from);
    from = cuts[i + 1];
  }
  out += text.substr(from);
  return out;
}

// `sum` of them may not pass `limit`, so that no offset made of them does.
bool ReadSizes(CacheReader& in, uint64_t limit, uint64_t* bytes, uint64_t* newlines) {
  return in.Varint(bytes) && in.Varint(newlines) && *bytes <= limit && *newlines <= *bytes;
}

}  // namespace

std::string Structure::body() const { return WithoutCuts(body_structure_, extension_cuts_); }

std::string CachedTexts::body() const {
  std::vector<uint32_t> cuts;
  ReadCuts(cuts_, body_structure_.size(), &cuts);
  return WithoutCuts(body_structure_, cuts);
}

std::string Structure::ToCache() const {
  std::string cuts;
  uint32_t before = 0;
  for (const uint32_t cut : extension_cuts_) {
    AppendVarint(&cuts, cut - before);
    before = cut;
  }
  std::string out(1, kVersion);
  out.reserve(32 + envelope_.size() + body_structure_.size() + cuts.size() + parts_.size() * 16 +
              newline_marks_.size() * 3);
  AppendVarint(&out, envelope_.size());
  AppendVarint(&out, body_structure_.size());
  AppendVarint(&out, cuts.size());
  out += envelope_;
  out += body_structure_;
  out += cuts;
  AppendVarint(&out, file_.end);
  AppendVarint(&out, file_.newlines);
  AppendVarint(&out, parts_.size());
  std::vector<uint32_t> parents(parts_.size(), 0);
  for (uint32_t i = 0; i < parts_.size(); ++i) {
    const MimePart& part = parts_[i];
    for (const uint32_t child : part.children) parents[child] = i;
    out += static_cast<char>(part.kind);
    AppendVarint(&out, i - parents[i]);
    AppendVarint(&out, part.header.begin);
    AppendVarint(&out, part.header.bytes());
    AppendVarint(&out, part.header.newlines);
    AppendVarint(&out, part.body.bytes());
    AppendVarint(&out, part.body.newlines);
  }
  uint64_t marked = 0;
  for (const uint64_t mark : newline_marks_) {
    AppendVarint(&out, mark - marked);
    marked = mark;
  }
  return out;
}

std::optional<CachedTexts> CachedTexts::Open(std::string_view cached) {
  if (cached.empty() || cached[0] != kVersion) return std::nullopt;
  CacheReader in(cached.substr(1));
  uint64_t envelope = 0, body_structure = 0, cuts = 0;
  CachedTexts out;
  if (!in.Varint(&envelope) || !in.Varint(&body_structure) || !in.Varint(&cuts) ||
      body_structure > std::numeric_limits<uint32_t>::max() || !in.Bytes(envelope, &out.envelope_) ||
      !in.Bytes(body_structure, &out.body_structure_) || !in.Bytes(cuts, &out.cuts_)) {
    return std::nullopt;
  }
  std::vector<uint32_t> all_cuts;
  if (!ReadCuts(out.cuts_, body_structure, &all_cuts)) return std::nullopt;
  out.tree_ = in.rest();
  return out;
}

std::optional<Structure> Structure::FromCache(std::string_view cached) {
  const std::optional<CachedTexts> texts = CachedTexts::Open(cached);
  if (!texts) return std::nullopt;
  Structure out;
  out.envelope_ = texts->envelope();
  out.body_structure_ = texts->body_structure();
  ReadCuts(texts->cuts_, out.body_structure_.size(), &out.extension_cuts_);
  CacheReader in(texts->tree_);
  uint64_t parts = 0;
  if (!ReadSizes(in, std::numeric_limits<uint64_t>::max() / 4, &out.file_.end, &out.file_.newlines) ||
      !in.Varint(&parts) || parts == 0 || parts > kMimePartsMax + kMimeDepthMax) {
    return std::nullopt;
  }
  for (uint64_t i = 0; i < parts; ++i) {
    MimePart part;
    std::string_view kind;
    uint64_t parent = 0, bytes = 0;
    if (!in.Bytes(1, &kind) || kind[0] < 0 || kind[0] > static_cast<char>(MimePart::Kind::kMessage) ||
        !in.Varint(&parent) || (i == 0) != (parent == 0) || parent > i || !in.Varint(&part.header.begin) ||
        part.header.begin > out.file_.end) {
      return std::nullopt;
    }
    part.kind = static_cast<MimePart::Kind>(kind[0]);
    if (!ReadSizes(in, out.file_.end - part.header.begin, &bytes, &part.header.newlines)) return std::nullopt;
    part.header.end = part.body.begin = part.header.begin + bytes;
    if (!ReadSizes(in, out.file_.end - part.body.begin, &bytes, &part.body.newlines)) return std::nullopt;
    part.body.end = part.body.begin + bytes;
    out.parts_.push_back(std::move(part));
    if (i > 0) out.parts_[i - parent].children.push_back(static_cast<uint32_t>(i));
  }
  for (const MimePart& part : out.parts_) {
    if (part.kind == MimePart::Kind::kMessage ? part.children.size() != 1
                                              : part.kind == MimePart::Kind::kLeaf && !part.children.empty()) {
      return std::nullopt;
    }
  }
  const uint64_t marks = (out.file_.end + kNewlineMarkBytes - 1) / kNewlineMarkBytes;
  uint64_t mark = 0, step = 0;
  for (uint64_t i = 0; i < marks; ++i) {
    if (!in.Varint(&step) || step > out.file_.newlines - mark) return std::nullopt;
    mark += step;
    out.newline_marks_.push_back(mark);
  }
  if (!in.at_end()) return std::nullopt;
  return out;
}

}  // namespace gemel::imap
