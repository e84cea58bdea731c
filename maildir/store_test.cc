#include "maildir/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "maildir/store_model.h"

namespace gemel::maildir {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

std::string NewDirectory() {
  static int count = 0;
  return testing::TempDir() + "gemel-store-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

// Readable where a comparison fails.
std::string Short(const std::string& content) {
  return std::to_string(content.size()) + "#" + std::to_string(std::hash<std::string>{}(content));
}
using Paths = std::map<std::string, std::string>;
// Only what differs, since an account has many files.
std::vector<std::string> Difference(const Paths& is, const Paths& should_be) {
  std::vector<std::string> lines;
  for (const auto& [path, content] : is) {
    const auto it = should_be.find(path);
    if (it == should_be.end()) lines.push_back("too much: " + path);
    if (it != should_be.end() && it->second != content) lines.push_back("other bytes: " + path);
  }
  for (const auto& [path, content] : should_be) {
    if (is.find(path) == is.end()) lines.push_back("missing: " + path);
  }
  return lines;
}
std::map<std::string, std::string> Shortened(std::map<std::string, std::string> files) {
  for (auto& [path, content] : files) content = Short(content);
  return files;
}

class StoreTest : public testing::Test {
 protected:
  ~StoreTest() override {
    store_.reset();
    disk_->RemoveTree(root_).IgnoreError();
  }
  void Open(StoreOptions options = {}) {
    store_.reset();
    options.root = root_;
    auto store = Store::Open(*disk_, options);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    store_->Know(model_.state.id, model_.state.name);
  }
  void Send() { ASSERT_TRUE(model_.Send(*store_).ok()); }
  void Work() {
    while (true) {
      const auto worked = store_->RunOnce(100);
      ASSERT_TRUE(worked.ok()) << worked.status();
      if (!*worked) return;
    }
  }
  void SendAndCheckpoint() {
    Send();
    Work();
    const auto info = store_->Checkpoint();
    ASSERT_TRUE(info.ok()) << info.status();
  }
  std::string AccountDir() const { return store_->AccountDirectory(model_.state.id); }
  // Path below Maildir -> content.
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    const std::string maildir = AccountDir() + "/Maildir";
    std::vector<std::string> mailboxes{""};
    const auto names = disk_->List(maildir);
    if (!names.ok()) return files;
    for (const auto& name : *names) {
      if (name[0] == '.') mailboxes.push_back(name + "/");
    }
    for (const auto& mailbox : mailboxes) {
      for (const std::string part : {"new/", "cur/", "tmp/"}) {
        const auto there = disk_->List(maildir + "/" + mailbox + part);
        if (!there.ok()) continue;
        for (const auto& name : *there) {
          files[mailbox + part + name] = Short(*disk_->ReadWhole(maildir + "/" + mailbox + part + name));
        }
      }
    }
    return files;
  }
  void ExpectLoadIsModel() {
    const auto loaded = store_->Load(model_.state.id);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(Digest(*loaded), Digest(model_.state));
    EXPECT_EQ(loaded->applied, model_.state.applied);
    EXPECT_EQ(loaded->highest_modseq, model_.state.highest_modseq);
    EXPECT_EQ(loaded->last_uid_validity, model_.state.last_uid_validity);
    for (const auto& [id, mailbox] : model_.state.mailboxes) {
      ASSERT_NE(loaded->Find(id), nullptr) << mailbox.name;
      EXPECT_THAT(loaded->Find(id)->messages, SizeIs(mailbox.messages.size())) << mailbox.name;
      EXPECT_EQ(loaded->Find(id)->uid_next, mailbox.uid_next);
    }
    EXPECT_EQ(loaded->unplaced, model_.state.unplaced);
  }
  std::string ReadAll(const MailboxId& mailbox, Uid uid) {
    const Message& message = *model_.state.Find(mailbox)->Find(uid);
    const auto body = store_->OpenBody(model_.state.id, mailbox, message);
    if (!body.ok()) return body.status().ToString();
    EXPECT_EQ((*body)->bytes(), message.bytes);
    return *(*body)->Read(0, message.bytes + 10);
  }
  void ExpectAllBodies() {
    for (const auto& [id, mailbox] : model_.state.mailboxes) {
      for (const Message& message : mailbox.messages) {
        EXPECT_EQ(ReadAll(id, message.uid), model_.contents.at(message.guid)) << mailbox.name << " " << message.uid;
      }
    }
  }

  const std::string root_ = NewDirectory();
  std::unique_ptr<journal::Disk> disk_ = journal::MakePosixDisk();
  StoreModel model_{"Ann@Example.test"};
  std::unique_ptr<Store> store_;
};

TEST_F(StoreTest, ANewAccountIsNotFound) {
  Open();
  EXPECT_EQ(store_->Load(model_.state.id).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(AccountDir(), root_ + "/accounts/example.test/ann");
}

TEST_F(StoreTest, ADeliveryIsAFileInNewAndARow) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const Uid uid = model_.Deliver(inbox, "Subject: x\n\nhello\n");
  Send();
  EXPECT_GT(store_->backlog_bytes(), 0u);
  EXPECT_EQ(ReadAll(inbox, uid), "Return-Path: <a@b>\nSubject: x\n\nhello\n");  // from memory
  Work();
  EXPECT_EQ(store_->backlog_bytes(), 0u);
  EXPECT_EQ(store_->backlog_items(), 0u);
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  EXPECT_TRUE(Files().begin()->first.starts_with("new/"));
  const auto info = disk_->Stat(AccountDir() + "/Maildir/" + Files().begin()->first);
  EXPECT_EQ(info->mtime_s, model_.state.Find(inbox)->messages[0].internal_date_s);
  ExpectLoadIsModel();
  ExpectAllBodies();
}

TEST_F(StoreTest, AQueuedBodyIsReadInPieces) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "abcdef");
  Send();
  const auto body = store_->OpenBody(model_.state.id, inbox, model_.state.Find(inbox)->messages[0]);
  ASSERT_TRUE(body.ok());
  const std::string whole = "Return-Path: <a@b>\nabcdef";
  for (size_t from = 0; from <= whole.size() + 1; ++from) {
    for (size_t count = 0; count < 10; ++count) {
      EXPECT_EQ(*(*body)->Read(from, count), from > whole.size() ? "" : whole.substr(from, count));
    }
  }
}

