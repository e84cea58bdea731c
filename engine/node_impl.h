// The parts of a Node and what they share. Private to engine/node_*.cc; callers use engine/node.h.
//
// The way of a mutation: Create (a front end, or the home's answer) -> journal, one fdatasync for all that gathered
// -> OnCommitted: shipped to the peer, queued -> the peer's Ack (or the ack policy) confirms it -> ApplyQueue: state,
// store, sessions' events -> its callback, that is, the client's reply. What the peer created arrives as frames, goes
// to the journal, and is applied as soon as it is durable here: its author had it durable before it was shipped.
#pragma once
#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/apply.h"
#include "engine/bases.h"
#include "engine/directory.h"
#include "engine/link_messages.h"
#include "engine/node.h"
#include "journal/journal.h"
#include "maildir/store.h"

namespace gemel::engine {

class AccountSessionImpl;
class LinkSession;
struct Adoption;
class NodeImpl;

// As it is configured.
constexpr const char* NameOf(AckPolicy policy) {
  return policy == AckPolicy::kPairRequired ? "pair-required" : policy == AckPolicy::kPairIfUp ? "pair-if-up" : "local";
}

// An account in memory.
struct LiveAccount {
  AccountState state;  // what is shown
  // What was given out to records that are not applied yet (decision 6: given at creation, shown when applied).
  ModSeq given_modseq = 0;
  uint32_t given_uid_validity = 0;
  absl::flat_hash_map<MailboxId, Uid> given_uid_next;
  absl::flat_hash_set<Dot> placing;  // a Place for them is on its way
  bool creating_built_ins = false;
  int in_flight = 0;  // own records for it that are not applied yet
  std::vector<AccountSessionImpl*> sessions;
  uint64_t last_used_ms = 0;
};

// A record that names messages, as several (of one group) where there are too many for one: far below what the journal
// takes.
inline constexpr size_t kMessagesOfRecordMax = 50'000;
template <class Body>
std::vector<journal::Record> SplitMessages(const AccountId& account, Body body) {
  const auto messages = std::exchange(body.messages, {});
  std::vector<journal::Record> records;
  for (size_t at = 0; at < messages.size(); at += kMessagesOfRecordMax) {
    const auto begin = messages.begin() + static_cast<ptrdiff_t>(at);
    body.messages.assign(begin, begin + static_cast<ptrdiff_t>(std::min(kMessagesOfRecordMax, messages.size() - at)));
    records.push_back({account, 0, false, body});
  }
  return records;
}

// A durable frame that is not applied yet.
struct QueuedFrame {
  std::shared_ptr<const journal::Frame> frame;
  journal::Position begin = 0;
};
// One node's frames, in the order in which they are applied.
struct ApplyQueue {
  void Push(QueuedFrame queued);
  std::deque<QueuedFrame> frames;
  // Records of a group whose end has not come yet: (frame, index in it, position of the frame).
  struct Grouped {
    std::shared_ptr<const journal::Frame> frame;
    size_t index;
    journal::Position begin;
  };
  std::vector<Grouped> group;
};

// How long a client waits when the peer goes away in the middle (under pair-required), or a disk is full, or its
// account cannot be opened yet.
inline constexpr uint64_t kClientWaitMs = 20'000;
inline constexpr uint64_t kDialBackoffMsMin = 100;

// A client that waits until its account may be opened (MustHold), or has its first mailboxes.
struct HeldOpen {
  AccountId account;
  AccountListener* listener = nullptr;
  std::function<void(absl::StatusOr<std::unique_ptr<AccountSession>>)> done;
  uint64_t since_ms = 0;  // BootMillis
};

// A command or delivery of ours that waits until its records are applied.
struct PendingOperation {
  journal::Seq first = 0, last = 0;
  uint64_t since_ms = 0;  // BootMillis
  bool patient = false;   // nobody outside waits: done is told what became of it, however late (AnswerWaiting)
  CommandResult result;
  std::function<void(CommandResult)> done;
};

// A letter's file that the peer is asked for, part by part.
struct BodyFetch {
  AccountId account;
  uint64_t bytes = 0;  // that it must have
  std::string collected;
  uint64_t asked_ms = 0;  // BootMillis, for the part that is awaited
  std::vector<std::function<void(const absl::StatusOr<std::string>&)>> waiting;
};

class NodeImpl final : public Node {
 public:
  NodeImpl(NodeOptions options, Identity identity, Environment environment);
  ~NodeImpl() override;
  absl::Status OpenAll();  // node_open.cc

