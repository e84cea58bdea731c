// SEARCH keys, compiled, against one message (RFC 3501, 6.4.4). Three-valued, so that what is at hand is tried before
// anything is fetched: an AND with a false key is false whatever the file holds.
//
// Threads: one at a time.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "imap/search_key.h"
#include "imap/search_text.h"
#include "maildir/account_state.h"

namespace gemel::imap {

// So many keys of a SEARCH may look into files (BODY, TEXT, and HEADER of what no envelope has): each is compared with
// all of every letter.
inline constexpr size_t kFileKeysMax = 64;

// One message, as memory has it.
struct SearchMessage {
  uint32_t number = 0;
  const maildir::Message* message = nullptr;
  const maildir::Mailbox* mailbox = nullptr;
  bool recent = false;
};

class SearchMatcher {
 public:
  // `messages`, `uid_largest`: what "*" stands for. Errors: see SearchRun::Start.
  static absl::StatusOr<SearchMatcher> Compile(const SearchProgram& program, uint32_t messages, uint32_t uid_largest);

  // The keys that memory does not decide. What is found out of them is kept by their places here.
  const std::vector<TextKey>& text_keys() const { return text_keys_; }
  std::vector<Truth> NothingFound() const { return std::vector<Truth>(text_keys_.size(), Truth::kUnknown); }

  // kUnknown: more of the text keys must be known.
  Truth Match(const SearchMessage& message, const std::vector<Truth>& found) const;
  // What Match costs (StepBudget).
  uint64_t CostOfMatch(const SearchMessage& message) const;

 private:
  struct Node {
    SearchKey::Kind kind = SearchKey::Kind::kAll;
    journal::Flags flag = 0;
    SequenceSet set;      // resolved
    std::string keyword;  // UTF-8
    DayNumber day = 0;
    uint64_t bytes = 0;
    std::vector<Node> children;      // cheapest first
    int cost = 0;                    // 0 memory, 1 envelope, 2 header of the file, 3 all of it
    std::optional<size_t> text_key;  // its place in text_keys_
  };

  absl::StatusOr<Node> CompileNode(const SearchKey& key, const SearchProgram& program, uint32_t messages,
                                   uint32_t uid_largest);
  absl::Status AddTextKey(const SearchKey& key, const std::string& utf8, Node* node);
  Truth Eval(const Node& node, const SearchMessage& message, const std::vector<Truth>& found) const;
  Truth EvalLeaf(const Node& node, const SearchMessage& message, const std::vector<Truth>& found) const;

  Node root_;
  uint64_t nodes_ = 0;
  uint64_t keyword_nodes_ = 0;
  size_t file_keys_ = 0;
  std::vector<TextKey> text_keys_;
};

}  // namespace gemel::imap