TEST_F(StoreTest, FlagsRenameTheFileAtTheCheckpointAndItIsFoundMeanwhile) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const Uid uid = model_.Deliver(inbox, "body\n");
  SendAndCheckpoint();
  const auto before = Files();
  model_.SetFlags(inbox, uid, journal::kSeen | journal::kFlagged, {"$Junk", "b"});
  Send();
  Work();
  EXPECT_EQ(Files(), before);
  ExpectAllBodies();
  ExpectLoadIsModel();
  ExpectAllBodies();
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  EXPECT_TRUE(Files().begin()->first.starts_with("cur/") && Files().begin()->first.ends_with(":2,FSab"));
  ExpectAllBodies();
  model_.SetFlags(inbox, uid, 0);
  SendAndCheckpoint();
  EXPECT_TRUE(Files().begin()->first.starts_with("new/"));
}

TEST_F(StoreTest, ACopyIsAHardLinkAndAMoveARename) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId other = model_.Create("Lists/é v1.0");
  const Uid uid = model_.Deliver(inbox, "body\n");
  model_.SetFlags(inbox, uid, journal::kSeen, {"k"});
  model_.Copy(inbox, uid, other);
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  for (const auto& [path, content] : Files()) {
    EXPECT_EQ(disk_->Stat(AccountDir() + "/Maildir/" + path)->links, 2u);
  }
  model_.Move(inbox, uid, other);
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  ExpectLoadIsModel();
  ExpectAllBodies();
}

