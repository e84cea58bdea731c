#include "smtp/limits.h"

namespace gemel::smtp {

uint64_t& SmtpLimits::Count(const journal::AccountId& account, int64_t now_s) {
  if (now_s / 60 != minute_) {
    minute_ = now_s / 60;
    by_account_.clear();
  }
  return by_account_[account];
}

bool SmtpLimits::MayTakeMessage(const journal::AccountId& account, int64_t now_s) {
  return max_ == 0 || Count(account, now_s) < max_;
}

void SmtpLimits::CountMessage(const journal::AccountId& account, int64_t now_s) {
  if (max_ != 0) ++Count(account, now_s);
}

}  // namespace gemel::smtp
