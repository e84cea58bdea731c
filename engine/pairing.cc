#include "engine/pairing.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <boost/json.hpp>
#include <initializer_list>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/net_loop.h"
#include "engine/net_server.h"
#include "engine/net_tls.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

namespace json = boost::json;
using journal::Log;
using journal::LogLevel;

constexpr size_t kSecretBytes = 10, kKeyBytes = 15;
constexpr size_t kLineBytesMax = 4096;
constexpr uint64_t kStepMs = 15'000;
constexpr char kBase32[] = "abcdefghijklmnopqrstuvwxyz234567";

std::string PairingPath(const std::string& data_directory) { return data_directory + "/node/pairing.json"; }
std::string JoiningPath(const std::string& data_directory) { return data_directory + "/node/joining.json"; }

std::string Hex(std::string_view bytes) {
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

std::string HashOfSecret(std::string_view secret) {
  const std::string text = absl::StrCat("gemel-pair/1 secret ", absl::string_view(secret.data(), secret.size()));
  unsigned char digest[32];
  EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha256(), nullptr);
  return std::string(reinterpret_cast<char*>(digest), sizeof digest);
}

std::string TextAt(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}
int64_t NumberAt(const json::object& object, const char* key, int64_t otherwise) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_int64() ? value->as_int64() : otherwise;
}
absl::StatusOr<json::object> ParseObject(const std::string& text) {
  boost::system::error_code error;
  json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return absl::InvalidArgumentError("not a JSON object");
  return std::move(parsed.as_object());
}

// What both ends know of their connection, and who speaks.
struct ProofContext {
  std::string key;  // HashOfSecret
  std::string exported;
  std::string first_fingerprint, second_fingerprint;
};
std::string Proof(const ProofContext& context, std::string_view speaker, std::initializer_list<std::string> fields) {
  std::string text;
  const auto add = [&text](std::string_view field) {
    absl::StrAppend(&text, field.size(), ":", absl::string_view(field.data(), field.size()));
  };
  add(speaker);
  add(context.exported);
  add(context.first_fingerprint);
  add(context.second_fingerprint);
  for (const std::string& field : fields) add(field);
  unsigned char digest[32];
  unsigned int bytes = sizeof digest;
  HMAC(EVP_sha256(), context.key.data(), static_cast<int>(context.key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &bytes);
  return Hex({reinterpret_cast<char*>(digest), sizeof digest});
}
bool SameText(const std::string& a, const std::string& b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

// ---- pairing.json ----

struct OpenPairing {
  std::string secret_hash;  // bytes
  int64_t expires_ms = 0;
  int64_t guesses = 0;     // wrong ones
  std::string second_key;  // the fingerprint that has used the token; "": none yet
};

absl::Status WritePairing(journal::Disk& disk, const std::string& data_directory, const OpenPairing& open) {
  const json::object object{{"secret_hash", Hex(open.secret_hash)},
                            {"expires_ms", open.expires_ms},
                            {"guesses", open.guesses},
                            {"second_key", open.second_key}};
  return disk.ReplaceDurably(PairingPath(data_directory), json::serialize(object) + "\n");
}

// PermissionDenied, in words for the second node's administrator, where no token holds.
absl::StatusOr<OpenPairing> ReadPairing(journal::Disk& disk, const std::string& data_directory, uint64_t now_ms) {
  absl::Status closed = absl::PermissionDeniedError(
      "no token holds at the first node: it was used, is older than an hour, was guessed wrong too often, or there "
      "never was one; `gemel pair` there prints a new one");
  const auto text = disk.ReadWhole(PairingPath(data_directory));
  if (!text.ok()) return absl::IsNotFound(text.status()) ? closed : text.status();
  const auto object = ParseObject(*text);
  if (!object.ok()) return closed;
  OpenPairing open;
  open.secret_hash = absl::HexStringToBytes(TextAt(*object, "secret_hash"));
  open.expires_ms = NumberAt(*object, "expires_ms", 0);
  open.guesses = NumberAt(*object, "guesses", kPairingGuessesMax);
  open.second_key = TextAt(*object, "second_key");
  // A clock that was put back does not make a token live longer than it may.
  const int64_t left_ms = open.expires_ms - static_cast<int64_t>(now_ms);
  const bool in_time = left_ms > 0 && left_ms <= static_cast<int64_t>(kPairingTokenMs);
  if (open.secret_hash.size() != 32 || !in_time || open.guesses >= kPairingGuessesMax) return closed;
  return open;
}

}  // namespace

std::string EncodePairingToken(const PairingToken& token) {
  const std::string bytes = token.secret + absl::HexStringToBytes(token.key_prefix);
  std::string text;
  uint32_t bits = 0, count = 0;
  size_t digits = 0;
  for (const char c : bytes) {
    bits = (bits << 8 | static_cast<uint8_t>(c)) & 0xffff;
    for (count += 8; count >= 5; ++digits) {
      count -= 5;
      if (digits != 0 && digits % 5 == 0) text += '-';
      text += kBase32[bits >> count & 31];
    }
  }
  return text;
}

absl::StatusOr<PairingToken> DecodePairingToken(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0, count = 0;
  for (char c : text) {
    if (c == '-' || c == ' ') continue;
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    // Digits that are not in the alphabet are misread letters.
    c = c == '0' ? 'o' : c == '1' ? 'l' : c == '8' ? 'b' : c;
    const size_t value = std::string_view(kBase32).find(c);
    if (value == std::string_view::npos) return absl::InvalidArgumentError("the token has a character that none has");
    bits = (bits << 5 | static_cast<uint32_t>(value)) & 0xffff;
    count += 5;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count));
  }
  if (bytes.size() != kSecretBytes + kKeyBytes || count != 0) {
    return absl::InvalidArgumentError("the token is not whole: it has eight groups of five characters");
  }
  return PairingToken{bytes.substr(0, kSecretBytes), Hex(std::string_view(bytes).substr(kSecretBytes))};
}

