// New messages: deliveries from SMTP and LMTP, and APPEND.
#include <openssl/evp.h>
#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/header_scan.h"
#include "engine/node_impl.h"
#include "engine/sessions.h"

namespace gemel::engine {
namespace {

using journal::BodyChunk;
using journal::Deliver;
using journal::Record;
using journal::Seq;

// Chunks of one body that may be on their way to the journal at a time.
constexpr size_t kInFlightBytesMax = 1024 * 1024;
// The header is looked for the Message-ID in the first bytes only.
constexpr size_t kHeaderBytesMax = journal::kInlineBodyBytesMax;

// Takes a body while it arrives: keeps a small one, writes a large one to the journal in chunks.
class BodyWriter {
 public:
  explicit BodyWriter(NodeImpl& node) : node_(node), node_alive_(node.alive_), digest_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(digest_, EVP_sha256(), nullptr);
  }
  ~BodyWriter() {
    EVP_MD_CTX_free(digest_);
    if (first_ != 0 && !used_ && !node_alive_.expired()) {
      std::vector<Record> drop;
      drop.push_back({AccountId{}, 0, false, journal::BodyDrop{first_}});
      node_.Create(std::move(drop), nullptr);
    }
  }
  BodyWriter(const BodyWriter&) = delete;
  BodyWriter& operator=(const BodyWriter&) = delete;

  void Write(std::string_view bytes) {
    EVP_DigestUpdate(digest_, bytes.data(), bytes.size());
    bytes_ += bytes.size();
    lines_ += static_cast<uint64_t>(std::count(bytes.begin(), bytes.end(), '\n'));
    buffer_.append(bytes);
    size_t done = 0;
    while (buffer_.size() - done > (first_ == 0 ? std::max(journal::kInlineBodyBytesMax, journal::kBodyChunkBytes)
                                                : journal::kBodyChunkBytes)) {
      WriteChunk(std::string_view(buffer_).substr(done, journal::kBodyChunkBytes), false);
      done += journal::kBodyChunkBytes;
    }
    buffer_.erase(0, done);
  }
  bool writable() const { return in_flight_ < kInFlightBytesMax; }
  void OnWritable(std::function<void()> then) {
    if (writable()) return node_.PostSafely(std::move(then));
    on_writable_ = std::move(then);
  }

  // Fills the fields that all messages made of this body share. With more than one recipient, or a large body, the
  // body goes to a record of its own.
  void FinishInto(Deliver& deliver, size_t recipients) {
    EVP_DigestFinal_ex(digest_, deliver.content_hash.data(), nullptr);
    if (first_ == 0) NoteHeader();
    deliver.message_id_hash = message_id_hash_;
    deliver.bytes = bytes_;
    deliver.crlf_bytes = bytes_ + lines_;
    if (first_ == 0 && recipients == 1 && buffer_.size() <= journal::kInlineBodyBytesMax) {
      deliver.inline_body = std::move(buffer_);
    } else {
      WriteChunk(buffer_, true);
      deliver.body = first_;
    }
    used_ = true;
  }

 private:
  void NoteHeader() {
    HeaderScan header;
    header.Feed(std::string_view(buffer_).substr(0, kHeaderBytesMax));
    const std::string& id = header.message_id();
    message_id_hash_ = id.empty() ? 0 : XXH3_64bits(id.data(), id.size());
  }
  void WriteChunk(std::string_view bytes, bool last) {
    if (first_ == 0) NoteHeader();
    const size_t count = bytes.size();
    BodyChunk chunk;
    chunk.first = first_;
    chunk.offset = written_;
    chunk.last = last;
    chunk.bytes = bytes;
    written_ += count;
    in_flight_ += count;
    std::vector<Record> records;
    records.push_back({AccountId{}, 0, false, std::move(chunk)});
    const Seq seq = node_.Create(std::move(records), [this, alive = std::weak_ptr<bool>(alive_), count](CommandResult) {
      if (alive.expired()) return;
      in_flight_ -= count;
      if (writable() && on_writable_) std::exchange(on_writable_, nullptr)();
    });
    if (first_ == 0) first_ = seq;
  }

  NodeImpl& node_;
  std::weak_ptr<bool> node_alive_;
  EVP_MD_CTX* digest_;
  std::string buffer_;
  Seq first_ = 0;         // of the chunks; 0: none written yet
  uint64_t written_ = 0;  // in chunks
  uint64_t bytes_ = 0;
  uint64_t lines_ = 0;
  uint64_t message_id_hash_ = 0;
  size_t in_flight_ = 0;
  bool used_ = false;
  std::function<void()> on_writable_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

MailboxId WantedMailbox(const LiveAccount* live, const AccountId& account, const std::string& folder) {
  if (live != nullptr && !folder.empty()) {
    // user+folder: the name as it is, or with dots between the levels, as Postfix users write it.
    std::string dotted = folder;
    std::replace(dotted.begin(), dotted.end(), '.', '/');
    for (const std::string& name : {folder, dotted}) {
      if (const Mailbox* mailbox = live->state.FindName(name)) return mailbox->id;
    }
  }
  return InboxOf(account);
}

class DeliveryImpl final : public Delivery {
 public:
  DeliveryImpl(NodeImpl& node, Via via, std::string sender)
      : node_(node), via_(via), sender_(std::move(sender)), body_(node) {}