TEST_F(StoreTest, AnExpungedBodyIsKeptUntilItIsPurged) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const Uid uid = model_.Deliver(inbox, "secret\n");
  SendAndCheckpoint();
  const Message message = *model_.state.Find(inbox)->Find(uid);
  model_.Expunge(inbox, uid);
  SendAndCheckpoint();
  EXPECT_THAT(Files(), IsEmpty());
  ExpectLoadIsModel();
  EXPECT_TRUE(absl::IsNotFound(store_->OpenBody(model_.state.id, inbox, message).status()));
  const auto body = store_->OpenExpunged(model_.state.id, message);
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(*(*body)->Read(0, 100), model_.contents[message.guid]);
  EXPECT_EQ(*store_->PurgeExpunged(model_.state.id, 0, 10), 0u);
  EXPECT_EQ(*store_->PurgeExpunged(model_.state.id, 4'000'000'000, 0), 0u);
  EXPECT_TRUE(store_->OpenExpunged(model_.state.id, message).ok());
  EXPECT_EQ(*store_->PurgeExpunged(model_.state.id, 4'000'000'000, 10), 1u);
  EXPECT_TRUE(absl::IsNotFound(store_->OpenExpunged(model_.state.id, message).status()));
}

TEST_F(StoreTest, MailboxesAreRenamedSwappedAndDropped) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId a = model_.Create("A");
  const MailboxId b = model_.Create("B");
  model_.Deliver(a, "in a\n");
  model_.Deliver(b, "in b\n");
  SendAndCheckpoint();
  model_.Rename(a, "B");  // before b has left it
  model_.Rename(b, "A");
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  model_.Drop(a);
  const MailboxId again = model_.Create("B");  // before the old one's directory is gone
  model_.Deliver(again, "new b\n");
  model_.Deliver(inbox, "x\n");
  Send();
  Work();
  ExpectAllBodies();
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  ExpectLoadIsModel();
  EXPECT_THAT(*disk_->List(AccountDir() + "/aside"), IsEmpty());
}

TEST_F(StoreTest, ABodyInChunksIsSharedByItsMessages) {
  for (const size_t chunk_bytes : {100'000u, 3'000'000u}) {  // in a file, in memory
    Open();
    StoreModel other("bob@example.test");
    store_->Know(other.state.id, other.state.name);
    const MailboxId inbox = model_.Create("INBOX" + std::string(chunk_bytes > 200'000 ? "2" : ""));
    const std::string body(950'000, 'z');
    const Dot dot = model_.Spool(body, chunk_bytes);
    model_.DeliverSpooled(inbox, dot, body, false);
    Send();
    const Uid second = model_.DeliverSpooled(inbox, dot, body, true);
    Send();
    EXPECT_EQ(ReadAll(inbox, second).size(), body.size() + 16);  // worked off first
    SendAndCheckpoint();
    EXPECT_THAT(*disk_->List(root_ + "/spool"), IsEmpty());
    EXPECT_EQ(store_->backlog_bytes(), 0u);
    EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
    EXPECT_EQ(store_->last_checkpoint().applied, model_.state.applied);
  }
}

TEST_F(StoreTest, ACheckpointDoesNotPassAnOpenBody) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  SendAndCheckpoint();
  const auto before = store_->last_checkpoint();
  const std::string body(300'000, 'q');
  const Dot dot = model_.Spool(body, 100'000);
  SendAndCheckpoint();
  model_.Deliver(inbox, "another\n");
  SendAndCheckpoint();
  EXPECT_EQ(store_->last_checkpoint().position, before.position);
  Open();  // the body is gone, and comes again
  model_.Replay(*store_);
  model_.DeliverSpooled(inbox, dot, body, true);
  SendAndCheckpoint();
  EXPECT_GT(store_->last_checkpoint().position, before.position);
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  ExpectLoadIsModel();
}

TEST_F(StoreTest, AnUnplacedMessageIsRenamedIntoItsPlace) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const Dot dot = model_.DeliverUnplaced(inbox, "waits\n");
  SendAndCheckpoint();
  EXPECT_THAT(Files(), IsEmpty());
  ExpectLoadIsModel();
  const auto body = store_->OpenBody(model_.state.id, MailboxId{}, model_.state.unplaced.at(dot).message);
  ASSERT_TRUE(body.ok()) << body.status();
  model_.Place(dot, inbox);
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  ExpectLoadIsModel();
}

TEST_F(StoreTest, OpenBodyFollowsWhatIsQueued) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId other = model_.Create("Other");
  const Uid uid = model_.Deliver(inbox, "body\n");
  SendAndCheckpoint();
  model_.SetFlags(inbox, uid, journal::kSeen);
  const Uid moved = model_.Move(inbox, uid, other);
  model_.SetFlags(other, moved, journal::kSeen | journal::kDeleted, {"x"});
  Send();
  ExpectAllBodies();
  SendAndCheckpoint();
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
}

TEST_F(StoreTest, ADamagedIndexIsSetAsideAndRewritten) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  for (int i = 0; i < 50; ++i) model_.Deliver(inbox, "body\n", i % 2 == 0 ? journal::kSeen : 0);
  SendAndCheckpoint();
  Open();
  std::ofstream(AccountDir() + "/index.sqlite", std::ios::binary) << "this is not a database, and long enough ......";
  EXPECT_TRUE(absl::IsDataLoss(store_->Load(model_.state.id).status()));
  EXPECT_TRUE(disk_->Stat(AccountDir() + "/index.sqlite.damaged-1").ok());
  // What comes before the rebuild is taken, and Load goes on saying that there is no whole state.
  model_.SetFlags(inbox, 1, journal::kAnswered);
  SendAndCheckpoint();
  EXPECT_TRUE(absl::IsDataLoss(store_->Load(model_.state.id).status()));
  ASSERT_TRUE(store_->Rewrite(model_.state).ok());
  ExpectLoadIsModel();
  const auto missing = store_->Reconcile(model_.state, Store::Leftovers::kRemove);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_THAT(*missing, IsEmpty());
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  // Deleted: the same.
  Open();
  ASSERT_TRUE(disk_->Remove(AccountDir() + "/index.sqlite").ok());
  EXPECT_TRUE(absl::IsDataLoss(store_->Load(model_.state.id).status()));
  ASSERT_TRUE(store_->Rewrite(model_.state).ok());
  ExpectLoadIsModel();
}

TEST_F(StoreTest, MissingAndTornFilesAreFoundAndRestored) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId other = model_.Create("Other");
  const Uid gone = model_.Deliver(inbox, "gone\n");
  const Uid torn = model_.Deliver(inbox, "torn, and longer\n", journal::kSeen, {"k"});
  const Uid copied = model_.Deliver(inbox, "copied\n");
  model_.Copy(inbox, copied, other);
  SendAndCheckpoint();
  const std::string maildir = AccountDir() + "/Maildir/";
  const Mailbox& mailbox = *model_.state.Find(inbox);
  const auto path = [&](Uid uid) {
    const Message& message = *mailbox.Find(uid);
    return maildir + RelativePath(message, mailbox.keyword_sets[message.keywords]);
  };
  ASSERT_TRUE(disk_->Remove(path(gone)).ok());
  ASSERT_TRUE(disk_->Remove(path(copied)).ok());  // linked back from its copy
  ASSERT_TRUE((*disk_->Open(path(torn), journal::OpenMode::kReadWrite))->Truncate(3).ok());
  ASSERT_TRUE(disk_->CreateWhole(maildir + "cur/1.00000000000000aa.gemel,S=1,W=1:2,S", "x", 1).ok());
  EXPECT_TRUE(absl::IsNotFound(store_->OpenBody(model_.state.id, inbox, *mailbox.Find(gone)).status()));
  EXPECT_TRUE(absl::IsNotFound(store_->OpenBody(model_.state.id, inbox, *mailbox.Find(torn)).status()));
  const auto missing = store_->Reconcile(model_.state, Store::Leftovers::kRemove);
  ASSERT_TRUE(missing.ok()) << missing.status();
  ASSERT_THAT(*missing, SizeIs(2));
  EXPECT_EQ((*missing)[0].message.uid, gone);
  EXPECT_EQ((*missing)[1].message.uid, torn);
  for (const auto& each : *missing) {
    ASSERT_TRUE(
        store_->RestoreBody(model_.state.id, each.mailbox, each.message, model_.contents.at(each.message.guid)).ok());
  }
  EXPECT_EQ(Files(), Shortened(model_.ExpectedFiles()));
  EXPECT_EQ(disk_->Stat(path(copied))->links, 2u);
  EXPECT_EQ(disk_->Stat(path(torn))->mtime_s, mailbox.Find(torn)->internal_date_s);
  EXPECT_THAT(*store_->Reconcile(model_.state, Store::Leftovers::kRemove), IsEmpty());
}

// After a crash an account may be older than its files, until the last records are confirmed again.
TEST_F(StoreTest, FilesAheadOfTheStateAreKeptForTheRecordsThatCome) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId other = model_.Create("Other");
  const Uid expunged = model_.Deliver(inbox, "expunged\n");
  const Dot placed = model_.DeliverUnplaced(inbox, "placed\n");
  const Uid copied = model_.Deliver(inbox, "copied\n");
  SendAndCheckpoint();
  const AccountState before = model_.state;
  const auto files_before = Shortened(model_.ExpectedFiles());
  const MailboxId made = model_.Create("Made");
  model_.Copy(inbox, copied, other);
  model_.Expunge(inbox, expunged);
  model_.Place(placed, inbox);
  SendAndCheckpoint();
  const auto files_after = Shortened(model_.ExpectedFiles());

  const auto missing = store_->Reconcile(before, Store::Leftovers::kKeep);
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_THAT(*missing, IsEmpty());
  EXPECT_THAT(Difference(Files(), files_before), ElementsAre(testing::StartsWith("too much: .Other/new/")));
  EXPECT_TRUE(disk_->Stat(AccountDir() + "/Maildir/.Made").ok()) << made.hex();

  // The records are applied again.
  EXPECT_THAT(*store_->Reconcile(model_.state, Store::Leftovers::kRemove), IsEmpty());
  EXPECT_EQ(Files(), files_after);
  EXPECT_THAT(*store_->Reconcile(before, Store::Leftovers::kRemove), IsEmpty());
  EXPECT_EQ(Files(), files_before);
}

TEST_F(StoreTest, ZeroedBytesSinceTheCheckpointAreFound) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "old\n");
  SendAndCheckpoint();
  const Uid uid = model_.Deliver(inbox, "fresh\n");
  Send();
  Work();
  ExpectLoadIsModel();
  const std::string path = AccountDir() + "/Maildir/" + RelativePath(*model_.state.Find(inbox)->Find(uid), {});
  ASSERT_TRUE((*disk_->Open(path, journal::OpenMode::kReadWrite))->WriteAt(4, std::string(3, '\0')).ok());
  Open();
  const auto missing = store_->Reconcile(model_.state, Store::Leftovers::kRemove);
  ASSERT_TRUE(missing.ok()) << missing.status();
  ASSERT_THAT(*missing, SizeIs(1));
  EXPECT_EQ((*missing)[0].message.uid, uid);
}

