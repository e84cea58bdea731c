// For tests: a client on the loop under test, in clear or with TLS; and an echoing session.
#pragma once
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "engine/net_loop.h"
#include "engine/net_server.h"

namespace gemel::engine {

class TestClient : private NetLoop::Watcher {
 public:
  // "127.0.0.1:port", "[::1]:port" (or another address) or "unix:/path".
  TestClient(NetLoop& loop, const std::string& address) : loop_(loop) {
    sockaddr_storage to{};
    socklen_t bytes = 0;
    if (address.starts_with("unix:")) {
      auto* local = reinterpret_cast<sockaddr_un*>(&to);
      local->sun_family = AF_UNIX;
      std::strncpy(local->sun_path, address.c_str() + 5, sizeof local->sun_path - 1);
      bytes = sizeof(sockaddr_un);
    } else {
      const auto port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
      if (address[0] == '[') {
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&to);
        v6->sin6_family = AF_INET6;
        inet_pton(AF_INET6, address.substr(1, address.rfind(']') - 1).c_str(), &v6->sin6_addr);
        v6->sin6_port = port;
        bytes = sizeof(sockaddr_in6);
      } else {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&to);
        v4->sin_family = AF_INET;
        inet_pton(AF_INET, address.substr(0, address.rfind(':')).c_str(), &v4->sin_addr);
        v4->sin_port = port;
        bytes = sizeof(sockaddr_in);
      }
    }
    fd_ = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected = connect(fd_, reinterpret_cast<sockaddr*>(&to), bytes) == 0;
    fcntl(fd_, F_SETFL, O_NONBLOCK);
    if (connected) loop_.Watch(fd_, EPOLLIN, this);
  }
  ~TestClient() override {
    if (connected) loop_.Unwatch(fd_, this);
    ssl_.reset();
    if (fd_ >= 0) close(fd_);
  }

  void Write(std::string_view bytes) {
    if (ssl_ != nullptr) {
      SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    } else {
      [[maybe_unused]] const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
  }
  void StartTls(int version_max = TLS1_3_VERSION) {
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_max_proto_version(context_.get(), version_max);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_);
    SSL_set_connect_state(ssl_.get());
    OnReady(0);
  }
  void EndInput() { shutdown(fd_, SHUT_WR); }
  void StopReading() { loop_.Rewatch(fd_, 0, this); }
  void StartReading() { loop_.Rewatch(fd_, EPOLLIN, this); }
  void Reset() {  // RST instead of FIN
    const linger now{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    loop_.Unwatch(fd_, this);
    close(std::exchange(fd_, -1));
    connected = false;
  }
  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_.get(); }

  bool connected = false;
  bool closed = false;  // the server closed
  bool tls_done = false;
  bool tls_failed = false;
  std::string received;

 private:
  void OnReady(uint32_t) override {
    char buffer[65536];
    if (ssl_ != nullptr && !tls_done) {
      const int result = SSL_do_handshake(ssl_.get());
      if (result == 1) {
        tls_done = true;
      } else if (SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_READ) {
        tls_failed = true;
        loop_.Rewatch(fd_, 0, this);
        return;
      } else {
        return;
      }
    }
    if (ssl_ != nullptr) {
      for (;;) {
        const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
        if (got > 0) {
          received.append(buffer, static_cast<size_t>(got));
          continue;
        }
        if (SSL_get_error(ssl_.get(), got) == SSL_ERROR_WANT_READ) return;
        break;
      }
    } else {
      const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
      if (got > 0) received.append(buffer, static_cast<size_t>(got));
      if (got > 0 || (got < 0 && errno == EAGAIN)) return;
    }
    closed = true;
    loop_.Rewatch(fd_, 0, this);
  }

  NetLoop& loop_;
  int fd_ = -1;
  SslContextPtr context_;
  SslPtr ssl_;
};

}  // namespace gemel::engine
