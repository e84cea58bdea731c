#include "journal/ids.h"

#include <openssl/sha.h>

namespace gemel::journal {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Only ASCII: a mail address's other letters compare byte by byte (RFC 6532 asks for no case folding).
std::string LowerAscii(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <class Id>
Id FirstHalfOfSha256(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return Id::FromBytes({reinterpret_cast<const char*>(digest), 16});
}

}  // namespace

template <class Tag>
std::string Id128<Tag>::hex() const {
  std::string out;
  out.reserve(32);
  for (uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

template <class Tag>
std::optional<Id128<Tag>> Id128<Tag>::FromHex(std::string_view text) {
  if (text.size() != 32) return std::nullopt;
  Id128 id;
  for (size_t i = 0; i < id.bytes.size(); ++i) {
    const int high = DigitValue(text[2 * i]);
    const int low = DigitValue(text[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return id;
}

template struct Id128<ClusterTag>;
template struct Id128<AccountTag>;
template struct Id128<MailboxTag>;
template struct Id128<GuidTag>;

AccountId AccountIdOf(std::string_view address) {
  return FirstHalfOfSha256<AccountId>("gemel account\n" + LowerAscii(address));
}

MailboxId BuiltInMailboxId(const AccountId& account, std::string_view name) {
  std::string bytes = "gemel mailbox\n";
  bytes += account.view();
  bytes += name;
  return FirstHalfOfSha256<MailboxId>(bytes);
}

std::string HexU64(uint64_t value) {
  std::string out(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) out[i] = kDigits[value & 15];
  return out;
}

std::optional<uint64_t> U64FromHex(std::string_view text) {
  if (text.empty() || text.size() > 16) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    const int digit = DigitValue(c);
    if (digit < 0) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(digit);
  }
  return value;
}

}  // namespace gemel::journal