absl::StatusOr<std::string> NewPairingToken(journal::Disk& disk, const std::string& data_directory,
                                            const Identity& identity, const journal::Clock& clock,
                                            journal::Random& random) {
  PairingToken token{std::string(kSecretBytes, '\0'), identity.key_fingerprint.substr(0, 2 * kKeyBytes)};
  random.Fill(token.secret.data(), token.secret.size());
  OpenPairing open;
  open.secret_hash = HashOfSecret(token.secret);
  open.expires_ms = static_cast<int64_t>(clock.NowMillis() + kPairingTokenMs);
  if (identity.peer) {
    // Paired, as far as this node is concerned. While the file is there, the second one has not shown that it has
    // finished, and may need another token; nobody else may use it.
    if (absl::IsNotFound(disk.Stat(PairingPath(data_directory)).status())) {
      return absl::FailedPreconditionError(
          absl::StrCat("this node is paired already, with node ", journal::HexU64(identity.peer->node), " at ",
                       identity.peer->link_address,
                       ": a pair has two nodes, and `gemel status` tells of them; how a lost one is rebuilt is on the "
                       "operator's page, \"Failed disk\""));
    }
    open.second_key = identity.peer->key_fingerprint;
  }
  if (absl::Status status = WritePairing(disk, data_directory, open); !status.ok()) return status;
  return EncodePairingToken(token);
}

absl::Status EndPairing(journal::Disk& disk, const std::string& data_directory, const std::string& second_key) {
  const auto text = disk.ReadWhole(PairingPath(data_directory));
  if (!text.ok()) return absl::IsNotFound(text.status()) ? absl::OkStatus() : text.status();
  const auto object = ParseObject(*text);
  if (object.ok() && TextAt(*object, "second_key") != second_key) return absl::OkStatus();
  if (absl::Status status = disk.Remove(PairingPath(data_directory)); !status.ok()) return status;
  return disk.SyncDirectory(data_directory + "/node");
}

// ---- the first node's end ----

namespace {

class FirstSide final : public ProtocolSession {
 public:
  FirstSide(PeerConnection& connection, journal::Disk& disk, std::string data_directory, const Identity& identity,
            std::string link_address, std::function<void(const Identity&)> paired, const journal::Clock& clock)
      : connection_(connection),
        disk_(disk),
        data_directory_(std::move(data_directory)),
        identity_(identity),
        link_address_(std::move(link_address)),
        paired_(std::move(paired)),
        clock_(clock) {}

