"""Days on which something else than a process breaks: a full disk, a server that stands still, a cut network, a damaged
journal. Whatever was acknowledged is on both nodes afterwards, once."""

import collections
import imaplib
import itertools
import json
import os
import random
import shutil
import signal
import smtplib
import subprocess
import threading
import unittest

from pair import BIN, Pair, letter, run, wait_until
from relay import Network

PEER_TIMEOUT_S = 1.5


class Letters:
    """Sends letters and knows which were acknowledged; afterwards each of those is on both nodes, once."""

    def __init__(self, pair):
        self.pair = pair
        self.acknowledged = set()  # (account, subject)
        self.unknown = set()
        self.numbers = itertools.count(1)  # drawn from by several threads

    def send(self, node, account, body="Hello.\r\n", protocol="lmtp"):
        """The reply's code; None: the connection broke."""
        subject = f"bad day {next(self.numbers)}"
        try:
            with getattr(node, protocol + "_client")() as client:
                client.sendmail("sender@demo.example.test", [account], letter(subject, body))
        except smtplib.SMTPSenderRefused as refused:
            return refused.smtp_code
        except smtplib.SMTPRecipientsRefused as refused:
            return refused.recipients[account][0]
        except (smtplib.SMTPException, OSError) as error:
            # In the middle of it: the letter may have been stored.
            self.unknown.add((account, subject))
            return getattr(error, "smtp_code", None)
        self.acknowledged.add((account, subject))
        return 250

    def send_everywhere(self):
        for node in self.pair.nodes:
            for account in self.pair.accounts:
                code = self.send(node, account)
                if code != 250:
                    raise AssertionError(f"{node.name} answered {code} to a letter for {account}")

    def check(self):
        self.pair.wait_quiet(120)
        a, b = (node.digests() for node in self.pair.nodes)
        if a != b:
            raise AssertionError("digests differ")
        for node in self.pair.nodes:
            for account in self.pair.accounts:
                found = collections.Counter(subjects(node, account))
                for name, subject in self.acknowledged:
                    if name == account and found[subject] != 1:
                        raise AssertionError(f"{node.name}: {account} has {subject} {found[subject]} times")
                if [s for s, count in found.items() if count > 1]:
                    raise AssertionError(f"{node.name}: {account} has letters twice: {found}")


