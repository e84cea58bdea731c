// For tests: power cuts under the store, and what the engine does after them.
#pragma once
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "journal/crash_disk.h"
#include "journal/log.h"
#include "maildir/sqlite_disk_vfs.h"
#include "maildir/store_model.h"

namespace gemel::maildir {

using journal::CrashDisk;

inline StoreOptions OptionsFor(const SqliteDiskVfs& vfs) {
  return {.root = "/s", .index_rows_at_once = 7, .open_indexes_max = 4, .sqlite_vfs = vfs.name()};
}

// One crash: the disk, and how much the journal held then.
struct Crash {
  std::unique_ptr<CrashDisk> disk;
  size_t batches = 0;
};

class StoreCrashTest : public ::testing::Test {
 protected:
  StoreCrashTest() { journal::SetLogLevel(journal::LogLevel::kOff); }
  ~StoreCrashTest() override { journal::SetLogLevel(journal::LogLevel::kInfo); }

  // Runs a scripted account and takes images at random operations.
  void Run(uint32_t seed, size_t steps, size_t one_in) {
    CrashDisk disk;
    SqliteDiskVfs vfs(disk);
    model_ = StoreModel("ann@example.test", seed);
    history_ = {model_.state};
    crashes_.clear();
    std::mt19937 random(seed * 77 + 1);
    disk.SetObserver([&](const std::string&) {
      if (random() % one_in != 0) return;
      const uint32_t kind = random() % 4;
      Crash crash;
      crash.disk = kind == 0   ? disk.ImageOfSynced()
                   : kind == 1 ? disk.ImageOfAll()
                               : disk.Image([&](size_t, size_t) { return random() % 4 != (kind == 2 ? 0 : 1); });
      crash.batches = model_.log.size();
      crashes_.push_back(std::move(crash));
    });
    auto store = Store::Open(disk, OptionsFor(vfs));
    ASSERT_TRUE(store.ok()) << store.status();
    (*store)->Know(model_.state.id, model_.state.name);
    const auto send = [&] {
      const auto sent = model_.Send(**store);
      if (sent.ok() && *sent) history_.push_back(model_.state);
    };
    model_.Create("INBOX");
    for (size_t i = 0; i < steps; ++i) {
      model_.Step();
      if (model_.Pick(2) == 0) send();
      if (model_.Pick(3) == 0) {
        ASSERT_TRUE((*store)->RunOnce(model_.Pick(12)).ok());
      }
      if (model_.Pick(12) == 0) {
        const auto info = (*store)->Checkpoint();
        ASSERT_TRUE(info.ok()) << info.status();
      }
    }
    send();
  }

  std::map<std::string, std::string> Files(CrashDisk& disk, const std::string& maildir) {
    std::map<std::string, std::string> files;
    std::vector<std::string> mailboxes{""};
    const auto names = disk.List(maildir);
    if (!names.ok()) return files;
    for (const auto& name : *names) {
      if (name[0] == '.') mailboxes.push_back(name + "/");
    }
    for (const auto& mailbox : mailboxes) {
      for (const std::string part : {"new/", "cur/"}) {
        const auto there = disk.List(maildir + "/" + mailbox + part);
        if (!there.ok()) continue;
        for (const auto& name : *there) {
          files[mailbox + part + name] = *disk.ReadWhole(maildir + "/" + mailbox + part + name);
        }
      }
    }
    return files;
  }

  // What comes again from the journal: all behind the checkpoint, or only what the index does not have yet.
  enum class Again { kAll, kWhatTheIndexLacks };