  void OnConnected() override { connection_.SetIdleTimeout(kStepMs); }
  void OnBytes(std::string_view bytes) override {
    if (done_) return;
    line_ += bytes;
    const size_t end = line_.find('\n');
    if (end == std::string::npos && line_.size() <= kLineBytesMax) return;
    done_ = true;
    std::string answer;
    const absl::Status status = Handle(line_.substr(0, end), &answer);
    if (!status.ok()) {
      Log(LogLevel::kWarning, "pairing_refused",
          {{"peer", connection_.peer_address()}, {"reason", std::string(status.message())}});
      answer = json::serialize(json::object{{"error", std::string(status.message())}});
    }
    connection_.Send(answer + "\n");
    connection_.CloseAfterSending();
  }
  void OnTls() override {}
  void OnTimeout() override { connection_.CloseAfterSending(); }
  void OnClosed() override {}
  void OnShutdown() override { connection_.CloseAfterSending(); }

 private:
  absl::Status Handle(const std::string& line, std::string* answer) {
    const auto asked = ParseObject(line);
    if (!asked.ok()) return asked.status();
    auto open = ReadPairing(disk_, data_directory_, clock_.NowMillis());
    if (!open.ok()) return open.status();

    PeerIdentity peer;
    peer.link_address = TextAt(*asked, "link_address");
    peer.key_fingerprint = connection_.peer_key_fingerprint();
    const std::string node_text = TextAt(*asked, "node");
    const ProofContext context{open->secret_hash, connection_.ExportKey(kPairingExporter, 32),
                               identity_.key_fingerprint, peer.key_fingerprint};
    const std::string expected = Proof(context, "second", {node_text, peer.link_address});
    if (context.exported.empty() || !SameText(TextAt(*asked, "proof"), expected)) return WrongGuess(*open);
    const auto node = journal::U64FromHex(node_text);
    if (!node || *node == 0 || peer.link_address.empty()) return absl::InvalidArgumentError("malformed request");
    peer.node = *node;

    if (peer.node == identity_.node || peer.key_fingerprint == identity_.key_fingerprint) {
      return absl::FailedPreconditionError("a node cannot be paired with itself");
    }
    if (identity_.peer &&
        (identity_.peer->node != peer.node || identity_.peer->key_fingerprint != peer.key_fingerprint)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the first node is already paired, with node ", journal::HexU64(identity_.peer->node)));
    }
    if (!open->second_key.empty() && open->second_key != peer.key_fingerprint) {
      return absl::PermissionDeniedError("the token has been used by another node");
    }
    if (absl::Status status = SetPeer(*open, peer); !status.ok()) return status;

    const std::string cluster = identity_.cluster.hex(), own_node = journal::HexU64(identity_.node);
    const std::string place = absl::StrCat(identity_.place);
    *answer =
        json::serialize(json::object{{"cluster", cluster},
                                     {"node", own_node},
                                     {"place", place},
                                     {"link_address", link_address_},
                                     {"proof", Proof(context, "first", {cluster, own_node, place, link_address_})}});
    return absl::OkStatus();
  }

  // In the order that makes a repetition after a crash work: for whom, the pin, then the answer.
  absl::Status SetPeer(OpenPairing open, const PeerIdentity& peer) {
    if (open.second_key.empty()) {
      open.second_key = peer.key_fingerprint;
      if (absl::Status status = WritePairing(disk_, data_directory_, open); !status.ok()) return status;
    }
    if (identity_.peer == peer) return absl::OkStatus();
    Identity changed = identity_;
    changed.peer = peer;
    if (absl::Status status = WriteIdentity(disk_, data_directory_, changed); !status.ok()) return status;
    Log(LogLevel::kInfo, "paired",
        {{"node", journal::HexU64(peer.node)}, {"address", peer.link_address}, {"key", peer.key_fingerprint}});
    paired_(changed);
    return absl::OkStatus();
  }

