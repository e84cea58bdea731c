// Two production nodes against one another, in one thread, on simulated time.
#include "engine/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/test_nodes.h"

namespace gemel::engine {
namespace {

using ::testing::HasSubstr;
using testing::Listener;
using testing::NodeTest;

TEST_F(NodeTest, LettersToEitherNodeAreOnBothAndReplayable) {
  StartPair();
  for (uint8_t home = 0; home < 2; ++home) {
    const std::string name = "user" + std::to_string(home) + "@example.test";
    AddAccount(name, home);
    EXPECT_TRUE(Deliver(0, name, "Subject: one\n\nfrom 0\n").ok());
    EXPECT_TRUE(Deliver(1, name, "Subject: two\n\nfrom 1\n").ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(100);
    Listener listener;
    auto session = Open(home, name, listener);
    ASSERT_NE(session, nullptr);
    const Mailbox& inbox = Inbox(*session);
    ASSERT_EQ(inbox.messages.size(), 2u);
    EXPECT_EQ(inbox.uid_validity % 2, home);
    EXPECT_EQ(inbox.messages[0].uid, 1u);
    EXPECT_EQ(inbox.messages[1].uid, 2u);
    EXPECT_EQ(Text(*session, inbox, inbox.messages[0]), "Delivered-To: " + name + "\nSubject: one\n\nfrom 0\n");
    EXPECT_EQ(Text(*session, inbox, inbox.messages[1]), "Delivered-To: " + name + "\nSubject: two\n\nfrom 1\n");
  }
  ExpectEqual();
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, APairWithALetterWithoutItsPlaceIsNotAtRest) {
  StartPair();
  AddAccount("ann@example.test", 0);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  ASSERT_NE(session, nullptr);
  ASSERT_TRUE(Deliver(1, "ann@example.test", "Subject: x\n\nby the other door\n").ok());
  ASSERT_TRUE(pair_.RunUntil([&] {
    if (!Inbox(*session).messages.empty()) return true;
    EXPECT_GT(pair_.nodes[0]->Status().lag_records_out, 0u);
    return false;
  }));
}

// After a crash the last records wait for the peer to confirm them, and their files are there already.
TEST_F(NodeTest, FilesOfRecordsThatWaitAreNotTakenForLeftovers) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "Subject: x\n\n1\n").ok());
  pair_.loop.RunFor(20'000);  // checkpoint
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  const MailboxId archive = session->state().FindName("Archive")->id;
  EXPECT_TRUE(Run(*session, CopyCommand{Inbox(*session).id, archive, {1}, false}).status.ok());
  session.reset();
  const std::string account = Options(0).data_directory + "/accounts/example.test/ann";
  const auto files = [&account](const std::string& below) {
    std::error_code error;
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(account + below, error)) {
      count += entry.is_regular_file() && entry.path().filename().string().find(".gemel,") != std::string::npos;
    }
    return count;
  };
  ASSERT_TRUE(pair_.RunUntil([&] { return files("/Maildir/.Archive") == 1; }, 1000));
  pair_.SetReachable(false);
  pair_.Kill(0);
  Start(0);
  pair_.loop.RunFor(500);
  EXPECT_EQ(files("/Maildir/.Archive"), 1u);
  pair_.SetReachable(true);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(1000);
  EXPECT_EQ(files("/Maildir/.Archive"), 1u);
  EXPECT_EQ(files("/expunged"), 0u);
  ExpectEqual();
}