TEST_F(StoreTest, StrangersAreFoundOnceAndOwnFilesNever) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const MailboxId other = model_.Create("Other");
  model_.Deliver(inbox, "ours\n");
  SendAndCheckpoint();
  EXPECT_THAT(*store_->FindStrangers(model_.state.id), IsEmpty());
  EXPECT_FALSE(*store_->MayHaveStrangers(model_.state.id));
  const std::string maildir = AccountDir() + "/Maildir/";
  ASSERT_TRUE(disk_->CreateWhole(maildir + "new/1234.M5P6.host", "From: x\n\nhi\n", 1234).ok());
  ASSERT_TRUE(disk_->CreateWhole(maildir + ".Other/cur/77.host:2,FS", "From: y\n", 77).ok());
  // Ours, moved by another reader.
  ASSERT_TRUE(disk_->Rename(maildir + Files().rbegin()->first, maildir + "cur/moved").ok() || true);
  const auto strangers = store_->FindStrangers(model_.state.id);
  ASSERT_TRUE(strangers.ok()) << strangers.status();
  const auto find = [&](const MailboxId& id) {
    return std::find_if(strangers->begin(), strangers->end(), [&](const Stranger& s) { return s.mailbox == id; });
  };
  ASSERT_NE(find(other), strangers->end());
  EXPECT_EQ(find(other)->flags, journal::kFlagged | journal::kSeen);
  EXPECT_EQ(find(other)->mtime_s, 77);
  EXPECT_EQ(*store_->ReadStranger(*find(other), 0, 100), "From: y\n");
  EXPECT_EQ(*store_->ReadStranger(*find(other), 4, 2), ": ");
  EXPECT_TRUE(*store_->MayHaveStrangers(model_.state.id));
  for (const Stranger& stranger : *strangers) EXPECT_TRUE(store_->RemoveStranger(stranger).ok());
  EXPECT_FALSE(*store_->MayHaveStrangers(model_.state.id));
  EXPECT_THAT(*store_->FindStrangers(model_.state.id), IsEmpty());
}

