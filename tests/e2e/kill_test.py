#!/usr/bin/env python3
"""Kills a node at random moments under mixed load and looks whether anything acknowledged was lost or doubled.

  tests/e2e/kill_test.py [--kills 200] [--seed N] [--bin DIR] [--keep] [--stop-every N] [--compare-every N]

Clients deliver through LMTP and SMTP of both nodes, and append, flag, copy, move and expunge over IMAP at both. Every
letter has an id in its header X-Id, and for each id the test knows in which states it may be: an acknowledged change
leaves one, a change whose reply never came leaves both. A kill counts only if enough was acknowledged since the one
before (--least); else there was no load, and it is repeated. After each kill and restart the load pauses, the link comes
to rest, and then

  - both nodes' account digests are equal,
  - every id is in exactly one place and with flags that the test holds possible, read over IMAP from both nodes,
  - no UID of a mailbox names another letter than it ever did, and UIDVALIDITY is what it was.

Every 20th time (--compare-every) and at the end both nodes are stopped as well, and three trees are equal file by file
and row by row, as trees.py says: each node's own, and what `gemel replay` makes of its journal in an empty directory;
and one node's and the other's. A line of a sanitizer in a node's log fails the test too, and so does a load that tested
less than it seems: many refused answers, or a kind of action that was never acknowledged.

The seed is printed and can be given again; it fixes victims, moments and operations, as far as the machine lets it.
"""

import argparse
import collections
import imaplib
import json
import os
import random
import re
import shutil
import smtplib
import sys
import tempfile
import threading
import time

import pair as harness
import trees
from pair import Pair, letter, run

MAILBOXES = ["INBOX", "Archive", "Work"]
COPIES = "Copies"  # takes copies and keeps them; nothing else happens there
GONE = None
# Of all answers. Those are right while the peer is away, and a load of them tests nothing.
REFUSED_PERCENT_MAX = 5
ACTIONS = {"lmtp", "smtp", "append", "flag", "unflag", "copy", "move", "mark deleted", "expunge"}
KEEP_PER_ACCOUNT = 300  # more settled letters than this are expunged, so that looking at all of them stays quick
Lost = (OSError, smtplib.SMTPServerDisconnected, imaplib.IMAP4.abort)


class Wrong(Exception):
    pass


