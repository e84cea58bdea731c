#include "engine/directory.h"

#include <xxhash.h>

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"

namespace gemel::engine {
namespace {

using journal::AccountSet;
using journal::AliasSet;
using journal::DomainSet;
using journal::Dot;
using journal::GenerationBegin;
using journal::Record;

constexpr char kMagic[8] = {'g', 'm', 'l', 'd', 'i', 'r', '0', '1'};
constexpr int kAliasDepthMax = 10;

// The content of a quoted local part (RFC 5321, 4.1.2), which is well-formed: the front end has seen to that.
std::string Unquoted(std::string_view local) {
  if (local.size() < 2 || local.front() != '"') return std::string(local);
  std::string content;
  for (size_t i = 1; i + 1 < local.size(); ++i) {
    if (local[i] == '\\') ++i;
    content += local[i];
  }
  return content;
}

// RFC 5321, 4.1.2 and RFC 6531, 3.3: what needs no quotes.
bool IsDotString(std::string_view text) {
  if (text.empty() || text.front() == '.' || text.back() == '.') return false;
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) {
                       return c >= 0x80 || std::isalnum(c) ||
                              std::string_view("!#$%&'*+-/=?^_`{|}~.").find(c) != std::string_view::npos;
                     }) &&
         text.find("..") == std::string_view::npos;
}

}  // namespace

std::string FoldAddress(std::string_view address) {
  std::string folded(address);
  std::transform(folded.begin(), folded.end(), folded.begin(), [](unsigned char c) { return std::tolower(c); });
  return folded;
}

uint8_t PreferredHome(const journal::ClusterId& cluster, const journal::AccountId& account) {
  uint64_t weight[2];
  for (uint8_t place = 0; place < 2; ++place) {
    std::string key(cluster.view());
    key += static_cast<char>(place);
    key += account.view();
    weight[place] = XXH3_64bits(key.data(), key.size());
  }
  return weight[1] > weight[0] ? 1 : 0;
}

void Directory::Apply(const Dot& dot, const Record& record) {
  const journal::NodeId by = dot.origin.node;
  ++version_;
  first_accounts_.clear();
  if (const auto* set = std::get_if<AccountSet>(&record.body)) {
    Account& account = accounts_[record.account];
    if (account.name.empty()) {
      account.id = record.account;
      account.name = set->name;
    }
    if (set->create && set->home_place) account.home.Write(*set->home_place, record.time, by);
    if (set->exists) account.exists.Write(*set->exists, record.time, by);
    if (set->password_hash) account.password_hash.Write(*set->password_hash, record.time, by);
    if (set->enabled) account.enabled.Write(*set->enabled, record.time, by);
  } else if (const auto* domain = std::get_if<DomainSet>(&record.body)) {
    Domain& entry = domains_[domain->domain];
    entry.name = domain->domain;
    entry.exists.Write(domain->exists, record.time, by);
    entry.alias_of.Write(domain->alias_of, record.time, by);
  } else if (const auto* alias = std::get_if<AliasSet>(&record.body)) {
    Alias& entry = aliases_[FoldAddress(alias->address)];
    entry.address = alias->address;
    entry.targets.Write(alias->targets, record.time, by);
  } else if (const auto* begin = std::get_if<GenerationBegin>(&record.body)) {
    const bool known = std::any_of(generations_.begin(), generations_.end(), [begin](const GenerationBegin& other) {
      return other.number == begin->number && other.writer == begin->writer;
    });
    if (!known) generations_.push_back(*begin);
  } else if (const auto* release = std::get_if<journal::Release>(&record.body)) {
    const auto found = accounts_.find(record.account);
    if (found != accounts_.end()) {
      found->second.releasing = true;
      found->second.releasing_to = release->to_place;
      found->second.release = dot;
    }
  } else if (const auto* take = std::get_if<journal::Take>(&record.body)) {
    const auto found = accounts_.find(record.account);
    if (found != accounts_.end() && found->second.releasing && found->second.release == take->release) {
      found->second.releasing = false;
      found->second.home.Write(take->place, record.time, by);
    }
  } else {
    --version_;
  }
}

journal::Hlc Directory::LastWrite(const Record& record) const {
  if (std::holds_alternative<AccountSet>(record.body) || std::holds_alternative<journal::Take>(record.body)) {
    const auto found = accounts_.find(record.account);
    if (found == accounts_.end()) return 0;
    const Account& account = found->second;
    return std::max({account.home.time, account.exists.time, account.password_hash.time, account.enabled.time});
  }
  if (const auto* domain = std::get_if<DomainSet>(&record.body)) {
    const auto found = domains_.find(domain->domain);
    return found == domains_.end() ? 0 : found->second.exists.time;
  }
  if (const auto* alias = std::get_if<AliasSet>(&record.body)) {
    const auto found = aliases_.find(FoldAddress(alias->address));
    return found == aliases_.end() ? 0 : found->second.targets.time;
  }
  return 0;
}

