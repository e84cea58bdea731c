// Letters that other programs put into the Maildirs become mail. Where somebody is logged in it is looked for them
// every second; the other accounts are looked at in turn, all of them within a minute. All of that is the store lane's
// work.
#include <algorithm>

#include "engine/node_impl.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Log;
using journal::LogLevel;

constexpr uint64_t kRoundMs = 60'000;
// A round ends a little before the next begins, also where a job takes longer than a tick.
constexpr uint64_t kRoundWorkMs = 45'000;
constexpr size_t kAccountsAtOnce = 512;
constexpr uint64_t kAdoptedBytesMax = 150ull << 20;  // of one letter
// So many are on their way at a time, each with about a piece and what a delivery keeps of a large body.
constexpr size_t kAdoptedAtOnce = 32;
constexpr size_t kPieceBytes = 256 * 1024;

// What another program put into a Maildir is text with either kind of line end; ours is LF (decision 8). `cr`: the
// piece before ended in a CR, which is kept back; `last`: no piece follows.
std::string ToLf(std::string_view piece, bool last, bool& cr) {
  std::string out;
  out.reserve(piece.size() + 1);
  for (const char each : piece) {
    if (cr && each != '\n') out.push_back('\r');
    cr = each == '\r';
    if (!cr) out.push_back(each);
  }
  if (cr && last) out.push_back('\r');
  return out;
}

struct Found {
  std::vector<std::pair<AccountId, maildir::Stranger>> strangers;
  std::vector<std::string> too_big;
  std::vector<AccountId> again;  // accounts with more than is taken at once: it stays where it is until next time
};

Found FindStrangers(maildir::Store& store, const std::vector<AccountId>& wanted, const std::vector<AccountId>& in_turn,
                    const std::set<std::string>& adopting, size_t room) {
  Found found;
  const auto look = [&](const AccountId& account) {
    absl::StatusOr<std::vector<maildir::Stranger>> strangers = store.FindStrangers(account);
    if (!strangers.ok()) return;
    for (maildir::Stranger& stranger : *strangers) {
      if (adopting.contains(stranger.path)) continue;
      if (stranger.bytes > kAdoptedBytesMax) {
        found.too_big.push_back(stranger.path);
      } else if (found.strangers.size() < room) {
        found.strangers.emplace_back(account, std::move(stranger));
      } else {
        return found.again.push_back(account);
      }
    }
  };
  for (const AccountId& account : wanted) look(account);
  for (const AccountId& account : in_turn) {
    const absl::StatusOr<bool> some = store.MayHaveStrangers(account);
    if (some.ok() && *some) look(account);
  }
  return found;
}

}  // namespace

// A letter on its way from another program's file into the journal.
struct Adoption {
  maildir::Stranger stranger;
  uint64_t offset = 0;  // of the next piece
  bool cr = false;      // the last piece ended in a CR
  std::unique_ptr<AccountSession::Append> letter;
};

void NodeImpl::LookForStrangers(const AccountId& account) {
  strangers_wanted_.insert(account);
  ScanForStrangers();
}

void NodeImpl::ScanForStrangers() {
  if (strangers_.running || starting_ || missing_in_tail_ || adoptions_.size() >= kAdoptedAtOnce) return;
  if (!AcceptingMail().ok()) return;
  const uint64_t now = BootMillis();
  if (strangers_.left.empty() && (strangers_.began_ms == 0 || now - strangers_.began_ms >= kRoundMs)) {
    strangers_.began_ms = now;
    for (const auto& [id, account] : directory_.accounts()) {
      if (account.exists.value) strangers_.left.push_back(id);
    }
    strangers_.all = strangers_.left.size();
  }
  // As many as the time that has gone asks for.
  const uint64_t due = (now - strangers_.began_ms + options_.heartbeat_ms) * strangers_.all / kRoundWorkMs + 1;
  const size_t done = strangers_.all - strangers_.left.size();
  std::vector<AccountId> in_turn;
  while (!strangers_.left.empty() && done + in_turn.size() < due && in_turn.size() < kAccountsAtOnce) {
    in_turn.push_back(strangers_.left.back());
    strangers_.left.pop_back();
  }
  std::vector<AccountId> wanted(strangers_wanted_.begin(), strangers_wanted_.end());
  strangers_wanted_.clear();
  // The files of these may be ahead of their messages: what is nobody's now may be somebody's.
  for (std::vector<AccountId>* ids : {&wanted, &in_turn}) {
    std::erase_if(*ids,
                  [this](const AccountId& id) { return waiting_again_.contains(id) || passed_over_.contains(id); });
  }
  if (wanted.empty() && in_turn.empty()) return;
  strangers_.running = true;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop,
                                   wanted = std::move(wanted), in_turn = std::move(in_turn), adopting = adopting_,
                                   room = kAdoptedAtOnce - adoptions_.size()] {
    Found found = FindStrangers(*store, wanted, in_turn, adopting, room);
    loop->Post([this, alive, found = std::move(found)] {
      if (alive.expired()) return;
      strangers_.running = false;
      strangers_wanted_.insert(found.again.begin(), found.again.end());
      for (const std::string& path : found.too_big) {
        if (!adopting_.insert(path).second) continue;  // stays there: told once, and not looked at again
        Log(LogLevel::kWarning, "not_adopted", {{"file", path}, {"error", "larger than 150 MiB"}});
      }
      for (const auto& [account, stranger] : found.strangers) AdoptStranger(account, stranger);
    });
  });
}

