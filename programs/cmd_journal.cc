// gemel journal, replay, export: what the journal holds, and mail made from it. All read files; none needs a daemon.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <ctime>
#include <memory>

#include "engine/data_lock.h"
#include "engine/replay.h"
#include "fmt/format.h"
#include "journal/dump.h"
#include "programs/command.h"

namespace gemel::programs {
namespace {

namespace json = boost::json;

struct JournalArguments {
  std::string directory, from, until, account, target, until_time;
  bool json = false, dry_run = false, with_records = false;
};

absl::StatusOr<std::string> JournalDirectory(const CommandLine& line, const JournalArguments& arguments) {
  if (!arguments.directory.empty()) return arguments.directory;
  const auto config = line.LoadConfig();
  if (!config.ok()) return config.status();
  return config->data_directory + "/journal";
}

// Beside a running node: its journal stays as it is until this is gone. Of a copy there is nothing to hold.
constexpr uint64_t kHoldWaitMs = 10'000;
absl::StatusOr<std::unique_ptr<engine::JournalHold>> Hold(const std::string& journal_directory) {
  return engine::JournalHold::Take(engine::DataDirectoryOf(journal_directory), kHoldWaitMs);
}

// One line that is written over, on a terminal; a JSON line now and then with --json; else nothing.
class Progress {
 public:
  explicit Progress(bool as_json) : json_(as_json), terminal_(isatty(STDERR_FILENO)) {}
  ~Progress() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }
  void Show(uint64_t done, uint64_t all, const std::string& what) {
    const time_t now = time(nullptr);
    if (now == last_) return;
    last_ = now;
    if (json_) {
      fmt::print("{}\n", json::serialize(json::object{{"progress", what}, {"done", done}, {"of", all}}));
      fflush(stdout);
    } else if (terminal_) {
      fmt::print(stderr, "\r\033[K{} {}%", what, all ? done * 100 / all : 100);
      shown_ = true;
    }
  }

