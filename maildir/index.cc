#include "maildir/index.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "journal/wire.h"

namespace gemel::maildir {
namespace {

constexpr int kSchemaVersion = 1;
constexpr const char* kSchema = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE mailbox (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
  uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL, highest_modseq INTEGER NOT NULL,
  special_use INTEGER NOT NULL, keywords TEXT NOT NULL);
CREATE TABLE message (mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, modseq INTEGER NOT NULL,
  internal_date INTEGER NOT NULL, bytes INTEGER NOT NULL, crlf_bytes INTEGER NOT NULL, flags INTEGER NOT NULL,
  keywords TEXT NOT NULL, dot BLOB NOT NULL, guid BLOB NOT NULL, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE TABLE vanished (mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
  PRIMARY KEY (mailbox, modseq, uid)) WITHOUT ROWID;
CREATE TABLE unplaced (dot BLOB PRIMARY KEY, wanted BLOB NOT NULL, internal_date INTEGER NOT NULL,
  bytes INTEGER NOT NULL, crlf_bytes INTEGER NOT NULL, flags INTEGER NOT NULL, keywords TEXT NOT NULL,
  guid BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE subscription (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE structure (guid BLOB PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
)sql";

constexpr const char* kMessageColumns = "uid, modseq, internal_date, bytes, crlf_bytes, flags, keywords, dot, guid";

std::string DotBlob(const Dot& dot) {
  std::string out;
  journal::PutFixed<uint64_t>(dot.origin.node, &out);
  journal::PutFixed<uint64_t>(dot.origin.incarnation, &out);
  journal::PutVarint(dot.seq, &out);
  return out;
}

bool DotFromBlob(std::string_view blob, Dot* dot) {
  return journal::TakeFixed(&blob, &dot->origin.node) && journal::TakeFixed(&blob, &dot->origin.incarnation) &&
         journal::TakeVarint(&blob, &dot->seq) && blob.empty();
}

// Keywords are atoms (RFC 9051, 9): a space separates them.
std::string JoinKeywords(const std::vector<std::string>& keywords) { return absl::StrJoin(keywords, " "); }

std::vector<std::string> SplitKeywords(std::string_view text) {
  if (text.empty()) return {};
  return absl::StrSplit(absl::string_view(text.data(), text.size()), ' ');
}

// From `first` on: the columns of kMessageColumns.
absl::Status ReadMessage(const Query& query, int first, Message* message, std::string_view* keywords) {
  message->uid = query.U32(first);
  message->modseq = query.U64(first + 1);
  message->internal_date_s = query.Int(first + 2);
  message->bytes = query.U64(first + 3);
  message->crlf_bytes = query.U64(first + 4);
  message->flags = static_cast<Flags>(query.U32(first + 5));
  *keywords = query.Bytes(first + 6);
  const std::string_view guid = query.Bytes(first + 8);
  if (!DotFromBlob(query.Bytes(first + 7), &message->dot) || guid.size() != 16) {
    return absl::DataLossError("index: a message row is damaged");
  }
  message->guid = Guid::FromBytes(guid);
  return absl::OkStatus();
}

}  // namespace

absl::Status SqliteStatus(sqlite3* db, int code, std::string_view what) {
  const char* path = db == nullptr ? nullptr : sqlite3_db_filename(db, "main");
  const std::string message =
      absl::StrCat(path == nullptr ? "index" : path, ": ", db == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db),
                   " (", code, "): ", absl::string_view(what.data(), what.size()));
  if (code == SQLITE_IOERR_SHMSIZE) return absl::ResourceExhaustedError(message);
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_ERROR:  // "no such table": a file that was cut
    case SQLITE_MISMATCH:
      return absl::DataLossError(message);
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(message);
    case SQLITE_CANTOPEN:
      return absl::UnavailableError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::unique_ptr<Index>> Index::Open(const std::string& path, const std::string& vfs, Create create) {
  auto index = Open(path, vfs, create, /*alone=*/!vfs.empty());
  // The log's shared memory is a file: on a full disk it is done without, and nobody else can read the index meanwhile.
  if (!absl::IsResourceExhausted(index.status())) return index;
  return Open(path, vfs, create, /*alone=*/true);
}

absl::StatusOr<std::unique_ptr<Index>> Index::Open(const std::string& path, const std::string& vfs, Create create,
                                                   bool alone) {
  sqlite3* db = nullptr;
  // One thread at a time is the caller's promise, so SQLite takes no mutex.
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  if (create == Create::kYes) flags |= SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, vfs.empty() ? nullptr : vfs.c_str());
  std::unique_ptr<Index> index(new Index(db));
  if (code != SQLITE_OK) return SqliteStatus(db, code, "open");
  sqlite3_extended_result_codes(db, 1);
  // An administrator's sqlite3 may hold it. All accounts share the lane that would wait: the store tries again later.
  sqlite3_busy_timeout(db, 50);
  // A file system of tests has no shared memory; with the exclusive lock WAL needs none.
  if (alone) {
    if (absl::Status s = index->Execute("PRAGMA locking_mode = EXCLUSIVE"); !s.ok()) return s;
  }
  if (absl::Status s = index->Prepare(); !s.ok()) return s;
  return index;
}

Index::~Index() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

absl::Status Index::Prepare() {
  if (absl::Status s = Execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -1024;"
                               "PRAGMA temp_store = MEMORY;");
      !s.ok()) {
    return s;
  }
  int64_t version = 0;
  {
    Query query = Statement("PRAGMA user_version");
    auto row = query.Step();
    if (!row.ok()) return row.status();
    version = query.Int(0);
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  if (version > kSchemaVersion) {
    return absl::UnimplementedError(absl::StrCat(sqlite3_db_filename(db_, "main"), ": index of version ", version,
                                                 "; this program knows version ", kSchemaVersion));
  }
  return Execute(absl::StrCat("BEGIN;", kSchema, "COMMIT;").c_str());
}

absl::Status Index::Execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : SqliteStatus(db_, code, sql);
}

Query Index::Statement(const char* sql) {
  sqlite3_stmt*& statement = statements_[sql];
  // A failure to prepare (a table is missing) shows at Step, which refuses a null statement.
  if (statement == nullptr) sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  return Query(db_, statement);
}

absl::StatusOr<IndexMeta> Index::ReadMeta() {
  IndexMeta meta;
  meta.complete = false;
  Query query = Statement("SELECT key, value FROM meta");
  while (true) {
    auto row = query.Step();
    if (!row.ok()) return row.status();
    if (!*row) return meta;
    const std::string_view key = query.Bytes(0);
    if (key == "highest_modseq") meta.highest_modseq = query.U64(1);
    if (key == "last_uid_validity") meta.last_uid_validity = query.U32(1);
    if (key == "complete") meta.complete = query.Int(1) != 0;
    if (key != "applied") continue;
    std::string_view bytes = query.Bytes(1);
    auto applied = journal::VectorClock::Decode(&bytes);
    if (!applied.ok()) return absl::DataLossError("index: the applied clock is damaged");
    meta.applied = *std::move(applied);
  }
}

absl::Status Index::WriteMeta(const IndexMeta& meta) {
  std::string applied;
  meta.applied.EncodeTo(&applied);
  constexpr const char* kSql = "INSERT OR REPLACE INTO meta VALUES (?, ?)";
  absl::Status status = Statement(kSql).BindText("highest_modseq").Bind(meta.highest_modseq).Run();
  status.Update(Statement(kSql).BindText("last_uid_validity").Bind(meta.last_uid_validity).Run());
  status.Update(Statement(kSql).BindText("complete").Bind(uint32_t{meta.complete}).Run());
  status.Update(Statement(kSql).BindText("applied").BindBlob(applied).Run());
  return status;
}

absl::StatusOr<int64_t> Index::MailboxNumber(const MailboxId& mailbox) {
  const auto it = numbers_.find(mailbox);
  if (it != numbers_.end()) return it->second;
  Query query = Statement("SELECT number FROM mailbox WHERE id = ?");
  query.BindBlob(mailbox.view());
  auto row = query.Step();
  if (!row.ok()) return row.status();
  if (!*row) return absl::NotFoundError("index: no mailbox " + mailbox.hex());
  return numbers_[mailbox] = query.Int(0);
}

absl::StatusOr<std::vector<PutMailbox>> Index::ReadMailboxes() {
  std::vector<PutMailbox> mailboxes;
  Query query =
      Statement("SELECT id, name, uid_validity, uid_next, highest_modseq, special_use, keywords, number FROM mailbox");
  while (true) {
    auto row = query.Step();
    if (!row.ok()) return row.status();
    if (!*row) return mailboxes;
    if (query.Bytes(0).size() != 16) return absl::DataLossError("index: a mailbox row is damaged");
    PutMailbox& mailbox = mailboxes.emplace_back();
    mailbox.mailbox = MailboxId::FromBytes(query.Bytes(0));
    mailbox.name = query.Bytes(1);
    mailbox.uid_validity = query.U32(2);
    mailbox.uid_next = query.U32(3);
    mailbox.highest_modseq = query.U64(4);
    mailbox.special_use = static_cast<SpecialUse>(query.U32(5));
    mailbox.keywords = SplitKeywords(query.Bytes(6));
    numbers_[mailbox.mailbox] = query.Int(7);
  }
}

absl::StatusOr<std::optional<StoredMessage>> Index::FindMessage(const MailboxId& mailbox, Uid uid) {
  auto number = MailboxNumber(mailbox);
  if (absl::IsNotFound(number.status())) return std::nullopt;
  if (!number.ok()) return number.status();
  static const std::string sql =
      absl::StrCat("SELECT ", kMessageColumns, " FROM message WHERE mailbox = ? AND uid = ?");
  Query query = Statement(sql.c_str());
  query.Bind(*number).Bind(uid);
  auto row = query.Step();
  if (!row.ok()) return row.status();
  if (!*row) return std::nullopt;
  StoredMessage stored{.mailbox = mailbox, .message = {}, .keywords = {}};
  std::string_view keywords;
  if (absl::Status s = ReadMessage(query, 0, &stored.message, &keywords); !s.ok()) return s;
  stored.keywords = SplitKeywords(keywords);
  return stored;
}

absl::Status Index::ForEachMessage(const MailboxId& mailbox, const std::function<bool(const StoredMessage&)>& use) {
  auto number = MailboxNumber(mailbox);
  if (absl::IsNotFound(number.status())) return absl::OkStatus();
  if (!number.ok()) return number.status();
  static const std::string sql =
      absl::StrCat("SELECT ", kMessageColumns, " FROM message WHERE mailbox = ? ORDER BY uid DESC");
  Query query = Statement(sql.c_str());
  query.Bind(*number);
  StoredMessage stored{.mailbox = mailbox, .message = {}, .keywords = {}};
  while (true) {
    auto row = query.Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    std::string_view keywords;
    if (absl::Status s = ReadMessage(query, 0, &stored.message, &keywords); !s.ok()) return s;
    stored.keywords = SplitKeywords(keywords);
    if (!use(stored)) return absl::OkStatus();
  }
}

absl::Status Index::Write(const std::vector<IndexRow>& rows, const absl::flat_hash_map<Guid, std::string>& structures,
                          const IndexMeta& meta, FileChanges* changes) {
  if (absl::Status s = Execute("BEGIN IMMEDIATE"); !s.ok()) return s;
  absl::Status status = WriteRows(rows, changes);
  for (const auto& [guid, bytes] : structures) {
    status.Update(
        Statement("INSERT OR REPLACE INTO structure VALUES (?, ?)").BindBlob(guid.view()).BindBlob(bytes).Run());
  }
  status.Update(WriteMeta(meta));
  if (status.ok()) status = Execute("COMMIT");
  if (!status.ok()) {
    changes->changes.clear();
    numbers_.clear();
    Execute("ROLLBACK").IgnoreError();  // SQLite has often rolled back already
  }
  return status;
}

absl::Status Index::WriteRows(const std::vector<IndexRow>& rows, FileChanges* changes) {
  for (const IndexRow& row : rows) {
    const absl::Status status = std::visit(
        [&](const auto& each) {
          using Row = std::decay_t<decltype(each)>;
          if constexpr (std::is_same_v<Row, MessageRow> || std::is_same_v<Row, GoneRow>) {
            return Put(each, changes);
          } else {
            return Put(each);
          }
        },
        row);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Index::Put(const PutMailbox& row) {
  const std::string keywords = JoinKeywords(row.keywords);
  return Statement(
             "INSERT INTO mailbox (id, name, uid_validity, uid_next, highest_modseq, special_use, keywords) "
             "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
             "uid_validity = excluded.uid_validity, uid_next = excluded.uid_next, "
             "highest_modseq = excluded.highest_modseq, special_use = excluded.special_use, "
             "keywords = excluded.keywords")
      .BindBlob(row.mailbox.view())
      .BindText(row.name)
      .Bind(row.uid_validity)
      .Bind(row.uid_next)
      .Bind(row.highest_modseq)
      .Bind(static_cast<uint32_t>(row.special_use))
      .BindText(keywords)
      .Run();
}

absl::Status Index::Put(const DropMailbox& row) {
  auto number = MailboxNumber(row.mailbox);
  if (absl::IsNotFound(number.status())) return absl::OkStatus();
  if (!number.ok()) return number.status();
  numbers_.erase(row.mailbox);
  absl::Status status = Statement("DELETE FROM message WHERE mailbox = ?").Bind(*number).Run();
  status.Update(Statement("DELETE FROM vanished WHERE mailbox = ?").Bind(*number).Run());
  status.Update(Statement("DELETE FROM mailbox WHERE number = ?").Bind(*number).Run());
  return status;
}

absl::Status Index::Put(const MessageRow& row, FileChanges* changes) {
  auto number = MailboxNumber(row.mailbox);
  if (absl::IsNotFound(number.status())) return absl::OkStatus();  // replay: dropped in this file already
  if (!number.ok()) return number.status();
  if (row.renames_file) {
    auto before = FindMessage(row.mailbox, row.message.uid);
    if (!before.ok()) return before.status();
    if (*before && (*before)->message.dot == row.message.dot) {
      changes->changes.push_back(
          FileChanges::Renamed{.before = **std::move(before),
                               .after = {.mailbox = row.mailbox, .message = row.message, .keywords = row.keywords}});
    }
  }
  const std::string dot = DotBlob(row.message.dot);
  const std::string keywords = JoinKeywords(row.keywords);
  return Statement("INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Bind(*number)
      .Bind(row.message.uid)
      .Bind(row.message.modseq)
      .Bind(row.message.internal_date_s)
      .Bind(row.message.bytes)
      .Bind(row.message.crlf_bytes)
      .Bind(uint32_t{row.message.flags})
      .BindText(keywords)
      .BindBlob(dot)
      .BindBlob(row.message.guid.view())
      .Run();
}

absl::Status Index::Put(const GoneRow& row, FileChanges* changes) {
  auto number = MailboxNumber(row.mailbox);
  if (absl::IsNotFound(number.status())) return absl::OkStatus();
  if (!number.ok()) return number.status();
  if (row.expunged) {
    auto before = FindMessage(row.mailbox, row.uid);
    if (!before.ok()) return before.status();
    if (*before) changes->changes.push_back(**std::move(before));
  }
  absl::Status status =
      Statement("DELETE FROM message WHERE mailbox = ? AND uid = ?").Bind(*number).Bind(row.uid).Run();
  status.Update(
      Statement("INSERT OR IGNORE INTO vanished VALUES (?, ?, ?)").Bind(*number).Bind(row.modseq).Bind(row.uid).Run());
  return status;
}

absl::Status Index::Put(const UnplacedRow& row) {
  const Message& message = row.unplaced.message;
  const std::string dot = DotBlob(message.dot);
  const std::string keywords = JoinKeywords(row.unplaced.keywords);
  return Statement("INSERT OR REPLACE INTO unplaced VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      .BindBlob(dot)
      .BindBlob(row.unplaced.wanted.view())
      .Bind(message.internal_date_s)
      .Bind(message.bytes)
      .Bind(message.crlf_bytes)
      .Bind(uint32_t{message.flags})
      .BindText(keywords)
      .BindBlob(message.guid.view())
      .Run();
}

absl::Status Index::Put(const UnplacedGoneRow& row) {
  const std::string dot = DotBlob(row.dot);
  return Statement("DELETE FROM unplaced WHERE dot = ?").BindBlob(dot).Run();
}

absl::Status Index::Put(const PutSubscriptions& row) {
  absl::Status status = Statement("DELETE FROM subscription").Run();
  for (const std::string& name : row.names) {
    status.Update(Statement("INSERT OR IGNORE INTO subscription VALUES (?)").BindText(name).Run());
  }
  return status;
}

absl::StatusOr<AccountState> Index::Load(const AccountId& account, const std::string& name) {
  AccountState state;
  state.id = account;
  state.name = name;
  // One read transaction: what an administrator's sqlite3 might do meanwhile is not seen half.
  if (absl::Status s = Execute("BEGIN"); !s.ok()) return s;
  absl::Status status = LoadMailboxes(&state);
  if (status.ok()) status = LoadMessages(&state);
  if (status.ok()) status = LoadVanished(&state);
  if (status.ok()) status = LoadUnplaced(&state);
  if (status.ok()) {
    auto meta = ReadMeta();
    status = meta.status();
    if (meta.ok()) {
      state.highest_modseq = meta->highest_modseq;
      state.last_uid_validity = meta->last_uid_validity;
      state.applied = std::move(meta->applied);
      if (!meta->complete) status = absl::DataLossError("index of " + name + " is not complete");
    }
  }
  Execute("COMMIT").IgnoreError();
  if (!status.ok()) return status;
  return state;
}

absl::Status Index::LoadMailboxes(AccountState* state) {
  auto mailboxes = ReadMailboxes();
  if (!mailboxes.ok()) return mailboxes.status();
  for (PutMailbox& row : *mailboxes) {
    Mailbox& mailbox = state->mailboxes[row.mailbox];
    mailbox.id = row.mailbox;
    mailbox.name = std::move(row.name);
    mailbox.uid_validity = row.uid_validity;
    mailbox.uid_next = row.uid_next;
    mailbox.highest_modseq = row.highest_modseq;
    mailbox.special_use = row.special_use;
    mailbox.keywords = std::move(row.keywords);
  }
  return absl::OkStatus();
}

absl::Status Index::LoadMessages(AccountState* state) {
  static const std::string sql =
      absl::StrCat("SELECT ", kMessageColumns, " FROM message WHERE mailbox = ? ORDER BY uid");
  for (auto& [id, mailbox] : state->mailboxes) {
    Query query = Statement(sql.c_str());
    query.Bind(numbers_[id]);
    while (true) {
      auto row = query.Step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      Message message;
      std::string_view keywords;
      if (absl::Status s = ReadMessage(query, 0, &message, &keywords); !s.ok()) return s;
      if (!keywords.empty()) message.keywords = mailbox.Intern(SplitKeywords(keywords));
      mailbox.Insert(message);
    }
  }
  return absl::OkStatus();
}

absl::Status Index::LoadVanished(AccountState* state) {
  for (auto& [id, mailbox] : state->mailboxes) {
    Query query = Statement("SELECT modseq, uid FROM vanished WHERE mailbox = ? ORDER BY modseq, uid");
    query.Bind(numbers_[id]);
    while (true) {
      auto row = query.Step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      mailbox.vanished.push_back({.uid = query.U32(1), .modseq = query.U64(0)});
    }
  }
  return absl::OkStatus();
}

absl::Status Index::LoadUnplaced(AccountState* state) {
  {
    Query query =
        Statement("SELECT dot, wanted, internal_date, bytes, crlf_bytes, flags, keywords, guid FROM unplaced");
    while (true) {
      auto row = query.Step();
      if (!row.ok()) return row.status();
      if (!*row) break;
      Unplaced waiting;
      if (!DotFromBlob(query.Bytes(0), &waiting.message.dot) || query.Bytes(1).size() != 16 ||
          query.Bytes(7).size() != 16) {
        return absl::DataLossError("index: an unplaced row is damaged");
      }
      waiting.wanted = MailboxId::FromBytes(query.Bytes(1));
      waiting.message.internal_date_s = query.Int(2);
      waiting.message.bytes = query.U64(3);
      waiting.message.crlf_bytes = query.U64(4);
      waiting.message.flags = static_cast<Flags>(query.U32(5));
      waiting.keywords = SplitKeywords(query.Bytes(6));
      waiting.message.guid = Guid::FromBytes(query.Bytes(7));
      const Dot dot = waiting.message.dot;
      state->unplaced.emplace(dot, std::move(waiting));
    }
  }
  Query query = Statement("SELECT name FROM subscription");
  while (true) {
    auto row = query.Step();
    if (!row.ok()) return row.status();
    if (!*row) return absl::OkStatus();
    state->subscriptions.insert(std::string(query.Bytes(0)));
  }
}

absl::Status Index::Rewrite(const AccountState& state) {
  if (absl::Status s = Execute("BEGIN IMMEDIATE"); !s.ok()) return s;
  numbers_.clear();
  absl::Status status = Execute(
      "DELETE FROM message; DELETE FROM vanished; DELETE FROM mailbox; DELETE FROM unplaced; "
      "DELETE FROM subscription");
  if (status.ok()) status = WriteState(state);
  if (status.ok()) status = Execute("COMMIT");
  if (!status.ok()) {
    numbers_.clear();
    Execute("ROLLBACK").IgnoreError();
  }
  return status;
}

absl::Status Index::WriteState(const AccountState& state) {
  FileChanges none;
  absl::Status status;
  for (const auto& [id, mailbox] : state.mailboxes) {
    status.Update(Put(PutMailbox{.mailbox = id,
                                 .name = mailbox.name,
                                 .uid_validity = mailbox.uid_validity,
                                 .uid_next = mailbox.uid_next,
                                 .highest_modseq = mailbox.highest_modseq,
                                 .special_use = mailbox.special_use,
                                 .keywords = mailbox.keywords}));
    for (const Message& message : mailbox.messages) {
      if (!status.ok()) return status;
      status.Update(Put(
          MessageRow{.mailbox = id, .message = message, .keywords = mailbox.KeywordNames(message.keywords)}, &none));
    }
    auto number = MailboxNumber(id);
    status.Update(number.status());
    for (const Vanished& gone : mailbox.vanished) {
      if (!status.ok()) return status;
      status.Update(Statement("INSERT OR IGNORE INTO vanished VALUES (?, ?, ?)")
                        .Bind(*number)
                        .Bind(gone.modseq)
                        .Bind(gone.uid)
                        .Run());
    }
  }
  for (const auto& [dot, waiting] : state.unplaced) status.Update(Put(UnplacedRow{waiting}));
  status.Update(Put(PutSubscriptions{{state.subscriptions.begin(), state.subscriptions.end()}}));
  status.Update(WriteMeta({.highest_modseq = state.highest_modseq,
                           .last_uid_validity = state.last_uid_validity,
                           .applied = state.applied,
                           .complete = true}));
  return status;
}

std::optional<std::string> Index::Structure(const Guid& guid) {
  Query query = Statement("SELECT bytes FROM structure WHERE guid = ?");
  query.BindBlob(guid.view());
  // A damaged row is as good as none: it is computed anew.
  auto row = query.Step();
  if (!row.ok() || !*row) return std::nullopt;
  return std::string(query.Bytes(0));
}

absl::Status Index::PruneStructures() {
  return Execute("DELETE FROM structure WHERE guid NOT IN (SELECT guid FROM message)");
}

}  // namespace gemel::maildir
