#include "engine/directory.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace gemel::engine {
namespace {

using journal::AccountSet;
using journal::Dot;
using journal::Origin;
using journal::Record;

class DirectoryTest : public ::testing::Test {
 protected:
  void Apply(Directory& directory, journal::NodeId node, journal::Hlc time, journal::RecordBody body,
             journal::AccountId account = {}) {
    directory.Apply(Dot{Origin{node, 1}, ++seq_}, Record{account, time, false, std::move(body)});
  }
  void Account(const std::string& name, uint8_t home = 0) {
    AccountSet set;
    set.name = name;
    set.create = true;
    set.exists = true;
    set.home_place = home;
    set.password_hash = "{X}" + name;
    set.enabled = true;
    Apply(directory_, 1, 10, set, journal::AccountIdOf(name));
  }
  void SetUp() override {
    Apply(directory_, 1, 1, journal::DomainSet{"example.test", true, ""});
    Apply(directory_, 1, 1, journal::DomainSet{"example.org", true, "example.test"});
    Account("Ann@example.test");
    Account("bob+x@example.test", 1);
    Apply(directory_, 1, 2,
          journal::AliasSet{"all@example.test", {"ann@example.test", "bob+x@example.test", "ann@example.org"}});
    Apply(directory_, 1, 2, journal::AliasSet{"loop@example.test", {"loop@example.test"}});
  }
  std::string Resolve(const std::string& address, std::vector<std::string> postmasters = {}) {
    auto targets = directory_.Resolve(address, postmasters);
    if (!targets.ok()) return absl::StatusCodeToString(targets.status().code());
    std::vector<std::string> names;
    for (const auto& target : *targets)
      names.push_back(target.account->name + (target.folder.empty() ? "" : "|" + target.folder));
    std::sort(names.begin(), names.end());
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
    return out;
  }
  Directory directory_;
  journal::Seq seq_ = 0;
};

TEST_F(DirectoryTest, ResolvesAddresses) {
  const struct {
    const char* address;
    const char* result;
  } kCases[] = {
      {"ann@example.test", "Ann@example.test"},
      {"ANN@EXAMPLE.TEST", "Ann@example.test"},
      {"ann@example.org", "Ann@example.test"},
      {"ann+Lists/Dev@example.test", "Ann@example.test|Lists/Dev"},
      {"ann+@example.test", "Ann@example.test"},
      {"bob+x@example.test", "bob+x@example.test"},
      {"bob@example.test", "NOT_FOUND"},
      {"+x@example.test", "NOT_FOUND"},
      {"\"ann+My Lists\"@example.test", "Ann@example.test|My Lists"},
      {"\"ANN+a\\\"b\\\\c@d\"@example.test", "Ann@example.test|a\"b\\c@d"},
      {"\"ann\"@example.test", "NOT_FOUND"},  // the front end takes off quotes that mean nothing
      {"\"ann@example.test+x y\"@example.test", "NOT_FOUND"},
      {"\" ann+x\"@example.test", "NOT_FOUND"},
      {"\".ann+x y\"@example.test", "NOT_FOUND"},
      {"\"who@other.test\"@example.test", "NOT_FOUND"},
      {"all@example.test", "Ann@example.test bob+x@example.test"},
      {"all@example.org", "Ann@example.test bob+x@example.test"},
      {"loop@example.test", "FAILED_PRECONDITION"},
      {"nobody@example.test", "NOT_FOUND"},
      {"ann@elsewhere.test", "INVALID_ARGUMENT"},
      {"ann", "INVALID_ARGUMENT"},
  };
  for (const auto& each : kCases) EXPECT_EQ(Resolve(each.address), each.result) << each.address;
}

TEST_F(DirectoryTest, PostmasterIsAlwaysSomebody) {
  EXPECT_EQ(Resolve("postmaster", {"bob+x@example.test"}), "bob+x@example.test");
  // Otherwise the account that was made first, whatever the ids.
  for (int i = 0; i < 20; ++i) {
    AccountSet set;
    set.name = "later" + std::to_string(i) + "@example.test";
    set.create = true;
    set.exists = set.enabled = true;
    Apply(directory_, 1, 40, set, journal::AccountIdOf(set.name));
  }
  AccountSet earlier;
  earlier.name = "earlier@other.test";
  earlier.create = true;
  earlier.exists = earlier.enabled = true;
  Apply(directory_, 1, 5, earlier, journal::AccountIdOf(earlier.name));
  Apply(directory_, 1, 5, journal::DomainSet{"other.test", true, ""});
  Apply(directory_, 1, 6, journal::DomainSet{"empty.test", true, ""});
  AccountSet off;
  off.name = "bob+x@example.test";
  off.enabled = false;
  Apply(directory_, 1, 20, off, journal::AccountIdOf(off.name));
  EXPECT_EQ(Resolve("postmaster@example.test"), "Ann@example.test");
  AccountSet even_earlier;
  even_earlier.name = "even-earlier@example.test";
  even_earlier.create = true;
  even_earlier.exists = even_earlier.enabled = true;
  Apply(directory_, 1, 9, even_earlier, journal::AccountIdOf(even_earlier.name));
  EXPECT_EQ(Resolve("postmaster@example.test"), "even-earlier@example.test") << "nothing old is remembered";
  even_earlier.enabled = false;
  Apply(directory_, 1, 41, even_earlier, journal::AccountIdOf(even_earlier.name));
  for (const char* each : {"Postmaster@example.test", "postmaster@example.org"}) {
    EXPECT_EQ(Resolve(each), "Ann@example.test") << each;
    EXPECT_EQ(Resolve(each, {"nobody@example.test", "bob+x@example.test"}), "Ann@example.test") << "no such accounts";
  }
  EXPECT_EQ(Resolve("postmaster@other.test"), "earlier@other.test");
  EXPECT_EQ(Resolve("postmaster@empty.test"), "earlier@other.test") << "a domain without accounts";
  Apply(directory_, 1, 7, journal::DomainSet{"a.test", true, "other.test"});
  EXPECT_EQ(Resolve("postmaster"), "earlier@other.test") << "empty.test is the first domain by name";
  Apply(directory_, 1, 7, journal::AliasSet{"postmaster@example.test", {"later3@example.test"}});
  EXPECT_EQ(Resolve("postmaster@example.test", {"ann@example.test"}), "later3@example.test") << "an alias is first";
  Apply(directory_, 1, 7, journal::AliasSet{"postmaster@empty.test", {"later4@example.test"}});
  EXPECT_EQ(Resolve("postmaster", {"ann@example.test"}), "later4@example.test");
}

TEST_F(DirectoryTest, DisabledIsRefusedAndMayComeBack) {
  AccountSet off;
  off.name = "ann@example.test";
  off.enabled = false;
  Apply(directory_, 1, 20, off, journal::AccountIdOf("ann@example.test"));
  EXPECT_EQ(Resolve("ann@example.test"), "PERMISSION_DENIED");
  EXPECT_EQ(Resolve("all@example.test"), "bob+x@example.test") << "the others of an alias get theirs";
  Apply(directory_, 1, 21, journal::AliasSet{"some@example.test", {"ann@example.test", "loop@example.test"}});
  EXPECT_EQ(Resolve("some@example.test"), "PERMISSION_DENIED");
  Apply(directory_, 1, 22,
        journal::AliasSet{"some@example.test", {"x@elsewhere.test", "all@example.test", "some@example.test"}});
  EXPECT_EQ(Resolve("some@example.test"), "bob+x@example.test");
  Apply(directory_, 1, 21, journal::AliasSet{"postmaster@example.test", {"ann@example.test"}});
  EXPECT_EQ(Resolve("postmaster@example.test"), "bob+x@example.test") << "always accepted";
  off.enabled = true;
  Apply(directory_, 1, 21, off, journal::AccountIdOf("ann@example.test"));
  EXPECT_EQ(Resolve("ann@example.test"), "Ann@example.test");
}

TEST_F(DirectoryTest, TheLaterWriteOfAFieldWinsInWhateverOrderTheyArrive) {
  AccountSet first, second, tie;
  first.name = second.name = tie.name = "ann@example.test";
  first.password_hash = "first";
  second.password_hash = "second";
  tie.password_hash = "tie";
  const auto id = journal::AccountIdOf("ann@example.test");
  const std::vector<std::pair<journal::NodeId, AccountSet>> writes = {{1, first}, {1, second}, {2, tie}};
  const journal::Hlc times[] = {100, 200, 200};
  std::vector<size_t> order = {0, 1, 2};
  do {
    Directory directory = directory_;
    for (const size_t i : order) Apply(directory, writes[i].first, times[i], writes[i].second, id);
    EXPECT_EQ(directory.Find(id)->password_hash.value, "tie") << "the greater node breaks a tie";
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(DirectoryTest, TwoWhoMakeAnAccountAgreeOnItsHomeInWhateverOrder) {
  const auto id = journal::AccountIdOf("zoe@example.test");
  const auto make = [&](Directory& directory, journal::NodeId node, journal::Hlc time, uint8_t home) {
    AccountSet set;
    set.name = "zoe@example.test";
    set.create = true;
    set.exists = set.enabled = true;
    set.home_place = home;
    Apply(directory, node, time, set, id);
  };
  for (const bool later_first : {false, true}) {
    Directory directory = directory_;
    if (later_first) make(directory, 2, 60, 1);
    make(directory, 1, 50, 0);
    Directory read;  // a restart in between
    ASSERT_TRUE(read.Decode(directory.Encode()).ok());
    for (Directory* each : {&directory, &read}) {
      if (!later_first) make(*each, 2, 60, 1);
      EXPECT_EQ(each->Find(id)->home.value, 1);
      // What moves it counts from then on, whatever comes late from before.
      Apply(*each, 2, 70, journal::Release{}, id);
      Apply(*each, 1, 71, journal::Take{0, Dot{Origin{2, 1}, seq_}}, id);
      make(*each, 2, 60, 1);
      EXPECT_EQ(each->Find(id)->home.value, 0);
      Directory again;
      ASSERT_TRUE(again.Decode(each->Encode()).ok());
      make(again, 2, 60, 1);
      EXPECT_EQ(again.Find(id)->home.value, 0) << "the time of the Take is kept";
    }
  }
}

TEST_F(DirectoryTest, AHomeMovesByReleaseAndTake) {
  journal::GenerationBegin paired;
  paired.number = 2;
  paired.kind = journal::GenerationKind::kPaired;
  Apply(directory_, 1, 30, paired);
  const auto id = journal::AccountIdOf("ann@example.test");
  EXPECT_EQ(directory_.HomePlace(*directory_.Find(id)), 0);
  journal::Release release;
  release.to_place = 1;
  Apply(directory_, 1, 31, release, id);
  const Dot released{Origin{1, 1}, seq_};
  EXPECT_EQ(directory_.HomePlace(*directory_.Find(id)), std::nullopt) << "nobody orders between the two";
  Directory read;
  ASSERT_TRUE(read.Decode(directory_.Encode()).ok());
  for (Directory* each : {&directory_, &read}) {
    Apply(*each, 2, 32, journal::Take{1, Dot{Origin{9, 9}, 9}}, id);
    EXPECT_EQ(each->HomePlace(*each->Find(id)), std::nullopt) << "a Take of another Release";
    Apply(*each, 2, 32, journal::Take{1, released}, id);
    EXPECT_EQ(each->HomePlace(*each->Find(id)), 1);
  }
}

TEST_F(DirectoryTest, IsReadAsItWasWrittenAndDamageIsSeen) {
  const std::string bytes = directory_.Encode();
  Directory read;
  ASSERT_TRUE(read.Decode(bytes).ok());
  EXPECT_EQ(read.Encode(), bytes);
  EXPECT_EQ(read.accounts().size(), 2u);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::string bad = bytes;
    bad[i] ^= 0x10;
    EXPECT_TRUE(absl::IsDataLoss(Directory().Decode(bad))) << i;
  }
}

}  // namespace
}  // namespace gemel::engine