class Model:
    """What each letter may be: a set of (mailbox or GONE, flags)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.states = {}   # account -> id -> set of states
        self.uids = {}     # (account, mailbox, uidvalidity, uid) -> id
        self.validity = {}  # (account, mailbox) -> uidvalidity
        self.copies = {}   # (account, id) -> [least, most] in COPIES
        self.counts = {"acknowledged": 0, "unknown": 0, "refused": 0}
        self.acknowledged = collections.Counter()  # by action

    def count(self, action, kind):
        """With the lock held."""
        self.counts[kind] += 1
        self.acknowledged[action] += kind == "acknowledged"

    def refused(self, action):
        """Before anything of a change was sent."""
        with self.lock:
            self.count(action, "refused")

    def new(self, action, account, letter_id, state):
        with self.lock:
            self.states.setdefault(account, {})[letter_id] = {(GONE, frozenset())}
        return self.change(action, account, letter_id, lambda _: state)

    def change(self, action, account, letter_id, effect):
        """To be called with the outcome: "acknowledged", "unknown" or "refused"."""
        def outcome(kind):
            with self.lock:
                self.count(action, kind)
                states = self.states[account][letter_id]
                changed = {effect(state) for state in states}
                if kind == "acknowledged":
                    self.states[account][letter_id] = changed
                elif kind == "unknown":
                    self.states[account][letter_id] = states | changed
        return outcome

    def copied(self, account, letter_id):
        """To be called with the outcome of a COPY."""
        def outcome(kind):
            with self.lock:
                self.count("copy", kind)
                bounds = self.copies.setdefault((account, letter_id), [0, 0])
                bounds[0] += kind == "acknowledged"
                bounds[1] += kind != "refused"
        return outcome

    def settled(self, account, mailbox):
        """Ids that are for certain in this mailbox."""
        with self.lock:
            return [i for i, s in self.states.get(account, {}).items() if len(s) == 1 and next(iter(s))[0] == mailbox]


class Load:
    """Clients that work until told to pause; each in a thread, with a random source of its own."""

    def __init__(self, pair, model, seed):
        self.pair, self.model = pair, model
        self.running = threading.Event()
        self.stop = False
        self.failure = None
        self.idle = threading.Semaphore(0)
        self.threads = []
        self.letters = 0
        for index in range(4):
            self.add(self.deliver, random.Random(f"{seed} deliver {index}"), index)
        # One client for each account changes it, so that the order of changes is known.
        for index, account in enumerate(pair.accounts):
            self.add(self.change, random.Random(f"{seed} change {index}"), account)
        self.pause()  # all are at the start

    def add(self, work, rng, argument):
        self.threads.append(threading.Thread(target=self.loop, args=(work, rng, argument), daemon=True))
        self.threads[-1].start()

    def loop(self, work, rng, argument):
        session = {}
        while not self.stop:
            if not self.running.is_set():
                self.idle.release()
                self.running.wait()
                continue
            try:
                work(rng, argument, session)
            except Exception as error:  # pylint: disable=broad-except
                self.failure = error
                self.idle.release()
                return
            time.sleep(rng.random() * 0.02)

    def pause(self):
        self.running.clear()
        for _ in self.threads:
            if not self.idle.acquire(timeout=120):
                raise Wrong("a client hangs")
        if self.failure:
            raise self.failure

    def resume(self):
        self.running.set()

    def new_id(self, rng):
        self.letters += 1
        return f"{self.letters}-{rng.getrandbits(48):x}"

    @staticmethod
    def text(letter_id, rng):
        size = rng.choice([10, 10, 500, 500, 4000, 4000, 4000, 40_000, 40_000, 600_000])  # the last goes in chunks
        body = "".join(f"{letter_id} {line}\r\n" for line in range(size // 20 + 1))
        return f"X-Id: {letter_id}\r\n" + letter(f"letter {letter_id}", body, message_id=f"{letter_id}@demo.example.test")

    # ---- mail in ----

    def deliver(self, rng, index, session):
        node = rng.choice(self.pair.nodes)
        accounts = rng.sample(self.pair.accounts, rng.choice([1, 1, 1, 2]))  # two share one body
        letter_id = self.new_id(rng)
        key = (node.name, index % 2)
        action = "lmtp" if index % 2 else "smtp"
        try:
            client = session.get(key)
            if not client:
                client = session[key] = node.lmtp_client() if index % 2 else node.smtp_client()
                client.ehlo()
            for command, argument in [("mail", "sender@demo.example.test")] + [("rcpt", account) for account in accounts]:
                code, _ = getattr(client, command)(argument)
                if code == 421:  # it is going down
                    session.pop(key, None)
                    return
                if code >= 500:
                    raise Wrong(f"{command} answered {code}")
                if code != 250:  # not now
                    self.model.refused(action)
                    client.rset()
                    return
        except Wrong:
            raise
        except (Lost + (smtplib.SMTPException,)):
            session.pop(key, None)
            return
        outcomes = [self.model.new(action, account, letter_id, ("INBOX", frozenset())) for account in accounts]
        try:
            replies = [client.data(self.text(letter_id, rng))]
            if index % 2:  # LMTP answers for each recipient
                replies += [client.getreply() for _ in accounts[1:]]
            else:
                replies *= len(accounts)
        except (Lost + (smtplib.SMTPException,)):
            session.pop(key, None)
            for outcome in outcomes:
                outcome("unknown")
            return
        for outcome, (code, text) in zip(outcomes, replies):
            if code == 250:
                outcome("acknowledged")
            elif 400 <= code < 500:
                # "Not now" promises nothing: where the peer went away in between the letter may well be stored.
                outcome("unknown")
                session.pop(key, None)
            else:
                raise Wrong(f"DATA answered {code} {text}")

    # ---- changes ----

    def change(self, rng, account, session):
        node = rng.choice(self.pair.nodes)
        client = session.get(node.name)
        try:
            if not client:
                client = session[node.name] = node.imap_client(account)
        except (Lost + (imaplib.IMAP4.error,)):
            session.pop(node.name, None)
            return
        action = rng.choice(["append", "flag", "unflag", "copy", "move", "move", "expunge"])
        try:
            getattr(self, "change_" + action)(rng, account, client)
        except Lost:
            session.pop(node.name, None)
        except Wrong:
            raise
        except imaplib.IMAP4.error as error:
            raise Wrong(f"{account} at {node.name}: {action}: {error}") from error

    def told(self, outcomes, send):
        """Sends one command; what it says decides what became of all it concerns."""
        try:
            kind, data = send()
        except BaseException:
            for outcome in outcomes:
                outcome("unknown")
            raise
        if kind == "OK":
            for outcome in outcomes:
                outcome("acknowledged")
        elif kind == "NO":
            # A NO for want of the peer may come when part of a change is on its way: it promises nothing.
            for outcome in outcomes:
                outcome("unknown" if b"UNAVAILABLE" in (data[0] or b"") else "refused")
        else:
            raise Wrong(f"answered {kind} {data}")
        return kind

    def change_append(self, rng, account, client):
        letter_id = self.new_id(rng)
        flags = frozenset(rng.sample(["\\Seen", "\\Flagged"], rng.randrange(3)))
        mailbox = rng.choice(MAILBOXES)
        outcome = self.model.new("append", account, letter_id, (mailbox, flags))
        self.told([outcome], lambda: client.append(mailbox, "(" + " ".join(flags) + ")", None,
                                                   self.text(letter_id, rng).encode()))

    def some_letters(self, rng, account, client, most):
        """Selects a mailbox and picks letters: (mailbox, {uid: id})."""
        mailbox = rng.choice(MAILBOXES)
        kind, _ = client.select(mailbox)
        if kind != "OK":
            return mailbox, {}
        known = self.model.settled(account, mailbox)
        if not known or b"READ-ONLY" in client.untagged_responses:
            return mailbox, {}
        kind, data = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (X-Id)])")
        there = {i: uid for uid, i, _ in parse_fetch(data)} if kind == "OK" else {}
        ids = [i for i in known if i in there]
        picked = rng.sample(ids, min(len(ids), rng.randrange(1, most + 1)))
        return mailbox, {there[i]: i for i in picked}

    def change_flag(self, rng, account, client, sign="+"):
        flag = rng.choice(["\\Seen", "\\Flagged", "\\Answered", "$Label1"])
        _, picked = self.some_letters(rng, account, client, 5)
        if not picked:
            return
        edit = (lambda s: (s[0], s[1] | {flag})) if sign == "+" else (lambda s: (s[0], s[1] - {flag}))
        action = "flag" if sign == "+" else "unflag"
        outcomes = [self.model.change(action, account, i, edit) for i in picked.values()]
        self.told(outcomes, lambda: client.uid("STORE", ",".join(picked), sign + "FLAGS", f"({flag})"))

    def change_unflag(self, rng, account, client):
        self.change_flag(rng, account, client, "-")

    def change_copy(self, rng, account, client):
        _, picked = self.some_letters(rng, account, client, 3)
        if not picked:
            return
        outcomes = [self.model.copied(account, i) for i in picked.values()]
        self.told(outcomes, lambda: client.uid("COPY", ",".join(picked), COPIES))

    def change_move(self, rng, account, client):
        mailbox, picked = self.some_letters(rng, account, client, 5)
        to = rng.choice([m for m in MAILBOXES if m != mailbox])
        if not picked:
            return
        outcomes = [self.model.change("move", account, i, lambda s: (to, s[1]) if s[0] == mailbox else s)
                    for i in picked.values()]
        self.told(outcomes, lambda: client.uid("MOVE", ",".join(picked), to))

    def change_expunge(self, rng, account, client):
        _, picked = self.some_letters(rng, account, client, 3)
        if not picked:
            return
        deleted = [self.model.change("mark deleted", account, i, lambda s: (s[0], s[1] | {"\\Deleted"}))
                   for i in picked.values()]
        if self.told(deleted, lambda: client.uid("STORE", ",".join(picked), "+FLAGS", "(\\Deleted)")) != "OK":
            return
        gone = [self.model.change("expunge", account, i, lambda s: (GONE, frozenset())) for i in picked.values()]
        self.told(gone, lambda: client.uid("EXPUNGE", ",".join(picked)))


def parse_fetch(data):
    """(uid, id, flags) of each answer of FETCH (FLAGS BODY.PEEK[HEADER.FIELDS (X-Id)])."""
    found = []
    for part in data:
        if not isinstance(part, tuple):
            continue
        uid = re.search(rb"UID (\d+)", part[0])
        flags = re.search(rb"FLAGS \(([^)]*)\)", part[0])
        letter_id = re.search(rb"X-Id: (\S+)", part[1])
        if uid and letter_id:
            names = flags.group(1).decode().split() if flags else []
            found.append((uid.group(1).decode(), letter_id.group(1).decode(), frozenset(names) - {"\\Recent"}))
    return found


def look_at(node, account, model):
    """Reads all of an account from a node and compares it with the model. Gives {id: state}."""
    client = node.imap_client(account)
    found = {}
    copies = {}
    for mailbox in MAILBOXES + [COPIES]:
        client.must("select", mailbox, True)
        validity = client.untagged_responses["UIDVALIDITY"][-1].decode()
        if model.validity.setdefault((account, mailbox), validity) != validity:
            raise Wrong(f"{node.name}: {account} {mailbox}: UIDVALIDITY changed to {validity}")
        data = client.must("uid", "FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (X-Id)])")
        for uid, letter_id, flags in parse_fetch(data):
            if model.uids.setdefault((account, mailbox, validity, uid), letter_id) != letter_id:
                raise Wrong(f"{node.name}: {account} {mailbox}: UID {uid} names another letter now: {letter_id}")
            if mailbox == COPIES:
                copies[letter_id] = copies.get(letter_id, 0) + 1
                continue
            if letter_id in found:
                raise Wrong(f"{node.name}: {account}: {letter_id} is there twice: {found[letter_id]}, {mailbox}")
            found[letter_id] = (mailbox, flags)
    client.logout()
    states = model.states.get(account, {})
    for letter_id, possible in states.items():
        state = found.get(letter_id, (GONE, frozenset()))
        if state[0] is GONE:
            possible = {(s[0], frozenset() if s[0] is GONE else s[1]) for s in possible}
        if state not in possible:
            raise Wrong(f"{node.name}: {account}: {letter_id} is {state}, may be {possible}")
    strangers = set(found) - set(states)
    if strangers:
        raise Wrong(f"{node.name}: {account}: nobody sent {strangers}")
    for (name, letter_id), (least, most) in model.copies.items():
        if name == account and not least <= copies.get(letter_id, 0) <= most:
            raise Wrong(f"{node.name}: {account}: {copies.get(letter_id, 0)} copies of {letter_id}, "
                        f"may be {least} to {most}")
    for letter_id in copies:
        if (account, letter_id) not in model.copies:
            raise Wrong(f"{node.name}: {account}: nobody copied {letter_id}")
    return found, copies


def check(pair, model):
    pair.wait_quiet(120)
    digests = [node.digests() for node in pair.nodes]
    if digests[0] != digests[1]:
        differing = sorted(a for a in digests[0] if digests[0][a] != digests[1].get(a))
        raise Wrong(f"digests differ: {differing or 'other accounts'}")
    for account in pair.accounts:
        views = [look_at(node, account, model) for node in pair.nodes]
        if views[0] != views[1]:
            raise Wrong(f"{account}: the nodes show different things")
        # What was possible has become what is.
        found, copies = views[0]
        model.states[account] = {i: {state} for i, state in found.items()}
        model.copies = {key: bounds for key, bounds in model.copies.items() if key[0] != account}
        model.copies.update({(account, i): [count, count] for i, count in copies.items()})
        tidy(pair.nodes[0], account, model)
    found = [line for node in pair.nodes for line in node.findings()]
    if found:
        raise Wrong("\n".join(found))


def tidy(node, account, model):
    """Expunges what has been looked at, where there is much of it."""
    if len(model.states[account]) <= KEEP_PER_ACCOUNT:
        return
    client = node.imap_client(account)
    for mailbox in MAILBOXES + [COPIES]:
        client.must("select", mailbox)
        client.must("uid", "STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
        client.must("expunge")
    client.logout()
    model.states[account] = {}
    model.copies = {key: bounds for key, bounds in model.copies.items() if key[0] != account}


def compare(pair):
    """The replay of each journal equals the node's own tree, and the nodes' trees are equal."""
    pair.wait_quiet(120)
    digests = pair.nodes[0].digests()
    for node in pair.nodes:
        code = node.kill(harness.signal.SIGTERM)
        if code:
            raise Wrong(f"{node.name} ended with {code}")
    pairs = []
    directory = tempfile.mkdtemp(prefix="replay-", dir=pair.directory)
    for node in pair.nodes:
        target = os.path.join(directory, node.name)
        report = json.loads(run(os.path.join(harness.BIN, "gemel"), "replay", "--json", "--directory",
                                node.data_directory + "/journal", target, timeout=600).splitlines()[-1])
        if report["digests"] != digests:
            raise Wrong(f"the replay of {node.name} has other digests")
        pairs.append((node.name, node.data_directory, f"replay of {node.name}", target))
    pairs.append((pair.a.name, pair.a.data_directory, pair.b.name, pair.b.data_directory))
    for arguments in pairs:
        differing = trees.differences(*arguments)
        if differing:
            raise Wrong(f"{arguments[0]} and {arguments[2]} differ (kept in {directory}):\n" + "\n".join(differing))
    shutil.rmtree(directory)
    for node in pair.nodes:
        node.start()
    pair.wait_quiet(120)


def check_load(load, model):
    """What has been tested: every action, and hardly anything was refused."""
    load.resume()
    harness.wait_until(lambda: load.failure or ACTIONS <= set(+model.acknowledged), 60,
                       f"every kind of action is acknowledged: {dict(model.acknowledged)}")
    load.pause()
    answers = sum(model.counts.values())
    if model.counts["refused"] * 100 > answers * REFUSED_PERCENT_MAX:
        raise Wrong(f"{model.counts['refused']} of {answers} answers were refusals: the load tests too little")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments.add_argument("--accounts", type=int, default=4)
    arguments.add_argument("--stop-every", type=int, default=10, help="every so many kills SIGTERM instead of SIGKILL")
    arguments.add_argument("--compare-every", type=int, default=20,
                           help="every so many kills the trees are compared with a replay")
    arguments.add_argument("--least", type=int, default=20,
                           help="a kill counts if so many changes were acknowledged since the one before")
    arguments.add_argument("--bin", help="where gemel and gemeld are")
    arguments.add_argument("--keep", action="store_true", help="leave the directory there")
    options = arguments.parse_args()
    if options.bin:
        harness.BIN = os.path.abspath(options.bin)
    print(f"seed {options.seed}", flush=True)
    rng = random.Random(options.seed)
    # Nothing is pruned: the replay must make everything from the journal alone.
    pair, model = Pair(options.accounts, settings={"journal": {"retain_size": "1TiB"}}), Model()
    keep = True
    begun = time.monotonic()
    compared = 0
    try:
        for account in pair.accounts:
            client = pair.a.imap_client(account)
            client.must("create", "Work")
            client.must("create", COPIES)
            client.logout()
        load = Load(pair, model, options.seed)
        kill = void = before = 0
        while kill < options.kills:
            load.resume()
            time.sleep(rng.uniform(0.02, 0.8))
            victim = rng.choice(pair.nodes)
            acknowledged = model.counts["acknowledged"]
            counts = acknowledged - before >= options.least
            before = acknowledged
            kill += counts
            void += not counts
            if void > 5 + options.kills:
                raise Wrong(f"{void} kills are void: fewer than {options.least} changes were acknowledged before each")
            stopped = (kill + void) % options.stop_every == 0
            victim.kill(harness.signal.SIGTERM if stopped else harness.signal.SIGKILL)
            time.sleep(rng.choice([0, 0, rng.uniform(0, 0.5)]))
            victim.start()
            time.sleep(rng.uniform(0, 0.4))
            load.pause()
            check(pair, model)
            if counts and (kill % options.compare_every == 0 or kill == options.kills):
                compare(pair)
                compared += 1
            if counts and kill % 10 == 0 or sys.stdout.isatty():
                print(f"{kill} kills, {void} void, {model.counts['acknowledged']} changes acknowledged, {model.counts['unknown']} "
                      f"unknown, {model.counts['refused']} refused, {time.monotonic() - begun:.0f} s",
                      end="\r" if sys.stdout.isatty() and kill % 10 else "\n", flush=True)
        check_load(load, model)
        check(pair, model)
        load.stop = True
        load.resume()
        keep = options.keep
        print(f"good: {options.kills} kills, {void} void, {model.counts['acknowledged']} acknowledged changes, none lost, "
              f"none doubled, {model.counts['refused']} refused; {compared} times both trees were equal to one another and to their replays")
        return 0
    except (Wrong, AssertionError, OSError) as error:
        print(f"\nWRONG (seed {options.seed}): {error}\nThe nodes' directories stay in {pair.directory}")
        return 1
    finally:
        pair.stop(keep)


if __name__ == "__main__":
    sys.exit(main())
