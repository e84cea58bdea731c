#include "engine/apply.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace gemel::engine {
namespace {

using journal::Deliver;
using journal::Frame;
using journal::Record;
using maildir::StoreBatch;

// One record being applied: the state, where its effects go, and its identity.
struct Step {
  AccountState& state;
  const std::shared_ptr<const Frame>& frame;
  const Record& record;
  Dot dot;
  Effects& effects;

  void Store(maildir::StoreOp op) { effects.store.push_back({state.id, std::move(op)}); }

  // A MODSEQ was given to something in this mailbox.
  void Raise(Mailbox& mailbox, ModSeq modseq) {
    mailbox.highest_modseq = std::max(mailbox.highest_modseq, modseq);
    state.highest_modseq = std::max(state.highest_modseq, modseq);
  }
  // Gives the message these keywords, and returns their names as the mailbox spells them, for the store.
  static std::vector<std::string> SetKeywords(Mailbox& mailbox, Message& message,
                                              const std::vector<std::string>& names) {
    message.keywords = mailbox.Intern(names);
    return mailbox.KeywordNames(message.keywords);
  }
  // Two messages were given one UID, by a home that lacked some of its own records: the one that is there keeps it.
  bool IsTaken(const Mailbox& mailbox, Uid uid, const Dot& by) {
    const Message* other = mailbox.Find(uid);
    if (other == nullptr || other->dot == by) return false;
    effects.taken.emplace_back(mailbox.id, uid);
    return true;
  }
  void TookUid(Mailbox& mailbox, Uid uid) { mailbox.uid_next = std::max(mailbox.uid_next, uid + 1); }
  void Vanish(Mailbox& mailbox, Uid uid, ModSeq modseq) {
    mailbox.vanished.push_back({uid, modseq});
    effects.Event(mailbox.id, EventKind::kExpunged, uid, modseq);
  }
};

std::variant<maildir::InlineBody, maildir::SpooledBody> BodyOf(const Step& step, const Deliver& deliver) {
  if (deliver.body != 0) return maildir::SpooledBody{Dot{step.dot.origin, deliver.body}, deliver.body_done};
  // Shares the frame instead of copying the letter.
  return maildir::InlineBody{std::shared_ptr<const std::string>(step.frame, &deliver.inline_body)};
}

void On(Step& step, const Deliver& deliver) {
  Message message;
  message.dot = step.dot;
  message.guid = deliver.guid;
  message.internal_date_s = deliver.internal_date_s;
  message.bytes = deliver.bytes;
  message.crlf_bytes = deliver.crlf_bytes;
  message.flags = deliver.flags;
  Mailbox* mailbox = deliver.order ? step.state.Find(deliver.order->mailbox) : nullptr;
  // Not ordered yet, its mailbox was deleted in the meantime, or its UID is another's: the home places it.
  if (mailbox == nullptr || step.IsTaken(*mailbox, deliver.order->uid, step.dot)) {
    const MailboxId& wanted = deliver.order ? deliver.order->mailbox : deliver.wanted;
    maildir::Unplaced unplaced{message, wanted, deliver.keywords};
    step.state.unplaced.emplace(step.dot, unplaced);
    step.Store(maildir::PutUnplaced{std::move(unplaced), deliver.trace, BodyOf(step, deliver)});
    return;
  }
  message.uid = deliver.order->uid;
  message.modseq = deliver.order->modseq;
  std::vector<std::string> keywords = step.SetKeywords(*mailbox, message, deliver.keywords);
  mailbox->Insert(message);
  step.TookUid(*mailbox, message.uid);
  step.Raise(*mailbox, message.modseq);
  step.Store(maildir::PutMessage{mailbox->id, message, std::move(keywords), deliver.trace, BodyOf(step, deliver)});
  step.effects.Event(mailbox->id, EventKind::kNew, message.uid, message.modseq);
  step.effects.copied.emplace_back(0, message.uid);
  step.effects.uid_validity = mailbox->uid_validity;
}

void On(Step& step, const journal::Place& place) {
  Mailbox* mailbox = step.state.Find(place.mailbox);
  for (const journal::PlacedMessage& placed : place.messages) {
    const auto found = step.state.unplaced.find(placed.message);
    if (found == step.state.unplaced.end()) continue;
    if (mailbox == nullptr) continue;  // deleted between the home's Place and now: the home places it anew
    if (step.IsTaken(*mailbox, placed.uid, placed.message)) continue;
    Message message = found->second.message;
    message.uid = placed.uid;
    message.modseq = place.modseq;
    std::vector<std::string> keywords = step.SetKeywords(*mailbox, message, found->second.keywords);
    mailbox->Insert(message);
    step.TookUid(*mailbox, message.uid);
    step.Raise(*mailbox, message.modseq);
    step.Store(maildir::PlaceMessage{mailbox->id, message, std::move(keywords)});
    step.effects.Event(mailbox->id, EventKind::kNew, message.uid, message.modseq);
    step.state.unplaced.erase(found);
  }
}

// The keyword names that a message has after the change.
std::vector<std::string> Changed(std::vector<std::string> names, const journal::FlagsChange& change) {
  if (change.op == journal::FlagOp::kReplace) return change.keywords;
  for (const std::string& keyword : change.keywords) {
    const auto at = std::find_if(names.begin(), names.end(),
                                 [&keyword](const std::string& name) { return absl::EqualsIgnoreCase(name, keyword); });
    if (change.op == journal::FlagOp::kAdd && at == names.end()) names.push_back(keyword);
    if (change.op == journal::FlagOp::kRemove && at != names.end()) names.erase(at);
  }
  return names;
}

void On(Step& step, const journal::FlagsChange& change) {
  Mailbox* mailbox = step.state.Find(change.mailbox);
  if (mailbox == nullptr) return;
  for (const Dot& dot : change.messages) {
    const Message* found = mailbox->Find(dot);
    if (found == nullptr || (change.unchanged_since != 0 && found->modseq > change.unchanged_since)) continue;
    Message& message = *mailbox->Find(found->uid);
    switch (change.op) {
      case FlagOp::kAdd:
        message.flags |= change.flags;
        break;
      case FlagOp::kRemove:
        message.flags &= static_cast<Flags>(~change.flags);
        break;
      case FlagOp::kReplace:
        message.flags = change.flags;
        break;
    }
    std::vector<std::string> names = mailbox->KeywordNames(message.keywords);
    if (!change.keywords.empty() || (change.op == FlagOp::kReplace && !names.empty())) {
      names = step.SetKeywords(*mailbox, message, Changed(std::move(names), change));
    }
    message.modseq = change.modseq;
    step.Raise(*mailbox, change.modseq);
    step.Store(maildir::PutFlags{mailbox->id, message, std::move(names)});
    step.effects.Event(mailbox->id, EventKind::kFlags, message.uid, change.modseq);
  }
}

void On(Step& step, const journal::Expunge& expunge) {
  Mailbox* mailbox = step.state.Find(expunge.mailbox);
  if (mailbox == nullptr) return;
  std::vector<Uid> gone;
  for (const Dot& dot : expunge.messages) {
    const Message* found = mailbox->Find(dot);
    if (found == nullptr || (expunge.only_deleted && (found->flags & journal::kDeleted) == 0)) continue;
    const Uid uid = found->uid;
    mailbox->by_dot.erase(dot);
    gone.push_back(uid);
    step.Raise(*mailbox, expunge.modseq);
    step.Store(maildir::DropMessage{mailbox->id, dot, uid, expunge.modseq});
    step.Vanish(*mailbox, uid, expunge.modseq);
  }
  mailbox->RemoveAll(std::move(gone));
}

void On(Step& step, const journal::Copy& copy) {
  Mailbox* from = step.state.Find(copy.from);
  Mailbox* to = step.state.Find(copy.order.mailbox);
  if (from == nullptr || to == nullptr) {
    step.effects.applied = false;
    return;
  }
  const Message* source = from->Find(copy.source);
  if (source == nullptr) return;  // the others of the command are copied all the same, as with MOVE
  if (step.IsTaken(*to, copy.order.uid, step.dot)) return;
  const Uid old_uid = source->uid;
  Message message = *source;
  message.dot = step.dot;  // the copy is a message of its own; it shares the GUID
  message.uid = copy.order.uid;
  message.modseq = copy.order.modseq;
  std::vector<std::string> keywords = step.SetKeywords(*to, message, from->KeywordNames(source->keywords));
  to->Insert(message);
  step.TookUid(*to, message.uid);
  step.Raise(*to, message.modseq);
  step.Store(maildir::CopyMessage{copy.from, copy.source, to->id, message, std::move(keywords)});
  step.effects.Event(to->id, EventKind::kNew, message.uid, message.modseq);
  step.effects.copied.emplace_back(old_uid, message.uid);
  step.effects.uid_validity = to->uid_validity;
}

void On(Step& step, const journal::Move& move) {
  Mailbox* from = step.state.Find(move.from);
  Mailbox* to = step.state.Find(move.to);
  if (from == nullptr || to == nullptr) {
    step.effects.applied = false;
    return;
  }
  std::vector<Uid> gone;
  for (const journal::PlacedMessage& placed : move.messages) {
    const Message* source = from->Find(placed.message);
    if (source == nullptr || step.IsTaken(*to, placed.uid, placed.message)) continue;
    const Uid old_uid = source->uid;
    Message message = *source;
    message.uid = placed.uid;
    message.modseq = move.modseq;
    std::vector<std::string> keywords = step.SetKeywords(*to, message, from->KeywordNames(source->keywords));
    from->by_dot.erase(message.dot);
    gone.push_back(old_uid);
    to->Insert(message);
    step.TookUid(*to, message.uid);
    step.Raise(*from, move.modseq);
    step.Raise(*to, move.modseq);
    step.Store(maildir::MoveMessage{from->id, to->id, old_uid, move.modseq, message, std::move(keywords)});
    step.Vanish(*from, old_uid, move.modseq);
    step.effects.Event(to->id, EventKind::kNew, message.uid, message.modseq);
    step.effects.copied.emplace_back(old_uid, message.uid);
  }
  from->RemoveAll(std::move(gone));
  step.effects.uid_validity = to->uid_validity;
}

void PutSubscriptions(Step& step) {
  step.Store(maildir::PutSubscriptions{{step.state.subscriptions.begin(), step.state.subscriptions.end()}});
}

void On(Step& step, const journal::MailboxCreate& create) {
  step.state.last_uid_validity = std::max(step.state.last_uid_validity, create.uid_validity);
  if (step.state.FindName(create.name) != nullptr || step.state.Find(create.mailbox) != nullptr) {
    step.effects.applied = false;
    return;
  }
  Mailbox& mailbox = step.state.mailboxes[create.mailbox];
  mailbox.id = create.mailbox;
  mailbox.name = create.name;
  mailbox.uid_validity = create.uid_validity;
  mailbox.special_use = create.special_use;
  step.Raise(mailbox, create.modseq);
  step.Store(maildir::PutMailbox{mailbox.id, mailbox.name, mailbox.uid_validity, mailbox.uid_next,
                                 mailbox.highest_modseq, mailbox.special_use, mailbox.keywords});
  if (create.subscribed && step.state.subscriptions.insert(create.name).second) PutSubscriptions(step);
}

void On(Step& step, const journal::MailboxRename& rename) {
  Mailbox* mailbox = step.state.Find(rename.mailbox);
  const Mailbox* taken = step.state.FindName(rename.name);
  if (mailbox == nullptr || (taken != nullptr && taken != mailbox)) {
    step.effects.applied = false;
    return;
  }
  mailbox->name = rename.name;
  step.Store(maildir::PutMailbox{mailbox->id, mailbox->name, mailbox->uid_validity, mailbox->uid_next,
                                 mailbox->highest_modseq, mailbox->special_use, mailbox->keywords});
}

void On(Step& step, const journal::MailboxDelete& gone) {
  Mailbox* mailbox = step.state.Find(gone.mailbox);
  if (mailbox == nullptr || mailbox->special_use == SpecialUse::kInbox) {
    step.effects.applied = false;
    return;
  }
  for (const Message& message : mailbox->messages) {
    step.Store(maildir::DropMessage{mailbox->id, message.dot, message.uid, gone.modseq});
  }
  step.state.highest_modseq = std::max(step.state.highest_modseq, gone.modseq);
  step.Store(maildir::DropMailbox{mailbox->id, gone.modseq});
  step.effects.deleted_mailboxes.push_back(mailbox->id);
  step.state.mailboxes.erase(gone.mailbox);
}

void On(Step& step, const journal::Subscribe& subscribe) {
  const bool changed = subscribe.on ? step.state.subscriptions.insert(subscribe.name).second
                                    : step.state.subscriptions.erase(subscribe.name) > 0;
  if (changed) PutSubscriptions(step);
}

// Release and Take say who is home; the directory keeps that. They carry the counters, which state has already.
void On(Step&, const journal::Release&) {}
void On(Step&, const journal::Take&) {}
// A node's own records and settings, which the directory applies; chunks go straight to the spool.
template <class Other>
void On(Step&, const Other&) {}

}  // namespace

