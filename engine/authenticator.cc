#include "engine/authenticator.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/password.h"
#include "journal/log.h"

namespace gemel::engine {

using journal::Log;
using journal::LogLevel;

NodeImpl::Authenticator::Token NodeImpl::Authenticator::TokenOf(std::string_view stored_hash,
                                                                std::string_view password) const {
  std::string text(stored_hash);
  text += '\0';
  text += password;
  Token token{};
  unsigned int size = token.size();
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), token.data(), &size);
  OPENSSL_cleanse(text.data(), text.size());
  return token;
}

void NodeImpl::Authenticator::Learn(const Token& token) {
  if (verified.contains(token)) return;
  verified[token] = oldest_first.insert(oldest_first.end(), token);
  if (verified.size() > kVerifiedMax) {
    verified.erase(oldest_first.front());
    oldest_first.pop_front();
  }
}

uint64_t NodeImpl::Authenticator::Failed(const std::string& address, uint64_t now_ms) {
  if (failures.size() > kAddressesMax) {
    absl::erase_if(failures, [now_ms](const auto& entry) { return now_ms - entry.second.last_ms > kForgetMs; });
    if (failures.size() > kAddressesMax) failures.clear();
  }
  Failures& entry = failures[address];
  if (now_ms - entry.last_ms > kForgetMs) entry.count = 0;
  entry.last_ms = now_ms;
  ++entry.count;
  return std::min(kDelayMs * entry.count, kDelayMsMax);
}

void NodeImpl::Authenticate(std::string user, std::string password, std::string client_address,
                            std::function<void(absl::StatusOr<Authenticated>)> done) {
  const Account* account = directory_.FindName(user);
  if (account == nullptr && !pulling_back_.empty()) {
    return PostSafely([done = std::move(done)] {
      done(absl::UnavailableError("this server fetches its records from the other one; try again"));
    });
  }
  // An unknown user costs as much time as a wrong password: nobody learns which names exist.
  static const std::string kNobody =
      "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$Z2VtZWxub2JvZHkwMDAwMA$w2pXkmuAmdRF8iP2vn1ZBjIRB6iSlNLCQUZ3aH2jlDc";
  const bool possible = account != nullptr && account->enabled.value && !account->password_hash.value.empty();
  std::string stored = possible ? account->password_hash.value : kNobody;
  const Authenticator::Token token = authenticator_->TokenOf(stored, password);
  Authenticated authenticated;
  if (possible) authenticated = {account->id, account->name};
  if (possible && authenticator_->Knows(token)) {
    authenticator_->Succeeded(client_address);
    return PostSafely([done = std::move(done), authenticated] { done(authenticated); });
  }
  env_.workers.Post(Lane::kPasswords,
                    [this, alive = std::weak_ptr<bool>(alive_), loop = &env_.loop, possible, token,
                     stored = std::move(stored), password = std::move(password), authenticated, user = std::move(user),
                     client_address = std::move(client_address), done = std::move(done)]() mutable {
                      const absl::StatusOr<bool> matches = VerifyPassword(password, stored);
                      std::fill(password.begin(), password.end(), '\0');
                      loop->Post([this, alive, possible, token, authenticated, user, client_address, done, matches] {
                        if (alive.expired()) return;
                        if (!matches.ok()) {
                          Log(LogLevel::kError, "password_not_checked",
                              {{"user", user}, {"error", std::string(matches.status().message())}});
                        }
                        if (possible && matches.ok() && *matches) {
                          authenticator_->Learn(token);
                          authenticator_->Succeeded(client_address);
                          return done(authenticated);
                        }
                        AfterSafely(authenticator_->Failed(client_address, BootMillis()),
                                    [done] { done(absl::PermissionDeniedError("wrong user or password")); });
                      });
                    });
}

}  // namespace gemel::engine
