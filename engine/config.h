// gemeld.toml: what a node is told about itself. What both nodes must agree on (accounts, homes, domains, aliases) is
// records, never configuration.
//
// Every key stands once, in the table in config_keys.cc: name, kind, member, range, meaning. From it come the reading
// and the checks, `gemel check-config --explain`, the packaged example and the man page gemeld.toml(5).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config_values.h"
#include "engine/node.h"

namespace gemel::engine {

inline constexpr char kDefaultConfigPath[] = "/etc/gemel/gemeld.toml";
inline constexpr char kDefaultAdminSocket[] = "/run/gemel/admin";

struct Config {
  // [node]
  std::string data_directory = "/var/lib/gemel";
  std::string host_name;  // empty: the system's
  std::string admin_socket = kDefaultAdminSocket;
  std::string log_level = "info";
  uint64_t shutdown_ms = 8000;
  // [link]
  std::vector<std::string> link_listen = {"0.0.0.0:7425", "[::]:7425"};
  std::string link_address;  // empty: host_name with the port of the first listener
  uint64_t heartbeat_ms = 500;
  uint64_t peer_timeout_ms = 3000;
  // [journal]
  uint64_t segment_bytes = 64ull << 20;
  uint64_t zstd_level = 1;
  uint64_t retain_bytes = 1ull << 30;
  uint64_t retain_seconds = 14 * 24 * 3600;
  uint64_t checkpoint_ms = 5000;
  uint64_t free_bytes_min = 64ull << 20;
  // [delivery]
  std::string ack_policy = "pair-if-up";
  uint64_t journal_backlog_bytes = 64ull << 20;
  uint64_t store_backlog_bytes = 256ull << 20;
  std::vector<std::string> postmaster;
  // [smtp]
  std::vector<std::string> smtp_listen = {"0.0.0.0:25", "[::]:25"};
  uint64_t smtp_timeout_ms = 300'000;
  // [lmtp]
  std::string lmtp_socket = "/run/gemel/lmtp";
  std::vector<std::string> lmtp_listen = {"127.0.0.1:24", "[::1]:24"};
  uint64_t lmtp_timeout_ms = 300'000;
  // [imap]
  std::vector<std::string> imap_listen = {"0.0.0.0:143", "[::]:143"};
  std::vector<std::string> imaps_listen = {"0.0.0.0:993", "[::]:993"};
  uint64_t idle_account_ms = 60'000;
  // [tls]
  std::string tls_certificate;
  std::string tls_key;
  // [limits]
  uint64_t message_bytes = 150ull << 20;
  uint64_t connections = 4096;
  uint64_t connections_per_address = 200;
  uint64_t recipients = 1000;
  uint64_t received_hops = 50;
  uint64_t errors = 20;
  uint64_t messages_per_connection = 10'000;
  uint64_t messages_per_mailbox_minute = 0;

  bool operator==(const Config&) const = default;
};

// InvalidArgument: every mistake on a line of its own, as FILE:LINE: what is wrong and what would be right.
absl::StatusOr<Config> ParseConfig(std::string_view toml, const std::string& path);
// NotFound, PermissionDenied or Unavailable besides: the file cannot be read.
absl::StatusOr<Config> ReadConfig(const std::string& path);

// TOML with the keys that differ from their defaults; ParseConfig gives the same Config back.
std::string RenderConfig(const Config& config);

std::string ExplainConfig();         // every key with kind, default and meaning, for a terminal
std::string ExampleConfig();         // every key commented out, with its default: packaging/gemeld.toml
std::string ConfigManPageSection();  // the same as roff, for gemeld.toml(5)

NodeOptions NodeOptionsOf(const Config& config);
std::string HostNameOf(const Config& config);     // host_name, or the system's
std::string LinkAddressOf(const Config& config);  // what the peer is told to dial

}  // namespace gemel::engine
