// What must hold for any message at all; shared by the corpus test and the fuzzer.
#pragma once
#include <string>

namespace gemel::imap {

// "" if `lf_text` passes: its structure's ranges lie within one another and count their newlines rightly; ENVELOPE,
// BODY and BODYSTRUCTURE are well-formed lists; the cache gives all of it back; every section is the slice of BODY[]
// that it should be, also in pieces and in partials; SEARCH reads it to its end. Else what is wrong.
std::string CheckMessage(const std::string& lf_text);

}  // namespace gemel::imap
