#include "imap/mime_structure.h"

#include <algorithm>
#include <memory>

#include "imap/bodystructure.h"
#include "imap/mime_lines.h"
#include "imap/mime_token.h"

namespace gemel::imap {

// Walks the lines once. At any moment the parts on `open_` contain one another; the last is being read.
class StructureParser {
 public:
  explicit StructureParser(const maildir::Body& body) : body_(body) {}

  absl::StatusOr<Structure> Run() {
    LineScanner lines(body_, 0, body_.bytes());
    Begin(0, true);
    LinePiece piece;
    while (lines.Next(&piece)) {
      for (; next_mark_ < piece.end(); next_mark_ += kNewlineMarkBytes) out_.newline_marks_.push_back(newlines_);
      if (part_begins_) {
        // still the boundary's line
      } else if (in_header_) {
        HeaderLine(piece);
      } else if (piece.starts_line && piece.text[0] == '-') {
        BodyLine(piece);
      }
      if (piece.ends_line) ++newlines_;
      if (header_ends_) {  // behind the empty line, which now counts
        EndHeader(piece.end(), newlines_);
        header_ends_ = false;
      }
      if (part_begins_ && piece.ends_line) {
        Begin(piece.end(), false);
        part_begins_ = false;
      }
    }
    if (!lines.status().ok()) return lines.status();
    Finish();
    return std::move(out_);
  }

 private:
  struct Open {
    uint32_t part = 0;
    std::string boundary;  // with its dashes; "": none, or its last was seen
  };

  void Begin(uint64_t at, bool is_message) {
    const auto index = static_cast<uint32_t>(out_.parts_.size());
    if (!open_.empty()) out_.parts_[open_.back().part].children.push_back(index);
    MimePart part;
    part.header.begin = at;
    part.header.newlines = newlines_;  // a count from the file's start, until EndHeader
    out_.parts_.push_back(std::move(part));
    descriptions_.emplace_back();
    if (is_message) descriptions_.back().envelope = std::make_unique<Envelope>();
    open_.push_back(Open{index, {}});
    in_header_ = true;
    header_.clear();
  }

  void HeaderLine(const LinePiece& piece) {
    if (IsEmptyLine(piece)) {
      header_ends_ = true;
      return;
    }
    if (piece.starts_line && piece.text[0] == '-') {
      bool last = false;
      if (const size_t at = FindBoundary(piece.text, &last); at < open_.size()) {
        AtBoundary(at, last, piece);
        return;
      }
    }
    if (header_.size() < kHeaderBytesMax && headers_bytes_ < kHeadersBytesMax) {
      header_ += piece.text;
      headers_bytes_ += piece.text.size();
    }
  }

  void BodyLine(const LinePiece& piece) {
    bool last = false;
    if (const size_t at = FindBoundary(piece.text, &last); at < open_.size()) AtBoundary(at, last, piece);
  }

  // The innermost part whose boundary the line begins with; of boundaries that begin with one another the longest
  // counts (RFC 2046, 5.1.1 asks only that the line begins with it). open_.size(): none.
  size_t FindBoundary(std::string_view line, bool* last) const {
    size_t best = open_.size(), best_bytes = 0;
    if (line.substr(0, 2) != "--" || out_.parts_.size() >= kMimePartsMax) return best;
    for (size_t i = open_.size(); i-- > 0;) {
      const std::string& boundary = open_[i].boundary;
      if (boundary.size() <= best_bytes || line.substr(0, boundary.size()) != boundary) continue;
      best = i;
      best_bytes = boundary.size();
      *last = line.substr(boundary.size(), 2) == "--";
      // "--x--" is the end of x rather than the start of some part around it that calls itself "x--".
      if (*last && IsBlank(line.substr(boundary.size() + 2))) break;
    }
    return best;
  }
  static bool IsBlank(std::string_view s) { return s.find_first_not_of(" \t\r\n") == std::string_view::npos; }

  // The newline before the boundary belongs to it, not to the part that it ends.
  void AtBoundary(size_t at, bool last, const LinePiece& piece) {
    const uint64_t end = piece.begin == 0 ? 0 : piece.begin - 1;
    while (in_header_) {
      const bool empty = out_.parts_[open_.back().part].header.begin > end;
      EndHeader(empty ? piece.begin : end, empty ? newlines_ : newlines_ - 1);
    }
    CloseAbove(at, end, newlines_ - 1);
    if (last) {
      open_.back().boundary.clear();
    } else {
      part_begins_ = true;
    }
  }

  // Ends all that is open within the part at `keep`.
  void CloseAbove(size_t keep, uint64_t end, uint64_t newlines) {
    for (; open_.size() > keep + 1; open_.pop_back()) {
      FileRange& body = out_.parts_[open_.back().part].body;
      if (body.begin > end) {
        // The boundary is right behind the empty line of a header, whose newline is the header's, so that all that
        // holds the part ends behind it, too.
        end = body.begin;
        newlines = body.newlines;
      }
      body.end = end;
      body.newlines = newlines - body.newlines;
    }
  }

