#include "engine/journal_bodies.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "journal/journal.h"

namespace gemel::engine {
namespace {

// A body of several chunks, the first of them in a segment that was retired.
TEST(JournalBodiesTest, APartOfABodyIsNoBody) {
  const std::string directory = ::testing::TempDir() + "/journal_bodies_test_" + std::to_string(getpid());
  std::filesystem::remove_all(directory);
  const auto disk = journal::MakePosixDisk();
  journal::Recovered recovered;
  journal::JournalOptions options;
  options.directory = directory;
  options.segment_bytes = 1 << 20;
  auto opened = journal::Journal::Open(*disk, options, &recovered);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const journal::Origin origin{7, 1};
  (*opened)->StartOrigin(origin, 1);
  const auto append = [&](journal::RecordBody body) {
    std::vector<journal::Record> records;
    records.push_back({journal::AccountId{}, 1, false, std::move(body)});
    return (*opened)->Append(std::move(records), {});
  };
  const journal::Seq first = append(journal::BodyChunk{0, 0, false, "one "});
  append(journal::BodyChunk{first, 4, true, "two"});
  journal::Deliver whole;
  whole.trace = "T: t\n";
  whole.body = first;
  whole.bytes = 12;
  const journal::Seq good = append(whole);
  whole.body = 100'000;  // no chunk of it is here
  const journal::Seq none = append(whole);
  const journal::Seq rest = append(journal::BodyChunk{100'001, 4, true, "two"});
  whole.body = 100'001;  // only its end is
  const journal::Seq half = append(whole);
  ASSERT_TRUE((*opened)->CommitOnce(nullptr).ok());
  EXPECT_GT(rest, none);
  const std::set<journal::Dot> wanted{{origin, good}, {origin, none}, {origin, half}};
  JournalBodies bodies(*disk, directory, 0, wanted);
  auto found = bodies.Next();
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->message, (journal::Dot{origin, good}));
  EXPECT_EQ((*found)->bytes, "T: t\none two");
  found = bodies.Next();
  EXPECT_TRUE(found.ok() && !found->has_value());
  std::filesystem::remove_all(directory);
}

// A node that gets back what its earlier incarnation wrote has begun the next one by then.
TEST(JournalBodiesTest, ABodyMayEndBehindTheNextIncarnationsStart) {
  const std::string directory = ::testing::TempDir() + "/journal_bodies_test_back_" + std::to_string(getpid());
  std::filesystem::remove_all(directory);
  const auto disk = journal::MakePosixDisk();
  const journal::Origin before{7, 1}, now{7, 2};
  const auto open = [&](const std::string& name, const journal::Origin& origin) {
    journal::Recovered recovered;
    journal::JournalOptions options;
    options.directory = directory + name;
    options.segment_bytes = 1 << 20;
    auto opened = journal::Journal::Open(*disk, options, &recovered);
    EXPECT_TRUE(opened.ok()) << opened.status();
    (*opened)->StartOrigin(origin, 1);
    return *std::move(opened);
  };
  const auto append = [](journal::Journal& journal, journal::RecordBody body) {
    std::vector<journal::Record> records;
    records.push_back({journal::AccountId{}, 1, false, std::move(body)});
    const journal::Seq seq = journal.Append(std::move(records), {});
    const auto committed = journal.CommitOnce(nullptr);
    EXPECT_TRUE(committed.ok() && committed->size() == 1);
    return std::pair(seq, committed->front().frame->shipped);
  };
  const auto whole = open("/whole", before), restored = open("/restored", now);
  const auto first = append(*whole, journal::BodyChunk{0, 0, false, "one "});
  const auto last = append(*whole, journal::BodyChunk{first.first, 4, true, "two"});
  journal::Deliver deliver;
  deliver.body = first.first;
  deliver.bytes = 7;
  deliver.body_done = true;
  const auto letter = append(*whole, deliver);

  std::vector<absl::Status> rejected;
  restored->AppendReceived(first.second);
  EXPECT_TRUE(restored->CommitOnce(&rejected).ok());
  append(*restored, journal::Start{0, before, 1, "0"});
  restored->AppendReceived(last.second);
  restored->AppendReceived(letter.second);
  EXPECT_TRUE(restored->CommitOnce(&rejected).ok());
  EXPECT_TRUE(rejected.empty());
  const journal::Dot wanted{before, letter.first};
  auto found = JournalBodies(*disk, directory + "/restored", 0, {wanted}).Next();
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_EQ((*found)->bytes, "one two");
  std::filesystem::remove_all(directory);
}

// The letter, its copy and the copy of that, all at once and each by itself.
TEST(JournalBodiesTest, ACopyHasTheBytesOfItsSource) {
  const std::string directory = ::testing::TempDir() + "/journal_bodies_test_copy_" + std::to_string(getpid());
  std::filesystem::remove_all(directory);
  const auto disk = journal::MakePosixDisk();
  journal::Recovered recovered;
  journal::JournalOptions options;
  options.directory = directory;
  options.segment_bytes = 1 << 20;
  auto opened = journal::Journal::Open(*disk, options, &recovered);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const journal::Origin origin{7, 1};
  (*opened)->StartOrigin(origin, 1);
  const auto append = [&](journal::RecordBody body) {
    std::vector<journal::Record> records;
    records.push_back({journal::AccountId{}, 1, false, std::move(body)});
    return journal::Dot{origin, (*opened)->Append(std::move(records), {})};
  };
  journal::Deliver deliver;
  deliver.inline_body = "text";
  deliver.bytes = 4;
  const journal::Dot letter = append(deliver);
  const journal::Dot copy = append(journal::Copy{letter, {}, {}});
  const journal::Dot copy_of_copy = append(journal::Copy{copy, {}, {}});
  ASSERT_TRUE((*opened)->CommitOnce(nullptr).ok());
  const std::set<journal::Dot> all{letter, copy, copy_of_copy};
  for (const auto& wanted : {all, std::set{letter}, std::set{copy}, std::set{copy_of_copy}}) {
    JournalBodies bodies(*disk, directory, 0, wanted);
    std::set<journal::Dot> seen;
    for (;;) {
      const auto found = bodies.Next();
      ASSERT_TRUE(found.ok()) << found.status();
      if (!found->has_value()) break;
      EXPECT_EQ((*found)->bytes, "text");
      seen.insert((*found)->message);
    }
    EXPECT_EQ(seen, wanted);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace gemel::engine
