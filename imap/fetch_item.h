// What FETCH can ask for (RFC 3501, 6.4.5). The parser makes it: macros (ALL, FAST, FULL) are written out.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gemel::imap {

// The part of a message that BODY[...] names: which MIME part, and what of it.
struct SectionSpec {
  enum class Text : uint8_t {
    kAll,              // BODY[] or BODY[1.2]: the message, or the part's body
    kHeader,           // of the message, or of the message/rfc822 part that `part` names
    kHeaderFields,     // `fields` only
    kHeaderFieldsNot,  // all but `fields`
    kText,
    kMime,  // the part's own MIME header; `part` is not empty
  };
  std::vector<uint32_t> part;  // 1.2.3; empty: the message itself
  Text text = Text::kAll;
  std::vector<std::string> fields;  // as written by the client; the answer repeats them
  bool operator==(const SectionSpec&) const = default;
};

// <offset.length> in octets of the CRLF form.
struct PartialRange {
  uint64_t offset = 0;
  uint64_t length = 0;  // never 0
  bool operator==(const PartialRange&) const = default;
};

struct FetchItem {
  enum class Kind : uint8_t {
    kUid,
    kFlags,
    kInternalDate,
    kRfc822Size,
    kEnvelope,
    kBody,  // BODY: structure without extension data
    kBodyStructure,
    kSection,       // BODY[...] and BODY.PEEK[...]
    kRfc822,        // like BODY[], answered as RFC822; `section` says which
    kRfc822Header,  // like BODY.PEEK[HEADER]
    kRfc822Text,    // like BODY[TEXT]
  };
  Kind kind = Kind::kFlags;
  bool peek = false;    // leaves \Seen alone
  SectionSpec section;  // of kSection and the three RFC822 kinds
  std::optional<PartialRange> partial;
  bool operator==(const FetchItem&) const = default;
};

}  // namespace gemel::imap
