// Who this node is, and who its peer is: <data>/node/identity.json, key.pem, cert.pem. Written by `gemel init` and at
// pairing, read at start.
#pragma once
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/clock.h"
#include "journal/disk.h"
#include "journal/ids.h"

namespace gemel::engine {

struct PeerIdentity {
  journal::NodeId node = 0;
  std::string link_address;     // host:port
  std::string key_fingerprint;  // SHA-256 of the public key (SubjectPublicKeyInfo), hex: the pin
  bool operator==(const PeerIdentity&) const = default;
};

struct Identity {
  journal::ClusterId cluster;
  journal::NodeId node = 0;
  uint8_t place = 0;
  std::string key_pem;          // ECDSA P-256
  std::string certificate_pem;  // self-signed; only its key counts, so nothing expires
  std::string key_fingerprint;
  std::optional<PeerIdentity> peer;
};

// A new cluster id, node id and key, at place 0.
absl::StatusOr<Identity> NewIdentity(journal::Random& random);
absl::StatusOr<Identity> ReadIdentity(journal::Disk& disk, const std::string& data_directory);  // NotFound: no init yet
absl::Status WriteIdentity(journal::Disk& disk, const std::string& data_directory, const Identity& identity);

}  // namespace gemel::engine
