#include "maildir/account_state.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "absl/strings/match.h"
#include "maildir/folder_names.h"

namespace gemel::maildir {
namespace {

template <class Messages>
auto LowerBound(Messages& messages, Uid uid) {
  return std::lower_bound(messages.begin(), messages.end(), uid,
                          [](const Message& message, Uid wanted) { return message.uid < wanted; });
}

// Where the mailbox has a keyword; its size where it has not. States of before names were folded may hold two
// spellings: each is found as it is written.
size_t IndexOf(const std::vector<std::string>& keywords, const std::string& name) {
  auto found = std::find(keywords.begin(), keywords.end(), name);
  if (found == keywords.end()) {
    found = std::find_if(keywords.begin(), keywords.end(),
                         [&name](const std::string& known) { return absl::EqualsIgnoreCase(known, name); });
  }
  return static_cast<size_t>(found - keywords.begin());
}

// Feeds a SHA-256 with self-delimiting values, so that no two states have the same bytes.
class Hasher {
 public:
  Hasher() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void Number(uint64_t value) {
    std::array<unsigned char, 8> bytes{};
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(value >> (8 * i));
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  void Text(std::string_view text) {
    Number(text.size());
    EVP_DigestUpdate(context_.get(), text.data(), text.size());
  }
  void Of(const Dot& dot) {
    Number(dot.origin.node);
    Number(dot.origin.incarnation);
    Number(dot.seq);
  }
  void Of(const Message& message, std::vector<std::string> keywords) {
    Number(message.uid);
    Of(message.dot);
    Text(message.guid.view());
    Number(message.modseq);
    Number(static_cast<uint64_t>(message.internal_date_s));
    Number(message.bytes);
    Number(message.crlf_bytes);
    Number(message.flags);
    std::sort(keywords.begin(), keywords.end());
    Number(keywords.size());
    for (const std::string& keyword : keywords) Text(keyword);
  }
  std::string Finish() {
    std::string out(32, '\0');
    unsigned int length = 0;
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(out.data()), &length);
    return out;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void HashMailbox(const Mailbox& mailbox, Hasher* hasher) {
  hasher->Text(mailbox.id.view());
  hasher->Text(mailbox.name);
  hasher->Number(mailbox.uid_validity);
  hasher->Number(mailbox.uid_next);
  hasher->Number(mailbox.highest_modseq);
  hasher->Number(static_cast<uint64_t>(mailbox.special_use));
  // In their order: it gives the Maildir letters.
  hasher->Number(mailbox.keywords.size());
  for (const std::string& keyword : mailbox.keywords) hasher->Text(keyword);
  hasher->Number(mailbox.messages.size());
  for (const Message& message : mailbox.messages) hasher->Of(message, mailbox.KeywordNames(message.keywords));
  // Within one MODSEQ there is no order that anybody could see.
  std::vector<Vanished> vanished = mailbox.vanished;
  std::sort(vanished.begin(), vanished.end(), [](const Vanished& a, const Vanished& b) {
    return std::pair(a.modseq, a.uid) < std::pair(b.modseq, b.uid);
  });
  hasher->Number(vanished.size());
  for (const Vanished& gone : vanished) {
    hasher->Number(gone.uid);
    hasher->Number(gone.modseq);
  }
}

}  // namespace

Message* Mailbox::Find(Uid uid) {
  const auto it = LowerBound(messages, uid);
  return it != messages.end() && it->uid == uid ? &*it : nullptr;
}

const Message* Mailbox::Find(Uid uid) const {
  const auto it = LowerBound(messages, uid);
  return it != messages.end() && it->uid == uid ? &*it : nullptr;
}

const Message* Mailbox::Find(const Dot& dot) const {
  const auto it = by_dot.find(dot);
  return it == by_dot.end() ? nullptr : Find(it->second);
}

KeywordSet Mailbox::Intern(const std::vector<std::string>& names) {
  if (names.empty()) return 0;
  std::vector<uint16_t> set;
  for (const std::string& keyword : names) {
    const size_t index = IndexOf(keywords, keyword);
    if (index > std::numeric_limits<uint16_t>::max()) continue;
    if (index == keywords.size()) keywords.push_back(keyword);
    set.push_back(static_cast<uint16_t>(index));
  }
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  // A mailbox has a handful of sets in practice: a search from the end finds the one just used.
  for (size_t i = keyword_sets.size(); i-- > 0;) {
    if (keyword_sets[i] == set) return static_cast<KeywordSet>(i);
  }
  keyword_sets.push_back(std::move(set));
  return static_cast<KeywordSet>(keyword_sets.size() - 1);
}

bool Mailbox::HasRoomFor(const std::vector<std::string>& names) const {
  const auto is_new = [this](const std::string& keyword) { return IndexOf(keywords, keyword) == keywords.size(); };
  const auto news = static_cast<size_t>(std::count_if(names.begin(), names.end(), is_new));
  return news == 0 || keywords.size() + news <= kMailboxKeywordsMax;
}

std::vector<std::string> Mailbox::KeywordNames(KeywordSet set) const {
  std::vector<std::string> names;
  if (set >= keyword_sets.size()) return names;
  names.reserve(keyword_sets[set].size());
  for (const uint16_t index : keyword_sets[set]) names.push_back(keywords[index]);
  return names;
}

bool Mailbox::Insert(const Message& message) {
  const bool last = messages.empty() || messages.back().uid < message.uid;
  const auto it = last ? messages.end() : LowerBound(messages, message.uid);
  if (it == messages.end() || it->uid != message.uid) {
    messages.insert(it, message);
  } else if (it->dot == message.dot) {
    *it = message;
  } else {
    return false;
  }
  by_dot[message.dot] = message.uid;
  return true;
}

bool Mailbox::Remove(Uid uid) {
  const size_t before = messages.size();
  RemoveAll({uid});
  return messages.size() < before;
}

void Mailbox::RemoveAll(std::vector<Uid> uids) {
  if (uids.empty()) return;
  std::sort(uids.begin(), uids.end());
  const auto goes = [&](const Message& message) {
    if (!std::binary_search(uids.begin(), uids.end(), message.uid)) return false;
    // A dot whose message was given another UID meanwhile points there.
    const auto dot = by_dot.find(message.dot);
    if (dot != by_dot.end() && dot->second == message.uid) by_dot.erase(dot);
    return true;
  };
  const auto first = LowerBound(messages, uids.front());
  const auto last = std::upper_bound(first, messages.end(), uids.back(),
                                     [](Uid uid, const Message& message) { return uid < message.uid; });
  messages.erase(std::remove_if(first, last, goes), last);
}

Mailbox* AccountState::Find(const MailboxId& mailbox) {
  const auto it = mailboxes.find(mailbox);
  return it == mailboxes.end() ? nullptr : &it->second;
}

const Mailbox* AccountState::Find(const MailboxId& mailbox) const {
  const auto it = mailboxes.find(mailbox);
  return it == mailboxes.end() ? nullptr : &it->second;
}

const Mailbox* AccountState::FindName(std::string_view wanted) const {
  for (const auto& [mailbox_id, mailbox] : mailboxes) {
    if (IsSameMailbox(mailbox.name, wanted)) return &mailbox;
  }
  return nullptr;
}

std::string Digest(const AccountState& state) {
  Hasher hasher;
  hasher.Text("gemel account digest 1");
  hasher.Text(state.id.view());
  hasher.Number(state.highest_modseq);
  hasher.Number(state.last_uid_validity);
  hasher.Number(state.mailboxes.size());
  for (const auto& [mailbox_id, mailbox] : state.mailboxes) HashMailbox(mailbox, &hasher);
  hasher.Number(state.subscriptions.size());
  for (const std::string& name : state.subscriptions) hasher.Text(name);
  hasher.Number(state.unplaced.size());
  for (const auto& [dot, unplaced] : state.unplaced) {
    hasher.Of(dot);
    hasher.Of(unplaced.message, unplaced.keywords);
    hasher.Text(unplaced.wanted.view());
  }
  return hasher.Finish();
}

}  // namespace gemel::maildir
