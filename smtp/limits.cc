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

bool SmtpLimits::TakeMessage(const journal::AccountId& account, int64_t now_s) {
  if (options_.messages_per_mailbox_minute_max == 0) return true;
  if (now_s / 60 != minute_) {
    minute_ = now_s / 60;
    by_account_.clear();
  }
  uint32_t& count = by_account_[account];
  if (count >= options_.messages_per_mailbox_minute_max) return false;
  ++count;
  return true;
}

}  // namespace gemel::smtp