  // ---- Node ----
  void Start() override;
  void Stop(uint64_t grace_ms, std::function<void()> done) override;
  std::unique_ptr<ProtocolSession> AcceptLink(Connection& connection) override;
  absl::Status CheckProxy(const ProxyHello& hello) const override;
  void SetPeer(PeerIdentity peer) override;
  void AddAccount(std::string name, std::string password_hash, std::optional<uint8_t> home, Done done) override;
  void SetPasswordHash(std::string name, std::string password_hash, Done done) override;
  void SetAccountEnabled(std::string name, bool enabled, Done done) override;
  void SetDomain(std::string domain, bool exists, std::string alias_of, Done done) override;
  void SetAlias(std::string address, std::vector<std::string> targets, Done done) override;
  void SetHome(std::string name, uint8_t place, Done done) override;
  std::vector<AccountInfo> Accounts() const override;
  std::string AccountName(const AccountId& id) const override;
  std::vector<DomainInfo> Domains() const override;
  std::vector<AliasInfo> Aliases() const override;
  NodeStatus Status() override;
  std::vector<std::pair<std::string, std::string>> Digests() override;

  // ---- Service ----
  absl::StatusOr<std::vector<DeliveryTarget>> LookUpRecipient(std::string_view address) override;
  absl::Status AcceptingMail() const override;
  std::unique_ptr<Delivery> BeginDelivery(Via via, std::string sender) override;
  void Authenticate(LoginAttempt attempt, std::function<void(absl::StatusOr<Authenticated>)> done) override;
  Home HomeOf(const AccountId& account) const override;
  journal::Generation generation() const override;
  void OpenAccount(const AccountId& account, AccountListener& listener,
                   std::function<void(absl::StatusOr<std::unique_ptr<AccountSession>>)> done) override;
  const std::string& host_name() const override { return options_.host_name; }
  int64_t NowSeconds() const override { return static_cast<int64_t>(env_.clock.NowMillis() / 1000); }
  uint64_t BootMillis() const override { return env_.clock.BootMillis(); }

  // ---- creating records (node_commit.cc) ----
  journal::Hlc NowHlc();
  void NoteHlc(journal::Hlc time, bool own);
  void CheckPeerClock(journal::Hlc time);
  void CheckClock();
  // Queues records as one atomic group (unless `grouped` is false) and returns the first one's seq. `done` comes when
  // all are applied; null: nobody waits. What the journal cannot take is refused: `done` is told, and 0 returned.
  journal::Seq Create(std::vector<journal::Record> records, std::function<void(CommandResult)> done,
                      bool grouped = true, bool patient = false);
  void ScheduleCommit();
  void OnCommitted(absl::StatusOr<std::vector<journal::Committed>> committed, const std::vector<absl::Status>& rejected,
                   bool idle);
  void ApplyAll();                           // what is confirmed by now
  void Mended(const journal::Frame& frame);  // a damaged frame was fetched again from the peer
  void RebuildMended();
  void Fail(const absl::Status& status);  // the journal failed: nothing is acknowledged any more

  // ---- accounts (node_accounts.cc) ----
  // Loads it, with what was passed over. nullptr: cannot be loaded; a problem until MendPassedOver could.
  LiveAccount* Live(const AccountId& id);
  LiveAccount* LiveIfLoaded(const AccountId& id);
  absl::StatusOr<AccountState> RebuildState(const Account& account);  // from base and journal (node_open.cc)
  // What is applied and `state` lacks, from the journal's `from` on; the index is written anew with it (node_open.cc).
  absl::StatusOr<AccountState> CatchUp(AccountState state, journal::Position from);
  void PassOver(const AccountId& id, journal::Position begin);
  void MendPassedOver();
  bool Orders(const Account& account) const;  // this node gives UIDs and MODSEQs now
  ModSeq GiveModSeq(LiveAccount& live);
  Uid GiveUid(LiveAccount& live, const Mailbox& mailbox);
  uint32_t GiveUidValidity(LiveAccount& live);
  void NoteGiven(LiveAccount& live, const journal::Record& record);  // counters from an own record not applied yet
  void AfterApplied(LiveAccount& live);                              // what the home owes: built-in mailboxes, Places
  void CloseSessions(const AccountId& account, std::string_view reason);
  bool MustHold(const Account& account) const;  // nobody may open it yet, and that will change soon
  void TryOpen(HeldOpen open);                  // soon; holds it if need be
  void TryHeldOpens();
  void EvictIdle();
  journal::Guid NewGuid();
  MailboxId NewMailboxId();
  uint8_t place() const { return identity_.place; }

