#include "engine/net_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/net_address.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

constexpr size_t kJoinBytes = 4 * 1024;    // smaller pieces are copied behind one another ...
constexpr size_t kPieceBytes = 16 * 1024;  // ... up to the size of a TLS record
constexpr size_t kVectorsMax = 64;

}  // namespace

SocketConnection::SocketConnection(NetLoop& loop, ConnectionHost& host, int fd, Options options)
    : loop_(loop), host_(host), fd_(fd), options_(std::move(options)), last_arrival_ms_(loop.NowMillis()) {
  if (!loop_.Watch(fd_, interest_, this)) Die();
}

SocketConnection::~SocketConnection() {
  alive_.reset();
  session_.reset();
  retired_.clear();
  loop_.Cancel(timer_);
  if (after_step_wanted_) loop_.ForgetAfterStep(this);
  loop_.Unwatch(fd_, this);
  close(fd_);
}

void SocketConnection::Start(const SessionFactory& make) {
  session_ = make(*this);
  if (session_ == nullptr) return Die();
  session_->OnConnected();
}

void SocketConnection::StartWithTls(SslPtr ssl, uint64_t timeout_ms, SessionFactory make,
                                    std::function<void(absl::Status)> failed) {
  make_ = std::move(make);
  failed_ = std::move(failed);
  ssl_ = std::move(ssl);
  if (ssl_ == nullptr) return Die();
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  handshaking_ = true;
  SetDeadline(timeout_ms);
  PumpTls();  // a client speaks first
  WantAfterStep();
}

void SocketConnection::SayAndClose(std::string bytes) {
  Send(std::move(bytes));
  CloseAfterSending();
}

void SocketConnection::Shutdown() {
  if (state_ == State::kOpen && session_ != nullptr) {
    session_->OnShutdown();
  } else if (state_ == State::kOpen) {
    Die();  // still in its handshake
  }
}

void SocketConnection::Abort() {
  if (state_ == State::kOpen && session_ != nullptr) session_->OnClosed();
  Die();
}

void SocketConnection::ReplaceSession(std::unique_ptr<ProtocolSession> session) {
  if (session_ != nullptr) retired_.push_back(std::move(session_));
  session_ = std::move(session);
  ++session_epoch_;
  drained_ = nullptr;
  idle_ms_ = 0;
  paused_ = false;
  WantAfterStep();
}

// ---- the loop's calls ----

void SocketConnection::OnReady(uint32_t epoll_events) {
  if (state_ == State::kDead) return;
  if (state_ == State::kLingering) return DiscardReceived();
  if (epoll_events & EPOLLOUT) WantAfterStep();  // flushes
  if (epoll_events & EPOLLIN) {
    if (reading()) return ReadSome();
    // Not wanted now; the bytes stay in the kernel until they are.
    SetInterest(interest_ & ~static_cast<uint32_t>(EPOLLIN));
  }
  if (epoll_events & (EPOLLERR | EPOLLHUP)) OnPeerGone(/*clean=*/false);
}

void SocketConnection::WantAfterStep() {
  if (after_step_wanted_) return;
  after_step_wanted_ = true;
  loop_.CallAfterStep(this);
}

void SocketConnection::AfterStep() {
  after_step_wanted_ = false;
  retired_.clear();
  if (state_ != State::kOpen) session_.reset();
  if (state_ == State::kDead) return host_.OnDone(this);  // destroys this
  if (reading()) {
    // Bytes that OpenSSL held back while reading was paused.
    if (ssl_ != nullptr &&
        (handshaking_ || BIO_ctrl_pending(SSL_get_rbio(ssl_.get())) > 0 || SSL_pending(ssl_.get()) > 0)) {
      PumpTls();
    }
    if (reading()) SetInterest(interest_ | EPOLLIN);
  }
  if (Flush() && state_ == State::kClosing) {
    shutdown(fd_, SHUT_WR);
    state_ = State::kLingering;
    SetDeadline(kLingerMs);
    SetInterest(EPOLLIN);
  }
  if (drained_ && state_ == State::kOpen && unsent_bytes() < kDrainedBytes) {
    // In a step of its own: others may have a turn between two slices of a long answer.
    loop_.Post([this, alive = alive(), epoch = session_epoch_, then = std::exchange(drained_, nullptr)] {
      if (!alive.expired() && state_ == State::kOpen && epoch == session_epoch_) then();
    });
  }
  if (state_ == State::kDead) WantAfterStep();
}

