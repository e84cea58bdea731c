// What a frame costs to make and to read, and what a commit costs with and without its sync. The letters are words of
// English with 4 KiB each; the argument is the letters in one frame or commit.
#include "journal/journal.h"

#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <random>

#include "journal/frame.h"
#include "journal/segment.h"

namespace gemel::journal {
namespace {

Record Letter(std::mt19937_64& rng) {
  constexpr const char* kWords[] = {"the",  "meeting", "tomorrow", "is",     "moved",   "to",      "four",  "please",
                                    "send", "me",      "report",   "before", "Tuesday", "regards", "about", "invoice"};
  Deliver deliver;
  deliver.recipient = "user" + std::to_string(rng() % 100) + "@example.test";
  deliver.sender = "sender" + std::to_string(rng() % 1000) + "@example.org";
  while (deliver.inline_body.size() < 3200) {
    deliver.inline_body += kWords[rng() % 16];
    deliver.inline_body += rng() % 12 == 0 ? '\n' : ' ';
  }
  while (deliver.inline_body.size() < 4040) deliver.inline_body += static_cast<char>('A' + rng() % 58);
  deliver.bytes = deliver.inline_body.size();
  deliver.order = Order{.mailbox = {}, .uid = static_cast<Uid>(rng() % 1000), .modseq = rng() % 100000};
  return {.account = AccountIdOf(deliver.recipient), .time = 1000, .body = std::move(deliver)};
}

std::vector<Record> Letters(int64_t count) {
  std::mt19937_64 rng(1);
  std::vector<Record> letters;
  for (int64_t i = 0; i < count; ++i) letters.push_back(Letter(rng));
  return letters;
}

void BM_FrameEncode(benchmark::State& state) {
  FrameEncoder encoder(static_cast<int>(state.range(1)));
  Frame frame;
  frame.records = Letters(state.range(0));
  frame.base = 1000;
  frame.first_seq = 1;
  std::string payload;
  for (auto _ : state) {
    payload.clear();
    for (const Record& record : frame.records) EncodeRecord(record, frame.base, &payload);
    if (!encoder.Finish(payload, 0, &frame).ok()) state.SkipWithError("cannot encode");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.counters["ratio"] = static_cast<double>(payload.size()) / static_cast<double>(frame.shipped.size());
}
BENCHMARK(BM_FrameEncode)->ArgsProduct({{1, 16, 64}, {0, 1, 3}})->ArgNames({"letters", "zstd"});

void BM_FrameDecode(benchmark::State& state) {
  FrameEncoder encoder(1);
  Frame frame;
  frame.records = Letters(state.range(0));
  frame.base = 1000;
  frame.first_seq = 1;
  std::string payload;
  for (const Record& record : frame.records) EncodeRecord(record, frame.base, &payload);
  if (!encoder.Finish(payload, 0, &frame).ok()) state.SkipWithError("cannot encode");
  for (auto _ : state) benchmark::DoNotOptimize(DecodeShipped(frame.shipped, 0));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_FrameDecode)->Arg(1)->Arg(16)->Arg(64);

void Append(benchmark::State& state, Disk& disk, const std::string& directory) {
  JournalOptions options;
  options.directory = directory;
  absl::StatusOr<std::unique_ptr<Journal>> journal = Journal::Open(disk, options, nullptr);
  if (!journal.ok()) return state.SkipWithError(std::string(journal.status().message()).c_str());
  (*journal)->StartOrigin({1, 1}, 1);
  const std::vector<Record> letters = Letters(state.range(0));
  for (auto _ : state) {
    for (const Record& letter : letters) (*journal)->Append({letter}, {});
    if (!(*journal)->CommitOnce(nullptr).ok()) state.SkipWithError("cannot commit");
    if (SegmentOf((*journal)->end()) > SegmentOf((*journal)->oldest())) {
      (*journal)->Retire((*journal)->end()).IgnoreError();
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// Everything but the disk: syncs that do nothing.
class NoSyncDisk : public Disk {
 public:
  explicit NoSyncDisk(Disk& disk) : disk_(disk) {}
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    absl::StatusOr<std::unique_ptr<File>> file = disk_.Open(path, mode);
    if (!file.ok()) return file;
    return std::make_unique<NoSyncFile>(*std::move(file));
  }
  absl::Status MakeDirectories(const std::string& path) override { return disk_.MakeDirectories(path); }
  absl::Status Rename(const std::string& from, const std::string& to) override { return disk_.Rename(from, to); }
  absl::Status Link(const std::string& from, const std::string& to) override { return disk_.Link(from, to); }
  absl::Status Remove(const std::string& path) override { return disk_.Remove(path); }
  absl::Status RemoveTree(const std::string& path) override { return disk_.RemoveTree(path); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override { return disk_.List(path); }
  absl::StatusOr<FileInfo> Stat(const std::string& path) override { return disk_.Stat(path); }
  absl::Status SetModified(const std::string& path, int64_t mtime_s) override {
    return disk_.SetModified(path, mtime_s);
  }
  absl::Status SyncDirectory(const std::string&) override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<FileSystem>> OpenFileSystem(const std::string& path) override {
    return disk_.OpenFileSystem(path);
  }
  absl::StatusOr<uint64_t> FreeBytes(const std::string& path) override { return disk_.FreeBytes(path); }

 private:
  class NoSyncFile : public File {
   public:
    explicit NoSyncFile(std::unique_ptr<File> file) : file_(std::move(file)) {}
    absl::StatusOr<size_t> ReadAt(uint64_t offset, char* out, size_t bytes) override {
      return file_->ReadAt(offset, out, bytes);
    }
    absl::Status WriteAt(uint64_t offset, std::string_view bytes) override { return file_->WriteAt(offset, bytes); }
    absl::Status DataSync() override { return absl::OkStatus(); }
    absl::Status Truncate(uint64_t bytes) override { return file_->Truncate(bytes); }
    absl::StatusOr<uint64_t> Size() override { return file_->Size(); }

   private:
    std::unique_ptr<File> file_;
  };
  Disk& disk_;
};

void OnRealDisk(benchmark::State& state, bool sync) {
  char directory[] = "/var/tmp/gemel-benchmark-XXXXXX";  // not /tmp: it may lie in memory
  if (mkdtemp(directory) == nullptr) return state.SkipWithError("no temporary directory");
  const std::unique_ptr<Disk> disk = MakePosixDisk();
  NoSyncDisk without(*disk);
  Append(state, sync ? *disk : without, directory);
  disk->RemoveTree(directory).IgnoreError();
}
void BM_AppendAndSync(benchmark::State& state) { OnRealDisk(state, true); }
void BM_AppendWithoutSync(benchmark::State& state) { OnRealDisk(state, false); }
BENCHMARK(BM_AppendAndSync)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();
BENCHMARK(BM_AppendWithoutSync)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();

}  // namespace
}  // namespace gemel::journal
