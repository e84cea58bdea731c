#include "programs/command.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "engine/admin_client.h"
#include "fmt/format.h"

namespace gemel::programs {

absl::StatusOr<engine::Config> CommandLine::LoadConfig() const {
  auto config = engine::ReadConfig(config_path);
  if (absl::IsNotFound(config.status()) && config_path == engine::kDefaultConfigPath) return engine::Config();
  return config;
}

absl::StatusOr<std::string> CommandLine::Admin(const std::string& method, const std::string& target,
                                               const std::string& body) const {
  const auto config = LoadConfig();
  if (!config.ok()) return config.status();
  return engine::AdminCall(config->admin_socket, method, target, body);
}

void CommandLine::Fail(const absl::Status& status) {
  fmt::print(stderr, "gemel: {}\n", std::string(status.message()));
  exit_code = absl::IsInvalidArgument(status) ? kUsedWrongly : kFoundWrong;
}

absl::Status BecomeOwnerOf(const std::string& data_directory) {
  if (geteuid() != 0) return absl::OkStatus();
  const auto failed = [](const std::string& what) {
    return absl::UnavailableError(fmt::format("{}: {}", what, strerror(errno)));
  };
  struct stat info;
  if (stat(data_directory.c_str(), &info) != 0) {
    const passwd* user = getpwnam("gemel");
    if (!user) return absl::OkStatus();
    std::error_code error;
    std::filesystem::create_directories(data_directory, error);
    if (error) return absl::UnavailableError(fmt::format("{}: {}", data_directory, error.message()));
    if (chmod(data_directory.c_str(), 0700) != 0 || chown(data_directory.c_str(), user->pw_uid, user->pw_gid) != 0) {
      return failed(data_directory);
    }
    info.st_uid = user->pw_uid;
    info.st_gid = user->pw_gid;
  }
  if (info.st_uid == 0) return absl::OkStatus();
  // With the groups that it has as a daemon, and none of root's.
  const passwd* owner = getpwuid(info.st_uid);
  if ((owner ? initgroups(owner->pw_name, info.st_gid) : setgroups(0, nullptr)) != 0) return failed("setgroups");
  if (setgid(info.st_gid) != 0 || setuid(info.st_uid) != 0) return failed("setuid");
  return absl::OkStatus();
}

namespace {

// A terminal without echo while this is there; a signal that ends the process gives the echo back first.
class HiddenInput {
 public:
  HiddenInput() {
    if (tcgetattr(STDIN_FILENO, &shown_) != 0) return;
    good_ = true;
    struct sigaction action{};
    action.sa_handler = ShowAndEnd;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    for (const int signal : kSignals) sigaction(signal, &action, nullptr);
    termios hidden = shown_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
  }
  ~HiddenInput() {
    if (!good_) return;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown_);
    for (const int signal : kSignals) ::signal(signal, SIG_DFL);
  }
  HiddenInput(const HiddenInput&) = delete;
  HiddenInput& operator=(const HiddenInput&) = delete;
  bool good() const { return good_; }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  static void ShowAndEnd(int signal) {
    tcsetattr(STDIN_FILENO, TCSANOW, &shown_);
    raise(signal);  // as if nobody had handled it, once this returns
  }

  static termios shown_;
  bool good_ = false;
};
termios HiddenInput::shown_;

}  // namespace

absl::StatusOr<std::string> ReadPassword(const std::string& prompt) {
  std::string first, second;
  if (!isatty(STDIN_FILENO)) {
    if (!std::getline(std::cin, first) || first.empty()) {
      return absl::InvalidArgumentError("no password on standard input");
    }
    return first;
  }
  {
    const HiddenInput hidden;
    if (!hidden.good()) return absl::UnavailableError("the terminal cannot be asked");
    fmt::print(stderr, "{}: ", prompt);
    std::getline(std::cin, first);
    fmt::print(stderr, "\nAgain: ");
    std::getline(std::cin, second);
    fmt::print(stderr, "\n");
  }
  if (first.empty()) return absl::InvalidArgumentError("an empty password is none");
  if (first != second) return absl::InvalidArgumentError("the two differ");
  return first;
}

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}", row[i], widths[i] + 2);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

}  // namespace gemel::programs
