#include "imap/command_parser.h"

#include <limits>
#include <utility>

#include "imap/command_args.h"
#include "imap/cursor.h"
#include "imap/internal_date.h"

namespace gemel::imap {
namespace {

constexpr size_t kListPatternBytesMax = 1024;

template <class Body>
bool Nothing(Cursor&, CommandBody* out) {
  *out = Body{};
  return true;
}

template <class Body>
bool OneMailbox(Cursor& in, CommandBody* out) {
  Body body;
  if (!in.TakeSpace() || !in.TakeAstring(&body.mailbox)) return false;
  *out = std::move(body);
  return true;
}

// RFC 2971, 3.1
bool Id(Cursor& in, CommandBody* out) {
  constexpr size_t kFieldsMax = 30;
  IdCommand id;
  if (!in.TakeSpace()) return false;
  if (!in.TakeIf('(')) {
    std::string nil;
    bool is_nil = false;
    if (!in.TakeNstring(&nil, &is_nil) || !is_nil) return in.Fail("expected NIL or a list");
    *out = id;
    return true;
  }
  while (!in.TakeIf(')')) {
    std::pair<std::string, std::string> field;
    bool nil = false;
    if (!id.fields.empty() && !in.TakeSpace()) return false;
    if (!in.TakeString(&field.first) || !in.TakeSpace() || !in.TakeNstring(&field.second, &nil)) return false;
    if (id.fields.size() == kFieldsMax) return in.Fail("too many fields");
    id.fields.push_back(std::move(field));
  }
  *out = std::move(id);
  return true;
}

bool Login(Cursor& in, CommandBody* out) {
  LoginCommand login;
  if (!in.TakeSpace() || !in.TakeAstring(&login.user) || !in.TakeSpace() || !in.TakeAstring(&login.password)) {
    return false;
  }
  *out = std::move(login);
  return true;
}

// RFC 3501, 6.2.2; RFC 4959
bool Authenticate(Cursor& in, CommandBody* out) {
  AuthenticateCommand authenticate;
  if (!in.TakeSpace() || !in.TakeUpperAtom(&authenticate.mechanism)) return false;
  if (in.TakeIf(' ')) {
    authenticate.initial_response = std::string(in.TakeWhile([](char c) { return c > ' ' && c < 0x7f; }));
    if (authenticate.initial_response->empty()) return in.Fail("expected an initial response");
  }
  *out = std::move(authenticate);
  return true;
}

bool Enable(Cursor& in, CommandBody* out) {
  EnableCommand enable;
  do {
    std::string extension;
    if (!in.TakeSpace() || !in.TakeUpperAtom(&extension)) return false;
    enable.extensions.push_back(std::move(extension));
  } while (in.Peek() == ' ');
  *out = std::move(enable);
  return true;
}

bool Examine(Cursor& in, CommandBody* out) {
  if (!OneMailbox<SelectCommand>(in, out)) return false;
  std::get<SelectCommand>(*out).examine = true;
  return true;
}

bool Rename(Cursor& in, CommandBody* out) {
  RenameCommand rename;
  if (!in.TakeSpace() || !in.TakeAstring(&rename.from) || !in.TakeSpace() || !in.TakeAstring(&rename.to)) return false;
  *out = std::move(rename);
  return true;
}

bool Unsubscribe(Cursor& in, CommandBody* out) {
  if (!OneMailbox<SubscribeCommand>(in, out)) return false;
  std::get<SubscribeCommand>(*out).on = false;
  return true;
}

// RFC 3501, 6.3.8; RFC 6154, 5: LIST (SPECIAL-USE) "" pattern; LIST "" pattern RETURN (SPECIAL-USE).
bool List(Cursor& in, CommandBody* out) {
  ListCommand list;
  std::string word;
  if (!in.TakeSpace()) return false;
  if (in.TakeIf('(')) {
    if (!in.TakeUpperAtom(&word) || !in.Take(')') || !in.TakeSpace()) return false;
    if (word != "SPECIAL-USE") return in.Fail("unknown selection option");
    list.special_use_only = true;
  }
  if (!in.TakeAstring(&list.reference) || !in.TakeSpace() || !in.TakeListPattern(&list.pattern)) return false;
  if (in.TakeIf(' ')) {
    if (!in.TakeUpperAtom(&word)) return false;
    if (word != "RETURN" || !in.TakeSpace() || !in.Take('(')) return in.Fail("expected RETURN and a list");
    // What these ask for is in every answer anyway.
    while (!in.TakeIf(')')) {
      if (!in.TakeUpperAtom(&word)) return false;
      if (word != "SPECIAL-USE" && word != "CHILDREN") return in.Fail("unknown return option");
      if (in.Peek() != ')' && !in.TakeSpace()) return false;
    }
  }
  if (list.reference.size() + list.pattern.size() > kListPatternBytesMax) return in.Fail("the pattern is too long");
  *out = std::move(list);
  return true;
}

bool Lsub(Cursor& in, CommandBody* out) {
  ListCommand list;
  list.lsub = true;
  if (!in.TakeSpace() || !in.TakeAstring(&list.reference) || !in.TakeSpace() || !in.TakeListPattern(&list.pattern)) {
    return false;
  }
  if (list.reference.size() + list.pattern.size() > kListPatternBytesMax) return in.Fail("the pattern is too long");
  *out = std::move(list);
  return true;
}

bool Status(Cursor& in, CommandBody* out) {
  constexpr std::pair<std::string_view, StatusItem> kItems[] = {
      {"MESSAGES", StatusItem::kMessages}, {"RECENT", StatusItem::kRecent},
      {"UIDNEXT", StatusItem::kUidNext},   {"UIDVALIDITY", StatusItem::kUidValidity},
      {"UNSEEN", StatusItem::kUnseen},     {"APPENDLIMIT", StatusItem::kAppendLimit},
  };
  StatusCommand status;
  if (!in.TakeSpace() || !in.TakeAstring(&status.mailbox) || !in.TakeSpace() || !in.Take('(')) return false;
  do {
    std::string word;
    if (!in.TakeUpperAtom(&word)) return false;
    bool known = false;
    for (const auto& [name, item] : kItems) {
      if (name == word) {
        status.items.push_back(item);
        known = true;
      }
    }
    if (!known) return in.Fail("unknown status item");
  } while (in.TakeIf(' '));
  if (!in.Take(')')) return false;
  *out = std::move(status);
  return true;
}

bool Close(Cursor&, CommandBody* out) {
  *out = CloseCommand{.expunge = true};
  return true;
}
bool Unselect(Cursor&, CommandBody* out) {
  *out = CloseCommand{.expunge = false};
  return true;
}

bool Fetch(Cursor& in, CommandBody* out) {
  FetchCommand fetch;
  if (!in.TakeSpace() || !TakeSequenceSet(in, &fetch.set) || !in.TakeSpace() || !TakeFetchItems(in, &fetch.items)) {
    return false;
  }
  *out = std::move(fetch);
  return true;
}

// RFC 3501, 6.4.6
bool Store(Cursor& in, CommandBody* out) {
  StoreCommand store;
  std::string word;
  if (!in.TakeSpace() || !TakeSequenceSet(in, &store.set) || !in.TakeSpace()) return false;
  if (in.TakeIf('+')) {
    store.op = journal::FlagOp::kAdd;
  } else if (in.TakeIf('-')) {
    store.op = journal::FlagOp::kRemove;
  }
  if (!in.TakeUpperAtom(&word)) return false;
  if (word == "FLAGS.SILENT") {
    store.silent = true;
  } else if (word != "FLAGS") {
    return in.Fail("expected FLAGS or FLAGS.SILENT");
  }
  if (!in.TakeSpace()) return false;
  if (in.Peek() == '(') {
    if (!TakeFlagList(in, &store.flags, &store.keywords)) return false;
  } else {
    do {
      if (!TakeFlag(in, &store.flags, &store.keywords)) return false;
    } while (in.TakeIf(' '));
  }
  *out = std::move(store);
  return true;
}

bool CopyOrMove(Cursor& in, bool move, CommandBody* out) {
  CopyCommand copy;
  copy.move = move;
  if (!in.TakeSpace() || !TakeSequenceSet(in, &copy.set) || !in.TakeSpace() || !in.TakeAstring(&copy.mailbox)) {
    return false;
  }
  *out = std::move(copy);
  return true;
}
bool Copy(Cursor& in, CommandBody* out) { return CopyOrMove(in, false, out); }
bool Move(Cursor& in, CommandBody* out) { return CopyOrMove(in, true, out); }

bool Search(Cursor& in, CommandBody* out) {
  SearchCommand search;
  if (!in.TakeSpace() || !TakeSearchProgram(in, &search.program)) return false;
  *out = std::move(search);
  return true;
}

// RFC 3501, 6.4.8; RFC 4315, 2.1; RFC 6851, 3.3
bool UidPrefix(Cursor& in, CommandBody* out) {
  std::string word;
  if (!in.TakeSpace() || !in.TakeUpperAtom(&word)) return false;
  if (word == "EXPUNGE") {
    ExpungeCommand expunge;
    expunge.uids.emplace();
    if (!in.TakeSpace() || !TakeSequenceSet(in, &*expunge.uids)) return false;
    *out = std::move(expunge);
    return true;
  }
  const auto uid = [out](auto type) {
    std::get<decltype(type)>(*out).uid = true;
    return true;
  };
  if (word == "FETCH") return Fetch(in, out) && uid(FetchCommand{});
  if (word == "STORE") return Store(in, out) && uid(StoreCommand{});
  if (word == "SEARCH") return Search(in, out) && uid(SearchCommand{});
  if (word == "COPY") return Copy(in, out) && uid(CopyCommand{});
  if (word == "MOVE") return Move(in, out) && uid(CopyCommand{});
  return in.Fail("no such UID command");
}

// RFC 3501, 6.3.11: "APPEND" SP mailbox [SP flag-list] [SP date-time] SP literal; the last space is taken too.
bool AppendStart(Cursor& in, CommandBody* out) {
  AppendCommand append;
  if (!in.TakeSpace() || !in.TakeAstring(&append.mailbox) || !in.TakeSpace()) return false;
  if (in.Peek() == '(' && (!TakeFlagList(in, &append.flags, &append.keywords) || !in.TakeSpace())) return false;
  if (in.Peek() == '"') {
    std::string text;
    if (!in.TakeString(&text) || !in.TakeSpace()) return false;
    append.internal_date_s = ParseInternalDate(text);
    if (!append.internal_date_s) return in.Fail("bad date-time, expected \"dd-Mon-yyyy hh:mm:ss +hhmm\"");
  }
  *out = std::move(append);
  return true;
}

using Parse = bool (*)(Cursor&, CommandBody*);
constexpr std::pair<std::string_view, Parse> kCommands[] = {
    {"CAPABILITY", Nothing<CapabilityCommand>},
    {"NOOP", Nothing<NoopCommand>},
    {"LOGOUT", Nothing<LogoutCommand>},
    {"ID", Id},
    {"STARTTLS", Nothing<StartTlsCommand>},
    {"LOGIN", Login},
    {"AUTHENTICATE", Authenticate},
    {"ENABLE", Enable},
    {"SELECT", OneMailbox<SelectCommand>},
    {"EXAMINE", Examine},
    {"CREATE", OneMailbox<CreateCommand>},
    {"DELETE", OneMailbox<DeleteCommand>},
    {"RENAME", Rename},
    {"SUBSCRIBE", OneMailbox<SubscribeCommand>},
    {"UNSUBSCRIBE", Unsubscribe},
    {"LIST", List},
    {"LSUB", Lsub},
    {"NAMESPACE", Nothing<NamespaceCommand>},
    {"STATUS", Status},
    {"IDLE", Nothing<IdleCommand>},
    {"CHECK", Nothing<CheckCommand>},
    {"CLOSE", Close},
    {"UNSELECT", Unselect},
    {"EXPUNGE", Nothing<ExpungeCommand>},
    {"SEARCH", Search},
    {"FETCH", Fetch},
    {"STORE", Store},
    {"COPY", Copy},
    {"MOVE", Move},
    {"UID", UidPrefix},
};

// Tag, space and the command's name.
bool TakeStart(Cursor& in, ParseResult* result, std::string* name) {
  if (!in.TakeTag(&result->tag)) {
    result->tag = "*";
    return false;
  }
  return in.TakeSpace() && in.TakeUpperAtom(name);
}

}  // namespace

ParseResult ParseCommand(std::string_view bytes) {
  ParseResult result;
  Cursor in(bytes);
  std::string name;
  CommandBody body;
  if (!TakeStart(in, &result, &name)) {
    result.error = in.error();
    return result;
  }
  Parse parse = nullptr;
  for (const auto& [known, function] : kCommands) {
    if (known == name) parse = function;
  }
  if (name == "APPEND") {
    result.error = "APPEND: the message must be a literal";
  } else if (parse == nullptr) {
    result.error = "unknown command";
  } else if (parse(in, &body) && in.TakeEnd()) {
    result.command = Command{result.tag, std::move(body)};
  } else {
    result.error = name + ": " + in.error();
  }
  return result;
}

ParseResult ParseAppendStart(std::string_view bytes) {
  ParseResult result;
  Cursor in(bytes);
  std::string name;
  CommandBody body;
  if (TakeStart(in, &result, &name) && name == "APPEND" && AppendStart(in, &body) &&
      (in.at_end() || in.Fail("expected the message as a literal"))) {
    result.command = Command{result.tag, std::move(body)};
  } else {
    result.error = "APPEND: " + (in.error().empty() ? std::string("bad command") : in.error());
  }
  return result;
}

bool IsAppend(std::string_view bytes) {
  ParseResult ignored;
  Cursor in(bytes);
  std::string word;
  return TakeStart(in, &ignored, &word) && word == "APPEND";
}

bool AwaitsAppendMessage(std::string_view bytes) {
  ParseResult ignored;
  Cursor in(bytes);
  std::string word;
  return TakeStart(in, &ignored, &word) && word == "APPEND" && in.TakeSpace() && in.TakeAstring(&word);
}

std::optional<LiteralMark> LiteralMarkAtEnd(std::string_view line) {
  if (line.size() < 3 || line.back() != '}') return std::nullopt;
  LiteralMark mark;
  size_t at = line.size() - 1;
  if (line[at - 1] == '+') {
    mark.synchronizing = false;
    --at;
  }
  const size_t digits_end = at;
  while (at > 0 && line[at - 1] >= '0' && line[at - 1] <= '9') --at;
  if (at == digits_end || at == 0 || line[at - 1] != '{') return std::nullopt;
  for (size_t i = at; i < digits_end; ++i) {
    const auto digit = static_cast<uint64_t>(line[i] - '0');
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
    mark.bytes = mark.bytes > (kMax - digit) / 10 ? kMax : mark.bytes * 10 + digit;  // too large in any case
  }
  mark.mark_bytes = line.size() - at + 1;
  return mark;
}

}  // namespace gemel::imap
