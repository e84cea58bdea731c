#include "programs/letters.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace gemel::programs {
namespace {

namespace fs = std::filesystem;

absl::Status CannotRead(const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", path, why));
}

// Every line end becomes CRLF: LF, CRLF, CRCRLF and a CR alone.
std::string WithCrlf(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      while (i + 1 < text.size() && text[i + 1] == '\r') ++i;
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
      out += "\r\n";
    } else if (text[i] == '\n') {
      out += "\r\n";
    } else {
      out += text[i];
    }
  }
  if (!out.ends_with("\r\n")) out += "\r\n";
  return out;
}

// mboxrd and mboxo: ">From " was "From ".
std::string WithoutQuotes(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end == std::string_view::npos ? text.size() : end + 1);
    text.remove_prefix(line.size());
    const size_t quotes = line.find_first_not_of('>');
    const bool quoted = quotes != std::string_view::npos && quotes > 0 && line.substr(quotes).starts_with("From ");
    out += quoted ? line.substr(1) : line;
  }
  return out;
}

// Of a Maildir, and of each folder in it, what is in cur and new; of other folders the .eml files.
absl::Status Walk(const fs::path& folder, bool all_files, std::vector<std::string>* files) {
  std::error_code error;
  const bool maildir = fs::is_directory(folder / "cur", error);
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (entry->is_directory(error)) {
      if (entry->is_symlink(error) || (maildir && name == "tmp")) continue;  // a link may lead back here
      const bool letters = maildir && (name == "cur" || name == "new");
      if (absl::Status status = Walk(entry->path(), letters, files); !status.ok()) return status;
    } else if (entry->is_regular_file(error) && (all_files || (!maildir && entry->path().extension() == ".eml"))) {
      files->push_back(entry->path());
    }
  }
  return error ? CannotRead(folder, error.message()) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<Letters> Letters::Find(const std::string& path) {
  Letters letters;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    std::vector<std::string> files;
    if (absl::Status status = Walk(path, /*all_files=*/false, &files); !status.ok()) return status;
    std::sort(files.begin(), files.end());
    for (std::string& file : files) letters.places_.push_back({.file = std::move(file), .end = UINT64_MAX});
  } else {
    std::ifstream in(path, std::ios::binary);
    char begin[5] = {};
    if (!in) return CannotRead(path, strerror(errno));
    in.read(begin, sizeof begin);
    if (std::string_view(begin, sizeof begin) == "From ") {
      if (absl::Status status = letters.FindInMbox(path); !status.ok()) return status;
    } else if (in.gcount() > 0) {
      letters.places_.push_back({.file = path, .end = UINT64_MAX});
    }
  }
  if (letters.places_.empty()) {
    return CannotRead(path, "no mail; a Maildir, an mbox or a folder of .eml files is wanted");
  }
  return letters;
}

// A line "From " after an empty line begins a letter.
absl::Status Letters::FindInMbox(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  bool empty_before = true;
  uint64_t at = 0;
  for (std::string line; std::getline(in, line);) {
    const uint64_t begin = std::exchange(at, at + line.size() + 1);
    if (empty_before && line.starts_with("From ")) {
      if (!places_.empty()) places_.back().end = begin;
      places_.push_back({.file = file, .begin = at, .end = UINT64_MAX, .in_mbox = true});
    }
    empty_before = line.empty() || line == "\r";
  }
  return in.bad() ? CannotRead(file, strerror(errno)) : absl::OkStatus();
}

absl::StatusOr<std::string> Letters::Read(size_t number) const {
  const Place& place = places_[number];
  std::ifstream in(place.file, std::ios::binary);
  if (!in) return CannotRead(place.file, strerror(errno));
  std::string text;
  if (place.end == UINT64_MAX) {
    in.seekg(static_cast<std::streamoff>(place.begin));
    text.assign(std::istreambuf_iterator<char>(in), {});
  } else {
    text.resize(place.end - place.begin);
    in.seekg(static_cast<std::streamoff>(place.begin));
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(in.gcount()));
  }
  return WithCrlf(place.in_mbox ? WithoutQuotes(text) : text);
}

}  // namespace gemel::programs
