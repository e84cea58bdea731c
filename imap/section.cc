#include "imap/section.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "imap/mime_lines.h"

namespace gemel::imap {
namespace {

using Text = SectionSpec::Text;

// Chosen header fields that do not lie side by side; a header with more of them is not a header.
constexpr size_t kRangesMax = 100000;
// A partial that begins further inside is found by the structure's marks rather than by counting from the start.
constexpr uint64_t kCountedOffsetMax = 1 << 20;

struct Target {
  uint32_t part = 0;
  // The part is taken as a message: the whole message, or the one within a message/rfc822 part.
  bool is_message = true;
};

// RFC 3501, 6.4.5: a message that is no multipart has one part, 1, its body. Clients ask for that within a part as
// well (2.1 where 2 is a text), and get the part.
absl::StatusOr<Target> FindPart(const std::vector<MimePart>& parts, const std::vector<uint32_t>& path) {
  Target at;
  bool itself = false;  // the number before this one was that 1
  for (const uint32_t number : path) {
    if (!at.is_message && parts[at.part].kind == MimePart::Kind::kMessage) {
      at = {parts[at.part].children.front(), true};
      itself = false;
    }
    const MimePart& part = parts[at.part];
    if (part.kind == MimePart::Kind::kMultipart) {
      if (number == 0 || number > part.children.size()) return absl::NotFoundError("no such part");
      at.part = part.children[number - 1];
      itself = false;
    } else if (number != 1 || itself) {
      return absl::NotFoundError("no such part");
    } else {
      itself = true;
    }
    at.is_message = false;
  }
  return at;
}

// The header of the message itself, by reading it: to its empty line.
absl::StatusOr<FileRange> FindHeader(const maildir::Body& body) {
  FileRange header;
  LineScanner lines(body, 0, body.bytes());
  LinePiece piece;
  while (lines.Next(&piece)) {
    header.end = piece.end();
    if (piece.ends_line) ++header.newlines;
    if (IsEmptyLine(piece)) break;
  }
  if (!lines.status().ok()) return lines.status();
  return header;
}

// The names of a HEADER.FIELDS, sorted: a header of a hundred thousand fields may meet thousands of names.
class FieldNames {
 public:
  explicit FieldNames(const std::vector<std::string>& fields) : sorted_(fields.begin(), fields.end()) {
    std::sort(sorted_.begin(), sorted_.end(), Less);
  }
  bool Contains(std::string_view name) const { return std::binary_search(sorted_.begin(), sorted_.end(), name, Less); }

 private:
  static bool Less(std::string_view a, std::string_view b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](char x, char y) { return absl::ascii_tolower(x) < absl::ascii_tolower(y); });
  }
  std::vector<std::string_view> sorted_;
};

// The fields that are named (or all others), and the empty line.
absl::StatusOr<std::vector<FileRange>> ChooseFields(const maildir::Body& body, const FileRange& header,
                                                    const SectionSpec& section) {
  std::vector<FileRange> ranges;
  const FieldNames names(section.fields);
  LineScanner lines(body, header.begin, header.end);
  LinePiece piece;
  // What a broken header continues before its first field is of no name.
  bool chosen = section.text == Text::kHeaderFieldsNot;
  while (lines.Next(&piece)) {
    if (IsEmptyLine(piece)) {
      chosen = true;
    } else if (piece.starts_line && piece.text[0] != ' ' && piece.text[0] != '\t') {
      const size_t colon = std::min(piece.text.find(':'), piece.text.size());
      std::string_view name = piece.text.substr(0, colon);
      name = name.substr(0, name.find_last_not_of(" \t\r\n") + 1);
      chosen = names.Contains(name) == (section.text == Text::kHeaderFields);
    }
    if (!chosen) continue;
    if (ranges.empty() || ranges.back().end != piece.begin) {
      if (ranges.size() == kRangesMax) break;
      ranges.push_back(FileRange{piece.begin, piece.begin, 0});
    }
    ranges.back().end = piece.end();
    if (piece.ends_line) ++ranges.back().newlines;
  }
  if (!lines.status().ok()) return lines.status();
  return ranges;
}

