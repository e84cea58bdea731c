"""The clients of the kill test: each tells the model what it tries, what it is told and what it is shown."""

import imaplib
import random
import re
import smtplib
import threading
import time

from kill_model import COPIES, GONE, MAILBOXES, Wrong
from pair import letter

Lost = (OSError, smtplib.SMTPServerDisconnected, imaplib.IMAP4.abort)


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
            self.add(self.look, random.Random(f"{seed} look {index}"), account)
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
        action = rng.choice(["append", "flag", "unflag", "copy", "move", "move", "expunge"])
        do = getattr(self, "change_" + action)
        self.at_a_node(rng, account, session, action, lambda client: do(rng, account, client))

    def look(self, rng, account, session):
        """Sees what another client changes meanwhile."""
        mailbox = rng.choice(MAILBOXES + [COPIES])
        self.at_a_node(rng, account, session, "look", lambda client: see(client, account, mailbox, self.model))

    def at_a_node(self, rng, account, session, what, do):
        node = rng.choice(self.pair.nodes)
        try:
            client = session.get(node.name)
            if not client:
                client = session[node.name] = node.imap_client(account)
        except (Lost + (imaplib.IMAP4.error,)):  # it lets nobody in now
            return
        try:
            do(client)
        except Lost:
            session.pop(node.name)
        except (Wrong, imaplib.IMAP4.error) as error:
            raise Wrong(f"{account} at {node.name}: {what}: {error}") from error

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
        there = {letter_id: uid for uid, letter_id, _ in see(client, account, mailbox, self.model)}
        ids = [i for i in self.model.settled(account, mailbox) if i in there]
        picked = rng.sample(ids, min(len(ids), rng.randrange(1, most + 1)))
        return mailbox, {there[i]: i for i in picked}

    def change_flag(self, rng, account, client, sign="+"):
        flag = rng.choice(["\\Seen", "\\Flagged", "\\Answered", "$Label1"])
        mailbox, picked = self.some_letters(rng, account, client, 5)
        if not picked:
            return
        action = "flag" if sign == "+" else "unflag"
        outcomes = [self.model.change(action, account, i, mailbox, lambda flags: (
            mailbox, flags | {flag} if sign == "+" else flags - {flag})) for i in picked.values()]
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
        outcomes = [self.model.change("move", account, i, mailbox, lambda flags: (to, flags))
                    for i in picked.values()]
        self.told(outcomes, lambda: client.uid("MOVE", ",".join(picked), to))

    def change_expunge(self, rng, account, client):
        mailbox, picked = self.some_letters(rng, account, client, 3)
        if not picked:
            return
        deleted = [self.model.change("mark deleted", account, i, mailbox, lambda flags: (mailbox, flags | {"\\Deleted"}))
                   for i in picked.values()]
        if self.told(deleted, lambda: client.uid("STORE", ",".join(picked), "+FLAGS", "(\\Deleted)")) != "OK":
            return
        gone = [self.model.change("expunge", account, i, mailbox, lambda _: GONE) for i in picked.values()]
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


def see(client, account, mailbox, model):
    """Selects a mailbox and reads all of it: [(uid, id, flags)], of which the model hears. Nobody can change anything
    where it is READ-ONLY: that ends the session, as IMAP4.readonly, once it has been read."""
    since = model.now()
    read_only = None
    try:
        kind, data = client.select(mailbox)
    except imaplib.IMAP4.readonly as error:
        read_only, since = error, model.rest
        client.is_readonly = True  # imaplib lets nothing be read otherwise
        kind, data = "OK", []
    if kind == "OK":
        validity = client.untagged_responses["UIDVALIDITY"][-1].decode()
        kind, data = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (X-Id)])")
    if kind != "OK":
        if b"UNAVAILABLE" not in (data[0] or b""):
            raise Wrong(f"{mailbox} cannot be read: {kind} {data}")
        return []
    found = parse_fetch(data)
    model.shown(account, mailbox, validity, found, since)
    if read_only:
        raise read_only
    return found
