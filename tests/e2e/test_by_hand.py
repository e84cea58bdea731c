"""Two nodes as docs/operator.md sets them up, command by command; then mail of the past from their journals."""

import glob
import json
import os
import re
import shutil
import signal
import tempfile
import time
import unittest

import pair as harness
from pair import BIN, Node, Notified, configure, letter, pass_second, run, wait_until, write_configurations

GEMEL = os.path.join(BIN, "gemel")
ANN, BOB = "ann@example.test", "bob@example.test"


def described(directory, name, place):
    """A node in `directory` whose configuration pair.write_configurations made, as `gemel demo` would describe it."""
    config = os.path.join(directory, name, "gemeld.toml")
    with open(config) as file:
        text = file.read()

    def value(section, key):
        return re.search(rf'^\[{section}\]\n(?:.+\n)*?{key} = \[?"([^"]*)"', text, re.M).group(1)
    return Node({
        "name": name, "place": place, "pid": None, "config": config, "log": os.path.join(directory, name, "log"),
        "lmtp": value("lmtp", "listen"), "smtp": value("smtp", "listen"), "imap": value("imap", "listen"),
        "imaps": value("imap", "listen_tls"), "link": value("link", "listen"), "admin": value("node", "admin_socket"),
        "data_directory": value("node", "data_directory"), "lmtp_socket": value("lmtp", "socket"),
        "start": f"{os.path.join(BIN, 'gemeld')} --config {config}"})


def deliver(node, account, subject):
    with node.lmtp_client() as client:
        client.sendmail("sender@demo.example.test", [account], letter(subject, to=account))