TEST_F(StoreTest, StructuresAreCachedAndPruned) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  const Uid uid = model_.Deliver(inbox, "body\n");
  SendAndCheckpoint();
  const Guid guid = model_.state.Find(inbox)->messages[0].guid;
  EXPECT_EQ(store_->CachedStructure(model_.state.id, guid), std::nullopt);
  store_->CacheStructure(model_.state.id, guid, "(structure)");
  EXPECT_EQ(store_->CachedStructure(model_.state.id, guid), "(structure)");
  SendAndCheckpoint();
  Open();
  EXPECT_THAT(store_->CachedStructures(model_.state.id, {guid, Guid{}}), ElementsAre("(structure)", std::nullopt));
  model_.Expunge(inbox, uid);
  SendAndCheckpoint();
  ASSERT_TRUE(store_->Reconcile(model_.state, Store::Leftovers::kRemove).ok());
  EXPECT_EQ(store_->CachedStructure(model_.state.id, guid), std::nullopt);
}

TEST_F(StoreTest, TheBaseComesBackAndDamageIsSeen) {
  Open();
  const MailboxId inbox = model_.Create("INBOX");
  model_.Deliver(inbox, "body\n", journal::kSeen, {"k"});
  model_.DeliverUnplaced(inbox, "waits\n");
  model_.Subscribe("INBOX");
  SendAndCheckpoint();
  EXPECT_TRUE(absl::IsNotFound(store_->ReadBase(model_.state.id).status()));
  ASSERT_TRUE(store_->WriteBase(model_.state).ok());
  const auto base = store_->ReadBase(model_.state.id);
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(Digest(*base), Digest(model_.state));
  EXPECT_EQ(base->applied, model_.state.applied);
  ASSERT_TRUE((*disk_->Open(AccountDir() + "/base", journal::OpenMode::kReadWrite))->WriteAt(60, "?").ok());
  EXPECT_TRUE(absl::IsDataLoss(store_->ReadBase(model_.state.id).status()));
}

