// Commands that change or copy messages: STORE, COPY, MOVE, by message number or by UID.
#include <algorithm>
#include <utility>

#include "imap/append_run.h"
#include "imap/cursor.h"
#include "imap/fetch_run.h"
#include "imap/message_view.h"
#include "imap/response.h"
#include "imap/session_impl.h"

namespace gemel::imap {
namespace {

// What a message was before a STORE; afterwards it tells whether somebody else changed it too.
struct Before {
  engine::Uid uid = 0;
  journal::Flags flags = 0;
  std::vector<std::string> keywords;  // as Folded
};

// In upper case, sorted, each once: keywords are the same in any case.
std::vector<std::string> Folded(std::vector<std::string> names) {
  for (std::string& name : names) name = ToUpper(name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Before Applied(Before before, journal::FlagOp op, journal::Flags flags, const std::vector<std::string>& given) {
  const std::vector<std::string> keywords = Folded(given);
  switch (op) {
    case journal::FlagOp::kReplace:
      before.flags = flags;
      before.keywords = keywords;
      break;
    case journal::FlagOp::kAdd:
      before.flags |= flags;
      before.keywords.insert(before.keywords.end(), keywords.begin(), keywords.end());
      before.keywords = Folded(std::move(before.keywords));
      break;
    case journal::FlagOp::kRemove:
      before.flags = static_cast<journal::Flags>(before.flags & ~flags);
      std::erase_if(before.keywords, [&keywords](const std::string& name) {
        return std::find(keywords.begin(), keywords.end(), name) != keywords.end();
      });
      break;
  }
  return before;
}

// After STORE.SILENT: the client knows the flags of a message unless somebody else changed them too.
void ForgetExpectedChanges(const engine::Mailbox& mailbox, const std::vector<Before>& expected, MailboxView* view) {
  for (const Before& message : expected) {
    const engine::Message* now = mailbox.Find(message.uid);
    if (now != nullptr && now->flags == message.flags &&
        Folded(mailbox.KeywordNames(now->keywords)) == message.keywords) {
      view->ForgetChange(message.uid);
    }
  }
}

}  // namespace

// RFC 3501, 6.4.6 and 6.4.8
void Session::Handle(StoreCommand& command) {
  tell_expunges_ = command.uid;
  tell_uids_ = command.uid;
  if (view_->read_only() && !IsReadOnly()) {
    No("[READ-ONLY] The mailbox was opened with EXAMINE.");
    return;
  }
  FetchPlan answer;
  if (RefuseWrites() || !Resolve(command.set, command.uid, &answer.numbers)) return;
  answer.uid = command.uid;
  answer.done_text = "Store completed.";
  answer.items.emplace_back().kind = FetchItem::Kind::kFlags;

  const engine::Mailbox* mailbox = SelectedMailbox();
  engine::StoreFlagsCommand store;
  store.mailbox = view_->id();
  store.op = command.op;
  store.flags = command.flags;
  store.keywords = std::move(command.keywords);
  std::vector<Before> expected;
  for (const uint32_t number : answer.numbers) {
    const engine::Uid uid = view_->UidOf(number);
    const engine::Message* message = mailbox == nullptr ? nullptr : mailbox->Find(uid);
    if (message == nullptr) continue;  // expunged, which the client learns when it may
    store.uids.push_back(uid);
    if (command.silent && !view_->IsChanged(uid)) {
      expected.push_back(Applied({uid, message->flags, Folded(mailbox->KeywordNames(message->keywords))}, store.op,
                                 store.flags, store.keywords));
    }
  }
  if (store.uids.empty()) {
    Ok(answer.done_text);
    return;
  }
  Submit(std::move(store), [this, silent = command.silent, answer = std::move(answer),
                            expected = std::move(expected)](const engine::CommandResult& result) mutable {
    if (!result.status.ok()) {
      Failed(result.status);
      return;
    }
    if (!silent) {
      StartFetch(std::move(answer));
      return;
    }
    if (const engine::Mailbox* now = SelectedMailbox()) ForgetExpectedChanges(*now, expected, view_.get());
    Ok(answer.done_text);
  });
}

// RFC 3501, 6.4.7; RFC 4315, 3 (COPYUID); RFC 6851, 3
void Session::Handle(CopyCommand& command) {
  tell_uids_ = command.uid;
  if (command.move && view_->read_only() && !IsReadOnly()) {
    No("[READ-ONLY] The mailbox was opened with EXAMINE.");
    return;
  }
  std::vector<uint32_t> numbers;
  if (RefuseWrites() || !Resolve(command.set, command.uid, &numbers)) return;
  const engine::Mailbox* to = FindMailbox(command.mailbox, "TRYCREATE");
  if (to == nullptr) return;
  const std::string what = command.move ? "Move completed." : "Copy completed.";
  if (numbers.empty()) {
    Ok(what);
    return;
  }
  Submit(engine::CopyCommand{.from = view_->id(), .to = to->id, .uids = UidsOf(numbers), .move = command.move},
         [this, what, move = command.move](const engine::CommandResult& result) {
           if (!result.status.ok()) {
             Failed(result.status, "TRYCREATE");
             return;
           }
           std::string code;
           if (!result.copied.empty()) {
             std::vector<uint32_t> old_uids, new_uids;
             for (const auto& [old_uid, new_uid] : result.copied) {
               old_uids.push_back(old_uid);
               new_uids.push_back(new_uid);
             }
             code = "[COPYUID ";
             AppendNumber(result.uid_validity, &code);
             code += ' ' + SequenceSet::Render(old_uids) + ' ' + SequenceSet::Render(new_uids) + "] ";
           }
           // MOVE tells the new UIDs before its EXPUNGEs (RFC 6851, 4.3).
           if (move && !code.empty()) Untagged("OK " + code + "Moved UIDs.");
           Ok(move ? what : code + what);
         });
}

}  // namespace gemel::imap
