// Password hashes in Dovecot's notation: {SCHEME}hash.
//
//   made                ARGON2ID (19 MiB, t=2, p=1: 56 ms of a core on the reference machine)
//   verified            ARGON2ID ARGON2I BLF-CRYPT SHA512-CRYPT SHA256-CRYPT MD5-CRYPT CRYPT (as libxcrypt has it)
//                       SSHA SSHA256 SSHA512 SHA256 SHA512 (base64; .HEX, .B64 and .BASE64 behind the name as there)
//   only at import      PLAIN, CLEARTEXT: hashed anew, never stored
// All others are refused where they would be stored, so that nobody finds out at the login.
//
// All functions are thread-safe and slow on purpose: call them in Lane::kPasswords or in a tool.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::engine {

inline constexpr size_t kPasswordBytesMax = 512;

// InvalidArgument: longer than kPasswordBytesMax.
absl::StatusOr<std::string> HashPassword(std::string_view password);

// InvalidArgument: `stored` is no hash that CheckPasswordHash would take.
absl::StatusOr<bool> VerifyPassword(std::string_view password, std::string_view stored);

// OK for what VerifyPassword can verify at a bearable cost; else InvalidArgument that says what would be right.
absl::Status CheckPasswordHash(std::string_view stored);

// For the error texts and the manual.
std::string AcceptedPasswordSchemes();

struct PasswdEntry {
  std::string user;
  std::string hash;  // {SCHEME}...; what was PLAIN is hashed
  int line = 0;
};
// Dovecot's passwd-file: user:{SCHEME}hash[:more fields, ignored]; empty lines and #comments; without {SCHEME} it is
// CRYPT, as there. InvalidArgument, naming lines: nothing was taken.
absl::StatusOr<std::vector<PasswdEntry>> ParsePasswdFile(std::string_view text);

}  // namespace gemel::engine
