// What one client, one address and one mailbox may use. One SmtpLimits is shared by all sessions of the daemon.
//
// Threads: the loop only. A limit of 0 is none.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "journal/ids.h"

namespace gemel::smtp {

struct LimitOptions {
  uint32_t connections_max = 4096;               // SMTP and LMTP together
  uint32_t connections_per_address_max = 200;    // clients on this host are not counted by address
  uint32_t messages_per_mailbox_minute_max = 0;  // what a mail bomb may put into one account
};

class SmtpLimits {
 public:
  explicit SmtpLimits(LimitOptions options) : options_(options) {}
  SmtpLimits(const SmtpLimits&) = delete;
  SmtpLimits& operator=(const SmtpLimits&) = delete;

  // True: counted, and to be given back by Disconnect with the same arguments.
  bool Connect(const std::string& address, bool loopback);
  void Disconnect(const std::string& address, bool loopback);

  // False: the account has had its share of this minute.
  bool MayTakeMessage(const journal::AccountId& account, int64_t now_s);
  void CountMessage(const journal::AccountId& account, int64_t now_s);

  uint32_t connections() const { return connections_; }
  void set_options(LimitOptions options) { options_ = options; }  // for a reload; what is there stays

 private:
  uint32_t& Count(const journal::AccountId& account, int64_t now_s);

  LimitOptions options_;
  uint32_t connections_ = 0;
  absl::flat_hash_map<std::string, uint32_t> by_address_;
  int64_t minute_ = 0;
  absl::flat_hash_map<journal::AccountId, uint32_t> by_account_;  // in this minute
};

}  // namespace gemel::smtp
