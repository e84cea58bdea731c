// The SEARCH command's criteria as a tree (RFC 3501, 6.4.4). The parser makes it, search_*.cc matches it.
//
// Keys that say the opposite of another are stored as kNot over it (UNSEEN, UNKEYWORD); NEW and OLD are written out as
// what the RFC defines them to be, so there is one kind for each thing to look at.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "imap/sequence_set.h"
#include "journal/record.h"

namespace gemel::imap {

inline constexpr int kSearchDepthMax = 32;  // NOT, OR and parentheses within one another

// A day without a zone: days since 1970-01-01 of the proleptic Gregorian calendar, may be negative.
using DayNumber = int32_t;

struct SearchKey {
  enum class Kind : uint8_t {
    kAll,
    kAnd,          // all of `children`; none of them: like kAll
    kOr,           // either of two `children`
    kNot,          // not its one child
    kSequenceSet,  // `set`, of message numbers
    kUidSet,       // `set`, of UIDs
    kFlag,         // carries `flag` (one bit)
    kRecent,
    kKeyword,  // `text`; compared without regard to case
    kBefore,   // INTERNALDATE's day < `day`, in UTC as FETCH shows it
    kOn,
    kSince,       // >=
    kSentBefore,  // day of the Date: header as written, whatever its zone
    kSentOn,
    kSentSince,
    kLarger,  // RFC822.SIZE > `bytes`
    kSmaller,
    kBcc,  // `text` occurs in that header (decoded); "" matches always
    kCc,
    kFrom,
    kSubject,
    kTo,
    kHeader,  // header `field`; `text` "" matches where the header is there at all
    kBody,    // `text` in the decoded body
    kText,    // in header or body
  };
  Kind kind = Kind::kAll;
  journal::Flags flag = 0;
  SequenceSet set;
  std::string field;  // as written by the client
  std::string text;   // raw bytes in the charset that SearchProgram names
  DayNumber day = 0;
  uint64_t bytes = 0;
  std::vector<SearchKey> children;
};

struct SearchProgram {
  std::string charset;  // upper case; "" where the client named none (US-ASCII, or UTF-8 if it sent 8-bit bytes)
  SearchKey key;        // kAnd over what the client listed, or its only key
};

}  // namespace gemel::imap
