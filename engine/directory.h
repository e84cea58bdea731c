// What both nodes must agree on besides mail: accounts, homes, domains, aliases, and the history of generations.
// A pure function of the records; last writer per field by hybrid time, the greater node id breaking ties.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/record.h"

namespace gemel::engine {

// A field with the time of its last write.
template <class T>
struct Timed {
  T value{};
  journal::Hlc time = 0;
  journal::NodeId node = 0;
  // True if the write is the later one and was taken.
  bool Write(T next, journal::Hlc at, journal::NodeId by) {
    if (at < time || (at == time && by < node)) return false;
    value = std::move(next);
    time = at;
    node = by;
    return true;
  }
};

struct Account {
  journal::AccountId id;
  std::string name;
  Timed<uint8_t> home;     // written by its creation and by each Take
  bool releasing = false;  // released and not yet taken: nobody orders
  uint8_t releasing_to = 0;
  journal::Dot release;
  Timed<std::string> password_hash;
  Timed<bool> enabled{true};
  Timed<bool> exists{false};
};
struct Domain {
  std::string name;
  Timed<bool> exists{false};
  Timed<std::string> alias_of;
};
struct Alias {
  std::string address;
  Timed<std::vector<std::string>> targets;
};

class Directory {
 public:
  // `dot` names the record. Records of accounts' mail have no effect.
  void Apply(const journal::Dot& dot, const journal::Record& record);

  // When what this record would set was last set; 0: never, or it sets nothing.
  journal::Hlc LastWrite(const journal::Record& record) const;

  const Account* Find(const journal::AccountId& id) const;
  const Account* FindName(std::string_view address) const;
  const std::map<journal::AccountId, Account>& accounts() const { return accounts_; }
  const std::map<std::string, Domain>& domains() const { return domains_; }
  const std::map<std::string, Alias>& aliases() const { return aliases_; }
  const std::vector<journal::GenerationBegin>& generations() const { return generations_; }
  // The current one; nullopt before the node's first record of the kind.
  const journal::GenerationBegin* generation() const { return generations_.empty() ? nullptr : &generations_.back(); }

  // Who orders the account: its home in Paired, the writer of a Solo in that. nullopt: nobody for the moment.
  std::optional<uint8_t> HomePlace(const Account& account) const;

  // Accounts that `address` reaches, following domain aliases, aliases and user+folder. postmaster without a domain is
  // that of our first domain, by name. Where neither an alias nor an account has the name postmaster, those of
  // `postmasters` that exist and are enabled get its mail; where there is none, the account of the domain that was made
  // first, or of all domains. NotFound: no such user.
  // An alias reaches what of its targets can be reached; where none can, it is refused as the first of them.
  // InvalidArgument: not a domain of ours. PermissionDenied: disabled. FailedPrecondition: aliases lead in a circle.
  struct Target {
    const Account* account = nullptr;
    std::string folder;
  };
  absl::StatusOr<std::vector<Target>> Resolve(std::string_view address,
                                              const std::vector<std::string>& postmasters) const;

  // The whole as a checksummed file: a list of records that Apply rebuilds it from.
  std::string Encode() const;
  absl::Status Decode(std::string_view bytes);   // DataLoss: damaged
  uint64_t version() const { return version_; }  // grows with every change

 private:
  // The enabled account of the domain ("": of any) that was made first; of two made at once, the lower id.
  const Account* FirstAccount(const std::string& domain) const;
  absl::Status ResolveInto(std::string address, const std::vector<std::string>& postmasters, int depth,
                           std::map<const Alias*, absl::Status>& followed, std::vector<Target>& out) const;

  std::map<journal::AccountId, Account> accounts_;
  std::map<std::string, Domain> domains_;
  std::map<std::string, Alias> aliases_;
  std::vector<journal::GenerationBegin> generations_;
  uint64_t version_ = 0;
  // Found by FirstAccount since the last change: it looks at all accounts.
  mutable std::map<std::string, journal::AccountId> first_accounts_;
};

// Lower case, for comparing addresses. (Local parts are compared without case, as Postfix and Dovecot do.)
std::string FoldAddress(std::string_view address);

// Rendezvous hashing over (cluster, place, account): decision 9.
uint8_t PreferredHome(const journal::ClusterId& cluster, const journal::AccountId& account);

}  // namespace gemel::engine
