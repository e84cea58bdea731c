#include "engine/config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <variant>

// The compiled libtoml++; this is the only file that sees it.
#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

#include "fmt/format.h"

namespace gemel::engine {
namespace {

// What a value means, which decides how it is read, checked and shown.
enum class Kind { kText, kPath, kListenerList, kTextList, kHostPort, kBytes, kMilliseconds, kSeconds, kCount, kChoice };

using Member = std::variant<std::string Config::*, std::vector<std::string> Config::*, uint64_t Config::*>;

struct Key {
  const char* section;
  const char* name;
  Kind kind;
  Member member;
  uint64_t min, max;    // of numbers, in the member's unit
  const char* choices;  // space-separated, of kChoice
  const char* meaning;
};

constexpr uint64_t kKiB = 1024, kMiB = kKiB * kKiB, kGiB = kKiB * kMiB, kTiB = kKiB * kGiB;
constexpr uint64_t kDaySeconds = 24 * 3600;

const Key kKeys[] = {
    {"node", "data_directory", Kind::kPath, &Config::data_directory, 0, 0, "",
     "Where the node keeps everything: identity, journal, accounts. Belongs to user gemel alone."},
    {"node", "host_name", Kind::kText, &Config::host_name, 0, 0, "",
     "The name given in greetings and Received lines. Empty: the system's host name."},
    {"node", "admin_socket", Kind::kPath, &Config::admin_socket, 0, 0, "",
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
    {"lmtp", "socket", Kind::kPath, &Config::lmtp_socket, 0, 0, "", "Unix socket for LMTP, mode 0660. Empty: none."},
    {"lmtp", "listen", Kind::kListenerList, &Config::lmtp_listen, 0, 0, "",
     "Where LMTP is spoken over TCP. Only loopback unless you say otherwise: who reaches it can deliver."},
    {"lmtp", "timeout", Kind::kMilliseconds, &Config::lmtp_timeout_ms, 1000, 3'600'000, "", "As [smtp] timeout."},
    {"imap", "listen", Kind::kListenerList, &Config::imap_listen, 0, 0, "",
     "Where IMAP is spoken; passwords are taken only after STARTTLS, except from this host."},
    {"imap", "listen_tls", Kind::kListenerList, &Config::imaps_listen, 0, 0, "",
     "Where IMAP is spoken over TLS from the first byte."},
    {"imap", "idle_account", Kind::kMilliseconds, &Config::idle_account_ms, 1000, 86'400'000, "",
     "An account that nobody used for so long leaves memory."},
    {"tls", "certificate", Kind::kPath, &Config::tls_certificate, 0, 0, "",
     "PEM file with the certificate and its chain. SIGHUP reads it again. Empty: a self-signed one is made in the data "
     "directory."},
    {"tls", "key", Kind::kPath, &Config::tls_key, 0, 0, "", "PEM file with the certificate's private key."},
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

struct SectionText {
  const char* name;
  const char* meaning;
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

const char* KindText(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "text";
    case Kind::kPath:
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
      return "duration";
    case Kind::kSeconds:
      return "duration";
    case Kind::kCount:
      return "number";
    case Kind::kChoice:
      return "one of";
  }
  return "";
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// The candidate that the writer most likely meant; empty: none is near.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::vector<std::string> Words(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string Join(const std::vector<std::string>& parts, std::string_view between) {
  return fmt::format("{}", fmt::join(parts, between));
}

// The value as it is written in TOML.
std::string ValueText(const Key& key, const Config& config) {
  if (auto text = std::get_if<std::string Config::*>(&key.member)) return QuoteToml(config.*(*text));
  if (auto list = std::get_if<std::vector<std::string> Config::*>(&key.member)) {
    std::vector<std::string> quoted;
    for (const std::string& item : config.*(*list)) quoted.push_back(QuoteToml(item));
    return "[" + Join(quoted, ", ") + "]";
  }
  const uint64_t number = config.*std::get<uint64_t Config::*>(key.member);
  switch (key.kind) {
    case Kind::kBytes:
      return QuoteToml(FormatBytes(number));
    case Kind::kMilliseconds:
      return QuoteToml(FormatMilliseconds(number));
    case Kind::kSeconds:
      return QuoteToml(FormatMilliseconds(number * 1000));
    default:
      return fmt::format("{}", number);
  }
}

// Collects mistakes with their lines.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  absl::StatusOr<Config> Read(const toml::table& root) {
    for (const auto& [name, node] : root) ReadSection(std::string(name.str()), node);
    if (errors_.empty()) CheckTogether();
    if (errors_.empty()) return config_;
    return absl::InvalidArgumentError(Join(errors_, "\n"));
  }

 private:
  void Error(const toml::node& node, const std::string& text) { ErrorAt(node.source().begin.line, text); }
  void ErrorAt(uint32_t line, const std::string& text) {
    errors_.push_back(line ? fmt::format("{}:{}: {}", path_, line, text) : fmt::format("{}: {}", path_, text));
  }

  void ReadSection(const std::string& section, const toml::node& node) {
    std::vector<std::string> sections, keys;
    for (const SectionText& known : kSections) sections.push_back(known.name);
    if (std::find(sections.begin(), sections.end(), section) == sections.end()) {
      std::vector<std::string> at_home;  // sections in which a key of this name would be right
      for (const Key& key : kKeys) {
        if (section == key.name) at_home.push_back(fmt::format("[{}]", key.section));
      }
      const std::string near = Nearest(section, sections);
      if (!node.is_table() && !at_home.empty()) {
        return Error(node, fmt::format("the key {} must stand in {}", section, Join(at_home, " or ")));
      }
      return Error(node, fmt::format("unknown section [{}]{}", section,
                                     near.empty() ? "; there are [" + Join(sections, "] [") + "]"
                                                  : fmt::format("; did you mean [{}]?", near)));
    }
    const toml::table* table = node.as_table();
    if (!table) return Error(node, fmt::format("{} is a section: write [{}] on a line of its own", section, section));
    for (const Key& key : kKeys) {
      if (section == key.section) keys.push_back(key.name);
    }
    for (const auto& [name, value] : *table) ReadKey(section, std::string(name.str()), value, keys);
  }

  void ReadKey(const std::string& section, const std::string& name, const toml::node& value,
               const std::vector<std::string>& keys) {
    for (const Key& key : kKeys) {
      if (section != key.section || name != key.name) continue;
      lines_[&key - kKeys] = value.source().begin.line;
      return ReadValue(key, value);
    }
    const std::string near = Nearest(name, keys);
    if (!near.empty())
      return Error(value, fmt::format("unknown key {} in [{}]; did you mean {}?", name, section, near));
    for (const Key& key : kKeys) {
      if (name == key.name) {
        return Error(value, fmt::format("unknown key {} in [{}]; there is one in [{}]", name, section, key.section));
      }
    }
    Error(value, fmt::format("unknown key {} in [{}]; there are {}", name, section, Join(keys, ", ")));
  }

  void ReadValue(const Key& key, const toml::node& value) {
    if (auto list = std::get_if<std::vector<std::string> Config::*>(&key.member)) {
      return ReadList(key, value, &(config_.*(*list)));
    }
    if (auto text = std::get_if<std::string Config::*>(&key.member)) {
      const auto* string = value.as_string();
      if (!string) return Wrong(key, value, "a text in quotes is wanted");
      if (const std::string why = WhyBadText(key, string->get()); !why.empty()) return Wrong(key, value, why);
      config_.*(*text) = string->get();
      return;
    }
    ReadNumber(key, value, &(config_.*std::get<uint64_t Config::*>(key.member)));
  }

  void ReadList(const Key& key, const toml::node& value, std::vector<std::string>* out) {
    const toml::array* array = value.as_array();
    if (!array) return Wrong(key, value, "a list is wanted, such as " + ValueText(key, Config()));
    std::vector<std::string> items;
    for (const toml::node& item : *array) {
      const auto* string = item.as_string();
      if (!string) return Wrong(key, item, "each item must be a text in quotes");
      if (const std::string why = WhyBadText(key, string->get()); !why.empty()) return Wrong(key, item, why);
      items.push_back(string->get());
    }
    *out = items;
  }

  void ReadNumber(const Key& key, const toml::node& value, uint64_t* out) {
    absl::StatusOr<uint64_t> number = absl::InvalidArgumentError("a number is wanted");
    if (const auto* integer = value.as_integer(); integer && integer->get() >= 0) {
      number = static_cast<uint64_t>(integer->get());
      if ((key.kind == Kind::kMilliseconds || key.kind == Kind::kSeconds) && *number != 0) {
        return Wrong(key, value, "a duration needs quotes and a unit, such as \"500ms\", \"3s\" or \"14d\"");
      }
    } else if (const auto* string = value.as_string(); string && key.kind == Kind::kBytes) {
      number = ParseBytes(string->get());
    } else if (string && (key.kind == Kind::kMilliseconds || key.kind == Kind::kSeconds)) {
      number = ParseMilliseconds(string->get());
      if (number.ok() && key.kind == Kind::kSeconds) number = *number / 1000;
    }
    if (!number.ok()) return Wrong(key, value, std::string(number.status().message()));
    if (*number < key.min || *number > key.max) {
      Config low, high;
      low.*std::get<uint64_t Config::*>(key.member) = key.min;
      high.*std::get<uint64_t Config::*>(key.member) = key.max;
      return Wrong(key, value, fmt::format("it must be from {} to {}", ValueText(key, low), ValueText(key, high)));
    }
    *out = *number;
  }

  static std::string WhyBadText(const Key& key, const std::string& text) {
    switch (key.kind) {
      case Kind::kPath:
        // What may be absent may be empty.
        if (text.empty() && key.member != Member(&Config::data_directory)) return "";
        return text.starts_with('/') ? "" : "an absolute path is wanted, beginning with /";
      case Kind::kChoice: {
        const auto choices = Words(key.choices);
        if (std::find(choices.begin(), choices.end(), text) != choices.end()) return "";
        const std::string near = Nearest(text, choices);
        return fmt::format("it must be one of {}{}", Join(choices, ", "),
                           near.empty() ? "" : fmt::format("; did you mean {}?", near));
      }
      case Kind::kHostPort:
        if (text.empty()) return "";
        [[fallthrough]];
      case Kind::kListenerList: {
        const auto parsed = ParseHostPort(text);
        return parsed.ok() ? "" : std::string(parsed.status().message());
      }
      default:
        return "";
    }
  }

  void Wrong(const Key& key, const toml::node& value, const std::string& why) {
    Error(value, fmt::format("[{}] {}: {}", key.section, key.name, why));
  }

  uint32_t LineOf(const Member& member) const {
    for (const Key& key : kKeys) {
      if (key.member == member) return lines_[&key - kKeys];
    }
    return 0;
  }

  // What is right alone and wrong together.
  void CheckTogether() {
    if (config_.peer_timeout_ms < 2 * config_.heartbeat_ms) {
      ErrorAt(std::max(LineOf(&Config::peer_timeout_ms), LineOf(&Config::heartbeat_ms)),
              fmt::format("[link] peer_timeout ({}) must be at least twice heartbeat ({})",
                          FormatMilliseconds(config_.peer_timeout_ms), FormatMilliseconds(config_.heartbeat_ms)));
    }
    if (config_.tls_certificate.empty() != config_.tls_key.empty()) {
      ErrorAt(std::max(LineOf(&Config::tls_certificate), LineOf(&Config::tls_key)),
              "[tls] certificate and key must be given together, or neither");
    }
    std::map<std::string, uint32_t> seen;  // with the line
    for (const auto list : {&Config::link_listen, &Config::smtp_listen, &Config::lmtp_listen, &Config::imap_listen,
                            &Config::imaps_listen}) {
      for (const std::string& address : config_.*list) {
        if (address.ends_with(":0")) continue;
        const auto [first, is_new] = seen.emplace(address, LineOf(list));
        if (is_new) continue;
        ErrorAt(std::max(first->second, LineOf(list)),
                fmt::format("{} stands in two listeners; each needs an address of its own", address));
      }
    }
  }

  std::string path_;
  Config config_;
  std::array<uint32_t, std::size(kKeys)> lines_{};  // where each key was given; 0: it was not
  std::vector<std::string> errors_;
};

// Breaks text into lines of at most `width`, each begun with `indent`.
std::string Wrap(std::string_view text, std::string_view indent, size_t width) {
  std::string out, line;
  for (const std::string& word : Words(text)) {
    if (!line.empty() && indent.size() + line.size() + 1 + word.size() > width) {
      out += fmt::format("{}{}\n", indent, line);
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) out += fmt::format("{}{}\n", indent, line);
  return out;
}

std::string KindAndChoices(const Key& key) {
  return key.kind == Kind::kChoice ? "one of " + Join(Words(key.choices), ", ") : KindText(key.kind);
}

template <class OnSection, class OnKey>
void ForEach(OnSection on_section, OnKey on_key) {
  for (const SectionText& section : kSections) {
    on_section(section);
    for (const Key& key : kKeys) {
      if (std::string_view(key.section) == section.name) on_key(key);
    }
  }
}

std::string EscapeRoff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

}  // namespace

absl::StatusOr<Config> ParseConfig(std::string_view toml, const std::string& path) {
  try {
    return Reader(path).Read(toml::parse(toml, path));
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, error.source().begin.line, error.description()));
  }
}

