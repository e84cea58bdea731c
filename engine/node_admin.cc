// Replicated settings, and what `gemel status` says.
#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "journal/frame.h"
#include "maildir/utf7.h"

namespace gemel::engine {
namespace {

using journal::Record;

bool IsAddress(std::string_view name) {
  const size_t at = name.rfind('@');
  return at != std::string_view::npos && at > 0 && at + 1 < name.size() &&
         std::none_of(name.begin(), name.end(), [](unsigned char c) { return c <= ' ' || c == 127; });
}

// RFC 1035 by length, letters of other scripts as they are (RFC 6531) or as A-labels; an address literal is none.
absl::Status CheckDomain(std::string_view domain) {
  const auto wrong = [&](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(domain), " is not a domain: ", std::string(why)));
  };
  if (domain.empty()) return absl::InvalidArgumentError("the domain is empty");
  if (domain.size() > 253) return wrong("it is longer than 253 bytes");
  if (!maildir::IsUtf8(domain)) return wrong("it is not UTF-8");
  for (size_t start = 0; start <= domain.size();) {
    const size_t end = std::min(domain.find('.', start), domain.size());
    const std::string_view label = domain.substr(start, end - start);
    start = end + 1;
    if (label.empty()) return wrong("a label is empty");
    if (label.size() > 63) return wrong("a label is longer than 63 bytes");
    if (label.front() == '-' || label.back() == '-') return wrong("a label begins or ends with a hyphen");
    const bool lawful = std::all_of(label.begin(), label.end(), [](unsigned char c) {
      return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
             c == '_';
    });
    if (!lawful) return wrong("only letters, digits and hyphens are lawful");
  }
  return absl::OkStatus();
}

Node::Done Later(NodeImpl& node, Node::Done done, absl::Status status) {
  node.PostSafely([done = std::move(done), status = std::move(status)] { done(status); });
  return nullptr;
}

std::function<void(CommandResult)> Answer(Node::Done done) {
  return [done = std::move(done)](const CommandResult& result) { done(result.status); };
}

std::vector<Record> One(const AccountId& account, journal::RecordBody body) {
  std::vector<Record> records;
  records.push_back({account, 0, false, std::move(body)});
  return records;
}

absl::Status NoSuchAccount(const std::string& name) {
  return absl::NotFoundError(absl::StrCat("there is no account ", name, "; `gemel account list` shows them"));
}

}  // namespace

void NodeImpl::AddAccount(std::string name, std::string password_hash, std::optional<uint8_t> home, Done done) {
  if (!IsAddress(name)) {
    Later(*this, std::move(done),
          absl::InvalidArgumentError(absl::StrCat(name, " is not an address like ann@example.test")));
    return;
  }
  if (directory_.FindName(name) != nullptr) {
    Later(*this, std::move(done), absl::AlreadyExistsError(absl::StrCat(name, " exists already")));
    return;
  }
  if (absl::Status status = AcceptingMail(); !status.ok()) {
    Later(*this, std::move(done), std::move(status));
    return;
  }
  const AccountId id = journal::AccountIdOf(name);
  std::vector<Record> records;
  const std::string domain = FoldAddress(name.substr(name.rfind('@') + 1));
  const auto known = directory_.domains().find(domain);
  if (known == directory_.domains().end() || !known->second.exists.value) {
    records.push_back({AccountId{}, 0, false, journal::DomainSet{domain, true, ""}});
  }
  journal::AccountSet set;
  set.name = std::move(name);
  set.create = true;
  set.exists = true;
  set.home_place = home.value_or(PreferredHome(identity_.cluster, id));
  set.password_hash = std::move(password_hash);
  set.enabled = true;
  records.push_back({id, 0, false, std::move(set)});
  Create(std::move(records), Answer(std::move(done)));
}

void NodeImpl::SetPasswordHash(std::string name, std::string password_hash, Done done) {
  const Account* account = directory_.FindName(name);
  if (account == nullptr) {
    Later(*this, std::move(done), NoSuchAccount(name));
    return;
  }
  journal::AccountSet set;
  set.name = account->name;
  set.password_hash = std::move(password_hash);
  Create(One(account->id, std::move(set)), Answer(std::move(done)));
}

void NodeImpl::SetAccountEnabled(std::string name, bool enabled, Done done) {
  const Account* account = directory_.FindName(name);
  if (account == nullptr) {
    Later(*this, std::move(done), NoSuchAccount(name));
    return;
  }
  journal::AccountSet set;
  set.name = account->name;
  set.enabled = enabled;
  Create(One(account->id, std::move(set)), Answer(std::move(done)));
}

