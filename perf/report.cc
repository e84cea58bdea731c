#include "perf/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace gemel::perf {

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double Samples::Percentile(double fraction) const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  // The smallest value that at least this share of the samples does not exceed.
  const double rank = std::ceil(fraction * static_cast<double>(sorted.size()));
  const size_t index = std::min(sorted.size() - 1, static_cast<size_t>(std::max(rank, 1.0)) - 1);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(index), sorted.end());
  return sorted[index];
}

double Samples::Sum() const { return std::accumulate(values_.begin(), values_.end(), 0.0); }

Row& Row::Set(std::string_view name, Value value) {
  fields_.emplace_back(name, std::move(value));
  return *this;
}

Row& Row::SetMillis(std::string_view prefix, const Samples& seconds) {
  const std::string name(prefix);
  Set(name + "p50_ms", seconds.Percentile(0.5) * 1000);
  Set(name + "p99_ms", seconds.Percentile(0.99) * 1000);
  return Set(name + "max_ms", seconds.Max() * 1000);
}

std::string Row::Json() const {
  boost::json::object object;
  for (const auto& [name, value] : fields_) {
    std::visit([&, &key = name](const auto& v) { object[key] = v; }, value);
  }
  return boost::json::serialize(object);
}

std::string Row::Human() const {
  std::string text;
  for (const auto& [name, value] : fields_) {
    if (!text.empty()) text += ", ";
    if (const auto* number = std::get_if<double>(&value)) {
      text += fmt::format("{} {:.{}f}", name, *number, *number < 100 ? 2 : 0);
    } else if (const auto* count = std::get_if<uint64_t>(&value)) {
      text += fmt::format("{} {}", name, *count);
    } else {
      text += fmt::format("{} {}", name, std::get<std::string>(value));
    }
  }
  return text;
}

Progress::Progress(bool wanted) : on_(wanted && isatty(STDERR_FILENO) == 1), last_(Clock::now()) {}

bool Progress::Due() { return on_ && SecondsSince(last_) >= 0.2; }

void Progress::Show(std::string_view text) {
  if (!Due()) return;
  last_ = Clock::now();
  shown_ = true;
  std::fprintf(stderr, "\r\033[K%.*s", static_cast<int>(text.size()), text.data());
}

void Progress::Clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

}  // namespace gemel::perf
