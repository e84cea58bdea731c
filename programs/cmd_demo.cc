// gemel demo: a pair on loopback to try things with; what a newcomer, a test and a benchmark start from.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <thread>

#include "fmt/format.h"
#include "programs/command.h"
#include "programs/demo_pair.h"
#include "programs/interrupt.h"
#include "programs/letters.h"
#include "programs/mail_client.h"

namespace gemel::programs {
namespace {

struct DemoArguments {
  std::string directory, mail;
  size_t accounts = 10;
  bool json = false, once = false;
};

constexpr uint64_t kQuietMs = 60'000;

bool OnTerminal() { return isatty(STDERR_FILENO); }

// What a --once run sends beyond the letters given, so that there is load while a node dies.
constexpr size_t kLettersUnderLoad = 600;

// Delivers letters through four doors in turn: LMTP and SMTP of both nodes. Each letter has a sender of its own, which
// is found again in its Return-Path.
class Postman {
 public:
  struct Letter {
    std::string sender;  // local part
    size_t account = 0;
    bool acknowledged = false;
    size_t unknown = 0;  // tries whose reply never came: each may have stored the letter
  };

  Postman(const DemoPair& pair, const Interrupt& interrupt) : accounts_(pair.accounts), interrupt_(interrupt) {
    for (const bool lmtp : {true, false}) {
      for (const DemoNode& node : pair.nodes) {
        const auto& listen = lmtp ? node.config.lmtp_listen : node.config.smtp_listen;
        doors_.push_back(std::make_unique<MailSender>(listen[0], lmtp, interrupt));
      }
    }
  }

  // Where one door is shut the next is tried, as an MTA does with its next MX. Cancelled: interrupted.
  absl::Status Deliver(std::string_view text) {
    const size_t number = letters_.size();
    Letter& letter = letters_.emplace_back();
    letter.sender = fmt::format("letter-{}-{}", run_, number);
    letter.account = number % accounts_;
    absl::Status status;
    for (size_t tries = 0; tries < 10 * doors_.size(); ++tries) {
      MailSender& door = *doors_[(number + number / doors_.size() + tries) % doors_.size()];
      status = door.Send(letter.sender + "@demo.example.test", DemoPair::AccountName(letter.account), text);
      if (status.ok()) {
        letter.acknowledged = true;
        ++acknowledged_;
        return status;
      }
      if (interrupt_.came()) return Interrupted();
      if (absl::IsInvalidArgument(status)) break;  // for good
      if (absl::IsUnknown(status)) ++letter.unknown;
      if (tries >= doors_.size()) (void)interrupt_.WaitMs(100);
    }
    ++refused_;
    return status;
  }

  void SkipUnreadable() { ++refused_; }

  const std::vector<Letter>& letters() const { return letters_; }
  size_t acknowledged() const { return acknowledged_; }
  size_t refused() const { return refused_; }
  size_t unknown() const {
    size_t sum = 0;
    for (const Letter& letter : letters_) sum += letter.unknown;
    return sum;
  }