  // What the engine does after a start. Returns what went wrong; "" for nothing.
  std::string Recover(Crash& crash, Again again) {
    SqliteDiskVfs vfs(*crash.disk);
    const AccountState& expected = history_[crash.batches];
    auto opened = Store::Open(*crash.disk, OptionsFor(vfs));
    if (!opened.ok()) return opened.status().ToString();
    Store& store = **opened;
    store.Know(expected.id, expected.name);
    const CheckpointInfo checkpoint = store.last_checkpoint();
    if (checkpoint.position > crash.batches) return "the checkpoint is ahead of the journal";
    const auto first = store.Load(expected.id);
    bool rebuild = absl::IsDataLoss(first.status());
    if (!first.ok() && !rebuild && !absl::IsNotFound(first.status())) return first.status().ToString();
    // A rebuild is for new accounts before their first checkpoint; later the index was synced.
    if (!first.ok() && checkpoint.position > 0) return "lost behind a checkpoint: " + first.status().ToString();
    size_t indexed = checkpoint.position;
    if (first.ok()) {
      // Older than the crash perhaps, but whole: exactly the state that its clock names.
      size_t k = checkpoint.position;
      while (k < history_.size() && history_[k].applied != first->applied) ++k;
      if (k > crash.batches) return "a clock that the index cannot have";
      if (Digest(*first) != Digest(history_[k])) return "the index differs from the state of its clock";
      if (again == Again::kWhatTheIndexLacks) indexed = k;
    }
    for (const StoreBatch& batch : model_.log) {
      if (batch.position <= checkpoint.position || batch.position > crash.batches) continue;
      StoreBatch sent = batch;
      if (batch.position <= indexed) sent.items.clear();
      store.Enqueue(std::move(sent));
    }
    while (true) {
      const auto worked = store.RunOnce(50);
      if (!worked.ok()) return worked.status().ToString();
      if (!*worked) break;
    }
    if (rebuild) {
      if (const auto s = store.Rewrite(expected); !s.ok()) return s.ToString();
    }
    const auto state = store.Load(expected.id);
    if (crash.batches == 0) return absl::IsNotFound(state.status()) || rebuild ? "" : "something of nothing";
    if (!state.ok()) return state.status().ToString();
    if (Digest(*state) != Digest(expected)) return "the replayed state differs";
    const auto missing = store.Reconcile(expected, Store::Leftovers::kRemove);
    if (!missing.ok()) return missing.status().ToString();
    for (const auto& each : *missing) {
      if (checkpoint.applied.Covers(each.message.dot)) {
        return "a checkpointed file is missing: " + MaildirBaseName(each.message) + " of " + each.mailbox.hex();
      }
      const std::string& bytes = model_.contents.at(each.message.guid);
      if (const auto s = store.RestoreBody(expected.id, each.mailbox, each.message, bytes); !s.ok()) {
        return s.ToString();
      }
    }
    // What the engine does with letters that no checkpoint covers (NodeImpl::CompareIndexed).
    for (const auto& [id, mailbox] : expected.mailboxes) {
      for (const Message& message : mailbox.messages) {
        if (checkpoint.applied.Covers(message.dot)) continue;
        const auto s = store.RestoreBody(expected.id, id, message, model_.contents.at(message.guid));
        if (!s.ok()) return s.ToString();
      }
    }
    if (const auto still = store.Reconcile(expected, Store::Leftovers::kRemove); !still.ok() || !still->empty())
      return "missing after restoring";
    StoreModel then = model_;
    then.state = expected;
    const auto files = Files(*crash.disk, store.AccountDirectory(expected.id) + "/Maildir");
    const auto wanted = then.ExpectedFiles();
    for (const auto& [path, content] : wanted) {
      const auto it = files.find(path);
      if (it == files.end()) return "no file " + path;
      if (it->second != content) return "other bytes in " + path;
    }
    for (const auto& [path, content] : files) {
      if (wanted.find(path) == wanted.end()) return "too much: " + path;
    }
    const auto end = store.Checkpoint();
    if (!end.ok()) return end.status().ToString();
    return end->position == crash.batches ? "" : "the checkpoint stays behind";
  }

  StoreModel model_{"ann@example.test"};
  std::vector<AccountState> history_;  // [n]: after the batch with position n
  std::vector<Crash> crashes_;
};

}  // namespace gemel::maildir
