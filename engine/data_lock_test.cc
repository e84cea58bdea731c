#include "engine/data_lock.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace gemel::engine {
namespace {

TEST(DataLock, OneAtATimeAndFreeAgainAfterwards) {
  const std::string data = ::testing::TempDir() + "/data_lock_test_" + std::to_string(getpid());
  EXPECT_TRUE(absl::IsUnavailable(DataLock::Take(data).status())) << "no directory";
  std::filesystem::create_directories(data + "/node");
  auto first = DataLock::Take(data);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = DataLock::Take(data).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second));
  EXPECT_NE(std::string(second.message()).find(std::to_string(getpid())), std::string::npos);
  first->reset();
  EXPECT_TRUE(DataLock::Take(data).ok());
  std::filesystem::remove_all(data);
}

TEST(JournalHold, ManyReadOrOneRetires) {
  const std::string data = ::testing::TempDir() + "/journal_hold_test_" + std::to_string(getpid());
  EXPECT_EQ(JournalHold::TakeAlone(data), nullptr) << "no directory";
  std::filesystem::create_directories(data + "/node");
  const auto nobody = JournalHold::Take(data, 0);
  ASSERT_TRUE(nobody.ok()) << nobody.status();
  EXPECT_EQ(*nobody, nullptr) << "no daemon has run here";
  auto retires = JournalHold::TakeAlone(data);
  ASSERT_NE(retires, nullptr);
  EXPECT_TRUE(absl::IsUnavailable(JournalHold::Take(data, 0).status()));
  retires.reset();
  auto one = JournalHold::Take(data, 0), other = JournalHold::Take(data, 0);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ(JournalHold::TakeAlone(data), nullptr);
  one->reset();
  EXPECT_EQ(JournalHold::TakeAlone(data), nullptr);
  other->reset();
  EXPECT_NE(JournalHold::TakeAlone(data), nullptr);
  std::filesystem::remove_all(data);
}

}  // namespace
}  // namespace gemel::engine