  // ---- link (node_link.cc) ----
  void DialSoon(uint64_t delay_ms);
  void LinkUp(LinkSession& link, const Hello& hello);  // hellos are exchanged and agree
  void LinkDown(LinkSession& link, const std::string& why);
  absl::Status CheckHello(const Hello& hello) const;
  Hello MakeHello() const;
  void OnAck(const journal::VectorClock& held);
  void OnCaughtUp(LinkSession& link);
  void PeerHeard() { last_heard_ms_ = BootMillis(); }  // by a link whose hellos agree: nothing else is a contact
  void PeerFailed();                                   // it says that its journal has
  void TickLink();
  void UpdatePeerCounts();
  void LosePeer(Problem problem);  // acknowledgements do not wait for it any more
  uint64_t LackingAtPeer() const;  // own records that are durable here and not there, as far as this node knows
  bool Confirmed(const journal::Frame& frame) const;  // as durable as an acknowledgement promises
  uint64_t Unprotected() const;                       // applied here, not durable at the peer
  void FinishStarting();
  std::string JournalDirectory() const { return options_.data_directory + "/journal"; }
  // There while own records are pulled back, so that a restart does not forget it.
  std::string PullingBackFile() const { return options_.data_directory + "/node/pulling_back"; }

  // ---- upkeep (node_upkeep.cc) ----
  void Tick();
  void AnswerWaiting(uint64_t wait_ms, const absl::Status& status);
  void CheckpointSoon();
  void NoteDiskFull(std::string_view why);
  void CloseFinished();

  // ---- retention (node_retention.cc) ----
  void RetireSegments();
  void AdvanceNextBases(std::shared_ptr<const JournalPart> part, std::vector<AccountId> left);
  void RetirePart(const JournalPart& part);
  void EndRetiring(const absl::Status& status);
  bool PeerHas(const JournalPart& part) const;
  absl::Status MayRetire(const JournalPart& part) const;  // whatever was damaged in it
  void PurgeSome();                                       // expunged bodies older than what is kept for recovery

  // ---- letters that other programs put into the Maildirs (node_strangers.cc) ----
  void LookForStrangers(const AccountId& account);  // soon
  void ScanForStrangers();
  void AdoptStranger(const AccountId& account, const maildir::Stranger& stranger);
  void AdoptMore(const std::string& path);  // the file's next piece
  void AdoptPiece(const std::string& path, absl::StatusOr<std::string> piece);
  void RemoveAdopted(const std::string& path, const maildir::Stranger& stranger);
  void EndAdoption(const std::string& path, const absl::Status& status);
  // Adopted before this start: its file may be there still. Notes it, and finds what this is a file of.
  void NoteAdopted(const journal::Frame& frame);
  bool WasAdopted(const LiveAccount& live, const journal::Deliver& deliver) const;
  // As a delivery (node_delivery.cc).
  std::unique_ptr<AccountSession::Append> BeginAdoption(const AccountId& account, const maildir::Stranger& stranger);

  // ---- bodies that are gone (node_bodies.cc) ----
  using BodyDone = std::function<void(const absl::StatusOr<std::string>&)>;
  void RestoreBody(const AccountId& account, const Message& message, std::function<void(absl::Status)> done);
  void FetchFromPeer(const AccountId& account, const Message& message, BodyDone done);
  void AskForPart(const Dot& message, BodyFetch& fetch);
  void OnBodyPart(BodyPart part);
  void EndFetch(const Dot& message, absl::StatusOr<std::string> result);
  void EndLateFetches();
  // A part of the message's file, for the peer, which looks into the journal itself: both have the same.
  BodyPart LocalBodyPart(const BodyRequest& request);
  // Many are found in one pass, beside the loop. NotFound: it is not (any more) in this node's journal.
  void FindInJournal(const Dot& message, BodyDone done);
  void SearchJournal();
  struct JournalSearch;
  void SearchOn(std::shared_ptr<JournalSearch> search);
  // Where the message is by now. Nothing to do for one that was expunged meanwhile.
  absl::Status PutBack(const AccountId& account, const Dot& message, const absl::StatusOr<std::string>& body);
  absl::Status FindMissing(const AccountId& account, std::map<Dot, AccountId>* missing);
  // Looks for what the files of these accounts lack, and puts back what the journal has of it; then tells what failed.
  void VerifyFiles(const std::set<AccountId>& accounts,
                   std::function<void(const std::map<AccountId, absl::Status>& failed)> done);
  void VerifyWaiting();
  // At the start, from where the journal was replayed.
  void VerifyReplayed(journal::Position from);
  void CompareIndexed(journal::Position from);
  void VerifyLater(const AccountId& account, const absl::Status& why);

