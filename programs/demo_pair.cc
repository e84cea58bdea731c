#include "programs/demo_pair.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "engine/admin_client.h"
#include "engine/identity.h"
#include "engine/pairing.h"
#include "engine/password.h"
#include "engine/status.h"
#include "fmt/format.h"

namespace gemel::programs {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr uint64_t kStartMs = 60'000;  // a node may have a journal to replay
constexpr uint64_t kStopMs = 15'000;
constexpr auto kPoll = milliseconds(20);
// sockaddr_un holds 108 bytes.
constexpr size_t kDirectoryBytesMax = 90;

// True as soon as `done` is; false after `timeout_ms`, or when `interrupt`, which may be null, came.
template <class Done>
bool Wait(uint64_t timeout_ms, const Interrupt* interrupt, Done done) {
  const auto end = steady_clock::now() + milliseconds(timeout_ms);
  while (!done()) {
    if (steady_clock::now() > end || (interrupt && interrupt->came())) return false;
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

// Free ports on 127.0.0.1. All sockets stay open until the last is drawn, so that none comes twice.
absl::StatusOr<std::vector<uint16_t>> DrawPorts(size_t count) {
  std::vector<int> sockets;
  std::vector<uint16_t> ports;
  absl::Status status;
  while (ports.size() < count && status.ok()) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
      status = absl::UnavailableError(fmt::format("no free port: {}", strerror(errno)));
    }
    ports.push_back(ntohs(address.sin_port));
    if (fd >= 0) sockets.push_back(fd);
  }
  for (const int fd : sockets) close(fd);
  if (!status.ok()) return status;
  return ports;
}

}  // namespace

std::string GemeldPath() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& path : {self.parent_path() / "gemeld", self.parent_path() / "../sbin/gemeld"}) {
    if (access(path.c_str(), X_OK) == 0) return path.lexically_normal().string();
  }
  return "gemeld";
}

std::string ShellQuoted(const std::string& text) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// ---- one node ----

DemoNode::DemoNode(const std::string& pair_directory, char node_name)
    : directory(fmt::format("{}/{}", pair_directory, node_name)),
      config_path(directory + "/gemeld.toml"),
      log_path(directory + "/log"),
      name(node_name) {}

absl::Status DemoNode::Start(const Interrupt& interrupt) {
  if (interrupt.came()) return Interrupted();
  const std::string program = GemeldPath();
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return absl::UnavailableError(fmt::format("{}: {}", log_path, strerror(errno)));
  const pid_t parent = getpid();
  pid = fork();
  if (pid == 0) {
    // A node must not outlive a demo that was killed, and must not get the Ctrl-C that is meant for the demo.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execlp(program.c_str(), "gemeld", "--config", config_path.c_str(), nullptr);
    dprintf(STDERR_FILENO, "%s: %s\n", program.c_str(), strerror(errno));
    _exit(127);
  }
  close(log);
  if (pid < 0) return absl::UnavailableError(fmt::format("fork: {}", strerror(errno)));
  std::optional<Ending> ending;
  const bool answers = Wait(kStartMs, &interrupt, [&] { return (ending = Ended()) || ServingProcess() == pid; });
  if (answers && !ending) return absl::OkStatus();
  if (interrupt.came()) return Interrupted();
  return absl::UnavailableError(fmt::format("node {} {}; the end of its log {}:\n{}", name,
                                            ending ? ending->how : "does not answer", log_path, LastLogLines()));
}

std::string DemoNode::StartCommand() const {
  return fmt::format("{} --config {}", ShellQuoted(GemeldPath()), ShellQuoted(config_path));
}

