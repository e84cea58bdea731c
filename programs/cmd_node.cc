// gemel init, pair, status, check-config: one node and its place in the pair.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <memory>

#include "engine/identity.h"
#include "engine/net_tls.h"
#include "engine/pairing.h"
#include "engine/status.h"
#include "fmt/format.h"
#include "programs/command.h"

namespace gemel::programs {
namespace {

namespace json = boost::json;

void Init(CommandLine& line) {
  const auto config = line.LoadConfig();
  if (!config.ok()) return line.Fail(config.status());
  if (auto status = BecomeOwnerOf(config->data_directory); !status.ok()) return line.Fail(status);
  const auto disk = journal::MakePosixDisk();
  const auto there = engine::ReadIdentity(*disk, config->data_directory);
  if (there.ok()) {
    return line.Fail(absl::AlreadyExistsError(
        fmt::format("{} is a node already ({})", config->data_directory, journal::HexU64(there->node))));
  }
  if (!absl::IsNotFound(there.status())) return line.Fail(there.status());
  const auto identity = engine::NewIdentity(journal::SystemRandom());
  if (!identity.ok()) return line.Fail(identity.status());
  if (auto status = engine::WriteIdentity(*disk, config->data_directory, *identity); !status.ok()) {
    return line.Fail(status);
  }
  fmt::print(
      "Made node {} in {}.\nStart gemeld, add accounts with `gemel account add`, and pair it with `gemel pair`.\n",
      journal::HexU64(identity->node), config->data_directory);
}

// On the first node: asks its daemon to be open for one pairing.
void OfferPairing(CommandLine& line, bool as_json) {
  const auto answer = line.Admin("POST", "/pair/token");
  if (!answer.ok()) return line.Fail(answer.status());
  if (as_json) return fmt::print("{}", *answer);
  try {
    const json::value offer = json::parse(*answer);
    fmt::print(
        "On the second node, with an empty data directory and gemeld not running, within an hour:\n\n"
        "    gemel pair {} {}\n\nThen start gemeld there.\n",
        std::string(offer.at("address").as_string()), std::string(offer.at("token").as_string()));
  } catch (const std::exception& error) {
    line.Fail(absl::InternalError(fmt::format("gemeld's answer makes no sense: {}", error.what())));
  }
}

void JoinPair(CommandLine& line, const std::string& address, const std::string& token) {
  const auto config = line.LoadConfig();
  if (!config.ok()) return line.Fail(config.status());
  if (auto status = BecomeOwnerOf(config->data_directory); !status.ok()) return line.Fail(status);
  const auto disk = journal::MakePosixDisk();
  const auto identity = engine::PairWith(*disk, config->data_directory, address, token, engine::LinkAddressOf(*config));
  if (!identity.ok()) return line.Fail(identity.status());
  fmt::print("Paired with node {}. Start gemeld here now.\n", journal::HexU64(identity->peer->node));
}

void Status(CommandLine& line, bool as_json) {
  const auto answer = line.Admin("GET", "/status");
  if (!answer.ok()) return line.Fail(answer.status());
  const auto status = engine::StatusFromJson(*answer);
  if (!status.ok()) return line.Fail(status.status());
  fmt::print("{}", as_json ? *answer : engine::StatusText(*status));
  if (!engine::StatusIsGood(*status)) line.exit_code = kFoundWrong;
}

struct CheckArguments {
  bool explain = false, example = false, man = false;
};

// Opens the PEM files as gemeld will: as root, with the eyes of the user that owns the data directory.
absl::Status CheckCertificate(const engine::Config& config) {
  if (config.tls_certificate.empty()) return absl::OkStatus();
  if (std::filesystem::exists(config.data_directory)) {
    if (auto status = BecomeOwnerOf(config.data_directory); !status.ok()) return status;
  }
  return engine::ClientTls::Load(config.tls_certificate, config.tls_key).status();
}

void CheckConfig(CommandLine& line, const CheckArguments& arguments) {
  if (arguments.explain) return fmt::print("{}", engine::ExplainConfig());
  if (arguments.example) return fmt::print("{}", engine::ExampleConfig());
  if (arguments.man) return fmt::print("{}", engine::ConfigManPageSection());
  const auto config = engine::ReadConfig(line.config_path);
  absl::Status status = config.status();
  if (status.ok()) {
    if (status = CheckCertificate(*config); !status.ok()) {
      status = {status.code(), fmt::format("{}: [tls] {}", line.config_path, std::string(status.message()))};
    }
  }
  if (!status.ok()) {
    fmt::print(stderr, "{}\n", std::string(status.message()));
    line.exit_code = kFoundWrong;
    return;
  }
  fmt::print("{} is good\n", line.config_path);
}

}  // namespace

void AddNodeCommands(CLI::App& app, CommandLine& line) {
  app.add_subcommand("init", "Make this a node: identity and key in the data directory")->callback([&line] {
    Init(line);
  });

  struct PairArguments {
    std::string address, token;
    bool json = false;
  };
  auto pairing = std::make_shared<PairArguments>();
  CLI::App* pair = app.add_subcommand(
      "pair", "Make a pair: without arguments on the first node, which prints what to run on the second");
  CLI::Option* address = pair->add_option("ADDRESS", pairing->address, "The first node's link address");
  CLI::Option* token = pair->add_option("TOKEN", pairing->token, "What the first node printed");
  address->needs(token);
  pair->add_flag("--json", pairing->json, "On the first node: address and token as JSON");
  pair->callback([&line, pairing] {
    if (pairing->address.empty()) return OfferPairing(line, pairing->json);
    JoinPair(line, pairing->address, pairing->token);
  });

  auto as_json = std::make_shared<bool>(false);
  CLI::App* status = app.add_subcommand("status", "How this node and the pair are; exit 1 if something is wrong");
  status->add_flag("--json", *as_json, "As JSON");
  status->callback([&line, as_json] { Status(line, *as_json); });

  auto check = std::make_shared<CheckArguments>();
  CLI::App* command = app.add_subcommand("check-config", "Check the configuration file");
  command->add_flag("--explain", check->explain, "Print every key with its kind, default and meaning instead");
  command->add_flag("--example", check->example, "Print an example file instead");
  command->add_flag("--man", check->man, "Print the keys as a section of a manual page instead");
  command->callback([&line, check] { CheckConfig(line, *check); });
}

}  // namespace gemel::programs
