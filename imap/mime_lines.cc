#include "imap/mime_lines.h"

#include <algorithm>
#include <utility>

#include "absl/status/statusor.h"

namespace gemel::imap {

bool LineScanner::Fill() {
  const size_t bytes = static_cast<size_t>(std::min<uint64_t>(kReadBytes, end_ - next_read_));
  absl::StatusOr<std::string> read = body_.Read(next_read_, bytes);
  if (!read.ok()) {
    status_ = read.status();
    return false;
  }
  if (read->empty() || read->size() > bytes) {
    status_ = absl::DataLossError("the message file is shorter than it was");
    return false;
  }
  next_read_ += read->size();
  if (at_ == buffer_.size()) {
    buffer_ = *std::move(read);
  } else {
    buffer_.erase(0, at_);
    buffer_ += *read;
  }
  at_ = 0;
  return true;
}

bool LineScanner::Next(LinePiece* piece) {
  if (!status_.ok()) return false;
  size_t lf = buffer_.find('\n', at_);
  while (lf == std::string::npos && buffer_.size() - at_ < kReadBytes && next_read_ < end_) {
    const size_t searched = buffer_.size() - at_;
    if (!Fill()) return false;
    lf = buffer_.find('\n', searched);
  }
  if (at_ == buffer_.size()) return false;
  const size_t stop = lf == std::string::npos ? buffer_.size() : lf + 1;
  piece->text = std::string_view(buffer_).substr(at_, stop - at_);
  piece->begin = at_file_;
  piece->starts_line = starts_line_;
  piece->ends_line = lf != std::string::npos;
  starts_line_ = piece->ends_line;
  at_file_ += stop - at_;
  at_ = stop;
  return true;
}

}  // namespace gemel::imap
