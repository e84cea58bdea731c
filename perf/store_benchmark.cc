// What the store costs behind the acknowledgement: files and index rows for deliveries, flags, and the checkpoint.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "journal/disk.h"
#include "maildir/store.h"

namespace gemel::maildir {
namespace {

constexpr int64_t kDay = 1'795'000'000;

std::string FreshDirectory() {
  static int count = 0;
  const char* parent = std::getenv("TMPDIR");
  return std::string(parent != nullptr ? parent : "/var/tmp") + "/gemel-benchmark-" + std::to_string(getpid()) + "-" +
         std::to_string(count++);
}

// A store with some accounts that have an INBOX each, and deliveries that go round them.
class Feed {
 public:
  explicit Feed(size_t accounts) : disk_(journal::MakePosixDisk()), root_(FreshDirectory()) {
    StoreOptions options;
    options.root = root_;
    store_ = *Store::Open(*disk_, options);
    StoreBatch batch;
    for (size_t i = 0; i < accounts; ++i) {
      const std::string name = "user" + std::to_string(i) + "@example.test";
      accounts_.push_back(journal::AccountIdOf(name));
      store_->Know(accounts_.back(), name);
      PutMailbox inbox;
      inbox.mailbox = journal::BuiltInMailboxId(accounts_.back(), "INBOX");
      inbox.name = "INBOX";
      inbox.uid_validity = 1;
      inbox.special_use = SpecialUse::kInbox;
      batch.items.push_back({accounts_.back(), inbox});
    }
    Send(std::move(batch));
  }
  ~Feed() {
    store_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  // `messages` deliveries of `size_bytes` each, as one batch, worked off.
  void Deliver(size_t messages, size_t size_bytes) {
    StoreBatch batch;
    const auto body = std::make_shared<const std::string>(size_bytes, 'x');
    for (size_t i = 0; i < messages; ++i) {
      ++number_;
      PutMessage put;
      const AccountId& account = accounts_[number_ % accounts_.size()];
      put.mailbox = journal::BuiltInMailboxId(account, "INBOX");
      put.message = NewMessage(size_bytes);
      put.body = InlineBody{body};
      batch.items.push_back({account, std::move(put)});
    }
    Send(std::move(batch));
  }

  void Checkpoint() {
    if (!store_->Checkpoint().ok()) std::abort();
  }

 private:
  Message NewMessage(size_t size_bytes) const {
    Message message;
    message.uid = static_cast<Uid>(number_ / accounts_.size() + 1);
    message.dot.origin.node = 1;
    message.dot.origin.incarnation = 1;
    message.dot.seq = number_;
    message.guid.bytes[0] = 1;
    for (size_t i = 0; i < 8; ++i) message.guid.bytes[8 + i] = static_cast<uint8_t>(number_ >> (8 * i));
    message.modseq = number_;
    message.internal_date_s = kDay + static_cast<int64_t>(number_ / 100);
    message.bytes = size_bytes;
    message.crlf_bytes = size_bytes + size_bytes / 40;
    return message;
  }
  void Send(StoreBatch batch) {
    batch.applied = std::make_shared<const journal::VectorClock>();
    batch.position = ++position_;
    store_->Enqueue(std::move(batch));
    while (true) {
      const auto more = store_->RunOnce(1000);
      if (!more.ok()) std::abort();
      if (!*more) return;
    }
  }

  std::unique_ptr<journal::Disk> disk_;
  const std::string root_;
  std::unique_ptr<Store> store_;
  std::vector<AccountId> accounts_;
  uint64_t number_ = 0;
  journal::Position position_ = 0;
};

// Arguments: letters in a batch, bytes of a letter.
void BM_StoreDeliveries(benchmark::State& state) {
  Feed feed(100);
  for (auto _ : state) feed.Deliver(static_cast<size_t>(state.range(0)), static_cast<size_t>(state.range(1)));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_StoreDeliveries)->Args({16, 4096})->Args({64, 4096})->Args({16, 65536})->UseRealTime();

// The rows and names of `range(0)` deliveries made durable. Iterations are few: each leaves files behind.
void BM_StoreCheckpoint(benchmark::State& state) {
  Feed feed(100);
  for (auto _ : state) {
    state.PauseTiming();
    feed.Deliver(static_cast<size_t>(state.range(0)), 4096);
    state.ResumeTiming();
    feed.Checkpoint();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_StoreCheckpoint)->Arg(1000)->Iterations(10)->UseRealTime();

}  // namespace
}  // namespace gemel::maildir
