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
  EXPECT_EQ(*ReadBodyFromJournal(*disk, directory, {origin, good}), "T: t\none two");
  EXPECT_TRUE(absl::IsNotFound(ReadBodyFromJournal(*disk, directory, {origin, none}).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadBodyFromJournal(*disk, directory, {origin, half}).status()));
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace gemel::engine
