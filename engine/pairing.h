// Pairing two nodes with one command on the second: `gemel pair ADDRESS TOKEN` (decision 14).
//
// The token, printed by the first node, is 10 secret bytes and the first 15 of the SHA-256 fingerprint of its key, in
// base32. It holds for an hour, for one second node, and for five wrong guesses; the first node keeps it, hashed, in
// <data>/node/pairing.json, so that a restart changes nothing. It is void once it was used and the second node has
// shown, by a link of its own, that it has finished.
//
// On a connection of its own (ALPN gemel-pair/1), TLS 1.3, each end with its node's key; the second node checks the
// first's key against the token, the first takes any. One line of JSON each way:
//   second -> first  {"node", "link_address", "proof"}
//   first -> second  {"cluster", "node", "place", "link_address", "proof"} or {"error"}
// A proof is HMAC-SHA256 over: which side speaks, 32 bytes of TLS exporter (RFC 5705, "EXPORTER-gemel-pair"), both
// keys' fingerprints, and the line's other fields; its key is the hash of the token's secret. So neither line can be
// made or replayed without the secret, and none fits another connection.
//
// A crash at any step is answered by the same command again: the first node durably notes for whose key the token was
// used before it sets its peer, and answers that key the same again; the second keeps its key (joining.json marks a
// data directory as half paired) and writes identity.json last. Nothing but <data>/node is touched.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/identity.h"
#include "engine/net_connection.h"
#include "journal/clock.h"
#include "journal/disk.h"

namespace gemel::engine {

inline constexpr uint64_t kPairingTokenMs = 3600 * 1000;
inline constexpr int kPairingGuessesMax = 5;
inline constexpr char kPairingExporter[] = "EXPORTER-gemel-pair";

// ---- on the first node ----

// Opens the node for one pairing; an earlier token is void from now on. FailedPrecondition: it is paired, and its peer
// has finished pairing, too; until then a new token is for that peer alone.
absl::StatusOr<std::string> NewPairingToken(journal::Disk& disk, const std::string& data_directory,
                                            const Identity& identity, const journal::Clock& clock,
                                            journal::Random& random);

// Answers one second node. `identity` is the node's present one, with the peer that `paired` made known; `paired` is
// called with the peer set once that is durable. All must outlive the session. Loop thread; writes a few small files
// there, as pairing happens once.
std::unique_ptr<ProtocolSession> MakePairingSession(PeerConnection& connection, journal::Disk& disk,
                                                    std::string data_directory, const Identity& identity,
                                                    std::string link_address,
                                                    std::function<void(const Identity&)> paired,
                                                    const journal::Clock& clock = journal::SystemClock());

// The node whose key this is has opened a link: it knows that it is paired, and will not ask again. A token that it
// used is void from now on; another token stays.
absl::Status EndPairing(journal::Disk& disk, const std::string& data_directory, const std::string& second_key);

// ---- on the second node ----

// Makes the node in `data_directory`, pairs it, and returns it as it was written. Blocks for up to half a minute.
// InvalidArgument: no token. FailedPrecondition: the directory is in use. PermissionDenied: the token is wrong, too
// old or used. Unavailable: the first node cannot be reached, or is not the one that made the token.
absl::StatusOr<Identity> PairWith(journal::Disk& disk, const std::string& data_directory, const std::string& address,
                                  const std::string& token, const std::string& own_link_address);

// ---- for tests ----

struct PairingToken {
  std::string secret;      // 10 bytes
  std::string key_prefix;  // 30 hex digits of the first node's fingerprint
};
std::string EncodePairingToken(const PairingToken& token);
absl::StatusOr<PairingToken> DecodePairingToken(std::string_view text);  // case and dashes do not matter

}  // namespace gemel::engine
