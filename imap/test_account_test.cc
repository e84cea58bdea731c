// The in-memory service behind the session's tests (test_account.h).
#include <algorithm>

#include "imap/test_account.h"

namespace gemel::imap {

using engine::Mailbox;
using engine::Message;
using engine::Uid;

class TestAppend : public engine::AccountSession::Append {
 public:
  TestAppend(TestService& service, engine::AccountSession::AppendOptions options)
      : service_(service), options_(std::move(options)) {}
  void Write(std::string_view lf_bytes) override { bytes_ += lf_bytes; }
  bool writable() const override { return !service_.append_blocked; }
  void OnWritable(std::function<void()> then) override { service_.append_writable = std::move(then); }
  void Finish(std::function<void(engine::CommandResult)> done) override {
    service_.loop_.Post([this, &service = service_, options = options_, bytes = bytes_, done = std::move(done)] {
      engine::CommandResult result;
      result.status = std::exchange(service.next_failure, absl::OkStatus());
      Mailbox* mailbox = service.state_.Find(options.mailbox);
      if (result.status.ok() && mailbox == nullptr) result.status = absl::NotFoundError("gone");
      if (result.status.ok()) {
        const Uid uid = service.Deliver(mailbox->name, bytes, options.flags);
        Message* message = mailbox->Find(uid);
        message->keywords = mailbox->Intern(options.keywords);
        if (options.internal_date_s) message->internal_date_s = *options.internal_date_s;
        result.uid_validity = mailbox->uid_validity;
        result.copied.emplace_back(0, uid);
      }
      done(result);
    });
  }

 private:
  TestService& service_;
  engine::AccountSession::AppendOptions options_;
  std::string bytes_;
};

class TestAccountSession : public engine::AccountSession {
 public:
  TestAccountSession(TestService& service, engine::AccountListener& listener) : service_(service), listener_(listener) {
    service_.listeners_.push_back(&listener);
  }
  ~TestAccountSession() override { std::erase(service_.listeners_, &listener_); }
  const engine::AccountState& state() const override { return service_.state_; }
  bool read_only() const override { return service_.home != engine::Home::kHere; }
  void Submit(engine::Command command, std::function<void(engine::CommandResult)> done) override {
    service_.loop_.Post([&service = service_, command = std::move(command), done = std::move(done)] {
      const engine::CommandResult result = service.Apply(command);
      done(result);
      service.Settle();
    });
  }
  std::unique_ptr<Append> BeginAppend(AppendOptions options) override {
    return std::make_unique<TestAppend>(service_, std::move(options));
  }
  void OpenBody(const engine::MailboxId& mailbox, const Message& message,
                std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) override {
    service_.loop_.Post([&service = service_, mailbox, message, done = std::move(done)] {
      const Mailbox* in = service.state_.Find(mailbox);
      if (in == nullptr || in->Find(message.uid) == nullptr) {
        done(absl::NotFoundError("expunged"));
      } else {
        done(std::make_shared<TestBody>(service.BodyOf(message)));
      }
    });
  }
  std::shared_ptr<maildir::Body> TryOpenBody(const engine::MailboxId&, const Message& message) override {
    if (service_.bodies_take_a_while) return nullptr;
    return std::make_shared<TestBody>(service_.BodyOf(message));
  }
  std::vector<std::optional<std::string>> CachedStructures(const std::vector<journal::Guid>& guids) override {
    std::vector<std::optional<std::string>> found;
    for (const journal::Guid& guid : guids) {
      const auto it = service_.structures_.find(guid);
      found.push_back(it == service_.structures_.end() ? std::nullopt : std::optional(it->second));
    }
    return found;
  }
  void CacheStructure(const journal::Guid& guid, std::string bytes) override {
    service_.structures_[guid] = std::move(bytes);
  }
  Uid RecentFrom(const engine::MailboxId& mailbox, bool take) override {
    const auto it = service_.recent_.find(mailbox);
    const Uid from = it == service_.recent_.end() ? 1 : it->second;
    if (take) service_.recent_[mailbox] = service_.state_.Find(mailbox)->uid_next;
    return from;
  }

