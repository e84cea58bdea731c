#include "engine/config.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

// The compiled libtoml++; this is the only file that sees it.
#define TOML_HEADER_ONLY 0
#include <toml++/toml.h>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/config_keys.h"
#include "fmt/format.h"

namespace gemel::engine {
namespace {

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

// Collects mistakes with their lines.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path) {}

  absl::StatusOr<Config> Read(const toml::table& root) {
    for (const auto& [name, node] : root) ReadSection(std::string(name.str()), node);
    if (errors_.empty()) CheckTogether();
    if (errors_.empty()) return config_;
    return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
  }

 private:
  void Error(const toml::node& node, const std::string& text) { ErrorAt(node.source().begin.line, text); }
  void ErrorAt(uint32_t line, const std::string& text) {
    errors_.push_back(line ? fmt::format("{}:{}: {}", path_, line, text) : fmt::format("{}: {}", path_, text));
  }

  void ReadSection(const std::string& section, const toml::node& node) {
    std::vector<std::string> sections, keys;
    for (const SectionText& known : ConfigSections()) sections.push_back(known.name);
    if (std::find(sections.begin(), sections.end(), section) == sections.end()) {
      std::vector<std::string> at_home;  // sections in which a key of this name would be right
      for (const Key& key : ConfigKeys()) {
        if (section == key.name) at_home.push_back(fmt::format("[{}]", key.section));
      }
      const std::string near = Nearest(section, sections);
      if (!node.is_table() && !at_home.empty()) {
        return Error(node, fmt::format("the key {} must stand in {}", section, absl::StrJoin(at_home, " or ")));
      }
      return Error(node, fmt::format("unknown section [{}]{}", section,
                                     near.empty() ? "; there are [" + absl::StrJoin(sections, "] [") + "]"
                                                  : fmt::format("; did you mean [{}]?", near)));
    }
    const toml::table* table = node.as_table();
    if (!table) return Error(node, fmt::format("{} is a section: write [{}] on a line of its own", section, section));
    for (const Key& key : ConfigKeys()) {
      if (section == key.section) keys.push_back(key.name);
    }
    for (const auto& [name, value] : *table) ReadKey(section, std::string(name.str()), value, keys);
  }

  void ReadKey(const std::string& section, const std::string& name, const toml::node& value,
               const std::vector<std::string>& keys) {
    for (const Key& key : ConfigKeys()) {
      if (section != key.section || name != key.name) continue;
      lines_[&key - ConfigKeys().data()] = value.source().begin.line;
      return ReadValue(key, value);
    }
    const std::string near = Nearest(name, keys);
    if (!near.empty())
      return Error(value, fmt::format("unknown key {} in [{}]; did you mean {}?", name, section, near));
    for (const Key& key : ConfigKeys()) {
      if (name == key.name) {
        return Error(value, fmt::format("unknown key {} in [{}]; there is one in [{}]", name, section, key.section));
      }
    }
    Error(value, fmt::format("unknown key {} in [{}]; there are {}", name, section, absl::StrJoin(keys, ", ")));
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
      case Kind::kSocket:
        if (text.empty() && key.min == 0) return "";  // what may be absent
        if (!text.starts_with('/')) {
          return fmt::format("an absolute path is wanted, such as {}", ValueText(key, Config()));
        }
        if (text.size() <= key.max) return "";
        return fmt::format("the path has {} bytes, and {} may have at most {}", text.size(),
                           key.kind == Kind::kSocket ? "that of a Unix socket" : "one", key.max);
      case Kind::kChoice: {
        const std::vector<std::string> choices = absl::StrSplit(key.choices, ' ');
        if (std::find(choices.begin(), choices.end(), text) != choices.end()) return "";
        const std::string near = Nearest(text, choices);
        return fmt::format("it must be one of {}{}", absl::StrJoin(choices, ", "),
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
    for (const Key& key : ConfigKeys()) {
      if (key.member == member) return lines_[&key - ConfigKeys().data()];
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
  std::vector<uint32_t> lines_ = std::vector<uint32_t>(ConfigKeys().size());  // where each key was given; 0: it was not
  std::vector<std::string> errors_;
};

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
    if (errno == ENOENT) {
      return absl::NotFoundError(fmt::format(
          "{}: there is no such configuration file; name another with --config, or make it from what `gemel "
          "check-config --example` prints",
          path));
    }
    const std::string why = fmt::format("{}: {}", path, strerror(errno));
    return errno == EACCES ? absl::PermissionDeniedError(why) : absl::UnavailableError(why);
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return absl::UnavailableError(path + ": cannot be read");
  return ParseConfig(text.str(), path);
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
