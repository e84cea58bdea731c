// ENVELOPE (RFC 3501, 7.4.2): from a header block to the parenthesised list, and back to what SEARCH compares.
//
// Threads: values.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imap/mime_address.h"
#include "imap/mime_header.h"

namespace gemel::imap {

// Raw header text throughout: encoded words (RFC 2047) and 8-bit bytes are the client's to read.
struct Envelope {
  std::optional<std::string> date, subject, in_reply_to, message_id;
  std::vector<Address> from, sender, reply_to, to, cc, bcc;
};
// Takes the field if it is one of them. One that is there twice: of texts the last counts; addresses are joined, so
// that nobody can hide a sender behind a second From. `addresses_left` is counted down.
void AddEnvelopeField(const HeaderField& field, Envelope* envelope, size_t* addresses_left);

// "(date subject (from) (sender) (reply-to) (to) (cc) (bcc) in-reply-to message-id)". Sender and Reply-To default to
// From.
void AppendEnvelope(std::string* out, const Envelope& envelope);

enum class EnvelopeField { kDate, kSubject, kFrom, kSender, kReplyTo, kTo, kCc, kBcc, kInReplyTo, kMessageId };
inline constexpr size_t kEnvelopeFields = static_cast<size_t>(EnvelopeField::kMessageId) + 1;
// A field of a rendered envelope as raw header text: a string as it was (nullopt for NIL), addresses written out as
// "name <mailbox@host>, group: ...;", without what was only filled in. Nullopt also where `rendered` is none of ours.
std::optional<std::string> FieldOfEnvelope(std::string_view rendered, EnvelopeField field);

}  // namespace gemel::imap