 private:
  TestService& service_;
  engine::AccountListener& listener_;
};

TestService::TestService(TestLoop& loop) : loop_(loop) {
  state_.name = "ann@example.test";
  state_.id = journal::AccountIdOf(state_.name);
  Create("INBOX", journal::SpecialUse::kInbox);
}

engine::MailboxId TestService::Create(const std::string& name, journal::SpecialUse use) {
  Mailbox mailbox;
  mailbox.id.bytes[0] = static_cast<uint8_t>(++counter_);
  mailbox.id.bytes[1] = static_cast<uint8_t>(counter_ >> 8);
  mailbox.name = name;
  mailbox.special_use = use;
  mailbox.uid_validity = ++state_.last_uid_validity;
  const engine::MailboxId id = mailbox.id;
  state_.mailboxes.emplace(id, std::move(mailbox));
  return id;
}

Mailbox& TestService::Named(const std::string& name) { return *state_.Find(state_.FindName(name)->id); }

Uid TestService::Insert(Mailbox& mailbox, Message message, const std::vector<std::string>& keywords) {
  message.uid = mailbox.uid_next++;
  message.modseq = ++state_.highest_modseq;
  message.keywords = mailbox.Intern(keywords);
  message.dot.seq = ++counter_;
  mailbox.Insert(message);
  Tell(mailbox.id, engine::EventKind::kNew, message.uid);
  return message.uid;
}

Uid TestService::Deliver(const std::string& mailbox, std::string lf_bytes, journal::Flags flags) {
  Message message;
  ++counter_;
  for (size_t i = 0; i < 8; ++i) message.guid.bytes[i] = static_cast<uint8_t>(counter_ >> (8 * i));
  message.internal_date_s = NowSeconds();
  message.bytes = lf_bytes.size();
  message.crlf_bytes = lf_bytes.size() + static_cast<uint64_t>(std::count(lf_bytes.begin(), lf_bytes.end(), '\n'));
  message.flags = flags;
  bodies_[message.guid] = std::move(lf_bytes);
  const Uid uid = Insert(Named(mailbox), message, {});
  Settle();
  return uid;
}

void TestService::Tell(const engine::MailboxId& mailbox, engine::EventKind kind, Uid uid) {
  for (engine::AccountListener* listener : listeners_) {
    listener->OnMailboxEvents(mailbox, {{kind, uid, state_.highest_modseq}});
  }
}

void TestService::Settle() {
  for (engine::AccountListener* listener : listeners_) listener->OnSettled();
}

void TestService::CloseAccount(std::string_view reason) {
  for (engine::AccountListener* listener : listeners_) listener->OnAccountClosed(reason);
}

void TestService::Authenticate(std::string user, std::string password, std::string,
                               std::function<void(absl::StatusOr<engine::Authenticated>)> done) {
  loop_.Post([this, user = std::move(user), password = std::move(password), done = std::move(done)] {
    if (user == state_.name && password == "pass") {
      done(engine::Authenticated{state_.id, state_.name});
    } else {
      done(absl::PermissionDeniedError("no"));
    }
  });
}

void TestService::OpenAccount(const engine::AccountId&, engine::AccountListener& listener,
                              std::function<void(absl::StatusOr<std::unique_ptr<engine::AccountSession>>)> done) {
  loop_.Post([this, &listener, done = std::move(done)] {
    done(std::unique_ptr<engine::AccountSession>(std::make_unique<TestAccountSession>(*this, listener)));
  });
}

absl::Status TestService::Store(const engine::StoreFlagsCommand& command) {
  Mailbox* mailbox = state_.Find(command.mailbox);
  if (mailbox == nullptr) return absl::NotFoundError("gone");
  ++state_.highest_modseq;
  for (const Uid uid : command.uids) {
    Message* message = mailbox->Find(uid);
    if (message == nullptr) continue;
    std::vector<std::string> keywords = mailbox->KeywordNames(message->keywords);
    const auto drop = [&] {
      std::erase_if(keywords, [&](const std::string& name) {
        return std::find(command.keywords.begin(), command.keywords.end(), name) != command.keywords.end();
      });
    };
    switch (command.op) {
      case journal::FlagOp::kAdd:
        drop();
        message->flags |= command.flags;
        keywords.insert(keywords.end(), command.keywords.begin(), command.keywords.end());
        break;
      case journal::FlagOp::kRemove:
        message->flags = static_cast<journal::Flags>(message->flags & ~command.flags);
        drop();
        break;
      case journal::FlagOp::kReplace:
        message->flags = command.flags;
        keywords = command.keywords;
        break;
    }
    message->keywords = mailbox->Intern(keywords);
    Tell(mailbox->id, engine::EventKind::kFlags, uid);
  }
  return absl::OkStatus();
}

absl::Status TestService::Expunge(const engine::ExpungeCommand& command) {
  Mailbox* mailbox = state_.Find(command.mailbox);
  if (mailbox == nullptr) return absl::NotFoundError("gone");
  for (const Uid uid : command.uids) {
    const Message* message = mailbox->Find(uid);
    if (message == nullptr || (message->flags & journal::kDeleted) == 0) continue;
    mailbox->Remove(uid);
    Tell(mailbox->id, engine::EventKind::kExpunged, uid);
  }
  return absl::OkStatus();
}

engine::CommandResult TestService::Copy(const engine::CopyCommand& command) {
  engine::CommandResult result;
  Mailbox* from = state_.Find(command.from);
  Mailbox* to = state_.Find(command.to);
  if (from == nullptr || to == nullptr) {
    result.status = absl::NotFoundError("gone");
    return result;
  }
  result.uid_validity = to->uid_validity;
  for (const Uid uid : command.uids) {
    const Message* found = from->Find(uid);
    if (found == nullptr) continue;
    const Message message = *found;
    result.copied.emplace_back(uid, Insert(*to, message, from->KeywordNames(message.keywords)));
    if (command.move) {
      from->Remove(uid);
      Tell(from->id, engine::EventKind::kExpunged, uid);
    }
  }
  return result;
}

absl::Status TestService::Change(const engine::Command& command) {
  if (const auto* create = std::get_if<engine::CreateCommand>(&command)) {
    if (state_.FindName(create->name) != nullptr) return absl::AlreadyExistsError("Mailbox exists.");
    Create(create->name);
  } else if (const auto* remove = std::get_if<engine::DeleteCommand>(&command)) {
    const Mailbox* mailbox = state_.FindName(remove->name);
    if (mailbox == nullptr) return absl::NotFoundError("There is no such mailbox.");
    if (mailbox->name == "INBOX") return absl::FailedPreconditionError("INBOX cannot be deleted.");
    const engine::MailboxId id = mailbox->id;
    state_.mailboxes.erase(id);
    for (engine::AccountListener* listener : listeners_) listener->OnMailboxDeleted(id);
  } else if (const auto* rename = std::get_if<engine::RenameCommand>(&command)) {
    if (state_.FindName(rename->from) == nullptr) return absl::NotFoundError("There is no such mailbox.");
    if (state_.FindName(rename->to) != nullptr) return absl::AlreadyExistsError("Mailbox exists.");
    Named(rename->from).name = rename->to;
  } else if (const auto* subscribe = std::get_if<engine::SubscribeCommand>(&command)) {
    if (subscribe->on) {
      state_.subscriptions.insert(subscribe->name);
    } else {
      state_.subscriptions.erase(subscribe->name);
    }
  }
  return absl::OkStatus();
}

engine::CommandResult TestService::Apply(const engine::Command& command) {
  engine::CommandResult result;
  result.status = std::exchange(next_failure, absl::OkStatus());
  if (!result.status.ok()) return result;
  if (const auto* store = std::get_if<engine::StoreFlagsCommand>(&command)) {
    result.status = Store(*store);
  } else if (const auto* expunge = std::get_if<engine::ExpungeCommand>(&command)) {
    result.status = Expunge(*expunge);
  } else if (const auto* copy = std::get_if<engine::CopyCommand>(&command)) {
    result = Copy(*copy);
  } else {
    result.status = Change(command);
  }
  return result;
}

}  // namespace gemel::imap
