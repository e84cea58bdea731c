// Accounts in memory: loading, what the home gives out, what it owes after a record, who is connected.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/lanes.h"
#include "engine/node_impl.h"
#include "engine/sessions.h"
#include "journal/log.h"

namespace gemel::engine {

using journal::Log;
using journal::Record;

namespace {
constexpr size_t kMendedAtOnce = 16;

// Above the last message that has a flag or keyword (service.h, RecentFrom).
Uid RecentFromFlags(const Mailbox& mailbox) {
  const auto last = std::find_if(mailbox.messages.rbegin(), mailbox.messages.rend(),
                                 [](const Message& message) { return message.flags != 0 || message.keywords != 0; });
  return last == mailbox.messages.rend() ? 0 : last->uid + 1;
}

}  // namespace

LiveAccount* NodeImpl::LiveIfLoaded(const AccountId& id) {
  const auto found = live_.find(id);
  return found == live_.end() ? nullptr : found->second.get();
}

LiveAccount* NodeImpl::Live(const AccountId& id) {
  if (LiveAccount* live = LiveIfLoaded(id)) {
    live->last_used_ms = BootMillis();
    return live;
  }
  const Account* account = directory_.Find(id);
  if (account == nullptr) return nullptr;
  auto live = std::make_unique<LiveAccount>();
  absl::StatusOr<AccountState> state = store_->Load(id);
  if (const auto lacks = passed_over_.find(id); lacks != passed_over_.end()) {
    if (absl::IsNotFound(state.status())) state = AccountState{};
    if (state.ok()) {
      state->id = id;
      state->name = account->name;
      state = CatchUp(*std::move(state), lacks->second);
    }
  }
  if (state.ok()) {
    live->state = *std::move(state);
  } else if (absl::IsNotFound(state.status())) {
    live->state.applied = {};
  } else if (absl::IsDataLoss(state.status())) {
    Log(journal::LogLevel::kWarning, "index_rebuilding",
        {{"account", account->name}, {"why", std::string(state.status().message())}});
    absl::StatusOr<AccountState> rebuilt = RebuildState(*account);
    if (!rebuilt.ok()) {
      AddProblem(absl::StrCat("account:", account->name),
                 {"error", absl::StrCat(account->name, " cannot be loaded: ", std::string(rebuilt.status().message())),
                  "copy its directory away, then ask `gemel replay --account` for its state from the journal"});
      PassOver(id, committed_end_);
      return nullptr;
    }
    live->state = *std::move(rebuilt);
  } else {
    AddProblem(absl::StrCat("account:", account->name),
               {"error", absl::StrCat(account->name, " cannot be loaded: ", std::string(state.status().message())),
                "check the disk; it is tried again every second, and the journal keeps what comes for it"});
    PassOver(id, committed_end_);
    Log(journal::LogLevel::kError, "account_not_loaded",
        {{"account", account->name}, {"error", std::string(state.status().message())}});
    return nullptr;
  }
  SolveProblem(absl::StrCat("account:", account->name));
  live->state.id = id;
  live->state.name = account->name;
  live->last_used_ms = BootMillis();
  // Now, before anything arrives with flags.
  for (const auto& [mailbox_id, mailbox] : live->state.mailboxes) {
    recent_from_.try_emplace(mailbox_id, RecentFromFlags(mailbox));
  }
  // Records of ours that wait for their confirmation have taken UIDs and MODSEQs already.
  for (const QueuedFrame& queued : own_.frames) {
    for (const Record& record : queued.frame->records) {
      if (record.account == id) NoteGiven(*live, record);
    }
  }
  for (const ApplyQueue::Grouped& grouped : own_.group) {
    const Record& record = grouped.frame->records[grouped.index];
    if (record.account == id) NoteGiven(*live, record);
  }
  return (live_[id] = std::move(live)).get();
}

// Records from `begin` on may not have been applied to it.
void NodeImpl::PassOver(const AccountId& id, journal::Position begin) {
  const auto [at, first] = passed_over_.emplace(id, begin);
  if (!first) at->second = std::min(at->second, begin);
  if (mending_) mending_->erase(id);  // once more, then
}

// Each second, some of them. What was passed over has no files yet either: those come from the journal.
void NodeImpl::MendPassedOver() {
  if (passed_over_.empty() || mending_ || failed_ || replaying_) return;
  std::set<AccountId> round;
  auto next = passed_over_.upper_bound(mended_last_);
  for (size_t left = std::min(kMendedAtOnce, passed_over_.size()); left > 0; --left) {
    if (next == passed_over_.end()) next = passed_over_.begin();
    const AccountId id = mended_last_ = next->first;
    ++next;
    if (directory_.Find(id) != nullptr && Live(id) != nullptr) round.insert(id);
  }
  if (round.empty()) return;
  mending_ = round;
  VerifyFiles(round, [this](const std::map<AccountId, absl::Status>& failed) {
    const std::set<AccountId> verified = *std::exchange(mending_, std::nullopt);
    for (const AccountId& id : verified) {
      const Account* account = directory_.Find(id);
      LiveAccount* live = account == nullptr ? nullptr : Live(id);
      if (live == nullptr) continue;
      if (const auto found = failed.find(id); found != failed.end()) {
        AddProblem(
            absl::StrCat("account:", account->name),
            {"error",
             absl::StrCat("files of ", account->name, " cannot be put back: ", std::string(found->second.message())),
             "check the disk; it is tried again every second"});
        continue;
      }
      SolveProblem(absl::StrCat("account:", account->name));
      SolveProblem(absl::StrCat("account:", id.hex()));
      Log(journal::LogLevel::kInfo, "account_caught_up", {{"account", account->name}});
      passed_over_.erase(id);
      AfterApplied(*live);
    }
    maildir::StoreBatch batch;  // of nothing: the checkpoint may go on
    batch.applied = std::make_shared<const journal::VectorClock>(applied_);
    batch.position = MaterialisedPosition();
    store_->Enqueue(std::move(batch));
    if (!to_rebuild_.empty() && missing_.empty()) RebuildMended();
  });
}

bool NodeImpl::Orders(const Account& account) const {
  if (failed_ || starting_ || releasing_.contains(account.id)) return false;
  if (pairing_generation_ && account.home.value != place()) return false;
  const std::optional<uint8_t> home = directory_.HomePlace(account);
  return home && *home == place();
}

Home NodeImpl::HomeOf(const AccountId& id) const {
  const Account* account = directory_.Find(id);
  if (account == nullptr || Orders(*account)) return Home::kHere;
  const std::optional<uint8_t> home = directory_.HomePlace(*account);
  if (home && *home == place()) return Home::kHere;
  return link_ != nullptr && peer_counts_ ? Home::kPeer : Home::kPeerAway;
}

journal::Generation NodeImpl::generation() const {
  return directory_.generation() == nullptr ? 0 : directory_.generation()->number;
}

ModSeq NodeImpl::GiveModSeq(LiveAccount& live) {
  const journal::GenerationBegin* current = directory_.generation();
  const ModSeq base = ModSeqLaneBase(generation(), current->kind, place());
  live.given_modseq = NextModSeq(std::max(live.given_modseq, live.state.highest_modseq), base);
  return live.given_modseq;
}

Uid NodeImpl::GiveUid(LiveAccount& live, const Mailbox& mailbox) {
  Uid& next = live.given_uid_next[mailbox.id];
  const Uid uid = NextUid(std::max(next, mailbox.uid_next), mailbox.uid_validity, place());
  next = uid + 1;
  return uid;
}

uint32_t NodeImpl::GiveUidValidity(LiveAccount& live) {
  live.given_uid_validity = NextUidValidity(std::max(live.given_uid_validity, live.state.last_uid_validity),
                                            static_cast<uint32_t>(NowSeconds()), place());
  return live.given_uid_validity;
}

void NodeImpl::NoteGiven(LiveAccount& live, const Record& record) {
  const auto uid = [&live](const MailboxId& mailbox, Uid given) {
    Uid& next = live.given_uid_next[mailbox];
    next = std::max(next, given + 1);
  };
  const auto modseq = [&live](ModSeq given) { live.given_modseq = std::max(live.given_modseq, given); };
  std::visit(
      [&](const auto& body) {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (requires { body.modseq; }) modseq(body.modseq);
        if constexpr (std::is_same_v<Body, journal::Deliver>) {
          if (body.order) uid(body.order->mailbox, body.order->uid), modseq(body.order->modseq);
        } else if constexpr (std::is_same_v<Body, journal::Copy>) {
          uid(body.order.mailbox, body.order.uid), modseq(body.order.modseq);
        } else if constexpr (std::is_same_v<Body, journal::Place>) {
          for (const auto& placed : body.messages) uid(body.mailbox, placed.uid), live.placing.insert(placed.message);
        } else if constexpr (std::is_same_v<Body, journal::Move>) {
          for (const auto& placed : body.messages) uid(body.to, placed.uid);
        } else if constexpr (std::is_same_v<Body, journal::MailboxCreate>) {
          live.given_uid_validity = std::max(live.given_uid_validity, body.uid_validity);
          if (body.mailbox == InboxOf(live.state.id)) live.creating_built_ins = true;
        }
      },
      record.body);
}

void NodeImpl::AfterApplied(LiveAccount& live) {
  const Account* account = directory_.Find(live.state.id);
  const bool has_inbox = live.state.Find(InboxOf(live.state.id)) != nullptr;
  if (has_inbox) {
    if (std::exchange(live.creating_built_ins, false)) TryHeldOpens();
  }
  if (account == nullptr || !Orders(*account)) return;
  if (!has_inbox) {
    if (live.creating_built_ins) return;
    live.creating_built_ins = true;
    std::vector<Record> records;
    for (const BuiltInMailbox& each : kBuiltInMailboxes) {
      journal::MailboxCreate create;
      create.mailbox = journal::BuiltInMailboxId(account->id, each.name);
      create.name = each.name;
      create.uid_validity = GiveUidValidity(live);
      create.modseq = GiveModSeq(live);
      create.special_use = each.special_use;
      create.subscribed = true;
      records.push_back({account->id, 0, false, std::move(create)});
    }
    Create(std::move(records), nullptr);
    return;
  }
  // Letters that the other node took, or that came before their mailbox: one Place for each mailbox (decision 5).
  std::map<MailboxId, std::vector<Dot>> places;
  for (const auto& [dot, unplaced] : live.state.unplaced) {
    if (!live.placing.insert(dot).second) continue;
    const Mailbox* mailbox = live.state.Find(unplaced.wanted);
    places[mailbox != nullptr ? mailbox->id : InboxOf(live.state.id)].push_back(dot);
  }
  for (const auto& [mailbox_id, dots] : places) {
    journal::Place placing;
    placing.mailbox = mailbox_id;
    placing.modseq = GiveModSeq(live);
    for (const Dot& dot : dots) placing.messages.push_back({dot, GiveUid(live, *live.state.Find(mailbox_id))});
    Create(SplitMessages(account->id, std::move(placing)), nullptr);
  }
}

void NodeImpl::OpenAccount(const AccountId& id, AccountListener& listener,
                           std::function<void(absl::StatusOr<std::unique_ptr<AccountSession>>)> done) {
  TryOpen({id, &listener, std::move(done), BootMillis()});
}

bool NodeImpl::MustHold(const Account& account) const {
  // Of its last changes, which clients may have seen, nobody knows yet whether the peer has them.
  if (waiting_again_.contains(account.id)) return true;
  // The link has just broken, and nobody knows yet whether the home is away. So no session is read-only while the peer
  // counts, and needs to be closed when the link is back.
  return peer_counts_ && link_ == nullptr && !Orders(account);
}

void NodeImpl::TryHeldOpens() {
  for (HeldOpen& open : std::exchange(held_opens_, {})) TryOpen(std::move(open));
}

void NodeImpl::TryOpen(HeldOpen open) {
  PostSafely([this, open = std::move(open)] {
    const auto& [id, listener, done, since_ms] = open;
    if (stopping_ || failed_) return done(absl::UnavailableError("this server is going down"));
    const Account* account = directory_.Find(id);
    if (starting_ || (account != nullptr && MustHold(*account))) {
      if (BootMillis() - since_ms < kClientWaitMs) return held_opens_.push_back(open);
      return done(absl::UnavailableError("the mailbox cannot be shown before the other server is back; try again"));
    }
    if (account == nullptr || !account->enabled.value) {
      return done(absl::PermissionDeniedError("the account does not exist or is disabled"));
    }
    LiveAccount* live = Live(id);
    if (live == nullptr) return done(absl::UnavailableError("the mailbox cannot be opened for the moment"));
    const bool ours = Orders(*account);
    if (!ours && HomeOf(id) == Home::kPeer) {
      return done(absl::UnavailableError("the mailbox is at home on the other server; please reconnect"));
    }
    if (live->state.Find(InboxOf(id)) == nullptr) {
      // A new account: its mailboxes are on their way.
      if (ours && BootMillis() - since_ms < kClientWaitMs) {
        held_opens_.push_back(open);
        return AfterApplied(*live);
      }
      return done(absl::UnavailableError("the mailbox is not here yet; try again in a moment"));
    }
    LookForStrangers(id);
    done(std::make_unique<AccountSessionImpl>(*this, *live, *listener, !ours));
  });
}

void NodeImpl::CloseSessions(const AccountId& account, std::string_view reason) {
  LiveAccount* live = LiveIfLoaded(account);
  if (live == nullptr) return;
  for (AccountSessionImpl* session : live->sessions) session->TellClosed(reason);
}

// One that the store cannot write stays: it could not be loaded again before.
void NodeImpl::EvictIdle() {
  if (store_full_ || checkpoint_full_) return;
  const uint64_t now = BootMillis();
  std::vector<std::shared_ptr<const AccountState>> changed;
  absl::erase_if(live_, [&](const auto& entry) {
    LiveAccount& live = *entry.second;
    const bool idle = live.sessions.empty() && live.in_flight == 0 && live.placing.empty() &&
                      live.state.unplaced.empty() && now - live.last_used_ms > options_.idle_account_ms &&
                      !parked_.contains(entry.first);
    if (idle && uidlists_due_.erase(entry.first) > 0) {
      changed.push_back(std::make_shared<const AccountState>(std::move(live.state)));
    }
    return idle;
  });
  WriteUidlists(std::move(changed));
}

journal::Guid NodeImpl::NewGuid() {
  journal::Guid guid;
  env_.random.Fill(guid.bytes.data(), guid.bytes.size());
  return guid;
}

MailboxId NodeImpl::NewMailboxId() {
  MailboxId id;
  env_.random.Fill(id.bytes.data(), id.bytes.size());
  return id;
}

absl::Status NodeImpl::CheckProxy(const ProxyHello& hello) const {
  const Account* account = directory_.Find(hello.account);
  if (account == nullptr || !account->enabled.value) {
    return absl::NotFoundError("the other server does not know this account yet");
  }
  if (hello.generation != generation()) return absl::UnavailableError("the servers are of different generations");
  if (!Orders(*account)) return absl::UnavailableError("the account's home is not here");
  return absl::OkStatus();
}

}  // namespace gemel::engine