std::string DemoNode::LastLogLines() const {
  std::ifstream in(log_path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  size_t begin = text.size();
  for (int lines = 0; lines <= 10 && begin != std::string::npos && begin > 0; ++lines)
    begin = text.rfind('\n', begin - 1);
  return begin == std::string::npos ? text : text.substr(begin);
}

pid_t DemoNode::ServingProcess() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (config.admin_socket.size() >= sizeof address.sun_path) return -1;
  memcpy(address.sun_path, config.admin_socket.data(), config.admin_socket.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  ucred peer{};
  socklen_t length = sizeof peer;
  const bool found = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0;
  close(fd);
  return found ? peer.pid : -1;
}

std::optional<DemoNode::Ending> DemoNode::Ended() {
  int result = 0;
  if (pid <= 0 || waitpid(pid, &result, WNOHANG) != pid) return std::nullopt;
  pid = -1;
  if (WIFSIGNALED(result)) {
    return Ending{fmt::format("was ended by signal {}", WTERMSIG(result)), WTERMSIG(result) == SIGKILL};
  }
  return Ending{fmt::format("ended with status {}", WEXITSTATUS(result)), WEXITSTATUS(result) == 0};
}

std::optional<DemoNode::Ending> DemoNode::Stop(int signal) {
  if (pid > 0) {
    std::optional<Ending> ending = Ended();
    if (ending) return ending;
    kill(pid, signal);
    if (Wait(kStopMs, nullptr, [&] { return (ending = Ended()).has_value(); })) return ending;
    kill(pid, SIGKILL);
    Wait(kStopMs, nullptr, [&] { return (ending = Ended()).has_value(); });
    return Ending{fmt::format("did not end within {} s of signal {}", kStopMs / 1000, signal), false};
  }
  // Started again by hand, as the demo tells people to: not our child, but our node.
  if (const pid_t other = ServingProcess(); other > 0) {
    pollfd ended{static_cast<int>(syscall(SYS_pidfd_open, other, 0)), POLLIN, 0};
    if (ended.fd < 0) return std::nullopt;  // it has just ended
    kill(other, signal);
    poll(&ended, 1, kStopMs);
    close(ended.fd);
  }
  return std::nullopt;
}

absl::StatusOr<std::string> DemoNode::Admin(const std::string& method, const std::string& target,
                                            const std::string& body) const {
  return engine::AdminCall(config.admin_socket, method, target, body);
}

absl::StatusOr<engine::NodeStatus> DemoNode::Status() const {
  const auto answer = Admin("GET", "/status");
  if (!answer.ok()) return answer.status();
  return engine::StatusFromJson(*answer);
}

// ---- the pair ----

std::string DemoPair::AccountName(size_t index) { return fmt::format("user{}@example.test", index); }

absl::StatusOr<std::unique_ptr<DemoPair>> DemoPair::Start(const std::string& directory, size_t accounts,
                                                          const Interrupt& interrupt) {
  auto pair = std::make_unique<DemoPair>(interrupt);
  std::error_code error;
  pair->directory = fs::absolute(directory, error).lexically_normal().string();
  while (pair->directory.ends_with('/')) pair->directory.pop_back();
  if (pair->directory.size() > kDirectoryBytesMax) {
    return absl::InvalidArgumentError(fmt::format("{}: {} bytes are too many for the Unix sockets in it; at most {}",
                                                  pair->directory, pair->directory.size(), kDirectoryBytesMax));
  }
  pair->accounts = accounts;
  pair->nodes.emplace_back(pair->directory, 'a');
  pair->nodes.emplace_back(pair->directory, 'b');
  if (auto status = pair->SetUp(); !status.ok()) return status;
  return pair;
}

absl::Status DemoPair::Stop() {
  // Both are told at once, then waited for.
  for (DemoNode& node : nodes) {
    if (node.pid > 0) kill(node.pid, SIGTERM);
  }
  absl::Status status;
  for (DemoNode& node : nodes) {
    const auto ending = node.Stop(SIGTERM);
    if (ending && !ending->good) {
      status.Update(absl::InternalError(fmt::format("node {} {}; see {}", node.name, ending->how, node.log_path)));
    }
  }
  return status;
}

absl::Status DemoPair::SetUp() {
  std::error_code error;
  if (!fs::exists(nodes[0].config_path, error) || !fs::exists(nodes[1].config_path, error)) {
    if (auto status = WriteConfigs(); !status.ok()) return status;
  }
  const auto disk = journal::MakePosixDisk();
  bool new_pair = false;
  for (DemoNode& node : nodes) {
    auto config = engine::ReadConfig(node.config_path);
    if (!config.ok()) return config.status();
    node.config = *config;
    new_pair |= !engine::ReadIdentity(*disk, node.config.data_directory).ok();
  }
  if (new_pair) {
    if (auto status = Pair(); !status.ok()) return status;
  } else {
    for (DemoNode& node : nodes) {
      if (auto status = node.Start(interrupt_); !status.ok()) return status;
    }
  }
  if (auto status = WaitUntilQuiet(kStartMs); !status.ok()) return status;
  return AddAccounts();
}

absl::Status DemoPair::WriteConfigs() {
  const auto ports = DrawPorts(10);
  if (!ports.ok()) return ports.status();
  for (size_t i = 0; i < nodes.size(); ++i) {
    DemoNode& node = nodes[i];
    const auto address = [&](size_t index) { return fmt::format("127.0.0.1:{}", (*ports)[i * 5 + index]); };
    engine::Config config;
    config.data_directory = node.directory + "/data";
    config.host_name = fmt::format("{}.demo.example.test", node.name);
    config.admin_socket = node.directory + "/run/admin";
    config.lmtp_socket = node.directory + "/run/lmtp";
    config.link_listen = {address(0)};
    config.link_address = address(0);
    config.lmtp_listen = {address(1)};
    config.smtp_listen = {address(2)};
    config.imap_listen = {address(3)};
    config.imaps_listen = {address(4)};
    std::error_code error;
    fs::create_directories(node.directory + "/run", error);
    if (!error) fs::create_directories(config.data_directory, error);
    if (error) return absl::UnavailableError(fmt::format("{}: {}", node.directory, error.message()));
    std::ofstream out(node.config_path, std::ios::trunc);
    out << "# Made by gemel demo; it is kept, with its ports, when the demo runs here again.\n"
        << engine::RenderConfig(config);
    out.close();
    if (!out) return absl::UnavailableError(node.config_path + ": cannot be written");
  }
  return absl::OkStatus();
}

// As an administrator would: init on the first, a token from its daemon, pair on the second.
absl::Status DemoPair::Pair() {
  const auto disk = journal::MakePosixDisk();
  DemoNode &first = nodes[0], &second = nodes[1];
  if (!engine::ReadIdentity(*disk, first.config.data_directory).ok()) {
    const auto identity = engine::NewIdentity(journal::SystemRandom());
    if (!identity.ok()) return identity.status();
    if (auto status = engine::WriteIdentity(*disk, first.config.data_directory, *identity); !status.ok()) return status;
  }
  if (auto status = first.Start(interrupt_); !status.ok()) return status;
  const auto offer = first.Admin("POST", "/pair/token");
  if (!offer.ok()) return offer.status();
  std::string address, token;
  try {
    const json::value parsed = json::parse(*offer);
    address = parsed.at("address").as_string();
    token = parsed.at("token").as_string();
  } catch (const std::exception& error) {
    return absl::InternalError(fmt::format("no token in {}: {}", *offer, error.what()));
  }
  const auto paired =
      engine::PairWith(*disk, second.config.data_directory, address, token, engine::LinkAddressOf(second.config));
  if (!paired.ok()) return paired.status();
  return second.Start(interrupt_);
}

absl::Status DemoPair::AddAccounts() {
  const auto listed = nodes[0].Admin("GET", "/accounts");
  if (!listed.ok()) return listed.status();
  size_t there = 0;
  try {
    there = json::parse(*listed).as_array().size();
  } catch (const std::exception& error) {
    return absl::InternalError(fmt::format("no accounts in {}: {}", *listed, error.what()));
  }
  if (there >= accounts) return absl::OkStatus();
  // One hash for all: hashing is made slow on purpose.
  const auto hash = engine::HashPassword(kDemoPassword);
  if (!hash.ok()) return hash.status();
  for (size_t i = there; i < accounts; ++i) {
    if (interrupt_.came()) return Interrupted();
    const auto added = nodes[0].Admin(
        "POST", "/accounts/add", json::serialize(json::object{{"name", AccountName(i)}, {"password_hash", *hash}}));
    if (!added.ok()) return added.status();
  }
  return WaitUntilQuiet(kStartMs);
}

absl::Status DemoPair::WaitUntilQuiet(uint64_t timeout_ms) const {
  std::string why;
  const auto quiet = [&](const DemoNode& node) {
    const auto status = node.Status();
    if (!status.ok()) {
      why = std::string(status.status().message());
      return false;
    }
    why = fmt::format("node {} is {}, peer {}, {} records to send, {} to get, {} unprotected", node.name, status->state,
                      status->peer_connected ? "connected" : "away", status->lag_records_out, status->lag_records_in,
                      status->unprotected);
    return status->peer_connected && status->peer_counts && status->lag_records_out == 0 &&
           status->lag_records_in == 0 && status->unprotected == 0 && status->oldest_unacknowledged_ms == 0;
  };
  if (Wait(timeout_ms, &interrupt_, [&] { return quiet(nodes[0]) && quiet(nodes[1]); })) return absl::OkStatus();
  if (interrupt_.came()) return Interrupted();
  return absl::UnavailableError(fmt::format("the pair does not come to rest: {}", why));
}

std::string DemoPair::Json() const {
  json::array list;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const DemoNode& node = nodes[i];
    list.push_back(json::object{
        {"name", std::string(1, node.name)},
        {"place", i},
        {"pid", node.pid},
        {"lmtp", node.config.lmtp_listen[0]},
        {"lmtp_socket", node.config.lmtp_socket},
        {"smtp", node.config.smtp_listen[0]},
        {"imap", node.config.imap_listen[0]},
        {"imaps", node.config.imaps_listen[0]},
        {"link", node.config.link_listen[0]},
        {"admin", node.config.admin_socket},
        {"data_directory", node.config.data_directory},
        {"config", node.config_path},
        {"log", node.log_path},
        {"stop", fmt::format("kill {}", node.pid)},
        {"kill", fmt::format("kill -9 {}", node.pid)},
        {"start", node.StartCommand()},
    });
  }
  json::array names;
  for (size_t i = 0; i < accounts; ++i) names.emplace_back(AccountName(i));
  return json::serialize(json::object{{"directory", directory},
                                      {"pid", getpid()},
                                      {"accounts", std::move(names)},
                                      {"password", kDemoPassword},
                                      {"nodes", std::move(list)}});
}

}  // namespace gemel::programs
