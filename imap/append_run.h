// The message of one APPEND while it arrives.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/service.h"

namespace gemel::imap {

// CRLF to LF in pieces of any size (decision 8): CRLF, bare LF and CRCRLF are line ends; every other CR stays.
class LineEnds {
 public:
  void Append(std::string_view bytes, std::string* out);
  void Finish(std::string* out);  // a CR at the very end

 private:
  uint8_t held_crs_ = 0;  // at most 2: they may belong to a line end
};

class AppendRun {
 public:
  explicit AppendRun(std::unique_ptr<engine::AccountSession::Append> append) : append_(std::move(append)) {}

  bool WantsBytes() const { return !blocked_ && !finishing_; }
  void set_blocked(bool blocked) { blocked_ = blocked; }
  void Write(std::string_view bytes);
  void Finish(std::function<void(engine::CommandResult)> done);
  engine::AccountSession::Append& append() { return *append_; }

 private:
  std::unique_ptr<engine::AccountSession::Append> append_;
  LineEnds line_ends_;
  bool blocked_ = false;  // until OnWritable
  bool finishing_ = false;
};

}  // namespace gemel::imap
