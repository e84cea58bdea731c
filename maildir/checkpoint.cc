#include "maildir/checkpoint.h"

#include <xxhash.h>

#include <utility>

#include "journal/log.h"
#include "journal/wire.h"

namespace gemel::maildir {
namespace {

constexpr std::string_view kMagic = "GEMLCKPT";
constexpr uint32_t kVersion = 1;

std::string PathIn(const std::string& root) { return root + "/checkpoint"; }

// Magic, version, xxh3-64 of the rest: position, clock.
absl::StatusOr<CheckpointInfo> Decode(std::string_view in) {
  uint32_t version = 0;
  uint64_t hash = 0;
  CheckpointInfo info;
  if (!in.starts_with(kMagic)) return absl::DataLossError("not a checkpoint file");
  in.remove_prefix(kMagic.size());
  if (!journal::TakeFixed(&in, &version)) return absl::DataLossError("cut short");
  if (version != kVersion) {
    return absl::UnimplementedError("version " + std::to_string(version) + "; this program reads version " +
                                    std::to_string(kVersion));
  }
  if (!journal::TakeFixed(&in, &hash) || hash != XXH3_64bits(in.data(), in.size()) ||
      !journal::TakeFixed(&in, &info.position)) {
    return absl::DataLossError("its checksum differs");
  }
  auto clock = journal::VectorClock::Decode(&in);
  if (!clock.ok() || !in.empty()) return absl::DataLossError("its clock is damaged");
  info.applied = *std::move(clock);
  return info;
}

}  // namespace

absl::StatusOr<CheckpointInfo> ReadCheckpoint(journal::Disk& disk, const std::string& root) {
  const auto bytes = disk.ReadWhole(PathIn(root));
  if (absl::IsNotFound(bytes.status())) return CheckpointInfo{};
  if (!bytes.ok()) return bytes.status();
  auto info = Decode(*bytes);
  if (info.ok()) return info;
  const std::string problem(info.status().message());
  if (absl::IsUnimplemented(info.status())) return absl::UnimplementedError(PathIn(root) + ": " + problem);
  journal::Log(journal::LogLevel::kError, "checkpoint_damaged", {{"path", PathIn(root)}, {"error", problem}});
  return CheckpointInfo{};
}

absl::Status WriteCheckpoint(journal::Disk& disk, const std::string& root, const CheckpointInfo& info) {
  std::string rest;
  journal::PutFixed<uint64_t>(info.position, &rest);
  info.applied.EncodeTo(&rest);
  std::string bytes(kMagic);
  journal::PutFixed<uint32_t>(kVersion, &bytes);
  journal::PutFixed<uint64_t>(XXH3_64bits(rest.data(), rest.size()), &bytes);
  return disk.ReplaceDurably(PathIn(root), bytes + rest);
}

}  // namespace gemel::maildir
