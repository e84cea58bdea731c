#include "engine/status.h"

#include <algorithm>
#include <boost/json.hpp>

#include "fmt/format.h"

namespace gemel::engine {
namespace {

namespace json = boost::json;

// The one list of fields. `visit(name, field)`.
template <class Status, class Visit>
void VisitStatus(Status& s, Visit visit) {
  visit("version", s.version);
  visit("node", s.node);
  visit("peer_node", s.peer_node);
  visit("cluster", s.cluster);
  visit("place", s.place);
  visit("incarnation", s.incarnation);
  visit("generation", s.generation);
  visit("state", s.state);
  visit("policy", s.policy);
  visit("peer_connected", s.peer_connected);
  visit("peer_version", s.peer_version);
  visit("peer_counts", s.peer_counts);
  visit("last_contact_ms", s.last_contact_ms);
  visit("clock", s.clock);
  visit("peer_clock", s.peer_clock);
  visit("lag_records_out", s.lag_records_out);
  visit("lag_bytes_out", s.lag_bytes_out);
  visit("lag_records_in", s.lag_records_in);
  visit("catch_up_out", s.catch_up_out);
  visit("catch_up_in", s.catch_up_in);
  visit("unprotected", s.unprotected);
  visit("unprotected_since_s", s.unprotected_since_s);
  visit("oldest_unacknowledged_ms", s.oldest_unacknowledged_ms);
  visit("accounts", s.accounts);
  visit("accounts_homed_here", s.accounts_homed_here);
  visit("accounts_read_only", s.accounts_read_only);
  visit("journal_bytes", s.journal_bytes);
  visit("journal_oldest", s.journal_oldest);
  visit("journal_end", s.journal_end);
  visit("checkpoint_position", s.checkpoint_position);
  visit("store_backlog_bytes", s.store_backlog_bytes);
  visit("store_backlog_items", s.store_backlog_items);
  visit("free_bytes", s.free_bytes);
  visit("key_fingerprint", s.key_fingerprint);
  visit("peer_key_fingerprint", s.peer_key_fingerprint);
  visit("problems", s.problems);
}

json::value ToJson(const std::string& v) { return json::string(v); }
json::value ToJson(bool v) { return v; }
json::value ToJson(uint8_t v) { return static_cast<uint64_t>(v); }
json::value ToJson(uint32_t v) { return static_cast<uint64_t>(v); }
json::value ToJson(uint64_t v) { return v; }
template <class T>
json::value ToJson(const std::optional<T>& v) {
  return v ? json::value(*v) : json::value(nullptr);
}
json::value ToJson(const std::optional<CatchUpStatus>& v) {
  if (!v) return nullptr;
  return json::object{{"records", v->records},
                      {"bytes", v->bytes},
                      {"records_to_go", v->records_to_go},
                      {"bytes_to_go", v->bytes_to_go},
                      {"running_ms", v->running_ms}};
}
json::value ToJson(const std::vector<OriginSeq>& clock) {
  json::object out;
  for (const OriginSeq& entry : clock) out[entry.origin] = entry.seq;
  return out;
}
json::value ToJson(const std::vector<Problem>& problems) {
  json::array out;
  for (const Problem& p : problems) {
    out.push_back(json::object{{"severity", p.severity}, {"what", p.what}, {"what_to_do", p.what_to_do}});
  }
  return out;
}

// These throw where the kind is wrong; StatusFromJson catches.
void FromJson(const json::value& v, std::string* out) { *out = std::string(v.as_string()); }
void FromJson(const json::value& v, bool* out) { *out = v.as_bool(); }
template <class T>
  requires std::is_arithmetic_v<T>
void FromJson(const json::value& v, T* out) {
  *out = v.to_number<T>();
}
template <class T>
void FromJson(const json::value& v, std::optional<T>* out) {
  if (!v.is_null()) *out = v.to_number<T>();
}
void FromJson(const json::value& v, std::optional<CatchUpStatus>* out) {
  if (v.is_null()) return;
  const auto number = [&](const char* name) { return v.at(name).to_number<uint64_t>(); };
  *out = CatchUpStatus{number("records"), number("bytes"), number("records_to_go"), number("bytes_to_go"),
                       number("running_ms")};
}
void FromJson(const json::value& v, std::vector<OriginSeq>* out) {
  for (const auto& [origin, seq] : v.as_object()) out->push_back({std::string(origin), seq.to_number<uint64_t>()});
}
void FromJson(const json::value& v, std::vector<Problem>* out) {
  for (const json::value& item : v.as_array()) {
    const auto text = [&](const char* name) { return std::string(item.at(name).as_string()); };
    out->push_back({text("severity"), text("what"), text("what_to_do")});
  }
}

// For people: 3.4 GiB.
std::string Rounded(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace

std::string StatusJson(const NodeStatus& status) {
  json::object out;
  VisitStatus(status, [&](const char* name, const auto& field) { out[name] = ToJson(field); });
  return json::serialize(out);
}

absl::StatusOr<NodeStatus> StatusFromJson(std::string_view text) {
  NodeStatus status;
  try {
    const json::value parsed = json::parse(json::string_view(text.data(), text.size()));
    const json::object& object = parsed.as_object();
    VisitStatus(status, [&](const char* name, auto& field) {
      if (const json::value* value = object.if_contains(name)) FromJson(*value, &field);
    });
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(fmt::format("not a status: {}", error.what()));
  }
  return status;
}

std::string StatusText(const NodeStatus& s) {
  std::string out;
  const auto line = [&](const char* what, const std::string& text) { out += fmt::format("{:<14} {}\n", what, text); };
  line("node", fmt::format("{} (place {}), gemel {}", s.node, s.place, s.version));
  line("state", fmt::format("{}, generation {}, policy {}", s.state, s.generation, s.policy));
  if (s.peer_node.empty()) {
    line("peer", "none: `gemel pair` makes a pair");
  } else {
    std::string heard = "never heard";
    if (s.last_contact_ms) heard = fmt::format("heard {:.1f} s ago", static_cast<double>(*s.last_contact_ms) / 1000);
    const std::string connected = s.peer_connected ? fmt::format("connected (gemel {})", s.peer_version) : "away";
    line("peer", fmt::format("{}, {}, {}{}", s.peer_node, connected, heard, s.peer_counts ? "" : ", not waited for"));
  }
  line("lag", fmt::format("{} records ({}) to the peer, {} from it", s.lag_records_out, Rounded(s.lag_bytes_out),
                          s.lag_records_in));
  const auto catch_up = [&](const char* verb, const std::optional<CatchUpStatus>& c) {
    if (!c) return;
    line("catching up", fmt::format("{} {} records ({}) for {} s, {} ({}) to go", verb, c->records, Rounded(c->bytes),
                                    c->running_ms / 1000, c->records_to_go, Rounded(c->bytes_to_go)));
  };
  catch_up("sent", s.catch_up_out);
  catch_up("received", s.catch_up_in);
  std::string unprotected = fmt::format("{} changes on this disk only", s.unprotected);
  if (s.unprotected_since_s) {
    const time_t since = static_cast<time_t>(*s.unprotected_since_s);
    char when[32] = "";
    tm broken{};
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&since, &broken));
    unprotected += fmt::format(", since {}", when);
  }
  line("unprotected", unprotected);
  line("accounts", fmt::format("{}, {} homed here{}", s.accounts, s.accounts_homed_here,
                               s.accounts_read_only ? fmt::format(", {} read-only here", s.accounts_read_only) : ""));
  line("journal", fmt::format("{}, positions {} to {}, checkpoint at {}", Rounded(s.journal_bytes), s.journal_oldest,
                              s.journal_end, s.checkpoint_position));
  line("store", fmt::format("{} items ({}) behind the journal", s.store_backlog_items, Rounded(s.store_backlog_bytes)));
  line("disk", fmt::format("{} free", Rounded(s.free_bytes)));
  for (const Problem& p : s.problems) {
    out += fmt::format("{}: {}\n    {}\n", p.severity, p.what, p.what_to_do);
  }
  if (s.problems.empty()) out += "no problems\n";
  return out;
}

bool StatusIsGood(const NodeStatus& status) {
  return std::none_of(status.problems.begin(), status.problems.end(),
                      [](const Problem& p) { return p.severity == "error"; });
}

}  // namespace gemel::engine
