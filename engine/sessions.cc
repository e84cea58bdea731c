#include "engine/sessions.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/node_impl.h"
#include "maildir/folder_names.h"

namespace gemel::engine {
namespace {

using journal::Record;
using Records_ = absl::StatusOr<std::vector<Record>>;

absl::Status NoSuchMailbox(std::string_view name) {
  return absl::NotFoundError(absl::StrCat("there is no mailbox ", std::string(name)));
}

absl::Status TooManyKeywords() { return absl::OutOfRangeError("the mailbox has as many keywords as it may have"); }

// The keywords of these messages, each once.
std::vector<std::string> KeywordsOf(const Mailbox& mailbox, const std::vector<Uid>& uids) {
  std::set<maildir::KeywordSet> sets;
  for (const Uid uid : uids) {
    if (const Message* message = mailbox.Find(uid)) sets.insert(message->keywords);
  }
  std::set<std::string> names;
  for (const maildir::KeywordSet set : sets) {
    for (std::string& name : mailbox.KeywordNames(set)) names.insert(std::move(name));
  }
  return {names.begin(), names.end()};
}

// "a/b" of "a/b/c"; "" of "a".
std::string ParentOf(const std::string& name) {
  const size_t slash = name.rfind('/');
  return slash == std::string::npos ? "" : name.substr(0, slash);
}

}  // namespace

AccountSessionImpl::AccountSessionImpl(NodeImpl& node, LiveAccount& live, AccountListener& listener, bool read_only)
    : node_(node), live_(live), listener_(listener), read_only_(read_only) {
  live_.sessions.push_back(this);
}

AccountSessionImpl::~AccountSessionImpl() {
  live_.sessions.erase(std::remove(live_.sessions.begin(), live_.sessions.end(), this), live_.sessions.end());
  live_.last_used_ms = node_.BootMillis();
}

const AccountState& AccountSessionImpl::state() const { return live_.state; }

void AccountSessionImpl::Tell(const Effects& effects) {
  for (const Effects::MailboxEvents& each : effects.events) listener_.OnMailboxEvents(each.mailbox, each.events);
  for (const MailboxId& mailbox : effects.deleted_mailboxes) listener_.OnMailboxDeleted(mailbox);
  node_.PostSafely([this, alive = alive()] {
    if (!alive.expired()) listener_.OnSettled();
  });
}

void AccountSessionImpl::TellClosed(std::string_view reason) {
  if (closed_) return;
  closed_ = true;
  node_.PostSafely([this, alive = alive(), reason = std::string(reason)] {
    if (!alive.expired()) listener_.OnAccountClosed(reason);
  });
}

Record AccountSessionImpl::Mail(journal::RecordBody body) const {
  return Record{live_.state.id, 0, false, std::move(body)};
}

void AccountSessionImpl::Submit(Command command, std::function<void(CommandResult)> done) {
  // The callback dies with the session: nobody is there to be told.
  auto guarded = [alive = alive(), done = std::move(done)](CommandResult result) {
    if (!alive.expired()) done(std::move(result));
  };
  const auto answer = [this, &guarded](absl::Status status) {
    node_.PostSafely([guarded = std::move(guarded), status = std::move(status)] {
      CommandResult result;
      result.status = status;
      guarded(std::move(result));
    });
  };
  const Account* account = node_.directory_.Find(live_.state.id);
  if (read_only() || account == nullptr || !node_.Orders(*account)) {
    return answer(absl::UnavailableError("the server that keeps this mailbox is away; it can only be read for now"));
  }
  if (node_.failed_ || node_.stopping_) return answer(absl::UnavailableError("this server is going down"));
  if (node_.disk_full_ || node_.peer_disk_full_) {
    const bool frees = std::holds_alternative<ExpungeCommand>(command);
    if (!frees) return answer(absl::ResourceExhaustedError("the disk is full; nothing can be changed for now"));
  }
  if (absl::Status status = node_.AcceptingMail(); absl::IsUnavailable(status)) return answer(status);
  Records_ records = std::visit([this](const auto& each) { return Records(each); }, command);
  if (!records.ok()) return answer(records.status());
  if (records->empty()) return answer(absl::OkStatus());
  node_.Create(*std::move(records), std::move(guarded));
}

Records_ AccountSessionImpl::Records(const StoreFlagsCommand& command) {
  const Mailbox* mailbox = live_.state.Find(command.mailbox);
  if (mailbox == nullptr) return absl::NotFoundError("the mailbox was deleted");
  if (command.op != FlagOp::kRemove && !mailbox->HasRoomFor(command.keywords)) return TooManyKeywords();
  journal::FlagsChange change;
  change.mailbox = command.mailbox;
  change.op = command.op;
  change.flags = command.flags;
  change.keywords = command.keywords;
  for (const Uid uid : command.uids) {
    if (const Message* message = mailbox->Find(uid)) change.messages.push_back(message->dot);
  }
  if (change.messages.empty()) return std::vector<Record>();
  change.modseq = node_.GiveModSeq(live_);
  return SplitMessages(live_.state.id, std::move(change));
}

Records_ AccountSessionImpl::Records(const ExpungeCommand& command) {
  const Mailbox* mailbox = live_.state.Find(command.mailbox);
  if (mailbox == nullptr) return absl::NotFoundError("the mailbox was deleted");
  journal::Expunge expunge;
  expunge.mailbox = command.mailbox;
  expunge.only_deleted = true;
  for (const Uid uid : command.uids) {
    const Message* message = mailbox->Find(uid);
    if (message != nullptr && (message->flags & journal::kDeleted) != 0) expunge.messages.push_back(message->dot);
  }
  if (expunge.messages.empty()) return std::vector<Record>();
  expunge.modseq = node_.GiveModSeq(live_);
  return SplitMessages(live_.state.id, std::move(expunge));
}

Records_ AccountSessionImpl::Records(const CopyCommand& command) {
  const Mailbox* from = live_.state.Find(command.from);
  const Mailbox* to = live_.state.Find(command.to);
  if (from == nullptr || to == nullptr) return absl::NotFoundError("the mailbox was deleted");
  if (!to->HasRoomFor(KeywordsOf(*from, command.uids))) return TooManyKeywords();
  std::vector<Record> records;
  const ModSeq modseq = node_.GiveModSeq(live_);
  journal::Move move{command.from, command.to, modseq, {}};
  for (const Uid uid : command.uids) {
    const Message* message = from->Find(uid);
    if (message == nullptr) continue;
    const Uid given = node_.GiveUid(live_, *to);
    if (command.move) {
      move.messages.push_back({message->dot, given});
    } else {
      records.push_back(Mail(journal::Copy{message->dot, command.from, journal::Order{command.to, given, modseq}}));
    }
  }
  // Within one mailbox a MOVE gives new UIDs (RFC 6851, 3.3 leaves it to us).
  if (command.move) return SplitMessages(live_.state.id, std::move(move));
  return records;
}

// That of the names which a new account has, while no other mailbox has it: Sent, deleted and made anew, is Sent.
SpecialUse AccountSessionImpl::SpecialUseOf(const std::string& name) const {
  for (const BuiltInMailbox& each : kBuiltInMailboxes) {
    if (each.name != name || each.special_use == SpecialUse::kInbox) continue;
    const bool taken = std::any_of(live_.state.mailboxes.begin(), live_.state.mailboxes.end(),
                                   [&](const auto& other) { return other.second.special_use == each.special_use; });
    return taken ? SpecialUse::kNone : each.special_use;
  }
  return SpecialUse::kNone;
}

absl::Status AccountSessionImpl::MakeMailboxes(const std::string& name, std::vector<Record>& records, MailboxId* made) {
  if (absl::Status status = maildir::CheckMailboxName(name); !status.ok()) return status;
  if (live_.state.FindName(name) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("the mailbox ", name, " exists already"));
  }
  const std::string parent = ParentOf(name);
  if (!parent.empty() && live_.state.FindName(parent) == nullptr) {
    const auto in_this = [&parent](const Record& record) {
      const auto* create = std::get_if<journal::MailboxCreate>(&record.body);
      return create != nullptr && create->name == parent;
    };
    if (std::none_of(records.begin(), records.end(), in_this)) {
      if (absl::Status status = MakeMailboxes(parent, records, nullptr); !status.ok()) return status;
    }
  }
  journal::MailboxCreate create;
  create.mailbox = node_.NewMailboxId();
  create.name = name;
  create.uid_validity = node_.GiveUidValidity(live_);
  create.modseq = node_.GiveModSeq(live_);
  create.special_use = SpecialUseOf(name);
  if (made != nullptr) *made = create.mailbox;
  records.push_back(Mail(std::move(create)));
  return absl::OkStatus();
}

