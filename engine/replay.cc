#include "engine/replay.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/apply.h"
#include "engine/directory.h"
#include "engine/journal_bodies.h"
#include "journal/journal.h"
#include "journal/segment.h"
#include "journal/walker.h"
#include "maildir/account_reader.h"
#include "maildir/store.h"

namespace gemel::engine {
namespace {

using journal::Committed;
using journal::Frame;
using journal::Record;

constexpr size_t kBacklogBytesMax = 32 * 1024 * 1024;
constexpr size_t kBatchBytesMax = 4 * 1024 * 1024;

absl::Status CheckTarget(journal::Disk& disk, const std::string& target) {
  const absl::StatusOr<std::vector<std::string>> names = disk.List(target);
  if (names.ok() && !names->empty()) {
    return absl::AlreadyExistsError(absl::StrCat(target, " is not empty: give a directory of its own"));
  }
  return names.ok() || absl::IsNotFound(names.status()) ? disk.MakeDirectories(target) : names.status();
}

class Replayer {
 public:
  Replayer(journal::Disk& disk, const ReplayOptions& options) : disk_(disk), options_(options) {
    if (!options_.account.empty()) only_ = journal::AccountIdOf(options_.account);
  }

  absl::StatusOr<ReplayReport> Run(const std::function<void(const ReplayProgress&)>& progress) {
    if (!options_.dry_run) {
      if (absl::Status status = CheckTarget(disk_, options_.target); !status.ok()) return status;
      absl::StatusOr<std::unique_ptr<maildir::Store>> store = maildir::Store::Open(disk_, {.root = options_.target});
      if (!store.ok()) return store.status();
      store_ = *std::move(store);
    }
    // Taken once: a node that runs writes on meanwhile.
    const absl::StatusOr<journal::Position> end = journal::Walker(disk_, options_.journal_directory, 0).FindEnd();
    if (!end.ok()) return end.status();
    if (absl::Status status = Measure(*end); !status.ok()) return status;
    absl::StatusOr<std::unique_ptr<journal::JournalReader>> reader =
        journal::JournalReader::Open(disk_, options_.journal_directory, 0, *end);
    if (!reader.ok()) return reader.status();
    bool first = true;
    for (;;) {
      absl::StatusOr<std::optional<Committed>> next = (*reader)->Next();
      if (absl::IsDataLoss(next.status())) {
        report_.damaged.emplace_back(next.status().message());
        continue;
      }
      if (!next.ok()) return next.status();
      if (!next->has_value()) break;
      if (std::exchange(first, false)) {
        if (absl::Status status = LoadBases(*(*next)->frame); !status.ok()) return status;
      }
      if (absl::Status status = Take(**next); !status.ok()) return status;
      if (progress && report_.done.frames % 16 == 0) progress(report_.done);
    }
    if (progress) progress(report_.done);
    return Finish();
  }

 private:
  // How many bytes there are to read before each segment, and in all up to `end`.
  absl::Status Measure(journal::Position end) {
    absl::StatusOr<std::vector<journal::SegmentNumber>> segments =
        journal::ListSegments(disk_, options_.journal_directory);
    if (!segments.ok()) return segments.status();
    for (const journal::SegmentNumber number : *segments) {
      if (number > journal::SegmentOf(end)) break;
      bytes_before_[number] = report_.done.bytes_all;
      const absl::StatusOr<journal::FileInfo> info =
          disk_.Stat(journal::SegmentPath(options_.journal_directory, number));
      const bool last = number == journal::SegmentOf(end);
      if (info.ok() || last) report_.done.bytes_all += last ? journal::OffsetOf(end) : info->bytes;
    }
    return absl::OkStatus();
  }

