// One node of the pair: its journal, its store, the accounts' state, the link to the peer, and what the front ends ask
// of all that (Service). Where to start reading: engine/README.md.
//
// Threads: everything on the loop; blocking work goes through Workers and comes back by Loop::Post.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/connection.h"
#include "engine/identity.h"
#include "engine/loop.h"
#include "engine/network.h"
#include "engine/service.h"
#include "engine/workers.h"
#include "journal/clock.h"
#include "journal/disk.h"

namespace gemel::engine {

// What an acknowledgement promises (design 4, decision 11).
enum class AckPolicy {
  kPairRequired,  // on both disks, or a temporary refusal
  kPairIfUp,      // on both disks while the peer is there; on this one while it is away
  kLocal,         // on this disk
};

struct NodeOptions {
  std::string data_directory;
  std::string host_name;
  AckPolicy ack_policy = AckPolicy::kPairIfUp;
  int zstd_level = 1;
  uint64_t segment_bytes = 64ull << 20;
  uint64_t retain_bytes_min = 1ull << 30;    // of journal, kept however old it is
  uint64_t retain_seconds = 14 * 24 * 3600;  // younger journal and expunged bodies are kept however much it is
  uint64_t heartbeat_ms = 500;
  uint64_t peer_timeout_ms = 3000;  // nothing heard for this long: the peer is away
  uint64_t checkpoint_ms = 5000;
  uint64_t journal_backlog_bytes_max = 64ull << 20;  // queued and not durable: mail is refused for the moment
  uint64_t store_backlog_bytes_max = 256ull << 20;   // applied and not materialised: likewise
  uint64_t free_bytes_min = 64ull << 20;             // less free space: the disk counts as full
  uint64_t idle_account_ms = 60'000;                 // unused accounts leave memory
  // Asked before old journal segments are retired; what it returns is kept until they are. Null: somebody reads them,
  // so they stay for now. Empty: nobody can (engine/data_lock.h, JournalHold).
  std::function<std::shared_ptr<void>()> keep_readers_out;
  std::string sqlite_vfs;                        // empty: SQLite's own; tests name one over their Disk
  std::vector<std::string> postmaster_accounts;  // who gets postmaster@: engine/directory.h, Resolve
};

// All must outlive the Node.
struct Environment {
  journal::Disk& disk;
  journal::Clock& clock;
  journal::Random& random;
  Loop& loop;
  Network& network;
  Workers& workers;
};

struct Problem {
  std::string severity;  // "error" or "warning"
  std::string what;
  std::string what_to_do;
};

struct OriginSeq {
  std::string origin;  // node/incarnation, hex
  uint64_t seq = 0;
};

// One node sends the other what it lacked when the link came up; while that lasts.
struct CatchUpStatus {
  uint64_t records = 0, bytes = 0;  // sent, or received; records: durable on the receiving side
  uint64_t records_to_go = 0, bytes_to_go = 0;
  uint64_t running_ms = 0;
};

// For `gemel status`; engine/status.h renders it. Field by field as in decision 24.
struct NodeStatus {
  std::string version;
  std::string node, peer_node, cluster;
  uint8_t place = 0;
  std::string incarnation;
  journal::Generation generation = 0;
  std::string state;                        // "paired", "solo", "starting", "failed"
  std::string policy;                       // "pair-required", "pair-if-up", "local"
  bool peer_connected = false;              // the link is up and exchanging
  std::string peer_version;                 // while it is
  bool peer_counts = false;                 // the ack policy waits for it
  std::optional<uint64_t> last_contact_ms;  // since the peer was heard
  std::vector<OriginSeq> clock, peer_clock;
  uint64_t lag_records_out = 0, lag_bytes_out = 0;  // ours that the peer does not hold durably, as far as we know
  uint64_t lag_records_in = 0;                      // the peer's that we do not hold, as far as we know
  std::optional<CatchUpStatus> catch_up_out, catch_up_in;
  uint64_t unprotected = 0;  // acknowledged mutations that only this disk holds
  std::optional<int64_t> unprotected_since_s;
  uint64_t oldest_unacknowledged_ms = 0;  // age of the oldest mutation that waits for its acknowledgement
  uint64_t accounts = 0, accounts_homed_here = 0, accounts_read_only = 0;
  uint64_t journal_bytes = 0, journal_oldest = 0, journal_end = 0, checkpoint_position = 0;
  uint64_t store_backlog_bytes = 0, store_backlog_items = 0;
  uint64_t free_bytes = 0;
  std::string key_fingerprint, peer_key_fingerprint;
  std::vector<Problem> problems;
};

struct AccountInfo {
  AccountId id;
  std::string name;
  uint8_t home_place = 0;
  bool enabled = true;
  bool home_here = false;
};

class Node : public Service {
 public:
  // Opens journal and store, replays the tail, and is ready to serve when it returns. It blocks: call it before the
  // loop runs. FailedPrecondition: in use by another process (lock). DataLoss: see the message.
  static absl::StatusOr<std::unique_ptr<Node>> Open(NodeOptions options, Identity identity, Environment environment);
  ~Node() override = default;

  virtual void Start() = 0;  // dials the peer (place 1 does), begins ticks
  // Refuses new work, waits for what was promised (at most `grace_ms`), checkpoints, writes the Dovecot files of
  // accounts used since the start, then `done`.
  virtual void Stop(uint64_t grace_ms, std::function<void()> done) = 0;

  // Connections that arrive on the link port.
  virtual std::unique_ptr<ProtocolSession> AcceptLink(Connection& connection) = 0;
  virtual absl::Status CheckProxy(const ProxyHello& hello) const = 0;  // home, generation, account (decision 13)

  // Pairing: called when `gemel pair` has exchanged keys, and node/identity.json names the peer. The node at place 0
  // writes Paired(2) when the link is up.
  virtual void SetPeer(PeerIdentity peer) = 0;

  // Replicated settings (engine/directory.h). `done` after they are as durable as an acknowledgement.
  using Done = std::function<void(absl::Status)>;
  virtual void AddAccount(std::string name, std::string password_hash, std::optional<uint8_t> home, Done done) = 0;
  virtual void SetPasswordHash(std::string name, std::string password_hash, Done done) = 0;
  virtual void SetAccountEnabled(std::string name, bool enabled, Done done) = 0;
  virtual void SetDomain(std::string domain, bool exists, std::string alias_of, Done done) = 0;
  virtual void SetAlias(std::string address, std::vector<std::string> targets, Done done) = 0;
  virtual void SetHome(std::string name, uint8_t place, Done done) = 0;  // decision 9: refused while the link is down
  virtual std::vector<AccountInfo> Accounts() const = 0;
  virtual std::string AccountName(const AccountId& id) const = 0;  // of one that is not known: its id
  struct DomainInfo {
    std::string domain, alias_of;
  };
  virtual std::vector<DomainInfo> Domains() const = 0;
  struct AliasInfo {
    std::string address;
    std::vector<std::string> targets;
  };
  virtual std::vector<AliasInfo> Aliases() const = 0;

  virtual NodeStatus Status() = 0;
  // maildir::Digest of each account as applied, hex; for comparing the nodes. Heavy; loads every account.
  virtual std::vector<std::pair<std::string, std::string>> Digests() = 0;
};

}  // namespace gemel::engine