void SocketConnection::SetInterest(uint32_t epoll_events) {
  if (epoll_events == interest_ || state_ == State::kDead) return;
  interest_ = epoll_events;
  loop_.Rewatch(fd_, interest_, this);
}

// ---- receiving ----

void SocketConnection::ReadSome() {
  const ssize_t got = recv(fd_, loop_.read_buffer(), NetLoop::kReadBufferBytes, 0);
  if (got < 0) {
    if (errno != EAGAIN && errno != EINTR) OnPeerGone(/*clean=*/false);
    return;
  }
  if (got == 0) return OnInputEnd();
  if (handshaking_) last_arrival_ms_ = loop_.NowMillis();
  if (ssl_ == nullptr) {
    Deliver({loop_.read_buffer(), static_cast<size_t>(got)});
  } else {
    BIO_write(SSL_get_rbio(ssl_.get()), loop_.read_buffer(), static_cast<int>(got));
    PumpTls();
  }
  if (options_.quick_ack && reading() && unsent_bytes() == 0) SetSocketFlag(fd_, IPPROTO_TCP, TCP_QUICKACK, 1);
}

void SocketConnection::Deliver(std::string_view bytes) {
  last_arrival_ms_ = loop_.NowMillis();  // not before: a part of a TLS record is nothing yet
  if (session_ != nullptr) session_->OnBytes(bytes);
}

// Unread bytes at close would make the kernel reset the connection, and our last words with it.
void SocketConnection::DiscardReceived() {
  const ssize_t got = recv(fd_, loop_.read_buffer(), NetLoop::kReadBufferBytes, 0);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) Die();
}

void SocketConnection::PumpTls() {
  if (handshaking_ && !PumpHandshake()) return;
  while (reading()) {
    ERR_clear_error();
    const int got = SSL_read(ssl_.get(), loop_.read_buffer(), NetLoop::kReadBufferBytes);
    if (got > 0) {
      Deliver({loop_.read_buffer(), static_cast<size_t>(got)});
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), got);
    if (error == SSL_ERROR_ZERO_RETURN) return OnPeerGone(/*clean=*/true);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
      journal::Log(journal::LogLevel::kInfo, "tls_error",
                   {{"session", options_.session_id}, {"peer", options_.peer_address}, {"error", TlsErrorText()}});
      return OnPeerGone(/*clean=*/false);
    }
    // Whatever OpenSSL had to say by itself (tickets, key updates).
    if (BIO_ctrl_pending(SSL_get_wbio(ssl_.get())) > 0) WantAfterStep();
    return;
  }
}

bool SocketConnection::PumpHandshake() {
  if (queue_head_ < queue_.size()) return false;  // the clear answer to STARTTLS goes first
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (BIO_ctrl_pending(SSL_get_wbio(ssl_.get())) > 0) WantAfterStep();
  if (result == 1) {
    OnHandshakeDone();
    return true;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
  FailHandshake(absl::UnavailableError("TLS handshake: " + TlsErrorText()));
  return false;
}

void SocketConnection::OnHandshakeDone() {
  handshaking_ = false;
  SetDeadline(0);
  failed_ = nullptr;
  if (session_ != nullptr) return session_->OnTls();
  const SessionFactory make = std::exchange(make_, nullptr);
  session_ = make(*this);
  if (session_ == nullptr) return Die();
  session_->OnConnected();
}

void SocketConnection::FailHandshake(absl::Status status) {
  if (state_ != State::kOpen) return;
  handshaking_ = false;
  journal::Log(journal::LogLevel::kInfo, "tls_handshake_failed",
               {{"listener", options_.listener},
                {"peer", options_.peer_address},
                {"session", options_.session_id},
                {"error", std::string(status.message())}});
  if (session_ != nullptr) session_->OnClosed();
  if (auto failed = std::exchange(failed_, nullptr)) failed(std::move(status));
  // The alert that says why is still to be sent.
  close_notify_sent_ = true;
  state_ = State::kClosing;
  SetDeadline(kLingerMs);
  WantAfterStep();
}

// ---- sending ----

void SocketConnection::Send(std::string bytes) {
  if (state_ != State::kOpen || bytes.empty()) return;
  queued_bytes_ += bytes.size();
  if (queue_head_ < queue_.size() && bytes.size() <= kJoinBytes && queue_.back().size() + bytes.size() <= kPieceBytes) {
    queue_.back() += bytes;
  } else {
    queue_.push_back(std::move(bytes));
  }
  WantAfterStep();
}

bool SocketConnection::Flush() {
  const bool done = ssl_ != nullptr && !(handshaking_ && queue_head_ < queue_.size()) ? FlushTls() : FlushQueue();
  if (state_ == State::kDead) return false;
  SetInterest(done ? interest_ & ~static_cast<uint32_t>(EPOLLOUT) : interest_ | EPOLLOUT);
  return done;
}

bool SocketConnection::FlushQueue() {
  while (queue_head_ < queue_.size()) {
    iovec vectors[kVectorsMax];
    size_t count = 0, offset = head_sent_;
    for (size_t i = queue_head_; i < queue_.size() && count < kVectorsMax; ++i, offset = 0) {
      vectors[count++] = {queue_[i].data() + offset, queue_[i].size() - offset};
    }
    msghdr message{};
    message.msg_iov = vectors;
    message.msg_iovlen = count;
    const ssize_t sent = count == 1 ? send(fd_, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL)
                                    : sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) OnPeerGone(/*clean=*/false);
      return false;
    }
    DropSent(static_cast<size_t>(sent));
  }
  return true;
}

