// The bytes that numbers are stored as: little-endian, or LEB128 ("varint") where small values are usual.
// Bytes: journal/README.md, "Numbers".
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gemel::journal {

template <class T>
void PutFixed(T value, std::string* out) {
  static_assert(std::is_unsigned_v<T>);
  for (size_t i = 0; i < sizeof(T); ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

template <class T>
T GetFixed(const char* at) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(static_cast<uint8_t>(at[i])) << (8 * i)));
  }
  return value;
}

inline void PutVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

// Both take from the front of *in, and return false, with *in unspecified, where it is too short or too great.
inline bool TakeVarint(std::string_view* in, uint64_t* value) {
  uint64_t result = 0;
  for (size_t i = 0; i < in->size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>((*in)[i]);
    if (i == 9 && byte > 1) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (byte == 0 && i > 0) return false;  // one value, one encoding
      in->remove_prefix(i + 1);
      *value = result;
      return true;
    }
  }
  return false;
}

template <class T>
bool TakeFixed(std::string_view* in, T* value) {
  if (in->size() < sizeof(T)) return false;
  *value = GetFixed<T>(in->data());
  in->remove_prefix(sizeof(T));
  return true;
}

inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline int64_t UnZigZag(uint64_t value) { return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1); }

}  // namespace gemel::journal