  void Write(std::string_view bytes) override { body_.Write(bytes); }
  bool writable() const override { return body_.writable(); }
  void OnWritable(std::function<void()> then) override { body_.OnWritable(std::move(then)); }

  void Finish(std::vector<Recipient> recipients, std::function<void(absl::Status)> done) override {
    if (absl::Status status = node_.AcceptingMail(); !status.ok()) {
      return node_.PostSafely([done = std::move(done), status = std::move(status)] { done(status); });
    }
    const size_t count = recipients.size();
    Deliver common;
    common.via = via_;
    common.sender = sender_;
    common.internal_date_s = node_.NowSeconds();
    body_.FinishInto(common, count);
    std::vector<Record> records;
    records.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      Recipient& recipient = recipients[i];
      const AccountId& id = recipient.target.account;
      const Account* account = node_.directory_.Find(id);
      const bool orders = account != nullptr && node_.Orders(*account);
      LiveAccount* live = orders || !recipient.target.folder.empty() ? node_.Live(id) : nullptr;
      Deliver deliver = i + 1 == count ? std::move(common) : common;
      deliver.guid = node_.NewGuid();
      deliver.recipient = std::move(recipient.address);
      deliver.bytes += recipient.trace.size();
      deliver.crlf_bytes += recipient.trace.size() +
                            static_cast<size_t>(std::count(recipient.trace.begin(), recipient.trace.end(), '\n'));
      deliver.trace = std::move(recipient.trace);
      deliver.body_done = deliver.body != 0 && i + 1 == count;
      deliver.wanted = WantedMailbox(live, id, recipient.target.folder);
      // A mailbox that cannot be opened now is no reason to refuse its letter: the journal has it, and it is placed as
      // one that came while its home was away (MendPassedOver).
      const Mailbox* mailbox = orders && live != nullptr ? live->state.Find(deliver.wanted) : nullptr;
      if (mailbox != nullptr) {
        deliver.order = journal::Order{mailbox->id, node_.GiveUid(*live, *mailbox), node_.GiveModSeq(*live)};
      }
      records.push_back({id, 0, false, std::move(deliver)});
    }
    node_.Create(std::move(records), [done = std::move(done)](CommandResult result) { done(result.status); });
  }

 private:
  NodeImpl& node_;
  const Via via_;
  const std::string sender_;
  BodyWriter body_;
};

class AppendImpl final : public AccountSession::Append {
 public:
  AppendImpl(AccountSessionImpl& session, AccountSession::AppendOptions options)
      : session_(session), alive_(session.alive()), options_(std::move(options)), body_(session.node()) {}

  void Write(std::string_view bytes) override { body_.Write(bytes); }
  bool writable() const override { return body_.writable(); }
  void OnWritable(std::function<void()> then) override { body_.OnWritable(std::move(then)); }

  void Finish(std::function<void(CommandResult)> done) override {
    if (alive_.expired()) return;
    NodeImpl& node = session_.node();
    const auto answer = [&node, &done](absl::Status status) {
      node.PostSafely([done = std::move(done), status = std::move(status)] {
        CommandResult result;
        result.status = status;
        done(std::move(result));
      });
    };
    LiveAccount& live = session_.live();
    const Account* account = node.directory_.Find(live.state.id);
    if (absl::Status status = node.RoomForParked(live.state.id); !status.ok()) return answer(std::move(status));
    if (session_.read_only() || account == nullptr || !node.Orders(*account)) {
      return answer(absl::UnavailableError("the server that keeps this mailbox is away; it can only be read for now"));
    }
    if (absl::Status status = node.AcceptingMail(); !status.ok()) return answer(std::move(status));
    const Mailbox* mailbox = live.state.Find(options_.mailbox);
    if (mailbox == nullptr) return answer(absl::NotFoundError("the mailbox was deleted"));
    if (!mailbox->HasRoomFor(options_.keywords)) {
      return answer(absl::OutOfRangeError("the mailbox has as many keywords as it may have"));
    }
    Deliver deliver;
    body_.FinishInto(deliver, 1);
    deliver.via = Via::kAppend;
    deliver.wanted = options_.mailbox;
    deliver.guid = node.NewGuid();
    deliver.internal_date_s = options_.internal_date_s.value_or(node.NowSeconds());
    deliver.flags = options_.flags;
    deliver.keywords = options_.keywords;
    deliver.body_done = deliver.body != 0;
    deliver.order = journal::Order{mailbox->id, node.GiveUid(live, *mailbox), node.GiveModSeq(live)};
    std::vector<Record> records;
    records.push_back({live.state.id, 0, false, std::move(deliver)});
    node.Create(std::move(records), [alive = alive_, done = std::move(done)](CommandResult result) {
      if (!alive.expired()) done(std::move(result));
    });
  }

