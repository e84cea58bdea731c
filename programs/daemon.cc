#include "programs/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <thread>

#include "engine/admin_server.h"
#include "engine/data_lock.h"
#include "engine/identity.h"
#include "engine/net_loop.h"
#include "engine/net_server.h"
#include "engine/net_tls.h"
#include "engine/net_workers.h"
#include "engine/node.h"
#include "engine/pairing.h"
#include "fmt/format.h"
#include "imap/session.h"
#include "journal/log.h"
#include "programs/sd_notify.h"
#include "smtp/session.h"

namespace gemel::programs {
namespace {

using engine::Connection;
using engine::ProtocolSession;
using journal::Log;
using journal::LogLevel;

// How long beyond `shutdown_time` the process may take before the kernel ends it: SIGTERM promises an end.
constexpr unsigned kAlarmMarginSeconds = 2;
// How often a start that takes long says so.
constexpr int kRecoveringEveryMs = 5000;
constexpr uint64_t kReadyPollMs = 2;

LogLevel LogLevelOf(const std::string& name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return name == "off" ? LogLevel::kOff : LogLevel::kInfo;
}

// Every connection is a descriptor, and so is every file that a session has open.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Signals arrive on the loop, through a descriptor.
class Signals : private engine::NetLoop::Watcher {
 public:
  // Before any thread is made, so that none takes a signal for itself.
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Signals() override {
    if (loop_) loop_->Unwatch(fd_, this);
    close(fd_);
  }
  bool WatchOn(engine::NetLoop& loop, std::function<void(int)> on_signal) {
    on_signal_ = std::move(on_signal);
    if (!loop.Watch(fd_, EPOLLIN, this)) return false;
    loop_ = &loop;
    return true;
  }

 private:
  void OnReady(uint32_t) override {
    signalfd_siginfo info;
    while (read(fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      on_signal_(static_cast<int>(info.ssi_signo));
    }
  }

  int fd_ = -1;
  engine::NetLoop* loop_ = nullptr;
  std::function<void(int)> on_signal_;
};

// While the daemon starts, which may take minutes (recovery, replay) and does not turn the loop: ends the process at
// SIGTERM and SIGINT, and says now and then that the start goes on. An end at any moment of a start is safe, as a crash
// is: nothing is acknowledged yet.
class Starting {
 public:
  Starting() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT}) sigaddset(&set, signal);
    signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    over_ = eventfd(0, EFD_CLOEXEC);
    thread_ = std::thread([this] { Watch(); });
  }
  // From here on the signals wait for whoever reads them next.
  ~Starting() {
    const uint64_t one = 1;
    (void)!write(over_, &one, sizeof one);
    thread_.join();
    close(over_);
    close(signals_);
  }
  Starting(const Starting&) = delete;
  Starting& operator=(const Starting&) = delete;

 private:
  void Watch() const {
    for (int seconds = 0;;) {
      pollfd wait[] = {{over_, POLLIN, 0}, {signals_, POLLIN, 0}};
      const int ready = poll(wait, 2, kRecoveringEveryMs);
      if (ready < 0) continue;  // EINTR
      if (wait[0].revents != 0) return;
      if (ready > 0) {
        Log(LogLevel::kInfo, "stopping", {{"while", "starting"}});
        NotifySystemd("STOPPING=1");
        _exit(0);
      }
      seconds += kRecoveringEveryMs / 1000;
      Log(LogLevel::kInfo, "recovering", {{"seconds", seconds}});
      NotifySystemd(fmt::format("STATUS=recovering since {} s", seconds));
    }
  }

  int signals_ = -1, over_ = -1;
  std::thread thread_;
};

class Daemon {
 public:
  explicit Daemon(const engine::Config& config) : config_(config) {}

  ~Daemon() {
    net_.CloseAll();  // sessions go before the node that they use
    node_.reset();
  }

  absl::Status Run() {
    {
      const Starting starting;
      if (auto status = Open(); !status.ok()) return status;
    }
    if (!signals_.WatchOn(loop_, [this](int signal) { OnSignal(signal); })) {
      return absl::UnavailableError("signals cannot be watched");
    }
    node_->Start();
    SayServing();
    loop_.Run();
    Log(LogLevel::kInfo, "ended");
    return absl::OkStatus();
  }

