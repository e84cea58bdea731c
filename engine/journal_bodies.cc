#include "engine/journal_bodies.h"

#include <map>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "journal/journal.h"

namespace gemel::engine {
namespace {

using journal::Dot;

// One pass over the journal; the chunks of open bodies are kept until the Deliver shows whether they are wanted.
absl::StatusOr<std::string> Find(journal::Disk& disk, const std::string& directory, const Dot& message,
                                 std::optional<Dot>* copied_from) {
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader = journal::JournalReader::Open(disk, directory, 0);
  if (!reader.ok()) return reader.status();
  std::map<journal::Seq, std::string> bodies;  // of the message's origin, by first chunk
  for (;;) {
    absl::StatusOr<std::optional<journal::Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) continue;
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    const journal::Frame& frame = *(*next)->frame;
    if (frame.origin != message.origin) continue;
    for (size_t i = 0; i < frame.records.size(); ++i) {
      const journal::Seq seq = frame.first_seq + i;
      const journal::RecordBody& body = frame.records[i].body;
      if (const auto* chunk = std::get_if<journal::BodyChunk>(&body)) {
        bodies[chunk->first == 0 ? seq : chunk->first] += chunk->bytes;
      } else if (const auto* drop = std::get_if<journal::BodyDrop>(&body)) {
        bodies.erase(drop->first);
      } else if (const auto* deliver = std::get_if<journal::Deliver>(&body)) {
        if (seq == message.seq) {
          std::string whole = deliver->trace + (deliver->body != 0 ? bodies[deliver->body] : deliver->inline_body);
          // The segment with its first chunks may be gone, or one of their frames damaged.
          if (whole.size() != deliver->bytes) {
            return absl::NotFoundError(
                absl::StrCat("the journal has only ", whole.size(), " of the message's ", deliver->bytes, " bytes"));
          }
          return whole;
        }
        if (deliver->body_done) bodies.erase(deliver->body);
      } else if (const auto* copy = std::get_if<journal::Copy>(&body); copy != nullptr && seq == message.seq) {
        *copied_from = copy->source;
        return absl::NotFoundError("a copy");
      }
    }
  }
  return absl::NotFoundError("the journal does not reach back to this message");
}

}  // namespace

absl::StatusOr<std::string> ReadBodyFromJournal(journal::Disk& disk, const std::string& journal_directory,
                                                const Dot& message) {
  Dot wanted = message;
  for (int copies = 0; copies < 100; ++copies) {  // a copy of a copy of ...
    std::optional<Dot> source;
    absl::StatusOr<std::string> found = Find(disk, journal_directory, wanted, &source);
    if (!source) return found;
    wanted = *source;
  }
  return absl::NotFoundError("the message is a copy of copies without end");
}

absl::Status ForEachBody(
    journal::Disk& disk, const std::string& journal_directory, journal::Position from,
    const std::function<void(const journal::Dot&, const journal::Deliver&, const std::string& bytes)>& use) {
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(disk, journal_directory, from);
  if (absl::IsNotFound(reader.status())) return absl::OkStatus();
  if (!reader.ok()) return reader.status();
  std::map<Dot, std::string> bodies;  // open ones, by first chunk
  for (;;) {
    absl::StatusOr<std::optional<journal::Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) continue;
    if (!next.ok()) return next.status();
    if (!next->has_value()) return absl::OkStatus();
    const journal::Frame& frame = *(*next)->frame;
    for (size_t i = 0; i < frame.records.size(); ++i) {
      const Dot dot{frame.origin, frame.first_seq + i};
      const journal::RecordBody& body = frame.records[i].body;
      if (const auto* chunk = std::get_if<journal::BodyChunk>(&body)) {
        bodies[{dot.origin, chunk->first == 0 ? dot.seq : chunk->first}] += chunk->bytes;
      } else if (const auto* drop = std::get_if<journal::BodyDrop>(&body)) {
        bodies.erase({dot.origin, drop->first});
      } else if (const auto* deliver = std::get_if<journal::Deliver>(&body)) {
        const Dot chunks{dot.origin, deliver->body};
        const std::string bytes = deliver->trace + (deliver->body != 0 ? bodies[chunks] : deliver->inline_body);
        if (bytes.size() == deliver->bytes) use(dot, *deliver, bytes);  // else a frame of it is damaged
        if (deliver->body_done) bodies.erase(chunks);
      }
    }
  }
}

}  // namespace gemel::engine