TEST_F(NodeTest, CommandsChangeBothNodes) {
  StartPair();
  AddAccount("ann@example.test", 1);
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(Deliver(i % 2, "ann@example.test", "Subject: x\n\n" + std::to_string(i) + "\n").ok());
  pair_.loop.RunFor(100);
  Listener listener;
  auto session = Open(1, "ann@example.test", listener);
  const MailboxId inbox = Inbox(*session).id;

  EXPECT_TRUE(Run(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {"$Work"}, {2}}).status.ok());
  EXPECT_EQ(Inbox(*session).Find(2)->flags, journal::kDeleted);
  EXPECT_TRUE(Run(*session, CreateCommand{"a/b"}).status.ok());
  EXPECT_EQ(Run(*session, CreateCommand{"a/b"}).status.code(), absl::StatusCode::kAlreadyExists);
  const MailboxId b = session->state().FindName("a/b")->id;
  CommandResult copied = Run(*session, CopyCommand{inbox, b, {1, 2}, false});
  EXPECT_TRUE(copied.status.ok());
  ASSERT_EQ(copied.copied.size(), 2u);
  EXPECT_EQ(copied.uid_validity, session->state().Find(b)->uid_validity);
  CommandResult moved = Run(*session, CopyCommand{inbox, b, {3}, true});
  EXPECT_EQ(moved.copied.size(), 1u);
  EXPECT_TRUE(Run(*session, ExpungeCommand{inbox, {1, 2, 3}}).status.ok());
  EXPECT_EQ(Inbox(*session).messages.size(), 1u);
  EXPECT_TRUE(Run(*session, RenameCommand{"a", "z"}).status.ok());
  EXPECT_NE(session->state().FindName("z/b"), nullptr);
  EXPECT_TRUE(Run(*session, SubscribeCommand{"z/b", true}).status.ok());
  EXPECT_TRUE(Run(*session, DeleteCommand{"z"}).status.ok());
  EXPECT_EQ(session->state().Find(b)->messages.size(), 3u);
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
}

// Two clients: one copies what the other is just expunging. The rest is copied, so it is not a NO (RFC 3501, 6.4.7).
TEST_F(NodeTest, ACopyOfWhatIsBeingExpungedCopiesTheRest) {
  StartPair();
  AddAccount("ann@example.test", 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Deliver(0, "ann@example.test", "\n" + std::to_string(i) + "\n").ok());
  Listener listener, other;
  auto session = Open(0, "ann@example.test", listener);
  auto second = Open(0, "ann@example.test", other);
  const MailboxId inbox = Inbox(*session).id;
  const MailboxId archive = session->state().FindName("Archive")->id;
  ASSERT_TRUE(Run(*session, StoreFlagsCommand{inbox, FlagOp::kAdd, journal::kDeleted, {}, {2}}).status.ok());
  std::optional<CommandResult> expunged, copied;
  second->Submit(ExpungeCommand{inbox, {2}}, [&](CommandResult result) { expunged = std::move(result); });
  session->Submit(CopyCommand{inbox, archive, {1, 2, 3}, false},
                  [&](CommandResult result) { copied = std::move(result); });
  ASSERT_TRUE(pair_.RunUntil([&] { return expunged && copied; }));
  EXPECT_TRUE(expunged->status.ok()) << expunged->status;
  EXPECT_TRUE(copied->status.ok()) << copied->status;
  EXPECT_EQ(copied->copied.size(), 2u);
  EXPECT_EQ(session->state().Find(archive)->messages.size(), 2u);
  EXPECT_EQ(Inbox(*session).messages.size(), 2u);
  session.reset();
  second.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
}

// The name is free when RENAME is said and taken when it is applied: nothing of it is done.
TEST_F(NodeTest, ARenameThatMeetsACreateIsNotHalfDone) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nx\n").ok());
  Listener listener, other;
  auto session = Open(0, "ann@example.test", listener);
  auto second = Open(0, "ann@example.test", other);
  for (const char* name : {"foo", "foo/x", "foo/y"}) ASSERT_TRUE(Run(*session, CreateCommand{name}).status.ok());
  const auto race = [&](Command first, Command then) {
    std::optional<CommandResult> created, renamed;
    second->Submit(std::move(first), [&](CommandResult result) { created = std::move(result); });
    session->Submit(std::move(then), [&](CommandResult result) { renamed = std::move(result); });
    EXPECT_TRUE(pair_.RunUntil([&] { return created && renamed; }));
    EXPECT_TRUE(created->status.ok()) << created->status;
    return renamed->status.code();
  };
  for (const char* taken : {"bar", "baz/x"}) {
    const std::string to = std::string(taken).substr(0, 3);
    EXPECT_EQ(race(CreateCommand{taken}, RenameCommand{"foo", to}), absl::StatusCode::kAlreadyExists) << taken;
    for (const char* name : {"foo", "foo/x", "foo/y"}) EXPECT_NE(session->state().FindName(name), nullptr) << name;
    EXPECT_EQ(session->state().FindName(to + "/y"), nullptr);
  }
  EXPECT_EQ(race(CreateCommand{"old"}, RenameCommand{"INBOX", "old"}), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Inbox(*session).messages.size(), 1u);
  EXPECT_EQ(session->state().FindName("old")->messages.size(), 0u);
  EXPECT_EQ(race(CreateCommand{"deep"}, RenameCommand{"INBOX", "deep/er"}), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(session->state().FindName("deep/er"), nullptr);
  EXPECT_EQ(Run(*session, RenameCommand{"foo", "fine"}).status.code(), absl::StatusCode::kOk);
  EXPECT_NE(session->state().FindName("fine/y"), nullptr);
  session.reset();
  second.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
  ExpectReplayEqual(1);
  pair_.Kill(0);
  std::filesystem::remove(Options(0).data_directory + "/accounts/example.test/ann/index.sqlite");
  Start(0);  // the index is rebuilt from the journal
  ExpectEqual();
}

