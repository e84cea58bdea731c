#include "engine/authenticator.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "engine/directory.h"
#include "engine/net_address.h"
#include "engine/password.h"
#include "journal/log.h"

namespace gemel::engine {

using journal::Log;
using journal::LogLevel;

NodeImpl::Authenticator::Credentials NodeImpl::Authenticator::CredentialsOf(const LoginAttempt& attempt) const {
  // An unknown user costs as much time as a wrong password: nobody learns which names exist.
  static const std::string kNobody =
      "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$Z2VtZWxub2JvZHkwMDAwMA$w2pXkmuAmdRF8iP2vn1ZBjIRB6iSlNLCQUZ3aH2jlDc";
  Credentials out;
  const Account* account = node_.directory_.FindName(attempt.user);
  out.possible = account != nullptr && account->enabled.value && !account->password_hash.value.empty();
  if (out.possible) out.account = {account->id, account->name};
  out.stored_hash = out.possible ? account->password_hash.value : kNobody;
  std::string text = out.stored_hash;
  text += '\0';
  text += attempt.password;
  unsigned int size = out.token.size();
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), out.token.data(), &size);
  OPENSSL_cleanse(text.data(), text.size());
  return out;
}

void NodeImpl::Authenticator::Learn(const Token& token) {
  if (verified_.contains(token)) return;
  verified_[token] = oldest_first_.insert(oldest_first_.end(), token);
  if (verified_.size() > kVerifiedMax) {
    verified_.erase(oldest_first_.front());
    oldest_first_.pop_front();
  }
}

void NodeImpl::Authenticator::Forget() {
  if (lines_.size() < kLinesMax) return;
  const auto erase_idle = [this](uint64_t failures_max, uint64_t now_ms) {
    absl::erase_if(lines_, [failures_max, now_ms](const auto& entry) {
      const Line& line = entry.second;
      return !line.busy && line.waiting.empty() && line.FailuresNow(now_ms) <= failures_max;
    });
  };
  erase_idle(0, node_.BootMillis());
  if (lines_.size() >= kLinesMax) erase_idle(kFailuresMax, node_.BootMillis());
}

std::string NodeImpl::Authenticator::NameOf(const LoginAttempt& attempt) {
  constexpr size_t kNameBytesMax = 256;
  return FoldAddress(attempt.user.substr(0, kNameBytesMax));
}

// By network; a webmail on this host speaks for many people, so there each name has a line of its own.
std::string NodeImpl::Authenticator::LineOf(const LoginAttempt& attempt) {
  const std::string& address = attempt.client_address;
  const bool here = address == "unix" || address == "::1" || address.starts_with("127.");
  return here ? address + " " + NameOf(attempt) : NetworkOf(address);
}

void NodeImpl::Authenticator::Begin(LoginAttempt attempt, Done done) {
  const Credentials credentials = CredentialsOf(attempt);
  if (credentials.possible && verified_.contains(credentials.token)) {
    return node_.PostSafely([done = std::move(done), account = credentials.account] { done(account); });
  }
  Forget();
  const std::string name = LineOf(attempt);
  Line& line = lines_[name];
  if (line.waiting.size() >= kWaitingMax) {
    return node_.PostSafely(
        [done = std::move(done)] { done(absl::UnavailableError("too many logins from this address; try again")); });
  }
  line.waiting.emplace_back(std::move(attempt), std::move(done));
  if (!line.busy) Next(name);
}

void NodeImpl::Authenticator::Next(const std::string& name) {
  const auto found = lines_.find(name);
  Line& line = found->second;
  const uint64_t now_ms = node_.BootMillis();
  if (line.waiting.empty()) {
    if (line.FailuresNow(now_ms) == 0) lines_.erase(found);
    return;
  }
  line.busy = true;
  node_.AfterSafely(line.free_ms > now_ms ? line.free_ms - now_ms : 0, [this, name] { Check(name); });
}

void NodeImpl::Authenticator::Check(const std::string& name) {
  Line& line = lines_.find(name)->second;
  if (line.FailuresNow(node_.BootMillis()) == 0) line.failed_names.clear();
  auto first = std::find_if(line.waiting.begin(), line.waiting.end(), [&line](const auto& waiting) {
    return !line.failed_names.contains(NameOf(waiting.first));
  });
  if (first == line.waiting.end()) first = line.waiting.begin();
  LoginAttempt attempt = std::move(first->first);
  Done done = std::move(first->second);
  line.waiting.erase(first);
  Credentials credentials = CredentialsOf(attempt);
  if (credentials.possible && verified_.contains(credentials.token)) {  // learnt while this one waited
    node_.PostSafely([done = std::move(done), account = credentials.account] { done(account); });
    line.busy = false;
    return Next(name);
  }
  node_.env_.workers.Post(Lane::kPasswords, [this, alive = std::weak_ptr<bool>(node_.alive_), loop = &node_.env_.loop,
                                             name, attempt = std::move(attempt), done = std::move(done),
                                             credentials = std::move(credentials)]() mutable {
    const absl::StatusOr<bool> matches = VerifyPassword(attempt.password, credentials.stored_hash);
    OPENSSL_cleanse(attempt.password.data(), attempt.password.size());
    loop->Post([this, alive, name, attempt, done, credentials, matches] {
      if (alive.expired()) return;
      if (!matches.ok()) {
        Log(LogLevel::kError, "password_not_checked",
            {{"user", attempt.user}, {"error", std::string(matches.status().message())}});
      }
      Line& checked = lines_.find(name)->second;
      checked.busy = false;
      if (credentials.possible && matches.ok() && *matches) {
        Learn(credentials.token);
        node_.PostSafely([done, account = credentials.account] { done(account); });
      } else {
        Failed(attempt, checked, done);
      }
      Next(name);
    });
  });
}

void NodeImpl::Authenticator::Failed(const LoginAttempt& attempt, Line& line, Done done) {
  const uint64_t now_ms = node_.BootMillis();
  if (line.failed_names.size() < kFailedNamesMax) line.failed_names.insert(NameOf(attempt));
  line.failures = std::min(line.FailuresNow(now_ms) + 1, kFailuresMax);
  line.failed_ms = now_ms;
  line.free_ms = now_ms + line.failures * kDelayMs;
  // IMAP is all that logs in, and docs/operator.md tells fail2ban how this line looks.
  Log(LogLevel::kWarning, "imap_login_failed",
      {{"user", attempt.user}, {"rip", attempt.client_address}, {"session", attempt.session_id}});
  node_.AfterSafely(line.failures * kDelayMs,
                    [done = std::move(done)] { done(absl::PermissionDeniedError("wrong user or password")); });
}

void NodeImpl::Authenticate(LoginAttempt attempt, std::function<void(absl::StatusOr<Authenticated>)> done) {
  if (!pulling_back_.empty() && directory_.FindName(attempt.user) == nullptr) {
    return PostSafely([done = std::move(done)] {
      done(absl::UnavailableError("this server fetches its records from the other one; try again"));
    });
  }
  authenticator_->Begin(std::move(attempt), std::move(done));
}

}  // namespace gemel::engine
