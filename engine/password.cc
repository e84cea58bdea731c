#include "engine/password.h"

#include <argon2.h>
#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "journal/clock.h"

namespace gemel::engine {
namespace {

// What we make. A stored hash may cost at most the larger figures: verifying it must not take the node down.
constexpr uint32_t kArgonKib = 19 * 1024, kArgonPasses = 2, kArgonLanes = 1;
constexpr uint32_t kArgonKibMax = 256 * 1024, kArgonPassesMax = 16;
constexpr uint32_t kBcryptCostMax = 14, kShaCryptRoundsMax = 1'000'000;
constexpr size_t kSaltBytes = 16, kHashBytes = 32;

enum class Kind { kArgon, kCrypt, kDigest, kPlain };
struct Scheme {
  const char* name;
  Kind kind;
  const char* prefix;  // of kArgon and kCrypt; "": any that libxcrypt knows
  const char* digest;  // of kDigest, as OpenSSL calls it
  bool salted;
};
constexpr Scheme kSchemes[] = {
    {"ARGON2ID", Kind::kArgon, "$argon2id$", "", true},
    {"ARGON2I", Kind::kArgon, "$argon2i$", "", true},
    {"BLF-CRYPT", Kind::kCrypt, "$2", "", true},
    {"SHA512-CRYPT", Kind::kCrypt, "$6$", "", true},
    {"SHA256-CRYPT", Kind::kCrypt, "$5$", "", true},
    {"MD5-CRYPT", Kind::kCrypt, "$1$", "", true},
    {"CRYPT", Kind::kCrypt, "", "", true},
    {"SSHA", Kind::kDigest, "", "SHA1", true},
    {"SSHA256", Kind::kDigest, "", "SHA256", true},
    {"SSHA512", Kind::kDigest, "", "SHA512", true},
    {"SHA256", Kind::kDigest, "", "SHA256", false},
    {"SHA512", Kind::kDigest, "", "SHA512", false},
    {"PLAIN", Kind::kPlain, "", "", false},
    {"CLEARTEXT", Kind::kPlain, "", "", false},
};

struct Parsed {
  const Scheme* scheme = nullptr;
  bool hex = false;
  std::string hash;
};

absl::StatusOr<Parsed> Parse(std::string_view stored) {
  const size_t end = stored.find('}');
  if (!stored.starts_with('{') || end == std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a password hash begins with its scheme, such as {ARGON2ID}; accepted: ", AcceptedPasswordSchemes()));
  }
  std::string name = absl::AsciiStrToUpper(absl::string_view(stored.data() + 1, end - 1));
  Parsed parsed;
  parsed.hash = std::string(stored.substr(end + 1));
  const size_t dot = name.find('.');
  std::string encoding;
  if (dot != std::string::npos) {
    encoding = name.substr(dot + 1);
    name.resize(dot);
  }
  for (const Scheme& scheme : kSchemes) {
    if (name == scheme.name) parsed.scheme = &scheme;
  }
  parsed.hex = encoding == "HEX";
  const bool known_encoding = encoding.empty() || (parsed.scheme != nullptr && parsed.scheme->kind == Kind::kDigest &&
                                                   (parsed.hex || encoding == "B64" || encoding == "BASE64"));
  if (parsed.scheme == nullptr || !known_encoding) {
    return absl::InvalidArgumentError(absl::StrCat("password scheme {", absl::CEscape(name),
                                                   encoding.empty() ? "" : ".", absl::CEscape(encoding),
                                                   "} is not accepted; accepted: ", AcceptedPasswordSchemes()));
  }
  return parsed;
}

absl::Status Bad(const Parsed& parsed, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat("not a {", parsed.scheme->name, "} hash: ", why));
}

// The number behind `key`, such as "m=" in "$argon2id$v=19$m=19456,t=2,p=1$..."; nullopt without.
std::optional<uint32_t> NumberBehind(const std::string& hash, std::string_view key) {
  const size_t at = hash.find(key);
  if (at == std::string::npos) return std::nullopt;
  uint32_t value = 0;
  const char* const begin = hash.data() + at + key.size();
  const auto result = std::from_chars(begin, hash.data() + hash.size(), value);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

absl::Status CheckArgon(const Parsed& parsed) {
  const auto kib = NumberBehind(parsed.hash, "$m="), passes = NumberBehind(parsed.hash, ",t=");
  const auto parts = std::count(parsed.hash.begin(), parsed.hash.end(), '$');  // v= came with argon2 1.3
  if (!parsed.hash.starts_with(parsed.scheme->prefix) || !kib || !passes || parts < 4 || parts > 5) {
    return Bad(parsed, "it looks like $argon2id$v=19$m=...,t=...,p=...$salt$hash");
  }
  if (*kib > kArgonKibMax || *passes > kArgonPassesMax) return Bad(parsed, "too costly (at most m=262144, t=16)");
  return absl::OkStatus();
}

absl::Status CheckCrypt(const Parsed& parsed) {
  if (!parsed.hash.starts_with(parsed.scheme->prefix)) return Bad(parsed, "it begins differently");
  const int salt = crypt_checksalt(parsed.hash.c_str());
  if (salt != CRYPT_SALT_OK && salt != CRYPT_SALT_METHOD_LEGACY)
    return Bad(parsed, "the system's crypt() does not know it");
  const std::string& hash = parsed.hash;
  if (hash.starts_with("$2") && hash.size() > 6) {
    uint32_t cost = 0;
    std::from_chars(hash.data() + 4, hash.data() + 6, cost);
    if (cost > kBcryptCostMax) return Bad(parsed, "too costly (at most 14)");
  }
  if (const auto rounds = NumberBehind(hash, "$rounds="); rounds && *rounds > kShaCryptRoundsMax) {
    return Bad(parsed, "too costly (at most 1000000 rounds)");
  }
  return absl::OkStatus();
}

// Digest, then salt.
absl::StatusOr<std::string> DecodeDigest(const Parsed& parsed) {
  std::string bytes;
  if (parsed.hex) {
    if (parsed.hash.size() % 2 != 0 || !std::all_of(parsed.hash.begin(), parsed.hash.end(), absl::ascii_isxdigit)) {
      return Bad(parsed, "it is not hexadecimal");
    }
    bytes = absl::HexStringToBytes(parsed.hash);
  } else if (!absl::Base64Unescape(parsed.hash, &bytes)) {
    return Bad(parsed, "it is not base64");
  }
  const auto digest_bytes = static_cast<size_t>(EVP_MD_get_size(EVP_get_digestbyname(parsed.scheme->digest)));
  if (parsed.scheme->salted ? bytes.size() <= digest_bytes : bytes.size() != digest_bytes) {
    return Bad(parsed, "its length is wrong");
  }
  return bytes;
}

absl::Status Check(const Parsed& parsed) {
  switch (parsed.scheme->kind) {
    case Kind::kArgon:
      return CheckArgon(parsed);
    case Kind::kCrypt:
      return CheckCrypt(parsed);
    case Kind::kDigest:
      return DecodeDigest(parsed).status();
    case Kind::kPlain:
      return absl::InvalidArgumentError("{PLAIN} is not stored: give the password, or import it from a passwd-file");
  }
  return absl::InternalError("unknown kind of scheme");
}

bool SameBytes(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool VerifyCrypt(const Parsed& parsed, std::string_view password) {
  if (password.find('\0') != std::string_view::npos) return false;  // crypt() would end there
  const auto data = std::make_unique<crypt_data>();
  std::string copy(password);
  const char* const result = crypt_r(copy.c_str(), parsed.hash.c_str(), data.get());
  OPENSSL_cleanse(copy.data(), copy.size());
  const bool matches = result != nullptr && result[0] != '*' && SameBytes(result, parsed.hash);
  OPENSSL_cleanse(data.get(), sizeof *data);
  return matches;
}

bool VerifyDigest(const Parsed& parsed, const std::string& stored, std::string_view password) {
  const EVP_MD* const digest = EVP_get_digestbyname(parsed.scheme->digest);
  const auto digest_bytes = static_cast<size_t>(EVP_MD_get_size(digest));
  std::string text(password);
  text += stored.substr(digest_bytes);
  unsigned char computed[EVP_MAX_MD_SIZE];
  unsigned int computed_bytes = 0;
  EVP_Digest(text.data(), text.size(), computed, &computed_bytes, digest, nullptr);
  OPENSSL_cleanse(text.data(), text.size());
  return CRYPTO_memcmp(computed, stored.data(), digest_bytes) == 0;
}

}  // namespace

std::string AcceptedPasswordSchemes() {
  std::string names;
  for (const Scheme& scheme : kSchemes) {
    if (scheme.kind != Kind::kPlain) absl::StrAppend(&names, names.empty() ? "" : " ", scheme.name);
  }
  return names;
}

absl::StatusOr<std::string> HashPassword(std::string_view password) {
  if (password.size() > kPasswordBytesMax) return absl::InvalidArgumentError("a password has at most 512 bytes");
  uint8_t salt[kSaltBytes];
  journal::SystemRandom().Fill(salt, sizeof salt);
  char encoded[256];
  const int error = argon2id_hash_encoded(kArgonPasses, kArgonKib, kArgonLanes, password.data(), password.size(), salt,
                                          sizeof salt, kHashBytes, encoded, sizeof encoded);
  if (error != ARGON2_OK) return absl::ResourceExhaustedError(absl::StrCat("argon2: ", argon2_error_message(error)));
  return absl::StrCat("{ARGON2ID}", encoded);
}

absl::StatusOr<bool> VerifyPassword(std::string_view password, std::string_view stored) {
  const auto parsed = Parse(stored);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status status = Check(*parsed); !status.ok()) return status;
  if (password.size() > kPasswordBytesMax) return false;
  switch (parsed->scheme->kind) {
    case Kind::kArgon: {
      const argon2_type type = parsed->hash.starts_with("$argon2id$") ? Argon2_id : Argon2_i;
      const int result = argon2_verify(parsed->hash.c_str(), password.data(), password.size(), type);
      if (result == ARGON2_OK) return true;
      if (result == ARGON2_VERIFY_MISMATCH) return false;
      return Bad(*parsed, argon2_error_message(result));
    }
    case Kind::kCrypt:
      return VerifyCrypt(*parsed, password);
    default:
      return VerifyDigest(*parsed, *DecodeDigest(*parsed), password);
  }
}

absl::Status CheckPasswordHash(std::string_view stored) {
  const auto parsed = Parse(stored);
  return parsed.ok() ? Check(*parsed) : parsed.status();
}

absl::StatusOr<std::vector<PasswdEntry>> ParsePasswdFile(std::string_view text) {
  std::vector<PasswdEntry> entries;
  std::vector<std::pair<size_t, std::string>> plain;  // index, password
  std::string problems;
  int line_number = 0, problem_count = 0;
  const auto problem = [&](std::string_view what) {
    if (++problem_count <= 10) {
      absl::StrAppend(&problems, problems.empty() ? "" : "; ", "line ", line_number, ": ",
                      absl::string_view(what.data(), what.size()));
    }
  };
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.front() == '#') continue;
    const size_t colon = line.find(':');
    const std::string_view user = line.substr(0, colon);
    if (colon == std::string_view::npos || user.empty() || user.find_first_of(" \t") != std::string_view::npos) {
      problem("not user:{SCHEME}hash");
      continue;
    }
    std::string_view field = line.substr(colon + 1);
    field = field.substr(0, field.find(':'));
    PasswdEntry entry{std::string(user), std::string(field), line_number};
    if (!entry.hash.starts_with('{')) entry.hash.insert(0, "{CRYPT}");
    const auto parsed = Parse(entry.hash);
    if (!parsed.ok()) {
      problem(std::string(parsed.status().message()));
      continue;
    }
    if (parsed->scheme->kind == Kind::kPlain && !parsed->hash.empty()) {
      plain.emplace_back(entries.size(), parsed->hash);
    } else if (absl::Status status = Check(*parsed); !status.ok()) {
      problem(std::string(status.message()));
      continue;
    }
    entries.push_back(std::move(entry));
  }
  if (problem_count > 10) absl::StrAppend(&problems, "; and ", problem_count - 10, " more");
  if (problem_count > 0) return absl::InvalidArgumentError(problems);
  for (const auto& [index, password] : plain) {
    auto hash = HashPassword(password);
    if (!hash.ok()) return hash.status();
    entries[index].hash = *std::move(hash);
  }
  return entries;
}

}  // namespace gemel::engine
