// Logging in: a cache of verified logins, and patience with those who guess.
//
// Threads: the loop.
#pragma once
#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "engine/node_impl.h"
#include "journal/clock.h"

namespace gemel::engine {

// argon2 takes 56 ms of a core: who logs in again and again with the right password is recognised by a keyed hash of
// (stored hash, password), which changes with the password and is worth nothing outside this process (decision 25).
struct NodeImpl::Authenticator {
  explicit Authenticator(journal::Random& random) { random.Fill(key.data(), key.size()); }

  using Token = std::array<uint8_t, 32>;
  Token TokenOf(std::string_view stored_hash, std::string_view password) const;
  bool Knows(const Token& token) const { return verified.contains(token); }
  void Learn(const Token& token);

  // How long a failed login of this address waits for its answer; grows with its failures, forgets after a while.
  uint64_t Failed(const std::string& address, uint64_t now_ms);
  void Succeeded(const std::string& address) { failures.erase(address); }

  static constexpr size_t kVerifiedMax = 10'000;
  static constexpr size_t kAddressesMax = 10'000;
  static constexpr uint64_t kDelayMs = 1000;
  static constexpr uint64_t kDelayMsMax = 15'000;
  static constexpr uint64_t kForgetMs = 10 * 60 * 1000;

  struct Failures {
    uint64_t count = 0;
    uint64_t last_ms = 0;
  };
  std::array<uint8_t, 32> key{};
  absl::flat_hash_map<Token, std::list<Token>::iterator> verified;
  std::list<Token> oldest_first;
  absl::flat_hash_map<std::string, Failures> failures;
};

}  // namespace gemel::engine
