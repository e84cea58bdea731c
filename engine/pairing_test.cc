#include "engine/pairing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "engine/net_loop.h"
#include "engine/net_server.h"

namespace gemel::engine {
namespace {

using testing::HasSubstr;

class TestClock : public journal::Clock {
 public:
  uint64_t NowMillis() const override { return now_ms; }
  uint64_t BootMillis() const override { return now_ms; }
  std::atomic<uint64_t> now_ms{1'800'000'000'000};
};

std::string TempDirectory() {
  static int count = 0;
  return testing::TempDir() + "/gemel-pairing-" + std::to_string(getpid()) + "-" + std::to_string(count++);
}

// The first node's daemon, on a thread of its own, since PairWith blocks.
class FirstNode {
 public:
  FirstNode(std::string data_directory, TestClock& clock, bool fresh = true)
      : directory(std::move(data_directory)), clock_(clock) {
    if (fresh) {
      EXPECT_TRUE(WriteIdentity(*disk, directory, *NewIdentity(journal::SystemRandom())).ok());
    }
    identity = *ReadIdentity(*disk, directory);
    net_.SetPeerTls(*PeerTls::Make(identity.key_pem, identity.certificate_pem,
                                   [](std::string_view alpn, const std::string&) { return alpn == kAlpnPair; }));
    LinkHandlers handlers;
    handlers.make_pairing = [this](PeerConnection& connection) {
      return MakePairingSession(
          connection, *disk, directory, identity, "first.example:7425",
          [this](const Identity& changed) {
            identity = changed;
            ++paired;
          },
          clock_);
    };
    address = *net_.ListenPeer("127.0.0.1:0", std::move(handlers));
    thread_ = std::thread([this] { loop_.Run(); });
  }
  ~FirstNode() {
    loop_.Stop();
    thread_.join();
  }
  absl::StatusOr<std::string> NewToken() {
    return NewPairingToken(*disk, directory, identity, clock_, journal::SystemRandom());
  }
  std::string Token() { return *NewToken(); }

  std::unique_ptr<journal::Disk> disk = journal::MakePosixDisk();
  const std::string directory;
  std::string address;
  Identity identity;  // the loop's, while it runs
  std::atomic<int> paired{0};

 private:
  TestClock& clock_;
  NetLoop loop_;
  Net net_{loop_};
  std::thread thread_;
};

absl::StatusOr<Identity> Pair(const std::string& directory, const std::string& address, const std::string& token) {
  return PairWith(*journal::MakePosixDisk(), directory, address, token, "second.example:7425");
}

std::string WithWrongSecret(const std::string& token) {
  auto decoded = *DecodePairingToken(token);
  decoded.secret[0] = static_cast<char>(decoded.secret[0] ^ 1);
  return EncodePairingToken(decoded);
}

TEST(PairingToken, SurvivesBeingCopiedByHand) {
  const PairingToken token{"\x01\x02\x03\x04\x05\x06\x07\xfe\xff\x80", "00112233445566778899aabbccddee"};
  const std::string text = EncodePairingToken(token);
  EXPECT_EQ(text.size(), 47u);  // eight groups of five
  std::string sloppy;
  for (const char c : text) sloppy += c == '-' ? ' ' : c == 'o' ? '0' : static_cast<char>(toupper(c));
  for (const std::string& each : {text, sloppy}) {
    const auto decoded = DecodePairingToken(each);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->secret, token.secret);
    EXPECT_EQ(decoded->key_prefix, token.key_prefix);
  }
  for (const std::string& bad : {std::string(), std::string("abc"), text.substr(1), text + "a", "!" + text.substr(1)}) {
    EXPECT_FALSE(DecodePairingToken(bad).ok()) << bad;
  }
}

TEST(Identity, IsReadAsItWasWrittenAndDamageIsSeen) {
  const auto disk = journal::MakePosixDisk();
  const std::string directory = TempDirectory();
  EXPECT_TRUE(absl::IsNotFound(ReadIdentity(*disk, directory).status()));
  Identity identity = *NewIdentity(journal::SystemRandom());
  EXPECT_NE(identity.node, 0u);
  ASSERT_TRUE(WriteIdentity(*disk, directory, identity).ok());
  EXPECT_EQ(ReadIdentity(*disk, directory)->cluster, identity.cluster);
  EXPECT_FALSE(ReadIdentity(*disk, directory)->peer.has_value());
  identity.place = 1;
  identity.peer = PeerIdentity{7, "peer:7425", std::string(64, 'a')};
  ASSERT_TRUE(WriteIdentity(*disk, directory, identity).ok());
  const auto read = ReadIdentity(*disk, directory);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->node, identity.node);
  EXPECT_EQ(read->place, 1);
  EXPECT_EQ(read->key_fingerprint, identity.key_fingerprint);
  EXPECT_EQ(read->peer, identity.peer);