 private:
  AccountSessionImpl& session_;
  std::weak_ptr<bool> alive_;
  AccountSession::AppendOptions options_;
  BodyWriter body_;
};

// A letter that another program put into a Maildir. Either node takes it.
class AdoptionImpl final : public AccountSession::Append {
 public:
  AdoptionImpl(NodeImpl& node, const AccountId& account, const maildir::Stranger& stranger)
      : node_(node), account_(account), stranger_(stranger), body_(node) {}

  void Write(std::string_view bytes) override { body_.Write(bytes); }
  bool writable() const override { return body_.writable(); }
  void OnWritable(std::function<void()> then) override { body_.OnWritable(std::move(then)); }

  void Finish(std::function<void(CommandResult)> done) override {
    absl::Status status = node_.AcceptingMail();
    const Account* account = node_.directory_.Find(account_);
    LiveAccount* live = account == nullptr ? nullptr : node_.Live(account_);
    if (status.ok() && live == nullptr) status = absl::UnavailableError("the mailbox cannot be opened for the moment");
    if (!status.ok()) {
      node_.PostSafely([done = std::move(done), status] { done(CommandResult{status, 0, {}}); });
      return;
    }
    Deliver deliver;
    body_.FinishInto(deliver, 1);
    deliver.via = Via::kAdopted;
    deliver.wanted = stranger_.mailbox;
    deliver.guid = node_.NewGuid();
    deliver.internal_date_s = stranger_.mtime_s;
    deliver.flags = stranger_.flags;
    if (node_.WasAdopted(*live, deliver)) {  // a crash came before its file was removed
      if (deliver.body != 0) node_.Create({{AccountId{}, 0, false, journal::BodyDrop{deliver.body}}}, nullptr);
      node_.PostSafely([done = std::move(done)] { done(CommandResult{}); });
      return;
    }
    deliver.body_done = deliver.body != 0;
    const Mailbox* mailbox = node_.Orders(*account) ? live->state.Find(stranger_.mailbox) : nullptr;
    if (mailbox != nullptr) {
      deliver.order = journal::Order{mailbox->id, node_.GiveUid(*live, *mailbox), node_.GiveModSeq(*live)};
    }
    std::vector<Record> records;
    records.push_back({account_, 0, false, std::move(deliver)});
    // It may be confirmed however late: who did not wait would adopt the file once more.
    node_.Create(std::move(records), std::move(done), /*grouped=*/true, /*patient=*/true);
  }

 private:
  NodeImpl& node_;
  const AccountId account_;
  const maildir::Stranger stranger_;
  BodyWriter body_;
};

}  // namespace

std::unique_ptr<Delivery> NodeImpl::BeginDelivery(Via via, std::string sender) {
  return std::make_unique<DeliveryImpl>(*this, via, std::move(sender));
}

std::unique_ptr<AccountSession::Append> AccountSessionImpl::BeginAppend(AppendOptions options) {
  return std::make_unique<AppendImpl>(*this, std::move(options));
}

std::unique_ptr<AccountSession::Append> NodeImpl::BeginAdoption(const AccountId& account,
                                                                const maildir::Stranger& stranger) {
  return std::make_unique<AdoptionImpl>(*this, account, stranger);
}

absl::StatusOr<std::vector<DeliveryTarget>> NodeImpl::LookUpRecipient(std::string_view address) {
  absl::StatusOr<std::vector<Directory::Target>> found = directory_.Resolve(address, options_.postmaster_accounts);
  if (!found.ok()) return found.status();
  std::vector<DeliveryTarget> targets;
  for (const Directory::Target& target : *found) {
    if (absl::Status status = RoomForParked(target.account->id); !status.ok()) return status;
    targets.push_back({target.account->id, target.account->name, target.folder});
  }
  return targets;
}

absl::Status NodeImpl::AcceptingMail() const {
  if (failed_) return absl::UnavailableError("the journal cannot be written; use the other server");
  if (stopping_) return absl::UnavailableError("this server is going down");
  if (directory_.generation() == nullptr) return absl::UnavailableError("this server has not met its peer yet");
  if (!pulling_back_.empty()) return absl::UnavailableError("this server fetches its records from the other one");
  if (disk_full_) return absl::ResourceExhaustedError("the disk is full");
  if (peer_disk_full_) return absl::ResourceExhaustedError("the disk of the other server is full");
  if (options_.ack_policy == AckPolicy::kPairRequired && identity_.peer && !peer_counts_ && !starting_) {
    return absl::UnavailableError("the other server is away, and the policy is pair-required");
  }
  if (journal_->pending_bytes() > options_.journal_backlog_bytes_max ||
      store_->backlog_bytes() > options_.store_backlog_bytes_max) {
    return absl::ResourceExhaustedError("too much mail is on its way to the disk");
  }
  return absl::OkStatus();
}

}  // namespace gemel::engine
