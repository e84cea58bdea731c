// Messages' bytes as the journal has them: to put back files that were lost.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/ids.h"
#include "journal/journal.h"

namespace gemel::engine {

// Whether a body (its first chunk) that has no last Deliver by this frame never gets one: what an incarnation left is
// void (decision 4) once the next one has gone to work. Until then its node may be getting back what came after.
bool MakesVoid(const journal::Frame& frame, const journal::Dot& body);

// Looks for many messages in one pass over the journal, and in one more for those that turn out to be copies: they
// have the bytes of their source. Keeps the bodies that are not complete yet. Not thread-safe.
class JournalBodies {
 public:
  struct Found {
    journal::Dot message;  // of a Deliver or a Copy
    std::string bytes;     // trace and body, LF form
  };
  // Reads from `from` on. `disk` must outlive it.
  JournalBodies(journal::Disk& disk, std::string journal_directory, journal::Position from,
                const std::set<journal::Dot>& wanted);
  // nullopt: the others are not in the journal, or not whole.
  absl::StatusOr<std::optional<Found>> Next();

 private:
  void Take(const journal::Frame& frame);
  // What asks for this record's body, which is found or known not to be here.
  std::vector<journal::Dot> TakeWanted(const journal::Dot& record);

  journal::Disk& disk_;
  const std::string directory_;
  const journal::Position from_;
  std::unique_ptr<journal::JournalReader> reader_;
  // The record that has the bytes, and the messages that they are wanted for: of this pass, and of the next.
  std::map<journal::Dot, std::vector<journal::Dot>> wanted_, copied_;
  std::map<journal::Dot, std::string> bodies_;  // by first chunk
  std::deque<Found> found_;
  int passes_ = 0;
};

// Calls `use` with the trace and body of every letter that the journal has from `from` on, chunks included.
absl::Status ForEachBody(
    journal::Disk& disk, const std::string& journal_directory, journal::Position from,
    const std::function<void(const journal::Dot&, const journal::Deliver&, const std::string& bytes)>& use);

}  // namespace gemel::engine
