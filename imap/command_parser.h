// From a command's bytes to its parts. Pure: no state, no I/O; framing (where a command ends) is command_reader.h's.
//
// Bounded: by the reader in size, here in depth (kSearchDepthMax, kMimeDepthMax).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "imap/command.h"

namespace gemel::imap {

struct ParseResult {
  std::string tag;  // "*" where not even a tag was there
  std::optional<Command> command;
  std::string error;  // for the tagged BAD; set where `command` is not
};

// `bytes` is a whole command without its last line end; a literal is in it as it came: {5}, line end, 5 bytes.
ParseResult ParseCommand(std::string_view bytes);

// The start of an APPEND, up to the space before its message literal. As ParseCommand.
ParseResult ParseAppendStart(std::string_view bytes);

// True where `bytes` begin with a tag and APPEND.
bool IsAppend(std::string_view bytes);

// True where `bytes` begin with a tag, APPEND and a mailbox, so that a literal that comes next is the message.
bool AwaitsAppendMessage(std::string_view bytes);

// "{123}" or "{123+}" (RFC 2088) at the end of a line.
struct LiteralMark {
  uint64_t bytes = 0;
  bool synchronizing = true;
  size_t mark_bytes = 0;  // length of the mark itself
};
std::optional<LiteralMark> LiteralMarkAtEnd(std::string_view line);

}  // namespace gemel::imap
