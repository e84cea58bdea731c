// Feeds a client's bytes to the command reader, in pieces whose sizes the input chooses, and checks what must hold
// whatever they are: bounds, progress, and the same commands however the bytes were cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "imap/append_run.h"
#include "imap/command_reader.h"
#include "imap/list_pattern.h"

namespace gemel::imap {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

// What the reader made of the input, as text to compare.
std::string Read(std::string_view bytes, size_t piece) {
  CommandReader reader;
  std::string story;
  std::string message;
  LineEnds line_ends;
  while (true) {
    const std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    reader.Feed(now);
    while (true) {
      const CommandReader::Item item = reader.Next();
      if (item.kind == CommandReader::Kind::kNeedMore) break;
      switch (item.kind) {
        case CommandReader::Kind::kAppend:
          Check(item.parsed.command.has_value());
          if (item.literal.bytes > 1'000'000) {
            reader.RefuseLiteral();
          } else {
            reader.AcceptLiteral();
          }
          break;
        case CommandReader::Kind::kAppendBytes:
          Check(!item.bytes.empty());
          line_ends.Append(item.bytes, &message);
          continue;  // their pieces depend on the cuts
        case CommandReader::Kind::kAppendEnd:
          line_ends.Finish(&message);
          story += "message " + std::to_string(message.size());
          message.clear();
          break;
        case CommandReader::Kind::kCommand:
          // Every bad command has a tag to answer to and a reason to give.
          Check(!item.parsed.tag.empty());
          Check(item.parsed.command.has_value() == item.parsed.error.empty());
          if (item.parsed.command) {
            if (const auto* list = std::get_if<ListCommand>(&item.parsed.command->body)) {
              MatchesListPattern(list->pattern, "INBOX/Some/Name");
            }
          }
          break;
        default:
          break;
      }
      story += std::to_string(static_cast<int>(item.kind)) + item.parsed.tag + item.parsed.error + ';';
    }
    if (bytes.empty()) break;
  }
  return story;
}

}  // namespace
}  // namespace gemel::imap

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using gemel::imap::Read;
  if (size == 0 || size > 512 * 1024) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = data[0] == 0 ? 1 : data[0];
  if (size < 16 * 1024)
    gemel::imap::Check(Read(bytes, bytes.size() + 1) == Read(bytes, piece));
  else
    Read(bytes, 4096);
  return 0;
}