def subjects(node, account):
    client = node.imap_client(account)
    try:
        client.must("select", "INBOX", True)
        data = client.must("fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().split(":", 1)[1].strip() for part in data if isinstance(part, tuple)]
    finally:
        client.logout()


def log_of(node):
    with open(node.log, errors="replace") as log:
        return log.read()


def problems(node):
    return " ".join(problem["what"] for problem in node.status()["problems"])


class BadDay(unittest.TestCase):
    def start(self, accounts=4, **settings):
        """A pair with short times, and {section: {key: value}} set on both nodes."""
        link = {"heartbeat": "200ms", "peer_timeout": f"{PEER_TIMEOUT_S * 1000:.0f}ms"}
        pair = Pair(accounts, settings={"link": link, **settings})
        self.addCleanup(pair.stop)
        letters = Letters(pair)
        letters.send_everywhere()
        return pair, letters


class Away(BadDay):
    def test_the_log_names_the_policy_that_is_in_force(self):
        pair, letters = self.start(1, delivery={"ack_policy": "local"})
        pair.b.kill()
        wait_until(lambda: " peer_away policy=local" in log_of(pair.a), 20, "a logs that b is away")
        self.assertEqual(letters.send(pair.a, pair.accounts[0]), 250)
        pair.b.start()
        letters.check()


class CutLink(BadDay):
    def cut_and_heal(self, mode):
        pair, letters = self.start()
        network = Network(pair)
        self.addCleanup(network.close)
        # A client whose account is at home on the other node, and one who came to the home itself.
        letters.send_everywhere()
        pair.wait_quiet()
        network.set(mode)
        # Both take mail for all accounts; who sends at once waits until the other counts as away.
        letters.send_everywhere()
        for node in pair.nodes:
            wait_until(lambda: not node.status()["peer_connected"], 20, f"{node.name} sees that the link is cut")
            letters.send_everywhere()
            status = node.status()
            self.assertGreater(status["unprotected"], 0)
            self.assertIn("the other server is away", problems(node))
        for node in pair.nodes:
            writable = 0
            for account in pair.accounts:
                client = node.imap_client(account)
                try:
                    client.must("select", "INBOX")
                    writable += 1
                    wanted = "OK"
                except imaplib.IMAP4.readonly:  # selected all the same
                    wanted = "NO"
                    client.untagged_responses.pop("READ-ONLY")
                self.assertGreaterEqual(len(client.must("search", None, "ALL")[0].split()), 4)
                kind, data = client.store("1", "+FLAGS", "(\\Flagged)")
                self.assertEqual(kind, wanted, data)
                client.logout()
            self.assertEqual(writable, node.status()["accounts_homed_here"])
        network.set("pass")
        letters.check()
        for node in pair.nodes:
            self.assertNotIn("away", problems(node))

    def test_cut(self):
        self.cut_and_heal("cut")

    def test_half_open(self):
        self.cut_and_heal("stall")


class StoodStill(BadDay):
    def test_longer_than_peer_timeout(self):
        pair, letters = self.start()
        for stopped, other in ((pair.a, pair.b), (pair.b, pair.a)):
            os.kill(stopped.pid, signal.SIGSTOP)
            try:
                # Its kernel still takes connections: their letters are answered afterwards.
                late = [threading.Thread(target=letters.send, args=(stopped, account)) for account in pair.accounts]
                for thread in late:
                    thread.start()
                for account in pair.accounts:
                    self.assertEqual(letters.send(other, account), 250)
                self.assertGreater(other.status()["unprotected"], 0)
            finally:
                os.kill(stopped.pid, signal.SIGCONT)
            for thread in late:
                thread.join(60)
            letters.check()
        self.assertEqual(letters.unknown, set())

    def test_under_pair_required_nothing_is_acknowledged_meanwhile(self):
        pair, letters = self.start(delivery={"ack_policy": "pair-required"})
        os.kill(pair.b.pid, signal.SIGSTOP)
        try:
            answers = []
            first = threading.Thread(target=lambda: answers.append(letters.send(pair.a, pair.accounts[0])))
            first.start()
            wait_until(lambda: not pair.a.status()["peer_counts"], 20, "a sees that b stands still")
            for account in pair.accounts:
                self.assertEqual(letters.send(pair.a, account), 451)
            self.assertEqual(answers, [])
        finally:
            os.kill(pair.b.pid, signal.SIGCONT)
        first.join(60)
        self.assertEqual(answers, [250])
        letters.check()
        letters.send_everywhere()
        letters.check()


class FullDisk(BadDay):
    def small_disk(self, node, mebibytes):
        """Puts the data directory of a stopped node onto a file system of its own."""
        data, kept = node.data_directory, node.data_directory + ".kept"
        os.rename(data, kept)
        os.mkdir(data, 0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "gemel-test", data],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if mounted.returncode:
            os.rmdir(data)
            os.rename(kept, data)
            return mounted.stdout
        self.addCleanup(subprocess.run, ["umount", "-l", data], check=False)
        shutil.copytree(kept, data, dirs_exist_ok=True, copy_function=shutil.copy2)
        shutil.rmtree(kept)
        return None

    def fill(self, node, leave_bytes):
        state = os.statvfs(node.data_directory)
        free = state.f_bavail * state.f_frsize
        with open(node.data_directory + "/filler", "wb") as file:
            file.write(bytes(max(free - leave_bytes, 0)))

    def full_and_room_again(self, leave_bytes, settings, until_refused, goes_away=False):
        pair = Pair(4, settings={"link": {"heartbeat": "200ms"}, "journal": {"segment_size": "1MiB", **settings}})
        why = []
        unmount = self.doCleanups  # before the pair's directory goes
        try:
            pair.restart(lambda: why.append(self.small_disk(pair.b, 64)))
            if why[0]:
                self.skipTest(f"no file system can be mounted here: {why[0].strip()}")
            letters = Letters(pair)
            letters.send_everywhere()
            pair.wait_quiet()
            self.fill(pair.b, leave_bytes)
            until_refused(pair, letters)
            for node in pair.nodes:
                for protocol in ("lmtp", "smtp"):
                    wait_until(lambda: letters.send(node, pair.accounts[0], protocol=protocol) == 452, 20,
                               f"{node.name} refuses mail by {protocol}")
                client = node.imap_client(pair.accounts[1])  # reading goes on
                client.must("select", "INBOX")
                data = client.must("fetch", "1:*", "(BODY.PEEK[])")
                self.assertIn(b"Subject: bad day", data[0][1])
                kind, data = client.append("INBOX", None, None, letter("appended").encode())
                self.assertEqual(kind, "NO", data)
                client.logout()
            self.assertIn("the disk is full", problems(pair.b))
            self.assertNotIn("away", problems(pair.a))
            if goes_away:  # then the other is alone, and takes mail
                pair.b.kill()
                wait_until(lambda: letters.send(pair.a, pair.accounts[3]) == 250, 30, "a takes mail alone")
                pair.b.start()
                wait_until(lambda: letters.send(pair.a, pair.accounts[3]) == 452, 30, "a knows that b's disk is full")
            os.remove(pair.b.data_directory + "/filler")
            for node in pair.nodes:  # by itself
                wait_until(lambda: letters.send(node, pair.accounts[2]) == 250, 30, f"{node.name} takes mail again")
            letters.send_everywhere()
            letters.check()
            self.assertEqual(problems(pair.b), "")
            pair.b.kill()
            pair.b.start()
            letters.check()
        finally:
            pair.stop(keep=True)
            unmount()
            shutil.rmtree(pair.directory)

    def test_little_is_left(self):
        self.full_and_room_again(4 << 20, {"free_space_min": "8MiB"}, lambda pair, letters: None, goes_away=True)

    def test_a_write_fails(self):
        """Nothing warns: the file system itself refuses a write of the journal, the Maildirs or the indexes."""
        def until_refused(pair, letters):
            rng = random.Random(1)
            for i in range(2000):
                text = rng.randbytes(15_000).hex()
                text = "\r\n".join(text[at:at + 76] for at in range(0, len(text), 76)) + "\r\n"
                if letters.send(pair.nodes[i % 2], pair.accounts[i % 4], text) != 250:
                    return
            self.fail("the disk of b never became full")
        self.full_and_room_again(100_000, {"free_space_min": 0}, until_refused)


class DamagedJournal(BadDay):
    def frames(self, node):
        """[(segment, offset, bytes)] of the frames that lie in sealed segments."""
        text = run(os.path.join(BIN, "gemel"), "journal", "dump", "--json", "--directory",
                   node.data_directory + "/journal")
        frames = [json.loads(line) for line in text.splitlines() if '"type":"frame"' in line]
        places = [(*map(int, frame["position"].split(":")), frame["bytes"]) for frame in frames]
        last = max(place[0] for place in places)
        return [place for place in places if place[0] < last]

    def verify(self, node):
        return run(os.path.join(BIN, "gemel"), "journal", "verify", "--directory", node.data_directory + "/journal",
                   check=False)

    def flip(self, node, place):
        """Flips a bit in the middle of a frame."""
        segment, offset, size = place
        path = f"{node.data_directory}/journal/segment-{segment:08x}"
        with open(path, "r+b") as file:
            file.seek(offset + size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0x10]))

    def damage_and_mend(self, how_it_ends, settings):
        pair, letters = self.start(journal={"segment_size": "1MiB", "compression_level": 0, **settings})
        text = "All work and no play makes Jack a dull boy, which is said again and again.\r\n" * 700
        for i in range(80):
            self.assertEqual(letters.send(pair.nodes[i % 2], pair.accounts[i % 4], text), 250)
        pair.wait_quiet()
        digests = pair.a.digests()
        for victim in pair.nodes:
            victim.kill(how_it_ends)
            self.assertEqual(self.verify(victim).returncode, 0)
            frames = self.frames(victim)
            self.assertGreater(len(frames), 20)
            for place in (frames[len(frames) // 3], frames[2 * len(frames) // 3]):
                self.flip(victim, place)
            damaged = self.verify(victim)
            self.assertEqual(damaged.returncode, 1, damaged.stdout)
            victim.start()
            self.assertIn("journal_damaged", log_of(victim))
            wait_until(lambda: "frame_mended" in log_of(victim), 20, "the frame comes from the peer")
            wait_until(lambda: "segment" not in problems(victim), 20, "the problem is solved")
            letters.check()
            self.assertEqual(victim.digests(), digests)
            victim.kill(signal.SIGTERM)
            mended = self.verify(victim)
            self.assertEqual(mended.returncode, 0, mended.stdout)
            victim.start()
            letters.check()

    def test_mended_from_the_peer(self):
        self.damage_and_mend(signal.SIGTERM, {})

    def test_mended_where_the_replay_at_the_start_needs_it(self):
        self.damage_and_mend(signal.SIGKILL, {"checkpoint_interval": "1h"})


if __name__ == "__main__":
    unittest.main()
