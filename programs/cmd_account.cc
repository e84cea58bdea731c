// gemel account, domain, alias, home: settings that both nodes share. They are asked of the running daemon, which
// answers when the change is as durable as a delivery.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <memory>

#include "engine/password.h"
#include "fmt/format.h"
#include "programs/command.h"

namespace gemel::programs {
namespace {

namespace json = boost::json;

// One change; prints nothing where it works.
void Change(CommandLine& line, const std::string& target, const json::object& body) {
  const auto answer = line.Admin("POST", target, json::serialize(body));
  if (!answer.ok()) line.Fail(answer.status());
}

// What GET `target` gives: printed as it is, or as rows of these members.
void List(CommandLine& line, const std::string& target, bool as_json, const std::vector<std::string>& members) {
  const auto answer = line.Admin("GET", target);
  if (!answer.ok()) return line.Fail(answer.status());
  if (as_json) return fmt::print("{}", *answer);
  std::vector<std::vector<std::string>> rows = {members};
  try {
    const json::value list = json::parse(*answer);
    for (const json::value& item : list.as_array()) {
      auto& row = rows.emplace_back();
      for (const std::string& member : members) {
        const json::value& value = item.at(member);
        if (value.is_string()) {
          row.emplace_back(value.get_string());
        } else if (value.is_bool()) {
          row.emplace_back(value.get_bool() ? "yes" : "no");
        } else if (value.is_array()) {
          std::string text;
          for (const json::value& part : value.get_array()) {
            text += (text.empty() ? "" : ", ") + std::string(part.as_string());
          }
          row.push_back(text);
        } else {
          row.push_back(json::serialize(value));
        }
      }
    }
  } catch (const std::exception& error) {
    return line.Fail(absl::InternalError(fmt::format("gemeld's answer makes no sense: {}", error.what())));
  }
  fmt::print("{}", Table(rows));
}

struct AccountArguments {
  std::string name, hash, file;
  int home = -1;
  bool json = false;
};

// The hash to store: the one given, if its scheme is known, or that of a password asked for.
absl::StatusOr<std::string> HashOf(const AccountArguments& arguments) {
  if (!arguments.hash.empty()) {
    if (const auto status = engine::CheckPasswordHash(arguments.hash); !status.ok()) return status;
    return arguments.hash;
  }
  const auto password = ReadPassword("Password of " + arguments.name);
  if (!password.ok()) return password.status();
  return engine::HashPassword(*password);
}

void AddAccount(CommandLine& line, const AccountArguments& arguments) {
  const auto hash = HashOf(arguments);
  if (!hash.ok()) return line.Fail(hash.status());
  json::object body{{"name", arguments.name}, {"password_hash", *hash}};
  if (arguments.home >= 0) body["home"] = arguments.home;
  Change(line, "/accounts/add", body);
}

// Dovecot's passwd-file: every account that can be added is; the others are named, with their lines.
void ImportAccounts(CommandLine& line, const AccountArguments& arguments) {
  std::ifstream in(arguments.file);
  if (!in) return line.Fail(absl::InvalidArgumentError(fmt::format("{}: cannot be read", arguments.file)));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto parsed = engine::ParsePasswdFile(text);
  if (!parsed.ok()) {
    return line.Fail(
        absl::InvalidArgumentError(fmt::format("{}: {}", arguments.file, std::string(parsed.status().message()))));
  }
  size_t added = 0;
  for (const auto& entry : *parsed) {
    const auto answer = line.Admin("POST", "/accounts/add",
                                   json::serialize(json::object{{"name", entry.user}, {"password_hash", entry.hash}}));
    if (answer.ok()) {
      ++added;
    } else {
      fmt::print(stderr, "gemel: {}: {}\n", entry.user, std::string(answer.status().message()));
      line.exit_code = kFoundWrong;
      if (absl::IsUnavailable(answer.status()) && added == 0) break;  // no daemon: once is enough
    }
  }
  fmt::print("{} of {} accounts added\n", added, parsed->size());
}

void AddAccountFamily(CLI::App& app, CommandLine& line) {
  CLI::App* account = app.add_subcommand("account", "Mail accounts")->require_subcommand(1);
  auto arguments = std::make_shared<AccountArguments>();
  const auto name = [&](CLI::App* command) {
    command->add_option("NAME", arguments->name, "Address, such as user@example.test")->required();
    return command;
  };
  const auto hash = [&](CLI::App* command) {
    command->add_option("--hash", arguments->hash,
                        "Use this {SCHEME}hash. Otherwise the password is asked for, or read from standard input");
    return command;
  };
  CLI::App* add = hash(name(account->add_subcommand("add", "Add an account; its domain comes with it")));
  add->add_option("--home", arguments->home, "Place (0 or 1) of its home; default: spread over both")
      ->check(CLI::Range(0, 1));
  add->callback([&line, arguments] { AddAccount(line, *arguments); });

  CLI::App* list = account->add_subcommand("list", "List the accounts");
  list->add_flag("--json", arguments->json, "As JSON");
  list->callback(
      [&line, arguments] { List(line, "/accounts", arguments->json, {"name", "home_place", "home_here", "enabled"}); });

  hash(name(account->add_subcommand("set-password", "Give an account another password")))->callback([&line, arguments] {
    const auto text = HashOf(*arguments);
    if (!text.ok()) return line.Fail(text.status());
    Change(line, "/accounts/set-password", {{"name", arguments->name}, {"password_hash", *text}});
  });
  name(account->add_subcommand("disable", "No login and no mail until enabled again; nothing is deleted"))
      ->callback(
          [&line, arguments] { Change(line, "/accounts/enable", {{"name", arguments->name}, {"enabled", false}}); });
  name(account->add_subcommand("enable", "Undo disable"))->callback([&line, arguments] {
    Change(line, "/accounts/enable", {{"name", arguments->name}, {"enabled", true}});
  });
  CLI::App* import = account->add_subcommand("import", "Add the accounts of a Dovecot passwd-file");
  import->add_option("FILE", arguments->file, "Lines of user@domain:{SCHEME}hash:...")->required();
  import->callback([&line, arguments] { ImportAccounts(line, *arguments); });
}

struct DomainArguments {
  std::string domain, alias_of;
  bool remove = false, json = false;
};

void AddDomainFamily(CLI::App& app, CommandLine& line) {
  CLI::App* domain = app.add_subcommand("domain", "Mail domains")->require_subcommand(1);
  auto arguments = std::make_shared<DomainArguments>();
  CLI::App* add = domain->add_subcommand("add", "Take mail for a domain");
  add->add_option("DOMAIN", arguments->domain)->required();
  add->callback([&line, arguments] {
    Change(line, "/domains/set", {{"domain", arguments->domain}, {"exists", true}, {"alias_of", ""}});
  });
  CLI::App* list = domain->add_subcommand("list", "List the domains");
  list->add_flag("--json", arguments->json, "As JSON");
  list->callback([&line, arguments] { List(line, "/domains", arguments->json, {"domain", "alias_of"}); });
  CLI::App* alias = domain->add_subcommand("alias", "Let a domain mean another: user@DOMAIN is user@TARGET");
  alias->add_option("DOMAIN", arguments->domain)->required();
  CLI::Option* target = alias->add_option("TARGET", arguments->alias_of);
  CLI::Option* remove = alias->add_flag("--remove", arguments->remove, "Take the alias away again");
  remove->excludes(target);
  alias->callback([&line, arguments] {
    if (!arguments->remove && arguments->alias_of.empty()) {
      return line.Fail(absl::InvalidArgumentError("domain alias: TARGET or --remove is wanted"));
    }
    Change(line, "/domains/set",
           {{"domain", arguments->domain}, {"exists", !arguments->remove}, {"alias_of", arguments->alias_of}});
  });
}

struct AliasArguments {
  std::string address;
  std::vector<std::string> targets;
  bool json = false;
};

void AddAliasFamily(CLI::App& app, CommandLine& line) {
  CLI::App* alias = app.add_subcommand("alias", "Addresses that stand for accounts")->require_subcommand(1);
  auto arguments = std::make_shared<AliasArguments>();
  CLI::App* set = alias->add_subcommand("set", "Let an address mean these accounts; none: the alias goes");
  set->add_option("ADDRESS", arguments->address)->required();
  set->add_option("ACCOUNT", arguments->targets);
  set->callback([&line, arguments] {
    Change(line, "/aliases/set",
           {{"address", arguments->address},
            {"targets", json::array(arguments->targets.begin(), arguments->targets.end())}});
  });
  CLI::App* list = alias->add_subcommand("list", "List the aliases");
  list->add_flag("--json", arguments->json, "As JSON");
  list->callback([&line, arguments] { List(line, "/aliases", arguments->json, {"address", "targets"}); });
}

struct HomeArguments {
  std::string name;
  int place = 0;
  bool json = false;
};

void AddHomeFamily(CLI::App& app, CommandLine& line) {
  CLI::App* home = app.add_subcommand("home", "Which node orders an account")->require_subcommand(1);
  auto arguments = std::make_shared<HomeArguments>();
  CLI::App* list = home->add_subcommand("list", "List the accounts with their homes");
  list->add_flag("--json", arguments->json, "As JSON");
  list->callback([&line, arguments] { List(line, "/accounts", arguments->json, {"name", "home_place", "home_here"}); });
  CLI::App* set = home->add_subcommand("set", "Move an account's home; its sessions are closed, clients reconnect");
  set->add_option("NAME", arguments->name)->required();
  set->add_option("PLACE", arguments->place, "0 or 1")->required()->check(CLI::Range(0, 1));
  set->callback(
      [&line, arguments] { Change(line, "/home/set", {{"name", arguments->name}, {"place", arguments->place}}); });
}

}  // namespace

void AddAccountCommands(CLI::App& app, CommandLine& line) {
  AddAccountFamily(app, line);
  AddDomainFamily(app, line);
  AddAliasFamily(app, line);
  AddHomeFamily(app, line);
}

}  // namespace gemel::programs
