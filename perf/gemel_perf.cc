// gemel-perf: load for mail servers, and times. Knows them by LMTP, SMTP and IMAP only. See perf/README.md.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "perf/deliver.h"
#include "perf/imap_load.h"
#include "perf/report.h"
#include "perf/visible.h"

namespace gemel::perf {
namespace {

constexpr int kExitWrong = 1;  // something failed or was refused
constexpr int kExitUsage = 2;

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "gemel-perf: %s\n", std::string(status.message()).c_str());
  return kExitWrong;
}

void Print(const Row& row, bool json) { fmt::print("{}\n", json ? row.Json() : row.Human()); }

// What all subcommands share.
struct Shared {
  bool json = false;
  std::string server;
  std::string password = "pass";
};

struct DeliverCommand {
  DeliverOptions options;
  std::string protocol = "lmtp";
  std::vector<std::string> visible_on;
  double visible_seconds_max = 300;
};

struct WaitCommand {
  std::string users = "user%d@example.test";
  int accounts = 100;
  uint64_t total = 0;
  double seconds_max = 300;
};

struct LagCommand {
  LagOptions options;
  std::string watch_on;
  std::string watch = "poll";
};

int RunDeliver(const Shared& shared, DeliverCommand& command) {
  DeliverOptions& options = command.options;
  const absl::StatusOr<Address> server = ParseAddress(shared.server);
  if (!server.ok()) return Fail(server.status());
  options.server = *server;
  options.protocol = command.protocol == "smtp" ? Protocol::kSmtp : Protocol::kLmtp;
  if (options.count == 0 && options.seconds == 0) options.seconds = 10;

  struct Viewer {
    std::string server;
    std::unique_ptr<Inboxes> inboxes;
    uint64_t before;
  };
  std::vector<Viewer> viewers;
  for (const std::string& text : command.visible_on) {
    const absl::StatusOr<Address> address = ParseAddress(text);
    if (!address.ok()) return Fail(address.status());
    auto inboxes = Inboxes::Open(*address, options.recipients, options.accounts, shared.password);
    if (!inboxes.ok()) return Fail(inboxes.status());
    const absl::StatusOr<uint64_t> before = (*inboxes)->Count();
    if (!before.ok()) return Fail(before.status());
    viewers.push_back({text, std::move(*inboxes), *before});
  }

  absl::StatusOr<DeliverResult> result = Deliver(options);
  if (!result.ok()) return Fail(result.status());
  Row row;
  row.Set("protocol", command.protocol).Set("connections", static_cast<uint64_t>(options.connections));
  row.Set("size_bytes", static_cast<uint64_t>(options.size_bytes));
  row.Set("accepted", result->accepted_messages).Set("accepted_recipients", result->accepted_recipients);
  row.Set("refused", result->refused_messages).Set("unknown", result->unknown_messages);
  row.Set("seconds", result->seconds);
  row.Set("per_s", result->seconds > 0 ? static_cast<double>(result->accepted_messages) / result->seconds : 0.0);
  row.SetMillis("", result->latency_seconds);
  Progress progress(options.progress);
  int code = result->refused_messages + result->unknown_messages == 0 && result->accepted_messages > 0 ? 0 : kExitWrong;
  double slowest_seconds = 0;
  for (Viewer& viewer : viewers) {
    const absl::StatusOr<double> seconds = viewer.inboxes->WaitFor(
        viewer.before + result->accepted_recipients, result->started, command.visible_seconds_max, progress);
    progress.Clear();
    if (!seconds.ok()) {
      row.Set("visible_problem", viewer.server + ": " + std::string(seconds.status().message()));
      code = kExitWrong;
      break;
    }
    slowest_seconds = std::max(slowest_seconds, *seconds);
  }
  if (!viewers.empty() && code == 0) {
    row.Set("visible_seconds", slowest_seconds);
    row.Set("visible_per_s", static_cast<double>(result->accepted_messages) / slowest_seconds);
  }
  Print(row, shared.json);
  size_t left = 10;  // enough to see what is wrong
  for (const auto& [line, times] : result->refusals) {
    if (left-- == 0) break;
    std::fprintf(stderr, "gemel-perf: %llu times: %s\n", static_cast<unsigned long long>(times), line.c_str());
  }
  return code;
}

