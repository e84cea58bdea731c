// One IMAP command as the client wrote it, taken apart (RFC 3501, 9, and the extensions named below). Values only.
// Mailbox names are as on the wire (modified UTF-7); Session::Utf8Name turns them into UTF-8.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "imap/fetch_item.h"
#include "imap/search_key.h"
#include "imap/sequence_set.h"
#include "journal/record.h"

namespace gemel::imap {

// ---- any state ----
struct CapabilityCommand {};
struct NoopCommand {};
struct LogoutCommand {};
struct IdCommand {                                          // RFC 2971
  std::vector<std::pair<std::string, std::string>> fields;  // NIL as ""
};

// ---- not authenticated ----
struct StartTlsCommand {};
struct LoginCommand {
  std::string user, password;
};
struct AuthenticateCommand {
  std::string mechanism;                        // upper case
  std::optional<std::string> initial_response;  // base64, or "=" for an empty one (RFC 4959)
};

// ---- authenticated ----
struct EnableCommand {  // RFC 5161
  std::vector<std::string> extensions;
};
struct SelectCommand {
  std::string mailbox;
  bool examine = false;
};
struct CreateCommand {
  std::string mailbox;
};
struct DeleteCommand {
  std::string mailbox;
};
struct RenameCommand {
  std::string from, to;
};
struct SubscribeCommand {
  std::string mailbox;
  bool on = true;
};
struct ListCommand {
  std::string reference, pattern;
  bool lsub = false;
  bool special_use_only = false;  // LIST (SPECIAL-USE) ...: RFC 6154, 5.2
};
struct NamespaceCommand {};  // RFC 2342
enum class StatusItem : uint8_t { kMessages, kRecent, kUidNext, kUidValidity, kUnseen, kAppendLimit };
struct StatusCommand {
  std::string mailbox;
  std::vector<StatusItem> items;
};
struct AppendCommand {  // the message itself follows as a literal
  std::string mailbox;
  journal::Flags flags = 0;
  std::vector<std::string> keywords;
  std::optional<int64_t> internal_date_s;
};
struct IdleCommand {};  // RFC 2177

// ---- selected ----
struct CheckCommand {};
struct CloseCommand {
  bool expunge = true;  // false: UNSELECT (RFC 3691)
};
struct ExpungeCommand {
  std::optional<SequenceSet> uids;  // UID EXPUNGE (RFC 4315)
};
struct SearchCommand {
  SearchProgram program;
  bool uid = false;
};
struct FetchCommand {
  SequenceSet set;
  std::vector<FetchItem> items;
  bool uid = false;
};
struct StoreCommand {
  SequenceSet set;
  journal::FlagOp op = journal::FlagOp::kReplace;
  bool silent = false;
  journal::Flags flags = 0;
  std::vector<std::string> keywords;
  bool uid = false;
};
struct CopyCommand {
  SequenceSet set;
  std::string mailbox;
  bool move = false;  // RFC 6851
  bool uid = false;
};

using CommandBody =
    std::variant<CapabilityCommand, NoopCommand, LogoutCommand, IdCommand, StartTlsCommand, LoginCommand,
                 AuthenticateCommand, EnableCommand, SelectCommand, CreateCommand, DeleteCommand, RenameCommand,
                 SubscribeCommand, ListCommand, NamespaceCommand, StatusCommand, AppendCommand, IdleCommand,
                 CheckCommand, CloseCommand, ExpungeCommand, SearchCommand, FetchCommand, StoreCommand, CopyCommand>;

struct Command {
  std::string tag;
  CommandBody body;
};

}  // namespace gemel::imap