Records_ AccountSessionImpl::Records(const CreateCommand& command) {
  std::vector<Record> records;
  std::string name = maildir::FoldInbox(command.name);
  if (name.ends_with('/')) name.pop_back();  // a hint that children will follow (RFC 3501, 6.3.3)
  if (absl::Status status = MakeMailboxes(name, records, nullptr); !status.ok()) return status;
  return records;
}

Records_ AccountSessionImpl::Records(const DeleteCommand& command) {
  const Mailbox* mailbox = live_.state.FindName(command.name);
  if (mailbox == nullptr) return NoSuchMailbox(command.name);
  if (mailbox->special_use == SpecialUse::kInbox) return absl::FailedPreconditionError("INBOX cannot be deleted");
  // Children live on by themselves (RFC 3501, 6.3.4).
  return std::vector<Record>{Mail(journal::MailboxDelete{mailbox->id, node_.GiveModSeq(live_)})};
}

Records_ AccountSessionImpl::Records(const RenameCommand& command) {
  const std::string to = maildir::FoldInbox(command.to);
  const Mailbox* mailbox = live_.state.FindName(command.from);
  const std::string prefix = (mailbox != nullptr ? mailbox->name : maildir::FoldInbox(command.from)) + "/";
  // A name that has children only is there as well: LIST shows it as \Noselect.
  const bool has_children = std::any_of(live_.state.mailboxes.begin(), live_.state.mailboxes.end(),
                                        [&](const auto& each) { return each.second.name.starts_with(prefix); });
  if (mailbox == nullptr && !has_children) return NoSuchMailbox(command.from);
  if (absl::Status status = maildir::CheckMailboxName(to); !status.ok()) return status;
  if (live_.state.FindName(to) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("the mailbox ", to, " exists already"));
  }
  if (mailbox != nullptr && mailbox->special_use == SpecialUse::kInbox) return RenameInbox(*mailbox, to);
  if (to.starts_with(prefix)) {
    return absl::InvalidArgumentError("a mailbox cannot be moved below itself");
  }
  std::vector<Record> records;
  const std::string parent = ParentOf(to);
  if (!parent.empty() && live_.state.FindName(parent) == nullptr) {
    if (absl::Status status = MakeMailboxes(parent, records, nullptr); !status.ok()) return status;
  }
  if (mailbox != nullptr) records.push_back(Mail(journal::MailboxRename{mailbox->id, to}));
  for (const auto& [id, child] : live_.state.mailboxes) {
    if (!child.name.starts_with(prefix)) continue;
    const std::string name = absl::StrCat(to, "/", child.name.substr(prefix.size()));
    if (live_.state.FindName(name) != nullptr) {
      return absl::AlreadyExistsError(absl::StrCat("the mailbox ", name, " exists already"));
    }
    if (absl::Status status = maildir::CheckMailboxName(name); !status.ok()) return status;
    records.push_back(Mail(journal::MailboxRename{id, name}));
  }
  return records;
}

