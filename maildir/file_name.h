// Maildir file names, both ways. The name of a message's file is a function of its state (decision 17):
//
//   <INTERNALDATE, seconds>.<hash of the dot, 16 hex>.gemel,S=<LF bytes>,W=<CRLF bytes>[:2,<letters>]
//
// MaildirBaseName and MaildirFlagLetters, the way from a message to its name, are in maildir/account_state.h.
// Threads: none, functions only.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "maildir/account_state.h"

namespace gemel::maildir {

struct FileName {
  std::string_view base;  // everything before ":2,"; points into what was parsed
  int64_t internal_date_s = 0;
  uint64_t dot_hash = 0;
  uint64_t bytes = 0;
  uint64_t crlf_bytes = 0;
  bool has_flags = false;  // a ":2," was there
  Flags flags = 0;
  std::string_view keyword_letters;  // a-z, sorted, each once
};

uint64_t DotHash(const Dot& dot);

// Only names exactly as we write them; nullopt for anybody else's, and for our own with foreign letters or order in
// the flags.
std::optional<FileName> ParseFileName(std::string_view name);

// Whether some record made this file, here or where it was copied from, whatever another program has put behind the
// ':'.
bool IsOwnFileName(std::string_view name);
// Everything before the first ':'.
std::string_view BaseOf(std::string_view name);

// What stands behind the last '/'.
std::string_view FileNameOf(std::string_view path);

// System flags out of any program's name (":2,FS" and the like). Letters that are not known are skipped.
Flags FlagsOfAnyName(std::string_view name);

// Where a message lies in its mailbox's directory: "new/<base>" without any flag or keyword, else
// "cur/<base>:2,<letters>". A function of the state alone, so that both nodes, replay and Reconcile agree.
std::string RelativePath(const Message& message, const std::vector<uint16_t>& keyword_indexes);

}  // namespace gemel::maildir
