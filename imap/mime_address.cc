#include "imap/mime_address.h"

#include <utility>

#include "imap/mime_token.h"

namespace gemel::imap {
namespace {

using Result = TokenReader::Result;
constexpr Result kError = TokenReader::kError;
constexpr Result kEnd = TokenReader::kEnd;
constexpr Result kMore = TokenReader::kMore;

class AddressParser {
 public:
  AddressParser(std::string_view value, size_t addresses_max) : in_(value), left_(addresses_max) {}

  std::vector<Address> Run() {
    if (in_.SkipBlanks() != kMore) return {};
    while (left_ > 0) {
      Result result = Group();
      if (result == kError) result = Mailbox();
      if (result == kEnd || !in_.Is(',')) break;
      in_.Advance();
      result = in_.SkipBlanks();
      if (result == kError) Add();  // ends within a comment
      if (result != kMore) break;
    }
    return std::move(out_);
  }

 private:
  // name ":" [mailboxes] ";"   kError: it is no group, and nothing was read.
  Result Group() {
    const size_t start = in_.position();
    std::string name;
    if (in_.Phrase(name) != kMore || !in_.Is(':')) {
      in_.set_position(start);
      return kError;
    }
    in_.Advance();
    Result result = in_.SkipBlanks();
    out_.push_back(Address{{}, {}, std::move(name), {}});
    --left_;
    while (result == kMore && !in_.Is(';') && left_ > 0) {
      Mailbox();
      if (!in_.Is(',')) break;
      in_.Advance();
      result = in_.SkipBlanks();
    }
    if (in_.Is(';')) {
      in_.Advance();
      result = in_.SkipBlanks();
    } else {
      result = in_.at_end() ? kEnd : kMore;
    }
    out_.emplace_back();
    return result == kEnd ? kEnd : kMore;
  }

  // [name] "<" address ">", or address [comment]
  Result Mailbox() {
    const size_t start = in_.position();
    std::string name;
    if (in_.Phrase(name) == kMore && in_.Is('<')) {
      if (!name.empty()) now_.name = std::move(name);
      if (AngleAddress() == kError) now_.host = "SYNTAX_ERROR";
      Add();
      return in_.at_end() ? kEnd : kMore;
    }
    in_.set_position(start);
    const Result result = BareAddress();
    Add();
    return result;
  }

  Result AngleAddress() {
    in_.Advance();  // '<'
    if (in_.SkipBlanks() != kMore) return kError;
    if (in_.Is('@')) {
      if (!Route()) {
        now_.route = "INVALID_ROUTE";
        return kError;
      }
      if (in_.SkipBlanks() != kMore) return kError;
    }
    if (!in_.Is('>')) {  // "<>" has neither mailbox nor host
      std::string mailbox;
      if (const Result r = in_.LocalPart(mailbox); r == kError) return r;
      now_.mailbox = std::move(mailbox);
      if (in_.Is('@')) {
        std::string host;
        if (const Result r = in_.Domain(host); r == kError) return r;
        now_.host = std::move(host);
      }
    }
    if (!in_.Is('>')) return kError;
    in_.Advance();
    return in_.SkipBlanks();
  }

  // "@a,@b:" (RFC 5322, 4.4). False: broken.
  bool Route() {
    std::string route;
    while (in_.Is('@')) {
      if (!route.empty()) route += ',';
      route += '@';
      if (in_.Domain(route) != kMore) return false;
      while (in_.SkipBlanks() == kMore && in_.Is(',')) in_.Advance();
    }
    now_.route = std::move(route);
    if (!in_.Is(':')) return false;
    in_.Advance();
    return true;
  }

  // local@host, whose name may follow in a comment; or words without an address, which are a name.
  Result BareAddress() {
    in_.ClearComment();
    const bool quoted = in_.Is('"');
    std::string local;
    Result result = in_.LocalPart(local);
    bool has_at = false;
    if (result != kError) now_.mailbox = local;
    if (result != kEnd && in_.Is('@')) {
      has_at = true;
      std::string host;
      const Result host_result = in_.Domain(host);
      if (host_result != kError) now_.host = std::move(host);
      if (host_result != kMore) result = host_result;
    }
    if (!in_.last_comment().empty()) {
      now_.name = in_.last_comment();
    } else if (!has_at) {
      // One word is a mailbox; several, or a quoted one, are a name.
      std::string rest;
      in_.Phrase(rest);
      if (quoted || !rest.empty()) {
        now_.mailbox.reset();
        now_.name = rest.empty() ? local : local + " " + rest;
      }
      result = kError;
    }
    return result;
  }

  void Add() {
    if (!now_.mailbox) now_.mailbox = "MISSING_MAILBOX";
    if (!now_.host || now_.host->empty()) now_.host = "MISSING_DOMAIN";
    out_.push_back(std::exchange(now_, Address()));
    if (left_ > 0) --left_;
  }

  TokenReader in_;
  size_t left_;
  Address now_;
  std::vector<Address> out_;
};

}  // namespace

std::vector<Address> ParseAddresses(std::string_view value, size_t addresses_max) {
  return AddressParser(value, addresses_max).Run();
}

}  // namespace gemel::imap
