// TLS contexts: for mail clients (certificate files, TLS 1.2 and 1.3) and between the nodes (TLS 1.3, both keys
// pinned). No socket here: engine/net_connection.h carries the bytes.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/identity.h"
#include "journal/disk.h"

using SSL = struct ssl_st;
using SSL_CTX = struct ssl_ctx_st;

namespace gemel::engine {

struct SslDelete {
  void operator()(SSL* ssl) const;
  void operator()(SSL_CTX* context) const;
};
using SslPtr = std::unique_ptr<SSL, SslDelete>;
using SslContextPtr = std::unique_ptr<SSL_CTX, SslDelete>;

// What OpenSSL has queued as errors on this thread, for messages; empties the queue.
std::string TlsErrorText();

// The certificate shown to mail clients. Loop thread only.
class ClientTls {
 public:
  // PEM files; the certificate's may hold a chain, leaf first. InvalidArgument, naming the file: unreadable, or key
  // and certificate do not match.
  static absl::StatusOr<std::unique_ptr<ClientTls>> Load(std::string certificate_file, std::string key_file);
  // Without configured files: a self-signed certificate for `host_name` in <data>/node/tls-cert.pem and tls-key.pem,
  // made where there is none. Clients will warn; so does the log.
  static absl::StatusOr<std::unique_ptr<ClientTls>> LoadSelfSigned(journal::Disk& disk,
                                                                   const std::string& data_directory,
                                                                   const std::string& host_name);
  // Reads the files again (SIGHUP). On an error the old certificate stays in use. Open connections keep theirs.
  absl::Status Reload();
  SslPtr NewServerSession() const;

 private:
  ClientTls(std::string certificate_file, std::string key_file)
      : certificate_file_(std::move(certificate_file)), key_file_(std::move(key_file)) {}
  std::string certificate_file_, key_file_;
  SslContextPtr context_;
};

// Between the nodes: both ends show a certificate, of which only the key counts, and each checks the other's.
// Loop thread only.
class PeerTls {
 public:
  // Says whether this key (SHA-256 of its SubjectPublicKeyInfo, hex) may speak this application protocol. Asked in
  // the handshake, at both ends.
  using CheckKey = std::function<bool(std::string_view alpn, const std::string& key_fingerprint)>;
  static absl::StatusOr<std::unique_ptr<PeerTls>> Make(const std::string& key_pem, const std::string& certificate_pem,
                                                       CheckKey check);
  ~PeerTls();
  // A server takes the first of `alpns` that the client offers and refuses the rest; a client offers its one.
  SslPtr NewServerSession(std::vector<std::string> alpns) const;
  SslPtr NewClientSession(const std::string& alpn) const;

  struct Impl;

 private:
  PeerTls() = default;
  std::unique_ptr<Impl> impl_;
};

std::string AlpnOf(const SSL* ssl);                                     // "" where none was agreed on
std::string PeerKeyFingerprint(const SSL* ssl);                         // of the certificate shown; "" without
std::string KeyFingerprint(const std::string& key_or_certificate_pem);  // "" where it is neither
// RFC 5705: bytes that only the two ends of this connection can compute.
std::string ExportKeyingMaterial(SSL* ssl, std::string_view label, size_t bytes);

// A new ECDSA P-256 key and a self-signed certificate for it, valid for 100 years.
struct KeyAndCertificate {
  std::string key_pem, certificate_pem, key_fingerprint;
};
absl::StatusOr<KeyAndCertificate> NewKeyAndCertificate(const std::string& common_name, bool for_clients);

}  // namespace gemel::engine
