// BODYSTRUCTURE and BODY (RFC 3501, 7.4.2).
//
// Threads: values.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "imap/envelope.h"
#include "imap/mime_header.h"
#include "imap/mime_structure.h"

namespace gemel::imap {

// What the headers of one part say; by the part's index.
struct PartDescription {
  ContentFields content;
  std::unique_ptr<Envelope> envelope;  // of a message: the whole one, or what a message/rfc822 part holds
  bool opaque = false;  // not taken apart though its type asks for it (no boundary, too deep): shown as text/plain
};

// Appends the parenthesised list for part `index`. `cuts` gets offsets into *out, in pairs and ascending: BODY is what
// remains without the bytes between each two.
void AppendBodyStructure(std::string* out, std::vector<uint32_t>* cuts, const std::vector<MimePart>& parts,
                         const std::vector<PartDescription>& descriptions, uint32_t index);

}  // namespace gemel::imap
