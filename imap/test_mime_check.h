// What must hold for any message at all; shared by the corpus test and the fuzzer.
#pragma once
#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "imap/search_match.h"
#include "imap/section.h"
#include "imap/test_body.h"

namespace gemel::imap {
namespace mime_check {

// A list by RFC 3501's grammar: atoms (numbers, NIL), quoted strings, literals, lists. False: it is none.
inline bool TakeList(std::string_view* in, int depth) {
  const auto take = [in](char c) {
    if (in->empty() || in->front() != c) return false;
    in->remove_prefix(1);
    return true;
  };
  if (depth > 500 || !take('(')) return false;
  while (!take(')')) {
    if (in->empty()) return false;
    if (in->front() == '(') {
      if (!TakeList(in, depth + 1)) return false;
    } else if (take('"')) {
      while (!take('"')) {
        if (in->empty() || static_cast<unsigned char>(in->front()) >= 0x80 || in->front() == '\r' ||
            in->front() == '\n' || in->front() == '\0') {
          return false;
        }
        if (take('\\') && (in->empty() || (in->front() != '"' && in->front() != '\\'))) return false;
        in->remove_prefix(1);
      }
    } else if (take('{')) {
      size_t bytes = 0;
      const auto [end, error] = std::from_chars(in->data(), in->data() + in->size(), bytes);
      if (error != std::errc()) return false;
      in->remove_prefix(static_cast<size_t>(end - in->data()));
      if (in->substr(0, 3) != "}\r\n" || in->size() - 3 < bytes) return false;
      if (in->substr(3, bytes).find('\0') != std::string_view::npos) return false;
      in->remove_prefix(3 + bytes);
    } else {
      const size_t size = in->find_first_of(" ()\"{");
      const std::string_view atom = in->substr(0, size);
      const bool number = !atom.empty() && atom.find_first_not_of("0123456789") == std::string_view::npos;
      if (size == std::string_view::npos || (atom != "NIL" && !number)) return false;
      in->remove_prefix(size);
    }
    if (take(' ') && !in->empty() && in->front() == ')') return false;
  }
  return true;
}

inline bool IsList(std::string_view text) { return TakeList(&text, 0) && text.empty(); }

class Checker {
 public:
  explicit Checker(const std::string& text) : text_(text), body_(std::make_shared<MemoryMessage>(text)) {}

  std::string Run() {
    auto parsed = Structure::Parse(*body_);
    if (!parsed.ok()) return "parse: " + parsed.status().ToString();
    structure_ = *std::move(parsed);
    Texts();
    Ranges(0, FileRange{0, text_.size(), CountNewlines(0, text_.size())});
    Cache();
    Sections(0, {}, true);
    Partials();
    Search();
    return wrong_;
  }

 private:
  void Wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }
  uint64_t CountNewlines(uint64_t begin, uint64_t end) const {
    return static_cast<uint64_t>(
        std::count(text_.begin() + static_cast<long>(begin), text_.begin() + static_cast<long>(end), '\n'));
  }
  // As a client sees it: no literal has a NUL.
  std::string Slice(const FileRange& range) const {
    std::string slice = ToCrlf(text_.substr(range.begin, range.bytes()));
    std::replace(slice.begin(), slice.end(), '\0', '\x80');
    return slice;
  }

  void Texts() {
    if (!IsList(structure_.envelope())) Wrong("envelope: " + structure_.envelope());
    if (!IsList(structure_.body_structure())) Wrong("bodystructure: " + structure_.body_structure());
    if (!IsList(structure_.body())) Wrong("body: " + structure_.body());
  }

  void Ranges(uint32_t index, const FileRange& around) {
    const MimePart& part = structure_.parts()[index];
    if (part.header.begin < around.begin || part.header.end < part.header.begin || part.body.begin != part.header.end ||
        part.body.end < part.body.begin || part.body.end > around.end) {
      return Wrong("part " + std::to_string(index) + " lies outside what holds it");
    }
    for (const FileRange& range : {part.header, part.body}) {
      if (CountNewlines(range.begin, range.end) != range.newlines) return Wrong("newlines of " + std::to_string(index));
    }
    FileRange left = part.body;
    for (const uint32_t child : part.children) {
      if (child <= index) return Wrong("a child before its parent");
      Ranges(child, left);
      left.begin = structure_.parts()[child].body.end;
    }
  }

  void Cache() {
    const std::string cached = structure_.ToCache();
    const auto back = Structure::FromCache(cached);
    if (!back || back->ToCache() != cached || back->parts() != structure_.parts() ||
        back->body() != structure_.body()) {
      Wrong("the cache gives something else back");
    }
    const auto texts = CachedTexts::Open(cached);
    if (!texts || texts->envelope() != structure_.envelope() || texts->body() != structure_.body()) {
      Wrong("the cached texts differ");
    }
  }