 private:
  // A node alone refuses accounts and mail until its first generation is durable, a moment after its first start. (One
  // that has joined another may wait for that one for long.)
  void SayServing() {
    if (stopping_) return;
    if (node_->generation() == 0 && !identity_.peer) {
      loop_.After(kReadyPollMs, [this] { SayServing(); });
      return;
    }
    Log(LogLevel::kInfo, "serving",
        {{"version", GEMEL_VERSION}, {"node", journal::HexU64(identity_.node)}, {"data", config_.data_directory}});
    NotifySystemd("READY=1\nSTATUS=");
  }

  absl::Status Open() {
    auto identity = engine::ReadIdentity(*disk_, config_.data_directory);
    if (absl::IsNotFound(identity.status())) {
      return absl::FailedPreconditionError(fmt::format(
          "{} is not a node yet: run `gemel init`, or `gemel pair` to join another", config_.data_directory));
    }
    if (!identity.ok()) return identity.status();
    identity_ = *std::move(identity);
    auto lock = engine::DataLock::Take(config_.data_directory);
    if (!lock.ok()) return lock.status();
    lock_ = *std::move(lock);

    auto client_tls =
        config_.tls_certificate.empty()
            ? engine::ClientTls::LoadSelfSigned(*disk_, config_.data_directory, engine::HostNameOf(config_))
            : engine::ClientTls::Load(config_.tls_certificate, config_.tls_key);
    if (!client_tls.ok()) return client_tls.status();
    net_.SetClientTls(*std::move(client_tls));
    auto peer_tls = engine::PeerTls::Make(
        identity_.key_pem, identity_.certificate_pem,
        [this](std::string_view alpn, const std::string& fingerprint) { return PeerMayUse(alpn, fingerprint); });
    if (!peer_tls.ok()) return peer_tls.status();
    net_.SetPeerTls(*std::move(peer_tls));
    net_.SetPeerAddress([this] { return identity_.peer ? identity_.peer->link_address : std::string(); });

    // Before the node: opening it writes that it has started, and a port that is taken ends this start. The loop, which
    // accepts connections, runs only behind it.
    if (auto status = ListenToAll(); !status.ok()) return status;

    engine::NodeOptions options = engine::NodeOptionsOf(config_);
    options.keep_readers_out = [directory = config_.data_directory] {
      return std::shared_ptr<void>(engine::JournalHold::TakeAlone(directory));
    };
    options.keep_readers_out();  // makes the file that readers look for
    auto node = engine::Node::Open(std::move(options), identity_,
                                   {*disk_, journal::SystemClock(), journal::SystemRandom(), loop_, net_, workers_});
    if (!node.ok()) return node.status();
    node_ = *std::move(node);
    return absl::OkStatus();
  }

  bool PeerMayUse(std::string_view alpn, const std::string& fingerprint) const {
    // Pairing proves itself by its token.
    if (alpn == engine::kAlpnPair) return true;
    return identity_.peer && identity_.peer->key_fingerprint == fingerprint;
  }

  absl::Status ListenToAll() {
    admin_hooks_.new_pairing_token = [this] { return NewPairingToken(); };
    smtp_limits_.set_messages_per_mailbox_minute_max(config_.messages_per_mailbox_minute);
    imap_options_.append_bytes_max = config_.message_bytes;

    engine::ListenOptions admin;
    admin.name = "admin";
    admin.address = "unix:" + config_.admin_socket;
    admin.unix_mode = 0600;
    admin.unix_uids = {0, geteuid()};
    admin.stranger_goodbye = engine::AdminRefusal();
    const auto bound = net_.Listen(
        admin, [this](Connection& connection) { return engine::MakeAdminSession(*node_, admin_hooks_, connection); });
    if (!bound.ok()) return NotListening("[node] admin_socket", bound.status());
    const auto listen_peer = [this](const std::string& address) { return net_.ListenPeer(address, PeerHandlers()); };
    if (auto status = ListenOn("[link] listen", &engine::Config::link_listen, listen_peer); !status.ok()) return status;
    if (auto status = ListenForMail(); !status.ok()) return status;
    return ListenForClients();
  }

