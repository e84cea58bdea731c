// Bodies that are too large for one record, or shared by several deliveries: gathered here from their chunks until the
// last message is made of them. One chunk's worth stays in memory; larger ones lie in <root>/spool/<dot>.
//
// The spool need not survive a crash: a checkpoint never passes the first chunk of a body that is still here
// (decision 4), so that replay brings all of it again, and Open empties the directory.
//
// Threads: Expect, Claim and oldest may be called by any thread; Write, Source and Release by one at a time.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "journal/disk.h"
#include "maildir/store.h"

namespace gemel::maildir {

// How far the store was when a body's first chunk was queued.
struct SpoolMark {
  journal::Position position = 0;
  std::shared_ptr<const journal::VectorClock> applied;
};

class Spool {
 public:
  Spool(journal::Disk& disk, std::string directory, size_t memory_bytes_max);
  absl::Status Clear();  // at start; makes nothing anew that is there, as the disk may be full

  // While queueing. `before`: the journal's position in front of the body's first chunk.
  void Expect(const SpoolChunk& chunk, const SpoolMark& before);
  void Claim(const SpooledBody& body);  // one message more will be made of it
  void Close(const Dot& body);          // no more messages will

  absl::Status Write(SpoolChunk& chunk);  // may take the chunk's bytes; a failed one can be written again
  struct Content {
    std::shared_ptr<const std::string> bytes;  // null: in the file
    std::string path;
  };
  std::optional<Content> Source(const Dot& body) const;  // nullopt: nothing known of it
  void Release(const Dot& body);                         // one message was made
  void Sweep(const Dot& body);                           // removes it if it was closed and nobody needs it

  // The mark of the oldest body that is here; nullopt: none is.
  std::optional<SpoolMark> oldest() const;

 private:
  struct Entry {
    SpoolMark before;
    size_t users = 0;
    bool closed = false;
    std::shared_ptr<const std::string> bytes;
    std::unique_ptr<journal::File> file;
  };
  std::string PathOf(const Dot& body) const;

  journal::Disk& disk_;
  const std::string directory_;
  const size_t memory_bytes_max_;
  mutable std::mutex mutex_;
  absl::flat_hash_map<Dot, std::shared_ptr<Entry>> entries_;
};

}  // namespace gemel::maildir
