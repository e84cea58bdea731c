// What our Connection costs over a bare epoll loop: the dialogue of an LMTP delivery (four commands, the last with a
// 4 KiB letter, each answered by one line) over loopback TCP with 1, 16 and 64 connections. Client and server are
// two threads; the counters say how much CPU the server's thread took a message.
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "engine/net_loop.h"
#include "engine/net_server.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

constexpr std::string_view kReply = "250 2.0.0 fine, thank you\r\n";
constexpr int kSteps = 4;  // MAIL, RCPT, DATA, the letter

std::string StepText(int step) {
  return step < kSteps - 1 ? "MAIL FROM:<someone@example.test>\r\n" : std::string(4038, 'l') + "\r\n";
}

double ThreadCpuMicros() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

// One answer per line end: stands for both servers' sessions, so that only the carrying differs.
struct Dialogue {
  size_t Answers(std::string_view bytes) { return bytes.ends_with('\n') ? 1 : 0; }
};

class DialogueSession : public ProtocolSession {
 public:
  explicit DialogueSession(Connection& connection) : connection_(connection) {}
  void OnConnected() override { connection_.SetIdleTimeout(300'000); }
  void OnBytes(std::string_view bytes) override {
    if (dialogue_.Answers(bytes) > 0) connection_.Send(std::string(kReply));
  }
  void OnTls() override {}
  void OnTimeout() override {}
  void OnClosed() override {}
  void OnShutdown() override {}

 private:
  Connection& connection_;
  Dialogue dialogue_;
};

// The least there can be: epoll_wait, recv, send.
class BareServer {
 public:
  BareServer() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(listener_, 128) != 0) std::abort();
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &bytes);
    port = ntohs(address.sin_port);
    epoll_ = epoll_create1(0);
    Add(listener_);
    thread_ = std::thread([this] { Serve(); });
  }
  ~BareServer() {
    stop_ = true;
    thread_.join();
    close(listener_);
    close(epoll_);
  }
  double CpuMicros() const { return cpu_micros_; }
  int port = 0;

 private:
  void Add(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }
  void Serve() {
    std::vector<char> buffer(64 * 1024);
    epoll_event events[128];
    while (!stop_) {
      const int count = epoll_wait(epoll_, events, 128, 10);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) {
          const int accepted = accept(listener_, nullptr, nullptr);
          const int on = 1;
          setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          Add(accepted);
          continue;
        }
        const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
          close(fd);
        } else if (buffer[static_cast<size_t>(got) - 1] == '\n') {
          send(fd, kReply.data(), kReply.size(), MSG_NOSIGNAL);
        }
      }
      cpu_micros_ = ThreadCpuMicros();
    }
  }

  int listener_ = -1, epoll_ = -1;
  std::atomic<bool> stop_{false};
  std::atomic<double> cpu_micros_{0};
  std::thread thread_;
};

class OurServer {
 public:
  OurServer() {
    journal::SetLogLevel(journal::LogLevel::kOff);
    ListenOptions options;
    options.address = "127.0.0.1:0";
    options.connections_per_address_max = 1024;
    const std::string address =
        *net_.Listen(options, [](Connection& connection) { return std::make_unique<DialogueSession>(connection); });
    port = std::atoi(address.c_str() + address.rfind(':') + 1);
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~OurServer() {
    loop_.Stop();
    thread_.join();
  }
  double CpuMicros() {
    std::atomic<double> micros{-1};
    loop_.Post([&] { micros = ThreadCpuMicros(); });
    while (micros < 0) std::this_thread::yield();
    return micros;
  }
  int port = 0;

 private:
  NetLoop loop_;
  Net net_{loop_};
  std::thread thread_;
};

class Clients {
 public:
  Clients(int port, int connections) {
    for (int step = 0; step < kSteps; ++step) texts_[step] = StepText(step);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    for (int i = 0; i < connections; ++i) {
      const int fd = socket(AF_INET, SOCK_STREAM, 0);
      if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      polled_.push_back({fd, POLLIN, 0});
    }
    steps_.resize(polled_.size(), 0);
  }
  ~Clients() {
    for (const pollfd& each : polled_) close(each.fd);
  }
  // One message on each connection.
  void Round() {
    for (size_t i = 0; i < polled_.size(); ++i) SendStep(i, 0);
    size_t left = polled_.size();
    char reply[256];
    while (left > 0) {
      poll(polled_.data(), polled_.size(), -1);
      for (size_t i = 0; i < polled_.size(); ++i) {
        if (!(polled_[i].revents & POLLIN)) continue;
        if (recv(polled_[i].fd, reply, sizeof reply, 0) <= 0) std::abort();
        if (steps_[i] + 1 < kSteps) {
          SendStep(i, steps_[i] + 1);
        } else {
          --left;
        }
      }
    }
  }

 private:
  void SendStep(size_t i, int step) {
    steps_[i] = step;
    send(polled_[i].fd, texts_[step].data(), texts_[step].size(), MSG_NOSIGNAL);
  }
  std::string texts_[kSteps];
  std::vector<pollfd> polled_;
  std::vector<int> steps_;
};

template <class Server>
void BM_LmtpDialogue(benchmark::State& state) {
  Server server;
  const auto connections = static_cast<int>(state.range(0));
  Clients clients(server.port, connections);
  clients.Round();
  const double before = server.CpuMicros();
  for (auto _ : state) clients.Round();
  const double messages = static_cast<double>(state.iterations()) * connections;
  state.SetItemsProcessed(static_cast<int64_t>(messages));
  state.counters["server_cpu_us_per_message"] = (server.CpuMicros() - before) / messages;
}
BENCHMARK_TEMPLATE(BM_LmtpDialogue, BareServer)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();
BENCHMARK_TEMPLATE(BM_LmtpDialogue, OurServer)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace gemel::engine
