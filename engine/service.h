// What the protocol front ends (smtp/, imap/) can ask of a node. Implemented by engine::Node.
//
// Threads: the loop only. Callbacks come on the loop, never from inside the call that takes them.
// Errors, as absl codes that the front ends turn into replies:
//   NotFound            no such user, mailbox, message          550 5.1.1, NO [NONEXISTENT] / [TRYCREATE]
//   AlreadyExists       the name is taken                       NO [ALREADYEXISTS]
//   InvalidArgument     a bad name, a bad argument              NO [CANNOT]
//   PermissionDenied    disabled account, wrong password, read-only   NO [AUTHENTICATIONFAILED] / [NOPERM]
//   FailedPrecondition  lawful but not now (has children, INBOX)      NO
//   ResourceExhausted   disk full or backlog; temporary         452 4.3.1, NO [OVERQUOTA]
//   Unavailable         no place to store it now; temporary     451 4.3.0, NO [UNAVAILABLE]
//   Internal            a bug                                   451 4.3.0, NO [SERVERBUG]
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/record.h"
#include "maildir/account_state.h"
#include "maildir/store.h"

namespace gemel::engine {

using journal::AccountId;
using journal::Dot;
using journal::FlagOp;
using journal::Flags;
using journal::MailboxId;
using journal::ModSeq;
using journal::SpecialUse;
using journal::Uid;
using journal::Via;
using maildir::AccountState;
using maildir::Mailbox;
using maildir::Message;

// ---- delivering ----

struct DeliveryTarget {
  AccountId account;
  std::string name;    // the account's address: Delivered-To
  std::string folder;  // from user+folder; "" is INBOX
};

// Takes one message's bytes while they arrive, and stores it for all its recipients as one atomic group.
// Destroyed before Finish: nothing is stored.
class Delivery {
 public:
  virtual ~Delivery() = default;
  virtual void Write(std::string_view bytes) = 0;  // LF form, without our trace headers
  // False: much is on its way to the journal; stop reading until OnWritable calls back. Write never refuses.
  virtual bool writable() const = 0;
  virtual void OnWritable(std::function<void()> then) = 0;

  struct Recipient {
    std::string address;  // envelope, as given
    DeliveryTarget target;
    std::string trace;  // Return-Path, Delivered-To, Received: LF form, each line ended
  };
  // `done` has one status for all recipients: OK means as durable as the ack policy says. At most once.
  // The Delivery may be destroyed before `done` is called; then the message may still be stored (unknown outcome).
  virtual void Finish(std::vector<Recipient> recipients, std::function<void(absl::Status)> done) = 0;
};

// ---- reading and changing an account ----

struct StoreFlagsCommand {
  MailboxId mailbox;
  FlagOp op = FlagOp::kAdd;
  Flags flags = 0;
  std::vector<std::string> keywords;
  std::vector<Uid> uids;
};
struct ExpungeCommand {
  MailboxId mailbox;
  std::vector<Uid> uids;  // those of them that carry \Deleted when it is applied
};
struct CopyCommand {
  MailboxId from;
  MailboxId to;
  std::vector<Uid> uids;
  bool move = false;
};
struct CreateCommand {
  std::string name;  // UTF-8; parents are made as needed (RFC 9051, 6.3.4)
};
struct DeleteCommand {
  std::string name;
};
struct RenameCommand {
  std::string from, to;  // takes children along; INBOX: its messages move into a new mailbox (RFC 9051, 6.3.6)
};
struct SubscribeCommand {
  std::string name;
  bool on = true;
};
// Waits until all that this session was promised is shown: for NOOP-like barriers.
struct BarrierCommand {};

using Command = std::variant<StoreFlagsCommand, ExpungeCommand, CopyCommand, CreateCommand, DeleteCommand,
                             RenameCommand, SubscribeCommand, BarrierCommand>;

struct CommandResult {
  absl::Status status;
  uint32_t uid_validity = 0;                // COPYUID, APPENDUID: of the destination
  std::vector<std::pair<Uid, Uid>> copied;  // (old, new), old ascending; for APPEND (0, new)
};

enum class EventKind : uint8_t { kNew, kFlags, kExpunged };
struct MailboxEvent {
  EventKind kind = EventKind::kNew;
  Uid uid = 0;
  ModSeq modseq = 0;
};

// Told on the loop, after the state has changed; must only note what happened (no call back into the service).
class AccountListener {
 public:
  virtual ~AccountListener() = default;
  virtual void OnMailboxEvents(const MailboxId& mailbox, const std::vector<MailboxEvent>& events) = 0;
  virtual void OnMailboxDeleted(const MailboxId& mailbox) = 0;
  // The session must end with BYE and this text: the home moved, the account was disabled, the node stops.
  virtual void OnAccountClosed(std::string_view reason) = 0;
  // The events noted so far make a consistent picture: an idling session may tell its client now.
  virtual void OnSettled() = 0;
};

// One client session's hold on an account; keeps its state loaded. Destroy it before its listener.
class AccountSession {
 public:
  virtual ~AccountSession() = default;
  // What is shown: as durable as an acknowledgement. Valid until the next return to the loop.
  virtual const AccountState& state() const = 0;
  virtual bool read_only() const = 0;  // the account's home is away: what was last shown, [READ-ONLY]
  virtual void Submit(Command command, std::function<void(CommandResult)> done) = 0;

