// For tests: an account as the engine would keep it, which makes the operations for the store and says what its files
// must be. Deterministic: everything follows from the seed.
#pragma once
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "maildir/account_state.h"
#include "maildir/file_name.h"
#include "maildir/folder_names.h"
#include "maildir/store.h"

namespace gemel::maildir {

class StoreModel {
 public:
  explicit StoreModel(const std::string& name, uint32_t seed = 1) : random_(seed) {
    state.id = journal::AccountIdOf(name);
    state.name = name;
    origin_ = {.node = 7, .incarnation = journal::AccountIdOf(name).bytes[0] + 1u};
  }

  AccountState state;
  std::map<Guid, std::string> contents;      // trace and body
  std::vector<StoreBatch> log;               // all batches so far, as a journal would give them again
  absl::StatusOr<bool> Send(Store& store) {  // what was done since the last Send, as one batch
    if (items_.empty()) return false;
    StoreBatch batch;
    batch.items = std::exchange(items_, {});
    journal::VectorClock clock;
    clock.Raise(origin_, Next());  // so that no two batches have one clock
    state.applied = clock;
    batch.applied = std::make_shared<journal::VectorClock>(clock);
    batch.position = ++position_;
    log.push_back(batch);
    store.Enqueue(std::move(batch));
    return true;
  }
  // The batches behind a checkpoint, again.
  void Replay(Store& store) const {
    for (const StoreBatch& batch : log) {
      if (batch.position > store.last_checkpoint().position) store.Enqueue(batch);
    }
  }

