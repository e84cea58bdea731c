#include "journal/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace gemel::journal {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

std::atomic<LogLevel> level_set{LogLevel::kInfo};
std::mutex logger_mutex;

std::shared_ptr<spdlog::logger> MakeLogger(const spdlog::sink_ptr& sink) {
  auto logger = std::make_shared<spdlog::logger>("gemel", sink);
  logger->set_level(spdlog::level::trace);  // level_set decides
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::trace);
  return logger;
}

std::shared_ptr<spdlog::logger>& Current() {  // guarded by logger_mutex
  static auto* logger =
      new std::shared_ptr<spdlog::logger>(MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>()));
  return *logger;
}

void AppendValue(std::string_view value, std::string* out) {
  bool quote = value.empty();
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    quote = quote || u <= ' ' || u == 0x7f || c == '"' || c == '\\' || c == '=';
  }
  if (!quote) {
    out->append(value);
    return;
  }
  *out += '"';
  for (const char c : value) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (c == '\n') {
      *out += "\\n";
    } else if (u < ' ' || u == 0x7f) {
      constexpr char kDigits[] = "0123456789abcdef";
      *out += "\\x";
      *out += kDigits[u >> 4];
      *out += kDigits[u & 15];
    } else {
      *out += c;
    }
  }
  *out += '"';
}

}  // namespace

std::string FormatLogFields(std::string_view event, std::initializer_list<LogField> fields) {
  std::string line(event);
  for (const LogField& field : fields) {
    line += ' ';
    line += field.key();
    line += '=';
    AppendValue(field.value(), &line);
  }
  return line;
}

void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!LogEnabled(level)) return;
  const std::string line = FormatLogFields(event, fields);
  std::shared_ptr<spdlog::logger> logger;
  {
    std::lock_guard lock(logger_mutex);
    logger = Current();
  }
  logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

bool LogEnabled(LogLevel level) { return level >= level_set.load(std::memory_order_relaxed); }

void SetLogLevel(LogLevel level) { level_set = level; }

bool SetLogFile(const std::string& path) {
  std::shared_ptr<spdlog::logger> logger;
  try {  // the only way in which spdlog says that it cannot open a file
    if (path.empty()) {
      logger = MakeLogger(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } else {
      logger = MakeLogger(std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    }
  } catch (const spdlog::spdlog_ex&) {
    return false;
  }
  std::lock_guard lock(logger_mutex);
  Current() = std::move(logger);
  return true;
}

}  // namespace gemel::journal