  const Identity other = *NewIdentity(journal::SystemRandom());
  ASSERT_TRUE(disk->ReplaceDurably(directory + "/node/cert.pem", other.certificate_pem).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadIdentity(*disk, directory).status()));
  ASSERT_TRUE(disk->ReplaceDurably(directory + "/node/identity.json", "{\"cluster\": 1}").ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadIdentity(*disk, directory).status()));
}

TEST(Pairing, BothNodesKnowEachOtherAfterwards) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string directory = TempDirectory();
  const auto second = Pair(directory, first.address, first.Token());
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(first.paired, 1);
  EXPECT_EQ(second->place, 1);
  EXPECT_EQ(second->peer->link_address, "first.example:7425");

  const auto disk = journal::MakePosixDisk();
  const auto one = ReadIdentity(*disk, first.directory), two = ReadIdentity(*disk, directory);
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->cluster, two->cluster);
  EXPECT_EQ(one->peer, (PeerIdentity{two->node, "second.example:7425", two->key_fingerprint}));
  EXPECT_EQ(two->peer, (PeerIdentity{one->node, "first.example:7425", one->key_fingerprint}));
  EXPECT_FALSE(std::filesystem::exists(directory + "/node/joining.json"));
}

TEST(Pairing, FiveWrongGuessesVoidTheToken) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  const std::string directory = TempDirectory();
  for (int i = 0; i < kPairingGuessesMax; ++i) {
    const auto refused = Pair(directory, first.address, WithWrongSecret(token));
    EXPECT_TRUE(absl::IsPermissionDenied(refused.status())) << refused.status();
    EXPECT_THAT(std::string(refused.status().message()), HasSubstr("wrong"));
  }
  EXPECT_TRUE(absl::IsPermissionDenied(Pair(directory, first.address, token).status()));
  EXPECT_EQ(first.paired, 0);
  EXPECT_TRUE(Pair(directory, first.address, first.Token()).ok());  // a new one holds
}

TEST(Pairing, TokenLivesAnHourAlsoAcrossARestart) {
  TestClock clock;
  const std::string first_directory = TempDirectory();
  std::string token;
  {
    FirstNode first(first_directory, clock);
    token = first.Token();
  }
  FirstNode first(first_directory, clock, /*fresh=*/false);
  const std::string directory = TempDirectory();
  clock.now_ms += kPairingTokenMs;
  EXPECT_TRUE(absl::IsPermissionDenied(Pair(directory, first.address, token).status()));
  clock.now_ms -= 3 * kPairingTokenMs;  // a clock put back lengthens nothing
  EXPECT_TRUE(absl::IsPermissionDenied(Pair(directory, first.address, token).status()));
  clock.now_ms += 3 * kPairingTokenMs - 1000;
  EXPECT_TRUE(Pair(directory, first.address, token).ok());
}

TEST(Pairing, TokenIsForOneSecondNode) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  ASSERT_TRUE(Pair(TempDirectory(), first.address, token).ok());
  const auto again = Pair(TempDirectory(), first.address, token);
  EXPECT_TRUE(absl::IsPermissionDenied(again.status())) << again.status();
  const auto other_token = Pair(TempDirectory(), first.address, first.Token());
  EXPECT_THAT(std::string(other_token.status().message()), HasSubstr("already paired"));
  EXPECT_EQ(first.paired, 1);
}

TEST(Pairing, AnotherNodeAtTheAddressIsNoticedAndCostsNoGuess) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock), impostor(TempDirectory(), clock);
  impostor.Token();
  const auto refused = Pair(TempDirectory(), impostor.address, first.Token());
  EXPECT_TRUE(absl::IsUnavailable(refused.status()));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("not the node"));
}

