// The bytes behind BODY[...], RFC822, RFC822.HEADER and RFC822.TEXT, in CRLF form and in bounded pieces
// (RFC 3501, 6.4.5).
//
// Threads: one at a time. Reads block on the file (page cache).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "imap/fetch_item.h"
#include "imap/mime_structure.h"
#include "maildir/store.h"

namespace gemel::imap {

// False: OpenSection does without the message's Structure (BODY[], BODY[HEADER...], BODY[TEXT] of the message itself,
// unless a partial lies far inside), so a message that nobody asked the structure of is not parsed for it.
bool NeedsStructure(const SectionSpec& section, const std::optional<PartialRange>& partial);

class SectionReader {
 public:
  // What a fetch names, already cut to `partial`. `crlf_bytes` is the message's RFC822.SIZE; `structure` may be null
  // where NeedsStructure says so, and is not kept. NotFound: there is no such part (answer NIL). DataLoss: the
  // structure is of another file: parse it anew. Others: the file's own, from Body::Read.
  static absl::StatusOr<std::unique_ptr<SectionReader>> Open(std::shared_ptr<const maildir::Body> body,
                                                             uint64_t crlf_bytes, const Structure* structure,
                                                             const SectionSpec& section,
                                                             const std::optional<PartialRange>& partial);

  // What all calls of Next together return: the literal's size.
  uint64_t bytes() const { return bytes_; }
  uint64_t bytes_left() const { return bytes_left_; }
  // What Open read of the file to find its ranges.
  uint64_t bytes_searched() const { return bytes_searched_; }

  // The next piece, at most `bytes_max` (at least 2) long, never empty before the end; "" at the end. An error means
  // that the announced size cannot be kept: the connection must end. DataLoss: the file is shorter or has fewer
  // newlines than was said.
  absl::StatusOr<std::string> Next(size_t bytes_max);

 private:
  SectionReader() = default;
  absl::Status SkipCrlf(uint64_t crlf_bytes, const Structure* structure);

  std::shared_ptr<const maildir::Body> body_;
  std::vector<FileRange> ranges_;  // one after the other
  size_t range_ = 0;
  uint64_t at_ = 0;       // file offset within ranges_[range_]
  bool owes_lf_ = false;  // a CR went out as a piece's last byte; its LF is next
  uint64_t bytes_ = 0;
  uint64_t bytes_left_ = 0;
  uint64_t bytes_searched_ = 0;
};

}  // namespace gemel::imap
