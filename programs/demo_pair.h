// A pair of gemeld processes in one directory, on loopback: DIR/{a,b}/{gemeld.toml,log,data,run}.
#pragma once
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/config.h"
#include "engine/node.h"
#include "programs/interrupt.h"

namespace gemel::programs {

inline constexpr char kDemoPassword[] = "pass";

class DemoNode {
 public:
  DemoNode(const std::string& directory, char name);

  struct Ending {
    std::string how;
    bool good = false;  // status 0, or SIGKILL by somebody's hand
  };

  // Returns when it answers. Cancelled: interrupted before.
  absl::Status Start(const Interrupt& interrupt);
  // Waits until the process has ended, and kills it when it takes longer than 15 s. nullopt: none ran that Start made.
  std::optional<Ending> Stop(int signal);
  // If the process that Start made has ended since; told once.
  std::optional<Ending> Ended();

  std::string StartCommand() const;  // for a shell
  absl::StatusOr<engine::NodeStatus> Status() const;
  absl::StatusOr<std::string> Admin(const std::string& method, const std::string& target,
                                    const std::string& body = "") const;

  std::string directory, config_path, log_path;
  char name;
  pid_t pid = -1;         // -1: not running, as far as we know
  engine::Config config;  // as in its file

 private:
  // The process behind the admin socket, whoever started it; -1: none.
  pid_t ServingProcess() const;
  std::string LastLogLines() const;
};

class DemoPair {
 public:
  // Makes directory, configurations, identities and pairing, where they are not there yet; starts both. Cancelled, here
  // and below: interrupted. `interrupt` must outlive the pair.
  static absl::StatusOr<std::unique_ptr<DemoPair>> Start(const std::string& directory, size_t accounts,
                                                         const Interrupt& interrupt);
  explicit DemoPair(const Interrupt& interrupt) : interrupt_(interrupt) {}
  ~DemoPair() { (void)Stop(); }
  // Both, by SIGTERM. Internal: one of them ended badly, and how.
  absl::Status Stop();

  // Until both are connected, have nothing to send and nothing unprotected. Unavailable: not within `timeout_ms`.
  absl::Status WaitUntilQuiet(uint64_t timeout_ms) const;
  std::string Json() const;

  static std::string AccountName(size_t index);

  std::vector<DemoNode> nodes;
  std::string directory;
  size_t accounts = 0;

 private:
  absl::Status SetUp();
  absl::Status WriteConfigs();
  absl::Status Pair();
  absl::Status AddAccounts();

  const Interrupt& interrupt_;
};

std::string GemeldPath();                          // beside this program
std::string ShellQuoted(const std::string& text);  // as one word for sh(1)

}  // namespace gemel::programs
