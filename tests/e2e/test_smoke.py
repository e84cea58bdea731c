"""Mail in at one node, out at both."""

import email
import ssl
import unittest

from pair import host_port, letter, module_pair, wait_until
import imaplib
import smtplib

pair = None


def setUpModule():
    global pair
    pair = module_pair(accounts=4)


def subjects(node, user, mailbox="INBOX"):
    client = node.imap_client(user)
    try:
        client.must("select", mailbox, True)
        uids = client.must("uid", "SEARCH", "ALL")[0].split()
        found = []
        for uid in uids:
            data = client.must("uid", "FETCH", uid.decode(), "(BODY.PEEK[HEADER])")
            found.append(email.message_from_bytes(data[0][1])["Subject"])
        return found
    finally:
        client.logout()


def arrives(node, user, subject):
    wait_until(lambda: subject in subjects(node, user), 10, f"{subject} is shown at {node.name}")


class Smoke(unittest.TestCase):
    def test_each_door_leads_to_both_nodes(self):
        for node in pair.nodes:
            for kind in ("smtp", "lmtp"):
                subject = f"through {kind} of {node.name}"
                with getattr(node, kind + "_client")() as client:
                    client.sendmail("sender@demo.example.test", [pair.accounts[0]], letter(subject))
                # Acknowledged is on both disks; shown it is when its home has placed it, a moment later.
                for reader in pair.nodes:
                    arrives(reader, pair.accounts[0], subject)

    def test_accounts_are_homed_on_both_nodes_or_proxied(self):
        user = pair.accounts[1]
        with pair.a.lmtp_client() as client:
            client.sendmail("sender@demo.example.test", [user], letter("flagged"))
        arrives(pair.a, user, "flagged")
        first, second = (node.imap_client(user) for node in pair.nodes)
        first.must("select", "INBOX")
        first.must("uid", "STORE", "1:*", "+FLAGS", "(\\Flagged)")
        second.must("select", "INBOX")
        data = second.must("uid", "FETCH", "1:*", "(FLAGS)")
        self.assertTrue(all(b"\\Flagged" in line for line in data), data)
        first.logout()
        second.logout()

    def test_body_is_byte_exact(self):
        user = pair.accounts[2]
        body = "A line.\r\n.A dot.\r\n\r\n" + "x" * 900 + "\r\n\xe4\xf6 8-bit\r\n"
        text = letter("exact", body).encode("latin-1")
        with pair.b.smtp_client() as client:
            client.sendmail("sender@demo.example.test", [user], text, ["BODY=8BITMIME"])
        for node in pair.nodes:
            client = node.imap_client(user)
            arrives(node, user, "exact")
            client.must("select", "INBOX", True)
            number = client.must("search", None, "SUBJECT", "exact")[0].split()[-1]
            data = client.must("fetch", number.decode(), "(BODY.PEEK[TEXT])")
            self.assertEqual(data[0][1], body.encode("latin-1"))
            client.logout()

    def test_append_move_expunge_are_seen_from_the_other_node(self):
        user = pair.accounts[3]
        one, other = pair.a.imap_client(user), pair.b.imap_client(user)
        one.must("append", "INBOX", "(\\Seen)", None, letter("appended").encode())
        self.assertIn("appended", subjects(pair.b, user))
        other.must("select", "INBOX")
        other.must("uid", "MOVE", "1:*", "Archive")
        self.assertEqual(subjects(pair.a, user), [])
        self.assertIn("appended", subjects(pair.a, user, "Archive"))
        one.must("select", "Archive")
        one.must("uid", "STORE", "1:*", "+FLAGS", "(\\Deleted)")
        one.must("expunge")
        self.assertEqual(subjects(pair.b, user, "Archive"), [])
        one.logout()
        other.logout()

    def test_tls_on_every_door_that_has_it(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for node in pair.nodes:
            client = imaplib.IMAP4_SSL(*host_port(node.imaps), ssl_context=context, timeout=30)
            client.login(pair.accounts[0], "pass")
            client.logout()
            client = node.imap_client()
            client.starttls(context)
            client.login(pair.accounts[0], "pass")
            client.logout()
            with node.smtp_client() as smtp:
                smtp.starttls(context=context)
                smtp.sendmail("sender@demo.example.test", [pair.accounts[0]], letter("over TLS"))

    def test_wrong_password_and_unknown_user_are_refused(self):
        for user, password in ((pair.accounts[0], "wrong"), ("nobody@example.test", "pass")):
            client = pair.a.imap_client()
            with self.assertRaises(imaplib.IMAP4.error):
                client.login(user, password)
            client.shutdown()
        with pair.a.smtp_client() as client:
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                client.sendmail("sender@demo.example.test", ["nobody@example.test"], letter("lost"))
            self.assertEqual(refused.exception.recipients["nobody@example.test"][0], 550)

    def test_never_a_relay(self):
        for recipient in ("someone@elsewhere.test", "someone%elsewhere.test@example.test",
                          "@elsewhere.test:someone@else.test", "elsewhere.test!someone@example.test"):
            for node in pair.nodes:
                with node.smtp_client() as client:
                    client.ehlo()
                    client.mail("sender@demo.example.test")
                    code, text = client.docmd(f"RCPT TO:<{recipient}>")
                    self.assertGreaterEqual(code, 500, (recipient, text))

    def test_idle_client_hears_of_mail_that_came_in_at_the_other_node(self):
        user = pair.accounts[1]
        client = pair.b.imap_client(user)
        client.must("select", "INBOX")
        client.send(b"i IDLE\r\n")
        self.assertTrue(client.readline().startswith(b"+"))
        with pair.a.lmtp_client() as sender:
            sender.sendmail("sender@demo.example.test", [user], letter("wake up"))
        client.line_with(b"EXISTS")
        client.send(b"DONE\r\n")
        client.line_with(b"i OK")
        client.logout()

    def test_digests_are_equal_when_quiet(self):
        pair.wait_quiet()
        self.assertEqual(pair.a.digests(), pair.b.digests())
        self.assertEqual(len(pair.a.digests()), len(pair.accounts))


class NodeGone(unittest.TestCase):
    def test_one_node_serves_while_the_other_is_gone(self):
        user = pair.accounts[0]
        pair.wait_quiet()
        pair.b.kill()
        wait_until(lambda: not pair.a.status()["peer_connected"], 10, "a notices that b is gone")
        with pair.a.lmtp_client() as client:
            client.sendmail("sender@demo.example.test", [user], letter("while b is away"))
        status = pair.a.status()
        self.assertGreater(status["unprotected"], 0)
        self.assertTrue(status["problems"], status)
        pair.b.start()
        pair.wait_quiet()
        for node in pair.nodes:
            arrives(node, user, "while b is away")
        self.assertEqual(pair.a.digests(), pair.b.digests())


if __name__ == "__main__":
    unittest.main()
