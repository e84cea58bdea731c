// How a node says that it catches up.
#include "engine/catch_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "journal/log.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CatchUpTest, ProgressIsLoggedEveryFewSeconds) {
  const std::string path = ::testing::TempDir() + "/catch_up_test_" + std::to_string(getpid());
  ASSERT_TRUE(journal::SetLogFile(path));
  const auto log = [&path] {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  };
  const journal::Origin origin{1, 2};
  journal::VectorClock target, held;
  target.Raise(origin, 200);
  CatchUp catch_up("in");
  catch_up.Begin(target, held, std::nullopt, 1000);
  EXPECT_FALSE(catch_up.running()) << "so little is no event";
  target.Raise(origin, 1000);
  catch_up.Begin(target, held, std::nullopt, 1000);
  catch_up.AddBytes(5000);
  held.Raise(origin, 250);
  catch_up.Note(held, 3000);
  catch_up.LogProgress(std::nullopt, 3000);
  EXPECT_THAT(log(), Not(HasSubstr("catch_up_progress")));
  catch_up.LogProgress(std::nullopt, 6000);
  EXPECT_THAT(log(),
              HasSubstr("catch_up_progress way=in records=250 records_to_go=750 bytes=5000 bytes_to_go=15000 ms=5000"));
  catch_up.LogProgress(std::nullopt, 7000);
  held.Raise(origin, 1000);
  catch_up.Note(held, 9000);
  EXPECT_THAT(log(), HasSubstr("caught_up way=in records=1000 bytes=5000 ms=8000"));
  EXPECT_FALSE(catch_up.Status(std::nullopt, 9000).has_value());
  const std::string text = log();
  EXPECT_EQ(text.find("catch_up_progress"), text.rfind("catch_up_progress")) << "once in five seconds";
  journal::SetLogFile("");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gemel::engine