  // A journal whose first segments were retired starts from the bases (design 3).
  absl::Status LoadBases(const Frame& first) {
    const bool from_the_start = std::any_of(first.records.begin(), first.records.end(), [](const Record& record) {
      const auto* start = std::get_if<journal::Start>(&record.body);
      return start != nullptr && start->predecessor == journal::Origin{};
    });
    if (from_the_start) return absl::OkStatus();
    const std::string data =
        options_.data_directory.empty() ? DataDirectoryOf(options_.journal_directory) : options_.data_directory;
    if (options_.until_ms && *options_.until_ms < journal::HlcMillis(first.base)) {
      return absl::FailedPreconditionError("the journal does not reach back to that moment");
    }
    // Where nothing was retired the start is only damaged, which is reported.
    const bool retired = !bytes_before_.empty() && bytes_before_.begin()->first > 1;
    absl::Status no_bases =
        !retired ? absl::OkStatus()
                 : absl::FailedPreconditionError(absl::StrCat(
                       options_.journal_directory, " does not reach back to the first start, and ", data,
                       " has no bases to begin from: give a journal that lies in its node's data directory, or in a "
                       "whole copy of one (backup, snapshot)"));
    absl::StatusOr<std::string> bytes = disk_.ReadWhole(data + "/node/directory");
    if (absl::IsNotFound(bytes.status())) return no_bases;
    if (!bytes.ok()) return bytes.status();
    if (absl::Status status = directory_.Decode(*bytes); !status.ok()) return status;
    bool any = false;
    for (const auto& [id, account] : directory_.accounts()) {
      if (any && Skipped(id)) continue;  // until then it shows that there are bases
      maildir::AccountReader live(disk_, data, account.name);
      absl::StatusOr<AccountState> base = live.ReadBase();
      if (absl::IsNotFound(base.status())) continue;
      any = true;
      if (Skipped(id)) continue;
      if (!base.ok()) {
        report_.damaged.push_back(absl::StrCat(
            account.name, ": what is older than the journal is missing: ", std::string(base.status().message())));
        continue;
      }
      if (absl::Status status = CopyBase(live, account, *std::move(base)); !status.ok()) return status;
    }
    const bool begins_here = any || directory_.accounts().empty();
    return begins_here ? absl::OkStatus() : no_bases;
  }

  // A letter without a whole file is noted: it may have been expunged since, and then nothing is missing.
  std::optional<maildir::InlineBody> BodyOf(maildir::AccountReader& live, const Account& account,
                                            const std::string& where, const Message& message) {
    absl::StatusOr<std::string> bytes = live.ReadBody(message);
    if (bytes.ok()) return maildir::InlineBody{std::make_shared<const std::string>(*std::move(bytes))};
    without_file_[account.id].emplace(message.dot, absl::StrCat(account.name, " ", where, ": no whole file"));
    return std::nullopt;
  }

  absl::Status CopyBase(maildir::AccountReader& live, const Account& account, AccountState base) {
    Know(account.id, account.name);
    if (store_) {
      maildir::StoreBatch batch;
      size_t batch_bytes = 0;
      const auto put = [&](maildir::StoreOp op, size_t bytes) {
        batch.items.push_back({account.id, std::move(op)});
        batch_bytes += bytes;
        if (batch_bytes < kBatchBytesMax) return absl::OkStatus();
        batch_bytes = 0;
        store_->Enqueue(std::exchange(batch, {}));
        return Drain(kBacklogBytesMax);
      };
      Effects rows;
      std::set<MailboxId> all;
      for (const auto& [id, mailbox] : base.mailboxes) all.insert(id);
      AppendMailboxRows(base, all, rows);
      batch.items = std::move(rows.store);
      for (const auto& [id, mailbox] : base.mailboxes) {
        for (const Message& message : mailbox.messages) {
          auto body = BodyOf(live, account, absl::StrCat(mailbox.name, " UID ", message.uid), message);
          if (!body) continue;
          const absl::Status status =
              put(maildir::PutMessage{id, message, mailbox.KeywordNames(message.keywords), "", *std::move(body)},
                  message.bytes);
          if (!status.ok()) return status;
        }
      }
      for (const auto& [dot, unplaced] : base.unplaced) {  // their Place is in what the journal still has
        auto body = BodyOf(live, account, absl::StrCat("letter ", unplaced.message.guid.hex()), unplaced.message);
        if (!body) continue;
        const absl::Status status = put(maildir::PutUnplaced{unplaced, "", *std::move(body)}, unplaced.message.bytes);
        if (!status.ok()) return status;
      }
      batch.items.push_back(
          {account.id, maildir::PutSubscriptions{{base.subscriptions.begin(), base.subscriptions.end()}}});
      batch.applied = std::make_shared<const journal::VectorClock>(base.applied);
      store_->Enqueue(std::move(batch));
      if (absl::Status status = Drain(0); !status.ok()) return status;
    }
    accounts_[account.id] = std::move(base);
    return absl::OkStatus();
  }

