#include "journal/record_samples.h"

namespace gemel::journal {
namespace {

template <class Id>
Id IdOf(uint8_t seed) {
  Id id;
  for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<uint8_t>(seed + i);
  return id;
}

const Origin kOne{0x1111111111111111, 0xaaaaaaaaaaaaaaaa};
const Origin kTwo{0x2222222222222222, 0xbbbbbbbbbbbbbbbb};

std::vector<RecordBody> SampleBodies() {
  VectorClock clock;
  clock.Raise(kOne, 17);
  clock.Raise(kTwo, 300);
  const auto inbox = IdOf<MailboxId>(0x40);
  const auto work = IdOf<MailboxId>(0x60);
  Deliver deliver{.via = Via::kLmtp,
                  .wanted = inbox,
                  .guid = IdOf<Guid>(0x80),
                  .internal_date_s = 1795475701,
                  .sender = "carol@example.org",
                  .recipient = "ann+lists@example.test",
                  .message_id_hash = 0x0123456789abcdef,
                  .bytes = 70,
                  .crlf_bytes = 75,
                  .flags = kSeen | kFlagged,
                  .keywords = {"$Important", "later"},
                  .trace = "Return-Path: <carol@example.org>\n",
                  .inline_body = "Subject: tea\n\nAt four, as always?\n",
                  .order = Order{inbox, 7, (uint64_t{8} << 32) + 5}};
  for (size_t i = 0; i < deliver.content_hash.size(); ++i) deliver.content_hash[i] = static_cast<uint8_t>(i);
  return {
      Start{.place = 1, .predecessor = kOne, .predecessor_seq = 4711, .version = "0.1.0"},
      Closed{.origin = kOne, .seq = 4711},
      GenerationBegin{.number = 2,
                      .kind = GenerationKind::kPaired,
                      .writer = kOne.node,
                      .writer_place = 1,
                      .parents = {{1, GenerationKind::kSolo, kOne.node, clock}, {1, GenerationKind::kPaired, 9, {}}},
                      .reason = "paired"},
      PeerSet{.node = kTwo.node,
              .place = 1,
              .link_address = "mx2.example.test:7425",
              .key_fingerprint = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"},
      AccountSet{.name = "Ann@example.test",
                 .create = true,
                 .home_place = 1,
                 .password_hash = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
                 .enabled = true,
                 .exists = true},
      DomainSet{.domain = "b\xc3\xbc"
                          "cher.example",
                .exists = true,
                .alias_of = "example.test"},
      AliasSet{.address = "office@example.test", .targets = {"ann@example.test", "bob@example.test"}},
      Release{.to_place = 1, .highest_modseq = uint64_t{8} << 32, .uidnexts = {{inbox, 8}, {work, 65537}}},
      Take{.place = 1, .release = {kOne, 99}},
      BodyChunk{.first = 12, .offset = 262144, .last = true, .bytes = "the end of a long letter\n"},
      BodyDrop{.first = 12},
      deliver,
      Place{.mailbox = inbox, .modseq = 77, .messages = {{{kTwo, 300}, 9}, {{kTwo, 302}, 10}, {{kOne, 5}, 4}}},
      FlagsChange{.mailbox = inbox,
                  .op = FlagOp::kReplace,
                  .flags = kAnswered | kDraft,
                  .keywords = {"$Forwarded"},
                  .modseq = 78,
                  .unchanged_since = 70,
                  .messages = {{kOne, 5}, {kOne, 6}, {kTwo, 300}, {kOne, 4}}},
      Expunge{.mailbox = inbox, .modseq = 79, .only_deleted = true, .messages = {{kOne, 5}}},
      Copy{.source = {kOne, 6}, .from = inbox, .order = {work, 1, 80}},
      Move{.from = inbox, .to = work, .modseq = 81, .messages = {{{kOne, 6}, 2}, {{kTwo, 300}, 3}}},
      MailboxCreate{.mailbox = work,
                    .name = "Work/2026",
                    .uid_validity = 1795475702,
                    .modseq = 82,
                    .special_use = SpecialUse::kArchive,
                    .subscribed = true},
      MailboxRename{.mailbox = work, .name = "Work/old"},
      MailboxDelete{.mailbox = work, .modseq = 83},
      Subscribe{.name = "Work/2026", .on = false}};
}

// Fills any field at random; the lengths are small so that many records are tried.
class Randomizer {
 public:
  explicit Randomizer(std::mt19937_64& rng) : rng_(rng) {}

  uint64_t Below(uint64_t limit) { return rng_() % limit; }
  uint64_t Wide() { return rng_() >> Below(64); }
  std::string String(size_t bytes_max) {
    std::string out(Below(bytes_max + 1), '\0');
    for (char& c : out) c = static_cast<char>(rng_());
    return out;
  }
  template <class Id>
  Id AnyId() {
    Id id;
    for (uint8_t& byte : id.bytes) byte = static_cast<uint8_t>(rng_());
    return id;
  }
  Origin AnyOrigin() { return {1 + Below(3), 1 + Below(3)}; }
  Dot AnyDot() { return {AnyOrigin(), Wide()}; }
  bool Coin() { return Below(2) == 1; }
  template <class E>
  E Enum(E max) {
    return static_cast<E>(Below(static_cast<uint64_t>(max) + 1));
  }
  VectorClock AnyClock() {
    VectorClock clock;
    for (uint64_t i = Below(5); i > 0; --i) clock.Raise(AnyOrigin(), Wide());
    return clock;
  }
  template <class Make>
  auto List(size_t count_max, const Make& make) {
    std::vector<decltype(make())> out;
    for (uint64_t i = Below(count_max + 1); i > 0; --i) out.push_back(make());
    return out;
  }
  Order AnyOrder() { return {AnyId<MailboxId>(), static_cast<Uid>(rng_()), Wide()}; }
  PlacedMessage AnyPlaced() { return {AnyDot(), static_cast<Uid>(rng_())}; }

 private:
  std::mt19937_64& rng_;
};

}  // namespace

std::vector<Record> SampleRecords(Hlc base) {
  std::vector<Record> records;
  for (RecordBody& body : SampleBodies()) {
    const size_t i = records.size();
    records.push_back({.account = i < 4 ? AccountId{} : AccountIdOf("ann@example.test"),
                       .time = base + i * 3,
                       .group_continues = i % 5 == 1,
                       .body = std::move(body)});
  }
  return records;
}

Record RandomRecord(std::mt19937_64& rng, Hlc base) {
  Randomizer r(rng);
  const auto text = [&r] { return r.String(20); };
  Record record;
  record.time = base + r.Wide() / 2;
  record.group_continues = r.Coin();
  if (r.Coin()) record.account = r.AnyId<AccountId>();
  std::vector<RecordBody> bodies = SampleBodies();
  record.body = std::move(bodies[r.Below(bodies.size())]);
  if (auto* deliver = std::get_if<Deliver>(&record.body)) {
    deliver->via = r.Enum(Via::kImport);
    deliver->internal_date_s = static_cast<int64_t>(r.Wide()) - (1 << 20);
    deliver->sender = text();
    deliver->message_id_hash = r.Wide();
    deliver->bytes = r.Wide();
    deliver->keywords = r.List(3, text);
    deliver->trace = text();
    deliver->body = r.Wide();
    deliver->body_done = r.Coin();
    deliver->inline_body = r.String(3000);
    if (r.Coin()) deliver->order.reset();
    if (deliver->order) deliver->order = r.AnyOrder();
  } else if (auto* begin = std::get_if<GenerationBegin>(&record.body)) {
    begin->number = static_cast<Generation>(r.Wide());
    begin->writer = r.Wide();
    begin->parents = r.List(3, [&r] {
      return GenerationParent{static_cast<Generation>(r.Wide()), r.Enum(GenerationKind::kSolo), r.Wide(), r.AnyClock()};
    });
  } else if (auto* account = std::get_if<AccountSet>(&record.body)) {
    account->create = r.Coin();
    if (r.Coin()) account->home_place.reset();
    if (r.Coin()) account->password_hash.reset();
    if (r.Coin()) account->enabled.reset();
    if (account->exists && r.Coin()) account->exists = false;
  } else if (auto* chunk = std::get_if<BodyChunk>(&record.body)) {
    chunk->first = r.Wide();
    chunk->offset = r.Wide();
    chunk->last = r.Coin();
    chunk->bytes = r.String(20000);
  } else if (auto* place = std::get_if<Place>(&record.body)) {
    place->messages = r.List(20, [&r] { return r.AnyPlaced(); });
  } else if (auto* flags = std::get_if<FlagsChange>(&record.body)) {
    flags->op = r.Enum(FlagOp::kReplace);
    flags->keywords = r.List(4, text);
    flags->modseq = r.Wide();
    flags->messages = r.List(40, [&r] { return r.AnyDot(); });
  } else if (auto* expunge = std::get_if<Expunge>(&record.body)) {
    expunge->only_deleted = r.Coin();
    expunge->messages = r.List(40, [&r] { return r.AnyDot(); });
  } else if (auto* move = std::get_if<Move>(&record.body)) {
    move->messages = r.List(20, [&r] { return r.AnyPlaced(); });
  } else if (auto* create = std::get_if<MailboxCreate>(&record.body)) {
    create->special_use = r.Enum(SpecialUse::kArchive);
    create->name = text();
  } else if (auto* release = std::get_if<Release>(&record.body)) {
    release->uidnexts = r.List(5, [&r] { return std::pair<MailboxId, Uid>(r.AnyId<MailboxId>(), Uid(r.Wide())); });
  }
  return record;
}

}  // namespace gemel::journal
