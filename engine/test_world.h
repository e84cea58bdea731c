// Two production nodes in one thread on simulated time: for tests. Everything that a Node is given (loop, clock,
// network, workers, randomness) is here; the disk is the test's. Deterministic: one seed, one run.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/node.h"

namespace gemel::engine::testing {

class TestClock : public journal::Clock {
 public:
  uint64_t NowMillis() const override { return 1'800'000'000'000 + now_ms; }
  uint64_t BootMillis() const override { return 1'000'000 + now_ms; }
  uint64_t now_ms = 0;
};

// One node's: it may be wrong, against the true one.
class NodeClock : public journal::Clock {
 public:
  explicit NodeClock(const TestClock& truth) : truth_(truth) {}
  uint64_t NowMillis() const override { return truth_.NowMillis() + ahead_ms; }
  uint64_t BootMillis() const override { return truth_.BootMillis(); }
  uint64_t ahead_ms = 0;

 private:
  const TestClock& truth_;
};

class TestRandom : public journal::Random {
 public:
  explicit TestRandom(uint64_t seed) : engine_(seed) {}
  void Fill(void* out, size_t bytes) override {
    for (size_t i = 0; i < bytes; ++i) static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(engine_());
  }

 private:
  std::mt19937_64 engine_;
};

// Steps in the order of posting; time moves only when nothing is left to do.
class TestLoop : public Loop {
 public:
  explicit TestLoop(TestClock& clock) : clock_(clock) {}
  void Post(std::function<void()> step) override { steps_.push_back(std::move(step)); }
  TimerId After(uint64_t milliseconds, std::function<void()> step) override {
    const TimerId id = ++last_timer_;
    timers_[{clock_.now_ms + milliseconds, id}] = std::move(step);
    return id;
  }
  void Cancel(TimerId timer) override {
    std::erase_if(timers_, [timer](const auto& entry) { return entry.first.second == timer; });
  }
  // One step; the next timer if there is none. False: nothing will ever happen.
  bool RunOne() {
    if (steps_.empty()) {
      if (timers_.empty()) return false;
      auto first = timers_.extract(timers_.begin());
      clock_.now_ms = std::max(clock_.now_ms, first.key().first);
      steps_.push_back(std::move(first.mapped()));
    }
    std::function<void()> step = std::move(steps_.front());
    steps_.pop_front();
    step();
    ++steps_run;
    return true;
  }
  size_t steps_run = 0;
  // Until `done`, at most `ms_max` of simulated time.
  bool RunUntil(const std::function<bool()>& done, uint64_t ms_max = 60'000) {
    const uint64_t end = clock_.now_ms + ms_max;
    while (!done()) {
      if (clock_.now_ms > end || !RunOne()) return false;
    }
    return true;
  }
  void RunFor(uint64_t ms) {
    bool over = false;
    After(ms, [&over] { over = true; });
    RunUntil([&over] { return over; }, ms + 1);
  }

 private:
  TestClock& clock_;
  std::deque<std::function<void()>> steps_;
  std::map<std::pair<uint64_t, TimerId>, std::function<void()>> timers_;
  TimerId last_timer_ = 0;
};

// Blocking work as further steps of the same loop.
class TestWorkers : public Workers {
 public:
  explicit TestWorkers(TestLoop& loop) : loop_(loop) {}
  void Post(Lane, std::function<void()> job) override { loop_.Post(std::move(job)); }

 private:
  TestLoop& loop_;
};

// One end of a connection between two sessions, or between a session and a test.
class TestConnection : public Connection {
 public:
  explicit TestConnection(TestLoop& loop) : loop_(loop) {}

  void Send(std::string bytes) override {
    if (closed) return;
    sent += bytes;
    if (other == nullptr) return;
    loop_.Post([to = other, alive = std::weak_ptr<bool>(other->alive_), bytes = std::move(bytes)] {
      if (!alive.expired() && !to->closed && to->session) to->session->OnBytes(bytes);
    });
  }
  size_t unsent_bytes() const override { return 0; }
  void OnDrained(std::function<void()> then) override { loop_.Post(std::move(then)); }
  void PauseReading() override {}
  void ResumeReading() override {}
  void StartTls() override {}
  void CloseAfterSending() override { CloseBoth(/*tell_this=*/false); }
  void SetIdleTimeout(uint64_t) override {}
  void ProxyToHome(ProxyHello, std::string, std::function<void(absl::Status)> then) override {
    loop_.Post([then = std::move(then)] { then(absl::UnavailableError("no proxying in this test")); });
  }
  const std::string& peer_address() const override { return address_; }
  bool tls() const override { return true; }
  std::string tls_description() const override { return "test"; }
  bool tls_available() const override { return true; }
  bool loopback() const override { return true; }
  const std::string& session_id() const override { return address_; }

