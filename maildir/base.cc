#include "maildir/base.h"

#include <xxhash.h>

#include <utility>

#include "journal/wire.h"

namespace gemel::maildir {
namespace {

using journal::PutFixed;
using journal::PutVarint;
using journal::TakeFixed;
using journal::TakeVarint;

constexpr std::string_view kMagic = "GEMLBASE";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 8 + 4 + 8 + 16;  // magic, version, payload length, xxh3-128 of the payload

class Writer {
 public:
  explicit Writer(std::string* out) : out_(out) {}
  void Number(uint64_t value) { PutVarint(value, out_); }
  void Signed(int64_t value) { PutVarint(journal::ZigZag(value), out_); }
  void Text(std::string_view text) {
    Number(text.size());
    out_->append(text);
  }
  template <class Tag>
  void Id(const journal::Id128<Tag>& id) {
    out_->append(id.view());
  }
  void Of(const Dot& dot) {
    PutFixed<uint64_t>(dot.origin.node, out_);
    PutFixed<uint64_t>(dot.origin.incarnation, out_);
    Number(dot.seq);
  }
  void Of(const Message& message) {
    Number(message.uid);
    Of(message.dot);
    Id(message.guid);
    Number(message.modseq);
    Signed(message.internal_date_s);
    Number(message.bytes);
    Number(message.crlf_bytes);
    Number(message.flags);
  }
  void Of(const std::vector<std::string>& texts) {
    Number(texts.size());
    for (const std::string& text : texts) Text(text);
  }

 private:
  std::string* out_;
};

// Every method false at the first byte that does not fit; then *in is unspecified.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool done() const { return in_.empty(); }
  template <class T>
  bool Number(T* value) {
    uint64_t wide = 0;
    if (!TakeVarint(&in_, &wide)) return false;
    *value = static_cast<T>(wide);
    return static_cast<uint64_t>(*value) == wide;
  }
  bool Signed(int64_t* value) {
    uint64_t wide = 0;
    if (!TakeVarint(&in_, &wide)) return false;
    *value = journal::UnZigZag(wide);
    return true;
  }
  // A count of things of at least one byte each, so that a damaged one cannot ask for much memory.
  bool Count(size_t* count) { return Number(count) && *count <= in_.size(); }
  bool Text(std::string* text) {
    size_t bytes = 0;
    if (!Count(&bytes)) return false;
    text->assign(in_.substr(0, bytes));
    in_.remove_prefix(bytes);
    return true;
  }
  template <class Tag>
  bool Id(journal::Id128<Tag>* id) {
    if (in_.size() < 16) return false;
    *id = journal::Id128<Tag>::FromBytes(in_.substr(0, 16));
    in_.remove_prefix(16);
    return true;
  }
  bool Of(Dot* dot) {
    return TakeFixed(&in_, &dot->origin.node) && TakeFixed(&in_, &dot->origin.incarnation) && Number(&dot->seq);
  }
  bool Of(Message* message) {
    return Number(&message->uid) && Of(&message->dot) && Id(&message->guid) && Number(&message->modseq) &&
           Signed(&message->internal_date_s) && Number(&message->bytes) && Number(&message->crlf_bytes) &&
           Number(&message->flags);
  }
  bool Of(std::vector<std::string>* texts) {
    size_t count = 0;
    if (!Count(&count)) return false;
    for (size_t i = 0; i < count; ++i) {
      if (!Text(&texts->emplace_back())) return false;
    }
    return true;
  }
  bool Clock(journal::VectorClock* clock) {
    auto decoded = journal::VectorClock::Decode(&in_);
    if (!decoded.ok()) return false;
    *clock = *std::move(decoded);
    return true;
  }

