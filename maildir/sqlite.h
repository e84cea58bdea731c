// The little of SQLite's C interface that the index needs, with its errors as Status. See maildir/index.h.
#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gemel::maildir {

// DataLoss: the file is damaged, or is not a database. ResourceExhausted: disk full. Unavailable: the rest.
absl::Status SqliteStatus(sqlite3* db, int code, std::string_view what);

// A prepared statement in use; rewinds itself when it goes. Bind in the order of the '?'.
class Query {
 public:
  Query(sqlite3* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  ~Query() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  // What is bound must live until the query goes.
  Query& Bind(int64_t value) {
    sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  Query& Bind(uint64_t value) { return Bind(static_cast<int64_t>(value)); }
  Query& Bind(uint32_t value) { return Bind(static_cast<int64_t>(value)); }
  Query& BindBlob(std::string_view bytes) {
    sqlite3_bind_blob(statement_, ++bound_, bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
    return *this;
  }
  Query& BindText(std::string_view text) {
    sqlite3_bind_text(statement_, ++bound_, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
    return *this;
  }

  // True: a row is there.
  absl::StatusOr<bool> Step() {
    // It could not be prepared: a table is missing.
    if (statement_ == nullptr) return SqliteStatus(db_, sqlite3_extended_errcode(db_), "prepare");
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return SqliteStatus(db_, code, sqlite3_sql(statement_));
  }
  absl::Status Run() { return Step().status(); }

  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  uint64_t U64(int column) const { return static_cast<uint64_t>(Int(column)); }
  uint32_t U32(int column) const { return static_cast<uint32_t>(Int(column)); }
  // Valid until the next Step.
  std::string_view Bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_, column);
    const int bytes = sqlite3_column_bytes(statement_, column);
    return data == nullptr ? std::string_view() : std::string_view(static_cast<const char*>(data), bytes);
  }

 private:
  sqlite3* db_;
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

}  // namespace gemel::maildir