absl::StatusOr<Config> ReadConfig(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    const std::string why = fmt::format("{}: {}", path, strerror(errno));
    return errno == EACCES ? absl::PermissionDeniedError(why) : absl::NotFoundError(why);
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return absl::UnavailableError(path + ": cannot be read");
  return ParseConfig(text.str(), path);
}

std::string RenderConfig(const Config& config) {
  const Config defaults;
  std::string out, heading;
  ForEach([&](const SectionText& section) { heading = fmt::format("[{}]\n", section.name); },
          [&](const Key& key) {
            const std::string value = ValueText(key, config);
            if (value == ValueText(key, defaults)) return;
            if (!out.empty() && !heading.empty()) out += '\n';
            out += fmt::format("{}{} = {}\n", heading, key.name, value);
            heading.clear();
          });
  return out;
}

std::string ExplainConfig() {
  const Config defaults;
  std::string out;
  ForEach(
      [&](const SectionText& section) {
        out += fmt::format("{}[{}]  {}\n", out.empty() ? "" : "\n", section.name, section.meaning);
      },
      [&](const Key& key) {
        out += fmt::format("  {} = {}   ({})\n", key.name, ValueText(key, defaults), KindAndChoices(key));
        out += Wrap(key.meaning, "      ", 100);
      });
  return out;
}

