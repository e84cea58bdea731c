// Conversations with a session. A dialogue's "C:" lines in a row are one read; its "S:" lines are all that is answered,
// where a line that ends in * may go on.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "smtp/fakes.h"
#include "smtp/session.h"

namespace gemel::smtp {

inline std::vector<std::string> Lines(std::string_view text, std::string_view end) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t n = text.find(end);
    lines.emplace_back(text.substr(0, n));
    text.remove_prefix(n == std::string_view::npos ? text.size() : n + end.size());
  }
  return lines;
}

class SessionTest : public testing::Test {
 protected:
  void Open(Kind kind, bool greet = true) {
    auto options = std::make_shared<SessionOptions>(options_);
    options->kind = kind;
    session_ = std::make_unique<Session>(service_, connection_, limits_, options);
    session_->OnConnected();
    if (!greet) return;
    Talk(kind == Kind::kLmtp ? "LHLO client.test\r\n" : "EHLO client.test\r\n");
    connection_.sent.clear();
    connection_.sends = 0;
  }
  // Feeds bytes and gives what is answered to them, also after the message is stored.
  std::string Talk(std::string_view bytes) {
    connection_.sent.clear();
    session_->OnBytes(bytes);
    service_.RunPosted();
    return connection_.sent;
  }
  void Dialogue(std::string_view script) {
    std::string say;
    std::vector<std::string> expect;
    const auto turn = [&] {
      if (say.empty() && expect.empty()) return;
      const std::string answer = say.empty() ? connection_.sent : Talk(say);
      connection_.sent.clear();
      EXPECT_TRUE(answer.empty() || answer.ends_with("\r\n")) << answer;
      const std::vector<std::string> got = Lines(answer, "\r\n");
      bool same = got.size() == expect.size();
      for (size_t i = 0; same && i < got.size(); ++i) {
        same = expect[i].ends_with('*') ? got[i].starts_with(expect[i].substr(0, expect[i].size() - 1))
                                        : got[i] == expect[i];
      }
      std::string expected;
      for (const std::string& line : expect) expected += line + "\n";
      EXPECT_TRUE(same) << "to:\n" << say << "\nexpected:\n" << expected << "\ngot:\n" << answer;
      say.clear();
      expect.clear();
    };
    for (const std::string& line : Lines(script, "\n")) {
      if (line.starts_with("C:")) {
        if (!expect.empty()) turn();
        say += (line.size() > 3 ? line.substr(3) : "") + "\r\n";
      } else if (line.starts_with("S:")) {
        expect.push_back(line.substr(3));
      } else {
        EXPECT_TRUE(line.empty()) << line;
      }
    }
    turn();
  }
  std::vector<std::string> Bodies() const {
    std::vector<std::string> bodies;
    for (const auto& letter : service_.letters) bodies.push_back(letter.body);
    return bodies;
  }
  void Envelope(std::string_view recipient = "ann@example.test") {
    Talk("MAIL FROM:<x@a.test>\r\nRCPT TO:<" + std::string(recipient) + ">\r\n");
  }

  FakeService service_;
  FakeConnection connection_;
  SmtpLimits limits_;
  SessionOptions options_;
  std::unique_ptr<Session> session_;
};

}  // namespace gemel::smtp