void SocketConnection::DropSent(size_t bytes) {
  queued_bytes_ -= bytes;
  while (bytes > 0) {
    const size_t left = queue_[queue_head_].size() - head_sent_;
    if (bytes < left) {
      head_sent_ += bytes;
      break;
    }
    bytes -= left;
    head_sent_ = 0;
    queue_[queue_head_++] = std::string();
  }
  if (queue_head_ == queue_.size()) {
    queue_.clear();
    queue_head_ = 0;
  } else if (queue_head_ >= 1024) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
}

// Fewer than all: the kernel takes no more for now, or the connection is dead.
size_t SocketConnection::SendSome(const char* data, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const ssize_t sent = send(fd_, data + done, bytes - done, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      if (errno != EAGAIN) OnPeerGone(/*clean=*/false);
      break;
    }
    done += static_cast<size_t>(sent);
  }
  return done;
}

bool SocketConnection::FlushTls() {
  wire_sent_ += SendSome(wire_.data() + wire_sent_, wire_.size() - wire_sent_);
  if (wire_sent_ < wire_.size()) return false;
  wire_.clear();
  wire_sent_ = 0;
  BIO* const out = SSL_get_wbio(ssl_.get());
  for (bool more = true; more;) {
    more = EncryptQueued();
    char* data = nullptr;
    const auto bytes = static_cast<size_t>(BIO_get_mem_data(out, &data));
    const size_t sent = SendSome(data, bytes);
    wire_.assign(data + sent, bytes - sent);
    (void)BIO_reset(out);
    if (!wire_.empty()) return false;
  }
  return true;
}

// Encrypts up to 64 KiB of the queue, and close_notify behind its end when closing. True: there may be more to do.
bool SocketConnection::EncryptQueued() {
  if (handshaking_) return false;
  size_t done = 0;
  while (queue_head_ < queue_.size() && done < kDrainedBytes) {
    const std::string& piece = queue_[queue_head_];
    ERR_clear_error();
    const int written = SSL_write(ssl_.get(), piece.data() + head_sent_, static_cast<int>(piece.size() - head_sent_));
    if (written <= 0) {
      OnPeerGone(/*clean=*/false);
      return false;
    }
    done += static_cast<size_t>(written);
    DropSent(static_cast<size_t>(written));
  }
  if (queue_head_ < queue_.size()) return true;
  if (state_ == State::kClosing && !close_notify_sent_) {
    close_notify_sent_ = true;
    SSL_shutdown(ssl_.get());
  }
  return false;
}

void SocketConnection::OnDrained(std::function<void()> then) {
  drained_ = std::move(then);
  WantAfterStep();
}

void SocketConnection::ResumeReading() {
  if (!paused_) return;
  paused_ = false;
  if (!(interest_ & EPOLLIN) || ssl_ != nullptr) WantAfterStep();
}

void SocketConnection::HoldReading(bool hold) {
  held_ = hold;
  if (!hold) WantAfterStep();
}

// ---- TLS on request ----

void SocketConnection::StartTls() {
  if (state_ != State::kOpen || ssl_ != nullptr) return;
  ssl_ = host_.NewClientFacingTls();
  if (ssl_ == nullptr) return Die();
  SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  // The client has to wait for our answer, which is not sent yet: what is here already is injected or foolish.
  while (recv(fd_, loop_.read_buffer(), NetLoop::kReadBufferBytes, 0) > 0) {
  }
  handshaking_ = true;
  SetDeadline(kHandshakeMs);
  WantAfterStep();
}

