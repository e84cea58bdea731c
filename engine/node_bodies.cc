// Letters' files that are gone: fetched from the peer, part by part, or looked for in this node's journal, many in one
// pass beside the loop. What somebody reads is asked of the peer first; what a check of the files finds is taken from
// the journal, and what that lacks waits until somebody reads it.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/journal_bodies.h"
#include "engine/link_session.h"
#include "engine/node_impl.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::LogLevel;

constexpr size_t kPartBytes = 256 * 1024;
constexpr uint64_t kPartWaitMs = 10'000;
// What a search has found goes to the loop in pieces of about this.
constexpr size_t kFoundBytesAtOnce = 8 * 1024 * 1024;

struct Place {
  MailboxId mailbox;  // zero: it waits for its Place
  const Message* message = nullptr;
};
Place PlaceOf(const AccountState& state, const Dot& dot) {
  for (const auto& [id, mailbox] : state.mailboxes) {
    if (const Message* message = mailbox.Find(dot)) return {id, message};
  }
  const auto unplaced = state.unplaced.find(dot);
  return unplaced == state.unplaced.end() ? Place() : Place{MailboxId{}, &unplaced->second.message};
}

}  // namespace

void NodeImpl::RestoreBody(const AccountId& account, const Message& message, std::function<void(absl::Status)> done) {
  Log(LogLevel::kWarning, "restoring_body", {{"account", account.hex()}, {"message", message.guid.hex()}});
  const BodyDone put_back = [this, account, dot = message.dot, done](const absl::StatusOr<std::string>& body) {
    done(PutBack(account, dot, body));
  };
  if (link_ == nullptr) return FindInJournal(message.dot, put_back);
  FetchFromPeer(account, message, [this, dot = message.dot, put_back](const absl::StatusOr<std::string>& body) {
    body.ok() ? put_back(body) : FindInJournal(dot, put_back);
  });
}

// ---- from the peer ----

void NodeImpl::FetchFromPeer(const AccountId& account, const Message& message, BodyDone done) {
  BodyFetch& fetch = fetches_[message.dot];
  fetch.waiting.push_back(std::move(done));
  if (fetch.waiting.size() > 1) return;
  fetch.account = account;
  fetch.bytes = message.bytes;
  AskForPart(message.dot, fetch);
}

void NodeImpl::AskForPart(const Dot& message, BodyFetch& fetch) {
  fetch.asked_ms = BootMillis();
  link_->Send(BodyRequest{fetch.account, message, fetch.collected.size()});
}

void NodeImpl::OnBodyPart(BodyPart part) {
  const auto found = fetches_.find(part.message);
  if (found == fetches_.end() || link_ == nullptr) return;
  BodyFetch& fetch = found->second;
  if (part.offset != fetch.collected.size()) return;  // of a fetch that was given up
  if (!part.found) return EndFetch(part.message, absl::NotFoundError("the other server does not have the letter"));
  fetch.collected += part.bytes;
  const bool goes_on = !part.bytes.empty() && fetch.collected.size() < fetch.bytes;
  if (!part.last && goes_on) return AskForPart(part.message, fetch);
  if (!part.last || fetch.collected.size() != fetch.bytes) {
    return EndFetch(part.message, absl::DataLossError("the other server's file of the letter has another size"));
  }
  EndFetch(part.message, std::move(fetch.collected));
}

void NodeImpl::EndFetch(const Dot& message, absl::StatusOr<std::string> result) {
  auto fetch = fetches_.extract(message);
  PostSafely([waiting = std::move(fetch.mapped().waiting), result = std::move(result)] {
    for (const BodyDone& done : waiting) done(result);
  });
}

// Whoever waits for a part that does not come is served from the journal.
void NodeImpl::EndLateFetches() {
  for (auto next = fetches_.begin(); next != fetches_.end();) {
    const auto& [message, fetch] = *next++;
    if (BootMillis() - fetch.asked_ms < kPartWaitMs) continue;
    EndFetch(Dot(message), absl::DeadlineExceededError("the other server does not send the letter"));
  }
}