  void ScheduleStore();
  void RetryParked();  // accounts that the store cannot write: each second
  void NoteParked();
  // Whether more of its mail can wait in memory until its files can be written.
  absl::Status RoomForParked(const AccountId& account) const;
  void WriteUidlists(std::vector<std::shared_ptr<const AccountState>> states);
  absl::Status SaveDirectory();
  void StopWhenQuiet(uint64_t until, std::function<void()> done);
  void FinalCheckpoint(uint64_t until, std::function<void()> done);
  void AddProblem(std::string key, Problem problem) { problems_[std::move(key)] = std::move(problem); }
  void SolveProblem(const std::string& key) { problems_.erase(key); }

  NodeOptions options_;
  Identity identity_;
  Environment env_;
  journal::Origin origin_;
  std::optional<journal::Origin> newest_own_;  // of the frames found at the start

  // Shared with the jobs on the workers' lanes, which may outlive the node by a moment.
  std::shared_ptr<journal::Journal> journal_;
  std::shared_ptr<maildir::Store> store_;
  Directory directory_;
  uint64_t directory_saved_ = 0;  // version on disk

  journal::VectorClock applied_;
  journal::VectorClock frame_clock_;     // applied_ without what is closed: goes into frames
  bool closing_ = false;                 // Closed records of ours are on their way
  journal::Seq created_ = 0;             // the last record of this incarnation, durable or not
  journal::Position committed_end_ = 0;  // of what OnCommitted has seen; the journal itself may be further
  journal::Hlc last_hlc_ = 0;
  ApplyQueue own_, peer_queue_;
  std::deque<PendingOperation> operations_;
  std::map<Dot, journal::Position> open_bodies_;  // bodies whose last Deliver has not come
  bool commit_running_ = false;
  bool store_running_ = false;          // or waits for a moment after a failure
  bool parked_retried_ = false;         // a job for it is on the store's lane
  std::map<AccountId, size_t> parked_;  // accounts that the store cannot write, with the bytes that wait for it
  std::set<AccountId> uidlists_due_;    // accounts changed since their dovecot-uidlist was written
  bool checkpoint_running_ = false;
  bool retiring_ = false;
  std::shared_ptr<void> readers_kept_out_;  // while retiring_
  bool applying_ = false;
  std::optional<absl::Status> failed_;
  bool disk_full_ = false, peer_disk_full_ = false;
  // A write has met a full disk, and none has succeeded since: there is too little room, whatever the file system says.
  bool journal_full_ = false, store_full_ = false, checkpoint_full_ = false;
  bool stopping_ = false;
  // Until the peer was asked or found to be away, nothing is shown: it may know more than this node.
  bool starting_ = true;
  std::vector<HeldOpen> held_opens_;
  std::vector<Dot> pulling_back_;  // own records that only the peer has
  bool replaying_ = false;
  // Of ours, shown to clients before this start, or on both disks once (closed): never un-happens.
  journal::VectorClock shown_before_;
  uint64_t started_ms_ = 0;
  // Records in damaged frames of this journal: asked of the peer by a hello that does not claim them.
  std::vector<journal::Recovered::Missing> missing_;
  bool missing_in_tail_ = false;           // some of them were never applied
  std::set<AccountId> to_rebuild_;         // accounts that they touch
  absl::flat_hash_set<AccountId> taking_;  // a Take of ours is on its way
  std::set<AccountId> replayed_;           // accounts that the replay at start touched
  std::map<Dot, AccountId> indexed_;       // letters in it that the account's index had already
  // Accounts of which records from before this start wait to be confirmed again: their files may be ahead of the state.
  std::set<AccountId> waiting_again_;
  // Accounts that could not be loaded, with the first record that they may lack for that: neither a checkpoint nor
  // retention passes it until they are loaded and their files verified.
  std::map<AccountId, journal::Position> passed_over_;
  AccountId mended_last_;  // the round over them
  // Of them, those whose files are being verified, in the one round that runs; nullopt: none does.
  std::optional<std::set<AccountId>> mending_;

