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
constexpr uint64_t kAdoptedBytesMax = 150ull << 20;  // of one letter: it is read as a whole
constexpr size_t kAdoptedAtOnce = 64;
constexpr size_t kAdoptedBytesAtOnce = 32 * 1024 * 1024;

// What another program put into a Maildir is text with either kind of line end; ours is LF (decision 8).
std::string ToLf(std::string bytes) {
  size_t out = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\r' && i + 1 < bytes.size() && bytes[i + 1] == '\n') continue;
    bytes[out++] = bytes[i];
  }
  bytes.resize(out);
  return bytes;
}

struct Letter {
  AccountId account;
  maildir::Stranger stranger;
  std::string bytes;
};

// Reads the strangers of these accounts, as many as are taken at once; the rest stays where it is until next time.
std::vector<Letter> ReadStrangers(maildir::Store& store, const std::vector<AccountId>& wanted,
                                  const std::vector<AccountId>& in_turn, const std::set<std::string>& adopting,
                                  std::vector<std::string>* too_big) {
  std::vector<Letter> letters;
  size_t bytes_sum = 0;
  const auto read = [&](const AccountId& account) {
    absl::StatusOr<std::vector<maildir::Stranger>> strangers = store.FindStrangers(account);
    if (!strangers.ok()) return;
    for (maildir::Stranger& stranger : *strangers) {
      if (adopting.contains(stranger.path)) continue;
      if (stranger.bytes > kAdoptedBytesMax) {
        too_big->push_back(stranger.path);
        continue;
      }
      if (letters.size() >= kAdoptedAtOnce || bytes_sum >= kAdoptedBytesAtOnce) return;
      absl::StatusOr<std::string> bytes = store.ReadStranger(stranger);
      if (!bytes.ok()) continue;
      bytes_sum += bytes->size();
      letters.push_back({account, std::move(stranger), ToLf(*std::move(bytes))});
    }
  };
  for (const AccountId& account : wanted) read(account);
  for (const AccountId& account : in_turn) {
    const absl::StatusOr<bool> some = store.MayHaveStrangers(account);
    if (some.ok() && *some) read(account);
  }
  return letters;
}

}  // namespace

void NodeImpl::LookForStrangers(const AccountId& account) {
  strangers_wanted_.insert(account);
  ScanForStrangers();
}

void NodeImpl::ScanForStrangers() {
  if (strangers_.running || starting_ || missing_in_tail_ || !AcceptingMail().ok()) return;
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
                                   wanted = std::move(wanted), in_turn = std::move(in_turn), adopting = adopting_] {
    std::vector<std::string> too_big;
    std::vector<Letter> letters = ReadStrangers(*store, wanted, in_turn, adopting, &too_big);
    loop->Post([this, alive, letters = std::move(letters), too_big = std::move(too_big)]() mutable {
      if (alive.expired()) return;
      strangers_.running = false;
      for (const std::string& path : too_big) {
        if (!adopting_.insert(path).second) continue;  // stays there: told once, and not looked at again
        Log(LogLevel::kWarning, "not_adopted", {{"file", path}, {"error", "larger than 150 MiB"}});
      }
      for (Letter& letter : letters) AdoptStranger(letter.account, letter.stranger, std::move(letter.bytes));
    });
  });
}

void NodeImpl::AdoptStranger(const AccountId& id, const maildir::Stranger& stranger, std::string bytes) {
  const Account* account = directory_.Find(id);
  if (account == nullptr || !AcceptingMail().ok()) return;
  LiveAccount* live = Live(id);
  if (live == nullptr || live->state.Find(stranger.mailbox) == nullptr) return;
  if (!adopting_.insert(stranger.path).second) return;
  AdoptedLetter letter;
  letter.mailbox = stranger.mailbox;
  letter.internal_date_s = stranger.mtime_s;
  letter.flags = stranger.flags;
  letter.bytes = std::move(bytes);
  Log(LogLevel::kInfo, "adopting", {{"account", account->name}, {"file", stranger.path}});
  Adopt(*live, *account, std::move(letter), [this, stranger](absl::Status status) {
    const auto end = [this, path = stranger.path](const absl::Status& ended) {
      adopting_.erase(path);
      if (ended.ok()) return;
      Log(LogLevel::kWarning, "not_adopted", {{"file", path}, {"error", std::string(ended.message())}});
    };
    if (!status.ok()) return end(status);
    env_.workers.Post(
        Lane::kStore, [alive = std::weak_ptr<bool>(alive_), store = store_, loop = &env_.loop, stranger, end] {
          const absl::Status removed = store->RemoveStranger(stranger);
          loop->Post([alive, removed, end, path = stranger.path] {
            if (alive.expired()) return;
            if (removed.ok()) return end(removed);
            // It stays in adopting_: else it would become mail again and again.
            Log(LogLevel::kWarning, "not_adopted",
                {{"file", path}, {"error", "adopted, and not removed: " + std::string(removed.message())}});
          });
        });
  });
}

}  // namespace gemel::engine
