// Files of released formats stay readable, and this version writes the newest one byte for byte. GEMEL_WRITE_GOLDEN=1
// writes what is missing in tests/golden/store-v1; what is there is never changed.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>

#include "maildir/base.h"
#include "maildir/checkpoint.h"
#include "maildir/index.h"

namespace gemel::maildir {
namespace {

std::string SourceDirectory() {
  if (const char* source = std::getenv("GEMEL_SOURCE")) return source;
  const std::string file = __FILE__;
  return file.substr(0, file.rfind("/maildir/"));
}

constexpr journal::Origin kOrigin{.node = 0x1111111111111111, .incarnation = 0xaaaaaaaaaaaaaaa0};

Guid GuidOf(char fill) { return Guid::FromBytes(std::string(16, fill)); }

// Something of everything. Part of the format's definition: never changed.
AccountState Sample() {
  AccountState state;
  state.id = journal::AccountIdOf("ann@example.test");
  state.name = "Ann@example.test";
  state.highest_modseq = 70'000;
  state.last_uid_validity = 1'795'475'701;
  state.applied.Raise(kOrigin, 300);
  for (const char* name : {"INBOX", "Lists/\u00e9 v1.0"}) {
    const MailboxId id = MailboxId::FromBytes(std::string(16, name[0]));
    Mailbox& mailbox = state.mailboxes[id];
    mailbox.id = id;
    mailbox.name = name;
    mailbox.uid_validity = 1'795'475'700;
    mailbox.uid_next = 400;
    mailbox.highest_modseq = 70'000;
    mailbox.special_use = name[0] == 'I' ? SpecialUse::kNone : SpecialUse::kArchive;
    for (Uid uid = 1; uid < 4; ++uid) {
      Message message;
      message.uid = uid * 100;
      message.dot = {.origin = kOrigin, .seq = uid * 100 + static_cast<uint64_t>(name[0])};
      message.guid = GuidOf(static_cast<char>(uid + static_cast<Uid>(name[0])));
      message.modseq = uid * 20'000;
      message.internal_date_s = uid == 1 ? -5 : 1'700'000'000 + uid;
      message.bytes = 1000 * uid;
      message.crlf_bytes = 1020 * uid;
      message.flags = uid == 2 ? journal::kSeen | journal::kFlagged : Flags{0};
      if (uid == 3) message.keywords = mailbox.Intern({"$Forwarded", "b"});
      mailbox.Insert(message);
    }
    mailbox.vanished = {{.uid = 50, .modseq = 60'000}, {.uid = 7, .modseq = 60'001}};
  }
  Unplaced waiting;
  waiting.message.dot = {.origin = kOrigin, .seq = 299};
  waiting.message.guid = GuidOf('u');
  waiting.message.internal_date_s = 1'700'000'100;
  waiting.message.bytes = 11;
  waiting.message.crlf_bytes = 12;
  waiting.wanted = MailboxId::FromBytes(std::string(16, 'I'));
  waiting.keywords = {"k"};
  state.unplaced[waiting.message.dot] = waiting;
  state.subscriptions = {"INBOX", "Lists/\u00e9 v1.0"};
  return state;
}

CheckpointInfo SampleCheckpoint() {
  CheckpointInfo info;
  info.position = (uint64_t{3} << 32) + 4096;
  info.applied.Raise(kOrigin, 300);
  return info;
}

std::string SchemaOf(const std::string& path) {
  sqlite3* db = nullptr;
  std::string text;
  EXPECT_EQ(sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr), SQLITE_OK);
  const auto add = [](void* out, int, char** values, char**) {
    *static_cast<std::string*>(out) += std::string(values[0]) + "\n";
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name", add, &text, nullptr),
            SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(db, "PRAGMA user_version", add, &text, nullptr), SQLITE_OK);
  sqlite3_close(db);
  return text;
}

class StoreGoldenTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(disk_->RemoveTree(made_).ok());
    ASSERT_TRUE(disk_->MakeDirectories(made_).ok());
    ASSERT_TRUE(WriteCheckpoint(*disk_, made_, SampleCheckpoint()).ok());
    ASSERT_TRUE(disk_->CreateWhole(made_ + "/base", EncodeBase(Sample()), 1).ok());
    {
      auto index = Index::Open(made_ + "/index.sqlite", "", Index::Create::kYes);
      ASSERT_TRUE(index.ok()) << index.status();
      ASSERT_TRUE((*index)->Rewrite(Sample()).ok());
    }
    ASSERT_TRUE(disk_->CreateWhole(made_ + "/index-schema.sql", SchemaOf(made_ + "/index.sqlite"), 1).ok());
    if (std::getenv("GEMEL_WRITE_GOLDEN") == nullptr) return;
    ASSERT_TRUE(disk_->MakeDirectories(golden_).ok());
    for (const char* name : {"/checkpoint", "/base", "/index.sqlite", "/index-schema.sql"}) {
      const absl::Status s = disk_->CreateWhole(golden_ + name, *disk_->ReadWhole(made_ + name), 1);
      ASSERT_TRUE(s.ok() || absl::IsAlreadyExists(s)) << s;
    }
  }
  void TearDown() override { disk_->RemoveTree(made_).IgnoreError(); }
  std::string Golden(const std::string& name) { return disk_->ReadWhole(golden_ + name).value_or("missing"); }

  const std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  const std::string golden_ = SourceDirectory() + "/tests/golden/store-v1";
  const std::string made_ = ::testing::TempDir() + "/store_golden_test_" + std::to_string(getpid());
};

TEST_F(StoreGoldenTest, CheckpointV1) {
  EXPECT_EQ(*disk_->ReadWhole(made_ + "/checkpoint"), Golden("/checkpoint"));
  const auto info = ReadCheckpoint(*disk_, golden_);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->position, SampleCheckpoint().position);
  EXPECT_EQ(info->applied, SampleCheckpoint().applied);
}

TEST_F(StoreGoldenTest, BaseV1) {
  EXPECT_EQ(*disk_->ReadWhole(made_ + "/base"), Golden("/base"));
  const auto state = DecodeBase(Golden("/base"));
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(Digest(*state), Digest(Sample()));
  EXPECT_EQ(state->applied, Sample().applied);
  EXPECT_EQ(state->name, "Ann@example.test");
}

TEST_F(StoreGoldenTest, IndexV1) {
  EXPECT_EQ(*disk_->ReadWhole(made_ + "/index-schema.sql"), Golden("/index-schema.sql"));
  // A copy, as it is opened for writing.
  ASSERT_TRUE(disk_->CreateWhole(made_ + "/copy.sqlite", Golden("/index.sqlite"), 1).ok());
  auto index = Index::Open(made_ + "/copy.sqlite", "", Index::Create::kNo);
  ASSERT_TRUE(index.ok()) << index.status();
  const auto state = (*index)->Load(Sample().id, Sample().name);
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(Digest(*state), Digest(Sample()));
  EXPECT_EQ(state->applied, Sample().applied);
}

}  // namespace
}  // namespace gemel::maildir