TEST_F(StoreTest, ManyAccountsShareFewHandles) {
  Open({.root = {}, .index_rows_at_once = 4, .open_indexes_max = 3});
  std::vector<std::unique_ptr<StoreModel>> models;
  for (int i = 0; i < 12; ++i) {
    models.push_back(std::make_unique<StoreModel>("user" + std::to_string(i) + "@x.test", i));
    store_->Know(models[i]->state.id, models[i]->state.name);
    models[i]->Step();
  }
  for (int i = 0; i < 600; ++i) {
    models[i % 12]->Step();
    ASSERT_TRUE(models[i % 12]->Send(*store_).ok());
  }
  Work();
  ASSERT_TRUE(store_->Checkpoint().ok());
  for (const auto& model : models) {
    const auto loaded = store_->Load(model->state.id);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(Digest(*loaded), Digest(model->state));
  }
}

// Readers beside the thread that works it off: what is loaded is always the whole of what was enqueued.
TEST_F(StoreTest, LoadingBesideItsThreadSeesWholeBatches) {
  Open({.index_rows_at_once = 5});
  std::atomic<bool> stop = false;
  std::atomic<int> failures = 0;
  std::thread worker([&] {
    for (int i = 0; !stop; ++i) {
      if (!store_->RunOnce(3).ok()) ++failures;
      if (i % 50 == 0 && !store_->Checkpoint().ok()) ++failures;
    }
  });
  const MailboxId inbox = model_.Create("INBOX");
  for (int i = 0; i < 200; ++i) {
    const Uid uid = model_.Deliver(inbox, "x\n");
    if (i % 3 == 0) model_.SetFlags(inbox, uid, journal::kSeen);
    if (i % 7 == 0) model_.Expunge(inbox, model_.state.Find(inbox)->messages.front().uid);
    Send();
    if (model_.state.Find(inbox)->Find(uid) != nullptr) {
      EXPECT_NE(ReadAll(inbox, uid), "");
    }
    if (i % 10 == 0) ExpectLoadIsModel();
  }
  stop = true;
  worker.join();
  EXPECT_EQ(failures, 0);
  SendAndCheckpoint();
  ExpectLoadIsModel();
}

