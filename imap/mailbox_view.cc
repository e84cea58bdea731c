#include "imap/mailbox_view.h"

#include <algorithm>

#include "imap/response.h"

namespace gemel::imap {

using engine::EventKind;
using engine::Uid;

MailboxView::MailboxView(const engine::Mailbox& mailbox, bool read_only, Uid recent_from)
    : id_(mailbox.id), read_only_(read_only), recent_from_(recent_from) {
  uids_.reserve(mailbox.messages.size());
  for (const engine::Message& message : mailbox.messages) uids_.push_back(message.uid);
}

uint32_t MailboxView::recent() const {
  return static_cast<uint32_t>(uids_.end() - std::lower_bound(uids_.begin(), uids_.end(), recent_from_));
}

uint32_t MailboxView::NumberOf(Uid uid) const {
  const auto it = std::lower_bound(uids_.begin(), uids_.end(), uid);
  return it != uids_.end() && *it == uid ? static_cast<uint32_t>(it - uids_.begin()) + 1 : 0;
}

bool MailboxView::Resolve(const SequenceSet& set, bool uid, std::vector<uint32_t>* numbers) const {
  numbers->clear();
  const SequenceSet resolved = set.Resolved(uid ? (uids_.empty() ? 0 : uids_.back()) : exists());
  if (!uid && uids_.empty()) {
    // 1:* of an empty mailbox is nothing; message 5 of it is a mistake.
    return std::all_of(set.ranges().begin(), set.ranges().end(), [](const SequenceSet::Range& range) {
      return range.first == SequenceSet::kStar || range.last == SequenceSet::kStar;
    });
  }
  for (const auto& [first, last] : resolved.ranges()) {
    if (!uid) {
      if (last > exists()) return false;
      for (uint32_t number = first; number <= last; ++number) numbers->push_back(number);
      continue;
    }
    auto it = std::lower_bound(uids_.begin(), uids_.end(), first);
    for (; it != uids_.end() && *it <= last; ++it) {
      numbers->push_back(static_cast<uint32_t>(it - uids_.begin()) + 1);
    }
  }
  return true;
}

void MailboxView::Note(const std::vector<engine::MailboxEvent>& events) {
  for (const engine::MailboxEvent& event : events) {
    switch (event.kind) {
      case EventKind::kNew:
        if (uids_.empty() || event.uid > uids_.back()) new_.insert(event.uid);
        break;
      case EventKind::kFlags:
        // The client asks for a new message's flags itself.
        if (NumberOf(event.uid) != 0) changed_.insert(event.uid);
        break;
      case EventKind::kExpunged:
        changed_.erase(event.uid);
        if (NumberOf(event.uid) != 0) {
          expunged_.insert(event.uid);
        } else {
          new_.erase(event.uid);
        }
        break;
    }
  }
}

void MailboxView::NoteDeleted() {
  new_.clear();
  changed_.clear();
  expunged_.insert(uids_.begin(), uids_.end());
}

// From the highest number down, so that none told changes one still to be told.
void MailboxView::TellExpunged(std::string* out) {
  for (size_t i = uids_.size(); i-- > 0;) {
    if (!expunged_.contains(uids_[i])) continue;
    *out += "* ";
    AppendNumber(i + 1, out);
    *out += " EXPUNGE\r\n";
  }
  std::erase_if(uids_, [this](Uid uid) { return expunged_.contains(uid); });
  expunged_.clear();
}

void MailboxView::Tell(const engine::Mailbox* mailbox, bool expunges, bool with_uid, std::string* out) {
  if (expunges && !expunged_.empty()) TellExpunged(out);
  if (!new_.empty()) {
    const auto first = uids_.insert(uids_.end(), new_.begin(), new_.end());
    std::sort(first, uids_.end());
    new_.clear();
    *out += "* ";
    AppendNumber(exists(), out);
    *out += " EXISTS\r\n* ";
    AppendNumber(recent(), out);
    *out += " RECENT\r\n";
  }
  if (changed_.empty()) return;
  std::vector<Uid> changed(changed_.begin(), changed_.end());
  changed_.clear();
  std::sort(changed.begin(), changed.end());
  for (const Uid uid : changed) {
    const engine::Message* message = mailbox == nullptr ? nullptr : mailbox->Find(uid);
    const uint32_t number = NumberOf(uid);
    if (message == nullptr || number == 0) continue;
    *out += "* ";
    AppendNumber(number, out);
    *out += " FETCH (";
    if (with_uid) {
      *out += "UID ";
      AppendNumber(uid, out);
      *out += ' ';
    }
    *out += "FLAGS (";
    AppendFlags(message->flags, IsRecent(uid), mailbox->KeywordNames(message->keywords), out);
    *out += "))\r\n";
  }
}

}  // namespace gemel::imap
