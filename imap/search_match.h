// SEARCH keys, compiled, against one message (RFC 3501, 6.4.4). Three-valued, so that what is at hand is tried before
// anything is fetched: an AND with a false key is false whatever the file holds.
//
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "imap/mime_structure.h"
#include "imap/search_key.h"
#include "maildir/account_state.h"
#include "maildir/store.h"

namespace gemel::imap {

enum class Truth : uint8_t { kNo, kYes, kUnknown };

// One message, with what has been fetched of it so far.
struct SearchMessage {
  uint32_t number = 0;
  const maildir::Message* message = nullptr;
  const maildir::Mailbox* mailbox = nullptr;
  bool recent = false;
  std::optional<std::string_view> envelope;  // rendered
};

class SearchMatcher {
 public:
  // `messages`, `uid_largest`: what "*" stands for. InvalidArgument: see SearchRun::Start.
  static absl::StatusOr<SearchMatcher> Compile(const SearchProgram& program, uint32_t messages, uint32_t uid_largest);

  // kUnknown: needs the envelope, if it is not there; else the file.
  Truth Match(const SearchMessage& message) const;
  // Reads the file, in pieces and no further than needed. Needs the envelope.
  absl::StatusOr<bool> MatchFile(const SearchMessage& message, const maildir::Body& body,
                                 const Structure& structure) const;

 private:
  struct Node {
    SearchKey::Kind kind = SearchKey::Kind::kAll;
    journal::Flags flag = 0;
    SequenceSet set;  // resolved
    std::string field;
    std::string needle;  // folded UTF-8
    DayNumber day = 0;
    uint64_t bytes = 0;
    std::vector<Node> children;  // cheapest first
    int cost = 0;                // 0 memory, 1 envelope, 2 header of the file, 3 all of it
    int file_index = -1;         // among those that look into the file
  };
  class FileScan;

  static absl::StatusOr<Node> CompileNode(const SearchKey& key, const SearchProgram& program, uint32_t messages,
                                          uint32_t uid_largest, int* file_nodes);
  Truth Eval(const Node& node, const SearchMessage& message, const std::vector<Truth>* file) const;
  Truth EvalLeaf(const Node& node, const SearchMessage& message, const std::vector<Truth>* file) const;
  Truth EvalEnvelope(const Node& node, const SearchMessage& message) const;

  Node root_;
  int file_nodes_ = 0;
};

}  // namespace gemel::imap