TEST_F(NodeTest, AKilledNodeHasEverythingAgain) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        Deliver(i % 2, i % 3 == 0 ? "ann@example.test" : "bob@example.test", "\n" + std::to_string(i) + "\n").ok());
  }
  for (int place = 0; place < 2; ++place) {
    pair_.loop.RunFor(100);
    const auto before = pair_.nodes[place]->Digests();
    pair_.Kill(place);
    Start(place);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    EXPECT_EQ(pair_.nodes[place]->Digests(), before);
    ASSERT_TRUE(Deliver(place, "ann@example.test", "\nafter\n").ok());
  }
  ExpectEqual();
  ExpectReplayEqual(0);
}

// Its own records come back from the peer behind the Start of its new run, which waits for the peer: what the peer made
// for an account among them must not be applied before that account is there.
TEST_F(NodeTest, AWipedNodeGetsItsAccountsAndLettersBack) {
  StartPair();
  std::optional<absl::Status> added;
  pair_.nodes[1]->AddAccount("ann@example.test", testing::kPassHash, 0,
                             [&](absl::Status status) { added = std::move(status); });
  ASSERT_TRUE(pair_.RunUntil([&] { return added.has_value(); }));
  ASSERT_TRUE(added->ok()) << *added;
  ASSERT_TRUE(pair_.RunUntilQuiet());
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Deliver(i % 2, "ann@example.test", "\n" + std::to_string(i) + "\n").ok());
  ExpectEqual();
  pair_.Kill(1);
  std::filesystem::remove_all(Options(1).data_directory);
  Start(1);
  ExpectEqual();
  const auto letters_of = [this](int place) {
    Listener listener;
    const auto session = Open(place, "ann@example.test", listener);
    return session == nullptr ? 0 : Inbox(*session).messages.size();
  };
  EXPECT_EQ(letters_of(0), 4u);
  std::optional<absl::Status> moved;
  pair_.nodes[0]->SetHome("ann@example.test", 1, [&](absl::Status status) { moved = std::move(status); });
  ASSERT_TRUE(pair_.RunUntil([&] { return moved.has_value(); }));
  ASSERT_TRUE(moved->ok()) << *moved;
  pair_.loop.RunFor(2000);
  EXPECT_EQ(letters_of(1), 4u);
  ExpectEqual();
  pair_.Kill(1);  // and once more from its journal, in which the Start stands before
  Start(1);
  ExpectEqual();
  EXPECT_EQ(letters_of(1), 4u);
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, WhileThePeerIsAwayMailIsTakenAndPlacedWhenItIsBack) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  pair_.Kill(1);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nhome here\n").ok());
  ASSERT_TRUE(Deliver(0, "bob@example.test", "\nhome away\n").ok());
  EXPECT_EQ(pair_.nodes[0]->HomeOf(journal::AccountIdOf("bob@example.test")), Home::kPeerAway);
  EXPECT_GT(pair_.nodes[0]->Status().unprotected, 0u);
  Listener listener;
  auto session = Open(0, "bob@example.test", listener);
  EXPECT_TRUE(session->read_only());
  EXPECT_EQ(Inbox(*session).messages.size(), 0u);
  EXPECT_EQ(Run(*session, CreateCommand{"x"}).status.code(), absl::StatusCode::kUnavailable);
  Start(1);
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  EXPECT_EQ(Inbox(*session).messages.size(), 1u);
  EXPECT_THAT(listener.closed, HasSubstr("reconnect"));
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, PairRequiredRefusesWithoutThePeer) {
  policy_ = AckPolicy::kPairRequired;
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nx\n").ok());
  pair_.Kill(1);
  EXPECT_EQ(Deliver(0, "ann@example.test", "\ny\n").code(), absl::StatusCode::kUnavailable);
}