  MailboxId Create(const std::string& name) {
    Mailbox mailbox;
    const uint64_t number = Next();
    std::string bytes(16, 'm');
    std::memcpy(bytes.data(), &number, sizeof number);
    mailbox.id = MailboxId::FromBytes(bytes);
    mailbox.name = name;
    mailbox.uid_validity = state.last_uid_validity += 2;
    mailbox.highest_modseq = ++state.highest_modseq;
    const MailboxId id = mailbox.id;
    state.mailboxes[id] = std::move(mailbox);
    Touch(id);
    return id;
  }
  void Rename(const MailboxId& id, const std::string& name) {
    state.Find(id)->name = name;
    Touch(id);
  }
  void Drop(MailboxId id) {
    while (!state.Find(id)->messages.empty()) Expunge(id, state.Find(id)->messages.front().uid);
    state.mailboxes.erase(id);
    Add(DropMailbox{.mailbox = id, .modseq = ++state.highest_modseq});
  }
  Message NewMessage(const std::string& trace, const std::string& body) {
    Message message;
    message.dot = {.origin = origin_, .seq = Next()};
    std::string guid(16, 'g');
    std::memcpy(guid.data(), &message.dot.seq, 8);
    std::memcpy(guid.data() + 8, &origin_.incarnation, 8);
    message.guid = Guid::FromBytes(guid);
    message.internal_date_s = 1'700'000'000 + static_cast<int64_t>(message.dot.seq);
    message.bytes = trace.size() + body.size();
    message.crlf_bytes = message.bytes + 3;
    contents[message.guid] = trace + body;
    return message;
  }
  Uid Deliver(const MailboxId& id, const std::string& body, Flags flags = 0, std::vector<std::string> keywords = {}) {
    const std::string trace = "Return-Path: <a@b>\n";
    Message message = NewMessage(trace, body);
    message.flags = flags;
    Give(id, &message, keywords);
    Add(PutMessage{.mailbox = id,
                   .message = message,
                   .keywords = keywords,
                   .trace = trace,
                   .body = InlineBody{std::make_shared<const std::string>(body)}});
    Touch(id);
    return message.uid;
  }
  Dot Spool(const std::string& body, size_t chunk_bytes) {
    const Dot dot{.origin = origin_, .seq = Next()};
    for (size_t offset = 0; offset < body.size(); offset += chunk_bytes) {
      const std::string piece = body.substr(offset, chunk_bytes);
      Add(SpoolChunk{.body = dot, .offset = offset, .last = offset + piece.size() == body.size(), .bytes = piece}, {});
    }
    return dot;
  }
  Uid DeliverSpooled(const MailboxId& id, const Dot& dot, const std::string& body, bool done) {
    const std::string trace = "Delivered-To: x\n";
    Message message = NewMessage(trace, body);
    Give(id, &message, {});
    Add(PutMessage{.mailbox = id,
                   .message = message,
                   .keywords = {},
                   .trace = trace,
                   .body = SpooledBody{.body = dot, .done = done}});
    Touch(id);
    return message.uid;
  }
  Dot DeliverUnplaced(const MailboxId& wanted, const std::string& body) {
    Unplaced waiting{.message = NewMessage("T: t\n", body), .wanted = wanted, .keywords = {}};
    Add(PutUnplaced{
        .unplaced = waiting, .trace = "T: t\n", .body = InlineBody{std::make_shared<const std::string>(body)}});
    const Dot dot = waiting.message.dot;
    state.unplaced[dot] = waiting;
    return dot;
  }
  Uid Place(const Dot& dot, const MailboxId& id) {
    Message message = state.unplaced.at(dot).message;
    state.unplaced.erase(dot);
    Give(id, &message, {});
    Add(PlaceMessage{.mailbox = id, .message = message, .keywords = {}});
    Touch(id);
    return message.uid;
  }
  void SetFlags(const MailboxId& id, Uid uid, Flags flags, const std::vector<std::string>& keywords = {}) {
    Mailbox& mailbox = *state.Find(id);
    Message& message = *mailbox.Find(uid);
    message.flags = flags;
    message.keywords = mailbox.Intern(keywords);
    message.modseq = mailbox.highest_modseq = ++state.highest_modseq;
    Add(PutFlags{.mailbox = id, .message = message, .keywords = mailbox.KeywordNames(message.keywords)});
    Touch(id);
  }
  void Expunge(const MailboxId& id, Uid uid) {
    Mailbox& mailbox = *state.Find(id);
    const Dot dot = mailbox.Find(uid)->dot;
    mailbox.Remove(uid);
    mailbox.highest_modseq = ++state.highest_modseq;
    mailbox.vanished.push_back({.uid = uid, .modseq = state.highest_modseq});
    Add(DropMessage{.mailbox = id, .dot = dot, .uid = uid, .modseq = state.highest_modseq});
    Touch(id);
  }
  Uid Copy(const MailboxId& from, Uid uid, const MailboxId& to) {
    const Message source = *state.Find(from)->Find(uid);
    const auto keywords = state.Find(from)->KeywordNames(source.keywords);
    Message message = source;
    message.dot = {.origin = origin_, .seq = Next()};
    Give(to, &message, keywords);
    Add(CopyMessage{.from = from, .source = source.dot, .to = to, .message = message, .keywords = keywords});
    Touch(to);
    return message.uid;
  }
  Uid Move(const MailboxId& from, Uid uid, const MailboxId& to) {
    Message message = *state.Find(from)->Find(uid);
    const auto keywords = state.Find(from)->KeywordNames(message.keywords);
    state.Find(from)->Remove(uid);
    Give(to, &message, keywords);
    state.Find(from)->highest_modseq = state.highest_modseq;
    state.Find(from)->vanished.push_back({.uid = uid, .modseq = state.highest_modseq});
    Add(MoveMessage{.from = from,
                    .to = to,
                    .old_uid = uid,
                    .vanished_modseq = state.highest_modseq,
                    .message = message,
                    .keywords = keywords});
    Touch(to);
    Touch(from);
    return message.uid;
  }
  void Subscribe(const std::string& name) {
    state.subscriptions.insert(name);
    Add(PutSubscriptions{{state.subscriptions.begin(), state.subscriptions.end()}});
  }