BodyPart NodeImpl::LocalBodyPart(const BodyRequest& request) {
  BodyPart part{.message = request.message, .offset = request.offset, .found = false, .last = true, .bytes = {}};
  const LiveAccount* live = Live(request.account);
  if (live == nullptr) return part;
  const Place place = PlaceOf(live->state, request.message);
  if (place.message == nullptr || request.offset > place.message->bytes) return part;
  absl::StatusOr<std::shared_ptr<maildir::Body>> body =
      store_->OpenBody(request.account, place.mailbox, *place.message);
  if (!body.ok()) return part;
  absl::StatusOr<std::string> bytes = (*body)->Read(request.offset, kPartBytes);
  if (!bytes.ok()) return part;
  part.found = true;
  part.bytes = *std::move(bytes);
  part.last = request.offset + part.bytes.size() == (*body)->bytes();
  return part;
}

// ---- from the journal ----

struct NodeImpl::JournalSearch {
  JournalBodies bodies;
  std::map<Dot, std::vector<BodyDone>> waiting;
};

void NodeImpl::FindInJournal(const Dot& message, BodyDone done) {
  wanted_of_journal_[message].push_back(std::move(done));
  SearchJournal();
}

// While one search is under way the wishes for the next gather.
void NodeImpl::SearchJournal() {
  if (searching_journal_ || wanted_of_journal_.empty()) return;
  searching_journal_ = true;
  // Posted, so that all that is wanted in this step goes into one.
  PostSafely([this] {
    std::set<Dot> wanted;
    for (const auto& [message, waiting] : wanted_of_journal_) wanted.insert(message);
    SearchOn(std::make_shared<JournalSearch>(JournalBodies(env_.disk, JournalDirectory(), 0, wanted),
                                             std::exchange(wanted_of_journal_, {})));
  });
}

void NodeImpl::SearchOn(std::shared_ptr<JournalSearch> search) {
  env_.workers.Post(Lane::kRecovery, [this, alive = std::weak_ptr<bool>(alive_), loop = &env_.loop, search] {
    std::vector<JournalBodies::Found> found;
    absl::Status end;  // NotFound: there is no more
    for (size_t bytes = 0; bytes < kFoundBytesAtOnce && end.ok();) {
      absl::StatusOr<std::optional<JournalBodies::Found>> next = search->bodies.Next();
      if (!next.ok()) {
        end = next.status();
      } else if (!next->has_value()) {
        end = absl::NotFoundError("the journal does not have this letter, or not whole");
      } else {
        bytes += (*next)->bytes.size();
        found.push_back(**std::move(next));
      }
    }
    loop->Post([this, alive, search, found = std::move(found), end]() mutable {
      if (alive.expired()) return;
      for (JournalBodies::Found& each : found) {
        const absl::StatusOr<std::string> body = std::move(each.bytes);
        const auto waiting = search->waiting.extract(each.message);
        for (const BodyDone& done : waiting.mapped()) done(body);
      }
      if (end.ok()) return SearchOn(search);
      for (const auto& [message, waiting] : search->waiting) {
        for (const BodyDone& done : waiting) done(end);
      }
      searching_journal_ = false;
      SearchJournal();
    });
  });
}

// ---- files that are missing ----

absl::Status NodeImpl::PutBack(const AccountId& id, const Dot& message, const absl::StatusOr<std::string>& body) {
  const LiveAccount* live = Live(id);
  if (live == nullptr) return absl::UnavailableError("the mailbox cannot be opened for the moment");
  const Place place = PlaceOf(live->state, message);
  if (place.message == nullptr) return absl::OkStatus();
  if (!body.ok()) {
    Log(LogLevel::kWarning, "body_missing",
        {{"account", live->state.name},
         {"message", place.message->guid.hex()},
         {"error", std::string(body.status().message())}});
    return body.status();
  }
  if (body->size() != place.message->bytes) {
    return absl::DataLossError(
        absl::StrCat("the letter has ", place.message->bytes, " bytes, what was found of it ", body->size()));
  }
  return store_->RestoreBody(id, place.mailbox, *place.message, *body);
}

absl::Status NodeImpl::FindMissing(const AccountId& id, std::map<Dot, AccountId>* missing) {
  const LiveAccount* live = Live(id);
  if (live == nullptr) return absl::OkStatus();  // passed over: MendPassedOver verifies it
  absl::StatusOr<std::vector<maildir::Store::MissingBody>> found = store_->Reconcile(
      live->state, waiting_again_.contains(id) ? maildir::Store::Leftovers::kKeep : maildir::Store::Leftovers::kRemove);
  if (!found.ok()) return found.status();
  for (const maildir::Store::MissingBody& each : *found) missing->emplace(each.message.dot, id);
  return absl::OkStatus();
}

