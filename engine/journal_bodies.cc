#include "engine/journal_bodies.h"

#include <utility>

#include "absl/status/status.h"

namespace gemel::engine {
namespace {

using journal::Dot;

constexpr int kPassesMax = 100;  // a copy of a copy of ...

void DropVoid(const journal::Frame& frame, std::map<Dot, std::string>& bodies) {
  std::erase_if(bodies, [&frame](const auto& body) { return MakesVoid(frame, body.first); });
}

}  // namespace

bool MakesVoid(const journal::Frame& frame, const Dot& body) {
  return frame.first_seq > 1 && body.origin.node == frame.origin.node && body.origin != frame.origin;
}

JournalBodies::JournalBodies(journal::Disk& disk, std::string journal_directory, journal::Position from,
                             const std::set<Dot>& wanted)
    : disk_(disk), directory_(std::move(journal_directory)), from_(from) {
  for (const Dot& message : wanted) wanted_[message] = {message};
}

absl::StatusOr<std::optional<JournalBodies::Found>> JournalBodies::Next() {
  for (;;) {
    if (!found_.empty()) {
      Found found = std::move(found_.front());
      found_.pop_front();
      return found;
    }
    if (wanted_.empty()) {  // a pass need not go to the end
      reader_.reset();
      bodies_.clear();
      wanted_ = std::exchange(copied_, {});
      if (wanted_.empty() || ++passes_ > kPassesMax) return std::nullopt;
    }
    if (reader_ == nullptr) {
      absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
          journal::JournalReader::Open(disk_, directory_, from_);
      if (absl::IsNotFound(reader.status())) return std::nullopt;  // nothing is there
      if (!reader.ok()) return reader.status();
      reader_ = *std::move(reader);
    }
    absl::StatusOr<std::optional<journal::Committed>> next = reader_->Next();
    if (absl::IsDataLoss(next.status())) continue;
    if (!next.ok()) return next.status();
    next->has_value() ? Take(*(*next)->frame) : wanted_.clear();
  }
}

std::vector<Dot> JournalBodies::TakeWanted(const Dot& record) {
  auto wanted = wanted_.extract(record);
  return wanted ? std::move(wanted.mapped()) : std::vector<Dot>();
}

void JournalBodies::Take(const journal::Frame& frame) {
  DropVoid(frame, bodies_);
  const auto of_origin = wanted_.lower_bound(Dot{frame.origin, 0});
  if (of_origin == wanted_.end() || of_origin->first.origin != frame.origin) return;
  for (size_t i = 0; i < frame.records.size(); ++i) {
    const Dot dot{frame.origin, frame.first_seq + i};
    const journal::RecordBody& body = frame.records[i].body;
    if (const auto* chunk = std::get_if<journal::BodyChunk>(&body)) {
      bodies_[Dot{dot.origin, chunk->first == 0 ? dot.seq : chunk->first}] += chunk->bytes;
    } else if (const auto* drop = std::get_if<journal::BodyDrop>(&body)) {
      bodies_.erase(Dot{dot.origin, drop->first});
    } else if (const auto* deliver = std::get_if<journal::Deliver>(&body)) {
      const Dot first{dot.origin, deliver->body};
      for (const Dot& message : TakeWanted(dot)) {
        std::string whole = deliver->trace + (deliver->body != 0 ? bodies_[first] : deliver->inline_body);
        // The segment with its first chunks may be gone, or one of their frames damaged.
        if (whole.size() == deliver->bytes) found_.push_back({message, std::move(whole)});
      }
      if (deliver->body_done) bodies_.erase(first);
    } else if (const auto* copy = std::get_if<journal::Copy>(&body)) {
      for (const Dot& message : TakeWanted(dot)) copied_[copy->source].push_back(message);
    }
  }
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
    DropVoid(frame, bodies);
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