int RunImap(const Shared& shared, ImapOptions& options) {
  const absl::StatusOr<Address> server = ParseAddress(shared.server);
  if (!server.ok()) return Fail(server.status());
  options.server = *server;
  options.password = shared.password;
  const absl::StatusOr<std::vector<Row>> rows = ImapLoad(options);
  if (!rows.ok()) return Fail(rows.status());
  for (const Row& row : *rows) Print(row, shared.json);
  return 0;
}

int RunMix(const Shared& shared, MixOptions& options) {
  const absl::StatusOr<Address> server = ParseAddress(shared.server);
  if (!server.ok()) return Fail(server.status());
  options.server = *server;
  options.password = shared.password;
  const absl::StatusOr<Row> row = ImapMix(options);
  if (!row.ok()) return Fail(row.status());
  Print(*row, shared.json);
  return 0;
}

int RunLag(const Shared& shared, LagCommand& command) {
  const absl::StatusOr<Address> server = ParseAddress(shared.server);
  if (!server.ok()) return Fail(server.status());
  const absl::StatusOr<Address> watch_on = ParseAddress(command.watch_on);
  if (!watch_on.ok()) return Fail(watch_on.status());
  command.options.deliver_to = *server;
  command.options.watch_on = *watch_on;
  command.options.password = shared.password;
  command.options.watch = command.watch == "idle" ? Watch::kIdle : Watch::kPoll;
  const absl::StatusOr<Row> row = Lag(command.options);
  if (!row.ok()) return Fail(row.status());
  Print(*row, shared.json);
  return 0;
}

int RunWait(const Shared& shared, const WaitCommand& command) {
  const absl::StatusOr<Address> server = ParseAddress(shared.server);
  if (!server.ok()) return Fail(server.status());
  const Clock::time_point start = Clock::now();
  auto inboxes = Inboxes::Open(*server, command.users, command.accounts, shared.password);
  if (!inboxes.ok()) return Fail(inboxes.status());
  Progress progress(!shared.json);
  const absl::StatusOr<double> seconds = (*inboxes)->WaitFor(command.total, start, command.seconds_max, progress);
  progress.Clear();
  if (!seconds.ok()) return Fail(seconds.status());
  Row row;
  row.Set("messages", command.total).Set("seconds", *seconds);
  Print(row, shared.json);
  return 0;
}

