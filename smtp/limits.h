// What one mailbox may get. One SmtpLimits is shared by all sessions of the daemon. (How many connections there may be
// is the listeners' business: engine/net_server.h.)
//
// Threads: the loop only.
#pragma once
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "journal/ids.h"

namespace gemel::smtp {

class SmtpLimits {
 public:
  SmtpLimits() = default;
  SmtpLimits(const SmtpLimits&) = delete;
  SmtpLimits& operator=(const SmtpLimits&) = delete;

  // What a mail bomb may put into one account in a minute. 0: no limit.
  void set_messages_per_mailbox_minute_max(uint64_t max) { max_ = max; }

  // False: the account has had its share of this minute.
  bool MayTakeMessage(const journal::AccountId& account, int64_t now_s);
  void CountMessage(const journal::AccountId& account, int64_t now_s);

 private:
  uint64_t& Count(const journal::AccountId& account, int64_t now_s);

  uint64_t max_ = 0;
  int64_t minute_ = 0;
  absl::flat_hash_map<journal::AccountId, uint64_t> by_account_;  // in this minute
};

}  // namespace gemel::smtp
