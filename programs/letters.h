// Letters in files, for the demo to deliver: where they are, and each when it is wanted.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::programs {

class Letters {
 public:
  Letters() = default;
  // At `path`: a Maildir with its folders, a folder of .eml files and of more such, an mbox, or one letter.
  // InvalidArgument: nothing there that is mail, or something that cannot be read.
  static absl::StatusOr<Letters> Find(const std::string& path);

  size_t size() const { return places_.size(); }
  // CRLF line ends, no bare CR. InvalidArgument: its file has gone or cannot be read.
  absl::StatusOr<std::string> Read(size_t number) const;

 private:
  struct Place {
    std::string file;
    uint64_t begin = 0, end = 0;
    bool in_mbox = false;
  };
  absl::Status FindInMbox(const std::string& file);

  std::vector<Place> places_;
};

}  // namespace gemel::programs