void NodeImpl::SetDomain(std::string domain, bool exists, std::string alias_of, Done done) {
  domain = FoldAddress(domain);
  alias_of = FoldAddress(alias_of);
  const auto target = directory_.domains().find(alias_of);
  if (!alias_of.empty() && (target == directory_.domains().end() || !target->second.exists.value)) {
    Later(*this, std::move(done), absl::NotFoundError(absl::StrCat("there is no domain ", alias_of)));
    return;
  }
  absl::Status status = exists ? CheckDomain(domain) : absl::OkStatus();  // what is there can always be removed
  if (status.ok() && !alias_of.empty() && (alias_of == domain || !target->second.alias_of.value.empty())) {
    status = absl::InvalidArgumentError(absl::StrCat(alias_of, " is not a domain with mailboxes of its own"));
  }
  if (!status.ok()) {
    Later(*this, std::move(done), std::move(status));
    return;
  }
  Create(One({}, journal::DomainSet{std::move(domain), exists, std::move(alias_of)}), Answer(std::move(done)));
}

void NodeImpl::SetAlias(std::string address, std::vector<std::string> targets, Done done) {
  if (!IsAddress(address)) {
    Later(*this, std::move(done), absl::InvalidArgumentError(absl::StrCat(address, " is not an address")));
    return;
  }
  // The alias too: mail for an address of somebody else's domain never gets as far as an alias.
  const auto check = [this](const std::string& each) -> absl::Status {
    if (!IsAddress(each)) return absl::InvalidArgumentError(absl::StrCat(each, " is not an address"));
    const std::string domain = FoldAddress(each.substr(each.rfind('@') + 1));
    const auto known = directory_.domains().find(domain);
    if (known != directory_.domains().end() && known->second.exists.value) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(each, ": ", domain, " is not a domain of this server; nothing is forwarded elsewhere"));
  };
  // A target that is nobody would be found out by who writes to it.
  const auto check_target = [this, &check](const std::string& each) {
    absl::Status status = check(each);
    if (status.ok() && absl::IsNotFound(directory_.Resolve(each, options_.postmaster_accounts).status())) {
      status = absl::NotFoundError(absl::StrCat("there is no account or alias ", each,
                                                ": add it first; `gemel account list` shows the accounts"));
    }
    return status;
  };
  absl::Status status = targets.empty() ? absl::OkStatus() : check(address);
  for (const std::string& each : targets) status.Update(check_target(each));
  if (!status.ok()) {
    Later(*this, std::move(done), std::move(status));
    return;
  }
  Create(One({}, journal::AliasSet{FoldAddress(address), std::move(targets)}), Answer(std::move(done)));
}

void NodeImpl::SetHome(std::string name, uint8_t to, Done done) {
  const Account* account = directory_.FindName(name);
  absl::Status status;
  if (account == nullptr) {
    status = NoSuchAccount(name);
  } else if (to > 1) {
    status = absl::InvalidArgumentError("the places of a pair are 0 and 1");
  } else if (account->home.value == to && !account->releasing) {
    status = absl::AlreadyExistsError(absl::StrCat(name, " is at home there already"));
  } else if (link_ == nullptr || !peer_counts_) {
    status = absl::UnavailableError("a home can be moved only while both servers are connected");
  } else if (!Orders(*account)) {
    status = absl::FailedPreconditionError(absl::StrCat("the home of ", name, " is the other server: say it there"));
  }
  LiveAccount* live = status.ok() ? Live(account->id) : nullptr;
  if (live == nullptr) {
    if (status.ok()) status = absl::UnavailableError(absl::StrCat(name, " cannot be opened for the moment"));
    Later(*this, std::move(done), std::move(status));
    return;
  }
  releasing_.insert(account->id);  // from here on nothing of it is ordered here
  journal::Release release;
  release.to_place = to;
  release.highest_modseq = std::max(live->given_modseq, live->state.highest_modseq);
  for (const auto& [id, mailbox] : live->state.mailboxes) {
    const auto given = live->given_uid_next.find(id);
    release.uidnexts.emplace_back(id,
                                  std::max(mailbox.uid_next, given == live->given_uid_next.end() ? 0 : given->second));
  }
  moving_[account->id].push_back(std::move(done));
  Create(One(account->id, std::move(release)), nullptr);
}

std::vector<AccountInfo> NodeImpl::Accounts() const {
  std::vector<AccountInfo> infos;
  for (const auto& [id, account] : directory_.accounts()) {
    if (!account.exists.value) continue;
    const std::optional<uint8_t> home = directory_.HomePlace(account);
    infos.push_back({id, account.name, account.home.value, account.enabled.value, home && *home == place()});
  }
  std::sort(infos.begin(), infos.end(), [](const AccountInfo& a, const AccountInfo& b) { return a.name < b.name; });
  return infos;
}

std::string NodeImpl::AccountName(const AccountId& id) const {
  const Account* account = directory_.Find(id);
  return account == nullptr ? id.hex() : account->name;
}

std::vector<Node::DomainInfo> NodeImpl::Domains() const {
  std::vector<DomainInfo> infos;
  for (const auto& [name, domain] : directory_.domains()) {
    if (domain.exists.value) infos.push_back({name, domain.alias_of.value});
  }
  return infos;
}

std::vector<Node::AliasInfo> NodeImpl::Aliases() const {
  std::vector<AliasInfo> infos;
  for (const auto& [name, alias] : directory_.aliases()) {
    if (!alias.targets.value.empty()) infos.push_back({alias.address, alias.targets.value});
  }
  return infos;
}

