#include "engine/net_tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>

#include "journal/log.h"

namespace gemel::engine {
namespace {

struct Delete {
  void operator()(BIO* p) const { BIO_free_all(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
};
using BioPtr = std::unique_ptr<BIO, Delete>;
using X509Ptr = std::unique_ptr<X509, Delete>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Delete>;

BioPtr MemoryBio(const std::string& text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(bytes));
}

std::string FingerprintOfKey(X509_PUBKEY* key) {
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_PUBKEY(key, &der);
  if (bytes <= 0) return "";
  unsigned char digest[32];
  unsigned int digest_bytes = sizeof digest;
  EVP_Digest(der, static_cast<size_t>(bytes), digest, &digest_bytes, EVP_sha256(), nullptr);
  OPENSSL_free(der);
  std::string hex;
  for (const unsigned char c : digest) {
    hex += "0123456789abcdef"[c >> 4];
    hex += "0123456789abcdef"[c & 15];
  }
  return hex;
}

std::string FingerprintOfCertificate(const X509* certificate) {
  return certificate == nullptr ? "" : FingerprintOfKey(X509_get_X509_PUBKEY(certificate));
}

SslContextPtr NewContext(const SSL_METHOD* method, int version_min) {
  SslContextPtr context(SSL_CTX_new(method));
  SSL_CTX_set_min_proto_version(context.get(), version_min);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  return context;
}

absl::StatusOr<SslContextPtr> LoadClientContext(const std::string& certificate_file, const std::string& key_file) {
  SslContextPtr context = NewContext(TLS_server_method(), TLS1_2_VERSION);
  // TLS 1.2 with forward secrecy and authenticated ciphers only; TLS 1.3 has no others.
  SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL");
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);  // tickets resume without memory of ours
  static constexpr unsigned char kSessionContext[] = "gemel";
  SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof kSessionContext - 1);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1) {
    return absl::InvalidArgumentError("certificate " + certificate_file + ": " + TlsErrorText());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    const std::string why = TlsErrorText();  // whether they belong together is looked at here already
    return absl::InvalidArgumentError(why.find("mismatch") == std::string::npos
                                          ? "private key " + key_file + ": " + why
                                          : "private key " + key_file + " does not belong to certificate " +
                                                certificate_file);
  }
  return context;
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  std::unique_ptr<X509_EXTENSION, Delete> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension) X509_add_ext(certificate, extension.get(), -1);
}

}  // namespace

void SslDelete::operator()(SSL* ssl) const { SSL_free(ssl); }
void SslDelete::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

std::string TlsErrorText() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    const char* reason = ERR_reason_error_string(code);
    if (reason == nullptr && ERR_SYSTEM_ERROR(code)) reason = strerror(ERR_GET_REASON(code));
    if (reason == nullptr) continue;
    if (text.find(reason) != std::string::npos) continue;
    if (!text.empty()) text += "; ";
    text += reason;
  }
  return text.empty() ? "unknown TLS error" : text;
}

absl::StatusOr<std::unique_ptr<ClientTls>> ClientTls::Load(std::string certificate_file, std::string key_file) {
  std::unique_ptr<ClientTls> tls(new ClientTls(std::move(certificate_file), std::move(key_file)));
  if (absl::Status status = tls->Reload(); !status.ok()) return status;
  return tls;
}

absl::StatusOr<std::unique_ptr<ClientTls>> ClientTls::LoadSelfSigned(journal::Disk& disk,
                                                                     const std::string& data_directory,
                                                                     const std::string& host_name) {
  const std::string directory = data_directory + "/node";
  const std::string certificate_file = directory + "/tls-cert.pem", key_file = directory + "/tls-key.pem";
  if (absl::IsNotFound(disk.Stat(certificate_file).status())) {
    auto made = NewKeyAndCertificate(host_name, /*for_clients=*/true);
    if (!made.ok()) return made.status();
    absl::Status status = disk.MakeDirectories(directory);
    // The certificate last: where it is, its key is.
    if (status.ok()) status = disk.ReplaceDurably(key_file, made->key_pem);
    if (status.ok()) status = disk.ReplaceDurably(certificate_file, made->certificate_pem);
    if (!status.ok()) return status;
  }
  journal::Log(journal::LogLevel::kWarning, "tls_self_signed",
               {{"certificate", certificate_file}, {"advice", "configure [tls] certificate and key"}});
  return Load(certificate_file, key_file);
}

