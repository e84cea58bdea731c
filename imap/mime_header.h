// Header blocks: fields, and the Content- fields of RFC 2045, 2183, 2231, 3282, 2557 and 1864.
//
// Threads: values; views point into the block that was given.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gemel::imap {

struct HeaderField {
  std::string_view name;   // without blanks behind it; the whole line, where it has no colon
  std::string_view value;  // raw, folded; without the blanks before it and the newline at its end
  size_t begin = 0;        // the field's bytes in the block, from its name ...
  size_t end = 0;          // ... to behind its newline
};

class HeaderReader {
 public:
  // `block` may go on behind the empty line that ends the header.
  explicit HeaderReader(std::string_view block) : block_(block) {}
  // False at the empty line or at the end.
  bool Next(HeaderField* field);

 private:
  std::string_view block_;
  size_t at_ = 0;
};

// Line breaks out, the blanks behind them kept (RFC 5322, 2.2.3).
std::string Unfold(std::string_view value);

using MimeParams = std::vector<std::pair<std::string, std::string>>;

// A value and its parameters: Content-Type, Content-Disposition. RFC 2231 continuations are joined in order
// ("name*0*=", "name*1=" to "name*="), and nothing of them is decoded.
struct MimeValue {
  std::string type;
  std::string subtype;  // of Content-Type
  MimeParams params;
  const std::string* Param(std::string_view name) const;
};

// The Content- fields of one part. Of a field that is there twice the first counts.
struct ContentFields {
  std::optional<MimeValue> type;
  std::optional<std::string> encoding;
  std::optional<std::string> id;
  std::optional<std::string> description;
  std::optional<std::string> md5;
  std::optional<MimeValue> disposition;
  std::vector<std::string> languages;
  std::optional<std::string> location;
};
// Takes the field if it is one of them.
void AddContentField(const HeaderField& field, ContentFields* fields);

MimeValue ParseContentType(std::string_view value);
std::optional<MimeValue> ParseDisposition(std::string_view value);

}  // namespace gemel::imap
