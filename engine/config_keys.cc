#include "engine/config_keys.h"

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"

namespace gemel::engine {
namespace {

constexpr uint64_t kKiB = 1024, kMiB = kKiB * kKiB, kGiB = kKiB * kMiB, kTiB = kKiB * kGiB;
constexpr uint64_t kDaySeconds = 24 * 3600;
constexpr uint64_t kPathBytesMax = 4095;
constexpr uint64_t kSocketBytesMax = 107;  // sun_path, with its NUL

const Key kKeys[] = {
    {"node", "data_directory", Kind::kPath, &Config::data_directory, 1, kPathBytesMax, "",
     "Where the node keeps everything: identity, journal, accounts. Belongs to user gemel alone."},
    {"node", "host_name", Kind::kText, &Config::host_name, 0, 0, "",
     "The name given in greetings and Received lines. Empty: the system's host name."},
    {"node", "admin_socket", Kind::kSocket, &Config::admin_socket, 1, kSocketBytesMax, "",
     "Unix socket that gemel(1) talks to; root and the daemon's own user may use it."},
    {"node", "log_level", Kind::kChoice, &Config::log_level, 0, 0, "debug info warning error off",
     "The least severe lines that are logged, to standard error."},
    {"node", "shutdown_time", Kind::kMilliseconds, &Config::shutdown_ms, 100, 8000, "",
     "At SIGTERM, how long what was begun may take to finish. The daemon ends within 10 s in any case."},
    {"link", "listen", Kind::kListenerList, &Config::link_listen, 0, 0, "",
     "Where the peer connects: replication, proxied clients and pairing, all by TLS 1.3 with pinned keys."},
    {"link", "address", Kind::kHostPort, &Config::link_address, 0, 0, "",
     "HOST:PORT at which the peer reaches this node; told to it at pairing. Empty: host_name with the port of the "
     "first listener."},
    {"link", "heartbeat", Kind::kMilliseconds, &Config::heartbeat_ms, 50, 60'000, "",
     "How often each node tells the other that it is there."},
    {"link", "peer_timeout", Kind::kMilliseconds, &Config::peer_timeout_ms, 200, 600'000, "",
     "Nothing heard for so long: the peer counts as away. At least two heartbeats."},
    {"journal", "segment_size", Kind::kBytes, &Config::segment_bytes, kMiB, 2 * kGiB, "",
     "Size of one journal file. They are written full of zeros once and used again."},
    {"journal", "compression_level", Kind::kCount, &Config::zstd_level, 0, 19, "",
     "zstd level of frames; 0 compresses nothing."},
    {"journal", "retain_size", Kind::kBytes, &Config::retain_bytes, 0, 1024 * kTiB, "",
     "At least so much of the journal stays, however old it is."},
    {"journal", "retain_time", Kind::kSeconds, &Config::retain_seconds, 0, 3650 * kDaySeconds, "",
     "How far back point-in-time recovery goes: journal and expunged letters younger than this stay, however much that "
     "is."},
    {"journal", "checkpoint_interval", Kind::kMilliseconds, &Config::checkpoint_ms, 100, 3'600'000, "",
     "How often Maildir and indexes are made durable; a restart replays the journal since then."},
    {"journal", "free_space_min", Kind::kBytes, &Config::free_bytes_min, 0, kTiB, "",
     "With less free space than this mail is refused for the moment (452 4.3.1), and reading goes on."},
    {"delivery", "ack_policy", Kind::kChoice, &Config::ack_policy, 0, 0, "pair-required pair-if-up local",
     "What an acknowledgement promises. pair-required: on both disks, or a temporary refusal. pair-if-up: on both "
     "disks while the peer is there, on this one while it is away. local: on this disk."},
    {"delivery", "journal_backlog_max", Kind::kBytes, &Config::journal_backlog_bytes, kMiB, 64 * kGiB, "",
     "Mail is refused for the moment when more than this waits for the journal."},
    {"delivery", "store_backlog_max", Kind::kBytes, &Config::store_backlog_bytes, kMiB, 64 * kGiB, "",
     "Mail is refused for the moment when more than this is journaled and not yet in the Maildirs."},
    {"delivery", "postmaster", Kind::kTextList, &Config::postmaster, 0, 0, "",
     "Accounts that get mail for postmaster where no alias or account has that name. Empty: the account of the domain "
     "that was made first."},
    {"smtp", "listen", Kind::kListenerList, &Config::smtp_listen, 0, 0, "",
     "Where SMTP is spoken: mail for accounts here is taken, nothing is ever relayed. Empty list: not at all."},
    {"smtp", "timeout", Kind::kMilliseconds, &Config::smtp_timeout_ms, 1000, 3'600'000, "",
     "A client that sends nothing for so long is told 421 and closed (RFC 5321, 4.5.3.2.7: five minutes)."},
    {"lmtp", "socket", Kind::kSocket, &Config::lmtp_socket, 0, kSocketBytesMax, "",
     "Unix socket for LMTP, mode 0660. Empty: none."},
    {"lmtp", "listen", Kind::kListenerList, &Config::lmtp_listen, 0, 0, "",
     "Where LMTP is spoken over TCP. Only loopback unless you say otherwise: who reaches it can deliver."},
    {"lmtp", "timeout", Kind::kMilliseconds, &Config::lmtp_timeout_ms, 1000, 3'600'000, "", "As [smtp] timeout."},
    {"imap", "listen", Kind::kListenerList, &Config::imap_listen, 0, 0, "",
     "Where IMAP is spoken; passwords are taken only after STARTTLS, except from this host."},
    {"imap", "listen_tls", Kind::kListenerList, &Config::imaps_listen, 0, 0, "",
     "Where IMAP is spoken over TLS from the first byte."},
    {"imap", "idle_account", Kind::kMilliseconds, &Config::idle_account_ms, 1000, 86'400'000, "",
     "An account that nobody used for so long leaves memory."},
    {"tls", "certificate", Kind::kPath, &Config::tls_certificate, 0, kPathBytesMax, "",
     "PEM file with the certificate and its chain. SIGHUP reads it again. Empty: a self-signed one is made in the data "
     "directory."},
    {"tls", "key", Kind::kPath, &Config::tls_key, 0, kPathBytesMax, "", "PEM file with the certificate's private key."},
    {"limits", "message_size", Kind::kBytes, &Config::message_bytes, kKiB, 4 * kGiB, "",
     "The largest message that is taken, by SMTP, LMTP and APPEND."},
    {"limits", "connections", Kind::kCount, &Config::connections, 1, 1'000'000, "",
     "Client connections to one listener; this host's own may be as many besides."},
    {"limits", "connections_per_address", Kind::kCount, &Config::connections_per_address, 1, 1'000'000, "",
     "Client connections to one listener from one IPv4 address or IPv6 /64; this host's own are not counted."},
    {"limits", "recipients", Kind::kCount, &Config::recipients, 100, 100'000, "",
     "Recipients of one SMTP or LMTP transaction (RFC 5321, 4.5.3.1.8: at least 100)."},
    {"limits", "received_hops", Kind::kCount, &Config::received_hops, 10, 1000, "",
     "A message with more Received lines is refused as looping."},
    {"limits", "errors", Kind::kCount, &Config::errors, 1, 100'000, "",
     "So many refused commands end an SMTP connection."},
    {"limits", "messages_per_connection", Kind::kCount, &Config::messages_per_connection, 1, 1'000'000'000, "",
     "So many messages end an SMTP connection; the client is told to connect again."},
    {"limits", "messages_per_mailbox_minute", Kind::kCount, &Config::messages_per_mailbox_minute, 0, 1'000'000'000, "",
     "So many messages are taken for one account in a minute, more are refused for the moment. 0: no limit."},
};

const SectionText kSections[] = {
    {"node", "This node."},
    {"link", "The connection to the peer."},
    {"journal", "The write-ahead journal and the checkpoint."},
    {"delivery", "What acknowledging a message means, and when mail is refused for the moment."},
    {"smtp", "Mail from other servers."},
    {"lmtp", "Mail from an MTA on this host, such as Postfix or Exim."},
    {"imap", "Mail clients."},
    {"tls", "The certificate that clients are shown."},
    {"limits", "Bounds for clients."},
};

const char* KindName(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "text";
    case Kind::kPath:
    case Kind::kSocket:
      return "absolute path";
    case Kind::kListenerList:
      return "list of ADDRESS:PORT";
    case Kind::kTextList:
      return "list of text";
    case Kind::kHostPort:
      return "HOST:PORT";
    case Kind::kBytes:
      return "size";
    case Kind::kMilliseconds:
    case Kind::kSeconds:
      return "duration";
    case Kind::kCount:
      return "number";
    case Kind::kChoice:
      return "one of";
  }
  return "";
}

std::string NumberText(Kind kind, uint64_t number) {
  switch (kind) {
    case Kind::kBytes:
      return FormatBytes(number);
    case Kind::kMilliseconds:
      return FormatMilliseconds(number);
    case Kind::kSeconds:
      return FormatMilliseconds(number * 1000);
    default:
      return fmt::format("{}", number);
  }
}

}  // namespace

