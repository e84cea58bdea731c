#include "maildir/folder_names.h"

#include <gtest/gtest.h>

#include "maildir/account_path.h"

namespace gemel::maildir {
namespace {

TEST(FolderNames, ThereAndBack) {
  const std::pair<const char*, const char*> names[] = {
      {"INBOX", ""},
      {"Sent", ".Sent"},
      {"A/B/C", ".A.B.C"},
      {"v1.0/x", ".v1\\2e0.x"},
      {"INBOX/a", ".INBOX.a"},
      {"~x/~y", ".\\7ex.~y"},
      {"a\\b", ".a\\5cb"},
      {"é & ü", ".&AOk- &- &APw-"},
      {"...", ".\\2e\\2e\\2e"},
      {"cur", ".cur"},
      {"台北/日本語", ".&U,BTFw-.&ZeVnLIqe-"},
  };
  for (const auto& [name, directory] : names) {
    ASSERT_TRUE(DirectoryOfMailbox(name).ok()) << name;
    EXPECT_EQ(*DirectoryOfMailbox(name), directory);
    ASSERT_TRUE(MailboxOfDirectory(directory).ok()) << directory << MailboxOfDirectory(directory).status();
    EXPECT_EQ(*MailboxOfDirectory(directory), name);
  }
  EXPECT_EQ(*DirectoryOfMailbox("inBox"), "");
}

TEST(FolderNames, RefusesWhatClimbsOrCannotBeWritten) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view name : {""sv, "/"sv, "/a"sv, "a/"sv, "a//b"sv, ".."sv, "."sv, "a/../b"sv, "../x"sv,
                                      "a\0b"sv, "a\nb"sv, "a\tb"sv, "\x7f"sv, "\xc2\x85"sv, "\xff"sv, "a\xc3"sv}) {
    EXPECT_EQ(CheckMailboxName(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_TRUE(CheckMailboxName(std::string(254, 'a')).ok());
  EXPECT_FALSE(CheckMailboxName(std::string(255, 'a')).ok());
  EXPECT_FALSE(CheckMailboxName(std::string(86, '.')).ok());  // three bytes each
}

TEST(FolderNames, RefusesOtherSpellingsOfDirectories) {
  for (const char* directory :
       {"A", ".", "..", ".a.", ".a..b", ".a\\2Eb", ".a\\", ".a\\41", ".&AOk", ".&AGE-", "...", ".a/b", ".\xc3\xa9"}) {
    EXPECT_FALSE(MailboxOfDirectory(directory).ok()) << directory;
  }
}

TEST(AccountPath, NeverClimbs) {
  EXPECT_EQ(AccountPath("Ann@Example.test"), "example.test/ann");
  EXPECT_EQ(AccountPath("a+b=c_d-e.f@x"), "x/a+b=c_d-e.f");
  EXPECT_EQ(AccountPath("../../etc/passwd@.."), "%2e./%2e.%2f..%2fetc%2fpasswd");
  EXPECT_EQ(AccountPath("."), "%/%2e");
  EXPECT_EQ(AccountPath("@"), "%/%");
  EXPECT_EQ(AccountPath("a\"b@c@x"), "x/a%22b%40c");
  EXPECT_EQ(AccountPath(std::string("\0/", 2) + "@x"), "x/%00%2f");
  EXPECT_EQ(AccountPath("ü@x"), "x/%c3%bc");
  const std::string a = AccountPath("x@" + std::string(300, 'a'));
  EXPECT_LE(a.size(), 202u);
  EXPECT_NE(a, AccountPath("x@" + std::string(301, 'a')));
  EXPECT_EQ(a, AccountPath("x@" + std::string(300, 'A')));
}

TEST(FolderNamesTest, TheFirstLevelInboxIsInAnyCase) {
  EXPECT_EQ(FoldInbox("inbox"), "INBOX");
  EXPECT_EQ(FoldInbox("Inbox/inbox"), "INBOX/inbox");
  EXPECT_EQ(FoldInbox("inboxes/a"), "inboxes/a");
  EXPECT_EQ(FoldInbox(""), "");
  EXPECT_TRUE(IsSameMailbox("inBox/a", "INBOX/a"));
  EXPECT_FALSE(IsSameMailbox("inbox/a", "INBOX/A"));
  EXPECT_TRUE(IsSameMailbox("a", "a"));
  EXPECT_FALSE(IsSameMailbox("a/inbox", "a/INBOX"));
}

}  // namespace
}  // namespace gemel::maildir