std::string ExampleConfig() {
  const Config defaults;
  std::string out =
      "# Configuration of gemeld. Every key is here with its default; take the # away to change one.\n"
      "# `gemel check-config` checks this file, and `man gemeld.toml` says more.\n"
      "# Accounts, domains, aliases and homes are not here: both nodes share them (`gemel account`, `gemel domain` "
      "...).\n";
  ForEach([&](const SectionText& section) { out += fmt::format("\n# {}\n[{}]\n", section.meaning, section.name); },
          [&](const Key& key) {
            out += "\n" + Wrap(fmt::format("{} ({})", key.meaning, KindAndChoices(key)), "# ", 100);
            out += fmt::format("#{} = {}\n", key.name, ValueText(key, defaults));
          });
  return out;
}

std::string ConfigManPageSection() {
  const Config defaults;
  std::string out;
  ForEach(
      [&](const SectionText& section) {
        out += fmt::format(".SS [{}]\n{}\n", section.name, EscapeRoff(section.meaning));
      },
      [&](const Key& key) {
        out += fmt::format(
            ".TP\n.B {}\n{}\nValue: {}; default\n.BR \"{}\" .\n", EscapeRoff(key.name), EscapeRoff(key.meaning),
            EscapeRoff(key.kind == Kind::kChoice ? "choice of " + Join(Words(key.choices), ", ") : KindText(key.kind)),
            [&] {
              std::string value = EscapeRoff(ValueText(key, defaults));
              for (size_t at = 0; (at = value.find('"', at)) != std::string::npos; at += 4) {
                value.replace(at, 1, "\\(dq");
              }
              return value;
            }());
      });
  return out;
}

