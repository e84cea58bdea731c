"""What each letter of the kill test may be, after what clients were told and what they were shown.

A state of a letter is (mailbox, flags), NOT_YET before its delivery and GONE after its expunge. What is known of a
letter:

  - an acknowledged change leaves what it makes of the letter, a change whose reply never came leaves both: it may take
    effect at any time until the pair is at rest, and so it stays with the letter until then (`attempts`);
  - what a client was shown is as good as acknowledged. From then on only a change that was attempted may make it
    something else.

Other clients work meanwhile. What a client sees can be told from what another was acknowledged only where that came
before the client began to look; so knowledge has a time (`tick`), and a look counts as of its beginning. A look at
READ-ONLY mailboxes, as they are shown while the home is away, may be as old as the last time when both nodes were equal.
"""

import collections
import threading

MAILBOXES = ["INBOX", "Archive", "Work"]
COPIES = "Copies"  # takes copies and keeps them; nothing else happens there
NOT_YET = ("not yet", frozenset())
GONE = ("gone", frozenset())
NOWHERE = {NOT_YET, GONE}
DELIVERIES = {"lmtp", "smtp"}  # whose letter shows when its home has placed it, which is after the reply


class Wrong(Exception):
    pass


class Letter:
    def __init__(self, states, tick, placed):
        self.states = states  # if no attempt has come to effect, but what `possible` adds
        self.attempts = []    # in flight, or never answered: what each makes of a state
        self.ever = set(states)  # since the pair was at rest
        self.since = tick     # when something was last learnt of it
        self.placed = placed  # it can be seen

    def possible(self):
        found, new = set(), set(self.states)
        while new:
            found |= new
            new = {effect(state) for effect in self.attempts for state in new} - found
        return found

    def learn(self, states, tick):
        before = self.possible()
        self.states = states
        self.ever |= self.possible()
        if self.possible() != before:
            self.since = tick


class Copies:
    """Of one letter, in COPIES."""

    def __init__(self):
        self.acknowledged = self.shown = self.most = 0

    def least(self):
        return max(self.acknowledged, self.shown)


