// Logging in: a cache of verified logins, and patience with those who guess.
//
// Threads: the loop.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/node_impl.h"
#include "journal/clock.h"

namespace gemel::engine {

// argon2 takes 56 ms of a core: who logs in again and again with the right password is recognised by a keyed hash of
// (stored hash, password), which changes with the password and is worth nothing outside this process (decision 25).
//
// All others stand in a line, one for each address (IPv6: /64): one password of it is checked at a time, and after a
// failure the next one not before the failure is answered. So hanging up saves a guesser nothing. Names that have just
// failed there let others go first: a telephone with an old password does not keep its neighbours out.
struct NodeImpl::Authenticator {
  explicit Authenticator(NodeImpl& node) : node_(node) { node_.env_.random.Fill(key_.data(), key_.size()); }

  using Done = std::function<void(absl::StatusOr<Authenticated>)>;
  void Begin(LoginAttempt attempt, Done done);

  static constexpr size_t kVerifiedMax = 10'000;
  static constexpr size_t kLinesMax = 10'000;  // then those where nobody waits go, whatever they remember
  static constexpr size_t kWaitingMax = 64;    // in one line
  static constexpr size_t kFailedNamesMax = 64;
  static constexpr uint64_t kDelayMs = 1000;  // for each failure that is remembered ...
  static constexpr uint64_t kFailuresMax = 15;
  static constexpr uint64_t kForgetMs = 60'000;  // ... which is one less after this long

 private:
  using Token = std::array<uint8_t, 32>;
  // What is to be checked, and who logs in when it is right.
  struct Credentials {
    Authenticated account;
    std::string stored_hash;
    bool possible = false;
    Token token{};
  };
  struct Line {
    uint64_t failures = 0;
    uint64_t failed_ms = 0;              // when they were that many
    uint64_t free_ms = 0;                // no check before this
    bool busy = false;                   // one is checked, or its time is waited for
    std::set<std::string> failed_names;  // as long as a failure is remembered
    std::deque<std::pair<LoginAttempt, Done>> waiting;
    uint64_t FailuresNow(uint64_t now_ms) const {
      const uint64_t forgotten = (now_ms - failed_ms) / kForgetMs;
      return forgotten >= failures ? 0 : failures - forgotten;
    }
  };

  static std::string NameOf(const LoginAttempt& attempt);
  static std::string LineOf(const LoginAttempt& attempt);
  Credentials CredentialsOf(const LoginAttempt& attempt) const;
  void Learn(const Token& token);
  void Forget();
  void Next(const std::string& name);  // a line that is not busy
  void Check(const std::string& name);
  void Failed(const LoginAttempt& attempt, Line& line, Done done);

  NodeImpl& node_;
  std::array<uint8_t, 32> key_{};
  absl::flat_hash_map<Token, std::list<Token>::iterator> verified_;
  std::list<Token> oldest_first_;
  absl::flat_hash_map<std::string, Line> lines_;  // by LineOf
};

}  // namespace gemel::engine
