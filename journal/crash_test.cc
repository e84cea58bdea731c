// A scripted run of the journal, cut off at every operation, with every sensible part of what was not synced lost:
// what was acknowledged is there, nothing else than what was appended is, and the journal goes on.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "journal/crash_disk.h"
#include "journal/journal.h"
#include "journal/recovery.h"

namespace gemel::journal {
namespace {

#ifdef GEMEL_SANITIZED  // ten times slower
constexpr size_t kImages = 4'000;
#else
constexpr size_t kImages = 100'000;  // distinct ones, over all scripts
#endif
constexpr size_t kSubsetsOfAllUpTo = 10;  // operations (or sectors) unsynced; above that a sample
constexpr size_t kRandomSubsets = 32;

constexpr char kDirectory[] = "/journal";

class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : rng_(seed) {}
  void Fill(void* out, size_t bytes) override {
    for (size_t i = 0; i < bytes; ++i) static_cast<uint8_t*>(out)[i] = static_cast<uint8_t>(rng_());
  }

 private:
  std::mt19937_64 rng_;
};

JournalOptions Options(Random* random) {
  JournalOptions options;
  options.directory = kDirectory;
  options.zstd_level = 0;
  options.segment_bytes = 16 * 1024;
  options.frame_bytes_max = 2 * 1024;
  options.random = random;
  return options;
}

std::string TextOf(const Origin& origin, Seq seq, size_t bytes) {
  std::string text = HexU64(origin.incarnation) + ":" + std::to_string(seq) + ":";
  text.resize(std::max(text.size(), bytes), static_cast<char>('a' + seq % 26));
  return text;
}
Record RecordOf(const Origin& origin, Seq seq, size_t bytes) {
  return {.account = {}, .time = 1000, .body = BodyChunk{.bytes = TextOf(origin, seq, bytes)}};
}

// What a run has been told is durable, and the sizes of what it appended.
struct Model {
  VectorClock acknowledged;
  VectorClock appended;
};

// What every crash image must satisfy. Also goes on writing in it, and opens it a second time.
void CheckImage(CrashDisk& disk, const Model& model) {
  SeededRandom random(7);
  Recovered recovered;
  absl::StatusOr<std::unique_ptr<Journal>> journal = Journal::Open(disk, Options(&random), &recovered);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_TRUE(recovered.problems.empty()) << recovered.problems.front();
  EXPECT_TRUE(recovered.missing.empty());
  EXPECT_TRUE(recovered.held.Covers(model.acknowledged))
      << recovered.held.ToString() << " is less than " << model.acknowledged.ToString();
  EXPECT_TRUE(model.appended.Covers(recovered.held));
  const Origin fresh{1, 999'999};
  (*journal)->StartOrigin(fresh, 1);
  (*journal)->Append({RecordOf(fresh, 1, 100)}, {});
  absl::StatusOr<std::vector<Committed>> committed = (*journal)->CommitOnce(nullptr);
  ASSERT_TRUE(committed.ok() && committed->size() == 1) << committed.status();

  // From the oldest kept on, every record once and in order, with the bytes that were appended.
  VectorClock seen;
  auto reader = JournalReader::Open(disk, kDirectory, 0);
  ASSERT_TRUE(reader.ok());
  while (true) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    ASSERT_TRUE(next.ok()) << next.status();
    if (!*next) break;
    const Frame& frame = *(*next)->frame;
    const Seq before = seen.Get(frame.origin);
    EXPECT_TRUE(before == 0 || frame.first_seq == before + 1);
    seen.Raise(frame.origin, frame.last_seq());
    for (size_t i = 0; i < frame.records.size(); ++i) {
      const std::string& bytes = std::get<BodyChunk>(frame.records[i].body).bytes;
      ASSERT_EQ(bytes, TextOf(frame.origin, frame.first_seq + i, bytes.size()));
    }
  }
  for (const auto& [origin, seq] : seen.entries()) {
    EXPECT_TRUE(origin == fresh || recovered.held.Get(origin) == seq);
  }
  auto after = disk.ImageOfSynced();
  Recovered again;
  journal = Journal::Open(*after, Options(&random), &again);
  ASSERT_TRUE(journal.ok()) << journal.status();
  EXPECT_EQ(again.held.Get(fresh), 1u);
  EXPECT_TRUE(again.held.Covers(recovered.held));
  EXPECT_EQ(again.cut_bytes, 0u);
}

// Runs a script drawn from a seed and takes crash images before each operation.
class Script {
 public:
  Script(uint64_t seed, size_t images_max, std::set<uint64_t>* distinct)
      : seed_(seed), rng_(seed), images_max_(images_max), distinct_(distinct) {}

  void Go() {
    disk_.SetObserver([this](const std::string& what) { Crash(what); });
    SeededRandom salt(seed_ + 1);
    Random* const random = &salt;
    auto journal = Journal::Open(disk_, Options(random), nullptr);
    ASSERT_TRUE(journal.ok()) << journal.status();
    const Origin here{1, 100 + seed_};
    const Origin there{2, 200 + seed_};
    (*journal)->StartOrigin(here, 1);
    CrashDisk peer_disk;
    auto peer = Journal::Open(peer_disk, Options(random), nullptr);
    (*peer)->StartOrigin(there, 1);
    for (int step = 0; step < 40 && !Done(); ++step) {
      for (uint64_t i = 1 + rng_() % 3; i > 0; --i) {
        const size_t bytes = rng_() % 8 == 0 ? 1500 : rng_() % 300;
        const Seq seq = model_.appended.Get(here) + 1;
        (*journal)->Append({RecordOf(here, seq, bytes)}, {});
        model_.appended.Raise(here, seq);
      }
      if (rng_() % 2 == 0) {
        const Seq seq = model_.appended.Get(there) + 1;
        (*peer)->Append({RecordOf(there, seq, rng_() % 700)}, {});
        model_.appended.Raise(there, seq);
        (*journal)->AppendReceived((*peer)->CommitOnce(nullptr)->front().frame->shipped);
      }
      absl::StatusOr<std::vector<Committed>> committed = (*journal)->CommitOnce(nullptr);
      ASSERT_TRUE(committed.ok()) << committed.status();
      for (const Committed& c : *committed) model_.acknowledged.Raise(c.frame->origin, c.frame->last_seq());
      if (rng_() % 8 == 0) {
        ASSERT_TRUE((*journal)->Retire((*journal)->end()).ok());
      }
    }
  }

