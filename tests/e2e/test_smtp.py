"""SMTP as a stranger speaks it: each limit, what is written before a letter, and every kind of address."""

import re
import smtplib
import socket
import unittest

from pair import host_port, letter, module_pair, wait_until

HOPS, ERRORS, RECIPIENTS, MESSAGES, A_MINUTE, BYTES = 10, 3, 100, 4, 12, 64 * 1024
SENDER = "sender@demo.example.test"
pair = None
outside = None  # HOST:PORT where this host itself is a stranger; limits of a connection are not for loopback


def own_address():
    """An address of this host that is not loopback; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def setUpModule():
    global pair, outside
    pair = module_pair(accounts=4, settings={"limits": {
        "received_hops": HOPS, "errors": ERRORS, "recipients": RECIPIENTS, "messages_per_connection": MESSAGES,
        "messages_per_mailbox_minute": A_MINUTE, "message_size": BYTES}})
    address = own_address()
    others = ["[::1]:0"] + ([f"{address}:0"] if address else [])
    pair.restart(lambda: pair.a.configure("smtp", listen=[pair.a.smtp, *others]))
    # It logs which ports it got. Those of its start before are in front of them.
    with open(pair.a.log) as log:
        ports = re.findall(r" listening listener=smtp address=(\S+)", log.read())[-len(others):]
    pair.v6 = ports[0]
    if address:
        outside = ports[1]


def greeted(client):
    client.ehlo()
    return client


def stranger():
    if outside is None:
        raise unittest.SkipTest("this host has no address but loopback")
    return greeted(smtplib.SMTP(*host_port(outside), local_hostname="client.example.test", timeout=30))


def replies(client, *lines):
    """The code and the enhanced code of the answer to each line."""
    return [f"{code} {text.decode().split()[0]}" for code, text in map(client.docmd, lines)]


def fetch(user, subject, mailbox="INBOX"):
    """The only letter with this subject, as it is in the mailbox."""
    client = pair.b.imap_client(user)
    try:
        def found():
            client.must("select", mailbox, True)
            return client.must("search", None, "SUBJECT", f'"{subject}"')[0].split()
        numbers = wait_until(found, 10, f"{subject} is shown")
        if len(numbers) != 1:
            raise AssertionError(f"{len(numbers)} letters {subject}")
        return client.must("fetch", numbers[0].decode(), "(BODY.PEEK[])")[0][1]
    finally:
        client.logout()


class Limits(unittest.TestCase):
    def test_received_hops(self):
        with greeted(pair.a.smtp_client()) as client:
            def code(hops):
                client.mail(SENDER)
                client.rcpt(pair.accounts[1])
                return client.data("Received: by a.test; now\r\n" * hops + letter(f"{hops} hops"))[0]
            self.assertEqual(code(HOPS), 250)
            self.assertEqual(code(HOPS + 1), 554)

    def test_errors(self):
        with stranger() as client:
            self.assertEqual(replies(client, *["WHAT"] * ERRORS), ["500 5.5.1"] * ERRORS)
            client.putcmd("WHAT")
            self.assertEqual([client.getreply()[0], client.getreply()[0]], [500, 421])
        with greeted(pair.a.smtp_client()) as client:  # not for this host's own
            self.assertEqual(replies(client, *["WHAT"] * 3 * ERRORS), ["500 5.5.1"] * 3 * ERRORS)

    def test_recipients(self):
        with greeted(pair.a.smtp_client()) as client:
            client.mail(SENDER)
            codes = [client.rcpt(f"user1+{i}@example.test")[0] for i in range(RECIPIENTS + 1)]
            self.assertEqual(codes, [250] * RECIPIENTS + [452])

    def test_messages_per_connection(self):
        with stranger() as client:
            for i in range(MESSAGES):
                client.mail(SENDER)
                client.rcpt(pair.accounts[1])
                self.assertEqual(client.data(letter(f"message {i}"))[0], 250)
            self.assertEqual(client.getreply()[0], 421)

    def test_messages_per_mailbox_minute(self):
        taken = 0
        with greeted(pair.a.smtp_client()) as client:
            while True:
                client.mail(SENDER)
                if client.rcpt(pair.accounts[3])[0] == 450:
                    break
                taken += client.data(letter("bomb"))[0] == 250
                client.rset()
                self.assertLess(taken, 3 * A_MINUTE)
            self.assertEqual(client.rcpt(pair.accounts[0])[0], 250)
        self.assertIn(taken, range(A_MINUTE, 2 * A_MINUTE + 1))  # a minute may have ended meanwhile

    def test_message_size(self):
        with greeted(pair.a.smtp_client()) as client:
            self.assertEqual(replies(client, f"MAIL FROM:<{SENDER}> SIZE={BYTES + 1}"), ["552 5.3.4"])
            for way in ("DATA", "BDAT"):
                for size in (BYTES, BYTES + 1):
                    head = letter(f"{way} of {size}", "")
                    text = head + "x" * (size - len(head) - 2) + "\r\n"
                    client.mail(SENDER)
                    client.rcpt(pair.accounts[2])
                    if way == "DATA":
                        code = client.data(text)[0]
                    else:
                        client.send(f"BDAT {size} LAST\r\n{text}")
                        code = client.getreply()[0]
                    self.assertEqual(code, 250 if size == BYTES else 552, (way, size))


class Letters(unittest.TestCase):
    def test_byte_for_byte_behind_its_trace(self):
        text = letter("exact", "One.\r\n..dots\r\n.\r\n\r\n\xc3\xa4 8-bit \xff\r\n").encode("latin-1")
        with greeted(pair.a.smtp_client()) as client:
            client.mail("some.body@a.test", ["BODY=8BITMIME"])
            client.rcpt(pair.accounts[0])
            code, stored = client.data(text)
            self.assertEqual(code, 250)
        self.assertRegex(fetch(pair.accounts[0], "exact"), re.compile(
            rb"\AReturn-Path: <some.body@a.test>\r\n"
            rb"Delivered-To: user0@example.test\r\n"
            rb"Received: from client.example.test \(\[127.0.0.2\]\)\r\n"
            rb"\tby a.demo.example.test \(Gemel\) with ESMTP id " + re.escape(stored.split()[-1]) + rb"\r\n"
            rb"\tfor <user0@example.test>; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+]0000\r\n"
            + re.escape(text) + rb"\Z"))

    def test_smtputf8(self):
        with socket.create_connection(host_port(pair.a.smtp), 30, source_address=("127.0.0.2", 0)) as client:
            client.sendall("EHLO c.test\r\nMAIL FROM:<j\u00f6rg@a.test>\r\nMAIL FROM:<j\u00f6rg@a.test> SMTPUTF8\r\n"
                           "RCPT TO:<user0@example.test>\r\nDATA\r\n".encode())
            client.sendall(letter("gr\u00fc\u00dfe utf8").encode() + b".\r\n")
            client.shutdown(socket.SHUT_WR)  # as `nc -N`: what was said is answered all the same
            answer = client.makefile("rb").read().decode()
        self.assertEqual([line[:9] for line in answer.splitlines() if not line.startswith(("220", "250-", "250 HELP"))],
                         ["553 5.6.7", "250 2.1.0", "250 2.1.5", "354 End w", "250 2.0.0"], answer)
        self.assertIn("Return-Path: <j\u00f6rg@a.test>\r\n".encode(), fetch(pair.accounts[0], "utf8"))
        self.assertIn(b"with UTF8SMTP id ", fetch(pair.accounts[0], "utf8"))

    def test_addresses(self):
        self.assertLess(pair.a.admin_call("POST", "/aliases/set", {
            "address": "both@example.test", "targets": ["user0@example.test", "user2@example.test"]})[0], 300)
        self.assertLess(pair.a.admin_call("POST", "/domains/set", {
            "domain": "example.org", "exists": True, "alias_of": "example.test"})[0], 300)
        client = pair.a.imap_client(pair.accounts[0])
        client.must("create", '"My Lists"')
        client.logout()
        with greeted(smtplib.SMTP(*host_port(pair.v6), local_hostname="client.example.test", timeout=30)) as smtp:
            for n, (address, mailbox) in enumerate((
                    ("USER0@Example.Test", "INBOX"), ("user0@example.org", "INBOX"),
                    ('"user0+My Lists"@example.test', '"My Lists"'), ("user0+nowhere@example.test", "INBOX"),
                    ("both@example.org", "INBOX"))):
                smtp.mail(SENDER)
                self.assertEqual(smtp.docmd(f"RCPT TO:<{address}>")[0], 250, address)
                self.assertEqual(smtp.data(letter(f"address {n}"))[0], 250)
                self.assertIn(b"Received: from client.example.test ([IPv6:::1])\r\n",
                              fetch(pair.accounts[0], f"address {n}", mailbox))
            smtp.mail(SENDER)
            self.assertEqual(replies(smtp, "RCPT TO:<postmaster>", "RCPT TO:<Postmaster@example.test>",
                                     "RCPT TO:<postmaster@example.org>", "RCPT TO:<postmaster@elsewhere.test>",
                                     "RCPT TO:<nobody@example.test>", "VRFY user0", "EXPN both"),
                             ["250 2.1.5"] * 3 + ["550 5.7.1", "550 5.1.1", "252 2.5.2", "502 5.5.1"])


if __name__ == "__main__":
    unittest.main()