NodeOptions NodeOptionsOf(const Config& config) {
  NodeOptions options;
  options.data_directory = config.data_directory;
  options.host_name = HostNameOf(config);
  options.ack_policy = config.ack_policy == "pair-required" ? AckPolicy::kPairRequired
                       : config.ack_policy == "local"       ? AckPolicy::kLocal
                                                            : AckPolicy::kPairIfUp;
  options.zstd_level = static_cast<int>(config.zstd_level);
  options.segment_bytes = config.segment_bytes;
  options.retain_bytes_min = config.retain_bytes;
  options.retain_seconds = config.retain_seconds;
  options.heartbeat_ms = config.heartbeat_ms;
  options.peer_timeout_ms = config.peer_timeout_ms;
  options.checkpoint_ms = config.checkpoint_ms;
  options.journal_backlog_bytes_max = config.journal_backlog_bytes;
  options.store_backlog_bytes_max = config.store_backlog_bytes;
  options.free_bytes_min = config.free_bytes_min;
  options.idle_account_ms = config.idle_account_ms;
  options.postmaster_accounts = config.postmaster;
  return options;
}

std::string HostNameOf(const Config& config) {
  if (!config.host_name.empty()) return config.host_name;
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0 || !*name) return "localhost";
  return name;
}

std::string LinkAddressOf(const Config& config) {
  if (!config.link_address.empty()) return config.link_address;
  HostPort address;
  address.host = HostNameOf(config);
  address.port = 7425;
  if (!config.link_listen.empty()) {
    if (const auto first = ParseHostPort(config.link_listen.front()); first.ok()) {
      address.port = first->port;
      // A listener on one address says where the node is; one on all addresses does not.
      if (first->host != "0.0.0.0" && first->host != "::") address.host = first->host;
    }
  }
  return address.ToString();
}

}  // namespace gemel::engine