 private:
  bool Done() const { return distinct_->size() >= images_max_ || testing::Test::HasFailure(); }

  void Crash(const std::string& what) {
    if (Done()) return;
    SCOPED_TRACE("seed " + std::to_string(seed_) + ", before " + what);
    // A unit is a sector of a write, or another operation.
    std::vector<std::pair<size_t, size_t>> units;
    const std::vector<CrashDisk::Unsynced> unsynced = disk_.unsynced();
    for (size_t i = 0; i < unsynced.size(); ++i) {
      // Zeros that fill a spare are one unit: nothing is read from them.
      const size_t sectors = unsynced[i].sectors > 16 ? 1 : unsynced[i].sectors;
      for (size_t s = 0; s < sectors; ++s) units.emplace_back(i, s);
    }
    const auto image = [&](const std::vector<bool>& keep) {
      if (Done()) return;
      uint64_t id = disk_.operations() * 1'000'003 + seed_;
      for (const bool bit : keep) id = (id * 31 + (bit ? 17 : 3)) * 0x9e3779b97f4a7c15;
      if (!distinct_->insert(id).second) return;
      auto crashed = disk_.Image([&](size_t operation, size_t sector) {
        const size_t s = unsynced[operation].sectors > 16 ? 0 : sector;
        for (size_t u = 0; u < units.size(); ++u) {
          if (units[u] == std::pair(operation, s)) return static_cast<bool>(keep[u]);
        }
        return false;
      });
      CheckImage(*crashed, model_);
    };
    const size_t n = units.size();
    if (n <= kSubsetsOfAllUpTo) {
      for (uint64_t bits = 0; bits < (uint64_t{1} << n); ++bits) {
        std::vector<bool> keep(n);
        for (size_t i = 0; i < n; ++i) keep[i] = ((bits >> i) & 1) != 0;
        image(keep);
      }
      return;
    }
    image(std::vector<bool>(n, false));
    image(std::vector<bool>(n, true));
    for (size_t i = 0; i < n; ++i) {
      std::vector<bool> one(n, false), all_but(n, true);
      one[i] = true;
      all_but[i] = false;
      image(one);
      image(all_but);
    }
    for (size_t k = 0; k < kRandomSubsets; ++k) {
      std::vector<bool> keep(n);
      for (size_t i = 0; i < n; ++i) keep[i] = rng_() % 2 == 0;
      image(keep);
    }
  }

  const uint64_t seed_;
  std::mt19937_64 rng_;
  const size_t images_max_;
  std::set<uint64_t>* distinct_;
  CrashDisk disk_;
  Model model_;
};

TEST(CrashTest, WhatWasAcknowledgedSurvivesEveryCrash) {
  std::set<uint64_t> distinct;
  uint64_t seed = 1;
  for (; distinct.size() < kImages && !HasFailure(); ++seed) Script(seed, kImages, &distinct).Go();
  std::printf("%zu distinct crash images of %llu scripts\n", distinct.size(),
              static_cast<unsigned long long>(seed - 1));
}

// Every operation fails, once or for ever, with an I/O error or a full disk: nothing is acknowledged that a crash
// could then lose, and the journal either goes on (full) or stands still.
TEST(CrashTest, AFailedOperationLosesNothingThatWasAcknowledged) {
  for (const bool for_ever : {false, true}) {
    for (const absl::Status& error : {absl::UnavailableError("injected"), absl::ResourceExhaustedError("injected")}) {
      for (uint64_t nth = 0;; ++nth) {
        SCOPED_TRACE("operation " + std::to_string(nth) + (for_ever ? " and later " : " ") + error.ToString());
        CrashDisk disk;
        SeededRandom random(nth);
        Model model;
        const Origin here{1, 5};
        disk.FailAt(nth, error, for_ever);
        auto journal = Journal::Open(disk, Options(&random), nullptr);
        bool stands_still = !journal.ok();
        if (journal.ok()) {
          (*journal)->StartOrigin(here, 1);
          for (Seq seq = 1; seq <= 60; ++seq) {
            (*journal)->Append({RecordOf(here, seq, 700)}, {});
            model.appended.Raise(here, seq);
            absl::StatusOr<std::vector<Committed>> committed = (*journal)->CommitOnce(nullptr);
            EXPECT_FALSE(stands_still && committed.ok());
            if (!committed.ok()) {
              stands_still = stands_still || !absl::IsResourceExhausted(committed.status());
              continue;
            }
            for (const Committed& c : *committed) model.acknowledged.Raise(here, c.frame->last_seq());
            if (seq % 25 == 0) (*journal)->Retire((*journal)->end()).IgnoreError();
          }
          EXPECT_EQ((*journal)->held(), model.acknowledged);
        }
        const bool reached = disk.operations() > nth;
        disk.FailAt(0, absl::OkStatus(), false);
        for (auto& image : {disk.ImageOfSynced(), disk.ImageOfAll()}) CheckImage(*image, model);
        if (HasFailure() || !reached) break;
      }
    }
  }
}

}  // namespace
}  // namespace gemel::journal