 private:
  const size_t accounts_;
  const Interrupt& interrupt_;
  const unsigned run_ = std::random_device()();
  std::vector<std::unique_ptr<MailSender>> doors_;
  std::vector<Letter> letters_;
  std::atomic<size_t> acknowledged_{0}, refused_{0};
};

// Cancelled: interrupted; nothing else fails it.
absl::Status DeliverAll(Postman& postman, const Letters& letters) {
  if (letters.size() == 0) return absl::OkStatus();
  size_t bytes = 0;
  const auto begun = std::chrono::steady_clock::now();
  for (size_t i = 0; i < letters.size(); ++i) {
    const auto letter = letters.Read(i);
    if (letter.ok()) {
      const absl::Status status = postman.Deliver(*letter);
      if (absl::IsCancelled(status)) return status;
      bytes += letter->size();
      if (!status.ok()) fmt::print(stderr, "\nletter {} refused: {}\n", i + 1, std::string(status.message()));
    } else {
      postman.SkipUnreadable();
      fmt::print(stderr, "\nletter {} left out: {}\n", i + 1, std::string(letter.status().message()));
    }
    if (OnTerminal() && (i % 8 == 7 || i + 1 == letters.size())) {
      fmt::print(stderr, "\r{} of {} letters delivered ({} KiB) through LMTP and SMTP of both nodes", i + 1,
                 letters.size(), bytes / 1024);
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  fmt::print(stderr, "{}{} letters acknowledged, {} refused, {} KiB, {:.2f} s\n", OnTerminal() ? "\r\033[K" : "",
             postman.acknowledged(), postman.refused(), bytes / 1024, took.count());
  return absl::OkStatus();
}

// Reads every INBOX on every node. Gives the mistakes found, one a line.
std::vector<std::string> CheckLetters(const DemoPair& pair, const Postman& postman, const Interrupt& interrupt) {
  std::vector<std::string> wrong;
  for (const DemoNode& node : pair.nodes) {
    std::vector<std::multiset<std::string>> found;
    for (size_t i = 0; i < pair.accounts; ++i) {
      auto letters = ReturnPathsInInbox(node.config.imap_listen[0], DemoPair::AccountName(i), kDemoPassword, interrupt);
      if (!letters.ok()) {
        wrong.push_back(fmt::format("node {}: {}: {}", node.name, DemoPair::AccountName(i),
                                    std::string(letters.status().message())));
        return wrong;
      }
      found.push_back(*std::move(letters));
    }
    for (const auto& letter : postman.letters()) {
      const size_t times = found[letter.account].count(letter.sender);
      if (letter.acknowledged && times == 0) {
        wrong.push_back(
            fmt::format("node {}: {} for {} is lost", node.name, letter.sender, DemoPair::AccountName(letter.account)));
      }
      if (times > letter.unknown + (letter.acknowledged ? 1 : 0)) {
        wrong.push_back(fmt::format("node {}: {} for {} is there {} times", node.name, letter.sender,
                                    DemoPair::AccountName(letter.account), times));
      }
    }
  }
  const auto first = pair.nodes[0].Admin("GET", "/digests"), second = pair.nodes[1].Admin("GET", "/digests");
  if (!first.ok() || !second.ok()) {
    wrong.push_back("a node does not tell its digests");
  } else if (*first != *second) {
    wrong.push_back("the nodes' digests differ");
  }
  return wrong;
}

// Kills node b while letters come in, starts it again, and looks whether both hold every letter.
int KillAndCheck(DemoPair& pair, Postman& postman, const Letters& letters, const Interrupt& interrupt) {
  DemoNode& victim = pair.nodes[1];
  const size_t before = postman.acknowledged();
  std::atomic<bool> sent{false};
  std::thread load([&] {
    for (size_t i = 0; i < kLettersUnderLoad && !interrupt.came(); ++i) {
      // Small ones, so that there are many.
      std::string text = fmt::format(
          "From: demo@demo.example.test\r\nTo: {}\r\nSubject: Under load {}\r\nMessage-ID: "
          "<{}.{}@demo.example.test>\r\n"
          "\r\nSent while node b is killed and started again.\r\n",
          DemoPair::AccountName(i % pair.accounts), i, getpid(), i);
      if (i % 16 == 0 && letters.size() > 0) text = letters.Read(i % letters.size()).value_or(text);
      (void)postman.Deliver(text);
    }
    sent = true;
  });
  const auto wait_for = [&](size_t more) {
    while (!sent && postman.acknowledged() < before + more) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  wait_for(kLettersUnderLoad / 4);
  fmt::print(stderr, "killing node b (pid {}) after {} letters\n", victim.pid, postman.acknowledged());
  (void)victim.Stop(SIGKILL);
  wait_for(kLettersUnderLoad / 2);
  absl::Status status = victim.Start(interrupt);
  fmt::print(stderr, "node b started again (pid {}) after {} letters\n", victim.pid, postman.acknowledged());
  load.join();
  if (status.ok()) status = pair.WaitUntilQuiet(kQuietMs);
  if (!status.ok()) {
    fmt::print(stderr, "{}\n", std::string(status.message()));
    return kFoundWrong;
  }
  const auto wrong = CheckLetters(pair, postman, interrupt);
  for (const std::string& line : wrong) fmt::print(stderr, "{}\n", line);
  if (!wrong.empty() || postman.refused() > 0) {
    fmt::print(stderr, "FAILED: {} letters sent, {} refused, {} things wrong\n", postman.letters().size(),
               postman.refused(), wrong.size());
    return kFoundWrong;
  }
  fmt::print(stderr, "good: both nodes hold all {} letters, and their digests are equal; {} tries had no reply\n",
             postman.acknowledged(), postman.unknown());
  return kGood;
}

void PrintHowTo(const DemoPair& pair) {
  const DemoNode &a = pair.nodes[0], &b = pair.nodes[1];
  const std::string self = ShellQuoted(GemeldPath().substr(0, GemeldPath().size() - 1));  // without its d: gemel
  fmt::print("\nTwo nodes, one mailbox. Accounts {} to {}, password {}.\n", DemoPair::AccountName(0),
             DemoPair::AccountName(pair.accounts - 1), kDemoPassword);
  for (const DemoNode* node : {&a, &b}) {
    const std::string& imap = node->config.imap_listen[0];
    fmt::print("\nNode {} (pid {}): LMTP {}, SMTP {}, IMAP {}, IMAPS {}\n", node->name, node->pid,
               node->config.lmtp_listen[0], node->config.smtp_listen[0], imap, node->config.imaps_listen[0]);
    fmt::print("  curl -sk --user user0@example.test:{} 'imaps://{}/INBOX?ALL'\n", kDemoPassword,
               node->config.imaps_listen[0]);
    fmt::print("  curl -sk --user user0@example.test:{} 'imaps://{}/INBOX;UID=1'\n", kDemoPassword,
               node->config.imaps_listen[0]);
    fmt::print(
        "  mutt -n -F /dev/null -e 'set ssl_starttls=no ssl_force_tls=no' -f "
        "'imap://user0%40example.test:{}@{}/INBOX'\n",
        kDemoPassword, imap);
    fmt::print("  {} --config {} status\n", self, ShellQuoted(node->config_path));
  }
  fmt::print("\nKill one, read from the other, and start it again:\n  kill -9 {}\n  {} &\n", b.pid, b.StartCommand());
  fmt::print("\nCtrl-C ends the demo; {} keeps the mail.\n", pair.directory);
  fflush(stdout);
}

// Until it is interrupted; says when a node ends. False: one ended badly.
bool StayInForeground(DemoPair& pair, const Interrupt& interrupt, bool say_how_it_is) {
  std::string last;
  bool good = true;
  while (!interrupt.WaitMs(1000)) {
    for (DemoNode& node : pair.nodes) {
      if (const auto ending = node.Ended()) {
        fmt::print(stderr, "\nnode {} {}. Start it again: {}\n", node.name, ending->how, node.StartCommand());
        good &= ending->good;
      }
    }
    if (!say_how_it_is) continue;
    std::string line;
    for (const DemoNode& node : pair.nodes) {
      const auto status = node.Status();
      line += status.ok() ? fmt::format("{}: {}, {} unprotected, {} to send   ", node.name, status->state,
                                        status->unprotected, status->lag_records_out)
                          : fmt::format("{}: down   ", node.name);
    }
    if (line != last) fmt::print(stderr, "\r\033[K{}", line);
    last = line;
  }
  return good;
}

void Demo(CommandLine& line, const DemoArguments& arguments) {
  const Interrupt interrupt;
  absl::StatusOr<Letters> letters = Letters();
  if (!arguments.mail.empty()) letters = Letters::Find(arguments.mail);
  if (!letters.ok()) return line.Fail(letters.status());
  auto pair = DemoPair::Start(arguments.directory, arguments.accounts, interrupt);
  if (!pair.ok()) return line.Fail(pair.status());
  Postman postman(**pair, interrupt);
  if (auto status = DeliverAll(postman, *letters); !status.ok()) return line.Fail(status);
  if (postman.refused() > 0) line.exit_code = kFoundWrong;
  if (arguments.json) {
    fmt::print("{}\n", (*pair)->Json());
    fflush(stdout);
  }
  if (arguments.once) {
    line.exit_code = KillAndCheck(**pair, postman, *letters, interrupt);
  } else {
    if (!arguments.json) PrintHowTo(**pair);
    if (!StayInForeground(**pair, interrupt, !arguments.json && OnTerminal())) line.exit_code = kFoundWrong;
  }
  if (OnTerminal()) fmt::print(stderr, "\nstopping\n");
  if (auto status = (*pair)->Stop(); !status.ok()) line.Fail(status);
}

}  // namespace

void AddDemoCommand(CLI::App& app, CommandLine& line) {
  auto arguments = std::make_shared<DemoArguments>();
  CLI::App* demo = app.add_subcommand("demo", "A pair of nodes on this host's loopback, to try things with");
  demo->add_option("--dir", arguments->directory, "Where the two nodes keep everything; used again if it is there")
      ->required();
  demo->add_option("--accounts", arguments->accounts, "user0@example.test and so on, all with password pass")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  demo->add_option("--mail", arguments->mail, "Deliver these letters first: a Maildir, an mbox or a folder of .eml");
  demo->add_flag("--json", arguments->json, "Print addresses, processes, directories and commands as one JSON object");
  demo->add_flag("--once", arguments->once,
                 "Kill a node under load, start it again, check that both hold every letter, and end with 0 or 1");
  demo->callback([&line, arguments] { Demo(line, *arguments); });
}

}  // namespace gemel::programs