  struct AppendOptions {
    MailboxId mailbox;
    Flags flags = 0;
    std::vector<std::string> keywords;
    std::optional<int64_t> internal_date_s;
  };
  // As a Delivery with one recipient (whose fields are ignored); `copied` of the result has the UID.
  class Append {
   public:
    virtual ~Append() = default;
    virtual void Write(std::string_view lf_bytes) = 0;
    virtual bool writable() const = 0;
    virtual void OnWritable(std::function<void()> then) = 0;
    virtual void Finish(std::function<void(CommandResult)> done) = 0;
  };
  virtual std::unique_ptr<Append> BeginAppend(AppendOptions options) = 0;

  // The message's bytes, trace and body, LF form. Restores a file that was deleted behind our back, so it may take
  // a while. NotFound: expunged meanwhile.
  virtual void OpenBody(const MailboxId& mailbox, const Message& message,
                        std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) = 0;
  // The same without waiting where the file is at hand; nullptr: use OpenBody.
  virtual std::shared_ptr<maildir::Body> TryOpenBody(const MailboxId& mailbox, const Message& message) = 0;

  virtual std::vector<std::optional<std::string>> CachedStructures(const std::vector<journal::Guid>& guids) = 0;
  virtual void CacheStructure(const journal::Guid& guid, std::string bytes) = 0;

  // \Recent (RFC 3501, 2.3.2): messages at or above the returned UID are recent to the caller, and to nobody after it
  // if `take` (SELECT; EXAMINE only looks). Not journaled.
  virtual Uid RecentFrom(const MailboxId& mailbox, bool take) = 0;
};

struct Authenticated {
  AccountId account;
  std::string name;
};
enum class Home { kHere, kPeer, kPeerAway };

class Service {
 public:
  virtual ~Service() = default;

  // Where mail for this address goes: accounts, aliases, domain aliases, user+folder, postmaster. NotFound: unknown
  // user in a domain of ours. InvalidArgument: the domain is not ours (never relayed). PermissionDenied: disabled.
  virtual absl::StatusOr<std::vector<DeliveryTarget>> LookUpRecipient(std::string_view address) = 0;
  // Temporary reasons to refuse mail before it is sent: disk full, backlog, pair-required and the peer away.
  virtual absl::Status AcceptingMail() const = 0;
  virtual std::unique_ptr<Delivery> BeginDelivery(Via via, std::string sender) = 0;

  // Checks a password (in a pool of its own) and slows down who fails. PermissionDenied: wrong, unknown or disabled.
  virtual void Authenticate(std::string user, std::string password, std::string client_address,
                            std::function<void(absl::StatusOr<Authenticated>)> done) = 0;
  virtual Home HomeOf(const AccountId& account) const = 0;
  virtual journal::Generation generation() const = 0;
  // `listener` must outlive the session. Unavailable: cannot be loaded now.
  virtual void OpenAccount(const AccountId& account, AccountListener& listener,
                           std::function<void(absl::StatusOr<std::unique_ptr<AccountSession>>)> done) = 0;

  virtual const std::string& host_name() const = 0;  // for greetings and Received
  virtual int64_t NowSeconds() const = 0;
  virtual uint64_t BootMillis() const = 0;
};

}  // namespace gemel::engine