NodeStatus NodeImpl::Status() {
  NodeStatus status;
  status.version = GEMEL_VERSION;
  status.node = journal::HexU64(identity_.node);
  status.cluster = identity_.cluster.hex();
  status.place = place();
  status.incarnation = journal::HexU64(origin_.incarnation);
  status.generation = generation();
  const journal::GenerationBegin* current = directory_.generation();
  status.state = failed_                                             ? "failed"
                 : starting_                                         ? "starting"
                 : current == nullptr                                ? "unpaired"
                 : current->kind == journal::GenerationKind::kPaired ? "paired"
                                                                     : "solo";
  status.policy = NameOf(options_.ack_policy);
  status.peer_connected = link_ != nullptr;
  status.peer_counts = peer_counts_;
  if (identity_.peer) {
    status.peer_node = journal::HexU64(identity_.peer->node);
    status.peer_key_fingerprint = identity_.peer->key_fingerprint;
    if (last_heard_ms_ != 0) status.last_contact_ms = BootMillis() - last_heard_ms_;
  }
  status.key_fingerprint = identity_.key_fingerprint;
  const journal::VectorClock held = journal_->held();
  const auto entries = [](const journal::VectorClock& clock) {
    std::vector<OriginSeq> out;
    for (const auto& [origin, seq] : clock.entries()) {
      out.push_back({absl::StrCat(journal::HexU64(origin.node), "/", journal::HexU64(origin.incarnation)), seq});
    }
    return out;
  };
  status.clock = entries(held);
  status.peer_clock = entries(peer_held_);
  for (const auto& [origin, seq] : held.entries()) {
    if (!identity_.peer || origin.node != identity_.node) continue;
    // Those not durable here yet as well: a letter that waits for its place is not at rest.
    const journal::Seq last = origin == origin_ ? created_ : seq;
    status.lag_records_out += last - std::min(last, peer_held_.Get(origin));
    status.lag_bytes_out += journal_->BytesAfter(origin, peer_held_.Get(origin));
  }
  for (const auto& [origin, seq] : peer_held_.entries()) {
    if (origin.node != identity_.node) status.lag_records_in += seq - std::min(seq, held.Get(origin));
  }
  if (link_ != nullptr) {
    status.peer_version = link_->peer_version();
    status.catch_up_out = link_->CatchUpOut();
    status.catch_up_in = link_->CatchUpIn();
  }
  status.unprotected = identity_.peer ? Unprotected() : 0;
  if (status.unprotected > 0) status.unprotected_since_s = unprotected_since_s_;
  if (!operations_.empty()) status.oldest_unacknowledged_ms = BootMillis() - operations_.front().since_ms;
  for (const auto& [id, account] : directory_.accounts()) {
    if (!account.exists.value) continue;
    ++status.accounts;
    const Home home = HomeOf(id);
    if (home == Home::kHere) ++status.accounts_homed_here;
    if (home == Home::kPeerAway) ++status.accounts_read_only;
  }
  status.journal_bytes = journal_->bytes_on_disk();
  status.journal_oldest = journal_->oldest();
  status.journal_end = journal_->end();
  status.checkpoint_position = store_->last_checkpoint().position;
  status.store_backlog_bytes = store_->backlog_bytes();
  status.store_backlog_items = store_->backlog_items();
  status.free_bytes = free_bytes_;
  for (const auto& [key, problem] : problems_) status.problems.push_back(problem);
  if (frame_clock_.entries().size() > journal::kFrameClockOriginsMax / 2) {
    status.problems.push_back(
        {"warning",
         absl::StrCat("there were ", frame_clock_.entries().size(),
                      " starts of the two servers since both last had everything; each makes every frame longer"),
         "bring the other server back, and see why they are started so often"});
  }
  if (peer_disk_full_) {
    status.problems.push_back({"error", "the disk of the other server is full; mail is refused with a temporary error",
                               "make room there; this server takes mail again by itself"});
  }
  for (const std::string& name : options_.postmaster_accounts) {
    const Account* account = directory_.FindName(name);
    if (account != nullptr && account->enabled.value) continue;
    status.problems.push_back(
        {"warning",
         absl::StrCat(name, " of [delivery] postmaster ", account == nullptr ? "is no account" : "is disabled"),
         "correct gemeld.toml, or make the account; until then others get the mail for postmaster"});
  }
  return status;
}

std::vector<std::pair<std::string, std::string>> NodeImpl::Digests() {
  std::vector<std::pair<std::string, std::string>> digests;
  for (const auto& [id, account] : directory_.accounts()) {
    if (!account.exists.value) continue;
    LiveAccount* live = Live(id);
    digests.emplace_back(account.name,
                         live == nullptr ? "cannot be loaded" : absl::BytesToHexString(maildir::Digest(live->state)));
  }
  std::sort(digests.begin(), digests.end());
  return digests;
}

}  // namespace gemel::engine