  bool Skipped(const AccountId& id) const { return !only_.empty() && id != only_; }

  void Know(const AccountId& id, const std::string& name) {
    if (store_) store_->Know(id, name);
    AccountState& state = accounts_[id];
    state.id = id;
    state.name = name;
  }

  absl::Status Take(const Committed& one) {
    const auto& frame = one.frame;
    ++report_.done.frames;
    report_.done.bytes = bytes_before_[journal::SegmentOf(one.end)] + journal::OffsetOf(one.end);
    auto& group = groups_[frame->origin];
    maildir::StoreBatch batch;
    std::map<AccountId, Effects> effects;
    DropVoid(*frame, batch);
    for (size_t i = 0; i < frame->records.size(); ++i) {
      const Record& record = frame->records[i];
      if (options_.until_ms && journal::HlcMillis(record.time) > *options_.until_ms) continue;
      ++report_.done.records;
      group.emplace_back(frame, i);
      if (record.group_continues) continue;
      const bool is_void = IsVoid(group, [this](const AccountId& id) -> const AccountState* {
        const auto found = accounts_.find(id);
        return found == accounts_.end() ? nullptr : &found->second;
      });
      for (const auto& [each, index] : group) ApplyOne(each, index, is_void, batch, effects);
      group.clear();
    }
    if (!store_) return absl::OkStatus();
    for (auto& [id, each] : effects) {
      std::set<MailboxId> touched;
      CollectTouched(each, 0, touched);
      AppendMailboxRows(accounts_[id], touched, each);
      std::move(each.store.begin(), each.store.end(), std::back_inserter(batch.items));
    }
    batch.applied = std::make_shared<const journal::VectorClock>(applied_);
    batch.position = one.end;
    store_->Enqueue(std::move(batch));
    return Drain(kBacklogBytesMax);
  }

  void ApplyOne(const std::shared_ptr<const Frame>& frame, size_t index, bool is_void, maildir::StoreBatch& batch,
                std::map<AccountId, Effects>& effects) {
    const Record& record = frame->records[index];
    const Dot dot{frame->origin, frame->first_seq + index};
    applied_.Raise(dot.origin, dot.seq);
    if (const auto* chunk = std::get_if<journal::BodyChunk>(&record.body)) {
      const Dot body{dot.origin, chunk->first == 0 ? dot.seq : chunk->first};
      if (chunk->first == 0) open_bodies_.insert(body);
      // Of one whose beginning is gone, with its segment or damaged, nothing is of use.
      if (store_ && open_bodies_.contains(body))
        batch.items.push_back({AccountId{}, maildir::SpoolChunk{body, chunk->offset, chunk->last, chunk->bytes}});
      return;
    }
    if (const auto* drop = std::get_if<journal::BodyDrop>(&record.body)) {
      return DropBody(Dot{dot.origin, drop->first}, batch);
    }
    if (const auto* deliver = std::get_if<journal::Deliver>(&record.body); deliver != nullptr && deliver->body_done) {
      const Dot body{dot.origin, deliver->body};
      const bool skipped = Skipped(record.account) || accounts_[record.account].applied.Covers(dot);
      skipped ? DropBody(body, batch) : static_cast<void>(open_bodies_.erase(body));
    }
    directory_.Apply(dot, record);
    if (record.account.empty() || Skipped(record.account)) return;
    if (const auto* set = std::get_if<journal::AccountSet>(&record.body)) return Know(record.account, set->name);
    AccountState& state = accounts_[record.account];
    if (state.applied.Covers(dot)) return;  // in the base
    if (std::holds_alternative<journal::Deliver>(record.body)) ++report_.done.messages;
    if (!is_void) Apply(state, frame, index, effects[record.account]);
  }

  void DropVoid(const Frame& frame, maildir::StoreBatch& batch) {
    for (const Dot& body : std::set<Dot>(open_bodies_)) {
      if (MakesVoid(frame, body)) DropBody(body, batch);
    }
  }