std::string SocketConnection::tls_description() const {
  if (ssl_ == nullptr || handshaking_) return "";
  return std::string(SSL_get_version(ssl_.get())) + " " + SSL_get_cipher_name(ssl_.get());
}

std::string SocketConnection::alpn() const { return ssl_ == nullptr ? "" : AlpnOf(ssl_.get()); }

std::string SocketConnection::peer_key_fingerprint() const {
  return ssl_ == nullptr ? "" : PeerKeyFingerprint(ssl_.get());
}

std::string SocketConnection::ExportKey(std::string_view label, size_t bytes) {
  return ssl_ == nullptr || handshaking_ ? "" : ExportKeyingMaterial(ssl_.get(), label, bytes);
}

// ---- ending ----

void SocketConnection::CloseAfterSending() {
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  SetDeadline(kClosingMs);
  WantAfterStep();
}

void SocketConnection::OnInputEnd() {
  if (ssl_ != nullptr || session_ == nullptr || !session_->OnInputEnd()) return OnPeerGone(/*clean=*/ssl_ == nullptr);
  input_ended_ = true;
  SetInterest(interest_ & ~static_cast<uint32_t>(EPOLLIN));
  if (state_ == State::kOpen) SetDeadline(kInputEndMs);
}

void SocketConnection::OnPeerGone(bool clean) {
  if (state_ == State::kOpen && handshaking_ && session_ == nullptr) {
    FailHandshake(absl::UnavailableError("the connection was closed during the TLS handshake"));
  } else if (state_ == State::kOpen && session_ != nullptr) {
    closed_cleanly_ = clean;
    session_->OnClosed();
  }
  Die();
}

void SocketConnection::Die() {
  state_ = State::kDead;
  WantAfterStep();
}

void SocketConnection::ProxyToHome(ProxyHello hello, std::string already_received,
                                   std::function<void(absl::Status)> then) {
  HoldReading(true);
  host_.ProxyToHome(*this, std::move(hello), std::move(already_received), std::move(then));
}

// ---- time ----

void SocketConnection::SetIdleTimeout(uint64_t milliseconds) {
  idle_ms_ = milliseconds;
  last_arrival_ms_ = loop_.NowMillis();
  if (idle_ms_ == 0 || (timer_ != 0 && timer_due_ms_ <= last_arrival_ms_ + idle_ms_)) return;
  loop_.Cancel(timer_);
  timer_due_ms_ = last_arrival_ms_ + idle_ms_;
  timer_ = loop_.After(idle_ms_, [this] { OnDeadline(); });
}

void SocketConnection::SetDeadline(uint64_t milliseconds) {
  deadline_ms_ = milliseconds == 0 ? 0 : loop_.NowMillis() + milliseconds;
  if (deadline_ms_ == 0 || (timer_ != 0 && timer_due_ms_ <= deadline_ms_)) return;
  loop_.Cancel(timer_);
  timer_due_ms_ = deadline_ms_;
  timer_ = loop_.After(milliseconds, [this] { OnDeadline(); });
}

void SocketConnection::OnDeadline() {
  timer_ = 0;
  if (state_ == State::kDead) return;
  const uint64_t now_ms = loop_.NowMillis();
  if (deadline_ms_ != 0 && deadline_ms_ <= now_ms) {
    if (state_ == State::kOpen && handshaking_) FailHandshake(absl::DeadlineExceededError("no TLS handshake in time"));
    return OnPeerGone(/*clean=*/false);
  }
  const bool idling = state_ == State::kOpen && session_ != nullptr && idle_ms_ != 0;
  if (idling && last_arrival_ms_ + idle_ms_ <= now_ms) {
    last_arrival_ms_ = now_ms;
    session_->OnTimeout();
  }
  uint64_t due_ms = deadline_ms_;
  if (idle_ms_ != 0 && state_ == State::kOpen) {
    const uint64_t idle_due_ms = last_arrival_ms_ + idle_ms_;
    due_ms = due_ms == 0 ? idle_due_ms : std::min(due_ms, idle_due_ms);
  }
  if (due_ms == 0 || timer_ != 0) return;  // OnTimeout may have set one
  timer_due_ms_ = due_ms;
  timer_ = loop_.After(due_ms > now_ms ? due_ms - now_ms : 0, [this] { OnDeadline(); });
}

}  // namespace gemel::engine
