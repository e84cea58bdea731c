#include "journal/dump.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <type_traits>

#include "journal/record_fields.h"
#include "journal/recovery.h"
#include "journal/walker.h"

namespace gemel::journal {
namespace {

std::string_view NameOf(GenerationKind v) { return v == GenerationKind::kPaired ? "paired" : "solo"; }
std::string_view NameOf(Via v) {
  constexpr std::array<std::string_view, 5> kNames = {"smtp", "lmtp", "append", "adopted", "import"};
  return kNames[static_cast<size_t>(v)];
}
std::string_view NameOf(FlagOp v) {
  constexpr std::array<std::string_view, 3> kNames = {"add", "remove", "replace"};
  return kNames[static_cast<size_t>(v)];
}
std::string_view NameOf(SpecialUse v) {
  constexpr std::array<std::string_view, 7> kNames = {"none", "inbox", "drafts", "sent", "junk", "trash", "archive"};
  return kNames[static_cast<size_t>(v)];
}

// The length of the UTF-8 character (RFC 3629, 4) that `text` begins with; 0: it begins with none.
size_t Utf8Bytes(std::string_view text) {
  const auto at = [&text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto tail = [&at](size_t i) { return (at(i) & 0xc0) == 0x80; };
  const uint8_t c = at(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return tail(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    const bool good = tail(1) && tail(2) && !(c == 0xe0 && at(1) < 0xa0) && !(c == 0xed && at(1) >= 0xa0);
    return good ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    const bool good = tail(1) && tail(2) && tail(3) && !(c == 0xf0 && at(1) < 0x90) && !(c == 0xf4 && at(1) >= 0x90);
    return good ? 4 : 0;
  }
  return 0;
}

// As a JSON string (RFC 8259, 7). What is not UTF-8 becomes U+FFFD: it is for reading, not for putting back.
void AppendQuoted(std::string_view text, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const size_t bytes = Utf8Bytes(text);
    const auto c = static_cast<unsigned char>(text[0]);
    if (bytes == 0) {
      *out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      *out += '\\';
      *out += text[0];
    } else if (c < 0x20 || c == 0x7f) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      *out += buffer;
    } else {
      out->append(text.substr(0, bytes));
    }
    text.remove_prefix(bytes == 0 ? 1 : bytes);
  }
  *out += '"';
}

std::string TimeText(uint64_t ms) {
  const auto seconds = static_cast<time_t>(ms / 1000);
  tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) return std::to_string(ms);
  char day[32], out[48];
  strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(out, sizeof out, "%s.%03uZ", day, static_cast<unsigned>(ms % 1000));
  return out;
}

std::string OriginText(const Origin& origin) { return HexU64(origin.node) + "/" + HexU64(origin.incarnation); }

template <class T>
constexpr bool kIsOptional = false;
template <class T>
constexpr bool kIsOptional<std::optional<T>> = true;

// Prints fields as `name=value` or `"name":value`, and so serves Fields() of record_fields.h.
class Printer {
 public:
  Printer(DumpFormat format, std::string* out) : json_(format == DumpFormat::kJson), out_(out) {}

  void Name(std::string_view name) {
    if (json_) {
      *out_ += first_ ? "{\"" : ",\"";
      out_->append(name);
      *out_ += "\":";
    } else {
      if (!first_) *out_ += ' ';
      out_->append(name);
      *out_ += '=';
    }
    first_ = false;
  }
  void End() {
    if (json_) *out_ += first_ ? "{}" : "}";
  }
  void Plain(std::string_view text) {  // an id or a time: quoted in JSON only
    if (json_) *out_ += '"';
    out_->append(text);
    if (json_) *out_ += '"';
  }

  template <class T>
  void operator()(std::string_view name, const T& v) {
    if constexpr (std::is_same_v<T, Order>) {
      Fields(*this, v);  // its fields beside the record's own
    } else if constexpr (kIsOptional<T>) {
      if (v) (*this)(name, *v);
    } else {
      Name(name);
      Value(v);
    }
  }
  // The argument only says whether there is one.
  template <class T>
  void Secret(std::string_view name, const std::optional<T>& v) {
    if (!v) return;
    Name(name);
    Plain("(hidden)");
  }
  void Text(std::string_view name, const std::string& v) {
    Name(std::string(name) + "_length");
    Value(uint64_t{v.size()});
  }

