// HTTP/1.1 messages of the admin surface, as bytes. Boost.Beast does the parsing and stays inside admin_http.cc.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace gemel::engine {

struct AdminRequest {
  std::string method;  // "GET", "POST"
  std::string target;  // "/status"
  std::string body;
  bool keep_alive = true;
};
struct AdminResponse {
  int status = 0;
  std::string body;
};

// Collects one message from bytes that come in any pieces. Not thread-safe.
template <class Message>
class AdminParser {
 public:
  explicit AdminParser(size_t body_bytes_max);
  ~AdminParser();
  // Takes from the front of *bytes what belongs to the message. True: it is complete, take it with Get, then use a
  // new parser. InvalidArgument: not HTTP, or too large.
  absl::StatusOr<bool> Feed(std::string_view* bytes);
  Message Get();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
extern template class AdminParser<AdminRequest>;
extern template class AdminParser<AdminResponse>;

std::string EncodeAdminRequest(const AdminRequest& request);
std::string EncodeAdminResponse(const AdminResponse& response, bool keep_alive);

}  // namespace gemel::engine
