// The stored fields of each record, in their order: one list that encoding, decoding and dumping share, so that they
// cannot differ. Only record.cc and dump.cc include this. Bytes: journal/README.md, "Records".
//
// `io(name, field)` handles one field. io.Secret is for what a dump must not print (password hashes), io.Text for what
// it prints only the length of (message bytes).
#pragma once
#include <concepts>
#include <type_traits>

#include "journal/record.h"

namespace gemel::journal {

// T is R or const R: const where fields are read.
template <class T, class R>
concept Of = std::same_as<std::remove_const_t<T>, R>;

void Fields(auto& io, Of<Start> auto& r) {
  io("place", r.place);
  io("predecessor", r.predecessor);
  io("predecessor_seq", r.predecessor_seq);
  io("version", r.version);
}
void Fields(auto& io, Of<Closed> auto& r) {
  io("origin", r.origin);
  io("seq", r.seq);
}
void Fields(auto& io, Of<GenerationParent> auto& r) {
  io("number", r.number);
  io("kind", r.kind);
  io("writer", r.writer);
  io("clock", r.clock);
}
void Fields(auto& io, Of<GenerationBegin> auto& r) {
  io("number", r.number);
  io("kind", r.kind);
  io("writer", r.writer);
  io("writer_place", r.writer_place);
  io("parents", r.parents);
  io("reason", r.reason);
}
void Fields(auto& io, Of<PeerSet> auto& r) {
  io("node", r.node);
  io("place", r.place);
  io("link_address", r.link_address);
  io("key_fingerprint", r.key_fingerprint);
}
void Fields(auto& io, Of<AccountSet> auto& r) {
  io("name", r.name);
  io("create", r.create);
  io("home_place", r.home_place);
  io.Secret("password_hash", r.password_hash);
  io("enabled", r.enabled);
  io("exists", r.exists);
}
void Fields(auto& io, Of<DomainSet> auto& r) {
  io("domain", r.domain);
  io("exists", r.exists);
  io("alias_of", r.alias_of);
}
void Fields(auto& io, Of<AliasSet> auto& r) {
  io("address", r.address);
  io("targets", r.targets);
}
void Fields(auto& io, Of<Release> auto& r) {
  io("to_place", r.to_place);
  io("highest_modseq", r.highest_modseq);
  io("uidnexts", r.uidnexts);
}
void Fields(auto& io, Of<Take> auto& r) {
  io("place", r.place);
  io("release", r.release);
}
void Fields(auto& io, Of<BodyChunk> auto& r) {
  io("first", r.first);
  io("offset", r.offset);
  io("last", r.last);
  io.Text("bytes", r.bytes);
}
void Fields(auto& io, Of<BodyDrop> auto& r) { io("first", r.first); }
void Fields(auto& io, Of<Order> auto& r) {
  io("mailbox", r.mailbox);
  io("uid", r.uid);
  io("modseq", r.modseq);
}
void Fields(auto& io, Of<Deliver> auto& r) {
  io("via", r.via);
  io("wanted", r.wanted);
  io("guid", r.guid);
  io("internal_date_s", r.internal_date_s);
  io("sender", r.sender);
  io("recipient", r.recipient);
  io("message_id_hash", r.message_id_hash);
  io("content_hash", r.content_hash);
  io("bytes", r.bytes);
  io("crlf_bytes", r.crlf_bytes);
  io("flags", r.flags);
  io("keywords", r.keywords);
  io.Text("trace", r.trace);
  io("body", r.body);
  io("body_done", r.body_done);
  io.Text("inline_body", r.inline_body);
  io("order", r.order);
}
void Fields(auto& io, Of<Place> auto& r) {
  io("mailbox", r.mailbox);
  io("modseq", r.modseq);
  io("messages", r.messages);
}
void Fields(auto& io, Of<FlagsChange> auto& r) {
  io("mailbox", r.mailbox);
  io("op", r.op);
  io("flags", r.flags);
  io("keywords", r.keywords);
  io("modseq", r.modseq);
  io("unchanged_since", r.unchanged_since);
  io("messages", r.messages);
}
void Fields(auto& io, Of<Expunge> auto& r) {
  io("mailbox", r.mailbox);
  io("modseq", r.modseq);
  io("only_deleted", r.only_deleted);
  io("messages", r.messages);
}
void Fields(auto& io, Of<Copy> auto& r) {
  io("source", r.source);
  io("from", r.from);
  io("order", r.order);
}
void Fields(auto& io, Of<Move> auto& r) {
  io("from", r.from);
  io("to", r.to);
  io("modseq", r.modseq);
  io("messages", r.messages);
}
void Fields(auto& io, Of<MailboxCreate> auto& r) {
  io("mailbox", r.mailbox);
  io("name", r.name);
  io("uid_validity", r.uid_validity);
  io("modseq", r.modseq);
  io("special_use", r.special_use);
  io("subscribed", r.subscribed);
}
void Fields(auto& io, Of<MailboxRename> auto& r) {
  io("mailbox", r.mailbox);
  io("name", r.name);
}
void Fields(auto& io, Of<MailboxDelete> auto& r) {
  io("mailbox", r.mailbox);
  io("modseq", r.modseq);
}
void Fields(auto& io, Of<Subscribe> auto& r) {
  io("name", r.name);
  io("on", r.on);
}

// What a stored enum may be at most.
constexpr uint8_t EnumMax(GenerationKind) { return static_cast<uint8_t>(GenerationKind::kSolo); }
constexpr uint8_t EnumMax(Via) { return static_cast<uint8_t>(Via::kImport); }
constexpr uint8_t EnumMax(FlagOp) { return static_cast<uint8_t>(FlagOp::kReplace); }
constexpr uint8_t EnumMax(SpecialUse) { return static_cast<uint8_t>(SpecialUse::kArchive); }

}  // namespace gemel::journal
