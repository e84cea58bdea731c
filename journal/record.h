// The records: every mutation of mail or of settings, and nothing else changes state.
// Bytes of each: journal/README.md, "Records". Who may create which: docs/architecture.md.
//
// A record belongs to (origin, seq), which its frame supplies; it is not stored in the record. Sizes are bytes, times
// are seconds since 1970 (UTC) unless a name says otherwise. Text is UTF-8; message bytes are in LF form (decision 8).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/ids.h"

namespace gemel::journal {

// IMAP system flags (RFC 9051, 2.3.2) as bits. \Recent is not journaled.
enum Flag : uint8_t { kSeen = 1, kAnswered = 2, kFlagged = 4, kDeleted = 8, kDraft = 16 };
using Flags = uint8_t;

using Uid = uint32_t;
using ModSeq = uint64_t;  // lane * 2^32 + counter; below 2^53

// ---- the node's own life ----

// First record of an incarnation.
struct Start {
  uint8_t place = 0;
  Origin predecessor;       // zero for the node's very first start
  Seq predecessor_seq = 0;  // last seq that this node itself held of it
  std::string version;      // of the program, for people
  bool operator==(const Start&) const = default;
};
// Both nodes hold all of a finished incarnation: the clocks of frames that cover this leave it out (docs/decisions.md,
// 15).
struct Closed {
  Origin origin;
  Seq seq = 0;
  bool operator==(const Closed&) const = default;
};
// A generation *is* this record, not its number (design 4).
enum class GenerationKind : uint8_t { kPaired = 0, kSolo = 1 };
struct GenerationParent {
  Generation number = 0;
  GenerationKind kind = GenerationKind::kSolo;
  NodeId writer = 0;
  VectorClock clock;  // applied when it ended
  bool operator==(const GenerationParent&) const = default;
};
struct GenerationBegin {
  Generation number = 0;
  GenerationKind kind = GenerationKind::kSolo;
  NodeId writer = 0;
  uint8_t writer_place = 0;
  std::vector<GenerationParent> parents;
  std::string reason;
  bool operator==(const GenerationBegin&) const = default;
};
// Who is the other node; written by both at pairing (place 0 records place 1 and the other way round).
struct PeerSet {
  NodeId node = 0;
  uint8_t place = 0;
  std::string link_address;     // host:port
  std::string key_fingerprint;  // SHA-256 of its public key, hex
  bool operator==(const PeerSet&) const = default;
};

// ---- accounts, domains, aliases: last writer per field by hybrid time ----

struct AccountSet {
  std::string name;  // address as typed at creation, e.g. "Ann@example.test"; AccountIdOf folds it
  bool create = false;
  std::optional<uint8_t> home_place;         // with create only
  std::optional<std::string> password_hash;  // "{ARGON2ID}$argon2id$..."
  std::optional<bool> enabled;
  std::optional<bool> exists;
  bool operator==(const AccountSet&) const = default;
};
struct DomainSet {
  std::string domain;  // lower case, U-label as UTF-8
  bool exists = true;
  std::string alias_of;  // empty: a domain with accounts of its own
  bool operator==(const DomainSet&) const = default;
};
struct AliasSet {
  std::string address;
  std::vector<std::string> targets;  // empty: removed
  bool operator==(const AliasSet&) const = default;
};

// ---- homes (decision 9) ----

struct Release {  // by the old home, its last ordering record for the account
  uint8_t to_place = 0;
  ModSeq highest_modseq = 0;
  std::vector<std::pair<MailboxId, Uid>> uidnexts;
  bool operator==(const Release&) const = default;
};
struct Take {  // by the new home, once both hold the Release
  uint8_t place = 0;
  Dot release;
  bool operator==(const Take&) const = default;
};

// ---- message bodies and messages ----

// At most this many bytes in one record; a larger body is several chunks (decision 4).
inline constexpr size_t kBodyChunkBytes = 256 * 1024;
// Bodies up to this size that have one recipient lie in their Deliver.
inline constexpr size_t kInlineBodyBytesMax = 64 * 1024;

// A body, or a part of one. Its identity is its first chunk's seq, in the same origin.
struct BodyChunk {
  Seq first = 0;        // seq of the first chunk; 0: this is it
  uint64_t offset = 0;  // from the start of the body
  bool last = false;
  std::string bytes;
  bool operator==(const BodyChunk&) const = default;
};
struct BodyDrop {  // the transaction ended without a Deliver
  Seq first = 0;
  bool operator==(const BodyDrop&) const = default;
};

// What the home gives: where the message lies and under which number.
struct Order {
  MailboxId mailbox;
  Uid uid = 0;
  ModSeq modseq = 0;
  bool operator==(const Order&) const = default;
};

enum class Via : uint8_t { kSmtp = 0, kLmtp = 1, kAppend = 2, kAdopted = 3, kImport = 4 };

// A new message: a delivery, an APPEND, or a letter adopted from new/.
struct Deliver {
  Via via = Via::kSmtp;
  MailboxId wanted;  // where it should go; INBOX if that is gone when it is placed
  Guid guid;
  int64_t internal_date_s = 0;
  std::string sender;                      // envelope, "" for <>
  std::string recipient;                   // envelope, as given
  uint64_t message_id_hash = 0;            // xxh3-64 of the Message-ID's text; 0: none
  std::array<uint8_t, 32> content_hash{};  // SHA-256 of the content without our trace headers, LF form
  uint64_t bytes = 0;                      // of trace + body, LF form: Maildir S=
  uint64_t crlf_bytes = 0;                 // with each LF as CRLF: RFC822.SIZE, Maildir W=
  Flags flags = 0;
  std::vector<std::string> keywords;
  std::string trace;       // our own header lines, before the body, LF form
  Seq body = 0;            // first chunk's seq in this origin; 0: inline_body
  bool body_done = false;  // the last Deliver that refers to the body
  std::string inline_body;
  std::optional<Order> order;  // where the creator is the home; else a Place follows
  bool operator==(const Deliver&) const = default;
};
struct PlacedMessage {
  Dot message;
  Uid uid = 0;
  auto operator<=>(const PlacedMessage&) const = default;
};
// The home's order for messages that another node took. Its mailbox counts.
struct Place {
  MailboxId mailbox;
  ModSeq modseq = 0;
  std::vector<PlacedMessage> messages;
  bool operator==(const Place&) const = default;
};

// ---- what IMAP does; all created at home ----

enum class FlagOp : uint8_t { kAdd = 0, kRemove = 1, kReplace = 2 };
struct FlagsChange {
  MailboxId mailbox;
  FlagOp op = FlagOp::kAdd;
  Flags flags = 0;
  std::vector<std::string> keywords;
  ModSeq modseq = 0;
  ModSeq unchanged_since = 0;  // 0: none (RFC 7162, 3.1.3; for later)
  std::vector<Dot> messages;
  bool operator==(const FlagsChange&) const = default;
};
struct Expunge {
  MailboxId mailbox;
  ModSeq modseq = 0;
  bool only_deleted = false;  // those that carry \Deleted when it is applied (EXPUNGE, CLOSE)
  std::vector<Dot> messages;
  bool operator==(const Expunge&) const = default;
};
// One message copied; the record's dot is the new message. A command's copies are one group.
struct Copy {
  Dot source;
  MailboxId from;
  Order order;
  bool operator==(const Copy&) const = default;
};
struct Move {
  MailboxId from;
  MailboxId to;
  ModSeq modseq = 0;
  std::vector<PlacedMessage> messages;  // with the UID in `to`
  bool operator==(const Move&) const = default;
};
enum class SpecialUse : uint8_t { kNone = 0, kInbox = 1, kDrafts, kSent, kJunk, kTrash, kArchive };
struct MailboxCreate {
  MailboxId mailbox;
  std::string name;  // UTF-8, '/' between levels, "INBOX" for the inbox
  uint32_t uid_validity = 0;
  ModSeq modseq = 0;
  SpecialUse special_use = SpecialUse::kNone;
  bool subscribed = false;
  bool operator==(const MailboxCreate&) const = default;
};
// One mailbox; the children that a RENAME takes along are further records of the same group.
struct MailboxRename {
  MailboxId mailbox;
  std::string name;
  bool operator==(const MailboxRename&) const = default;
};
struct MailboxDelete {
  MailboxId mailbox;
  ModSeq modseq = 0;
  bool operator==(const MailboxDelete&) const = default;
};
struct Subscribe {
  std::string name;
  bool on = true;
  bool operator==(const Subscribe&) const = default;
};

using RecordBody = std::variant<Start, Closed, GenerationBegin, PeerSet, AccountSet, DomainSet, AliasSet, Release, Take,
                                BodyChunk, BodyDrop, Deliver, Place, FlagsChange, Expunge, Copy, Move, MailboxCreate,
                                MailboxRename, MailboxDelete, Subscribe>;

struct Record {
  AccountId account;  // zero where the record is the node's
  Hlc time = 0;
  bool group_continues = false;  // the next record of this origin belongs to the same atomic group
  RecordBody body;
  bool operator==(const Record&) const = default;
};

// Appends one record, length first. `base` is its frame's hybrid time; record.time >= base.
void EncodeRecord(const Record& record, Hlc base, std::string* out);
// Takes one record from the front of *in. DataLoss: malformed. Unimplemented: a type newer than ours.
absl::StatusOr<Record> DecodeRecord(std::string_view* in, Hlc base);
// "Deliver", "FlagsChange" ...: for dumps.
std::string_view RecordTypeName(const RecordBody& body);

}  // namespace gemel::journal
