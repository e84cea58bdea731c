// gemel: the admin command. Each family of subcommands is in a cmd_*.cc.
#include <sys/stat.h>

#include <CLI/CLI.hpp>

#include "programs/command.h"

int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape): a fault of CLI11 may end it
  gemel::programs::CommandLine line;
  CLI::App app("Administers a Gemel mail server. Exit status: 0 good, 1 found something wrong, 2 used wrongly.",
               "gemel");
  app.set_version_flag("--version", GEMEL_VERSION);
  app.add_option("-c,--config", line.config_path, "Configuration file of the node")->capture_default_str();
  app.require_subcommand(1);
  app.fallthrough();  // --config may also stand behind the subcommand
  gemel::programs::AddNodeCommands(app, line);
  gemel::programs::AddAccountCommands(app, line);
  gemel::programs::AddJournalCommands(app, line);
  gemel::programs::AddDemoCommand(app, line);
  umask(077);  // what is made here, as by replay, is mail and keys
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are good; all else is wrong use, whatever number CLI11 has for it.
    return app.exit(error) == 0 ? gemel::programs::kGood : gemel::programs::kUsedWrongly;
  }
  return line.exit_code;
}