// A store that is dropped anywhere and opened again comes, by the batches behind its checkpoint, to the same state and
// the same files.
TEST_F(StoreTest, ReplayAfterAProcessCrashGivesTheSameFiles) {
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    ASSERT_TRUE(disk_->RemoveTree(root_).ok());
    model_ = StoreModel("Ann@Example.test", seed);
    const StoreOptions options{.root = {}, .index_rows_at_once = 1 + model_.Pick(30)};
    Open(options);
    model_.Create("INBOX");
    for (int crash = 0; crash < 6; ++crash) {
      const size_t steps = 1 + model_.Pick(60);
      for (size_t i = 0; i < steps; ++i) {
        model_.Step();
        if (model_.Pick(3) == 0) Send();
        if (model_.Pick(4) == 0) {
          ASSERT_TRUE(store_->RunOnce(model_.Pick(8)).ok());
        }
        if (model_.Pick(40) == 0) {
          ASSERT_TRUE(store_->Checkpoint().ok());
        }
        if (model_.Pick(50) == 0 && !model_.log.empty()) {
          ASSERT_TRUE(store_->Load(model_.state.id).ok());
        }
      }
      Send();
      ASSERT_TRUE(store_->RunOnce(model_.Pick(40)).ok());
      Open(options);
      model_.Replay(*store_);
      Work();
      ExpectLoadIsModel();
      const auto missing = store_->Reconcile(model_.state, Store::Leftovers::kRemove);
      ASSERT_TRUE(missing.ok()) << missing.status();
      EXPECT_THAT(*missing, IsEmpty());
      ASSERT_THAT(Difference(Files(), Shortened(model_.ExpectedFiles())), IsEmpty())
          << "seed " << seed << " crash " << crash;
      ExpectAllBodies();
    }
  }
}

}  // namespace
}  // namespace gemel::maildir