// An account is made on each node while the other one is away, with different homes: the later word holds on both.
TEST_F(NodeTest, AnAccountMadeOnBothNodesHasOneHome) {
  for (const int first : {0, 1}) {
    SCOPED_TRACE(first);
    const std::string name = "ann" + std::to_string(first) + "@example.test";
    if (first == 0) {
      StartPair();
      AddAccount("bob@example.test", 0);
    }
    for (const int place : {first, 1 - first}) {
      pair_.Kill(1 - place);
      if (pair_.nodes[place] == nullptr) Start(place);
      ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[place]->Status().state != "starting"; }));
      std::optional<absl::Status> done;
      pair_.nodes[place]->AddAccount(name, testing::kPassHash, place,
                                     [&](absl::Status status) { done = std::move(status); });
      ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
      EXPECT_TRUE(done->ok()) << *done;
      pair_.loop.RunFor(100);
    }
    const int home = 1 - first;
    Start(first);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(3000);
    const journal::AccountId id = journal::AccountIdOf(name);
    EXPECT_EQ(pair_.nodes[home]->HomeOf(id), Home::kHere);
    EXPECT_EQ(pair_.nodes[first]->HomeOf(id), Home::kPeer);
    for (int place = 0; place < 2; ++place) EXPECT_TRUE(Deliver(place, name, "\nx\n").ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(1000);
    Listener listener;
    auto session = Open(home, name, listener);
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(Inbox(*session).messages.size(), 2u);
  }
}

TEST_F(NodeTest, AHomeMovesAndUidsJumpToTheOtherLane) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\nx\n").ok());
  std::optional<absl::Status> done;
  pair_.nodes[0]->SetHome("ann@example.test", 1, [&](absl::Status status) { done = std::move(status); });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  EXPECT_TRUE(done->ok()) << *done;
  ASSERT_TRUE(
      pair_.RunUntil([&] { return pair_.nodes[1]->HomeOf(journal::AccountIdOf("ann@example.test")) == Home::kHere; }));
  ASSERT_TRUE(Deliver(0, "ann@example.test", "\ny\n").ok());
  ASSERT_TRUE(Deliver(1, "ann@example.test", "\nz\n").ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  Listener listener;
  auto session = Open(1, "ann@example.test", listener);
  ASSERT_EQ(Inbox(*session).messages.size(), 3u);
  EXPECT_EQ(Inbox(*session).messages[0].uid, 1u);
  EXPECT_EQ(Inbox(*session).messages[1].uid, 65536u);
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(1);
}

TEST_F(NodeTest, ALargeBodyAndManyRecipients) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  std::optional<absl::Status> done;
  pair_.nodes[0]->SetAlias("all@example.test", {"ann@example.test", "bob@example.test"},
                           [&](absl::Status s) { done = std::move(s); });
  ASSERT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
  const std::string large = "Subject: large\n\n" + std::string(3'000'000, 'x') + "\n";
  ASSERT_TRUE(Deliver(0, "ann@example.test", large).ok());
  ASSERT_TRUE(Deliver(1, "all@example.test", large).ok());
  ASSERT_TRUE(Deliver(1, "all@example.test", "Subject: small\n\nx\n").ok());
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(100);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  ASSERT_EQ(Inbox(*session).messages.size(), 3u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[i]), "Delivered-To: ann@example.test\n" + large);
  }
  session.reset();
  ExpectEqual();
  ExpectReplayEqual(0);
}

