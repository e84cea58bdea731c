// What the subcommands of gemel share: the configuration they read, the daemon they ask, how they fail.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config.h"

namespace CLI {
class App;
}

namespace gemel::programs {

inline constexpr int kGood = 0;
inline constexpr int kFoundWrong = 1;   // it ran, and something is not as it should be
inline constexpr int kUsedWrongly = 2;  // it did not run: arguments or configuration

struct CommandLine {
  std::string config_path = engine::kDefaultConfigPath;
  int exit_code = kGood;

  // A missing file at the default path means the defaults.
  absl::StatusOr<engine::Config> LoadConfig() const;
  // Asks the daemon of that configuration.
  absl::StatusOr<std::string> Admin(const std::string& method, const std::string& target,
                                    const std::string& body = "") const;
  // Prints the error and notes the exit code: 2 for InvalidArgument, else 1.
  void Fail(const absl::Status& status);
};

// Each family adds its subcommands; their callbacks do the work and set `line.exit_code`.
void AddNodeCommands(CLI::App& app, CommandLine& line);     // init, pair, status, check-config
void AddAccountCommands(CLI::App& app, CommandLine& line);  // account, domain, alias, home
void AddJournalCommands(CLI::App& app, CommandLine& line);  // journal, replay, export
void AddDemoCommand(CLI::App& app, CommandLine& line);

// As root: become who owns `data_directory`, making it for the user gemel where it is missing, so that the daemon can
// read what is written there. Otherwise: nothing.
absl::Status BecomeOwnerOf(const std::string& data_directory);

// From a terminal: asks twice without echo. Else: the first line of standard input.
absl::StatusOr<std::string> ReadPassword(const std::string& prompt);

// Lines with the columns aligned.
std::string Table(const std::vector<std::vector<std::string>>& rows);

}  // namespace gemel::programs