void AddShared(CLI::App& app, Shared& shared, const char* server_help) {
  app.add_option("server", shared.server, server_help)->required();
  app.add_flag("--json", shared.json, "One JSON object a line");
  app.add_option("--password", shared.password, "Of every account")->capture_default_str();
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Load for mail servers over LMTP, SMTP and IMAP, on plain connections.\n"
      "Exit: 0 all went well, 1 something failed or was refused, 2 wrong usage.");
  app.require_subcommand(1);
  Shared shared;
  DeliverCommand deliver;
  ImapOptions imap;
  MixOptions mix;
  LagCommand lag;
  WaitCommand wait;

  auto* deliver_app = app.add_subcommand("deliver", "Deliver letters, check every reply, and tell rate and latency");
  AddShared(*deliver_app, shared, "HOST:PORT of the LMTP or SMTP service");
  deliver_app->add_option("--protocol", deliver.protocol, "lmtp or smtp")
      ->check(CLI::IsMember({"lmtp", "smtp"}))
      ->capture_default_str();
  deliver_app->add_option("--connections", deliver.options.connections, "Sessions side by side")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  deliver_app->add_option("--size", deliver.options.size_bytes, "Bytes of a letter")->capture_default_str();
  deliver_app->add_option("--count", deliver.options.count, "Letters in all");
  deliver_app->add_option("--seconds", deliver.options.seconds,
                          "Start no letter after this time (10 s where neither is given)");
  deliver_app->add_option("--sender", deliver.options.sender, "Envelope sender")->capture_default_str();
  deliver_app->add_option("--recipients", deliver.options.recipients, "Pattern; %d is the account's number")
      ->capture_default_str();
  deliver_app->add_option("--accounts", deliver.options.accounts, "Accounts to go round")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  deliver_app->add_option("--per-message", deliver.options.recipients_per_message, "Recipients of each letter")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  deliver_app->add_flag("--pipeline", deliver.options.pipeline, "MAIL, RCPT and DATA in one packet");
  deliver_app->add_option("--seed", deliver.options.seed, "Other letters with another seed")->capture_default_str();
  deliver_app->add_option("--visible-on", deliver.visible_on,
                          "IMAP HOST:PORT: also tell when all letters can be read there (repeatable)");
  deliver_app->add_option("--visible-seconds", deliver.visible_seconds_max, "Give up waiting after this time")
      ->capture_default_str();

  auto* imap_app = app.add_subcommand("imap", "Time IMAP commands on one mailbox");
  AddShared(*imap_app, shared, "HOST:PORT of the IMAP service");
  imap_app->add_option("--user", imap.user, "Account")->capture_default_str();
  imap_app->add_option("--mailbox", imap.mailbox, "Must hold letters")->capture_default_str();
  imap_app->add_option("--ops", imap.operations, "Only these: " + fmt::format("{}", fmt::join(ImapOperations(), ", ")))
      ->delimiter(',');
  imap_app->add_option("--logins", imap.logins, "How many LOGIN and LOGOUT")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  imap_app->add_option("--repeats", imap.repeats, "Of commands over the whole mailbox")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  imap_app->add_option("--steps", imap.single_steps, "Of STORE one by one, and of APPEND")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  auto* mix_app = app.add_subcommand("mix", "IMAP clients side by side with drawn commands");
  AddShared(*mix_app, shared, "HOST:PORT of the IMAP service");
  mix_app->add_option("--users", mix.users, "Pattern; %d is the account's number")->capture_default_str();
  mix_app->add_option("--accounts", mix.accounts, "Accounts to go round")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  mix_app->add_option("--clients", mix.clients, "Clients side by side")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  mix_app->add_option("--seconds", mix.seconds, "How long")->capture_default_str();
  mix_app->add_option("--seed", mix.seed, "Of the commands and letters")->capture_default_str();

  auto* lag_app = app.add_subcommand("lag", "From the 250 of one server to visible on the other");
  AddShared(*lag_app, shared, "HOST:PORT of the LMTP service that takes the letters");
  lag_app->add_option("--on", lag.watch_on, "HOST:PORT of the IMAP service that must show them")->required();
  lag_app->add_option("--user", lag.options.user, "Account")->capture_default_str();
  lag_app->add_option("--watch", lag.watch, "poll (NOOP every 0.5 ms) or idle")
      ->check(CLI::IsMember({"poll", "idle"}))
      ->capture_default_str();
  lag_app->add_option("--count", lag.options.count, "Letters, one by one")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  lag_app->add_option("--pause", lag.options.pause_seconds, "Seconds between two letters")->capture_default_str();
  lag_app->add_option("--size", lag.options.size_bytes, "Bytes of a letter")->capture_default_str();

  auto* wait_app = app.add_subcommand("wait", "Wait until the INBOXes hold a number of letters in all");
  AddShared(*wait_app, shared, "HOST:PORT of the IMAP service");
  wait_app->add_option("--users", wait.users, "Pattern; %d is the account's number")->capture_default_str();
  wait_app->add_option("--accounts", wait.accounts, "Accounts")->check(CLI::PositiveNumber)->capture_default_str();
  wait_app->add_option("--total", wait.total, "Letters in all INBOXes together")->required();
  wait_app->add_option("--seconds", wait.seconds_max, "Give up after this time")->capture_default_str();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  const bool progress = !shared.json;
  deliver.options.progress = imap.progress = mix.progress = lag.options.progress = progress;
  if (deliver_app->parsed()) return RunDeliver(shared, deliver);
  if (imap_app->parsed()) return RunImap(shared, imap);
  if (mix_app->parsed()) return RunMix(shared, mix);
  if (lag_app->parsed()) return RunLag(shared, lag);
  return RunWait(shared, wait);
}

}  // namespace
}  // namespace gemel::perf

int main(int argc, char** argv) { return gemel::perf::Main(argc, argv); }
