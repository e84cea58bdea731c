// Whole messages, each in several forms: those of tests/mime, written for this, those of packaging/mail, and real and
// broken ones of other projects where they are at hand, in the folder named by GEMEL_SHARED or in ../shared/mail beside
// the source tree. Those are left out elsewhere: whatever kind of message is among them is among ours as well.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "imap/test_mime_check.h"

namespace gemel::imap {
namespace {

std::string Source() {
  const char* source = std::getenv("GEMEL_SOURCE");
  return source != nullptr ? source : ".";
}

// How many messages there were.
size_t CheckFolder(const std::string& folder) {
  std::error_code error;
  size_t messages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    std::ifstream in(entry.path(), std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    // As delivery stores it.
    std::string lf;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') lf += text[i];
    }
    EXPECT_EQ(CheckMessage(lf), "") << entry.path();
    EXPECT_EQ(CheckMessage(text), "") << entry.path() << " with its CRs";
    // Cut off anywhere, it is still a message.
    for (size_t cut = 1; cut < 8; ++cut) {
      EXPECT_EQ(CheckMessage(lf.substr(0, lf.size() * cut / 8)), "") << entry.path() << " cut at " << cut << "/8";
    }
    ++messages;
  }
  return messages;
}

TEST(MimeCorpus, EveryMessageOfOursHolds) {
  EXPECT_GT(CheckFolder(Source() + "/tests/mime"), 12U);
  EXPECT_GT(CheckFolder(Source() + "/packaging/mail"), 40U);
}

TEST(MimeCorpus, EveryMessageOfOthersHolds) {
  const char* shared = std::getenv("GEMEL_SHARED");
  const std::string folder = shared != nullptr ? shared : Source() + "/../shared/mail";
  if (CheckFolder(folder) == 0) GTEST_SKIP() << "no messages at " << folder;
}

}  // namespace
}  // namespace gemel::imap