  absl::flat_hash_map<AccountId, std::unique_ptr<LiveAccount>> live_;
  absl::flat_hash_map<MailboxId, Uid> recent_from_;  // AccountSession::RecentFrom; outlives the account in memory
  std::vector<AccountId> sweep_;  // accounts homed here that may have unplaced letters: looked at one by one
  absl::flat_hash_map<AccountId, std::vector<Done>> moving_;  // who asked for a home to move: told at the Take
  absl::flat_hash_set<AccountId> releasing_;                  // a Release of ours is on its way
  bool pairing_generation_ = false;                           // a Paired of ours is on its way

  journal::Origin peer_origin_;  // the incarnation that was linked last
  LinkSession* link_ = nullptr;  // exchanged hellos; owned by its connection
  bool dial_running_ = false;
  uint64_t dial_backoff_ms_ = kDialBackoffMsMin;  // grows until a link lasts
  TimerId dial_timer_ = 0;
  journal::VectorClock peer_held_;              // durable there, as far as this node knows
  uint64_t last_heard_ms_ = 0;                  // 0: never
  uint64_t link_up_ms_ = 0;                     // when this link's hellos agreed
  uint64_t acked_ms_ = 0;                       // the last time that the peer got on, or lacked nothing
  bool peer_counts_ = false;                    // acknowledgements wait for the peer
  std::optional<int64_t> unprotected_since_s_;  // the peer lacks something that was acknowledged

  uint64_t last_checkpoint_ms_ = 0;
  uint64_t last_full_check_ms_ = 0;
  uint64_t free_bytes_ = 0;
  std::map<std::string, Problem> problems_;
  std::shared_ptr<const JournalPart> oldest_part_;  // what is to be retired next, once it was read
  // Rounds over all accounts, a few at a time.
  struct AccountRound {
    std::vector<AccountId> left;
    size_t all = 0;
    uint64_t began_ms = 0;  // BootMillis; 0: never
    bool running = false;   // a job of it is on the store's lane
  };
  AccountRound purge_, strangers_;
  std::set<AccountId> strangers_wanted_;  // looked at before the round comes to them
  std::set<std::string> adopting_;        // files whose adoption is on its way, or that are too big for one
  std::map<std::string, std::shared_ptr<Adoption>> adoptions_;  // by path
  // Letters that this node adopted before this start, as far as they were replayed: their files may have outlived it.
  using AdoptedFile = std::tuple<AccountId, MailboxId, int64_t, std::array<uint8_t, 32>>;  // its time, the text's hash
  std::multimap<AdoptedFile, Dot> adopted_before_;
  std::map<Dot, BodyFetch> fetches_;
  std::map<Dot, std::vector<BodyDone>> wanted_of_journal_;  // looked for in its next pass
  bool searching_journal_ = false;

  struct Authenticator;
  std::unique_ptr<Authenticator> authenticator_;
  // Cleared at destruction: jobs and timers that come later find it gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  // `step` later on the loop, unless the node is gone by then.
  void PostSafely(std::function<void()> step);
  TimerId AfterSafely(uint64_t ms, std::function<void()> step);

 private:
  struct Pass;  // one run of ApplyAll (node_commit.cc)
  void ApplyFront(ApplyQueue& queue, Pass& pass);
  void NoteTaken(const LiveAccount& live, const std::vector<std::pair<MailboxId, Uid>>& taken);
  void NoteApplied(const journal::Frame& frame, bool own_node);
  void RaiseApplied(const journal::Origin& origin, journal::Seq seq);
  journal::VectorClock FrameClock() const;
  void ApplyGroup(std::vector<ApplyQueue::Grouped>& group, Pass& pass);
  // `is_void`: of a command that another one made impossible (apply.h).
  void ApplyOne(const ApplyQueue::Grouped& grouped, journal::Position group_begin, bool is_void, Pass& pass);
  void ApplyNodeRecord(const Dot& dot, const journal::Record& record, journal::Position begin, Pass& pass);
  journal::Position MaterialisedPosition() const;
  void FinishOperations(const Dot& dot, Effects& effects, Pass& pass);
  absl::Status OpenJournalAndStore();
  journal::Origin Predecessor() const;
  absl::Status ReplayTail();
  void NoteWaiting();
  void SweepSome();
  void StartAlone();
};

}  // namespace gemel::engine
