#include "maildir/utf7.h"

#include <cstdint>
#include <optional>

namespace gemel::maildir {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

bool IsPrintable(uint32_t c) { return c >= 0x20 && c <= 0x7e; }

// One code point from the front of *in; nullopt where it is not well-formed.
std::optional<uint32_t> TakeCodePoint(std::string_view* in) {
  const auto first = static_cast<uint8_t>((*in)[0]);
  size_t length = 0;
  uint32_t code = 0;
  if (first < 0x80) {
    in->remove_prefix(1);
    return first;
  }
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
    code = first & 0x1fu;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    code = first & 0x0fu;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    code = first & 0x07u;
  } else {
    return std::nullopt;
  }
  if (in->size() < length) return std::nullopt;
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<uint8_t>((*in)[i]);
    if ((byte & 0xc0) != 0x80) return std::nullopt;
    code = code << 6 | (byte & 0x3fu);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return std::nullopt;
  in->remove_prefix(length);
  return code;
}

void AppendUtf8(uint32_t code, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6);
    put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
    put(0x80 | (code & 0x3f));
  }
}

// The bits of one shifted run, written out six at a time.
class ShiftWriter {
 public:
  explicit ShiftWriter(std::string* out) : out_(out) { out_->push_back('&'); }
  void Put(uint16_t unit) {
    bits_ = bits_ << 16 | unit;
    for (count_ += 16; count_ >= 6; count_ -= 6) out_->push_back(kDigits[bits_ >> (count_ - 6) & 0x3f]);
  }
  void Finish() {
    if (count_ > 0) out_->push_back(kDigits[bits_ << (6 - count_) & 0x3f]);
    out_->push_back('-');
  }

 private:
  std::string* out_;
  uint32_t bits_ = 0;
  unsigned count_ = 0;
};

// Turns a shifted run's UTF-16 units into UTF-8.
class UnitReader {
 public:
  explicit UnitReader(std::string* out) : out_(out) {}
  const char* Take(uint16_t unit) {
    any_ = true;
    if (unit >= 0xdc00 && unit <= 0xdfff) {
      if (high_ == 0) return "a lone low surrogate";
      AppendUtf8(0x10000 + ((high_ - 0xd800u) << 10) + (unit - 0xdc00u), out_);
      high_ = 0;
      return nullptr;
    }
    if (high_ != 0) return "a lone high surrogate";
    if (unit >= 0xd800 && unit <= 0xdbff) {
      high_ = unit;
      return nullptr;
    }
    if (IsPrintable(unit)) return "printable ASCII inside a shift";
    AppendUtf8(unit, out_);
    return nullptr;
  }
  const char* End() const {
    if (!any_) return "an empty shift";
    return high_ != 0 ? "a lone high surrogate" : nullptr;
  }

 private:
  std::string* out_;
  uint32_t high_ = 0;
  bool any_ = false;
};

// `digits`: what stands between '&' and '-'.
const char* DecodeShift(std::string_view digits, std::string* out) {
  UnitReader reader(out);
  uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : digits) {
    const size_t value = kDigits.find(c);
    if (value == std::string_view::npos) return "a byte that is not base64 inside a shift";
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 16) continue;
    count -= 16;
    if (const char* wrong = reader.Take(static_cast<uint16_t>(bits >> count & 0xffff))) return wrong;
  }
  if (count >= 6) return "a needless base64 digit";
  if ((bits & ((1u << count) - 1)) != 0) return "padding bits that are not zero";
  return reader.End();
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    if (!TakeCodePoint(&text)) return false;
  }
  return true;
}

absl::StatusOr<std::string> Utf7FromUtf8(std::string_view utf8) {
  std::string out;
  std::optional<ShiftWriter> shift;
  while (!utf8.empty()) {
    const auto code = TakeCodePoint(&utf8);
    if (!code) return absl::InvalidArgumentError("the name is not UTF-8");
    if (IsPrintable(*code)) {
      if (shift) shift->Finish();
      shift.reset();
      out.push_back(static_cast<char>(*code));
      if (*code == '&') out.push_back('-');
      continue;
    }
    if (!shift) shift.emplace(&out);
    if (*code < 0x10000) {
      shift->Put(static_cast<uint16_t>(*code));
    } else {
      shift->Put(static_cast<uint16_t>(0xd800 + ((*code - 0x10000) >> 10)));
      shift->Put(static_cast<uint16_t>(0xdc00 + (*code & 0x3ff)));
    }
  }
  if (shift) shift->Finish();
  return out;
}

absl::StatusOr<std::string> Utf8FromUtf7(std::string_view utf7) {
  std::string out;
  bool after_shift = false;
  for (size_t i = 0; i < utf7.size(); ++i) {
    const auto byte = static_cast<uint8_t>(utf7[i]);
    if (!IsPrintable(byte))
      return absl::InvalidArgumentError("the name is not modified UTF-7: a byte that is not printable ASCII");
    if (byte != '&') {
      out.push_back(utf7[i]);
      after_shift = false;
      continue;
    }
    const size_t end = utf7.find('-', i);
    if (end == std::string_view::npos) {
      return absl::InvalidArgumentError("the name is not modified UTF-7: a shift without its '-'");
    }
    if (end == i + 1) {
      out.push_back('&');
      after_shift = false;
    } else {
      if (after_shift) return absl::InvalidArgumentError("the name is not modified UTF-7: a needless new shift");
      if (const char* wrong = DecodeShift(utf7.substr(i + 1, end - i - 1), &out)) {
        return absl::InvalidArgumentError(std::string("the name is not modified UTF-7: ") + wrong);
      }
      after_shift = true;
    }
    i = end;
  }
  return out;
}

}  // namespace gemel::maildir