  absl::Status ListenForMail() {
    const auto lmtp = SmtpOptions(smtp::Kind::kLmtp, config_.lmtp_timeout_ms);
    const auto smtp = SmtpOptions(smtp::Kind::kSmtp, config_.smtp_timeout_ms);
    const auto factory = [this](const std::shared_ptr<const smtp::SessionOptions>& options) {
      return [this, options](Connection& connection) {
        return std::make_unique<smtp::Session>(*node_, connection, smtp_limits_, options);
      };
    };
    const std::string goodbye = "421 4.7.0 too many connections, try again later\r\n";
    if (!config_.lmtp_socket.empty()) {
      const auto bound = net_.Listen(
          ClientOptions("lmtp", "unix:" + config_.lmtp_socket, engine::ListenTls::kNone, goodbye), factory(lmtp));
      if (!bound.ok()) return NotListening("[lmtp] socket", bound.status());
    }
    const auto listen_lmtp = [&](const std::string& address) {
      return net_.Listen(ClientOptions("lmtp", address, engine::ListenTls::kStartTls, goodbye), factory(lmtp));
    };
    if (auto status = ListenOn("[lmtp] listen", &engine::Config::lmtp_listen, listen_lmtp); !status.ok()) return status;
    return ListenOn("[smtp] listen", &engine::Config::smtp_listen, [&](const std::string& address) {
      return net_.Listen(ClientOptions("smtp", address, engine::ListenTls::kStartTls, goodbye), factory(smtp));
    });
  }

  absl::Status ListenForClients() {
    const auto make = [this](Connection& connection) {
      return imap::MakeSession(*node_, loop_, connection, imap_options_);
    };
    const std::string goodbye = "* BYE too many connections, try again later\r\n";
    const auto listen_imap = [&](const std::string& address) {
      return net_.Listen(ClientOptions("imap", address, engine::ListenTls::kStartTls, goodbye), make);
    };
    if (auto status = ListenOn("[imap] listen", &engine::Config::imap_listen, listen_imap); !status.ok()) return status;
    return ListenOn("[imap] listen_tls", &engine::Config::imaps_listen, [&](const std::string& address) {
      return net_.Listen(ClientOptions("imaps", address, engine::ListenTls::kImplicit, goodbye), make);
    });
  }

  engine::LinkHandlers PeerHandlers() {
    engine::LinkHandlers handlers;
    handlers.make_link = [this](Connection& connection) {
      EndPairing();
      return node_->AcceptLink(connection);
    };
    handlers.check_proxy = [this](const engine::ProxyHello& hello) { return node_->CheckProxy(hello); };
    handlers.make_proxied = [this](Connection& connection, const engine::ProxyHello& hello) {
      imap::Preauthenticated client{hello.account, node_->AccountName(hello.account)};
      return imap::MakeSession(*node_, loop_, connection, imap_options_, std::move(client));
    };
    handlers.make_pairing = [this](engine::PeerConnection& connection) { return MakePairing(connection); };
    return handlers;
  }

  engine::ListenOptions ClientOptions(std::string name, std::string address, engine::ListenTls tls,
                                      std::string goodbye) const {
    engine::ListenOptions options;
    options.name = std::move(name);
    options.address = std::move(address);
    options.tls = tls;
    options.connections_max = config_.connections;
    options.connections_per_address_max = config_.connections_per_address;
    options.goodbye = std::move(goodbye);
    return options;
  }

  std::shared_ptr<const smtp::SessionOptions> SmtpOptions(smtp::Kind kind, uint64_t idle_ms) const {
    auto options = std::make_shared<smtp::SessionOptions>();
    options->kind = kind;
    options->message_bytes_max = config_.message_bytes;
    options->recipients_max = static_cast<uint32_t>(config_.recipients);
    options->received_max = static_cast<uint32_t>(config_.received_hops);
    options->idle_ms = idle_ms;
    options->errors_max = static_cast<uint32_t>(config_.errors);
    options->messages_max = static_cast<uint32_t>(config_.messages_per_connection);
    return options;
  }