absl::Status ClientTls::Reload() {
  auto context = LoadClientContext(certificate_file_, key_file_);
  if (!context.ok()) return context.status();
  context_ = *std::move(context);
  return absl::OkStatus();
}

SslPtr ClientTls::NewServerSession() const {
  SslPtr ssl(SSL_new(context_.get()));
  SSL_set_accept_state(ssl.get());
  return ssl;
}

// ---- between the nodes ----

struct PeerTls::Impl {
  SslContextPtr server, client;
  CheckKey check;
};

namespace {

// What the callbacks of one session need; owned by the SSL (freed with it).
struct PeerSession {
  const PeerTls::Impl* tls = nullptr;
  std::vector<std::string> alpns;  // taken by a server; the one offered by a client
  std::string agreed;
};

int PeerSessionIndex() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr, nullptr, nullptr,
      [](void*, void* data, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<PeerSession*>(data); });
  return index;
}

PeerSession* PeerSessionOf(const SSL* ssl) {
  return static_cast<PeerSession*>(SSL_get_ex_data(ssl, PeerSessionIndex()));
}

int SelectAlpn(SSL* ssl, const unsigned char** out, unsigned char* out_bytes, const unsigned char* in,
               unsigned int in_bytes, void*) {
  PeerSession* session = PeerSessionOf(ssl);
  for (unsigned int at = 0; at < in_bytes && at + 1 + in[at] <= in_bytes; at += 1 + in[at]) {
    const std::string_view offered(reinterpret_cast<const char*>(in + at + 1), in[at]);
    if (std::find(session->alpns.begin(), session->alpns.end(), offered) == session->alpns.end()) continue;
    session->agreed = std::string(offered);
    *out = in + at + 1;
    *out_bytes = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// Instead of the usual verification of chains, names and dates: nothing but the key counts.
int VerifyKey(X509_STORE_CTX* store, void*) {
  const SSL* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const PeerSession* session = PeerSessionOf(ssl);
  const std::string alpn = SSL_is_server(ssl) ? session->agreed : session->alpns.front();
  const std::string fingerprint = FingerprintOfCertificate(X509_STORE_CTX_get0_cert(store));
  // A client that offers no application protocol gets no further than here.
  if (!alpn.empty() && !fingerprint.empty() && session->tls->check(alpn, fingerprint)) return 1;
  journal::Log(journal::LogLevel::kWarning, "peer_key_refused",
               {{"protocol", alpn}, {"key", fingerprint}, {"advice", "not the key pinned at pairing"}});
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  return 0;
}

absl::StatusOr<SslContextPtr> PeerContext(const SSL_METHOD* method, const std::string& key_pem,
                                          const std::string& certificate_pem) {
  SslContextPtr context = NewContext(method, TLS1_3_VERSION);
  const X509Ptr certificate(PEM_read_bio_X509(MemoryBio(certificate_pem).get(), nullptr, nullptr, nullptr));
  const KeyPtr key(PEM_read_bio_PrivateKey(MemoryBio(key_pem).get(), nullptr, nullptr, nullptr));
  if (!certificate || !key || SSL_CTX_use_certificate(context.get(), certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 || SSL_CTX_check_private_key(context.get()) != 1) {
    return absl::InvalidArgumentError("the node's key or certificate: " + TlsErrorText());
  }
  // A resumed session would skip the check of the key.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context.get(), VerifyKey, nullptr);
  SSL_CTX_set_alpn_select_cb(context.get(), SelectAlpn, nullptr);
  return context;
}

SslPtr NewPeerSession(SSL_CTX* context, const PeerTls::Impl* tls, std::vector<std::string> alpns) {
  SslPtr ssl(SSL_new(context));
  auto session = std::make_unique<PeerSession>();
  session->tls = tls;
  session->alpns = std::move(alpns);
  SSL_set_ex_data(ssl.get(), PeerSessionIndex(), session.release());
  return ssl;
}

}  // namespace

PeerTls::~PeerTls() = default;

absl::StatusOr<std::unique_ptr<PeerTls>> PeerTls::Make(const std::string& key_pem, const std::string& certificate_pem,
                                                       CheckKey check) {
  std::unique_ptr<PeerTls> tls(new PeerTls);
  tls->impl_ = std::make_unique<Impl>();
  tls->impl_->check = std::move(check);
  auto server = PeerContext(TLS_server_method(), key_pem, certificate_pem);
  if (!server.ok()) return server.status();
  auto client = PeerContext(TLS_client_method(), key_pem, certificate_pem);
  if (!client.ok()) return client.status();
  tls->impl_->server = *std::move(server);
  tls->impl_->client = *std::move(client);
  return tls;
}

SslPtr PeerTls::NewServerSession(std::vector<std::string> alpns) const {
  SslPtr ssl = NewPeerSession(impl_->server.get(), impl_.get(), std::move(alpns));
  SSL_set_accept_state(ssl.get());
  return ssl;
}

SslPtr PeerTls::NewClientSession(const std::string& alpn) const {
  SslPtr ssl = NewPeerSession(impl_->client.get(), impl_.get(), {alpn});
  std::string wire(1, static_cast<char>(alpn.size()));
  wire += alpn;
  SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                      static_cast<unsigned int>(wire.size()));
  SSL_set_connect_state(ssl.get());
  return ssl;
}

std::string AlpnOf(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned int bytes = 0;
  SSL_get0_alpn_selected(ssl, &name, &bytes);
  return std::string(reinterpret_cast<const char*>(name), bytes);
}

std::string PeerKeyFingerprint(const SSL* ssl) { return FingerprintOfCertificate(SSL_get0_peer_certificate(ssl)); }

std::string KeyFingerprint(const std::string& key_or_certificate_pem) {
  const X509Ptr certificate(PEM_read_bio_X509(MemoryBio(key_or_certificate_pem).get(), nullptr, nullptr, nullptr));
  if (certificate) return FingerprintOfCertificate(certificate.get());
  const KeyPtr key(PEM_read_bio_PrivateKey(MemoryBio(key_or_certificate_pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  X509_PUBKEY* public_key = nullptr;
  if (!key || X509_PUBKEY_set(&public_key, key.get()) != 1) return "";
  std::string fingerprint = FingerprintOfKey(public_key);
  X509_PUBKEY_free(public_key);
  return fingerprint;
}

std::string ExportKeyingMaterial(SSL* ssl, std::string_view label, size_t bytes) {
  std::string out(bytes, '\0');
  if (SSL_export_keying_material(ssl, reinterpret_cast<unsigned char*>(out.data()), out.size(), label.data(),
                                 label.size(), nullptr, 0, 0) != 1) {
    return "";
  }
  return out;
}

absl::StatusOr<KeyAndCertificate> NewKeyAndCertificate(const std::string& common_name, bool for_clients) {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const X509Ptr certificate(X509_new());
  if (!key || !certificate) return absl::InternalError("making a key: " + TlsErrorText());
  X509_set_version(certificate.get(), X509_VERSION_3);
  unsigned char serial[8];
  RAND_bytes(serial, sizeof serial);
  uint64_t number = 1;
  for (const unsigned char c : serial) number = number << 8 | c;
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), number >> 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -24 * 3600);  // the other host's clock may be behind
  X509_time_adj_ex(X509_getm_notAfter(certificate.get()), for_clients ? 10 * 365 : 100 * 365, 0, nullptr);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(common_name.substr(0, 64).c_str()), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.get());
  AddExtension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  if (for_clients) {
    const bool plain = std::all_of(common_name.begin(), common_name.end(), [](char c) {
      return c == '.' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    });
    // "localhost" as well, so that the demo's clients can check it.
    AddExtension(
        certificate.get(), NID_subject_alt_name,
        (plain && !common_name.empty() ? "DNS:" + common_name + "," : "") + "DNS:localhost,IP:127.0.0.1,IP:::1");
  }
  if (X509_sign(certificate.get(), key.get(), EVP_sha256()) == 0) {
    return absl::InternalError("signing a certificate: " + TlsErrorText());
  }
  KeyAndCertificate made;
  const BioPtr key_out(BIO_new(BIO_s_mem())), certificate_out(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509(certificate_out.get(), certificate.get());
  made.key_pem = TakeText(key_out.get());
  made.certificate_pem = TakeText(certificate_out.get());
  made.key_fingerprint = FingerprintOfCertificate(certificate.get());
  return made;
}

}  // namespace gemel::engine
