"""`gemel demo` as a newcomer meets it: letters of each kind, the commands that it prints, all in one go, ended in the
middle, and a node that ends badly."""

import glob
import json
import mailbox
import os
import re
import shutil
import signal
import smtplib
import subprocess
import tempfile
import unittest

from pair import (BIN, SOURCE, WITH_US, AdminConnection, Node, alive, end, host_port, letter, line_within, run,
                  wait_until)
from terminal import needs, on_terminal

GEMEL = os.path.join(BIN, "gemel")
END_SECONDS = 25  # each node within 10 s, and a sanitizer's report


class Demo(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-demo-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.pair = os.path.join(self.directory, "pair")

    def start(self, *arguments):
        process = subprocess.Popen([*WITH_US, GEMEL, "demo", "--dir", self.pair, *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(end, process)
        return process

    def log(self, name):
        try:
            with open(f"{self.pair}/{name}/log", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def interrupt(self, process, status):
        """Ctrl-C, and what is left of it: nothing."""
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=END_SECONDS)
        self.assertEqual(process.returncode, status, text)
        for path in glob.glob(f"{self.pair}/*/data/node/lock"):
            with open(path) as file:
                self.assertFalse(alive(int(file.read())), f"{path}: the node lives on")
        return text


class Letters(Demo):
    def test_mail_of_each_kind(self):
        texts = [letter(f"letter {i}", f"From here on: {i}\n").replace("\r\n", "\n") for i in range(3)]
        paths = {kind: os.path.join(self.directory, kind) for kind in ("mbox", "Maildir", "folder", "one.eml")}
        box = mailbox.mbox(paths["mbox"])
        maildir = mailbox.Maildir(paths["Maildir"])
        os.mkdir(paths["folder"])
        for number, text in enumerate(texts):
            box.add(text)
            message = mailbox.MaildirMessage(text)
            if number:
                message.set_subdir("cur")
            maildir.add(message)
            with open(f"{paths['folder']}/{number}.eml", "w") as file:
                file.write(text)
        box.close()
        with open(paths["folder"] + "/README", "w") as file:
            file.write("no letter\n")
        with open(paths["one.eml"], "w") as file:
            file.write(texts[0])
        expected = 0
        for kind, path in paths.items():  # one after the other into the same pair
            process = self.start("--accounts", "1", "--mail", path, "--json")
            line = process.stdout.readline()
            if not line:
                self.fail(f"{kind}: {process.wait()}: {process.stderr.read()}")
            expected += 1 if kind == "one.eml" else 3
            nodes = [Node(node) for node in json.loads(line)["nodes"]]
            for node in nodes:
                client = node.imap_client("user0@example.test")
                wait_until(lambda: client.must("select", "INBOX", True) == [str(expected).encode()], 20,
                           f"{kind}: {expected} letters at {node.name}")
                body = client.must("fetch", str(expected), "(BODY.PEEK[TEXT])")[0][1]
                self.assertRegex(body, rb"^From here on: \d\r\n", kind)
                client.logout()
            self.interrupt(process, 0)

    def test_what_is_no_mail_is_refused(self):
        for path in (self.directory, os.path.join(self.directory, "missing"), os.devnull):
            done = run(GEMEL, "demo", "--dir", self.pair, "--mail", path, check=False)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(f"gemel: {path}: ", done.stdout)
            self.assertFalse(os.path.exists(self.pair))

    def test_commands_are_quoted(self):
        self.pair = os.path.join(self.directory, "it's a pair")
        process = self.start("--accounts", "1", "--json")
        start = json.loads(process.stdout.readline())["nodes"][0]["start"]
        path = run("sh", "-c", f'set -- {start}; printf %s "$3"')
        self.assertEqual(path, self.pair + "/a/gemeld.toml")
        self.interrupt(process, 0)


@needs("curl")
@needs("mutt")
class HowTo(Demo):
    """What is printed for a person, and each command as it is printed."""

    def parts(self, process):
        """[(heading, [command, ...]), ...]"""
        parts, line = [], ""
        while not line.startswith("Ctrl-C ends the demo"):
            line = line_within(process, 120)
            if line.startswith("  "):
                parts[-1][1].append(line.strip())
            else:
                parts.append((line, []))
        return [part for part in parts if part[1]]

    def shell(self, command):
        return run("sh", "-c", command, env={**os.environ, "HOME": self.directory})

    def shown(self, search):
        """How many letters `search`, a curl command, finds; none where it meets nobody."""
        return len(run("sh", "-c", search, check=False).stdout.split()[2:])

    def test_each_command_does_what_it_is_for(self):
        process = self.start("--mail", os.path.join(SOURCE, "packaging", "mail"))
        (heading_a, a), (heading_b, b), (_, (kill, start)) = self.parts(process)
        letters = 5  # of 43 for ten accounts in turn
        os.mkdir(self.directory + "/Mail")  # else mutt offers to make it
        for heading, (search, fetch, mutt, status) in ((heading_a, a), (heading_b, b)):
            wait_until(lambda: self.shown(search) == letters, 20, f"{search} shows {letters} letters")
            self.assertRegex(self.shell(fetch), r"(?m)^Subject: ")
            screen = on_terminal(["sh", "-c", mutt + " -e 'push <quit>'"], self.directory)
            self.assertIn(f"Msgs:{letters}".encode(), screen)
            self.assertIn("no problems", self.shell(status))
            host, port = host_port(re.search(r" SMTP (\S+),", heading).group(1))
            with smtplib.SMTP(host, port, timeout=30) as client:
                client.sendmail("s@demo.example.test", ["user0@example.test"], letter("by hand"))
            letters += 1
        self.shell(kill)
        wait_until(lambda: not alive(int(kill.split()[-1])), 20, "node b is gone")
        wait_until(lambda: self.shown(a[0]) == letters, 20, "all is read from the other")
        self.assertEqual(self.shown(b[0]), 0)
        self.shell(f"({start}) >{self.directory}/again 2>&1")
        for search, _, _, status in (a, b):
            wait_until(lambda: self.shown(search) == letters, 60, f"{search} shows {letters} letters")
            wait_until(lambda: "no problems" in run("sh", "-c", status, check=False).stdout, 30, f"{status} is content")
        self.interrupt(process, 0)


class Once(Demo):
    def test_kills_a_node_and_finds_every_letter(self):
        process = self.start("--once", "--accounts", "3", "--mail", os.path.join(SOURCE, "packaging", "mail"))
        _, text = process.communicate(timeout=180)
        self.assertEqual(process.returncode, 0, text)
        self.assertIn("43 letters acknowledged, 0 refused", text)
        self.assertRegex(text, r"killing node b \(pid \d+\)")
        found = re.search(r"good: both nodes hold all \d{3} letters, .*; (\d+) tries had no reply", text)
        self.assertTrue(found, text)
        # One letter is on its way at a time. A door that is shut is no reply to a letter, and would come in hundreds.
        self.assertLess(int(found.group(1)), 10, text)


class Interrupted(Demo):
    def test_while_accounts_are_made(self):
        process = self.start("--accounts", "100000")

        def accounts():
            connection = AdminConnection(f"{self.pair}/a/run/admin")
            try:
                connection.request("GET", "/accounts")
                return len(json.loads(connection.getresponse().read()))
            except (OSError, ValueError):
                return 0
            finally:
                connection.close()
        wait_until(lambda: accounts() > 5, 60, "accounts are made")
        self.assertIn("gemel: interrupted", self.interrupt(process, 1))

    def test_while_the_first_node_starts(self):
        process = self.start()
        wait_until(lambda: os.path.exists(f"{self.pair}/a/log"), 30, "node a is started")
        self.assertIn("gemel: interrupted", self.interrupt(process, 1))

    def test_while_letters_are_delivered(self):
        box = mailbox.mbox(os.path.join(self.directory, "mbox"))
        for number in range(20_000):
            box.add(f"Subject: {number}\n\nHello.\n")
        box.close()
        process = self.start("--mail", os.path.join(self.directory, "mbox"))
        wait_until(lambda: self.log("a").count(" delivered ") > 5, 60, "letters are delivered")
        self.assertIn("gemel: interrupted", self.interrupt(process, 1))

    def test_in_the_middle_of_once(self):
        process = self.start("--once")
        line = process.stderr.readline()
        while line and not line.startswith("killing node b"):
            line = process.stderr.readline()
        self.interrupt(process, 1)


class NodeEnds(Demo):
    def test_the_demo_says_how(self):
        for how, status in ((signal.SIGKILL, 0), (signal.SIGTERM, 0), (signal.SIGABRT, 1)):
            process = self.start("--accounts", "1", "--json")
            node = json.loads(process.stdout.readline())["nodes"][1]
            os.kill(node["pid"], how)
            wait_until(lambda: not alive(node["pid"]), END_SECONDS, f"node b ends by {how}")
            self.interrupt(process, status)


if __name__ == "__main__":
    unittest.main()