  static absl::Status NotListening(const std::string& key, const absl::Status& why) {
    return {why.code(), fmt::format("{}: {}", key, std::string(why.message()))};
  }

  // On every address of the list. Of the default list an IPv6 address that this host does not have is left out: many
  // hosts have none, and nobody asked for it.
  absl::Status ListenOn(const std::string& key, std::vector<std::string> engine::Config::* list,
                        const std::function<absl::StatusOr<std::string>(const std::string& address)>& listen) const {
    const bool is_default = config_.*list == engine::Config().*list;
    for (const std::string& address : config_.*list) {
      const absl::Status status = listen(address).status();
      if (status.ok()) continue;
      if (!absl::IsFailedPrecondition(status)) return NotListening(key, status);
      if (!is_default || !address.starts_with('[')) {
        return absl::FailedPreconditionError(
            fmt::format("{}: {}. Take it out of the list in gemeld.toml, or give it to the host", key,
                        std::string(status.message())));
      }
      Log(LogLevel::kWarning, "listener_left_out",
          {{"key", key},
           {"error", std::string(status.message())},
           {"advice", "set the key to the addresses you want"}});
    }
    return absl::OkStatus();
  }

  absl::StatusOr<engine::AdminHooks::PairingToken> NewPairingToken() {
    auto token = engine::NewPairingToken(*disk_, config_.data_directory, identity_, journal::SystemClock(),
                                         journal::SystemRandom());
    if (!token.ok()) return token.status();
    return engine::AdminHooks::PairingToken{*std::move(token), engine::LinkAddressOf(config_)};
  }

  std::unique_ptr<ProtocolSession> MakePairing(engine::PeerConnection& connection) {
    return engine::MakePairingSession(connection, *disk_, config_.data_directory, identity_,
                                      engine::LinkAddressOf(config_), [this](const engine::Identity& paired) {
                                        identity_ = paired;
                                        node_->SetPeer(*paired.peer);
                                      });
  }

  // The peer dials, so it has finished pairing.
  void EndPairing() {
    if (!identity_.peer) return;
    const auto status = engine::EndPairing(*disk_, config_.data_directory, identity_.peer->key_fingerprint);
    if (!status.ok()) {
      Log(LogLevel::kWarning, "pairing_token_kept",
          {{"error", std::string(status.message())}, {"advice", "it is void within the hour"}});
    }
  }

  void OnSignal(int signal) {
    if (signal == SIGHUP) {
      (void)net_.ReloadCertificates();  // logs how it went; the old ones stay in use on an error
      return;
    }
    if (stopping_) return;
    stopping_ = true;
    Log(LogLevel::kInfo, "stopping", {{"connections", net_.connections()}});
    NotifySystemd("STOPPING=1");
    alarm(static_cast<unsigned>(config_.shutdown_ms / 1000) + kAlarmMarginSeconds);
    net_.StopListening();
    net_.Shutdown();
    node_->Stop(config_.shutdown_ms, [this] { loop_.Stop(); });
  }

  const engine::Config config_;
  Signals signals_;                         // first: it blocks signals for all threads that follow
  std::unique_ptr<engine::DataLock> lock_;  // before what it protects: let go last
  std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  engine::NetLoop loop_;
  engine::ThreadWorkers workers_;
  engine::Net net_{loop_};
  engine::Identity identity_;
  engine::AdminHooks admin_hooks_;
  smtp::SmtpLimits smtp_limits_;
  imap::SessionOptions imap_options_;
  std::unique_ptr<engine::Node> node_;
  bool stopping_ = false;
};

}  // namespace

absl::Status RunDaemon(const engine::Config& config) {
  journal::SetLogLevel(LogLevelOf(config.log_level));
  RaiseDescriptorLimit();
  return Daemon(config).Run();
}

}  // namespace gemel::programs