// `searched` counts what is read for it.
absl::StatusOr<FileRange> RangeOf(const maildir::Body& body, uint64_t crlf_bytes, const Structure* structure,
                                  const SectionSpec& section, uint64_t* searched) {
  const FileRange file{0, body.bytes(), crlf_bytes - body.bytes()};
  if (section.part.empty()) {
    if (section.text == Text::kAll) return file;
    if (section.text == Text::kMime) return absl::NotFoundError("a message has no MIME header apart from its header");
    FileRange header;
    if (structure != nullptr) {
      header = structure->parts()[0].header;
    } else {
      auto found = FindHeader(body);
      if (!found.ok()) return found.status();
      header = *found;
      *searched += header.bytes();
    }
    if (section.text != Text::kText) return header;
    if (header.newlines > file.newlines) return absl::DataLossError("the message has more lines than it had");
    return FileRange{header.end, file.end, file.newlines - header.newlines};
  }
  if (structure == nullptr) return absl::InternalError("the section of a part needs the message's structure");
  const std::vector<MimePart>& parts = structure->parts();
  auto target = FindPart(parts, section.part);
  if (!target.ok()) return target.status();
  if (section.text == Text::kAll) return parts[target->part].body;
  if (section.text == Text::kMime) return parts[target->part].header;
  if (parts[target->part].kind != MimePart::Kind::kMessage) return absl::NotFoundError("that part is no message");
  const MimePart& message = parts[parts[target->part].children.front()];
  return section.text == Text::kText ? message.body : message.header;
}

}  // namespace

bool NeedsStructure(const SectionSpec& section, const std::optional<PartialRange>& partial) {
  return !section.part.empty() || (partial && partial->offset > kCountedOffsetMax);
}

absl::StatusOr<std::unique_ptr<SectionReader>> SectionReader::Open(std::shared_ptr<const maildir::Body> body,
                                                                   uint64_t crlf_bytes, const Structure* structure,
                                                                   const SectionSpec& section,
                                                                   const std::optional<PartialRange>& partial) {
  if (crlf_bytes < body->bytes() || (structure != nullptr && (structure->file().end != body->bytes() ||
                                                              structure->file().crlf_bytes() != crlf_bytes))) {
    return absl::DataLossError("the message file is not the one that was looked at before");
  }
  std::unique_ptr<SectionReader> reader(new SectionReader());
  auto range = RangeOf(*body, crlf_bytes, structure, section, &reader->bytes_searched_);
  if (!range.ok()) return range.status();
  if (section.text == Text::kHeaderFields || section.text == Text::kHeaderFieldsNot) {
    auto ranges = ChooseFields(*body, *range, section);
    if (!ranges.ok()) return ranges.status();
    reader->bytes_searched_ += range->bytes();
    reader->ranges_ = *std::move(ranges);
  } else {
    reader->ranges_.push_back(*range);
  }
  reader->body_ = std::move(body);
  for (const FileRange& part : reader->ranges_) reader->bytes_ += part.crlf_bytes();
  if (!reader->ranges_.empty()) reader->at_ = reader->ranges_[0].begin;
  if (partial) {
    const uint64_t skip = std::min(partial->offset, reader->bytes_);
    if (const absl::Status status = reader->SkipCrlf(skip, structure); !status.ok()) return status;
    reader->bytes_ = std::min(partial->length, reader->bytes_ - skip);
  }
  reader->bytes_left_ = reader->bytes_;
  return reader;
}

