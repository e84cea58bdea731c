// For tests of sessions: a connection made of strings, and a service that keeps what is delivered in memory.
#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/connection.h"
#include "engine/service.h"

namespace gemel::smtp {

class FakeConnection : public engine::Connection {
 public:
  void Send(std::string bytes) override {
    sent += bytes;
    ++sends;
  }
  size_t unsent_bytes() const override { return unsent; }
  void OnDrained(std::function<void()> then) override { drained = std::move(then); }
  void PauseReading() override { paused = true; }
  void ResumeReading() override { paused = false; }
  void StartTls() override { ++tls_starts; }
  void CloseAfterSending() override { closed = true; }
  void SetIdleTimeout(uint64_t milliseconds) override { idle_ms = milliseconds; }
  void ProxyToHome(engine::ProxyHello, std::string, std::function<void(absl::Status)>) override {}
  const std::string& peer_address() const override { return peer; }
  bool tls() const override { return tls_on; }
  std::string tls_description() const override { return tls_on ? "TLSv1.3 TLS_AES_256_GCM_SHA384" : ""; }
  bool tls_available() const override { return has_certificate; }
  bool loopback() const override { return on_this_host; }
  const std::string& session_id() const override { return id; }

  std::string sent;
  int sends = 0;
  int tls_starts = 0;
  size_t unsent = 0;
  std::function<void()> drained;
  bool paused = false;
  bool closed = false;
  bool tls_on = false;
  bool has_certificate = true;
  bool on_this_host = false;
  uint64_t idle_ms = 0;
  std::string peer = "192.0.2.7";
  std::string id = "s1";
};

// Accounts ann@, bob@ and ops@example.test, alias all@ (ann and bob), user+folder, postmaster. What Finish is given
// is stored, and told, when RunPosted is called. Must outlive its deliveries.
class FakeService : public engine::Service {
 public:
  struct Letter {
    std::string sender;
    std::string body;  // one per transaction
    std::vector<engine::Delivery::Recipient> recipients;
    engine::Via via;
  };

  absl::StatusOr<std::vector<engine::DeliveryTarget>> LookUpRecipient(std::string_view address) override {
    lookups.emplace_back(address);
    const size_t at = address.rfind('@');
    if (at == std::string_view::npos) {
      if (address == "postmaster") return Targets({"ops"}, "");
      return absl::InvalidArgumentError("no domain");
    }
    if (address.substr(at + 1) != "example.test" && address.substr(at + 1) != "exämple.test") {
      return absl::InvalidArgumentError("not ours");
    }
    std::string_view local = address.substr(0, at);
    std::string folder;
    if (const size_t plus = local.find('+'); plus != std::string_view::npos) {
      folder = local.substr(plus + 1);
      local = local.substr(0, plus);
    }
    if (local == "gone") return absl::PermissionDeniedError("disabled");
    if (local == "loop") return absl::FailedPreconditionError("leads to itself");
    if (local == "busy") return absl::UnavailableError("not now");
    if (local == "all") return Targets({"ann", "bob"}, folder);
    if (local == "postmaster") return Targets({"ops"}, folder);
    if (local == "ann" || local == "bob" || local == "ops" || local == "änn") return Targets({local}, folder);
    return absl::NotFoundError("no such user");
  }
  absl::Status AcceptingMail() const override { return accepting; }
  std::unique_ptr<engine::Delivery> BeginDelivery(engine::Via via, std::string sender) override {
    ++begun;
    ++open;
    return std::make_unique<FakeDelivery>(*this, via, std::move(sender));
  }
  void Authenticate(std::string, std::string, std::string,
                    std::function<void(absl::StatusOr<engine::Authenticated>)>) override {}
  engine::Home HomeOf(const engine::AccountId&) const override { return engine::Home::kHere; }
  journal::Generation generation() const override { return 2; }
  void OpenAccount(const engine::AccountId&, engine::AccountListener&,
                   std::function<void(absl::StatusOr<std::unique_ptr<engine::AccountSession>>)>) override {}
  const std::string& host_name() const override { return host; }
  int64_t NowSeconds() const override { return now_s; }
  uint64_t BootMillis() const override { return boot_ms; }

  void RunPosted() {
    while (!posted.empty()) {
      const std::function<void()> step = std::move(posted.front());
      posted.pop_front();
      step();
    }
  }

  std::string host = "mx.example.test";
  uint64_t boot_ms = 1;
  int64_t now_s = 1'795'475'701;  // Mon, 23 Nov 2026 23:15:01 UTC
  absl::Status accepting = absl::OkStatus();
  bool writable = true;
  absl::Status result;  // of Finish
  std::vector<Letter> letters;
  std::vector<std::string> lookups;
  std::deque<std::function<void()>> posted;
  std::function<void()> on_writable;
  int begun = 0;
  int open = 0;  // deliveries that live

 private:
  class FakeDelivery : public engine::Delivery {
   public:
    FakeDelivery(FakeService& service, engine::Via via, std::string sender) : service_(service) {
      letter_.via = via;
      letter_.sender = std::move(sender);
    }
    ~FakeDelivery() override { --service_.open; }
    void Write(std::string_view bytes) override { letter_.body += bytes; }
    bool writable() const override { return service_.writable; }
    void OnWritable(std::function<void()> then) override { service_.on_writable = std::move(then); }
    void Finish(std::vector<Recipient> recipients, std::function<void(absl::Status)> done) override {
      letter_.recipients = std::move(recipients);
      FakeService* const service = &service_;
      service_.posted.push_back([service, letter = std::move(letter_), done = std::move(done)] {
        const absl::Status result = service->result;
        if (result.ok()) service->letters.push_back(letter);
        done(result);
      });
    }

   private:
    FakeService& service_;
    Letter letter_;
  };

  static std::vector<engine::DeliveryTarget> Targets(const std::vector<std::string_view>& locals,
                                                     const std::string& folder) {
    std::vector<engine::DeliveryTarget> targets;
    for (std::string_view local : locals) {
      const std::string name = std::string(local) + "@example.test";
      targets.push_back({journal::AccountIdOf(name), name, folder});
    }
    return targets;
  }
};

}  // namespace gemel::smtp
