#include "engine/bases.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "engine/apply.h"
#include "journal/log.h"

namespace gemel::engine {
namespace {

using journal::Frame;
using journal::Position;

// Gives records in the order in which they are applied: a group's when its last has come.
class GroupWalk {
 public:
  using Visit = std::function<void(const std::vector<GroupMember>& group)>;
  explicit GroupWalk(Visit visit) : visit_(std::move(visit)) {}

  void Take(const journal::Committed& one) {
    const Frame& frame = *one.frame;
    Group& group = groups_[frame.origin.node];
    if (group.origin != frame.origin) {
      // What an incarnation did not finish is void: its groups, and its bodies without a Deliver.
      Clear(group);
      std::erase_if(bodies_, [&](const auto& entry) { return entry.first.origin == group.origin; });
      group.origin = frame.origin;
    }
    for (size_t i = 0; i < frame.records.size(); ++i) {
      if (group.members.empty()) group.begin = one.begin;
      group.members.emplace_back(one.frame, i);
      if (frame.records[i].group_continues) continue;
      for (const auto& [each, index] : group.members) NoteBody(*each, index, one.begin);
      visit_(group.members);
      Clear(group);
    }
  }
  // Something that began before `position` has not ended.
  bool OpenSince(Position position) const {
    return std::any_of(
               groups_.begin(), groups_.end(),
               [&](const auto& entry) { return !entry.second.members.empty() && entry.second.begin < position; }) ||
           std::any_of(bodies_.begin(), bodies_.end(), [&](const auto& entry) { return entry.second < position; });
  }
  const journal::VectorClock& applied() const { return applied_; }

 private:
  struct Group {
    journal::Origin origin;
    Position begin = 0;
    std::vector<GroupMember> members;
  };
  void Clear(Group& group) {
    if (group.members.empty()) return;
    applied_.Raise(group.origin, group.members.back().first->first_seq + group.members.back().second);
    group.members.clear();
  }
  void NoteBody(const Frame& frame, size_t index, Position begin) {
    const journal::RecordBody& body = frame.records[index].body;
    if (const auto* chunk = std::get_if<journal::BodyChunk>(&body)) {
      if (chunk->first == 0) bodies_.emplace(Dot{frame.origin, frame.first_seq + index}, begin);
    } else if (const auto* drop = std::get_if<journal::BodyDrop>(&body)) {
      bodies_.erase(Dot{frame.origin, drop->first});
    } else if (const auto* deliver = std::get_if<journal::Deliver>(&body); deliver != nullptr && deliver->body_done) {
      bodies_.erase(Dot{frame.origin, deliver->body});
    }
  }

  const Visit visit_;
  std::map<journal::NodeId, Group> groups_;
  std::map<Dot, Position> bodies_;
  journal::VectorClock applied_;
};

}  // namespace

absl::StatusOr<JournalPart> ReadJournalPart(journal::Disk& disk, const std::string& directory, Position begin,
                                            Position end, Position limit) {
  JournalPart part;
  part.begin = begin;
  part.end = end;
  part.limit = limit;
  std::set<journal::AccountId> touched;
  GroupWalk walk([&](const std::vector<GroupMember>& group) {
    for (const auto& [frame, index] : group) {
      if (!frame->records[index].account.empty()) touched.insert(frame->records[index].account);
    }
  });
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(disk, directory, begin, limit);
  if (!reader.ok()) return reader.status();
  for (;;) {
    absl::StatusOr<std::optional<journal::Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status())) {
      part.damage.emplace_back(next.status().message());
      continue;
    }
    if (!next.ok()) return next.status();
    if (!next->has_value()) break;
    const journal::Committed& one = **next;
    if (one.begin >= end && !walk.OpenSince(end)) {
      part.settled = one.begin;
      break;
    }
    walk.Take(one);
    if (one.begin >= end) continue;
    part.records.Raise(one.frame->origin, one.frame->last_seq());
  }
  if (part.settled == 0) {
    if (walk.OpenSince(end)) return absl::UnavailableError("a letter or a command in it is not complete yet");
    part.settled = limit;
  }
  for (const journal::Recovered::Missing& each : (*reader)->missing()) {
    part.missing.push_back(journal::MissingText(each));
  }
  part.accounts.assign(touched.begin(), touched.end());
  return part;
}

absl::Status AdvanceBases(journal::Disk& disk, const std::string& directory, const JournalPart& part,
                          const std::vector<std::pair<journal::AccountId, std::string>>& accounts,
                          maildir::Store& store) {
  absl::flat_hash_map<journal::AccountId, AccountState> states;
  for (const auto& [id, name] : accounts) {
    absl::StatusOr<AccountState> base = store.ReadBase(id);
    if (absl::IsDataLoss(base.status())) {
      // As the account is now is later than it should be, and better than none.
      journal::Log(journal::LogLevel::kError, "base_damaged",
                   {{"account", name}, {"error", std::string(base.status().message())}});
      base = store.Load(id);
    }
    if (!base.ok() && !absl::IsNotFound(base.status())) return base.status();
    AccountState& state = states[id];
    if (base.ok()) state = *std::move(base);
    state.id = id;
    state.name = name;
  }
  GroupWalk walk([&](const std::vector<GroupMember>& group) {
    const bool is_void = IsVoid(group, [&states](const AccountId& id) -> const AccountState* {
      const auto found = states.find(id);
      return found == states.end() ? nullptr : &found->second;
    });
    for (const auto& [frame, index] : group) {
      const auto found = states.find(frame->records[index].account);
      if (is_void || found == states.end()) continue;
      if (found->second.applied.Covers(Dot{frame->origin, frame->first_seq + index})) continue;
      Effects ignored;
      Apply(found->second, frame, index, ignored);
    }
  });
  // What has gone bad since the part was read nobody has agreed to lose.
  const auto is_known = [&part](const absl::Status& status) {
    return std::find(part.damage.begin(), part.damage.end(), std::string(status.message())) != part.damage.end();
  };
  absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
      journal::JournalReader::Open(disk, directory, part.begin, part.limit);
  if (!reader.ok()) return reader.status();
  for (;;) {
    absl::StatusOr<std::optional<journal::Committed>> next = (*reader)->Next();
    if (absl::IsDataLoss(next.status()) && is_known(next.status())) continue;
    if (!next.ok()) return next.status();
    if (!next->has_value() || (*next)->begin >= part.settled) break;
    walk.Take(**next);
  }
  for (auto& [id, state] : states) {
    state.applied.Merge(walk.applied());
    if (absl::Status status = store.WriteBase(state); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace gemel::engine