absl::Status SectionReader::SkipCrlf(uint64_t crlf_bytes, const Structure* structure) {
  while (range_ < ranges_.size() && crlf_bytes >= ranges_[range_].crlf_bytes()) {
    crlf_bytes -= ranges_[range_].crlf_bytes();
    if (++range_ < ranges_.size()) at_ = ranges_[range_].begin;
  }
  if (range_ == ranges_.size() || crlf_bytes == 0) return absl::OkStatus();
  const FileRange& range = ranges_[range_];
  uint64_t left = crlf_bytes;
  if (structure != nullptr && crlf_bytes > kNewlineMarkBytes) {
    // Both the range's start and the place wanted lie a little behind a mark.
    auto [mark, newlines] = structure->NewlineMark(range.begin);
    while (mark < range.begin) {
      auto piece = body_->Read(mark, static_cast<size_t>(std::min<uint64_t>(kReadBytes, range.begin - mark)));
      if (!piece.ok()) return piece.status();
      if (piece->empty()) return absl::DataLossError("the message file is shorter than it was");
      bytes_searched_ += piece->size();
      newlines += static_cast<uint64_t>(std::count(piece->begin(), piece->end(), '\n'));
      mark += piece->size();
    }
    const uint64_t wanted = range.begin + newlines + crlf_bytes;
    const auto [near, near_newlines] = structure->NewlineMarkForCrlf(wanted);
    if (near > range.begin && near < range.end) {
      at_ = near;
      left = wanted - near - near_newlines;
    }
  }
  while (left > 0 && at_ < range.end) {
    auto piece = body_->Read(at_, static_cast<size_t>(std::min<uint64_t>(kReadBytes, range.end - at_)));
    if (!piece.ok()) return piece.status();
    if (piece->empty()) return absl::DataLossError("the message file is shorter than it was");
    bytes_searched_ += piece->size();
    for (const char c : *piece) {
      if (left == 0) break;
      if (c == '\n' && left == 1) {  // between a CR and its LF
        owes_lf_ = true;
        left = 0;
        ++at_;
        break;
      }
      left -= c == '\n' ? 2 : 1;
      ++at_;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SectionReader::Next(size_t bytes_max) {
  std::string out;
  const uint64_t wanted = std::min<uint64_t>(bytes_max, bytes_left_);
  if (wanted > 0) out.reserve(static_cast<size_t>(wanted));
  if (wanted > 0 && owes_lf_) {
    out += '\n';
    owes_lf_ = false;
  }
  while (out.size() < wanted) {
    if (range_ == ranges_.size()) return absl::DataLossError("the message has fewer lines than it had");
    const FileRange& range = ranges_[range_];
    if (at_ == range.end) {
      if (++range_ < ranges_.size()) at_ = ranges_[range_].begin;
      continue;
    }
    // No more file than can be sent: every byte is at least one of the answer.
    const uint64_t bytes = std::min<uint64_t>({wanted - out.size(), range.end - at_, kReadBytes});
    auto piece = body_->Read(at_, static_cast<size_t>(bytes));
    if (!piece.ok()) return piece.status();
    if (piece->empty()) return absl::DataLossError("the message file is shorter than it was");
    std::string_view rest = *piece;
    while (!rest.empty() && out.size() < wanted) {
      const size_t room = static_cast<size_t>(wanted - out.size());
      const size_t lf = std::min(rest.find('\n'), std::min(rest.size(), room));
      out += rest.substr(0, lf);
      at_ += lf;
      rest.remove_prefix(lf);
      if (rest.empty() || out.size() == wanted || rest[0] != '\n') continue;
      out += '\r';
      ++at_;
      rest.remove_prefix(1);
      if (out.size() < wanted) {
        out += '\n';
      } else {
        owes_lf_ = true;
      }
    }
  }
  // No literal has a NUL (RFC 3501, 9, CHAR8); ENVELOPE says it in the same way.
  std::replace(out.begin(), out.end(), '\0', '\x80');
  bytes_left_ -= out.size();
  return out;
}

}  // namespace gemel::imap