  absl::Status WrongGuess(OpenPairing open) {
    ++open.guesses;
    if (absl::Status status = WritePairing(disk_, data_directory_, open); !status.ok()) return status;
    const int64_t left = kPairingGuessesMax - open.guesses;
    return absl::PermissionDeniedError(left > 0 ? absl::StrCat("the token is wrong; ", left, " more tries")
                                                : "the token is wrong, and void from now on");
  }

  PeerConnection& connection_;
  journal::Disk& disk_;
  const std::string data_directory_;
  const Identity& identity_;
  const std::string link_address_;
  const std::function<void(const Identity&)> paired_;
  const journal::Clock& clock_;
  std::string line_;
  bool done_ = false;
};

// ---- the second node's end ----

struct SecondResult {
  bool done = false;
  absl::Status status = absl::UnavailableError("the first node closed the connection without an answer");
  Identity identity;
};

class SecondSide final : public ProtocolSession {
 public:
  SecondSide(PeerConnection& connection, const PairingToken& token, std::string link_address, Identity identity,
             SecondResult& result)
      : connection_(connection),
        token_(token),
        link_address_(std::move(link_address)),
        identity_(std::move(identity)),
        result_(result) {}

  void OnConnected() override {
    connection_.SetIdleTimeout(kStepMs);
    context_ = {HashOfSecret(token_.secret), connection_.ExportKey(kPairingExporter, 32),
                connection_.peer_key_fingerprint(), identity_.key_fingerprint};
    const std::string node = journal::HexU64(identity_.node);
    connection_.Send(json::serialize(json::object{{"node", node},
                                                  {"link_address", link_address_},
                                                  {"proof", Proof(context_, "second", {node, link_address_})}}) +
                     "\n");
  }
  void OnBytes(std::string_view bytes) override {
    if (result_.done) return;
    line_ += bytes;
    const size_t end = line_.find('\n');
    if (end == std::string::npos && line_.size() <= kLineBytesMax) return;
    Finish(Handle(line_.substr(0, end)));
  }
  void OnTls() override {}
  void OnTimeout() override { Finish(absl::UnavailableError("the first node did not answer in time")); }
  void OnClosed() override {
    if (!result_.done) Finish(result_.status);
  }
  void OnShutdown() override {}

 private:
  void Finish(absl::Status status) {
    result_.done = true;
    result_.status = std::move(status);
    result_.identity = identity_;
    connection_.CloseAfterSending();
  }

  absl::Status Handle(const std::string& line) {
    const auto answer = ParseObject(line);
    if (!answer.ok()) return absl::UnavailableError("the first node's answer makes no sense");
    if (const std::string error = TextAt(*answer, "error"); !error.empty()) return absl::PermissionDeniedError(error);
    const std::string cluster_text = TextAt(*answer, "cluster"), node_text = TextAt(*answer, "node");
    const std::string place = TextAt(*answer, "place"), link_address = TextAt(*answer, "link_address");
    const auto cluster = journal::ClusterId::FromHex(cluster_text);
    const auto node = journal::U64FromHex(node_text);
    const bool proven =
        SameText(TextAt(*answer, "proof"), Proof(context_, "first", {cluster_text, node_text, place, link_address}));
    if (!proven || !cluster || !node || (place != "0" && place != "1")) {
      return absl::UnavailableError("the first node's answer does not prove that it knows the token");
    }
    identity_.cluster = *cluster;
    identity_.place = place == "0" ? 1 : 0;
    identity_.peer = PeerIdentity{*node, link_address, context_.first_fingerprint};
    return absl::OkStatus();
  }

