// JournalReader: what the files hold, decoded, for replay and for the offline tools.
#include "journal/journal.h"
#include "journal/walker.h"

namespace gemel::journal {
namespace {

class ReaderImpl : public JournalReader {
 public:
  ReaderImpl(Disk& disk, const std::string& directory, Position from) : walker_(disk, directory, from) {}

  absl::Status Init(Position until) {
    until_ = until;
    if (until != 0) return absl::OkStatus();
    absl::StatusOr<Position> end = walker_.FindEnd();
    if (!end.ok()) return end.status();
    until_ = *end;
    return absl::OkStatus();
  }

  absl::StatusOr<std::optional<Committed>> Next() override {
    absl::StatusOr<std::optional<Walker::Step>> step = walker_.Next(until_);
    if (!step.ok()) return step.status();
    if (!*step) return std::optional<Committed>();
    absl::StatusOr<Frame> frame = DecodeShipped((*step)->shipped, std::nullopt);
    if (!frame.ok()) {
      return absl::Status(frame.status().code(),
                          PlaceText((*step)->begin) + ": " + std::string(frame.status().message()));
    }
    return std::optional<Committed>(
        Committed{std::make_shared<const Frame>(*std::move(frame)), (*step)->begin, (*step)->end});
  }

 private:
  Walker walker_;
  Position until_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<JournalReader>> JournalReader::Open(Disk& disk, const std::string& directory,
                                                                   Position from, Position until) {
  auto reader = std::make_unique<ReaderImpl>(disk, directory, from);
  if (absl::Status s = reader->Init(until); !s.ok()) return s;
  return reader;
}

}  // namespace gemel::journal