TEST(Pairing, UnreachableNodeIsAnErrorAndLeavesTheCommandRepeatable) {
  TestClock clock;
  std::string token, dead_address;
  const std::string first_directory = TempDirectory(), directory = TempDirectory();
  {
    FirstNode first(first_directory, clock);
    token = first.Token();
    dead_address = first.address;
  }
  EXPECT_TRUE(absl::IsUnavailable(Pair(directory, dead_address, token).status()));
  FirstNode first(first_directory, clock, /*fresh=*/false);
  EXPECT_TRUE(Pair(directory, first.address, token).ok());
}

// A second node that has begun to pair, and what a crash would leave of it when it goes on.
std::pair<std::string, std::string> Begun(const std::string& token) {
  std::string directory = TempDirectory(), kept = TempDirectory();
  EXPECT_FALSE(Pair(directory, "127.0.0.1:1", token).ok());
  std::filesystem::copy(directory, kept, std::filesystem::copy_options::recursive);
  return {std::move(directory), std::move(kept)};
}

// The second node crashes before it has written what the first one answered, or before it has tidied up.
TEST(Pairing, CanBeRepeatedAfterACrash) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  const auto [directory, kept] = Begun(token);
  const auto lost = Pair(directory, first.address, token);
  ASSERT_TRUE(lost.ok()) << lost.status();

  const auto again = Pair(kept, first.address, token);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->node, lost->node);
  EXPECT_EQ(again->key_fingerprint, lost->key_fingerprint);
  EXPECT_EQ(first.paired, 1);  // nothing changed the second time
}

// The same second node may ask again until it has shown that it knows; then nobody may.
TEST(Pairing, TheTokenIsGoneWhenTheSecondNodeHasDialled) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  const auto [directory, kept] = Begun(token);
  const auto disk = journal::MakePosixDisk();
  EXPECT_TRUE(EndPairing(*disk, first.directory, std::string(64, '7')).ok());  // before it was used: another's link
  const auto second = Pair(directory, first.address, token);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_TRUE(Pair(kept, first.address, token).ok());

  ASSERT_TRUE(EndPairing(*disk, first.directory, second->key_fingerprint).ok());
  ASSERT_TRUE(EndPairing(*disk, first.directory, second->key_fingerprint).ok()) << "nothing to end";
  EXPECT_FALSE(std::filesystem::exists(first.directory + "/node/pairing.json"));
  const auto late = Pair(TempDirectory(), first.address, token);
  EXPECT_TRUE(absl::IsPermissionDenied(late.status())) << late.status();
  EXPECT_THAT(std::string(late.status().message()), HasSubstr("it was used"));
}

TEST(Pairing, APairThatIsMadeGetsNoTokenAndAnUnfinishedOneGetsItsOwn) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  const auto [directory, kept] = Begun(token);
  const auto second = Pair(directory, first.address, token);
  ASSERT_TRUE(second.ok()) << second.status();

  // The answer may not have come, and the hour be over: another token for the same second node, and for no other.
  clock.now_ms += 2 * kPairingTokenMs;
  const std::string renewed = first.Token();
  EXPECT_THAT(std::string(Pair(TempDirectory(), first.address, renewed).status().message()),
              HasSubstr("already paired"));
  EXPECT_TRUE(Pair(kept, first.address, renewed).ok());

  const auto disk = journal::MakePosixDisk();
  ASSERT_TRUE(EndPairing(*disk, first.directory, second->key_fingerprint).ok());
  EXPECT_FALSE(std::filesystem::exists(first.directory + "/node/pairing.json"));
  const auto refused = first.NewToken();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("paired already, with node"));
  EXPECT_FALSE(std::filesystem::exists(first.directory + "/node/pairing.json"));
}

TEST(Pairing, DirectoryInUseIsRefused) {
  TestClock clock;
  FirstNode first(TempDirectory(), clock);
  const std::string token = first.Token();
  const std::string used = TempDirectory();
  std::filesystem::create_directories(used + "/journal");
  EXPECT_TRUE(absl::IsFailedPrecondition(Pair(used, first.address, token).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Pair(first.directory, first.address, token).status()));
  const std::string directory = TempDirectory();
  ASSERT_TRUE(Pair(directory, first.address, token).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Pair(directory, first.address, token).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Pair(TempDirectory(), first.address, "no-token").status()));
}

}  // namespace
}  // namespace gemel::engine
