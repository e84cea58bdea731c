#include "engine/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace gemel::engine {
namespace {

using testing::HasSubstr;

std::string ErrorOf(std::string_view toml) {
  const auto config = ParseConfig(toml, "g.toml");
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(Config, EmptyFileGivesTheDefaults) {
  const auto config = ParseConfig("", "g.toml");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(*config, Config());
}

TEST(Config, ReadsEachKind) {
  const auto config = ParseConfig(
      "[node]\ndata_directory = \"/srv/mail\"\n[link]\nheartbeat = \"250ms\"\n[journal]\nsegment_size = \"16MiB\"\n"
      "retain_time = \"2d\"\ncompression_level = 3\n[smtp]\nlisten = []\n[lmtp]\nlisten = [\"[::1]:2400\"]\n"
      "[delivery]\nack_policy = \"local\"\n",
      "g.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->data_directory, "/srv/mail");
  EXPECT_EQ(config->heartbeat_ms, 250u);
  EXPECT_EQ(config->segment_bytes, 16u << 20);
  EXPECT_EQ(config->retain_seconds, 172800u);
  EXPECT_EQ(config->zstd_level, 3u);
  EXPECT_TRUE(config->smtp_listen.empty());
  EXPECT_EQ(config->lmtp_listen, std::vector<std::string>{"[::1]:2400"});
  EXPECT_EQ(NodeOptionsOf(*config).ack_policy, AckPolicy::kLocal);
}

TEST(Config, UnknownNamesComeWithLineAndTheNearest) {
  EXPECT_EQ(ErrorOf("[link]\nhartbeat = \"1s\"\n"),
            "g.toml:2: unknown key hartbeat in [link]; did you mean heartbeat?");
  EXPECT_EQ(ErrorOf("\n[lnk]\n"), "g.toml:2: unknown section [lnk]; did you mean [link]?");
  EXPECT_EQ(ErrorOf("[imap]\nretain_size = 1\n"),
            "g.toml:2: unknown key retain_size in [imap]; there is one in [journal]");
  EXPECT_THAT(ErrorOf("heartbeat = \"1s\"\n"), HasSubstr("must stand in [link]"));
}

TEST(Config, BadValuesSayWhatWouldBeRight) {
  EXPECT_THAT(ErrorOf("[link]\nheartbeat = \"fast\"\n"), HasSubstr("g.toml:2: [link] heartbeat: a duration is wanted"));
  EXPECT_THAT(ErrorOf("[link]\nheartbeat = 500\n"), HasSubstr("needs quotes and a unit"));
  EXPECT_THAT(ErrorOf("[journal]\nsegment_size = \"1KiB\"\n"), HasSubstr("from \"1MiB\" to \"2GiB\""));
  EXPECT_THAT(ErrorOf("[node]\nshutdown_time = \"9s\"\n"), HasSubstr("from \"100ms\" to \"8s\""));
  EXPECT_THAT(ErrorOf("[journal]\nsegment_size = \"64MB\"\n"), HasSubstr("a size is wanted"));
  EXPECT_THAT(ErrorOf("[journal]\nsegment_size = \"99999999999TiB\"\n"), HasSubstr("a size is wanted"));
  EXPECT_THAT(ErrorOf("[delivery]\nack_policy = \"pair-if-ip\"\n"), HasSubstr("did you mean pair-if-up?"));
  EXPECT_THAT(ErrorOf("[node]\ndata_directory = \"mail\"\n"), HasSubstr("absolute path"));
  EXPECT_THAT(ErrorOf("[smtp]\nlisten = [\"::1:25\"]\n"), HasSubstr("needs brackets"));
  EXPECT_THAT(ErrorOf("[smtp]\nlisten = [\"0.0.0.0:70000\"]\n"), HasSubstr("up to 65535"));
  EXPECT_THAT(ErrorOf("[smtp]\nlisten = \"0.0.0.0:25\"\n"), HasSubstr("a list is wanted"));
}

TEST(Config, PathsThatCannotBeUsedAreRefused) {
  EXPECT_THAT(ErrorOf("[node]\nadmin_socket = \"\"\n"),
              HasSubstr("g.toml:2: [node] admin_socket: an absolute path is wanted, such as \"/run/gemel/admin\""));
  EXPECT_THAT(ErrorOf("[node]\ndata_directory = \"\"\n"), HasSubstr("g.toml:2: [node] data_directory: an absolute"));
  const std::string longest = "/" + std::string(106, 'x');
  for (const std::string key : {"[node]\nadmin_socket", "[lmtp]\nsocket"}) {
    EXPECT_EQ(ErrorOf(absl::StrCat(key, " = \"", longest, "\"\n")), "");
    EXPECT_THAT(ErrorOf(absl::StrCat(key, " = \"", longest, "x\"\n")),
                HasSubstr("the path has 108 bytes, and that of a Unix socket may have at most 107"));
  }
  EXPECT_EQ(ErrorOf("[lmtp]\nsocket = \"\"\n"), "");
}

// Where the administrator looks for a key he finds the range that it is held to.
TEST(Config, RangesAreToldWhereverKeysAreExplained) {
  for (std::string text : {ExplainConfig(), ExampleConfig(), ConfigManPageSection()}) {
    absl::StrReplaceAll({{"\n# ", " "}}, &text);            // the example's lines
    EXPECT_THAT(text, HasSubstr("duration, 100ms to 8s"));  // [node] shutdown_time
    EXPECT_THAT(text, HasSubstr("size, 1MiB to 2GiB"));     // [journal] segment_size
    EXPECT_THAT(text, HasSubstr("number, 100 to 100000"));  // [limits] recipients
    EXPECT_THAT(text, HasSubstr("duration, 0 to 3650d"));   // [journal] retain_time
    EXPECT_THAT(text, HasSubstr("of at most 107 bytes"));   // [node] admin_socket
  }
}

TEST(Config, AMissingFileIsNamedWithWhatToDo) {
  const auto config = ReadConfig("/nowhere/gemeld.toml");
  EXPECT_TRUE(absl::IsNotFound(config.status()));
  EXPECT_THAT(std::string(config.status().message()),
              ::testing::AllOf(HasSubstr("/nowhere/gemeld.toml: there is no such"), HasSubstr("--config")));
}

TEST(Config, ValuesThatContradictOneAnotherAreRefused) {
  EXPECT_THAT(ErrorOf("[link]\nheartbeat = \"2s\"\n"),
              HasSubstr("g.toml:2: [link] peer_timeout (3s) must be at least twice"));
  EXPECT_THAT(ErrorOf("[tls]\nkey = \"/k\"\n"), HasSubstr("given together"));
  EXPECT_THAT(ErrorOf("[smtp]\nlisten = [\"127.0.0.1:24\"]\n"),
              HasSubstr("g.toml:2: 127.0.0.1:24 stands in two listeners"));
}

TEST(Config, EveryMistakeIsReported) {
  const std::string error = ErrorOf("[link]\nfoo = 1\n[imap]\nbar = 2\n");
  EXPECT_THAT(error, HasSubstr("g.toml:2:"));
  EXPECT_THAT(error, HasSubstr("g.toml:4:"));
}

TEST(Config, SyntaxErrorNamesTheLine) { EXPECT_THAT(ErrorOf("[node]\nhost_name = x\n"), HasSubstr("g.toml:2:")); }

TEST(Config, RenderedConfigReadsBack) {
  Config config;
  config.data_directory = "/tmp/a \"b\"\\c";
  config.link_listen = {"127.0.0.1:4242"};
  config.lmtp_listen = {};
  config.retain_seconds = 3600;
  config.zstd_level = 0;
  config.message_bytes = 12345;
  const auto back = ParseConfig(RenderConfig(config), "g.toml");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, config);
  EXPECT_EQ(RenderConfig(Config()), "");
}

// The example with its comments taken away is every default, written out.
TEST(Config, ExampleHoldsEveryDefault) {
  std::string bare;
  std::istringstream in(ExampleConfig());
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#") && !line.starts_with("# ")) line.erase(0, 1);
    bare += line + "\n";
  }
  const auto config = ParseConfig(bare, "example");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(*config, Config());
  EXPECT_TRUE(ParseConfig(ExampleConfig(), "example").ok());
}

TEST(Config, LinkAddressIsTheListenersWhereThatSaysIt) {
  Config config;
  config.host_name = "mx1.example.test";
  EXPECT_EQ(LinkAddressOf(config), "mx1.example.test:7425");
  config.link_listen = {"[::1]:4242"};
  EXPECT_EQ(LinkAddressOf(config), "[::1]:4242");
  config.link_address = "10.0.0.1:1";
  EXPECT_EQ(LinkAddressOf(config), "10.0.0.1:1");
}

TEST(Config, SizesAndDurationsReadBack) {
  EXPECT_EQ(*ParseBytes("0"), 0u);
  EXPECT_EQ(*ParseMilliseconds("0"), 0u);
  EXPECT_EQ(*ParseMilliseconds("5min"), 300'000u);
  EXPECT_EQ(FormatMilliseconds(90'000), "90s");
  EXPECT_EQ(FormatBytes(150ull << 20), "150MiB");
  EXPECT_FALSE(ParseMilliseconds("5").ok());
  EXPECT_FALSE(ParseBytes("-1").ok());
}

}  // namespace
}  // namespace gemel::engine