const Account* Directory::Find(const journal::AccountId& id) const {
  const auto found = accounts_.find(id);
  return found == accounts_.end() || !found->second.exists.value ? nullptr : &found->second;
}

const Account* Directory::FindName(std::string_view address) const { return Find(journal::AccountIdOf(address)); }

std::optional<uint8_t> Directory::HomePlace(const Account& account) const {
  const GenerationBegin* current = generation();
  if (current == nullptr) return std::nullopt;
  if (current->kind == journal::GenerationKind::kSolo) return current->writer_place;
  if (account.releasing) return std::nullopt;
  return account.home.value;
}

const Account* Directory::FirstAccount(const std::string& domain) const {
  if (const auto known = first_accounts_.find(domain); known != first_accounts_.end()) return Find(known->second);
  const Account* first = nullptr;
  for (const auto& [id, account] : accounts_) {
    if (!account.exists.value || !account.enabled.value) continue;
    if (!domain.empty() && !FoldAddress(account.name).ends_with("@" + domain)) continue;
    if (first == nullptr || account.exists.time < first->exists.time) first = &account;
  }
  first_accounts_[domain] = first == nullptr ? journal::AccountId{} : first->id;
  return first;
}

absl::Status Directory::ResolveInto(std::string address, const std::vector<std::string>& postmasters, int depth,
                                    std::map<const Alias*, absl::Status>& followed, std::vector<Target>& out) const {
  if (depth > kAliasDepthMax) {
    return absl::FailedPreconditionError(
        absl::StrCat("the aliases of ", address, " nest deeper than ", kAliasDepthMax, ": look for a loop"));
  }
  size_t at = address.rfind('@');
  if (at == std::string::npos) {
    if (FoldAddress(address) != "postmaster") {
      return absl::InvalidArgumentError(absl::StrCat(address, " has no domain"));
    }
    at = address.size();  // RFC 5321, 4.5.1: postmaster without a domain
    for (const auto& [name, domain] : domains_) {
      if (!domain.exists.value || !domain.alias_of.value.empty()) continue;
      address += "@" + name;
      break;
    }
  }
  std::string local = FoldAddress(std::string_view(address).substr(0, at));
  std::string domain = at < address.size() ? FoldAddress(std::string_view(address).substr(at + 1)) : "";
  if (!domain.empty()) {
    const auto found = domains_.find(domain);
    if (found == domains_.end() || !found->second.exists.value) {
      return absl::InvalidArgumentError(absl::StrCat(domain, " is not a domain of this server"));
    }
    if (!found->second.alias_of.value.empty()) domain = found->second.alias_of.value;
  }
  // The whole first, then without its +folder: an alias or an account may have a plus in its name. Quotes are for the
  // folder's sake: what stands before the plus needs none.
  const std::string plain = Unquoted(std::string_view(address).substr(0, at));
  const size_t plus = plain.find('+');
  for (const bool whole : {true, false}) {
    if (!whole && (plus == std::string::npos || !IsDotString(std::string_view(plain).substr(0, plus)))) break;
    const std::string name = absl::StrCat(whole ? local : FoldAddress(plain.substr(0, plus)), "@", domain);
    const auto alias = aliases_.find(name);
    if (alias != aliases_.end() && !alias->second.targets.value.empty()) {
      // Each alias is followed once, whatever leads to it. While it is, what leads back to it is a loop.
      const auto [known, first_time] =
          followed.try_emplace(&alias->second, absl::FailedPreconditionError(absl::StrCat(name, " leads to itself")));
      if (!first_time) return known->second;
      absl::Status failed;
      bool any = false;
      for (const std::string& target : alias->second.targets.value) {
        absl::Status status = ResolveInto(target, postmasters, depth + 1, followed, out);
        any = any || status.ok();
        if (failed.ok()) failed = std::move(status);
      }
      if (any) return known->second = absl::OkStatus();
      known->second = failed;
      if (local == "postmaster") break;  // somebody gets its mail
      return failed;
    }
    const Account* account = FindName(name);
    if (account == nullptr) continue;
    if (!account->enabled.value && local == "postmaster") break;
    if (!account->enabled.value) return absl::PermissionDeniedError(absl::StrCat(account->name, " is disabled"));
    // The folder keeps the case in which it was written.
    out.push_back({account, whole ? "" : plain.substr(plus + 1)});
    return absl::OkStatus();
  }
  if (local == "postmaster") {  // always accepted (RFC 5321, 4.5.1)
    const size_t before = out.size();
    for (const std::string& name : postmasters) {
      const Account* account = FindName(name);
      if (account != nullptr && account->enabled.value) out.push_back({account, ""});
    }
    if (out.size() > before) return absl::OkStatus();
    const Account* first = FirstAccount(domain);
    if (first == nullptr) first = FirstAccount("");
    if (first != nullptr) {
      out.push_back({first, ""});
      return absl::OkStatus();
    }
  }
  return absl::NotFoundError(absl::StrCat("no such user: ", address));
}

