#include "engine/identity.h"

#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/net_tls.h"

namespace gemel::engine {
namespace {

namespace json = boost::json;

std::string IdentityPath(const std::string& data_directory) { return data_directory + "/node/identity.json"; }
std::string KeyPath(const std::string& data_directory) { return data_directory + "/node/key.pem"; }
std::string CertificatePath(const std::string& data_directory) { return data_directory + "/node/cert.pem"; }

absl::Status Damaged(const std::string& path, const std::string& why) {
  return absl::DataLossError(absl::StrCat(path, " is damaged: ", why));
}

std::string TextAt(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}

absl::StatusOr<PeerIdentity> ParsePeer(const json::value& value, const std::string& path) {
  if (!value.is_object()) return Damaged(path, "peer");
  PeerIdentity peer;
  const auto node = journal::U64FromHex(TextAt(value.as_object(), "node"));
  peer.link_address = TextAt(value.as_object(), "link_address");
  peer.key_fingerprint = TextAt(value.as_object(), "key_fingerprint");
  if (!node || peer.key_fingerprint.size() != 64) return Damaged(path, "peer");
  peer.node = *node;
  return peer;
}

}  // namespace

absl::StatusOr<Identity> NewIdentity(journal::Random& random) {
  Identity identity;
  random.Fill(identity.cluster.bytes.data(), identity.cluster.bytes.size());
  do {
    identity.node = random.U64();
  } while (identity.node == 0);
  auto made = NewKeyAndCertificate("gemel node " + journal::HexU64(identity.node), /*for_clients=*/false);
  if (!made.ok()) return made.status();
  identity.key_pem = std::move(made->key_pem);
  identity.certificate_pem = std::move(made->certificate_pem);
  identity.key_fingerprint = std::move(made->key_fingerprint);
  return identity;
}

absl::StatusOr<Identity> ReadIdentity(journal::Disk& disk, const std::string& data_directory) {
  const std::string path = IdentityPath(data_directory);
  const auto text = disk.ReadWhole(path);
  if (!text.ok()) return text.status();
  boost::system::error_code error;
  const json::value parsed = json::parse(*text, error);
  if (error || !parsed.is_object()) return Damaged(path, "not a JSON object");
  const json::object& object = parsed.as_object();

  Identity identity;
  const auto cluster = journal::ClusterId::FromHex(TextAt(object, "cluster"));
  const auto node = journal::U64FromHex(TextAt(object, "node"));
  const json::value* place = object.if_contains("place");
  if (!cluster || !node || place == nullptr || !place->is_int64()) return Damaged(path, "cluster, node or place");
  if (place->as_int64() != 0 && place->as_int64() != 1) return Damaged(path, "place");
  identity.cluster = *cluster;
  identity.node = *node;
  identity.place = static_cast<uint8_t>(place->as_int64());
  if (const json::value* peer = object.if_contains("peer")) {
    auto parsed_peer = ParsePeer(*peer, path);
    if (!parsed_peer.ok()) return parsed_peer.status();
    identity.peer = *std::move(parsed_peer);
  }

  auto key = disk.ReadWhole(KeyPath(data_directory));
  if (!key.ok()) return key.status();
  auto certificate = disk.ReadWhole(CertificatePath(data_directory));
  if (!certificate.ok()) return certificate.status();
  identity.key_pem = *std::move(key);
  identity.certificate_pem = *std::move(certificate);
  identity.key_fingerprint = KeyFingerprint(identity.key_pem);
  if (identity.key_fingerprint.empty()) return Damaged(KeyPath(data_directory), "not a private key");
  if (KeyFingerprint(identity.certificate_pem) != identity.key_fingerprint) {
    return Damaged(CertificatePath(data_directory), "not the certificate of key.pem");
  }
  return identity;
}

absl::Status WriteIdentity(journal::Disk& disk, const std::string& data_directory, const Identity& identity) {
  if (absl::Status status = disk.MakeDirectories(data_directory + "/node"); !status.ok()) return status;
  const auto write = [&disk](const std::string& path, const std::string& text) {
    const auto old = disk.ReadWhole(path);
    return old.ok() && *old == text ? absl::OkStatus() : disk.ReplaceDurably(path, text);
  };
  json::object object{{"cluster", identity.cluster.hex()},
                      {"node", journal::HexU64(identity.node)},
                      {"place", static_cast<int64_t>(identity.place)}};
  if (identity.peer) {
    object["peer"] = json::object{{"node", journal::HexU64(identity.peer->node)},
                                  {"link_address", identity.peer->link_address},
                                  {"key_fingerprint", identity.peer->key_fingerprint}};
  }
  // identity.json last: where it is, the node is whole.
  absl::Status status = write(KeyPath(data_directory), identity.key_pem);
  if (status.ok()) status = write(CertificatePath(data_directory), identity.certificate_pem);
  if (status.ok()) status = write(IdentityPath(data_directory), json::serialize(object) + "\n");
  return status;
}

}  // namespace gemel::engine
