// An account with one mailbox in memory, for tests of what reads one.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/service.h"
#include "imap/test_body.h"

namespace gemel::imap {

// Its files may be away for a while. What waits is called by Arrive.
class FakeAccount : public engine::AccountSession {
 public:
  FakeAccount() {
    mailbox_id_.bytes[0] = 1;
    state_.mailboxes[mailbox_id_].id = mailbox_id_;
  }
  void Add(engine::Uid uid, std::string text) {
    maildir::Message message;
    message.uid = uid;
    message.guid.bytes[0] = static_cast<uint8_t>(uid);
    message.bytes = text.size();
    message.crlf_bytes = ToCrlf(text).size();
    state_.mailboxes[mailbox_id_].messages.push_back(message);
    files_[uid] = std::make_shared<MemoryMessage>(std::move(text));
  }
  void Expunge(engine::Uid uid) {
    auto& messages = state_.mailboxes[mailbox_id_].messages;
    std::erase_if(messages, [uid](const maildir::Message& m) { return m.uid == uid; });
    files_.erase(uid);
  }
  void Arrive() {
    for (auto& then : std::exchange(waiting_, {})) then();
  }

  const engine::AccountState& state() const override { return state_; }
  bool read_only() const override { return false; }
  // Only STORE.
  void Submit(engine::Command command, std::function<void(engine::CommandResult)> done) override {
    stores.push_back(std::get<engine::StoreFlagsCommand>(std::move(command)));
    waiting_.push_back([this, store = stores.back(), done = std::move(done)] {
      if (store_status.ok()) {
        for (const engine::Uid uid : store.uids) state_.Find(mailbox_id_)->Find(uid)->flags |= store.flags;
      }
      engine::CommandResult result;
      result.status = store_status;
      done(std::move(result));
    });
  }
  std::unique_ptr<Append> BeginAppend(AppendOptions) override { return nullptr; }
  void OpenBody(const engine::MailboxId&, const engine::Message& message,
                std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) override {
    waiting_.push_back([this, uid = message.uid, done = std::move(done)] {
      const auto file = files_.find(uid);
      if (file == files_.end()) return done(absl::NotFoundError("expunged"));
      if (lost.contains(uid)) return done(absl::UnavailableError("the file is gone"));
      done(std::shared_ptr<maildir::Body>(file->second));
    });
  }
  std::shared_ptr<maildir::Body> TryOpenBody(const engine::MailboxId&, const engine::Message& message) override {
    ++opened;
    return files_away || lost.contains(message.uid) ? nullptr : files_[message.uid];
  }
  std::vector<std::optional<std::string>> CachedStructures(const std::vector<journal::Guid>& guids) override {
    std::vector<std::optional<std::string>> out;
    for (const journal::Guid& guid : guids) {
      const auto found = cache.find(guid);
      out.push_back(found != cache.end() ? std::optional(found->second) : std::nullopt);
    }
    return out;
  }
  void CacheStructure(const journal::Guid& guid, std::string bytes) override { cache[guid] = std::move(bytes); }
  engine::Uid RecentFrom(const engine::MailboxId&, bool) override { return 0; }

  const maildir::Mailbox& mailbox() const { return *state_.Find(mailbox_id_); }

  bool files_away = false;     // until Arrive
  std::set<engine::Uid> lost;  // for ever
  absl::Status store_status;   // what STORE answers
  std::vector<engine::StoreFlagsCommand> stores;
  int opened = 0;
  std::map<journal::Guid, std::string> cache;
  std::map<engine::Uid, std::shared_ptr<MemoryMessage>> files_;

 private:
  engine::MailboxId mailbox_id_;
  maildir::AccountState state_;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace gemel::imap
