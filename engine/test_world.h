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
  uint64_t now_ms() const { return clock_.now_ms; }
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
  void Post(Lane lane, std::function<void()> job) override {
    if (lane == Lane::kStore && store_stands_still) return held_.push_back(std::move(job));
    loop_.Post(std::move(job));
  }
  void LetStoreGoOn() {
    store_stands_still = false;
    for (auto& job : std::exchange(held_, {})) loop_.Post(std::move(job));
  }
  void ForgetStore() {  // the process that it belonged to is gone
    store_stands_still = false;
    held_.clear();
  }
  bool store_stands_still = false;  // the store's lane is busy: its jobs wait

 private:
  TestLoop& loop_;
  std::vector<std::function<void()>> held_;
};

// What lies between two TestConnections.
struct TestWire {
  uint64_t bytes_per_ms = 0;  // 0: as many as there are
  bool stands_still = false;  // nothing arrives any more, and nobody is told
};

// One end of a connection between two sessions, or between a session and a test. As a socket's: what was sent waits, in
// order, for the wire and for the other end to read; what was sent before the end arrives before the other hears of it.
class TestConnection : public Connection {
 public:
  TestConnection(TestLoop& loop, const TestWire& wire) : loop_(loop), wire_(wire) {}
  ~TestConnection() override {
    session.reset();
    if (other != nullptr) other->other = nullptr;
  }
  static void Join(TestConnection& a, TestConnection& b) {
    a.other = &b;
    b.other = &a;
  }

  void Send(std::string bytes) override {
    if (closed) return;
    sent += bytes;
    if (other == nullptr) return;
    unsent_bytes_ += bytes.size();
    unsent_bytes_max = std::max(unsent_bytes_max, unsent_bytes_);
    queue_.push_back(std::move(bytes));
    MoveSoon();
  }
  size_t unsent_bytes() const override { return unsent_bytes_; }
  void OnDrained(std::function<void()> then) override {
    drained_ = std::move(then);
    TellDrained();
  }
  void PauseReading() override { paused = true; }
  void ResumeReading() override {
    paused = false;
    if (other != nullptr) other->MoveSoon();
  }
  void StartTls() override {}
  void CloseAfterSending() override {
    if (std::exchange(closed, true)) return;
    if (queue_.empty()) TellOther();
  }
  void SetIdleTimeout(uint64_t milliseconds) override {
    idle_ms_ = milliseconds;
    last_arrival_ms_ = loop_.now_ms();
    if (idle_ms_ != 0) AwaitIdle(idle_ms_);
  }
  void ProxyToHome(ProxyHello, std::string, std::function<void(absl::Status)> then) override {
    loop_.Post([then = std::move(then)] { then(absl::UnavailableError("no proxying in this test")); });
  }
  const std::string& peer_address() const override { return address_; }
  bool tls() const override { return true; }
  std::string tls_description() const override { return "test"; }
  bool tls_available() const override { return true; }
  bool loopback() const override { return true; }
  const std::string& session_id() const override { return address_; }

  // The next of what waits goes its way, where nothing holds it.
  void MoveSoon() {
    if (moving_ || queue_.empty() || other == nullptr || other->paused || wire_.stands_still) return;
    moving_ = true;
    auto step = [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) Move();
    };
    if (wire_.bytes_per_ms == 0) return loop_.Post(std::move(step));
    loop_.After(queue_.front().size() / wire_.bytes_per_ms, std::move(step));
  }
  bool finished() const { return closed && (queue_.empty() || other == nullptr || other->closed); }

  std::unique_ptr<ProtocolSession> session;
  TestConnection* other = nullptr;
  std::string sent;  // all that was ever sent
  size_t unsent_bytes_max = 0;
  bool paused = false;
  bool closed = false;  // the session is not called any more

 private:
  void Move() {
    moving_ = false;
    if (queue_.empty() || other == nullptr || other->paused || wire_.stands_still) return;
    const std::string bytes = std::move(queue_.front());
    queue_.pop_front();
    unsent_bytes_ -= bytes.size();
    other->Arrived(bytes);
    TellDrained();
    if (closed && queue_.empty()) TellOther();
    MoveSoon();
  }
  void Arrived(std::string_view bytes) {
    last_arrival_ms_ = loop_.now_ms();
    if (!closed && session) session->OnBytes(bytes);
  }
  void TellDrained() {
    if (drained_ && unsent_bytes_ < 64 * 1024) loop_.Post(std::exchange(drained_, nullptr));
  }
  void TellOther() {
    if (other == nullptr || std::exchange(other->closed, true)) return;
    loop_.Post([to = other, alive = std::weak_ptr<bool>(other->alive_)] {
      if (!alive.expired() && to->session) to->session->OnClosed();
    });
  }
  void AwaitIdle(uint64_t ms) {
    loop_.Cancel(idle_timer_);
    idle_timer_ = loop_.After(ms, [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) OnIdleTimer();
    });
  }
  void OnIdleTimer() {
    if (closed || idle_ms_ == 0) return;
    if (loop_.now_ms() - last_arrival_ms_ >= idle_ms_) {
      last_arrival_ms_ = loop_.now_ms();
      if (session) session->OnTimeout();
    }
    if (!closed) AwaitIdle(last_arrival_ms_ + idle_ms_ - loop_.now_ms());
  }

  TestLoop& loop_;
  const TestWire& wire_;
  const std::string address_ = "127.0.0.1";
  std::deque<std::string> queue_;
  size_t unsent_bytes_ = 0;
  bool moving_ = false;
  std::function<void()> drained_;
  uint64_t idle_ms_ = 0, last_arrival_ms_ = 0;
  TimerId idle_timer_ = 0;
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
  // The wire between the nodes, from now on.
  void SetWire(TestWire to) {
    wire = to;
    for (const auto& each : connections_) each->MoveSoon();
  }
  // The end of the link that `place` holds; nullptr: there is none.
  TestConnection* Link(int place) {
    for (auto each = connections_.rbegin(); each != connections_.rend(); ++each) {
      if ((*each)->session && !(*each)->closed && (each - connections_.rbegin()) % 2 == place) return each->get();
    }
    return nullptr;
  }
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
  TestWire wire;
  int links_made = 0;
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
        pair_.RemoveFinished();
        ++pair_.links_made;
        auto here = std::make_unique<TestConnection>(pair_.loop, pair_.wire);
        auto there = std::make_unique<TestConnection>(pair_.loop, pair_.wire);
        TestConnection::Join(*here, *there);
        here->session = make(*here);
        there->session = target->AcceptLink(*there);
        here->session->OnConnected();
        there->session->OnConnected();
        pair_.connections_.push_back(std::move(here));   // Link counts from behind: that of place 0, which listens,
        pair_.connections_.push_back(std::move(there));  // is the last
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

  // Links of which both ends are done.
  void RemoveFinished() {
    for (size_t i = 0; i < connections_.size();) {
      const auto first = connections_.begin() + static_cast<ptrdiff_t>(i);
      if (first[0]->finished() && first[1]->finished()) {
        connections_.erase(first, first + 2);
      } else {
        i += 2;
      }
    }
  }

  TestNetwork network_;
  std::vector<std::unique_ptr<TestConnection>> connections_;
  bool reachable_ = true;
};

}  // namespace gemel::engine::testing
