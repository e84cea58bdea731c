#include "smtp/limits.h"

namespace gemel::smtp {

bool SmtpLimits::Connect(const std::string& address, bool loopback) {
  if (options_.connections_max != 0 && connections_ >= options_.connections_max) return false;
  if (!loopback) {
    uint32_t& count = by_address_[address];
    if (options_.connections_per_address_max != 0 && count >= options_.connections_per_address_max) return false;
    ++count;
  }
  ++connections_;
  return true;
}

void SmtpLimits::Disconnect(const std::string& address, bool loopback) {
  --connections_;
  if (loopback) return;
  const auto it = by_address_.find(address);
  if (it != by_address_.end() && --it->second == 0) by_address_.erase(it);
}

uint32_t& SmtpLimits::Count(const journal::AccountId& account, int64_t now_s) {
  if (now_s / 60 != minute_) {
    minute_ = now_s / 60;
    by_account_.clear();
  }
  return by_account_[account];
}

bool SmtpLimits::MayTakeMessage(const journal::AccountId& account, int64_t now_s) {
  const uint32_t max = options_.messages_per_mailbox_minute_max;
  return max == 0 || Count(account, now_s) < max;
}

void SmtpLimits::CountMessage(const journal::AccountId& account, int64_t now_s) {
  if (options_.messages_per_mailbox_minute_max != 0) ++Count(account, now_s);
}

}  // namespace gemel::smtp