TEST_F(NodeTest, ADeletedFileIsRestoredAndADroppedOneAdopted) {
  StartPair();
  AddAccount("ann@example.test", 0);
  ASSERT_TRUE(Deliver(0, "ann@example.test", "Subject: x\n\nhello\n").ok());
  pair_.loop.RunFor(10'000);
  const std::string maildir = Options(0).data_directory + "/accounts/example.test/ann/Maildir";
  int removed = 0;
  for (const char* part : {"/new", "/cur"}) {
    for (const auto& entry : std::filesystem::directory_iterator(maildir + part))
      removed += std::filesystem::remove(entry.path());
  }
  EXPECT_EQ(removed, 1);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[0]),
            "Delivered-To: ann@example.test\nSubject: x\n\nhello\n");
  for (const char* part : {"/new", "/cur"}) {  // and a torn one
    for (const auto& entry : std::filesystem::directory_iterator(maildir + part))
      std::filesystem::resize_file(entry.path(), 3);
  }
  EXPECT_EQ(session->TryOpenBody(Inbox(*session).id, Inbox(*session).messages[0]), nullptr);
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[0]),
            "Delivered-To: ann@example.test\nSubject: x\n\nhello\n");

  ASSERT_TRUE(
      disk_->CreateWhole(maildir + "/new/1700000000.from.another", "Subject: y\r\n\r\nadopt me\r\n", 1'700'000'000)
          .ok());
  ASSERT_TRUE(pair_.RunUntil([&] { return Inbox(*session).messages.size() == 2; }, 30'000));
  EXPECT_EQ(Text(*session, Inbox(*session), Inbox(*session).messages[1]), "Subject: y\n\nadopt me\n");
  EXPECT_EQ(Inbox(*session).messages[1].internal_date_s, 1'700'000'000);
  pair_.loop.RunFor(1000);
  EXPECT_FALSE(std::filesystem::exists(maildir + "/new/1700000000.from.another"));
  session.reset();
  ExpectEqual();
}

TEST_F(NodeTest, InboxIsInAnyCaseAsTheFirstLevel) {
  StartPair();
  AddAccount("ann@example.test", 0);
  Listener listener;
  auto session = Open(0, "ann@example.test", listener);
  ASSERT_NE(session, nullptr);
  EXPECT_TRUE(Run(*session, CreateCommand{"inbox/Work"}).status.ok());
  const Mailbox* work = session->state().FindName("Inbox/Work");
  ASSERT_NE(work, nullptr);
  EXPECT_EQ(work->name, "INBOX/Work");
  EXPECT_TRUE(absl::IsAlreadyExists(Run(*session, CreateCommand{"INBOX/Work"}).status));
  EXPECT_TRUE(Run(*session, RenameCommand{"iNBOX/Work", "inbox/Play"}).status.ok());
  EXPECT_EQ(work->name, "INBOX/Play");
  EXPECT_TRUE(Run(*session, SubscribeCommand{"inbox/Play", true}).status.ok());
  EXPECT_TRUE(Run(*session, SubscribeCommand{"inbox", true}).status.ok());
  EXPECT_TRUE(session->state().subscriptions.contains("INBOX"));
  EXPECT_TRUE(session->state().subscriptions.contains("INBOX/Play"));
  EXPECT_FALSE(session->state().subscriptions.contains("inbox"));
  EXPECT_TRUE(Run(*session, DeleteCommand{"inbox/Play"}).status.ok());
  EXPECT_EQ(session->state().FindName("INBOX/Play"), nullptr);
}

TEST_F(NodeTest, DomainsAndAliasesAreLawful) {
  StartPair();
  AddAccount("ann@example.test", 0);
  const auto code = [&](const auto& set) {
    std::optional<absl::Status> done;
    set([&](absl::Status status) { done = std::move(status); });
    EXPECT_TRUE(pair_.RunUntil([&] { return done.has_value(); }));
    return done.value_or(absl::UnknownError("no answer")).code();
  };
  const auto domain = [&](const std::string& name, const std::string& alias_of) {
    return code([&](Node::Done done) { pair_.nodes[0]->SetDomain(name, true, alias_of, std::move(done)); });
  };
  const auto alias = [&](const std::string& address, const std::vector<std::string>& targets) {
    return code([&](Node::Done done) { pair_.nodes[0]->SetAlias(address, targets, std::move(done)); });
  };
  const auto wrong = absl::StatusCode::kInvalidArgument;
  for (const char* each : {"", "a..b", ".a", "a.", "-a.test", "a b", "a@b", "a\xff", "[1.2.3.4]"}) {
    EXPECT_EQ(domain(each, ""), wrong) << each;
  }
  EXPECT_EQ(domain(std::string(64, 'a') + ".test", ""), wrong);
  EXPECT_EQ(domain("b\u00fccher.example", ""), absl::StatusCode::kOk);
  EXPECT_EQ(domain("other.test", "example.test"), absl::StatusCode::kOk);
  EXPECT_EQ(domain("third.test", "other.test"), wrong);
  EXPECT_EQ(domain("example.test", "example.test"), wrong);
  EXPECT_EQ(alias("all@example.test", {"ann@example.test", "Ann@Other.test"}), absl::StatusCode::kOk);
  EXPECT_EQ(alias("all@example.test", {"ann@example.test", "ann"}), wrong);
  EXPECT_EQ(alias("all@example.test", {"ann@example.test", "nobody@example.test"}), absl::StatusCode::kNotFound);
  EXPECT_EQ(alias("all@example.test", {"ann@elsewhere.test"}), wrong);
  EXPECT_EQ(alias("all@elsewhere.test", {"ann@example.test"}), wrong);
  EXPECT_EQ(alias("all", {"ann@example.test"}), wrong);
  EXPECT_EQ(alias("old@elsewhere.test", {}), absl::StatusCode::kOk) << "an old one can go";
}

// user+folder of an account whose home is the other node: the folder is the home's to fill.
TEST_F(NodeTest, AWantedFolderIsFilledFromEitherNode) {
  StartPair();
  for (uint8_t home = 0; home < 2; ++home) {
    const std::string local = "user" + std::to_string(home);
    AddAccount(local + "@example.test", home);
    Listener listener;
    auto session = Open(home, local + "@example.test", listener);
    ASSERT_TRUE(Run(*session, CreateCommand{"Lists/Dev"}).status.ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(2000);
    for (int place = 0; place < 2; ++place) {
      ASSERT_TRUE(Deliver(place, local + "+Lists/Dev@example.test", "\nslash\n").ok());
      ASSERT_TRUE(Deliver(place, local + "+Lists.Dev@example.test", "\ndots\n").ok());
      ASSERT_TRUE(Deliver(place, local + "+Nowhere@example.test", "\nno such folder\n").ok());
      ASSERT_TRUE(Deliver(place, local + "@example.test", "\nplain\n").ok());
    }
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(100);
    EXPECT_EQ(session->state().FindName("Lists/Dev")->messages.size(), 4u) << "home " << int{home};
    EXPECT_EQ(Inbox(*session).messages.size(), 4u) << "home " << int{home};
    // Gone while a letter for it is on its way: INBOX.
    pair_.Kill(1 - home);
    ASSERT_TRUE(Run(*session, DeleteCommand{"Lists/Dev"}).status.ok());
    session.reset();
    pair_.Kill(home);
    Start(1 - home);
    ASSERT_TRUE(pair_.RunUntil([&] { return pair_.nodes[1 - home]->Status().state != "starting"; }));
    ASSERT_TRUE(Deliver(1 - home, local + "+Lists.Dev@example.test", "\nlate\n").ok());
    Start(home);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(2000);
    session = Open(home, local + "@example.test", listener);
    EXPECT_EQ(Inbox(*session).messages.size(), 5u);
  }
  ExpectEqual();
}

TEST_F(NodeTest, APostmasterWhoIsNobodyIsAProblem) {
  options_.postmaster_accounts = {"ann@example.test", "nobody@example.test"};
  StartPair();
  AddAccount("bob@example.test", 0);
  AddAccount("ann@example.test", 1);
  const auto problems = pair_.nodes[0]->Status().problems;
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].what, HasSubstr("nobody@example.test of [delivery] postmaster"));
  const auto targets = pair_.nodes[0]->LookUpRecipient("postmaster@example.test");
  ASSERT_TRUE(targets.ok()) << targets.status();
  ASSERT_EQ(targets->size(), 1u);
  EXPECT_EQ(targets->front().name, "ann@example.test");
}

// Its index cannot be opened for a while (here a directory is in its place) while the other node takes mail for it.
TEST_F(NodeTest, WhatCameForAnAccountThatCouldNotBeLoadedIsNotLost) {
  options_.checkpoint_ms = 1000;
  StartPair();
  AddAccount("ann@example.test", 1);
  const std::string index = Options(0).data_directory + "/accounts/example.test/ann/index.sqlite";
  const std::string large = "Subject: large\n\n" + std::string(300'000, 'x') + "\n";
  int letters = 0;
  for (const bool restarted : {false, true}) {
    ASSERT_TRUE(Deliver(1, "ann@example.test", "\nbefore\n").ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(3000);
    pair_.Kill(0);
    std::filesystem::rename(index, index + ".away");
    std::filesystem::create_directory(index);
    Start(0);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    ASSERT_TRUE(Deliver(1, "ann@example.test", "\nmeanwhile\n").ok());
    ASSERT_TRUE(Deliver(1, "ann@example.test", large).ok());
    ASSERT_TRUE(Deliver(0, "ann@example.test", "\nby the other door\n").ok());
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(5000);  // checkpoints
    letters += 4;
    const auto problems = pair_.nodes[0]->Status().problems;
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_THAT(problems[0].what, HasSubstr("ann@example.test cannot be loaded"));
    if (restarted) pair_.Kill(0);
    std::filesystem::remove(index);
    std::filesystem::rename(index + ".away", index);
    if (restarted) Start(0);
    ASSERT_TRUE(pair_.RunUntilQuiet());
    pair_.loop.RunFor(3000);
    EXPECT_TRUE(pair_.nodes[0]->Status().problems.empty());
    Listener listener;
    auto session = Open(1, "ann@example.test", listener);
    EXPECT_EQ(Inbox(*session).messages.size(), static_cast<size_t>(letters));
    session.reset();
    ExpectEqual();
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(Options(0).data_directory +
                                                                           "/accounts/example.test/ann/Maildir")) {
      files += entry.is_regular_file() && entry.path().filename().string().find(".gemel,") != std::string::npos;
    }
    EXPECT_EQ(files, static_cast<size_t>(letters));
    EXPECT_GE(pair_.nodes[0]->Status().checkpoint_position + 1000, pair_.nodes[0]->Status().journal_end);
  }
  ExpectReplayEqual(0);
}

TEST_F(NodeTest, ADamagedFrameIsFetchedAgainFromThePeer) {
  StartPair();
  AddAccount("ann@example.test", 0);
  AddAccount("bob@example.test", 1);
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(Deliver(i % 2, i % 3 ? "ann@example.test" : "bob@example.test", "\n" + std::to_string(i) + "\n").ok());
  }
  ASSERT_TRUE(pair_.RunUntilQuiet());
  const uint64_t end = pair_.nodes[0]->Status().journal_end & 0xffffffff;
  pair_.Kill(0);
  std::string segment;
  for (const auto& entry : std::filesystem::directory_iterator(Options(0).data_directory + "/journal")) {
    if (segment.empty() || entry.path().string() < segment) segment = entry.path().string();
  }
  auto file = disk_->Open(segment, journal::OpenMode::kReadWrite);
  ASSERT_TRUE(file.ok());
  char byte = 0;
  ASSERT_TRUE((*file)->ReadAt(end / 2, &byte, 1).ok());
  byte ^= 0x20;
  ASSERT_TRUE((*file)->WriteAt(end / 2, std::string_view(&byte, 1)).ok());
  Start(0);
  bool reported = false;
  for (const Problem& problem : pair_.nodes[0]->Status().problems)
    reported |= problem.what.find("segment") != std::string::npos;
  EXPECT_TRUE(reported) << "damage is named";
  ASSERT_TRUE(pair_.RunUntilQuiet());
  pair_.loop.RunFor(2000);
  EXPECT_TRUE(pair_.nodes[0]->Status().problems.empty());
  ExpectEqual();
  ExpectReplayEqual(0);
}

}  // namespace
}  // namespace gemel::engine
