// gemeld: the mail server.
#include <sys/stat.h>

#include <CLI/CLI.hpp>

#include "engine/config.h"
#include "fmt/format.h"
#include "programs/daemon.h"

int main(int argc, char** argv) {
  std::string path = gemel::engine::kDefaultConfigPath;
  CLI::App app("One node of a Gemel mail server pair.", "gemeld");
  app.set_version_flag("--version", GEMEL_VERSION);
  app.add_option("-c,--config", path, "Configuration file")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  umask(077);  // mail is nobody else's business
  const auto config = gemel::engine::ReadConfig(path);
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", std::string(config.status().message()));
    return 2;
  }
  const absl::Status status = gemel::programs::RunDaemon(*config);
  if (status.ok()) return 0;
  fmt::print(stderr, "gemeld: {}\n", std::string(status.message()));
  return 1;
}
