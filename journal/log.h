// Structured log lines, one event each, for people and for grep:
//   2026-11-23T23:15:01.123Z info delivered account=user0@example.test bytes=4040
// A value is quoted where it holds a space, a quote, '=' or a control character, so that text from outside cannot
// forge a line or a field. Never log a password or a letter's text. All functions are thread-safe.
#pragma once
#include <charconv>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace gemel::journal {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

class LogField {
 public:
  LogField(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  LogField(std::string_view key, const char* value) : key_(key), value_(value) {}
  LogField(std::string_view key, const std::string& value) : key_(key), value_(value) {}
  LogField(std::string_view key, bool value) : key_(key), value_(value ? "true" : "false") {}
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
  LogField(std::string_view key, T value) : key_(key) {
    const auto end = std::to_chars(digits_, digits_ + sizeof digits_, value).ptr;
    value_ = {digits_, static_cast<size_t>(end - digits_)};
  }
  // A field's value may point into itself.
  LogField(const LogField&) = delete;
  LogField& operator=(const LogField&) = delete;

  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  std::string_view key_;
  std::string_view value_;
  char digits_[32];
};

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

// For a caller that would have to compute a field.
bool LogEnabled(LogLevel level);
void SetLogLevel(LogLevel level);  // kInfo at first
// Appends to `path` from now on; empty: stderr, as at first. False, with nothing changed, where it cannot be opened.
// Called again with the same path it opens the file anew, as log rotation wants.
bool SetLogFile(const std::string& path);

// The text of a line behind its level; for tests.
std::string FormatLogFields(std::string_view event, std::initializer_list<LogField> fields);

}  // namespace gemel::journal
