// NodeStatus as JSON (what `gemel status --json` and monitoring read; names are those of the struct) and as text for a
// terminal. Both come from one list of fields in status.cc.
#pragma once
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/node.h"

namespace gemel::engine {

std::string StatusJson(const NodeStatus& status);
// InvalidArgument: not a status. Fields that are absent keep their defaults, so that versions can be mixed.
absl::StatusOr<NodeStatus> StatusFromJson(std::string_view json);
std::string StatusText(const NodeStatus& status);

// Whether `gemel status` exits with 0: no problem is an error.
bool StatusIsGood(const NodeStatus& status);

}  // namespace gemel::engine