class ByHand(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="gemel-hand-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, True)
        write_configurations(cls.directory, {})
        cls.a, cls.b = cls.nodes = [described(cls.directory, name, place) for place, name in enumerate("ab")]
        cls.notified = [Notified(os.path.join(cls.directory, f"notify-{node.name}")) for node in cls.nodes]

    @classmethod
    def tearDownClass(cls):
        for node in cls.nodes:
            if node.process:
                harness.end(node.process)
        for each in cls.notified:
            each.socket.close()

    def gemel(self, node, *arguments, status=0, **keywords):
        done = run(GEMEL, "--config", node.config, *arguments, check=False, **keywords)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}")
        return done.stdout

    def start(self, node):
        notified = self.notified[node.place]
        notified.heard.clear()
        node.start(environment={"NOTIFY_SOCKET": notified.path})
        notified.wait_for("READY=1")

    # Their order is that of their names: each goes on from where the one before stopped.
    def test_1_a_node_alone(self):
        text = self.gemel(self.a, "status", status=1)
        self.assertIn("is gemeld running?", text)
        self.assertRegex(self.gemel(self.a, "init"), r"^Made node [0-9a-f]{16} in ")
        self.start(self.a)
        # It serves a moment before that is written down.
        wait_until(lambda: re.search(r"(?m)^state +solo", self.gemel(self.a, "status")), 30, "it is alone")
        for account in (ANN, BOB):
            self.gemel(self.a, "account", "add", account, input=harness.PASSWORD + "\n")
            deliver(self.a, account, "before the pair")

    def test_2_a_second_joins(self):
        offer = self.gemel(self.a, "pair")
        address, token = re.search(r"^ +gemel pair (\S+) (\S+)$", offer, re.M).groups()
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
        self.gemel(self.b, "pair", address, wrong, status=1)
        self.assertFalse(os.path.exists(self.b.data_directory + "/node/identity.json"))
        again = json.loads(self.gemel(self.a, "pair", "--json"))
        self.assertEqual(again["address"], address)
        text = self.gemel(self.b, "pair", again["address"], again["token"])
        self.assertRegex(text, r"^Paired with node [0-9a-f]{16}\. Start gemeld here now\.$")
        self.start(self.b)
        for node in self.nodes:
            wait_until(lambda: run(GEMEL, "--config", node.config, "status", check=False).returncode == 0, 60,
                       f"{node.name} is well")
            status = json.loads(self.gemel(node, "status", "--json"))
            self.assertEqual((status["state"], status["place"], status["peer_connected"], status["problems"]),
                             ("paired", node.place, True, []))
            text = self.gemel(node, "status")
            self.assertRegex(text, rf"(?m)^node +[0-9a-f]{{16}} \(place {node.place}\)")
            self.assertRegex(text, r"(?m)^peer +[0-9a-f]{16}, connected")
        wait_until(lambda: json.loads(self.gemel(self.b, "status", "--json"))["accounts"] == 2, 30, "b has the accounts")
        wait_until(lambda: self.a.digests() == self.b.digests(), 30, "b has the mail")

    def test_3_the_journal_is_looked_at(self):
        for node in self.nodes:
            # With --json what takes long tells how far it is, in lines before.
            lines = self.gemel(node, "journal", "stat", "--records", "--json").splitlines()
            stat = json.loads(lines[-1])
            self.assertEqual(stat["problems"], 0, stat)
            self.assertGreater(stat["records"], 4)
            self.assertIn("deliver", json.dumps(stat).lower())
            self.assertRegex(self.gemel(node, "journal", "stat"), r"problems=0")

    def replay(self, *arguments, **keywords):
        target = tempfile.mkdtemp(dir=self.directory)
        self.gemel(self.b, "replay", target, *arguments, **keywords)
        found = {}
        for path in glob.glob(target + "/accounts/example.test/*/Maildir/*/*.gemel*"):
            account = path.split("/")[-4] + "@example.test"
            with open(path, errors="replace") as file:
                found.setdefault(account, set()).add(re.search(r"^Subject: (.*)$", file.read(), re.M).group(1))
        return found

    def test_4_mail_of_the_past(self):
        deliver(self.a, ANN, "early")
        wait_until(lambda: self.a.digests() == self.b.digests(), 30, "both have it")
        moment = pass_second()
        deliver(self.b, ANN, "late")
        wait_until(lambda: self.a.digests() == self.b.digests() and "late" in str(self.replay()), 30, "both have it")
        everything = {ANN: {"before the pair", "early", "late"}, BOB: {"before the pair"}}
        self.assertEqual(self.replay(), everything)
        self.assertEqual(self.replay("--until", f"@{moment}"),
                         {ANN: {"before the pair", "early"}, BOB: {"before the pair"}})
        self.assertEqual(self.replay("--account", ANN), {ANN: everything[ANN]})
        self.assertEqual(self.replay("--account", ANN, "--until",
                                     time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))),
                         {ANN: {"before the pair", "early"}})
        report = json.loads(self.gemel(self.b, "replay", "--dry-run", "--json").splitlines()[-1])
        self.assertEqual(report["digests"], self.b.digests())
        self.assertEqual(report["messages"], 4)
        self.assertIn("nothing was written", self.gemel(self.b, "replay", "--dry-run"))
        self.assertIn("no account", self.gemel(self.b, "replay", "--dry-run", "--account", "x@example.test", status=1))
        self.gemel(self.b, "replay", status=2)
        self.assertIn("a time is wanted", self.gemel(self.b, "replay", "--dry-run", "--until", "noon", status=2))

    def test_5_both_stop(self):
        for node, notified in zip(self.nodes, self.notified):
            self.assertNotIn("STOPPING=1", notified)
            self.assertEqual(node.kill(signal.SIGTERM, 10), 0)
            self.assertIn("STOPPING=1", notified)

    def test_6_a_part_of_a_journal_is_refused(self):
        """What the journal no longer has is taken from beside it, or the replay is refused."""
        settings = {"segment_size": "1MiB", "retain_size": 0, "retain_time": 0, "checkpoint_interval": "200ms"}
        for node in self.nodes:
            configure(node.config, "journal", settings)
            self.start(node)
        wait_until(lambda: self.a.status()["peer_counts"], 30, "the pair is there")

        def retired():
            with self.a.lmtp_client() as client:
                client.sendmail("sender@demo.example.test", [ANN], letter("large", os.urandom(300_000).hex()[:900] + "\r\n"
                                                                          + "\r\n".join(os.urandom(450).hex()
                                                                                        for _ in range(600))))
            return self.b.status()["journal_oldest"] >> 32 > 1
        wait_until(retired, 60, "the first journal file goes")
        for node in self.nodes:
            self.assertEqual(node.kill(signal.SIGTERM, 10), 0)
        whole = json.loads(self.gemel(self.b, "replay", "--dry-run", "--json").splitlines()[-1])
        backup = os.path.join(self.directory, "backup")
        shutil.copytree(self.b.data_directory, backup)
        copied = json.loads(self.gemel(self.b, "replay", "--dry-run", "--json", "--directory",
                                       backup + "/journal").splitlines()[-1])
        self.assertEqual(copied["digests"], whole["digests"])
        shutil.rmtree(backup + "/accounts")
        text = self.gemel(self.b, "replay", "--dry-run", "--directory", backup + "/journal", status=1)
        self.assertIn("does not reach back to the first start", text)


if __name__ == "__main__":
    unittest.main()
