// One IMAP session's hold on an account. Private to engine/; the front end sees AccountSession.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/apply.h"
#include "engine/service.h"

namespace gemel::engine {

class NodeImpl;
struct LiveAccount;

class AccountSessionImpl final : public AccountSession {
 public:
  AccountSessionImpl(NodeImpl& node, LiveAccount& live, AccountListener& listener, bool read_only);
  ~AccountSessionImpl() override;

  const AccountState& state() const override;
  bool read_only() const override { return read_only_ || closed_; }
  void Submit(Command command, std::function<void(CommandResult)> done) override;
  std::unique_ptr<Append> BeginAppend(AppendOptions options) override;
  void OpenBody(const MailboxId& mailbox, const Message& message,
                std::function<void(absl::StatusOr<std::shared_ptr<maildir::Body>>)> done) override;
  std::shared_ptr<maildir::Body> TryOpenBody(const MailboxId& mailbox, const Message& message) override;
  std::vector<std::optional<std::string>> CachedStructures(const std::vector<journal::Guid>& guids) override;
  void CacheStructure(const journal::Guid& guid, std::string bytes) override;
  Uid RecentFrom(const MailboxId& mailbox, bool take) override;

  // From the node: what has changed (the state has it already), and that the session must end.
  void Tell(const Effects& effects);
  void TellClosed(std::string_view reason);

  NodeImpl& node() { return node_; }
  LiveAccount& live() { return live_; }
  std::weak_ptr<bool> alive() const { return alive_; }

 private:
  // Turns a command into records; an error is the command's answer.
  absl::StatusOr<std::vector<journal::Record>> Records(const StoreFlagsCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const ExpungeCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const CopyCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const CreateCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const DeleteCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const RenameCommand& command);
  absl::StatusOr<std::vector<journal::Record>> Records(const SubscribeCommand& command);
  absl::StatusOr<std::vector<journal::Record>> RenameInbox(const Mailbox& inbox, const std::string& to);
  journal::Record Mail(journal::RecordBody body) const;
  SpecialUse SpecialUseOf(const std::string& name) const;
  // Appends records that make `name` and the parents that it lacks.
  absl::Status MakeMailboxes(const std::string& name, std::vector<journal::Record>& records, MailboxId* made);

  NodeImpl& node_;
  LiveAccount& live_;
  AccountListener& listener_;
  const bool read_only_;
  bool closed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gemel::engine