absl::StatusOr<std::vector<Directory::Target>> Directory::Resolve(std::string_view address,
                                                                  const std::vector<std::string>& postmasters) const {
  std::vector<Target> targets;
  std::map<const Alias*, absl::Status> followed;
  absl::Status status = ResolveInto(std::string(address), postmasters, 0, followed, targets);
  if (!status.ok()) return status;
  // Two aliases may lead to one account: it gets one letter.
  std::sort(targets.begin(), targets.end(), [](const Target& a, const Target& b) {
    return std::tie(a.account->id, a.folder) < std::tie(b.account->id, b.folder);
  });
  targets.erase(std::unique(targets.begin(), targets.end(),
                            [](const Target& a, const Target& b) { return a.account == b.account; }),
                targets.end());
  return targets;
}

std::string Directory::Encode() const {
  // Pairs of (node that wrote it, record), so that Apply's rules for ties hold after a restart too.
  std::string out(kMagic, sizeof kMagic);
  const auto put = [&out](journal::NodeId node, Record record) {
    out.append(reinterpret_cast<const char*>(&node), sizeof node);
    EncodeRecord(record, 0, &out);
  };
  for (const GenerationBegin& generation : generations_) put(generation.writer, Record{{}, 0, false, generation});
  for (const auto& [id, account] : accounts_) {
    // Before `exists`: a gemeld that knows no time of a home takes it from the first record of an account only.
    AccountSet home{account.name, true, account.home.value, {}, {}, {}};
    put(account.home.node, Record{id, account.home.time, false, home});
    AccountSet exists{account.name, false, {}, {}, {}, account.exists.value};
    put(account.exists.node, Record{id, account.exists.time, false, exists});
    AccountSet password{account.name, false, {}, account.password_hash.value, {}, {}};
    put(account.password_hash.node, Record{id, account.password_hash.time, false, password});
    AccountSet enabled{account.name, false, {}, {}, account.enabled.value, {}};
    put(account.enabled.node, Record{id, account.enabled.time, false, enabled});
    if (account.releasing) {
      // The Release's own dot is needed by the Take; a Take of nothing carries it.
      put(account.release.origin.node, Record{id, 0, false, journal::Take{account.releasing_to, account.release}});
    }
  }
  for (const auto& [name, domain] : domains_) {
    put(domain.exists.node,
        Record{{}, domain.exists.time, false, DomainSet{name, domain.exists.value, domain.alias_of.value}});
  }
  for (const auto& [name, alias] : aliases_) {
    put(alias.targets.node, Record{{}, alias.targets.time, false, AliasSet{alias.address, alias.targets.value}});
  }
  const uint64_t checksum = XXH3_64bits(out.data(), out.size());
  out.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  return out;
}

absl::Status Directory::Decode(std::string_view bytes) {
  uint64_t checksum = 0;
  if (bytes.size() < sizeof kMagic + sizeof checksum || bytes.compare(0, sizeof kMagic, kMagic, sizeof kMagic) != 0) {
    return absl::DataLossError("not a directory file of this version");
  }
  std::memcpy(&checksum, bytes.data() + bytes.size() - sizeof checksum, sizeof checksum);
  bytes.remove_suffix(sizeof checksum);
  if (XXH3_64bits(bytes.data(), bytes.size()) != checksum) return absl::DataLossError("checksum differs");
  bytes.remove_prefix(sizeof kMagic);
  *this = Directory();
  while (!bytes.empty()) {
    journal::NodeId node = 0;
    if (bytes.size() < sizeof node) return absl::DataLossError("ends in the middle of a record");
    std::memcpy(&node, bytes.data(), sizeof node);
    bytes.remove_prefix(sizeof node);
    absl::StatusOr<Record> record = journal::DecodeRecord(&bytes, 0);
    if (!record.ok()) return record.status();
    if (const auto* take = std::get_if<journal::Take>(&record->body)) {  // see Encode
      Account& account = accounts_[record->account];
      account.releasing = true;
      account.releasing_to = take->place;
      account.release = take->release;
      continue;
    }
    Apply(Dot{journal::Origin{node, 0}, 0}, *record);
  }
  return absl::OkStatus();
}

}  // namespace gemel::engine
