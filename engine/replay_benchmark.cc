// What a replay costs: the journal read alone, the engine's rules over it, and a tree written from it. The journal is
// that of a node alone: `range(0)` letters of 4 KiB for ten accounts, each fourth of them flagged.
#include "engine/replay.h"

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/test_lone_node.h"
#include "journal/journal.h"

namespace gemel::engine {
namespace {

constexpr int kAccounts = 10;

std::string FreshDirectory() {
  static int count = 0;
  const char* parent = std::getenv("TMPDIR");
  return std::string(parent != nullptr ? parent : "/var/tmp") + "/gemel-benchmark-replay-" + std::to_string(getpid()) +
         "-" + std::to_string(count++);
}

// Made once for each number of letters; removed at the end.
class Prepared {
 public:
  explicit Prepared(int64_t letters) : root_(FreshDirectory()) {
    testing::TestPair pair;
    NodeOptions options;
    options.data_directory = root_;
    options.free_bytes_min = 0;
    if (!pair.Start(0, *disk_, options).ok()) std::abort();
    Node& node = *pair.nodes[0];
    Wait(pair, [&] { return node.generation() == 1; });
    for (int i = 0; i < kAccounts; ++i) {
      bool done = false;
      node.AddAccount(Name(i), "{PLAIN}pass", 0, [&done](absl::Status status) { done = status.ok(); });
      Wait(pair, [&done] { return done; });
    }
    for (int64_t i = 0; i < letters; ++i) Deliver(pair, node, i);
    Flag(pair, node);
    pair.Kill(0);
  }
  ~Prepared() { std::filesystem::remove_all(root_); }

  journal::Disk& disk() { return *disk_; }
  std::string journal_directory() const { return root_ + "/journal"; }

  static Prepared& Of(int64_t letters) {
    static std::map<int64_t, std::unique_ptr<Prepared>> all;
    auto& one = all[letters];
    if (!one) one = std::make_unique<Prepared>(letters);
    return *one;
  }

 private:
  static std::string Name(int64_t i) { return "user" + std::to_string(i % kAccounts) + "@example.test"; }
  static void Wait(testing::TestPair& pair, const std::function<bool()>& done) {
    if (!pair.RunUntil(done)) std::abort();
  }
  static void Deliver(testing::TestPair& pair, Node& node, int64_t number) {
    std::string text = "Subject: " + std::to_string(number) + "\n\n";
    while (text.size() < 4096) text += journal::HexU64(pair.random.U64()) + " is one of the words\n";
    auto delivery = node.BeginDelivery(Via::kLmtp, "sender@example.org");
    delivery->Write(text);
    std::optional<absl::Status> status;
    delivery->Finish({{Name(number), node.LookUpRecipient(Name(number))->front(), ""}},
                     [&status](std::vector<absl::Status> each) { status = each[0]; });
    Wait(pair, [&status] { return status.has_value(); });
    if (!status->ok()) std::abort();
  }
  static void Flag(testing::TestPair& pair, Node& node) {
    for (int i = 0; i < kAccounts; ++i) {
      testing::Nobody nobody;
      std::unique_ptr<AccountSession> session;
      node.OpenAccount(journal::AccountIdOf(Name(i)), nobody, [&](auto opened) { session = *std::move(opened); });
      Wait(pair, [&session] { return session != nullptr; });
      const Mailbox& inbox = *session->state().FindName("INBOX");
      for (size_t at = 0; at < inbox.messages.size(); at += 4) {
        bool done = false;
        session->Submit(StoreFlagsCommand{inbox.id, FlagOp::kAdd, journal::kSeen, {}, {inbox.messages[at].uid}},
                        [&done](const CommandResult&) { done = true; });
        Wait(pair, [&done] { return done; });
      }
    }
  }

  const std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  const std::string root_;
};

// Frames found, checked and decoded.
void BM_JournalRead(benchmark::State& state) {
  Prepared& prepared = Prepared::Of(state.range(0));
  for (auto _ : state) {
    auto reader = journal::JournalReader::Open(prepared.disk(), prepared.journal_directory(), 0);
    if (!reader.ok()) return state.SkipWithError("no journal");
    size_t records = 0;
    for (;;) {
      const auto next = (*reader)->Next();
      if (!next.ok()) return state.SkipWithError("the journal cannot be read");
      if (!next->has_value()) break;
      records += (*next)->frame->records.size();
    }
    benchmark::DoNotOptimize(records);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_JournalRead)->Arg(2000)->Unit(benchmark::kMillisecond);

void RunReplay(benchmark::State& state, bool dry_run) {
  Prepared& prepared = Prepared::Of(state.range(0));
  for (auto _ : state) {
    ReplayOptions options;
    options.journal_directory = prepared.journal_directory();
    options.dry_run = dry_run;
    if (!dry_run) options.target = FreshDirectory();
    const auto report = Replay(prepared.disk(), options, nullptr);
    if (!report.ok() || report->messages != static_cast<uint64_t>(state.range(0))) {
      return state.SkipWithError("the replay is wrong");
    }
    state.PauseTiming();
    if (!dry_run) std::filesystem::remove_all(options.target);
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// With Apply for every record, and a digest of each account.
void BM_ReplayDry(benchmark::State& state) { RunReplay(state, /*dry_run=*/true); }
BENCHMARK(BM_ReplayDry)->Arg(2000)->Unit(benchmark::kMillisecond);

// And Maildirs and indexes written, with one sync at the end. Few iterations: each makes and removes files.
void BM_ReplayToMaildirs(benchmark::State& state) { RunReplay(state, /*dry_run=*/false); }
BENCHMARK(BM_ReplayToMaildirs)->Arg(2000)->Iterations(5)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace gemel::engine