  void DropBody(const Dot& body, maildir::StoreBatch& batch) {
    if (open_bodies_.erase(body) > 0 && store_) batch.items.push_back({AccountId{}, maildir::SpoolDrop{body}});
  }

  absl::Status Drain(size_t backlog_bytes) {
    while (store_->backlog_bytes() > backlog_bytes || (backlog_bytes == 0 && store_->backlog_items() > 0)) {
      absl::StatusOr<bool> more = store_->RunOnce(1024);
      if (!more.ok()) return more.status();
      if (!*more) break;
    }
    const auto parked = store_->ParkedAccounts();
    return parked.empty() ? absl::OkStatus() : parked.front().why;
  }

  absl::StatusOr<ReplayReport> Finish() {
    if (!only_.empty() && !accounts_.contains(only_)) {
      return absl::NotFoundError(absl::StrCat("the journal knows no account ", options_.account));
    }
    if (store_) {
      maildir::StoreBatch unfinished;
      for (const Dot& body : std::exchange(open_bodies_, {})) {
        unfinished.items.push_back({AccountId{}, maildir::SpoolDrop{body}});
      }
      store_->Enqueue(std::move(unfinished));
      if (absl::Status status = Drain(0); !status.ok()) return status;
    }
    for (auto& [id, state] : accounts_) {
      ++report_.accounts;
      report_.mailboxes += state.mailboxes.size();
      for (const auto& [mailbox_id, mailbox] : state.mailboxes) report_.messages += mailbox.messages.size();
      report_.digests.emplace_back(state.name, absl::BytesToHexString(maildir::Digest(state)));
      if (!store_) continue;
      ReportWithoutFile(state);
      if (absl::Status status = store_->WriteDovecotFiles(state); !status.ok()) return status;
    }
    if (store_) {
      if (absl::Status status = store_->Checkpoint().status(); !status.ok()) return status;
    }
    std::sort(report_.digests.begin(), report_.digests.end());
    return std::move(report_);
  }

  void ReportWithoutFile(const AccountState& state) {
    for (const auto& [letter, text] : without_file_[state.id]) {
      const Dot& dot = letter;
      const bool there = state.unplaced.contains(dot) ||
                         std::any_of(state.mailboxes.begin(), state.mailboxes.end(),
                                     [&dot](const auto& each) { return each.second.Find(dot) != nullptr; });
      if (there) report_.damaged.push_back(text);
    }
  }

  journal::Disk& disk_;
  const ReplayOptions& options_;
  AccountId only_;
  std::unique_ptr<maildir::Store> store_;
  Directory directory_;
  journal::VectorClock applied_;
  std::map<AccountId, AccountState> accounts_;
  std::map<AccountId, std::map<Dot, std::string>> without_file_;  // letters of bases
  std::set<Dot> open_bodies_;                                     // bodies in the spool whose last Deliver has not come
  std::map<journal::Origin, std::vector<GroupMember>> groups_;  // what an incarnation did not finish stays: it is void
  std::map<journal::SegmentNumber, uint64_t> bytes_before_;
  ReplayReport report_;
};

}  // namespace

std::string DataDirectoryOf(std::string journal_directory) {
  while (journal_directory.ends_with('/')) journal_directory.pop_back();
  const size_t slash = journal_directory.rfind('/');
  return slash == std::string::npos ? "." : journal_directory.substr(0, slash);
}

absl::StatusOr<ReplayReport> Replay(journal::Disk& disk, const ReplayOptions& options,
                                    const std::function<void(const ReplayProgress&)>& progress) {
  return Replayer(disk, options).Run(progress);
}

absl::StatusOr<ReplayReport> Export(journal::Disk& disk, const ExportOptions& options,
                                    const std::function<void(const ReplayProgress&)>& progress) {
  // The journal may be ahead of the Maildirs, and it knows everything that they hold: an export is a replay.
  ReplayOptions replay;
  replay.journal_directory = options.data_directory + "/journal";
  replay.data_directory = options.data_directory;
  replay.target = options.target;
  replay.account = options.account;
  return Replay(disk, replay, progress);
}

}  // namespace gemel::engine
