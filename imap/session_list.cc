// LIST and LSUB.
#include <map>
#include <set>
#include <utility>

#include "imap/append_run.h"
#include "imap/fetch_run.h"
#include "imap/list_pattern.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {
namespace {

using journal::SpecialUse;

// RFC 6154, 2
std::string_view SpecialUseAttribute(SpecialUse use) {
  switch (use) {
    case SpecialUse::kDrafts:
      return "\\Drafts";
    case SpecialUse::kSent:
      return "\\Sent";
    case SpecialUse::kJunk:
      return "\\Junk";
    case SpecialUse::kTrash:
      return "\\Trash";
    case SpecialUse::kArchive:
      return "\\Archive";
    case SpecialUse::kNone:
    case SpecialUse::kInbox:
      break;
  }
  return "";
}

// A name that can be listed; without a mailbox it is only the parent of some (\Noselect).
struct Entry {
  const engine::Mailbox* mailbox = nullptr;
  bool has_children = false;
};

std::map<std::string, Entry, std::less<>> EntriesOf(const engine::AccountState& state) {
  std::map<std::string, Entry, std::less<>> entries;
  for (const auto& [id, mailbox] : state.mailboxes) {
    entries[mailbox.name].mailbox = &mailbox;
    for (size_t slash = mailbox.name.rfind('/'); slash != std::string::npos && slash > 0;
         slash = mailbox.name.rfind('/', slash - 1)) {
      entries[mailbox.name.substr(0, slash)].has_children = true;
    }
  }
  return entries;
}

void PutLine(std::string_view command, std::string_view attributes, std::string_view name, std::string* out) {
  out->append("* ").append(command).append(" (").append(attributes).append(") \"/\" ");
  AppendMailboxName(name, out);
  *out += "\r\n";
}

void List(const engine::AccountState& state, std::string_view pattern, bool special_use_only, std::string* out) {
  for (const auto& [name, entry] : EntriesOf(state)) {
    const std::string_view special =
        entry.mailbox == nullptr ? std::string_view() : SpecialUseAttribute(entry.mailbox->special_use);
    if (special_use_only && special.empty()) continue;
    if (!MatchesListPattern(pattern, name)) continue;
    std::string attributes = entry.mailbox == nullptr ? "\\Noselect " : "";
    attributes += entry.has_children ? "\\HasChildren" : "\\HasNoChildren";
    if (!special.empty()) attributes.append(" ").append(special);
    PutLine("LIST", attributes, name, out);
  }
}

// A name that is not subscribed, but has subscribed children that the pattern does not reach, is told as \Noselect.
void Lsub(const engine::AccountState& state, std::string_view pattern, std::string* out) {
  std::set<std::string> parents;
  for (const std::string& name : state.subscriptions) {
    if (MatchesListPattern(pattern, name)) {
      PutLine("LSUB", state.FindName(name) == nullptr ? "\\Noselect" : "", name, out);
      continue;
    }
    for (size_t slash = name.rfind('/'); slash != std::string::npos && slash > 0; slash = name.rfind('/', slash - 1)) {
      std::string parent = name.substr(0, slash);
      if (!state.subscriptions.contains(parent) && MatchesListPattern(pattern, parent)) {
        parents.insert(std::move(parent));
      }
    }
  }
  for (const std::string& parent : parents) PutLine("LSUB", "\\Noselect", parent, out);
}

}  // namespace

// RFC 3501, 6.3.8 and 6.3.9; RFC 3348 (CHILDREN); RFC 6154 (SPECIAL-USE)
void Session::Handle(ListCommand& command) {
  const std::string_view what = command.lsub ? "Lsub completed." : "List completed.";
  if (command.pattern.empty() && !command.lsub) {
    PutLine("LIST", "\\Noselect", "", &out_);  // what is the separator?
    Ok(what);
    return;
  }
  const auto pattern = Utf8Name(command.reference + command.pattern);
  if (pattern.ok() && command.lsub) {
    Lsub(account_->state(), *pattern, &out_);
  } else if (pattern.ok()) {
    List(account_->state(), *pattern, command.special_use_only, &out_);
  }
  Ok(what);
}

}  // namespace gemel::imap
