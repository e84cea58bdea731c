#include "engine/admin_http.h"

#include <boost/beast/http.hpp>
#include <sstream>
#include <type_traits>

#include "fmt/format.h"

namespace gemel::engine {

namespace http = boost::beast::http;

template <class Message>
struct AdminParser<Message>::Impl {
  static constexpr bool kIsRequest = std::is_same_v<Message, AdminRequest>;
  http::parser<kIsRequest, http::string_body> parser;
  // Beast wants header lines whole; what it has not taken yet waits here.
  std::string waiting;
};

template <class Message>
AdminParser<Message>::AdminParser(size_t body_bytes_max) : impl_(std::make_unique<Impl>()) {
  impl_->parser.body_limit(body_bytes_max);
  impl_->parser.header_limit(16 * 1024);
  impl_->parser.eager(true);
}

template <class Message>
AdminParser<Message>::~AdminParser() = default;

template <class Message>
absl::StatusOr<bool> AdminParser<Message>::Feed(std::string_view* bytes) {
  impl_->waiting.append(*bytes);
  while (!impl_->waiting.empty() && !impl_->parser.is_done()) {
    boost::system::error_code error;
    const size_t taken = impl_->parser.put(boost::asio::buffer(impl_->waiting), error);
    impl_->waiting.erase(0, taken);
    if (error == http::error::need_more) break;
    if (error)
      return absl::InvalidArgumentError(fmt::format("not an HTTP message that is served: {}", error.message()));
  }
  // What is left behind a complete message came with these bytes: before them the message was not complete.
  bytes->remove_prefix(bytes->size() - (impl_->parser.is_done() ? impl_->waiting.size() : 0));
  return impl_->parser.is_done();
}

template <class Message>
Message AdminParser<Message>::Get() {
  Message out;
  auto message = impl_->parser.release();
  if constexpr (Impl::kIsRequest) {
    out.method = std::string(message.method_string());
    out.target = std::string(message.target());
    out.keep_alive = message.keep_alive();
  } else {
    out.status = static_cast<int>(message.result_int());
  }
  out.body = std::move(message.body());
  return out;
}

template class AdminParser<AdminRequest>;
template class AdminParser<AdminResponse>;

std::string EncodeAdminRequest(const AdminRequest& request) {
  return fmt::format(
      "{} {} HTTP/1.1\r\nHost: gemel\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n"
      "\r\n{}",
      request.method, request.target, request.body.size(), request.body);
}

std::string EncodeAdminResponse(const AdminResponse& response, bool keep_alive) {
  const auto reason = http::obsolete_reason(static_cast<http::status>(response.status));
  return fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n{}",
      response.status, std::string(reason), response.body.size(), keep_alive ? "keep-alive" : "close", response.body);
}

}  // namespace gemel::engine
