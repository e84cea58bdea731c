// A small blocking IMAP4rev1 client (RFC 3501) that is cheap on large answers.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "perf/socket.h"

namespace gemel::perf {

struct ImapReply {
  uint64_t bytes = 0;           // of all untagged responses and the tagged line
  uint64_t untagged_lines = 0;  // responses, a literal and what follows it being part of its response
  std::string untagged;         // the first kUntaggedKeptMax bytes of them
  std::string tagged;           // "OK ..." without the tag
};

// The number behind `mark` in `text`. NotFound: there is none.
absl::StatusOr<uint64_t> NumberAfter(std::string_view text, std::string_view mark);

// Not thread-safe.
class ImapClient {
 public:
  static constexpr size_t kUntaggedKeptMax = 64 * 1024;

  // Connects and reads the greeting.
  static absl::StatusOr<std::unique_ptr<ImapClient>> Open(const Address& server);
  ~ImapClient();
  ImapClient(const ImapClient&) = delete;
  ImapClient& operator=(const ImapClient&) = delete;

  // LOGIN, then CAPABILITY where the answer did not bring it.
  absl::Status Login(const std::string& user, const std::string& password);

  // One command without its tag, and its answer. FailedPrecondition: NO or BAD, with the server's words.
  absl::StatusOr<ImapReply> Command(std::string_view command);
  // The two halves of Command. Several commands may be sent before their answers are received, in order.
  absl::Status Send(std::string_view command);
  absl::StatusOr<ImapReply> Receive();

  // APPEND of a whole letter in CRLF form; uses LITERAL+ (RFC 7888) where the server has it.
  absl::Status Append(std::string_view mailbox, std::string_view letter);

  // IDLE (RFC 2177): returns once the server said "+ idling".
  absl::Status StartIdle();
  absl::Status EndIdle();
  // The next line that is not part of an answer to a command, such as "* 5 EXISTS" during IDLE.
  // DeadlineExceeded: none came within `seconds_max`.
  absl::StatusOr<std::string> NextLine(double seconds_max);

  bool Has(std::string_view capability) const;

 private:
  explicit ImapClient(int fd) : fd_(fd) {}
  absl::Status Write(std::string_view bytes);
  absl::Status Fill();
  // One line without CRLF; valid until the next read.
  absl::StatusOr<std::string_view> ReadLine();
  absl::Status Skip(uint64_t bytes, ImapReply& reply);

  int fd_;
  uint64_t sent_tags_ = 0;
  uint64_t received_tags_ = 0;
  std::string capabilities_;
  std::string buffer_;
  size_t begin_ = 0;  // unread bytes are [begin_, end_)
  size_t end_ = 0;
};

}  // namespace gemel::perf