MailboxId InboxOf(const AccountId& account) { return journal::BuiltInMailboxId(account, "INBOX"); }

void Effects::Event(const MailboxId& mailbox, EventKind kind, Uid uid, ModSeq modseq) {
  if (events.empty() || events.back().mailbox != mailbox) events.push_back({mailbox, {}});
  events.back().events.push_back({kind, uid, modseq});
}

void Apply(AccountState& state, const std::shared_ptr<const Frame>& frame, size_t index, Effects& effects) {
  const Record& record = frame->records[index];
  Step step{state, frame, record, Dot{frame->origin, frame->first_seq + index}, effects};
  std::visit([&step](const auto& body) { On(step, body); }, record.body);
}

bool IsVoid(const std::vector<GroupMember>& group, const std::function<const AccountState*(const AccountId&)>& find) {
  if (group.size() < 2) return false;
  AccountState names;  // as they are after each of its records
  bool begun = false;
  for (const auto& [frame, index] : group) {
    const Record& record = frame->records[index];
    const auto* create = std::get_if<journal::MailboxCreate>(&record.body);
    const auto* rename = std::get_if<journal::MailboxRename>(&record.body);
    if (create == nullptr && rename == nullptr) continue;
    if (create != nullptr && create->mailbox == journal::BuiltInMailboxId(record.account, create->name)) continue;
    if (!std::exchange(begun, true)) {
      const AccountState* state = find(record.account);
      if (state == nullptr || state->applied.Covers(Dot{frame->origin, frame->first_seq + index})) return false;
      for (const auto& [id, mailbox] : state->mailboxes) {
        Mailbox& each = names.mailboxes[id];
        each.id = id;
        each.name = mailbox.name;
      }
    }
    const Mailbox* taken = names.FindName(create != nullptr ? create->name : rename->name);
    Mailbox* mailbox = names.Find(create != nullptr ? create->mailbox : rename->mailbox);
    if (create != nullptr ? taken != nullptr || mailbox != nullptr
                          : mailbox == nullptr || (taken != nullptr && taken != mailbox)) {
      return true;
    }
    Mailbox& named = create != nullptr ? names.mailboxes[create->mailbox] : *mailbox;
    named.id = create != nullptr ? create->mailbox : rename->mailbox;
    named.name = create != nullptr ? create->name : rename->name;
  }
  return false;
}

void CollectTouched(const Effects& effects, size_t from, std::set<MailboxId>& touched) {
  for (size_t i = from; i < effects.store.size(); ++i) {
    std::visit(
        [&touched](const auto& op) {
          if constexpr (requires { op.mailbox; }) touched.insert(op.mailbox);
          if constexpr (requires { op.to; }) touched.insert(op.to);
          if constexpr (requires {
                          op.to;
                          op.old_uid;
                        })
            touched.insert(op.from);
        },
        effects.store[i].op);
  }
}

void AppendMailboxRows(const AccountState& state, const std::set<MailboxId>& touched, Effects& effects) {
  for (const MailboxId& id : touched) {
    const Mailbox* mailbox = state.Find(id);
    if (mailbox == nullptr) continue;
    effects.store.push_back(
        {state.id, maildir::PutMailbox{id, mailbox->name, mailbox->uid_validity, mailbox->uid_next,
                                       mailbox->highest_modseq, mailbox->special_use, mailbox->keywords}});
  }
}

}  // namespace gemel::engine
