"""A message of 150 MiB passes through in chunks: other accounts' letters keep flowing, and memory stays where it was."""

import base64
import hashlib
import os
import random
import re
import threading
import time
import unittest

from pair import PASSWORD, Conversation, letter, module_pair

MIB = 1 << 20
LARGE_BYTES = int(os.environ.get("GEMEL_LARGE_MIB", "150")) * MIB
GROWTH_BYTES_MAX = 32 * MIB
pair = None


def setUpModule():
    global pair
    # Room for the header and the trace headers, too.
    pair = module_pair(accounts=4, settings={"limits": {"message_size": "160MiB"}})


def large_letter(subject):
    """The letter in pieces; what cannot be compressed away, in lines of 76 characters."""
    block = base64.encodebytes(random.Random(subject).randbytes(57 * 18_000)).replace(b"\n", b"\r\n")
    head = letter(subject, body="").encode()
    yield head
    left = LARGE_BYTES - len(head)
    while left > 0:
        piece = block[:left] if left >= len(block) else block[:left - left % 78] or b"end of it.\r\n"
        yield piece
        left -= len(piece)


class Dialogue(Conversation):
    """Of commands and replies as SMTP has them."""

    def say(self, text, code):
        """Sends a line (none: None) and takes the whole reply, which must begin with `code`."""
        if text is not None:
            self.socket.sendall(text.encode() + b"\r\n")
        while True:
            line = self.line()
            if not line.startswith(code.encode()):
                raise AssertionError(f"{text}: {line}")
            if line[3:4] != b"-":
                return


def send_by_lmtp(node, user, subject):
    with Dialogue(node.lmtp) as client:
        client.say(None, "220")
        client.say("LHLO client.example.test", "250")
        client.say(f"MAIL FROM:<large@demo.example.test> SIZE={LARGE_BYTES}", "250")
        client.say(f"RCPT TO:<{user}>", "250")
        client.say("DATA", "354")
        for piece in large_letter(subject):
            client.socket.sendall(piece)
        client.say(".", "250")
        client.say("QUIT", "221")


def send_by_bdat(node, user, subject):
    with Dialogue(node.smtp) as client:
        client.say(None, "220")
        client.say("EHLO client.example.test", "250")
        client.say("MAIL FROM:<large@demo.example.test>", "250")
        client.say(f"RCPT TO:<{user}>", "250")
        for piece in large_letter(subject):
            client.socket.sendall(f"BDAT {len(piece)}\r\n".encode() + piece)
            client.say(None, "250")
        client.say("BDAT 0 LAST", "250")
        client.say("QUIT", "221")


def sent_digest(subject):
    """(bytes, SHA-256) of what was sent."""
    digest, count = hashlib.sha256(), 0
    for piece in large_letter(subject):
        digest.update(piece)
        count += len(piece)
    return count, digest.hexdigest()


def read_by_imap(node, user, subject):
    """The same of what is read, without the trace headers before it."""
    sent_bytes = sum(len(piece) for piece in large_letter(subject))
    with Conversation(node.imap) as client:
        client.line()

        def command(text):
            client.socket.sendall(b"a " + text.encode() + b"\r\n")
            while True:
                line = client.line()
                yield line
                if line.startswith(b"a "):
                    if not line.startswith(b"a OK"):
                        raise AssertionError(f"{text}: {line}")
                    return
        list(command(f"LOGIN {user} {PASSWORD}"))
        list(command("EXAMINE INBOX"))
        found = [line for line in command(f'UID SEARCH SUBJECT "{subject}"') if line.startswith(b"* SEARCH")]
        uid = found[0].split()[-1].decode()
        for line in command(f"UID FETCH {uid} (BODY.PEEK[])"):
            literal = re.search(rb"\{(\d+)\}\r\n$", line)
            if not literal:
                continue
            count = int(literal.group(1))
            client.read(count - sent_bytes)
            digest, left = hashlib.sha256(), sent_bytes
            while left > 0:
                piece = client.read(min(left, MIB))
                digest.update(piece)
                left -= len(piece)
            result = sent_bytes, digest.hexdigest()
        list(command("LOGOUT"))
        return result


class Watch:
    """Memory of both nodes from here to the end of the block; and small letters that flow meanwhile."""

    def __init__(self, accounts=()):
        self.accounts = accounts
        self.stopped = threading.Event()
        self.sent = 0
        self.longest_s = 0.0
        self.failure = None

    def __enter__(self):
        self.before = []
        for node in pair.nodes:
            with open(f"/proc/{node.pid}/clear_refs", "w") as file:
                file.write("5")  # VmHWM begins anew
            self.before.append(node.memory("VmRSS"))
        self.thread = threading.Thread(target=self.send_small_letters, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.grown = [node.memory("VmHWM") - before for node, before in zip(pair.nodes, self.before)]
        self.end_of_small_letters()
        if kind is None and self.failure:
            raise self.failure

    def end_of_small_letters(self):
        self.stopped.set()
        self.thread.join(60)

    def send_small_letters(self):
        try:
            while self.accounts and not self.stopped.is_set():
                for node in pair.nodes:
                    with node.lmtp_client() as client:
                        for account in self.accounts:
                            begun = time.monotonic()
                            client.sendmail("small@demo.example.test", [account], letter(f"small {self.sent}"))
                            self.longest_s = max(self.longest_s, time.monotonic() - begun)
                            self.sent += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error


class Large(unittest.TestCase):
    def setUp(self):
        # What a node needs once, for the first letter and the first reader, is not the large letter's.
        for account in pair.accounts:
            for node in pair.nodes:
                with node.lmtp_client() as client:
                    for i in range(50):
                        client.sendmail("small@demo.example.test", [account], letter(f"before {i}", "x" * 4000))
        pair.wait_quiet()
        for node in pair.nodes:
            for account in pair.accounts:
                client = node.imap_client(account)
                client.must("select", "INBOX", True)
                client.must("fetch", "1:*", "(BODY.PEEK[])")
                client.logout()

    def through(self, node, send, subject):
        user, others = pair.accounts[0], pair.accounts[1:]
        sent = sent_digest(subject)
        with Watch(others) as watch:
            begun = time.monotonic()
            send(node, user, subject)
            took_s = time.monotonic() - begun
            watch.end_of_small_letters()
            pair.wait_quiet(120)
        print(f"\n{subject}: {took_s:.1f} s, {watch.sent} small letters meanwhile, the slowest {watch.longest_s:.2f} s; "
              f"memory grew by {' and '.join(f'{b / MIB:.1f}' for b in watch.grown)} MiB", flush=True)
        self.check_memory(watch)
        self.assertGreater(watch.sent, 20)
        self.assertLess(watch.longest_s, 10)
        for reader in pair.nodes:
            with Watch() as watch:
                self.assertEqual(read_by_imap(reader, user, subject), sent)
            print(f"read at {reader.name}: memory grew by "
                  f"{' and '.join(f'{b / MIB:.1f}' for b in watch.grown)} MiB", flush=True)
            self.check_memory(watch)
        self.assertEqual(pair.a.digests(), pair.b.digests())

    def check_memory(self, watch):
        for node, grown in zip(pair.nodes, watch.grown):
            self.assertLess(grown, GROWTH_BYTES_MAX, f"{node.name} grew by {grown / MIB:.1f} MiB")

    def test_by_lmtp(self):
        self.through(pair.a, send_by_lmtp, "large by lmtp")

    def test_by_bdat(self):
        self.through(pair.b, send_by_bdat, "large by bdat")


if __name__ == "__main__":
    unittest.main()
