// What a message is made of: its MIME tree with the place of every part, and the FETCH texts made from its headers.
// Parsed once, cached under the message's GUID (AccountSession::CacheStructure), and enough for every ENVELOPE, BODY,
// BODYSTRUCTURE and BODY[...] (RFC 3501, 6.4.5 and 7.4.2; RFC 2045, RFC 2046).
//
// Offsets are bytes of the message file, which is in LF form. What the client sees has CRLF: a range's size on the wire
// is its bytes plus its newlines, whatever else is in it.
//
// Any bytes at all make a Structure: nothing in a message is an error. Bounds: kMimeDepthMax, kMimePartsMax; what lies
// deeper or comes later is text of the part around it. Of a header block the first kHeaderBytesMax are read, of all
// header blocks together kHeadersBytesMax; what is beyond is served, but describes nothing.
//
// Threads: values; Parse blocks while the file is read.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "maildir/store.h"

namespace gemel::imap {

inline constexpr size_t kMimeDepthMax = 100;
inline constexpr size_t kMimePartsMax = 10000;
inline constexpr size_t kHeaderBytesMax = 1 << 20;
inline constexpr size_t kHeadersBytesMax = 4 << 20;

// Bytes [begin, end) of the message file, with `newlines` LFs among them.
struct FileRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t newlines = 0;
  uint64_t bytes() const { return end - begin; }
  uint64_t crlf_bytes() const { return end - begin + newlines; }
  bool operator==(const FileRange&) const = default;
};

struct MimePart {
  enum class Kind : uint8_t { kLeaf, kMultipart, kMessage };  // kMessage: message/rfc822, one child
  Kind kind = Kind::kLeaf;
  FileRange header;                // with the empty line that ends it, where there is one
  FileRange body;                  // without the newline before the boundary that ends it
  std::vector<uint32_t> children;  // indexes into Structure::parts(); all greater than this part's own
  bool operator==(const MimePart&) const = default;
};

class Structure {
 public:
  // Reads the file once, in pieces. An error is the file's own, from Body::Read.
  static absl::StatusOr<Structure> Parse(const maildir::Body& body);

  // Nullopt: made by another version, or damaged; Parse anew.
  static std::optional<Structure> FromCache(std::string_view cached);
  std::string ToCache() const;

  const FileRange& file() const { return file_; }
  const std::vector<MimePart>& parts() const { return parts_; }  // [0]: the message itself

  // Parenthesised, ready to be sent after "ENVELOPE ", "BODYSTRUCTURE ", "BODY ". May hold literals.
  const std::string& envelope() const { return envelope_; }
  const std::string& body_structure() const { return body_structure_; }
  std::string body() const;

  // Newlines before `offset` at the nearest kept mark at or below it, as (offset, newlines): so that a partial fetch
  // far inside a large message need not count from its start.
  std::pair<uint64_t, uint64_t> NewlineMark(uint64_t offset) const;
  // The same the other way round: the mark at or below the given offset of the CRLF form.
  std::pair<uint64_t, uint64_t> NewlineMarkForCrlf(uint64_t crlf_offset) const;

 private:
  friend class StructureParser;
  FileRange file_;
  std::vector<MimePart> parts_;
  std::string envelope_;
  std::string body_structure_;
  std::vector<uint32_t> extension_cuts_;  // body_structure_ without every second slice between them is BODY
  std::vector<uint64_t> newline_marks_;   // newlines before each kNewlineMarkBytes of the file; [0] is 0
};

inline constexpr uint64_t kNewlineMarkBytes = 128 * 1024;

// The texts alone, straight from the cached bytes and without building the tree: for FETCH over a whole mailbox.
class CachedTexts {
 public:
  // Nullopt as FromCache. The view lives as long as `cached`.
  static std::optional<CachedTexts> Open(std::string_view cached);
  std::string_view envelope() const { return envelope_; }
  std::string_view body_structure() const { return body_structure_; }
  std::string body() const;

 private:
  friend class Structure;
  std::string_view envelope_;
  std::string_view body_structure_;
  std::string_view cuts_;  // varints
  std::string_view tree_;
};

}  // namespace gemel::imap
