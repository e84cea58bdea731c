// All sequences of one to three operations over a small account, with a power cut before every change of the disk. Here
// a sample of them; GEMEL_DEEP (./dev test --deep) takes all.
#include <cstdlib>

#include "maildir/store_crash.h"

namespace gemel::maildir {
namespace {

#ifdef GEMEL_SANITIZED  // ten times slower
constexpr size_t kOneIn = 97;
#else
constexpr size_t kOneIn = 5;
#endif

class StoreSequencesTest : public StoreCrashTest {
 protected:
  static constexpr size_t kOperations = 13;

  // What is not possible in this state does nothing.
  void Do(size_t operation) {
    const MailboxId inbox = model_.state.FindName("INBOX")->id;
    const Mailbox* box =
        model_.state.FindName("Box") != nullptr ? model_.state.FindName("Box") : model_.state.FindName("Moved/box");
    const Mailbox& from = *model_.state.Find(inbox);
    const Uid uid = from.messages.empty() ? 0 : from.messages.front().uid;
    const std::string body(700, 'x');
    switch (operation) {
      case 0:
        model_.Deliver(inbox, "Subject: new\n\nnew\n");
        break;
      case 1:
        model_.DeliverSpooled(inbox, model_.Spool(body, 300), body, true);
        break;
      case 2:
        model_.DeliverUnplaced(inbox, "unplaced\n");
        break;
      case 3:
        if (!model_.state.unplaced.empty()) model_.Place(model_.state.unplaced.begin()->first, inbox);
        break;
      case 4:
        if (uid != 0) model_.SetFlags(inbox, uid, journal::kSeen);
        break;
      case 5:
        if (uid != 0) model_.SetFlags(inbox, uid, 0, {"b", "a"});
        break;
      case 6:
        if (uid != 0) model_.SetFlags(inbox, uid, 0);
        break;
      case 7:
        if (uid != 0) model_.Expunge(inbox, uid);
        break;
      case 8:
        if (uid != 0 && box != nullptr) model_.Copy(inbox, uid, box->id);
        break;
      case 9:
        if (uid != 0 && box != nullptr) model_.Move(inbox, uid, box->id);
        break;
      case 10:
        if (box == nullptr) model_.Create("Box");
        break;
      case 11:
        if (box != nullptr) model_.Rename(box->id, box->name == "Box" ? "Moved/box" : "Box");
        break;
      case 12:
        if (box != nullptr) model_.Drop(box->id);
        break;
    }
  }

  void Play(const std::vector<size_t>& operations) {
    CrashDisk disk;
    SqliteDiskVfs vfs(disk);
    std::mt19937 random(7);  // outlives the store, whose end is observed, too
    model_ = StoreModel("ann@example.test", 1);
    history_ = {model_.state};
    crashes_.clear();
    auto opened = Store::Open(disk, OptionsFor(vfs));
    ASSERT_TRUE(opened.ok());
    Store& store = **opened;
    store.Know(model_.state.id, model_.state.name);
    const auto send = [&] {
      if (*model_.Send(store)) history_.push_back(model_.state);
      while (*store.RunOnce(100)) {
      }
    };
    const MailboxId inbox = model_.Create("INBOX");
    const MailboxId box = model_.Create("Box");
    model_.Deliver(inbox, "Subject: 1\n\none\n", journal::kFlagged, {"a"});
    model_.Deliver(inbox, "Subject: 2\n\ntwo\n");
    model_.Deliver(box, "Subject: 3\n\nthree\n", 0, {"k", "l"});
    model_.DeliverUnplaced(inbox, "waits\n");
    send();
    ASSERT_TRUE(store.Checkpoint().ok());
    disk.SetObserver([&](const std::string&) {
      crashes_.push_back({.disk = disk.ImageOfSynced(), .batches = model_.log.size()});
      crashes_.push_back({.disk = disk.ImageOfAll(), .batches = model_.log.size()});
      crashes_.push_back(
          {.disk = disk.Image([&](size_t, size_t) { return random() % 2 == 0; }), .batches = model_.log.size()});
    });
    for (const size_t each : operations) {
      Do(each);
      send();
    }
    ASSERT_TRUE(store.Checkpoint().ok());
  }
};

TEST_F(StoreSequencesTest, EveryCrashInEverySequenceRecovers) {
  const size_t one_in = std::getenv("GEMEL_DEEP") != nullptr ? 1 : kOneIn;
  size_t number = 0, played = 0, crashes = 0;
  for (size_t length = 1; length <= 3; ++length) {
    const size_t count = length == 1   ? kOperations
                         : length == 2 ? kOperations * kOperations
                                       : kOperations * kOperations * kOperations;
    for (size_t which = 0; which < count; ++which) {
      if (length > 1 && number++ % one_in != 0) continue;
      std::vector<size_t> operations;
      std::string name;
      for (size_t i = 0, left = which; i < length; ++i, left /= kOperations) {
        operations.push_back(left % kOperations);
        name += std::to_string(operations.back()) + " ";
      }
      ASSERT_NO_FATAL_FAILURE(Play(operations));
      ++played;
      crashes += crashes_.size();
      for (size_t i = 0; i < crashes_.size(); ++i) {
        const Again again = i % 2 == 0 ? Again::kAll : Again::kWhatTheIndexLacks;
        ASSERT_EQ(Recover(crashes_[i], again), "") << "operations " << name << "image " << i;
      }
    }
  }
  std::printf("%zu sequences, %zu crashes\n", played, crashes);
}

}  // namespace
}  // namespace gemel::maildir