  std::optional<std::string> Read(const SectionSpec& spec, std::optional<PartialRange> partial, size_t piece_bytes) {
    auto reader = SectionReader::Open(body_, structure_.file().crlf_bytes(), &structure_, spec, partial);
    if (!reader.ok()) return std::nullopt;
    std::string bytes;
    while (true) {
      auto piece = (*reader)->Next(piece_bytes);
      if (!piece.ok()) return std::nullopt;
      if (piece->empty()) break;
      bytes += *piece;
    }
    if (bytes.size() != (*reader)->bytes()) return std::nullopt;
    return bytes;
  }
  void Expect(const std::vector<uint32_t>& path, SectionSpec::Text text, const FileRange& range) {
    if (Read({path, text, {}}, std::nullopt, 4096) != Slice(range)) {
      Wrong("a section of part " + std::to_string(path.empty() ? 0 : path.back()) + " at depth " +
            std::to_string(path.size()) + " is not its slice of the message");
    }
  }

  void Sections(uint32_t index, std::vector<uint32_t> path, bool is_message) {
    if (path.size() > 20 || sections_++ > 50) return;  // the time of a fuzzer is dear
    using Text = SectionSpec::Text;
    const MimePart& part = structure_.parts()[index];
    if (is_message && path.empty()) {
      Expect({}, Text::kAll, structure_.file());
      Expect({}, Text::kHeader, part.header);
      Expect({}, Text::kText, part.body);
    } else if (!is_message) {
      Expect(path, Text::kAll, part.body);
      Expect(path, Text::kMime, part.header);
    }
    if (part.kind == MimePart::Kind::kMultipart) {
      for (size_t i = 0; i < part.children.size(); ++i) {
        path.push_back(static_cast<uint32_t>(i + 1));
        Sections(part.children[i], path, false);
        path.pop_back();
      }
    } else if (is_message) {
      path.push_back(1);
      Sections(index, std::move(path), false);
    } else if (part.kind == MimePart::Kind::kMessage) {
      const MimePart& inner = structure_.parts()[part.children.front()];
      Expect(path, Text::kHeader, inner.header);
      Expect(path, Text::kText, inner.body);
      Sections(part.children.front(), std::move(path), true);
    }
  }

  void Partials() {
    const std::string whole = Slice({0, text_.size(), 0});
    const uint64_t steps[] = {0,
                              1,
                              whole.size() / 3,
                              whole.size() / 2,
                              whole.size() - std::min<size_t>(whole.size(), 1),
                              whole.size(),
                              whole.size() + 1};
    for (const uint64_t offset : steps) {
      const std::string expected = offset < whole.size() ? whole.substr(offset, 5) : "";
      if (Read({}, PartialRange{offset, 5}, 2) != expected) Wrong("a partial at " + std::to_string(offset));
    }
    SectionSpec chosen{{}, SectionSpec::Text::kHeaderFields, {"subject", "to"}};
    SectionSpec others{{}, SectionSpec::Text::kHeaderFieldsNot, {"subject", "to"}};
    const auto a = Read(chosen, std::nullopt, 100), b = Read(others, std::nullopt, 100);
    const uint64_t header = structure_.parts()[0].header.crlf_bytes();
    if (!a || !b || a->size() + b->size() < header || a->size() + b->size() > header + 3) Wrong("header fields");
  }

  void Search() {
    SearchProgram program;
    program.key.kind = SearchKey::Kind::kOr;
    for (const auto kind : {SearchKey::Kind::kBody, SearchKey::Kind::kText}) {
      SearchKey key;
      key.kind = kind;
      key.text = "a text that hardly any message has \xe2\x82\xac";
      program.key.children.push_back(key);
    }
    auto matcher = SearchMatcher::Compile(program, 1, 1);
    if (!matcher.ok()) return Wrong("search does not compile");
    std::vector<Truth> found = matcher->NothingFound();
    FileScan scan(matcher->text_keys(), body_, structure_);
    absl::StatusOr<bool> end = false;
    while (end.ok() && !*end) {
      StepBudget budget;
      end = scan.Step(budget, &found);
    }
    if (!end.ok()) Wrong("search: " + end.status().ToString());
  }

  const std::string& text_;
  std::shared_ptr<MemoryMessage> body_;
  Structure structure_;
  std::string wrong_;
  int sections_ = 0;
};

}  // namespace mime_check

// "" if `lf_text` passes: its structure's ranges lie within one another and count their newlines rightly; ENVELOPE,
// BODY and BODYSTRUCTURE are well-formed lists; the cache gives all of it back; every section is the slice of BODY[]
// that it should be, also in pieces and in partials; SEARCH reads it to its end. Else what is wrong.
inline std::string CheckMessage(const std::string& lf_text) { return mime_check::Checker(lf_text).Run(); }

}  // namespace gemel::imap
