// The identities that records carry: who wrote a record, which record, which account, mailbox and message.
// All are values. Text form is lower-case hexadecimal.
#pragma once
#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace gemel::journal {

using NodeId = uint64_t;       // random, drawn once by `gemel init`
using Incarnation = uint64_t;  // random, drawn at every start, so that no (origin, seq) is ever written twice
using Seq = uint64_t;          // dense from 1 within an origin
using Generation = uint32_t;   // numbered era of the pair

// Who created a record: one run of one node.
struct Origin {
  NodeId node = 0;
  Incarnation incarnation = 0;
  auto operator<=>(const Origin&) const = default;
};

// Names one record for ever. A message is the dot of the Deliver, Append or Copy that made it.
struct Dot {
  Origin origin;
  Seq seq = 0;
  auto operator<=>(const Dot&) const = default;
};

// 128 bits; Tag keeps an account from being taken for a mailbox.
template <class Tag>
struct Id128 {
  std::array<uint8_t, 16> bytes{};
  auto operator<=>(const Id128&) const = default;
  bool empty() const { return *this == Id128{}; }
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  std::string hex() const;                                     // 32 digits
  static std::optional<Id128> FromHex(std::string_view text);  // nullopt unless 32 digits
  static Id128 FromBytes(std::string_view sixteen) {           // exactly 16 bytes
    Id128 id;
    std::memcpy(id.bytes.data(), sixteen.data(), id.bytes.size());
    return id;
  }
};
using ClusterId = Id128<struct ClusterTag>;
using AccountId = Id128<struct AccountTag>;  // derived from the account's name: AccountIdOf
using MailboxId = Id128<struct MailboxTag>;  // IMAP MAILBOXID (RFC 8474)
using Guid = Id128<struct GuidTag>;          // IMAP EMAILID (RFC 8474); copies share it

// The first 128 bits of SHA-256 over a domain-separating prefix and the normalised (lower-case) name.
AccountId AccountIdOf(std::string_view address);
// INBOX and the special-use mailboxes that come with an account: the same id on both nodes.
MailboxId BuiltInMailboxId(const AccountId& account, std::string_view name);

std::string HexU64(uint64_t value);  // 16 digits
std::optional<uint64_t> U64FromHex(std::string_view text);

// Lets any of these be a key of absl::flat_hash_map.
template <typename H>
H AbslHashValue(H h, const Origin& o) {
  return H::combine(std::move(h), o.node, o.incarnation);
}
template <typename H>
H AbslHashValue(H h, const Dot& d) {
  return H::combine(std::move(h), d.origin, d.seq);
}
template <typename H, typename Tag>
H AbslHashValue(H h, const Id128<Tag>& id) {
  return H::combine(std::move(h), id.bytes);
}

}  // namespace gemel::journal