 private:
  void Value(const bool& v) { *out_ += v ? "true" : "false"; }
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  void Value(const T& v) {
    *out_ += std::to_string(v);
  }
  template <class T>
    requires std::is_enum_v<T>
  void Value(const T& v) {
    Plain(NameOf(v));
  }
  void Value(const std::string& v) { AppendQuoted(v, out_); }
  template <class Tag>
  void Value(const Id128<Tag>& v) {
    Plain(v.hex());
  }
  void Value(const std::array<uint8_t, 32>& v) {
    std::string hex;
    for (size_t i = 0; i < v.size(); i += 8) {
      uint64_t word = 0;
      for (size_t k = 0; k < 8; ++k) word = word << 8 | v[i + k];
      hex += HexU64(word);
    }
    Plain(hex);
  }
  void Value(const Origin& v) { Plain(OriginText(v)); }
  void Value(const Dot& v) { Plain(OriginText(v.origin) + ":" + std::to_string(v.seq)); }
  void Value(const VectorClock& v) {
    List(v.entries(), [this](const auto& entry) { Value(Dot{entry.first, entry.second}); });
  }
  void Value(const PlacedMessage& v) { Pair("message", v.message, "uid", v.uid); }
  void Value(const std::pair<MailboxId, Uid>& v) { Pair("mailbox", v.first, "uidnext", v.second); }
  void Value(const GenerationParent& v) {
    if (!json_) *out_ += '(';
    Printer inner(json_ ? DumpFormat::kJson : DumpFormat::kText, out_);
    Fields(inner, v);
    inner.End();
    if (!json_) *out_ += ')';
  }
  template <class T>
  void Value(const std::vector<T>& v) {
    List(v, [this](const T& element) { Value(element); });
  }

  template <class A, class B>
  void Pair(std::string_view a_name, const A& a, std::string_view b_name, const B& b) {
    if (json_) {
      Printer inner(DumpFormat::kJson, out_);
      inner(a_name, a);
      inner(b_name, b);
      inner.End();
    } else {
      Value(a);
      *out_ += '=';
      Value(b);
    }
  }
  template <class Elements, class Each>
  void List(const Elements& list, const Each& each) {
    *out_ += '[';
    bool first = true;
    for (const auto& element : list) {
      if (!first) *out_ += json_ ? "," : " ";
      first = false;
      each(element);
    }
    *out_ += ']';
  }

  bool json_;
  std::string* out_;
  bool first_ = true;
};

void PrintTyped(Printer& out, std::string_view name, std::string_view text) {
  out.Name(name);
  out.Plain(text);
}

std::string ProblemLine(std::string_view problem, DumpFormat format) {
  std::string line;
  if (format == DumpFormat::kText) return "problem " + std::string(problem);
  Printer out(format, &line);
  out("problem", std::string(problem));
  out.End();
  return line;
}

}  // namespace

std::string PositionText(Position position) {
  return std::to_string(SegmentOf(position)) + ":" + std::to_string(OffsetOf(position));
}

std::optional<Position> PositionFromText(std::string_view text) {
  SegmentNumber segment = 0;
  uint32_t offset = 0;
  const char* const end = text.data() + text.size();
  const auto [colon, error] = std::from_chars(text.data(), end, segment);
  if (error != std::errc() || colon == end || *colon != ':' || segment == 0) return std::nullopt;
  const auto [last, offset_error] = std::from_chars(colon + 1, end, offset);
  if (offset_error != std::errc() || last != end) return std::nullopt;
  return PositionOf(segment, offset);
}

void DumpFrame(const Committed& committed, DumpFormat format, const std::optional<AccountId>& account,
               const std::function<void(std::string_view line)>& line) {
  const Frame& frame = *committed.frame;
  std::string text = format == DumpFormat::kText ? "frame " : "";
  Printer head(format, &text);
  if (format == DumpFormat::kJson) PrintTyped(head, "type", "frame");
  PrintTyped(head, "position", PositionText(committed.begin));
  head("origin", frame.origin);
  head("first_seq", frame.first_seq);
  head("count", frame.count);
  head("generation", frame.generation);
  PrintTyped(head, "time", TimeText(HlcMillis(frame.base)));
  head("bytes", uint64_t{frame.shipped.size()});
  PrintTyped(head, "chain", HexU64(frame.chain));
  head("applied", frame.applied);
  head.End();
  line(text);
  for (size_t i = 0; i < frame.records.size(); ++i) {
    const Record& record = frame.records[i];
    if (account && record.account != *account) continue;
    text = format == DumpFormat::kText ? "  " + std::string(RecordTypeName(record.body)) + " " : "";
    Printer out(format, &text);
    if (format == DumpFormat::kJson) PrintTyped(out, "type", RecordTypeName(record.body));
    out("dot", Dot{frame.origin, frame.first_seq + i});
    PrintTyped(out, "time", TimeText(HlcMillis(record.time)));
    out("hlc", record.time);
    if (!record.account.empty()) out("account", record.account);
    if (record.group_continues) out("group_continues", true);
    std::visit([&out](const auto& body) { Fields(out, body); }, record.body);
    out.End();
    line(text);
  }
}