  // The network fails: both ends hear of it.
  void Cut() { CloseBoth(/*tell_this=*/true); }

  std::unique_ptr<ProtocolSession> session;
  TestConnection* other = nullptr;
  std::string sent;  // all that was ever sent
  bool closed = false;

 private:
  void CloseBoth(bool tell_this) {
    if (closed) return;
    closed = true;
    if (tell_this) TellLater(this);
    if (other != nullptr && !other->closed) {
      other->closed = true;
      TellLater(other);
    }
  }
  void TellLater(TestConnection* connection) {
    loop_.Post([connection, alive = std::weak_ptr<bool>(connection->alive_)] {
      if (!alive.expired() && connection->session) connection->session->OnClosed();
    });
  }

  TestLoop& loop_;
  const std::string address_ = "127.0.0.1";
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A pair. Node i has its own disk and can be started, killed (destroyed as it stands) and cut off.
class TestPair {
 public:
  explicit TestPair(uint64_t seed = 1) : clock(), loop(clock), workers(loop), random(seed), network_(*this) {
    identities[0].cluster = identities[1].cluster = NewCluster();
    for (uint8_t place = 0; place < 2; ++place) {
      identities[place].node = random.U64();
      identities[place].place = place;
    }
  }
  ~TestPair() {
    Cut();
    for (auto& node : nodes) node.reset();
  }

  // From now on the nodes know one another.
  void Pair() {
    for (uint8_t place = 0; place < 2; ++place) {
      PeerIdentity peer;
      peer.node = identities[1 - place].node;
      peer.link_address = std::to_string(1 - place);
      identities[place].peer = peer;
      if (nodes[place]) nodes[place]->SetPeer(peer);
    }
  }

  absl::Status Start(int place, journal::Disk& disk, NodeOptions options) {
    Environment environment{disk, clocks[place], random, loop, network_, workers};
    absl::StatusOr<std::unique_ptr<Node>> node = Node::Open(std::move(options), identities[place], environment);
    if (!node.ok()) return node.status();
    nodes[place] = *std::move(node);
    nodes[place]->Start();
    return absl::OkStatus();
  }
  // As kill -9 does it: what was not written is not written. (What was written and not synced, the disk decides.)
  void Kill(int place) {
    Cut();
    nodes[place].reset();
  }
  void Cut() { connections_.clear(); }  // sessions that go tell their nodes
  void SetReachable(bool reachable) {
    reachable_ = reachable;
    if (!reachable) Cut();
  }
  bool RunUntil(const std::function<bool()>& done, uint64_t ms_max = 60'000) { return loop.RunUntil(done, ms_max); }
  // Nothing is on its way any more, on both nodes, and they are paired.
  bool RunUntilQuiet() {
    return RunUntil([this] {
      for (auto& node : nodes) {
        if (!node) return false;
        const NodeStatus status = node->Status();
        if (!status.peer_counts || status.lag_records_out != 0 || status.unprotected != 0 ||
            status.oldest_unacknowledged_ms != 0 || status.state != "paired") {
          return false;
        }
      }
      return true;
    });
  }

  TestClock clock;
  NodeClock clocks[2] = {NodeClock(clock), NodeClock(clock)};
  TestLoop loop;
  TestWorkers workers;
  TestRandom random;
  Identity identities[2];
  std::unique_ptr<Node> nodes[2];

 private:
  class TestNetwork : public Network {
   public:
    explicit TestNetwork(TestPair& pair) : pair_(pair) {}
    void DialPeer(const std::string& address, const std::string&, uint64_t, SessionFactory make,
                  std::function<void(absl::Status)> failed) override {
      pair_.loop.Post([this, address, make = std::move(make), failed = std::move(failed)] {
        Node* target = pair_.nodes[address == "0" ? 0 : 1].get();
        if (!pair_.reachable_ || target == nullptr) return failed(absl::UnavailableError("connection refused"));
        auto here = std::make_unique<TestConnection>(pair_.loop);
        auto there = std::make_unique<TestConnection>(pair_.loop);
        here->other = there.get();
        there->other = here.get();
        here->session = make(*here);
        there->session = target->AcceptLink(*there);
        here->session->OnConnected();
        there->session->OnConnected();
        pair_.connections_.push_back(std::move(here));
        pair_.connections_.push_back(std::move(there));
      });
    }

   private:
    TestPair& pair_;
  };

  journal::ClusterId NewCluster() {
    journal::ClusterId id;
    random.Fill(id.bytes.data(), id.bytes.size());
    return id;
  }

  TestNetwork network_;
  std::vector<std::unique_ptr<TestConnection>> connections_;
  bool reachable_ = true;
};

}  // namespace gemel::engine::testing
