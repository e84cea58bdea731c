// A node alone on a disk in memory that loses, tears and fails what it is told to: for tests of crashes and faults.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "engine/node.h"
#include "engine/test_world.h"
#include "journal/crash_disk.h"
#include "maildir/sqlite_disk_vfs.h"

namespace gemel::engine::testing {

using journal::CrashDisk;

class Nobody : public AccountListener {
 public:
  void OnMailboxEvents(const MailboxId&, const std::vector<MailboxEvent>&) override {}
  void OnMailboxDeleted(const MailboxId&) override {}
  void OnAccountClosed(std::string_view) override {}
  void OnSettled() override {}
};

inline NodeOptions Options(const std::string& vfs) {
  NodeOptions options;
  options.data_directory = "/data";
  options.segment_bytes = 1 << 20;
  options.free_bytes_min = 0;
  options.checkpoint_ms = 1000;
  options.sqlite_vfs = vfs;
  return options;
}

// A node on a disk of its own, alone.
struct Started {
  Started(CrashDisk& on, uint64_t seed) : disk(on), vfs(on) {
    pair.random = TestRandom(seed);  // the identity is the same each time, the incarnation is not
    status = pair.Start(0, on, Options(vfs.name()));
    if (status.ok()) pair.RunUntil([this] { return node().generation() == 1; });
  }
  Node& node() { return *pair.nodes[0]; }
  std::unique_ptr<AccountSession> Open(const std::string& name) {
    std::unique_ptr<AccountSession> session;
    bool done = false;
    node().OpenAccount(journal::AccountIdOf(name), nobody, [&](auto opened) {
      done = true;
      if (opened.ok()) session = *std::move(opened);
    });
    pair.RunUntil([&] { return done; });
    return session;
  }
  CrashDisk& disk;
  maildir::SqliteDiskVfs vfs;
  Nobody nobody;
  absl::Status status;
  TestPair pair;
};

inline constexpr char kAnn[] = "ann@example.test";

// What a client would see of the account.
struct Seen {
  std::string digest;
  std::map<std::string, std::string> bodies;  // GUID -> bytes
  bool operator==(const Seen&) const = default;
};

inline Seen Look(Started& run) {
  Seen seen;
  for (const auto& [name, digest] : run.node().Digests()) seen.digest += name + " " + digest + "\n";
  if (seen.digest.empty()) return seen;
  auto session = run.Open(kAnn);
  if (session == nullptr) return seen;
  for (const auto& [id, mailbox] : session->state().mailboxes) {
    for (const Message& message : mailbox.messages) {
      std::string text = "?";
      bool done = false;
      session->OpenBody(id, message, [&](absl::StatusOr<std::shared_ptr<maildir::Body>> body) {
        done = true;
        text = body.ok() ? (*body)->Read(0, (*body)->bytes()).value_or("unreadable")
                         : std::string(body.status().message());
      });
      run.pair.RunUntil([&] { return done; });
      seen.bodies[message.guid.hex()] = text;
    }
  }
  return seen;
}

}  // namespace gemel::engine::testing