std::span<const Key> ConfigKeys() { return kKeys; }
std::span<const SectionText> ConfigSections() { return kSections; }

std::string ValueText(const Key& key, const Config& config) {
  if (auto text = std::get_if<std::string Config::*>(&key.member)) return QuoteToml(config.*(*text));
  if (auto list = std::get_if<std::vector<std::string> Config::*>(&key.member)) {
    std::vector<std::string> quoted;
    for (const std::string& item : config.*(*list)) quoted.push_back(QuoteToml(item));
    return "[" + absl::StrJoin(quoted, ", ") + "]";
  }
  const std::string number = NumberText(key.kind, config.*std::get<uint64_t Config::*>(key.member));
  return key.kind == Kind::kCount ? number : QuoteToml(number);
}

std::string RangeText(const Key& key) {
  return fmt::format("{} to {}", NumberText(key.kind, key.min), NumberText(key.kind, key.max));
}

std::string KindText(const Key& key) {
  if (key.kind == Kind::kChoice) return "one of " + absl::StrJoin(absl::StrSplit(key.choices, ' '), ", ");
  if (key.kind == Kind::kSocket) return fmt::format("absolute path of at most {} bytes", key.max);
  if (std::holds_alternative<uint64_t Config::*>(key.member))
    return fmt::format("{}, {}", KindName(key.kind), RangeText(key));
  return KindName(key.kind);
}

}  // namespace gemel::engine