  PeerConnection& connection_;
  const PairingToken& token_;
  const std::string link_address_;
  Identity identity_;
  SecondResult& result_;
  ProofContext context_;
  std::string line_;
};

// What an interrupted pairing may have left, and what any fresh file system holds.
absl::Status CheckDirectoryIsFree(journal::Disk& disk, const std::string& data_directory) {
  const auto names = disk.List(data_directory);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  const bool joining = disk.Stat(JoiningPath(data_directory)).ok();
  for (const std::string& name : *names) {
    if (name == "lost+found" || (name == "node" && joining)) continue;
    if (name == "node") {
      const auto inside = disk.List(data_directory + "/node");
      if (inside.ok() && (inside->empty() || *inside == std::vector<std::string>{"joining.json.new"})) continue;
    }
    return absl::FailedPreconditionError(absl::StrCat(data_directory, " is not empty (", name,
                                                      "): the second node begins with an empty data directory"));
  }
  return absl::OkStatus();
}

// The half-made node of an earlier try, or a new one, durable as such.
absl::StatusOr<Identity> BeginJoining(journal::Disk& disk, const std::string& data_directory) {
  const auto kept = disk.ReadWhole(JoiningPath(data_directory));
  if (kept.ok()) {
    const auto object = ParseObject(*kept);
    Identity identity;
    const auto node = object.ok() ? journal::U64FromHex(TextAt(*object, "node")) : std::nullopt;
    if (node) {
      identity.node = *node;
      identity.key_pem = TextAt(*object, "key_pem");
      identity.certificate_pem = TextAt(*object, "certificate_pem");
      identity.key_fingerprint = KeyFingerprint(identity.key_pem);
      if (!identity.key_fingerprint.empty()) return identity;
    }
    return absl::DataLossError(JoiningPath(data_directory) + " is damaged: empty the directory and begin anew");
  }
  if (!absl::IsNotFound(kept.status())) return kept.status();
  auto identity = NewIdentity(journal::SystemRandom());
  if (!identity.ok()) return identity;
  absl::Status status = disk.MakeDirectories(data_directory + "/node");
  if (status.ok()) {
    status = disk.ReplaceDurably(JoiningPath(data_directory),
                                 json::serialize(json::object{{"node", journal::HexU64(identity->node)},
                                                              {"key_pem", identity->key_pem},
                                                              {"certificate_pem", identity->certificate_pem}}));
  }
  if (!status.ok()) return status;
  return identity;
}

}  // namespace

std::unique_ptr<ProtocolSession> MakePairingSession(PeerConnection& connection, journal::Disk& disk,
                                                    std::string data_directory, const Identity& identity,
                                                    std::string link_address,
                                                    std::function<void(const Identity&)> paired,
                                                    const journal::Clock& clock) {
  return std::make_unique<FirstSide>(connection, disk, std::move(data_directory), identity, std::move(link_address),
                                     std::move(paired), clock);
}

absl::StatusOr<Identity> PairWith(journal::Disk& disk, const std::string& data_directory, const std::string& address,
                                  const std::string& token_text, const std::string& own_link_address) {
  const auto token = DecodePairingToken(token_text);
  if (!token.ok()) return token.status();
  if (absl::Status status = CheckDirectoryIsFree(disk, data_directory); !status.ok()) return status;
  auto identity = BeginJoining(disk, data_directory);
  if (!identity.ok()) return identity;

  SecondResult result;
  bool wrong_key = false;
  auto tls = PeerTls::Make(identity->key_pem, identity->certificate_pem,
                           [&](std::string_view, const std::string& fingerprint) {
                             wrong_key = !fingerprint.starts_with(token->key_prefix);
                             return !wrong_key;
                           });
  if (!tls.ok()) return tls.status();
  NetLoop loop;
  {
    Net net(loop);
    net.SetPeerTls(*std::move(tls));
    net.DialPeerForPairing(
        address, kStepMs,
        [&](PeerConnection& connection) {
          return std::make_unique<SecondSide>(connection, *token, own_link_address, *identity, result);
        },
        [&](absl::Status status) {
          result.done = true;
          result.status = wrong_key ? absl::UnavailableError(absl::StrCat(
                                          address, " is not the node that made this token (its key is another)"))
                                    : std::move(status);
        });
    loop.RunUntil([&] { return result.done; }, 3 * kStepMs);
  }
  if (!result.status.ok()) return result.status;
  if (absl::Status status = WriteIdentity(disk, data_directory, result.identity); !status.ok()) return status;
  absl::Status status = disk.Remove(JoiningPath(data_directory));
  if (status.ok()) status = disk.SyncDirectory(data_directory + "/node");
  if (!status.ok()) return status;
  return result.identity;
}

}  // namespace gemel::engine
