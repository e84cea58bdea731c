#include "maildir/dovecot_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kImap = "/usr/lib/dovecot/imap";

class DovecotFilesTest : public testing::Test {
 protected:
  DovecotFilesTest() {
    std::string name = testing::TempDir() + "gemel-dovecot-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~DovecotFilesTest() override { disk_->RemoveTree(root_).IgnoreError(); }

  void Export() {
    auto store = Store::Open(*disk_, {.root = root_ + "/store"});
    ASSERT_TRUE(store.ok()) << store.status();
    (*store)->Know(model_.state.id, model_.state.name);
    ASSERT_TRUE(model_.Send(**store).ok());
    ASSERT_TRUE((*store)->WriteDovecotFiles(model_.state).ok());
    maildir_ = (*store)->AccountDirectory(model_.state.id) + "/Maildir";
  }
  // Dovecot's imap process by itself, logged in already, over a copy of the Maildir.
  std::string Imap(const std::string& commands) {
    // It refuses to be root.
    const bool root = geteuid() == 0;
    const std::string user = root ? "nobody" : getpwuid(geteuid())->pw_name;
    const std::string group = root ? "nogroup" : std::to_string(getegid());
    std::ofstream(root_ + "/dovecot.conf")
        << "base_dir = " << root_ << "/run\nstate_dir = " << root_ << "/run\nlog_path = " << root_ << "/log\n"
        << "default_internal_user = " << user << "\ndefault_login_user = " << user
        << "\ndefault_internal_group = " << group << "\nmail_location = maildir:" << root_
        << "/copy\nmail_uid = " << user << "\nmail_gid = " << group
        << "\nfirst_valid_uid = 1\nfirst_valid_gid = 0\nssl = no\nmail_plugins = listescape\nprotocols = imap\n"
        << "namespace inbox {\n  inbox = yes\n  separator = /\n}\n";
    std::ofstream(root_ + "/commands") << commands;
    std::string line = "mkdir -p " + root_ + "/run && cp -a " + maildir_ + " " + root_ + "/copy && chmod 755 " + root_;
    if (root) line += " && chown -R nobody:nogroup " + root_ + "/copy " + root_ + "/run";
    line += " && cat " + root_ + "/commands | HOME=" + root_ + " USER=" + user + " ";
    if (root) line += "setpriv --reuid nobody --regid nogroup --clear-groups ";
    line += std::string(kImap) + " -c " + root_ + "/dovecot.conf >" + root_ + "/out 2>&1";
    if (std::system(line.c_str()) != 0) ADD_FAILURE() << line;
    std::stringstream out;
    out << std::ifstream(root_ + "/out").rdbuf();
    return out.str();
  }

  std::string root_;
  std::string maildir_;
  std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  StoreModel model_{"ann@example.test"};
};

TEST_F(DovecotFilesTest, FormatsAreAsDovecotWritesThem) {
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "x\n");
  model_.Deliver(inbox, "y\n", journal::kSeen, {"$Junk", "later"});
  const Mailbox& mailbox = *model_.state.Find(inbox);
  EXPECT_EQ(DovecotUidlist(mailbox), "3 V2 N3 G" + inbox.hex() + "\n1 G" + mailbox.messages[0].guid.hex() + " :" +
                                         MaildirBaseName(mailbox.messages[0]) + "\n2 G" +
                                         mailbox.messages[1].guid.hex() + " :" + MaildirBaseName(mailbox.messages[1]) +
                                         "\n");
  EXPECT_EQ(DovecotKeywords(mailbox), "0 $Junk\n1 later\n");
  for (const char* name : {"INBOX", "v1.0", "~x/a.b\\c", "é"}) model_.state.subscriptions.insert(name);
  EXPECT_EQ(DovecotSubscriptions(model_.state), "V\t2\n\nINBOX\nv1\\2e0\n\\7ex\ta\\2eb\\5cc\n&AOk-\n");
}

// Decision 19 and the demand: the same UIDs, flags and keywords in the real Dovecot.
TEST_F(DovecotFilesTest, DovecotShowsTheSameUidsFlagsAndKeywords) {
  if (access(kImap, X_OK) != 0) GTEST_SKIP() << kImap << " is missing: apt-get install dovecot-imapd";
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId folder = model_.Create("Lists/v1.0 é");
  const std::string body = "Subject: hello\n\nbody\n";
  for (int i = 0; i < 5; ++i) model_.Deliver(inbox, body);
  model_.SetFlags(inbox, 2, journal::kSeen | journal::kFlagged, {"$Forwarded"});
  model_.SetFlags(inbox, 4, journal::kAnswered, {"second", "$Forwarded"});
  model_.Expunge(inbox, 1);
  model_.Expunge(inbox, 5);  // UIDNEXT stays above the highest that is kept
  const Uid moved = model_.Move(inbox, 3, folder);
  model_.SetFlags(folder, moved, journal::kDraft | journal::kDeleted, {"only"});
  model_.Subscribe("Lists/v1.0 é");
  Export();
  const std::string out = Imap(
      "a LIST \"\" *\r\nb LSUB \"\" *\r\nc STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)\r\nd SELECT INBOX\r\n"
      "e UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n"
      "f SELECT \"Lists/v1.0 &AOk-\"\r\ng UID FETCH 1:* (FLAGS)\r\nh LOGOUT\r\n");
  EXPECT_THAT(out, HasSubstr("LIST (\\HasNoChildren) \"/\" \"Lists/v1.0 &AOk-\""));
  EXPECT_THAT(out, HasSubstr("LSUB () \"/\" \"Lists/v1.0 &AOk-\""));
  EXPECT_THAT(out, HasSubstr("STATUS INBOX (MESSAGES 2 UIDNEXT 6 UIDVALIDITY 2)"));
  const auto flags_of = [&](const std::string& uid) {
    std::stringstream lines(out);
    std::string line;
    while (std::getline(lines, line)) {
      if (line.find("FETCH (UID " + uid + " ") != std::string::npos) return line;
    }
    return "no UID " + uid + " in " + out;
  };
  EXPECT_THAT(flags_of("2"), HasSubstr("\\Flagged \\Seen"));
  EXPECT_THAT(flags_of("2"), HasSubstr("$Forwarded"));
  EXPECT_THAT(flags_of("4"), HasSubstr("\\Answered"));
  EXPECT_THAT(flags_of("4"), HasSubstr("second"));
  EXPECT_THAT(flags_of("4"), HasSubstr("$Forwarded"));
  // S= and W= are believed, and mtime is INTERNALDATE (1700000000 and the message's number, in UTC or not).
  EXPECT_THAT(flags_of("2"), HasSubstr("RFC822.SIZE " + std::to_string(model_.state.Find(inbox)->Find(2)->crlf_bytes)));
  EXPECT_THAT(flags_of("2"), HasSubstr("-Nov-2023 "));
  EXPECT_THAT(flags_of("1"), HasSubstr("\\Deleted"));
  EXPECT_THAT(flags_of("1"), HasSubstr("\\Draft"));
  EXPECT_THAT(flags_of("1"), HasSubstr("only"));
  std::stringstream log;
  log << std::ifstream(root_ + "/log").rdbuf();
  EXPECT_THAT(out + log.str(), Not(HasSubstr("Warning")));
  EXPECT_THAT(out + log.str(), Not(HasSubstr("Error")));
}

}  // namespace
}  // namespace gemel::maildir