 private:
  std::string_view in_;
};

void PutMailboxTo(const Mailbox& mailbox, Writer* out) {
  out->Id(mailbox.id);
  out->Text(mailbox.name);
  out->Number(mailbox.uid_validity);
  out->Number(mailbox.uid_next);
  out->Number(mailbox.highest_modseq);
  out->Number(static_cast<uint64_t>(mailbox.special_use));
  out->Of(mailbox.keywords);
  out->Number(mailbox.keyword_sets.size());
  for (const auto& set : mailbox.keyword_sets) {
    out->Number(set.size());
    for (const uint16_t index : set) out->Number(index);
  }
  out->Number(mailbox.messages.size());
  for (const Message& message : mailbox.messages) {
    out->Of(message);
    out->Number(message.keywords);
  }
  out->Number(mailbox.vanished.size());
  for (const Vanished& gone : mailbox.vanished) {
    out->Number(gone.uid);
    out->Number(gone.modseq);
  }
}

bool TakeKeywordSets(Reader* in, Mailbox* mailbox) {
  size_t sets = 0;
  if (!in->Count(&sets) || sets == 0) return false;
  mailbox->keyword_sets.assign(sets, {});
  for (size_t i = 0; i < sets; ++i) {
    size_t count = 0;
    if (!in->Count(&count) || (i == 0 && count != 0)) return false;
    for (size_t k = 0; k < count; ++k) {
      uint16_t index = 0;
      if (!in->Number(&index) || index >= mailbox->keywords.size()) return false;
      mailbox->keyword_sets[i].push_back(index);
    }
  }
  return true;
}

bool TakeMailbox(Reader* in, Mailbox* mailbox) {
  uint8_t special_use = 0;
  if (!in->Id(&mailbox->id) || !in->Text(&mailbox->name) || !in->Number(&mailbox->uid_validity) ||
      !in->Number(&mailbox->uid_next) || !in->Number(&mailbox->highest_modseq) || !in->Number(&special_use) ||
      !in->Of(&mailbox->keywords) || !TakeKeywordSets(in, mailbox)) {
    return false;
  }
  mailbox->special_use = static_cast<SpecialUse>(special_use);
  size_t messages = 0;
  if (!in->Count(&messages)) return false;
  for (size_t i = 0; i < messages; ++i) {
    Message message;
    if (!in->Of(&message) || !in->Number(&message.keywords)) return false;
    if (message.keywords >= mailbox->keyword_sets.size()) return false;
    if (!mailbox->messages.empty() && mailbox->messages.back().uid >= message.uid) return false;
    mailbox->Insert(message);
  }
  size_t vanished = 0;
  if (!in->Count(&vanished)) return false;
  for (size_t i = 0; i < vanished; ++i) {
    Vanished& gone = mailbox->vanished.emplace_back();
    if (!in->Number(&gone.uid) || !in->Number(&gone.modseq)) return false;
  }
  return true;
}

bool TakeState(Reader* in, AccountState* state) {
  size_t mailboxes = 0;
  if (!in->Id(&state->id) || !in->Text(&state->name) || !in->Number(&state->highest_modseq) ||
      !in->Number(&state->last_uid_validity) || !in->Clock(&state->applied) || !in->Count(&mailboxes)) {
    return false;
  }
  for (size_t i = 0; i < mailboxes; ++i) {
    Mailbox mailbox;
    if (!TakeMailbox(in, &mailbox)) return false;
    const MailboxId id = mailbox.id;
    if (!state->mailboxes.emplace(id, std::move(mailbox)).second) return false;
  }
  std::vector<std::string> subscriptions;
  if (!in->Of(&subscriptions)) return false;
  state->subscriptions.insert(subscriptions.begin(), subscriptions.end());
  size_t unplaced = 0;
  if (!in->Count(&unplaced)) return false;
  for (size_t i = 0; i < unplaced; ++i) {
    Unplaced waiting;
    if (!in->Of(&waiting.message) || !in->Id(&waiting.wanted) || !in->Of(&waiting.keywords)) return false;
    const Dot dot = waiting.message.dot;
    state->unplaced.emplace(dot, std::move(waiting));
  }
  return in->done();
}

}  // namespace

std::string EncodeBase(const AccountState& state) {
  std::string payload;
  Writer out(&payload);
  out.Id(state.id);
  out.Text(state.name);
  out.Number(state.highest_modseq);
  out.Number(state.last_uid_validity);
  state.applied.EncodeTo(&payload);
  out.Number(state.mailboxes.size());
  for (const auto& [id, mailbox] : state.mailboxes) PutMailboxTo(mailbox, &out);
  out.Of(std::vector<std::string>(state.subscriptions.begin(), state.subscriptions.end()));
  out.Number(state.unplaced.size());
  for (const auto& [dot, waiting] : state.unplaced) {
    out.Of(waiting.message);
    out.Id(waiting.wanted);
    out.Of(waiting.keywords);
  }
  std::string bytes(kMagic);
  PutFixed<uint32_t>(kVersion, &bytes);
  PutFixed<uint64_t>(payload.size(), &bytes);
  const XXH128_hash_t hash = XXH3_128bits(payload.data(), payload.size());
  PutFixed<uint64_t>(hash.low64, &bytes);
  PutFixed<uint64_t>(hash.high64, &bytes);
  return bytes + payload;
}

absl::StatusOr<AccountState> DecodeBase(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || !bytes.starts_with(kMagic)) return absl::DataLossError("not a base file");
  const auto version = journal::GetFixed<uint32_t>(bytes.data() + 8);
  if (version != kVersion) {
    return absl::UnimplementedError("base of version " + std::to_string(version) + "; this program reads version " +
                                    std::to_string(kVersion));
  }
  const std::string_view payload = bytes.substr(kHeaderBytes);
  const XXH128_hash_t hash = XXH3_128bits(payload.data(), payload.size());
  if (journal::GetFixed<uint64_t>(bytes.data() + 12) != payload.size() ||
      journal::GetFixed<uint64_t>(bytes.data() + 20) != hash.low64 ||
      journal::GetFixed<uint64_t>(bytes.data() + 28) != hash.high64) {
    return absl::DataLossError("base is damaged: length or checksum differs");
  }
  AccountState state;
  Reader in(payload);
  if (!TakeState(&in, &state)) return absl::DataLossError("base is damaged: its content does not fit its checksum");
  return state;
}

}  // namespace gemel::maildir