void NodeImpl::VerifyFiles(const std::set<AccountId>& accounts,
                           std::function<void(const std::map<AccountId, absl::Status>& failed)> done) {
  struct Round {
    std::map<AccountId, absl::Status> failed;
    size_t left = 0;
  };
  auto round = std::make_shared<Round>();
  std::map<Dot, AccountId> missing;
  for (const AccountId& id : accounts) {
    if (absl::Status status = FindMissing(id, &missing); !status.ok()) round->failed.emplace(id, std::move(status));
  }
  round->left = missing.size();
  if (missing.empty()) return done(round->failed);
  for (const auto& [dot, account] : missing) {
    FindInJournal(dot, [this, dot, account, round, done](const absl::StatusOr<std::string>& body) {
      absl::Status status = PutBack(account, dot, body);
      if (!status.ok() && !absl::IsNotFound(status)) round->failed.emplace(account, std::move(status));
      if (--round->left == 0) done(round->failed);
    });
  }
}

// What cannot be verified now is tried again each second (MendPassedOver).
void NodeImpl::VerifyLater(const AccountId& id, const absl::Status& why) {
  Log(LogLevel::kError, "files_not_verified", {{"account", id.hex()}, {"error", std::string(why.message())}});
  PassOver(id, store_->last_checkpoint().position);
}

// What waited at the start is applied: what no message names now never had one, or has one no more.
void NodeImpl::VerifyWaiting() {
  const bool waits = starting_ || (!own_.frames.empty() && own_.frames.front().frame->origin != origin_);
  if (waits || waiting_again_.empty()) return;
  SolveProblem("not_shown");
  VerifyFiles(std::exchange(waiting_again_, {}), [this](const std::map<AccountId, absl::Status>& failed) {
    for (const auto& [id, status] : failed) VerifyLater(id, status);
  });
}

// A crash may have left files of the last seconds missing, empty or torn: what was just replayed has them. What is
// older is looked for beside the loop.
void NodeImpl::VerifyReplayed(journal::Position from) {
  std::map<Dot, AccountId> missing;
  for (const AccountId& id : replayed_) {
    if (absl::Status status = FindMissing(id, &missing); !status.ok()) VerifyLater(id, status);
  }
  std::set<Dot> wanted;
  for (const auto& [dot, account] : missing) wanted.insert(dot);
  const auto put_back = [this](const AccountId& account, const Dot& dot, const absl::StatusOr<std::string>& body) {
    const absl::Status status = PutBack(account, dot, body);
    if (!status.ok() && !absl::IsNotFound(status)) VerifyLater(account, status);
  };
  JournalBodies bodies(env_.disk, JournalDirectory(), from, wanted);
  for (;;) {
    absl::StatusOr<std::optional<JournalBodies::Found>> next = bodies.Next();
    if (!next.ok() || !next->has_value()) break;  // what cannot be read here is looked for again below
    const Dot dot = (*next)->message;
    put_back(missing.extract(dot).mapped(), dot, std::move((*next)->bytes));
  }
  for (const auto& [dot, account] : missing) {
    FindInJournal(dot,
                  [put_back, dot, account](const absl::StatusOr<std::string>& body) { put_back(account, dot, body); });
  }
}

// Letters of the journal's tail that the index had already: no checkpoint says that their files are whole, so their
// bytes are compared. Copies are links, and are mended with them.
void NodeImpl::CompareIndexed(journal::Position from) {
  if (indexed_.empty()) return;
  const auto compare = [this](const Dot& dot, const journal::Deliver& deliver, const std::string& bytes) {
    const auto it = indexed_.find(dot);
    LiveAccount* live = it == indexed_.end() ? nullptr : Live(it->second);
    if (live == nullptr) return;
    absl::Status status;
    for (const auto& [mailbox_id, mailbox] : live->state.mailboxes) {
      for (const Message& message : mailbox.messages) {
        if (message.guid != deliver.guid) continue;
        status.Update(store_->RestoreBody(live->state.id, mailbox_id, message, bytes));
      }
    }
    if (const auto waiting = live->state.unplaced.find(dot); waiting != live->state.unplaced.end()) {
      status.Update(store_->RestoreBody(live->state.id, MailboxId{}, waiting->second.message, bytes));
    }
    if (!status.ok()) VerifyLater(live->state.id, status);
  };
  if (absl::Status status = ForEachBody(env_.disk, JournalDirectory(), from, compare); !status.ok()) {
    Log(LogLevel::kError, "files_not_verified", {{"error", std::string(status.message())}});
  }
  indexed_.clear();
}

}  // namespace gemel::engine