  // One random command, at least one batch's worth.
  void Step() {
    std::vector<MailboxId> ids;
    for (const auto& [id, mailbox] : state.mailboxes) ids.push_back(id);
    if (ids.empty()) {
      Create("INBOX");
      return;
    }
    const MailboxId id = ids[Pick(ids.size())];
    const MailboxId other = ids[Pick(ids.size())];
    const Mailbox& mailbox = *state.Find(id);
    const Uid uid = mailbox.messages.empty() ? 0 : mailbox.messages[Pick(mailbox.messages.size())].uid;
    const bool inbox = mailbox.name == "INBOX";
    const size_t what = Pick(20);
    if (what < 6 || uid == 0) {
      Deliver(id, "Subject: " + std::to_string(Pick(1000)) + "\n\n" + std::string(Pick(3000), 'x') + "\n");
    } else if (what < 10) {
      static const std::vector<std::vector<std::string>> kKeywords{{}, {}, {"$Forwarded"}, {"b", "a"}};
      SetFlags(id, uid, static_cast<Flags>(Pick(4) == 0 ? 0 : Pick(32)), kKeywords[Pick(4)]);
    } else if (what < 12) {
      Expunge(id, uid);
    } else if (what < 14) {
      Copy(id, uid, other);
    } else if (what < 16) {
      if (id != other) Move(id, uid, other);
    } else if (what == 16) {
      if (ids.size() < 8) Create("Box" + std::to_string(Pick(1000000)) + "/v1.0 é");
    } else if (what == 17) {
      if (!inbox) Rename(id, "Renamed " + std::to_string(Pick(1000000)));
    } else if (what == 18) {
      if (!inbox && Pick(3) == 0) Drop(id);
    } else {
      const Dot dot = DeliverUnplaced(id, "Subject: u\n\n" + std::to_string(Pick(100000)) + "\n");
      if (Pick(4) != 0) Place(dot, other);
    }
  }

  // Path below Maildir -> content, of all message files.
  std::map<std::string, std::string> ExpectedFiles() const {
    std::map<std::string, std::string> files;
    for (const auto& [id, mailbox] : state.mailboxes) {
      const std::string directory = *DirectoryOfMailbox(mailbox.name);
      for (const Message& message : mailbox.messages) {
        const std::string path = RelativePath(message, mailbox.keyword_sets[message.keywords]);
        files[(directory.empty() ? "" : directory + "/") + path] = contents.at(message.guid);
      }
    }
    return files;
  }

  size_t Pick(size_t below) { return static_cast<size_t>(random_()) % below; }

 private:
  uint64_t Next() { return next_seq_++; }
  void Give(const MailboxId& id, Message* message, const std::vector<std::string>& keywords) {
    Mailbox& mailbox = *state.Find(id);
    message->uid = mailbox.uid_next++;
    message->modseq = mailbox.highest_modseq = ++state.highest_modseq;
    message->keywords = mailbox.Intern(keywords);
    mailbox.Insert(*message);
  }
  void Touch(const MailboxId& id) {
    const Mailbox& mailbox = *state.Find(id);
    Add(PutMailbox{.mailbox = id,
                   .name = mailbox.name,
                   .uid_validity = mailbox.uid_validity,
                   .uid_next = mailbox.uid_next,
                   .highest_modseq = mailbox.highest_modseq,
                   .special_use = mailbox.special_use,
                   .keywords = mailbox.keywords});
  }
  void Add(StoreOp op) { Add(std::move(op), state.id); }
  void Add(StoreOp op, const AccountId& account) { items_.push_back({.account = account, .op = std::move(op)}); }

  std::mt19937 random_;
  journal::Origin origin_;
  journal::Seq next_seq_ = 1;
  journal::Position position_ = 0;
  std::vector<StoreBatch::Item> items_;
};

}  // namespace gemel::maildir
