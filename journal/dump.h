// What `gemel journal stat|verify|dump` print. Text for people, JSON lines for programs. Never a letter's text, never a
// password hash. Reads only, also beside a running daemon.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/disk.h"
#include "journal/journal.h"

namespace gemel::journal {

enum class DumpFormat { kText, kJson };

// Lines without their line end: one for the frame, then one for each record (of `account`, where it is set).
void DumpFrame(const Committed& committed, DumpFormat format, const std::optional<AccountId>& account,
               const std::function<void(std::string_view line)>& line);

struct DumpOptions {
  DumpFormat format = DumpFormat::kText;
  Position from = 0;   // 0: the oldest
  Position until = 0;  // 0: the end
  std::optional<AccountId> account;
};
// A damaged frame is a line of its own ("problem ..."), and the dump goes on behind it. Returns how many there were.
absl::StatusOr<uint64_t> DumpJournal(Disk& disk, const std::string& directory, const DumpOptions& options,
                                     const std::function<void(std::string_view line)>& line);

struct JournalStat {
  uint64_t segments = 0;
  uint64_t spares = 0;
  uint64_t bytes_on_disk = 0;
  Position oldest = 0;
  Position end = 0;
  uint64_t frames = 0;
  uint64_t records = 0;
  uint64_t stored_bytes = 0;    // of frames with their envelopes
  uint64_t unpacked_bytes = 0;  // of their records
  uint64_t cut_bytes = 0;       // of a torn tail that the next start will cut
  VectorClock held;
  std::map<std::string, uint64_t> records_by_type;  // empty unless asked for: it unpacks every frame
  uint64_t problems = 0;
};
// Every frame's checksums and the chains between them are verified; with `deep` every record is decoded too. `problem`
// is called for each; `progress` now and then with the bytes done and to do. Either may be null.
absl::StatusOr<JournalStat> VerifyJournal(Disk& disk, const std::string& directory, bool deep,
                                          const std::function<void(std::string_view problem)>& problem,
                                          const std::function<void(uint64_t done, uint64_t all)>& progress);
// One JSON object, or lines of text.
std::string FormatStat(const JournalStat& stat, DumpFormat format);

// "3:4096": segment and offset, as dumps print positions; nullopt: not one.
std::string PositionText(Position position);
std::optional<Position> PositionFromText(std::string_view text);

}  // namespace gemel::journal