// Its messages go to a new mailbox, INBOX stays and is empty; its children stay (RFC 3501, 6.3.5).
Records_ AccountSessionImpl::RenameInbox(const Mailbox& inbox, const std::string& to) {
  std::vector<Record> records;
  MailboxId made;
  if (absl::Status status = MakeMailboxes(to, records, &made); !status.ok()) return status;
  const auto& create = std::get<journal::MailboxCreate>(records.back().body);
  journal::Move move{inbox.id, made, node_.GiveModSeq(live_), {}};
  Mailbox fresh;  // as it will be when the Move is applied
  fresh.id = made;
  fresh.uid_validity = create.uid_validity;
  for (const Message& message : inbox.messages) move.messages.push_back({message.dot, node_.GiveUid(live_, fresh)});
  for (Record& each : SplitMessages(live_.state.id, std::move(move))) records.push_back(std::move(each));
  return records;
}

Records_ AccountSessionImpl::Records(const SubscribeCommand& command) {
  std::string name = maildir::FoldInbox(command.name);
  if (absl::Status status = maildir::CheckMailboxName(name); !status.ok()) return status;
  return std::vector<Record>{Mail(journal::Subscribe{std::move(name), command.on})};
}

std::shared_ptr<maildir::Body> AccountSessionImpl::TryOpenBody(const MailboxId& mailbox, const Message& message) {
  absl::StatusOr<std::shared_ptr<maildir::Body>> body = node_.store_->OpenBody(live_.state.id, mailbox, message);
  return body.ok() ? *std::move(body) : nullptr;
}

void AccountSessionImpl::OpenBody(const MailboxId& mailbox, const Message& message,
                                  std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) {
  auto guarded = [alive = alive(), done = std::move(done)](absl::StatusOr<std::shared_ptr<maildir::Body>> body) {
    if (!alive.expired()) done(std::move(body));
  };
  absl::StatusOr<std::shared_ptr<maildir::Body>> body = node_.store_->OpenBody(live_.state.id, mailbox, message);
  if (body.ok() || !absl::IsNotFound(body.status())) {
    node_.PostSafely([guarded, body = std::move(body)] { guarded(body); });
    return;
  }
  node_.RestoreBody(live_.state.id, message, [this, alive = alive(), guarded, mailbox, message](absl::Status status) {
    if (alive.expired()) return;
    if (!status.ok()) return guarded(status);
    guarded(node_.store_->OpenBody(live_.state.id, mailbox, message));
  });
}

std::vector<std::optional<std::string>> AccountSessionImpl::CachedStructures(const std::vector<journal::Guid>& guids) {
  return node_.store_->CachedStructures(live_.state.id, guids);
}

void AccountSessionImpl::CacheStructure(const journal::Guid& guid, std::string bytes) {
  node_.store_->CacheStructure(live_.state.id, guid, std::move(bytes));
}

Uid AccountSessionImpl::RecentFrom(const MailboxId& mailbox, bool take) {
  const Mailbox* found = live_.state.Find(mailbox);
  if (found == nullptr) return 0;
  Uid& from = node_.recent_from_[mailbox];  // 0: it was made since the start, and everything in it is recent
  const Uid recent = from;
  if (take) from = found->uid_next;
  return recent;
}

}  // namespace gemel::engine