absl::StatusOr<uint64_t> DumpJournal(Disk& disk, const std::string& directory, const DumpOptions& options,
                                     const std::function<void(std::string_view line)>& line) {
  absl::StatusOr<std::unique_ptr<JournalReader>> reader =
      JournalReader::Open(disk, directory, options.from, options.until, ReadOrder::kAsStored);
  if (!reader.ok()) return reader.status();
  uint64_t problems = 0;
  while (true) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status()) || absl::IsUnimplemented(next.status())) {
      ++problems;
      line(ProblemLine(std::string(next.status().message()), options.format));
      continue;
    }
    if (!next.ok()) return next.status();
    if (!*next) return problems;
    if (options.account) {
      const auto& records = (*next)->frame->records;
      const bool concerned = std::any_of(records.begin(), records.end(),
                                         [&](const Record& record) { return record.account == *options.account; });
      if (!concerned) continue;
    }
    DumpFrame(**next, options.format, options.account, line);
  }
}

absl::StatusOr<JournalStat> VerifyJournal(Disk& disk, const std::string& directory, bool deep,
                                          const std::function<void(std::string_view problem)>& problem,
                                          const std::function<void(uint64_t done, uint64_t all)>& progress) {
  JournalStat stat;
  absl::StatusOr<std::vector<SegmentNumber>> segments = ListSegments(disk, directory);
  if (!segments.ok()) return segments.status();
  absl::StatusOr<std::vector<SegmentNumber>> spares = ListSpares(disk, directory);
  if (!spares.ok()) return spares.status();
  stat.segments = segments->size();
  stat.spares = spares->size();
  uint64_t to_read = 0;
  for (SegmentNumber number : *segments) {
    absl::StatusOr<FileInfo> info = disk.Stat(SegmentPath(directory, number));
    if (info.ok()) to_read += info->bytes;
  }
  stat.bytes_on_disk = to_read;
  for (SegmentNumber number : *spares) {
    absl::StatusOr<FileInfo> info = disk.Stat(SparePath(directory, number));
    if (info.ok()) stat.bytes_on_disk += info->bytes;
  }
  uint64_t done = 0;
  absl::StatusOr<Recovery> recovery =
      Recover(disk, directory, [&](Position begin, Position end, const FrameHeader& header) {
        if (stat.oldest == 0) stat.oldest = begin;
        ++stat.frames;
        stat.records += header.count;
        stat.stored_bytes += end - begin;
        stat.unpacked_bytes += header.unpacked_bytes;
        done += end - begin;
        if (progress) progress(done, to_read);
      });
  if (!recovery.ok()) return recovery.status();
  stat.end = recovery->end;
  if (stat.oldest == 0) stat.oldest = stat.end;
  stat.cut_bytes = recovery->cut_bytes;
  stat.held = recovery->held();
  const auto report = [&](std::string_view text) {
    ++stat.problems;
    if (problem) problem(text);
  };
  for (const std::string& text : recovery->problems) report(text);
  if (!deep || stat.segments == 0) return stat;

  absl::StatusOr<std::unique_ptr<JournalReader>> reader =
      JournalReader::Open(disk, directory, 0, stat.end, ReadOrder::kAsStored);
  if (!reader.ok()) return reader.status();
  while (true) {
    absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) {
      if (recovery->damage.empty()) report(std::string(next.status().message()));  // else said above, or held elsewhere
      continue;
    }
    if (absl::IsUnimplemented(next.status())) {
      report(std::string(next.status().message()));
      continue;
    }
    if (!next.ok()) return next.status();
    if (!*next) return stat;
    for (const Record& record : (*next)->frame->records) {
      ++stat.records_by_type[std::string(RecordTypeName(record.body))];
    }
  }
}

std::string FormatStat(const JournalStat& stat, DumpFormat format) {
  std::string out;
  Printer print(format, &out);
  const auto next = [&] {
    if (format == DumpFormat::kText) out += '\n';
  };
  const auto number = [&](std::string_view name, uint64_t value) {
    print(name, value);
    next();
  };
  number("segments", stat.segments);
  number("spares", stat.spares);
  number("bytes_on_disk", stat.bytes_on_disk);
  PrintTyped(print, "oldest", PositionText(stat.oldest));
  next();
  PrintTyped(print, "end", PositionText(stat.end));
  next();
  number("frames", stat.frames);
  number("records", stat.records);
  number("stored_bytes", stat.stored_bytes);
  number("unpacked_bytes", stat.unpacked_bytes);
  number("torn_tail_bytes", stat.cut_bytes);
  print("held", stat.held);
  next();
  for (const auto& [type, count] : stat.records_by_type) number("records_" + type, count);
  number("problems", stat.problems);
  print.End();
  if (format == DumpFormat::kText) {
    // `name=value`, one a line.
    std::string lines;
    for (size_t i = 0; i < out.size(); ++i) {
      if (i > 0 && out[i - 1] == '\n' && out[i] == ' ') continue;
      lines += out[i];
    }
    return lines;
  }
  return out;
}

}  // namespace gemel::journal
