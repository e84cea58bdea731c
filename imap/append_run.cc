#include "imap/append_run.h"

#include <algorithm>

namespace gemel::imap {

void LineEnds::Append(std::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const size_t run = std::min(bytes.find_first_of("\r\n"), bytes.size());
    if (run > 0) {
      out->append(std::exchange(held_crs_, 0), '\r');
      out->append(bytes.substr(0, run));
      bytes.remove_prefix(run);
      continue;
    }
    if (bytes.front() == '\n') {
      held_crs_ = 0;
      *out += '\n';
    } else if (held_crs_ == 2) {
      *out += '\r';  // of three, the first is no part of a line end
    } else {
      ++held_crs_;
    }
    bytes.remove_prefix(1);
  }
}

void LineEnds::Finish(std::string* out) { out->append(std::exchange(held_crs_, 0), '\r'); }

void AppendRun::Write(std::string_view bytes) {
  std::string lf;
  lf.reserve(bytes.size());
  line_ends_.Append(bytes, &lf);
  append_->Write(lf);
}

void AppendRun::Finish(std::function<void(engine::CommandResult)> done) {
  std::string lf;
  line_ends_.Finish(&lf);
  if (!lf.empty()) append_->Write(lf);
  finishing_ = true;
  append_->Finish(std::move(done));
}

}  // namespace gemel::imap
