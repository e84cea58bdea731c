// Real and broken messages of other projects, if they are at hand: the folder named by GEMEL_SHARED, or ../shared/mail
// beside the source tree.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "imap/test_mime_check.h"

namespace gemel::imap {
namespace {

std::string Folder() {
  if (const char* shared = std::getenv("GEMEL_SHARED")) return shared;
  const char* source = std::getenv("GEMEL_SOURCE");
  return std::string(source != nullptr ? source : ".") + "/../shared/mail";
}

TEST(MimeCorpus, EveryMessageHolds) {
  std::error_code error;
  size_t messages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Folder(), error)) {
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
  if (error) GTEST_SKIP() << "no messages at " << Folder() << ": " << error.message();
  EXPECT_GT(messages, 0U);
}

}  // namespace
}  // namespace gemel::imap
