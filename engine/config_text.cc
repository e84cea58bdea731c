// What the table of keys says to people: `gemel check-config --explain`, --example and --man; and a file's text.
#include "absl/strings/str_split.h"
#include "engine/config_keys.h"
#include "fmt/format.h"

namespace gemel::engine {
namespace {

// Breaks text into lines of at most `width`, each begun with `indent`.
std::string Wrap(const std::string& text, std::string_view indent, size_t width) {
  std::string out, line;
  for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' '))) {
    if (!line.empty() && indent.size() + line.size() + 1 + word.size() > width) {
      out += fmt::format("{}{}\n", indent, line);
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
  }
  if (!line.empty()) out += fmt::format("{}{}\n", indent, line);
  return out;
}

template <class OnSection, class OnKey>
void ForEach(OnSection on_section, OnKey on_key) {
  for (const SectionText& section : ConfigSections()) {
    on_section(section);
    for (const Key& key : ConfigKeys()) {
      if (std::string_view(key.section) == section.name) on_key(key);
    }
  }
}

std::string EscapeRoff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

}  // namespace

std::string RenderConfig(const Config& config) {
  const Config defaults;
  std::string out, heading;
  ForEach([&](const SectionText& section) { heading = fmt::format("[{}]\n", section.name); },
          [&](const Key& key) {
            const std::string value = ValueText(key, config);
            if (value == ValueText(key, defaults)) return;
            if (!out.empty() && !heading.empty()) out += '\n';
            out += fmt::format("{}{} = {}\n", heading, key.name, value);
            heading.clear();
          });
  return out;
}

std::string ExplainConfig() {
  const Config defaults;
  std::string out;
  ForEach(
      [&](const SectionText& section) {
        out += fmt::format("{}[{}]  {}\n", out.empty() ? "" : "\n", section.name, section.meaning);
      },
      [&](const Key& key) {
        out += fmt::format("  {} = {}   ({})\n", key.name, ValueText(key, defaults), KindText(key));
        out += Wrap(key.meaning, "      ", 100);
      });
  return out;
}

std::string ExampleConfig() {
  const Config defaults;
  std::string out =
      "# Configuration of gemeld. Every key is here with its default; take the # away to change one.\n"
      "# `gemel check-config` checks this file, and `man gemeld.toml` says more.\n"
      "# Accounts, domains, aliases and homes are not here: both nodes share them (`gemel account`, `gemel domain` "
      "...).\n";
  ForEach([&](const SectionText& section) { out += fmt::format("\n# {}\n[{}]\n", section.meaning, section.name); },
          [&](const Key& key) {
            out += "\n" + Wrap(fmt::format("{} ({})", key.meaning, KindText(key)), "# ", 100);
            out += fmt::format("#{} = {}\n", key.name, ValueText(key, defaults));
          });
  return out;
}

std::string ConfigManPageSection() {
  const Config defaults;
  std::string out;
  ForEach(
      [&](const SectionText& section) {
        out += fmt::format(".SS [{}]\n{}\n", section.name, EscapeRoff(section.meaning));
      },
      [&](const Key& key) {
        out += fmt::format(".TP\n.B {}\n{}\nValue: {}; default\n.BR \"{}\" .\n", EscapeRoff(key.name),
                           EscapeRoff(key.meaning), EscapeRoff(KindText(key)), [&] {
                             std::string value = EscapeRoff(ValueText(key, defaults));
                             for (size_t at = 0; (at = value.find('"', at)) != std::string::npos; at += 4) {
                               value.replace(at, 1, "\\(dq");
                             }
                             return value;
                           }());
      });
  return out;
}

}  // namespace gemel::engine
