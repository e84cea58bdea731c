#include "imap/command_reader.h"

#include <algorithm>
#include <utility>

namespace gemel::imap {
namespace {

constexpr size_t kLiteralMarkBytesMax = 24;  // "{18446744073709551615+}"

// The tag of a command that is too long to be taken apart.
std::string TagOf(std::string_view command) {
  ParseResult result = ParseCommand(command.substr(0, std::min<size_t>(command.size(), 256)));
  return result.tag;
}

}  // namespace

void CommandReader::Feed(std::string_view bytes) {
  if (at_ == buffer_.size()) {
    buffer_.clear();
    at_ = scanned_ = 0;
  } else if (at_ > 32 * 1024 && at_ > buffer_.size() / 2) {
    buffer_.erase(0, at_);
    scanned_ -= std::min(scanned_, at_);
    at_ = 0;
  }
  buffer_ += bytes;
}

void CommandReader::Clear() {
  buffer_.clear();
  at_ = scanned_ = 0;
}

// True: *line is the next line without its end, and is consumed. Of a line longer than bytes_max a part is given, with
// *too_long, and consumed: as far as it goes, but for what may be the beginning of the mark of a literal at its end.
bool CommandReader::TakeLine(size_t bytes_max, std::string_view* line, bool* too_long) {
  const size_t from = std::max(at_, scanned_);
  const size_t end = buffer_.find('\n', from);
  *too_long = false;
  if (end == std::string::npos || end - at_ > bytes_max) {
    scanned_ = buffer_.size();
    if (end != std::string::npos) scanned_ = from;
    if (buffered_bytes() <= bytes_max) return false;
    const size_t given = bytes_max - std::min(bytes_max, kLiteralMarkBytesMax);
    *line = std::string_view(buffer_).substr(at_, given);
    *too_long = true;
    Consume(given);
    scanned_ = at_;
    return true;
  }
  *line = std::string_view(buffer_).substr(at_, end - at_);
  if (!line->empty() && line->back() == '\r') line->remove_suffix(1);
  Consume(end + 1 - at_);
  scanned_ = at_;
  return true;
}

std::optional<std::string> CommandReader::NextLine() {
  std::string_view line;
  bool too_long = false;
  if (!TakeLine(kLineBytesMax, &line, &too_long)) return std::nullopt;
  if (too_long) state_ = State::kSkipLine;
  return std::string(line);
}

CommandReader::Item CommandReader::Next() {
  while (true) {
    std::string_view line;
    bool too_long = false;
    switch (state_) {
      case State::kLine: {
        const size_t left = kLineBytesMax - std::min(kLineBytesMax, line_bytes_);
        if (!TakeLine(left, &line, &too_long)) return {};
        if (too_long) {
          command_ += line;
          return RejectLine("the line is too long");
        }
        Item item = OnLine(line);
        if (item.kind != Kind::kNeedMore) return item;
        break;
      }
      case State::kLiteral:
      case State::kSkipLiteral: {
        const size_t n = static_cast<size_t>(std::min<uint64_t>(literal_left_, buffered_bytes()));
        if (state_ == State::kLiteral) command_.append(buffer_, at_, n);
        Consume(n);
        literal_left_ -= n;
        if (literal_left_ > 0) return {};
        state_ = state_ == State::kLiteral ? State::kLine : State::kSkipLine;
        break;
      }
      case State::kAppendDecision:
        return {};
      case State::kAppendLiteral: {
        if (literal_left_ == 0) {
          state_ = State::kAppendRest;
          break;
        }
        const size_t n = static_cast<size_t>(std::min<uint64_t>(literal_left_, buffered_bytes()));
        if (n == 0) return {};
        Item item{.kind = Kind::kAppendBytes, .parsed = {}, .literal = {}, .bytes = buffered().substr(0, n)};
        Consume(n);
        literal_left_ -= n;
        return item;
      }
      case State::kAppendRest: {
        if (!TakeLine(kLineBytesMax, &line, &too_long)) return {};
        Item item{.kind = Kind::kAppendEnd, .parsed = {}, .literal = {}, .bytes = {}};
        state_ = too_long ? State::kSkipLine : State::kLine;
        if (too_long || line.find_first_not_of(' ') != std::string_view::npos) {
          item.parsed.error = "APPEND: only one message at a time";
          const auto mark = too_long ? std::nullopt : LiteralMarkAtEnd(line);
          if (mark && !mark->synchronizing) SkipLiteral(*mark);
        }
        return item;
      }
      case State::kSkipLine:
        if (!TakeLine(kLineBytesMax, &line, &too_long)) return {};
        if (too_long) break;
        state_ = State::kLine;
        if (const auto mark = LiteralMarkAtEnd(line); mark && !mark->synchronizing) SkipLiteral(*mark);
        break;
    }
  }
}

CommandReader::Item CommandReader::OnLine(std::string_view line) {
  line_bytes_ += line.size();
  const auto mark = LiteralMarkAtEnd(line);
  if (!mark) {
    if (command_.empty()) {
      if (line.empty()) return {};  // an empty line between commands does no harm
      return Done(ParseCommand(line));
    }
    command_ += line;
    return Done(ParseCommand(command_));
  }
  // Looked at first, so that many literals do not mean many copies of the command.
  const bool append = IsAppend(command_.empty() ? line : command_);
  if (append && AwaitsAppendMessage(command_ + std::string(line.substr(0, line.size() - mark->mark_bytes)))) {
    command_ += line.substr(0, line.size() - mark->mark_bytes);
    ParseResult parsed = ParseAppendStart(command_);
    if (!parsed.command) return Reject(std::move(parsed), mark);
    append_literal_ = *mark;
    command_.clear();
    line_bytes_ = 0;
    state_ = State::kAppendDecision;
    return {.kind = Kind::kAppend, .parsed = std::move(parsed), .literal = *mark, .bytes = {}};
  }
  command_ += line;
  command_ += "\r\n";
  return OnLiteralMark(*mark);
}

CommandReader::Item CommandReader::OnLiteralMark(const LiteralMark& mark) {
  if (mark.bytes > kLiteralBytesMax || command_.size() + mark.bytes > kCommandBytesMax) {
    ParseResult parsed;
    parsed.tag = TagOf(command_);
    parsed.error = "a literal is too long";
    return Reject(std::move(parsed), mark);
  }
  literal_left_ = mark.bytes;
  state_ = State::kLiteral;
  if (mark.synchronizing) return {.kind = Kind::kContinue, .parsed = {}, .literal = {}, .bytes = {}};
  return {};
}

// The command is bad. Its literal comes nevertheless if it does not wait for our word, and the line goes on behind it.
CommandReader::Item CommandReader::Reject(ParseResult parsed, const std::optional<LiteralMark>& mark) {
  Item item = Done(std::move(parsed));
  if (mark && !mark->synchronizing) SkipLiteral(*mark);
  return item;
}

CommandReader::Item CommandReader::RejectLine(std::string why) {
  ParseResult parsed;
  parsed.tag = TagOf(command_);
  parsed.error = std::move(why);
  Item item = Done(std::move(parsed));
  state_ = State::kSkipLine;
  return item;
}

void CommandReader::SkipLiteral(const LiteralMark& mark) {
  literal_left_ = mark.bytes;
  state_ = State::kSkipLiteral;
}

CommandReader::Item CommandReader::Done(ParseResult parsed) {
  command_.clear();
  line_bytes_ = 0;
  state_ = State::kLine;
  return {.kind = Kind::kCommand, .parsed = std::move(parsed), .literal = {}, .bytes = {}};
}

void CommandReader::AcceptLiteral() {
  literal_left_ = append_literal_.bytes;
  state_ = State::kAppendLiteral;
}

void CommandReader::RefuseLiteral() {
  state_ = State::kLine;
  if (!append_literal_.synchronizing) SkipLiteral(append_literal_);
}

}  // namespace gemel::imap