void NodeImpl::AdoptStranger(const AccountId& id, const maildir::Stranger& stranger) {
  const Account* account = directory_.Find(id);
  LiveAccount* live = account == nullptr ? nullptr : Live(id);
  if (live == nullptr || live->state.Find(stranger.mailbox) == nullptr) return;
  if (!adopting_.insert(stranger.path).second) return;
  Log(LogLevel::kInfo, "adopting", {{"account", account->name}, {"file", stranger.path}});
  adoptions_[stranger.path] = std::make_shared<Adoption>(Adoption{stranger, 0, false, BeginAdoption(id, stranger)});
  AdoptMore(stranger.path);
}

void NodeImpl::AdoptMore(const std::string& path) {
  const auto found = adoptions_.find(path);
  if (found == adoptions_.end()) return;
  if (absl::Status status = AcceptingMail(); !status.ok()) return EndAdoption(path, status);
  const Adoption& adoption = *found->second;
  env_.workers.Post(Lane::kStore, [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop, path,
                                   stranger = adoption.stranger, offset = adoption.offset] {
    absl::StatusOr<std::string> piece = store->ReadStranger(stranger, offset, kPieceBytes);
    loop->Post([this, alive, path, piece = std::move(piece)]() mutable {
      if (!alive.expired()) AdoptPiece(path, std::move(piece));
    });
  });
}

void NodeImpl::AdoptPiece(const std::string& path, absl::StatusOr<std::string> piece) {
  if (!piece.ok()) return EndAdoption(path, piece.status());
  Adoption& adoption = *adoptions_.at(path);
  adoption.offset += piece->size();
  const bool last = adoption.offset == adoption.stranger.bytes;
  adoption.letter->Write(ToLf(*piece, last, adoption.cr));
  if (!last) return adoption.letter->OnWritable([this, path] { AdoptMore(path); });
  adoption.letter->Finish([this, path, stranger = adoption.stranger](const CommandResult& result) {
    result.status.ok() ? RemoveAdopted(path, stranger) : EndAdoption(path, result.status);
  });
}

// In the step in which it was applied, so that its checkpoint comes later on the store's lane and makes both durable: a
// letter whose file is still there after a crash is replayed, and known again.
void NodeImpl::RemoveAdopted(const std::string& path, const maildir::Stranger& stranger) {
  env_.workers.Post(Lane::kStore,
                    [this, alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop, path, stranger] {
                      const absl::Status removed = store->RemoveStranger(stranger);
                      loop->Post([this, alive, path, removed] {
                        if (alive.expired()) return;
                        if (removed.ok()) return EndAdoption(path, removed);
                        // It stays in adopting_: else it would become mail again and again.
                        adoptions_.erase(path);
                        Log(LogLevel::kWarning, "not_adopted",
                            {{"file", path}, {"error", "adopted, and not removed: " + std::string(removed.message())}});
                      });
                    });
}

void NodeImpl::NoteAdopted(const journal::Frame& frame) {
  for (size_t i = 0; i < frame.records.size(); ++i) {
    const auto* deliver = std::get_if<journal::Deliver>(&frame.records[i].body);
    if (deliver == nullptr || deliver->via != Via::kAdopted) continue;
    adopted_before_.emplace(
        AdoptedFile{frame.records[i].account, deliver->wanted, deliver->internal_date_s, deliver->content_hash},
        Dot{frame.origin, frame.first_seq + i});
    strangers_wanted_.insert(frame.records[i].account);
  }
}

// And the letter is still there: what was expunged since and lies there again was brought back.
bool NodeImpl::WasAdopted(const LiveAccount& live, const journal::Deliver& deliver) const {
  const auto [begin, end] =
      adopted_before_.equal_range({live.state.id, deliver.wanted, deliver.internal_date_s, deliver.content_hash});
  return std::any_of(begin, end, [&live](const auto& entry) {
    const auto& mailboxes = live.state.mailboxes;
    return live.state.unplaced.contains(entry.second) ||
           std::any_of(mailboxes.begin(), mailboxes.end(),
                       [&entry](const auto& each) { return each.second.Find(entry.second) != nullptr; });
  });
}

void NodeImpl::EndAdoption(const std::string& path, const absl::Status& status) {
  if (!status.ok()) Log(LogLevel::kWarning, "not_adopted", {{"file", path}, {"error", std::string(status.message())}});
  adopting_.erase(path);
  adoptions_.erase(path);
}

}  // namespace gemel::engine