  // `newlines`: before `end`.
  void EndHeader(uint64_t end, uint64_t newlines) {
    const uint32_t index = open_.back().part;
    {
      MimePart& part = out_.parts_[index];
      part.header.end = end;
      part.header.newlines = newlines - part.header.newlines;
      part.body.begin = part.body.end = end;
      part.body.newlines = newlines;  // a count from the file's start, until CloseAbove
    }
    in_header_ = false;
    ReadFields(&descriptions_[index]);
    header_.clear();
    switch (KindOf(index)) {
      case MimePart::Kind::kLeaf:
        break;
      case MimePart::Kind::kMultipart: {
        out_.parts_[index].kind = MimePart::Kind::kMultipart;
        open_.back().boundary = "--" + *descriptions_[index].content.type->Param("boundary");
        break;
      }
      case MimePart::Kind::kMessage: {
        out_.parts_[index].kind = MimePart::Kind::kMessage;
        const uint64_t counted = newlines_;
        newlines_ = newlines;
        Begin(end, true);
        newlines_ = counted;
        break;
      }
    }
  }

  void ReadFields(PartDescription* description) {
    HeaderReader reader(header_);
    HeaderField field;
    while (reader.Next(&field)) {
      AddContentField(field, &description->content);
      if (description->envelope) AddEnvelopeField(field, description->envelope.get(), &addresses_left_);
    }
  }

  MimePart::Kind KindOf(uint32_t index) {
    const std::optional<MimeValue>& type = descriptions_[index].content.type;
    MimePart::Kind kind = MimePart::Kind::kLeaf;
    if (!type) {
      // RFC 2046, 5.1.5
      if (open_.size() > 1) {
        const auto& around = descriptions_[open_[open_.size() - 2].part].content.type;
        if (around && EqualsIgnoringCase(around->type, "multipart") && EqualsIgnoringCase(around->subtype, "digest")) {
          kind = MimePart::Kind::kMessage;
        }
      }
    } else if (EqualsIgnoringCase(type->type, "multipart")) {
      kind = MimePart::Kind::kMultipart;
    } else if (EqualsIgnoringCase(type->type, "message") && EqualsIgnoringCase(type->subtype, "rfc822")) {
      kind = MimePart::Kind::kMessage;
    }
    bool opaque = false;
    if (kind == MimePart::Kind::kMultipart) {
      const std::string* boundary = type->Param("boundary");
      opaque = boundary == nullptr || boundary->empty();
    }
    if (opaque ||
        (kind != MimePart::Kind::kLeaf && (open_.size() >= kMimeDepthMax || out_.parts_.size() >= kMimePartsMax))) {
      descriptions_[index].opaque = true;
      return MimePart::Kind::kLeaf;
    }
    return kind;
  }

  void Finish() {
    const uint64_t end = body_.bytes();
    while (in_header_) EndHeader(end, newlines_);
    CloseAbove(0, end, newlines_);
    FileRange& body = out_.parts_[0].body;
    body.end = end;
    body.newlines = newlines_ - body.newlines;
    out_.file_ = FileRange{0, end, newlines_};
    AppendEnvelope(&out_.envelope_, *descriptions_[0].envelope);
    AppendBodyStructure(&out_.body_structure_, &out_.extension_cuts_, out_.parts_, descriptions_, 0);
  }

  const maildir::Body& body_;
  Structure out_;
  std::vector<PartDescription> descriptions_;  // by part
  std::vector<Open> open_;
  bool in_header_ = false;
  bool header_ends_ = false;  // with the newline at hand
  bool part_begins_ = false;  // behind the line at hand
  std::string header_;        // of the last open part, while in_header_
  size_t headers_bytes_ = 0;
  size_t addresses_left_ = 20000;  // each may take thirty times its bytes in an ENVELOPE
  uint64_t newlines_ = 0;          // before the piece being looked at
  uint64_t next_mark_ = 0;
};

absl::StatusOr<Structure> Structure::Parse(const maildir::Body& body) { return StructureParser(body).Run(); }

std::pair<uint64_t, uint64_t> Structure::NewlineMark(uint64_t offset) const {
  const uint64_t i = offset / kNewlineMarkBytes;
  if (newline_marks_.empty()) return {0, 0};
  const uint64_t at = std::min<uint64_t>(i, newline_marks_.size() - 1);
  return {at * kNewlineMarkBytes, newline_marks_[at]};
}

std::pair<uint64_t, uint64_t> Structure::NewlineMarkForCrlf(uint64_t crlf_offset) const {
  size_t low = 0, high = newline_marks_.size();  // the first mark above lies in (low, high]
  while (low + 1 < high) {
    const size_t middle = (low + high) / 2;
    (middle * kNewlineMarkBytes + newline_marks_[middle] <= crlf_offset ? low : high) = middle;
  }
  if (newline_marks_.empty()) return {0, 0};
  return {low * kNewlineMarkBytes, newline_marks_[low]};
}

}  // namespace gemel::imap