 private:
  const bool json_, terminal_;
  bool shown_ = false;
  time_t last_ = time(nullptr);
};

void Verify(CommandLine& line, const JournalArguments& arguments, bool deep) {
  const auto directory = JournalDirectory(line, arguments);
  if (!directory.ok()) return line.Fail(directory.status());
  const auto hold = Hold(*directory);
  if (!hold.ok()) return line.Fail(hold.status());
  const auto disk = journal::MakePosixDisk();
  absl::StatusOr<journal::JournalStat> stat;
  {
    Progress progress(arguments.json);
    stat = journal::VerifyJournal(
        *disk, *directory, deep, [&](std::string_view problem) { fmt::print(stderr, "{}\n", problem); },
        [&](uint64_t done, uint64_t all) { progress.Show(done, all, "verifying"); });
  }
  if (!stat.ok()) return line.Fail(stat.status());
  fmt::print("{}\n",
             journal::FormatStat(*stat, arguments.json ? journal::DumpFormat::kJson : journal::DumpFormat::kText));
  if (stat->problems) line.exit_code = kFoundWrong;
}

void Dump(CommandLine& line, const JournalArguments& arguments) {
  const auto directory = JournalDirectory(line, arguments);
  if (!directory.ok()) return line.Fail(directory.status());
  journal::DumpOptions options;
  options.format = arguments.json ? journal::DumpFormat::kJson : journal::DumpFormat::kText;
  for (const auto& [text, out] : {std::pair(&arguments.from, &options.from), {&arguments.until, &options.until}}) {
    if (text->empty()) continue;
    const auto position = journal::PositionFromText(*text);
    if (!position) {
      return line.Fail(absl::InvalidArgumentError(
          fmt::format("{}: a position is wanted as the dump prints it, such as 3:4096", *text)));
    }
    *out = *position;
  }
  if (!arguments.account.empty()) options.account = journal::AccountIdOf(arguments.account);
  const auto disk = journal::MakePosixDisk();
  bool any = false;
  const auto problems = journal::DumpJournal(*disk, *directory, options, [&any](std::string_view text) {
    any = true;
    fmt::print("{}\n", text);
  });
  if (!problems.ok()) return line.Fail(problems.status());
  if (!any) {
    return line.Fail(absl::NotFoundError(fmt::format(
        "{} in {}{}", arguments.account.empty() ? "nothing is" : "the journal knows no account " + arguments.account,
        *directory,
        arguments.from.empty() && arguments.until.empty()
            ? ""
            : " between these positions; `gemel journal stat` says from where to where it reaches")));
  }
  if (*problems) line.exit_code = kFoundWrong;
}

// "2026-11-23", "2026-11-23T18:00", "2026-11-23T18:00:30", with Z for UTC, else local time; "@1793000000".
absl::StatusOr<uint64_t> ParseTime(const std::string& text) {
  const bool utc = text.ends_with('Z');
  const std::string bare = utc ? text.substr(0, text.size() - 1) : text;
  for (const char* format :
       {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "@%s"}) {
    tm broken{};
    broken.tm_isdst = -1;
    const char* rest = strptime(bare.c_str(), format, &broken);
    if (!rest || *rest) continue;
    // %s gives local time whatever the zone of the text.
    const time_t seconds = utc && *format != '@' ? timegm(&broken) : mktime(&broken);
    if (seconds >= 0) return static_cast<uint64_t>(seconds) * 1000;
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: a time is wanted, such as 2026-11-23T18:00:30 (local), 2026-11-23T17:00:30Z or @1795456830", text));
}

void Replay(CommandLine& line, const JournalArguments& arguments) {
  const auto directory = JournalDirectory(line, arguments);
  if (!directory.ok()) return line.Fail(directory.status());
  engine::ReplayOptions options;
  options.journal_directory = *directory;
  options.target = arguments.target;
  options.account = arguments.account;
  options.dry_run = arguments.dry_run;
  if (options.target.empty() && !options.dry_run) {
    return line.Fail(absl::InvalidArgumentError("replay: TARGET or --dry-run is wanted"));
  }
  if (!arguments.until_time.empty()) {
    const auto until = ParseTime(arguments.until_time);
    if (!until.ok()) return line.Fail(until.status());
    options.until_ms = *until;
  }
  const auto hold = Hold(*directory);
  if (!hold.ok()) return line.Fail(hold.status());
  const auto disk = journal::MakePosixDisk();
  absl::StatusOr<engine::ReplayReport> report;
  {
    Progress progress(arguments.json);
    report = engine::Replay(*disk, options, [&](const engine::ReplayProgress& p) {
      progress.Show(p.bytes, p.bytes_all, fmt::format("replaying, {} messages,", p.messages));
    });
  }
  if (!report.ok()) return line.Fail(report.status());
  for (const std::string& damage : report->damaged) fmt::print(stderr, "damaged: {}\n", damage);
  if (!report->damaged.empty()) line.exit_code = kFoundWrong;
  if (!arguments.json) {
    return fmt::print("{} accounts, {} mailboxes, {} messages from {} records{}\n", report->accounts, report->mailboxes,
                      report->messages, report->done.records, arguments.dry_run ? "; nothing was written" : "");
  }
  json::object digests;
  for (const auto& [account, digest] : report->digests) digests[account] = digest;
  fmt::print("{}\n",
             json::serialize(json::object{{"accounts", report->accounts},
                                          {"mailboxes", report->mailboxes},
                                          {"messages", report->messages},
                                          {"frames", report->done.frames},
                                          {"records", report->done.records},
                                          {"damaged", json::array(report->damaged.begin(), report->damaged.end())},
                                          {"digests", std::move(digests)}}));
}

void Export(CommandLine& line, const JournalArguments& arguments) {
  const auto config = line.LoadConfig();
  if (!config.ok()) return line.Fail(config.status());
  const auto hold = Hold(config->data_directory + "/journal");
  if (!hold.ok()) return line.Fail(hold.status());
  const auto disk = journal::MakePosixDisk();
  absl::StatusOr<engine::ReplayReport> report;
  {
    Progress progress(arguments.json);
    report = engine::Export(*disk, {config->data_directory, arguments.target, arguments.account},
                            [&](const engine::ReplayProgress& p) {
                              progress.Show(p.bytes, p.bytes_all, fmt::format("exporting, {} messages,", p.messages));
                            });
  }
  if (!report.ok()) return line.Fail(report.status());
  for (const std::string& damage : report->damaged) fmt::print(stderr, "missing: {}\n", damage);
  if (!report->damaged.empty()) line.exit_code = kFoundWrong;
  if (arguments.json) {
    fmt::print("{}\n",
               json::serialize(json::object{{"accounts", report->accounts},
                                            {"messages", report->messages},
                                            {"damaged", json::array(report->damaged.begin(), report->damaged.end())}}));
  } else {
    fmt::print("{} accounts exported to {}\n", report->accounts, arguments.target);
  }
}

}  // namespace

void AddJournalCommands(CLI::App& app, CommandLine& line) {
  auto arguments = std::make_shared<JournalArguments>();
  const auto common = [&](CLI::App* command) {
    command->add_option("--directory", arguments->directory, "A journal directory; default: the configured node's");
    command->add_flag("--json", arguments->json, "As JSON");
    return command;
  };
  CLI::App* journal = app.add_subcommand("journal", "Look into the journal")->require_subcommand(1);
  CLI::App* stat = common(journal->add_subcommand("stat", "How much is in it, and of what"));
  stat->add_flag("--records", arguments->with_records, "Count the records of each kind too; unpacks every frame");
  stat->callback([&line, arguments] { Verify(line, *arguments, arguments->with_records); });
  common(journal->add_subcommand("verify", "Check every frame and every record; exit 1 if one is damaged"))
      ->callback([&line, arguments] { Verify(line, *arguments, true); });
  CLI::App* dump = common(journal->add_subcommand("dump", "Print frames and records, without letters' text"));
  dump->add_option("--from", arguments->from, "Position to begin at, as printed: SEGMENT:OFFSET");
  dump->add_option("--until", arguments->until, "Position to end at");
  dump->add_option("--account", arguments->account, "Only records of this account");
  dump->callback([&line, arguments] { Dump(line, *arguments); });

  CLI::App* replay =
      common(app.add_subcommand("replay", "Make Maildirs from the journal, as they were at any time it reaches"));
  replay->add_option("TARGET", arguments->target, "An empty or new directory");
  replay->add_option("--account", arguments->account, "Only this account");
  replay->add_option("--until", arguments->until_time,
                     "Only what was done up to this time: 2026-11-23T18:00:30, or with Z");
  replay->add_flag("--dry-run", arguments->dry_run, "Read and apply everything, write nothing");
  replay->callback([&line, arguments] { Replay(line, *arguments); });

  CLI::App* target = app.add_subcommand("export", "Copy the Maildirs as Dovecot 2.3 opens them, with the same UIDs");
  target->add_option("TARGET", arguments->target, "An empty or new directory")->required();
  target->add_option("--account", arguments->account, "Only this account");
  target->add_flag("--json", arguments->json, "As JSON");
  target->callback([&line, arguments] { Export(line, *arguments); });
}

}  // namespace gemel::programs
