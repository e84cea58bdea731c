// The keys of gemeld.toml, as a table: engine/config.cc reads by it, engine/config_text.cc prints it. Private to these.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/config.h"

namespace gemel::engine {

// What a value means, which decides how it is read, checked and shown.
enum class Kind {
  kText,
  kPath,
  kSocket,
  kListenerList,
  kTextList,
  kHostPort,
  kBytes,
  kMilliseconds,
  kSeconds,
  kCount,
  kChoice
};

using Member = std::variant<std::string Config::*, std::vector<std::string> Config::*, uint64_t Config::*>;

struct Key {
  const char* section;
  const char* name;
  Kind kind;
  Member member;
  uint64_t min, max;    // of numbers, in the member's unit; of paths, in bytes
  const char* choices;  // space-separated, of kChoice
  const char* meaning;
};

struct SectionText {
  const char* name;
  const char* meaning;
};
std::span<const Key> ConfigKeys();
std::span<const SectionText> ConfigSections();

std::string ValueText(const Key& key, const Config& config);  // as it is written in TOML
// "size, 1MiB to 2GiB", "one of a, b": what may be written there.
std::string KindText(const Key& key);
// Of a number: "1MiB to 2GiB".
std::string RangeText(const Key& key);

}  // namespace gemel::engine
