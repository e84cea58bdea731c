// What every subcommand of gemel-perf prints: times, rates, a progress line, JSON.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gemel::perf {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start);

// All samples are kept: 8 bytes each, and percentiles are exact. Not thread-safe.
class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  void Append(const Samples& other) { values_.insert(values_.end(), other.values_.begin(), other.values_.end()); }
  size_t size() const { return values_.size(); }
  // `fraction` from 0 to 1; 0.5 is the median. 0 where there are no samples.
  double Percentile(double fraction) const;
  double Max() const { return Percentile(1.0); }
  double Sum() const;
  // The first sample: cold, where the rest is warm.
  double First() const { return values_.empty() ? 0 : values_.front(); }

 private:
  mutable std::vector<double> values_;
};

// One flat row of results, in the order in which the fields were set.
class Row {
 public:
  using Value = std::variant<std::string, double, uint64_t>;
  Row& Set(std::string_view name, Value value);
  Row& SetMillis(std::string_view prefix, const Samples& seconds);
  // `{"name": value, ...}`
  std::string Json() const;
  // `name value, name value`
  std::string Human() const;

 private:
  std::vector<std::pair<std::string, Value>> fields_;
};

// Prints one line that overwrites itself, on a terminal only and at most five times a second.
class Progress {
 public:
  explicit Progress(bool wanted);
  ~Progress() { Clear(); }
  // Whether Show would print now: lets a caller in a tight loop skip building the text.
  bool Due();
  void Show(std::string_view text);
  void Clear();

 private:
  bool on_;
  bool shown_ = false;
  Clock::time_point last_;
};

}  // namespace gemel::perf