class Model:
    def __init__(self):
        self.lock = threading.RLock()
        self.letters = collections.defaultdict(dict)  # account -> id -> Letter
        self.copies = collections.defaultdict(dict)   # account -> id -> Copies
        self.uids = {}      # (account, mailbox, uidvalidity, uid) -> id
        self.validity = {}  # (account, mailbox) -> uidvalidity
        self.tick = 0
        self.rest = 0       # the tick when both nodes were last seen to be equal
        self.counts = {"acknowledged": 0, "unknown": 0, "refused": 0, "shown": 0}
        self.acknowledged = collections.Counter()  # by action

    def now(self):
        with self.lock:
            self.tick += 1
            return self.tick

    def count(self, action, kind):
        self.counts[kind] += 1
        self.acknowledged[action] += kind == "acknowledged"

    def refused(self, action):
        """Before anything of a change was sent."""
        with self.lock:
            self.count(action, "refused")

    # ---- what clients try and are told ----

    def new(self, action, account, letter_id, state):
        """To be called with the outcome, as that of `change`."""
        with self.lock:
            self.letters[account][letter_id] = Letter({NOT_YET}, self.now(), placed=False)
            return self.attempt(action, account, letter_id, lambda now: state if now == NOT_YET else now)

    def change(self, action, account, letter_id, mailbox, effect):
        """`effect(flags)` gives the state that a letter of this mailbox is to have. To be called with the outcome:
        "acknowledged", "unknown" or "refused"."""
        return self.attempt(action, account, letter_id, lambda now: effect(now[1]) if now[0] == mailbox else now)

    def attempt(self, action, account, letter_id, effect):
        with self.lock:
            letter = self.letters[account][letter_id]
            letter.attempts.append(effect)
            letter.ever |= letter.possible()

        def outcome(kind):
            with self.lock:
                self.count(action, kind)
                if kind == "unknown":
                    return
                possible = letter.possible()
                letter.attempts.remove(effect)
                letter.states = {effect(state) for state in possible} if kind == "acknowledged" else letter.states
                letter.ever |= letter.possible()
                letter.since = self.now()
                letter.placed |= kind == "acknowledged" and action not in DELIVERIES
        return outcome

    def copied(self, account, letter_id):
        """To be called with the outcome of a COPY."""
        with self.lock:
            copies = self.copies[account].setdefault(letter_id, Copies())
            copies.most += 1

        def outcome(kind):
            with self.lock:
                self.count("copy", kind)
                copies.acknowledged += kind == "acknowledged"
                copies.most -= kind == "refused"
        return outcome

    def settled(self, account, mailbox):
        """Ids that are for certain in this mailbox."""
        with self.lock:
            return [letter_id for letter_id, letter in self.letters[account].items()
                    if {state[0] for state in letter.possible()} == {mailbox} and len(letter.possible()) == 1]

    # ---- what clients are shown ----

    def shown(self, account, mailbox, validity, found, since):
        """A client that began to look at `since` was shown [(uid, id, flags)]: all of a mailbox."""
        with self.lock:
            self.counts["shown"] += len(found)
            if self.validity.setdefault((account, mailbox), validity) != validity:
                raise Wrong(f"UIDVALIDITY was {self.validity[account, mailbox]} and is {validity}")
            for uid, letter_id, _ in found:
                known = self.uids.setdefault((account, mailbox, validity, uid), letter_id)
                if known != letter_id:
                    raise Wrong(f"UID {uid} was {known} and is {letter_id}")
            if mailbox == COPIES:
                self.shown_copies(account, collections.Counter(letter_id for _, letter_id, _ in found))
                return
            for _, letter_id, flags in found:
                self.shown_letter(account, letter_id, (mailbox, flags), since)
            ids = {letter_id for _, letter_id, _ in found}
            for letter_id, letter in self.letters[account].items():
                if letter_id in ids or not letter.placed or letter.since > since:
                    continue
                if {state[0] for state in letter.possible()} == {mailbox}:
                    raise Wrong(f"{letter_id} is not shown any more; it may be {letter.possible()}")

    def shown_letter(self, account, letter_id, state, since):
        letter = self.letters[account].get(letter_id)
        if not letter:
            raise Wrong(f"nobody sent {letter_id}")
        possible = letter.possible() if letter.since <= since else letter.ever
        if state not in possible:
            raise Wrong(f"{letter_id} is shown as {state}, may be {possible}")
        now = self.now()
        if letter.since <= since:
            letter.learn({state}, now)
        left = letter.possible() - {NOT_YET}
        if not left:
            raise Wrong(f"{letter_id} is shown as {state} and was refused")
        letter.learn(left, now)
        if not letter.placed:
            letter.placed, letter.since = True, now

    def shown_copies(self, account, found):
        for letter_id, number in found.items():
            copies = self.copies[account].get(letter_id)
            if not copies or number > copies.most:
                raise Wrong(f"{number} copies of {letter_id}, made were {copies.most if copies else 0}")
            copies.shown = max(copies.shown, number)

    # ---- at rest ----

    def at_rest(self, account, found, copies):
        """All of an account: {id: state}, {id: number of copies}. What was possible has become what is."""
        with self.lock:
            for letter_id, letter in self.letters[account].items():
                possible = letter.possible()
                if not ({found[letter_id]} if letter_id in found else NOWHERE) & possible:
                    raise Wrong(f"{letter_id} is {found.get(letter_id, 'nowhere')}, may be {possible}")
            strangers = set(found) - set(self.letters[account])
            if strangers:
                raise Wrong(f"nobody sent {strangers}")
            for letter_id, bounds in self.copies[account].items():
                if not bounds.least() <= copies.get(letter_id, 0) <= bounds.most:
                    raise Wrong(f"{copies.get(letter_id, 0)} copies of {letter_id}, may be {bounds.least()} to "
                                f"{bounds.most}")
            self.rest = self.now()
            self.letters[account] = {i: Letter({state}, self.rest, placed=True) for i, state in found.items()}
            for letter_id, bounds in self.copies[account].items():
                bounds.acknowledged = bounds.most = copies.get(letter_id, 0)

    def forget(self, account):
        """All its letters are expunged, on both nodes. Their UIDs stay taken."""
        with self.lock:
            self.letters[account] = {}
            self.copies[account] = {}
