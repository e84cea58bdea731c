"""gemel and gemeld as an administrator meets them."""

import contextlib
import glob
import itertools
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from pair import BIN, SOURCE, WITH_US, Conversation, letter, module_pair, run, wait_until

GEMEL = os.path.join(BIN, "gemel")
GEMELD = os.path.join(BIN, "gemeld")
pair = None


def setUpModule():
    global pair
    pair = module_pair(accounts=2)


def gemel(*arguments, node=None, **keywords):
    """(exit status, output)"""
    config = ["--config", (node or pair.a).config]
    done = run(GEMEL, *config, *arguments, check=False, **keywords)
    return done.returncode, done.stdout


class BesideARunningNode(unittest.TestCase):
    def test_reading_the_journal_while_it_grows(self):
        stop = threading.Event()
        sent = []

        def send():
            with pair.a.lmtp_client() as client:
                while not stop.is_set():
                    client.sendmail("s@demo.example.test", [pair.accounts[0]], letter(f"growing {len(sent)}"))
                    sent.append(1)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for round_ in range(3):
                before = len(sent)
                wait_until(lambda: len(sent) > before + 20, 30, "letters are delivered")
                code, text = gemel("journal", "verify")
                self.assertEqual(code, 0, text)
                target = os.path.join(pair.directory, f"export{round_}")
                code, text = gemel("export", target, "--json")
                self.assertEqual(code, 0, text)
                report = json.loads(text.splitlines()[-1])  # behind lines of progress
                self.assertGreaterEqual(report["messages"], before)
                self.assertEqual(report["damaged"], [])
                shutil.rmtree(target)
        finally:
            stop.set()
            sender.join()
        self.assertEqual(gemel("status")[0], 0)


class ExitStatus(unittest.TestCase):
    def test_used_wrongly(self):
        for arguments in ((), ("frobnicate",), ("account",), ("account", "add"), ("pair", "address-without-token"),
                          ("home", "set", "user0@example.test", "2")):
            done = run(GEMEL, *arguments, check=False)
            self.assertEqual(done.returncode, 2, (arguments, done.stdout))

    def test_help_and_version(self):
        for program in (GEMEL, GEMELD):
            self.assertIn("--config", run(program, "--help"))
            self.assertRegex(run(program, "--version"), r"^\d+\.\d+\.\d+")

    def test_unknown_key_is_refused_with_file_and_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write("[node]\n[link]\nhartbeat = \"1s\"\n")
            file.flush()
            done = run(GEMEL, "check-config", "--config", file.name, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{file.name}:3: unknown key hartbeat in [link]; did you mean heartbeat?", done.stdout)
            done = run(GEMELD, "--config", file.name, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(f"{file.name}:3:", done.stdout)

    def test_no_daemon(self):
        with tempfile.TemporaryDirectory() as directory:
            config = os.path.join(directory, "gemeld.toml")
            with open(config, "w") as file:
                file.write(f'[node]\nadmin_socket = "{directory}/admin"\ndata_directory = "{directory}/data"\n')
            done = run(GEMEL, "--config", config, "status", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("is gemeld running?", done.stdout)
            done = run(GEMELD, "--config", config, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("gemel init", done.stdout)
            self.assertEqual(run(GEMEL, "--config", config, "init", check=False).returncode, 0)
            again = run(GEMEL, "--config", config, "init", check=False)
            self.assertEqual(again.returncode, 1)
            self.assertIn("is a node already", again.stdout)

    def test_a_port_that_is_taken_leaves_no_trace_in_the_journal(self):
        with tempfile.TemporaryDirectory() as directory, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = os.path.join(directory, "gemeld.toml")
            with open(config, "w") as file:
                file.write(f'[node]\nadmin_socket = "{directory}/admin"\ndata_directory = "{directory}/data"\n'
                           f'[link]\nlisten = ["127.0.0.1:{taken.getsockname()[1]}"]\n')
            self.assertEqual(run(GEMEL, "--config", config, "init", check=False).returncode, 0)
            done = run(GEMELD, "--config", config, check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(f":{taken.getsockname()[1]}", done.stdout)
            self.assertFalse(os.path.exists(f"{directory}/data/journal"))

    def test_two_daemons_on_one_directory(self):
        done = run(GEMELD, "--config", pair.a.config, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertTrue(pair.a.status())


class Status(unittest.TestCase):
    def statuses(self):
        """What `gemel status --json` says at both nodes, at rest."""
        pair.wait_quiet()

        def both():
            found = []
            for node in pair.nodes:
                code, text = gemel("status", "--json", node=node)
                self.assertEqual(code, 0, text)
                found.append(json.loads(text))
            return found if found[0]["clock"] == found[1]["clock"] else None
        return wait_until(both, 30, "both nodes have the same")

    def check_what_the_nodes_have_in_common(self, own, peer):
        for key, other_key in (("node", "peer_node"), ("key_fingerprint", "peer_key_fingerprint"),
                               ("cluster", "cluster"), ("generation", "generation"), ("clock", "clock"),
                               ("clock", "peer_clock"), ("accounts", "accounts")):
            self.assertEqual(own[key], peer[other_key], (key, other_key))
        self.assertNotEqual(own["node"], peer["node"])
        self.assertNotEqual(own["key_fingerprint"], peer["key_fingerprint"])
        self.assertEqual(own["accounts_homed_here"] + peer["accounts_homed_here"], own["accounts"])

    def test_json_says_what_is_known_otherwise(self):
        accounts = json.loads(gemel("account", "list", "--json")[1])
        at_rest = {"state": "paired", "policy": "pair-if-up", "peer_connected": True, "peer_counts": True,
                   "problems": [], "unprotected_since_s": None, "catch_up_out": None, "catch_up_in": None,
                   **dict.fromkeys(("lag_records_out", "lag_bytes_out", "lag_records_in", "unprotected",
                                    "oldest_unacknowledged_ms", "accounts_read_only", "store_backlog_bytes",
                                    "store_backlog_items"), 0)}
        statuses = self.statuses()
        for node, own, peer in zip(pair.nodes, statuses, reversed(statuses)):
            self.assertEqual({key: own[key] for key in at_rest}, at_rest)
            self.check_what_the_nodes_have_in_common(own, peer)
            self.assertEqual(own["place"], node.place)
            self.assertEqual(own["version"], run(GEMEL, "--version").strip())
            self.assertEqual(own["accounts"], len(accounts))
            self.assertEqual(own["accounts_homed_here"], sum(a["home_place"] == node.place for a in accounts))
            self.assertGreaterEqual(own["last_contact_ms"], 0)
            files = [os.stat(path).st_size for path in glob.glob(node.data_directory + "/journal/segment-*")]
            self.assertEqual(own["journal_bytes"], sum(files))
            disk = os.statvfs(node.data_directory)
            self.assertIn(own["free_bytes"], range(1, disk.f_blocks * disk.f_frsize))
            stat = json.loads(gemel("journal", "stat", "--json", node=node)[1].splitlines()[-1])
            self.assertEqual(own["journal_oldest"], position(stat["oldest"]))
            self.assertEqual(own["journal_end"], position(stat["end"]))
            self.assertLessEqual(own["checkpoint_position"], own["journal_end"])

    def test_a_letter_moves_the_clock_of_the_node_that_took_it(self):
        before = self.statuses()
        with pair.a.lmtp_client() as client:
            client.sendmail("s@demo.example.test", [pair.accounts[0]], letter("counted"))
        after = self.statuses()
        own = f"{before[0]['node']}/{before[0]['incarnation']}"
        for old, new in zip(before, after):
            self.assertGreater(new["clock"][own], old["clock"][own])
            self.assertGreater(new["journal_end"], old["journal_end"])

    def test_text_says_the_same(self):
        status = self.statuses()[1]
        code, text = gemel("status", node=pair.b)
        self.assertEqual(code, 0, text)
        for line in (f"node +{status['node']} \\(place 1\\), gemel {status['version']}",
                     f"state +paired, generation {status['generation']}, policy pair-if-up",
                     f"peer +{status['peer_node']}, connected \\(gemel {status['peer_version']}\\), heard .*",
                     r"lag +0 records \(0 B\) to the peer, 0 from it", "unprotected +0 changes on this disk only",
                     f"accounts +{status['accounts']}, {status['accounts_homed_here']} homed here", "no problems"):
            self.assertRegex(text, f"(?m)^{line}$")


def position(text):
    """SEGMENT:OFFSET as status has it, in one number."""
    segment, offset = map(int, text.split(":"))
    return segment << 32 | offset


class Accounts(unittest.TestCase):
    def login(self, node, user, password):
        client = node.imap_client()
        try:
            client.login(user, password)
            client.logout()
            return True
        except client.error:
            client.shutdown()
            return False

    def test_life_of_an_account(self):
        user = "life@example.test"
        self.assertEqual(gemel("account", "add", user, input="first\n"), (0, ""))
        code, text = gemel("account", "add", user, input="first\n")
        self.assertEqual(code, 1, text)
        self.assertIn(user, gemel("account", "list", node=pair.b)[1])
        for node in pair.nodes:
            self.assertTrue(self.login(node, user, "first"))
        self.assertEqual(gemel("account", "set-password", user, input="second\n", node=pair.b), (0, ""))
        for node in pair.nodes:
            self.assertFalse(self.login(node, user, "first"))
            self.assertTrue(self.login(node, user, "second"))
        self.assertEqual(gemel("account", "disable", user), (0, ""))
        for node in pair.nodes:
            self.assertFalse(self.login(node, user, "second"))
        self.assertEqual(gemel("account", "enable", user), (0, ""))
        self.assertTrue(self.login(pair.b, user, "second"))

    def test_import_of_a_passwd_file(self):
        with tempfile.NamedTemporaryFile("w") as file:
            digest = run("openssl", "passwd", "-6", "imported").strip()
            file.write(f"# a comment\nimp@example.test:{{SHA512-CRYPT}}{digest}::::::\n")
            file.flush()
            code, text = gemel("account", "import", file.name)
        self.assertEqual(code, 0, text)
        self.assertTrue(self.login(pair.b, "imp@example.test", "imported"))

    def test_unknown_scheme_is_refused(self):
        code, text = gemel("account", "add", "x@example.test", "--hash", "{ROT13}cnff")
        self.assertNotEqual(code, 0)
        self.assertIn("ROT13", text)

    def test_domain_alias_and_alias(self):
        user = pair.accounts[0]
        self.assertEqual(gemel("domain", "alias", "other.test", "example.test"), (0, ""))
        self.assertEqual(gemel("alias", "set", "all@example.test", *pair.accounts), (0, ""))
        self.assertIn("other.test", gemel("domain", "list", node=pair.b)[1])
        self.assertIn("all@example.test", gemel("alias", "list", node=pair.b)[1])
        with pair.b.smtp_client() as client:
            client.sendmail("s@demo.example.test", ["user0@other.test", "all@example.test"], letter("by alias"))
        pair.wait_quiet()
        for name in pair.accounts:
            client = pair.a.imap_client(name)
            client.must("select", "INBOX", True)
            self.assertNotEqual(client.must("search", None, "SUBJECT", '"by alias"')[0], b"", name)
            client.logout()
        self.assertEqual(gemel("alias", "set", "all@example.test"), (0, ""))
        self.assertNotIn("all@", gemel("alias", "list")[1])

    def test_home_moves_and_the_mail_stays(self):
        user = pair.accounts[1]
        with pair.a.lmtp_client() as client:
            client.sendmail("s@demo.example.test", [user], letter("before the move"))
        before = {a["name"]: a for a in json.loads(gemel("account", "list", "--json")[1])}[user]["home_place"]
        # The home itself gives an account away: the other node says so.
        code, text = gemel("home", "set", user, str(1 - before), node=pair.nodes[1 - before])
        self.assertEqual(code, 1)
        self.assertIn("the other", text)
        self.assertEqual(gemel("home", "set", user, str(1 - before), node=pair.nodes[before]), (0, ""))
        pair.wait_quiet()
        for node in pair.nodes:
            text = gemel("home", "list", node=node)[1]
            self.assertRegex(text, rf"{re.escape(user)} +{1 - before}")
            client = node.imap_client(user)
            client.must("select", "INBOX")
            self.assertNotEqual(client.must("search", None, "SUBJECT", '"before the move"')[0], b"")
            client.logout()
        self.assertEqual(pair.a.digests(), pair.b.digests())


class Daemon(unittest.TestCase):
    def test_sigterm_under_load_ends_within_ten_seconds_and_keeps_all(self):
        user = pair.accounts[0]
        pair.b.kill(signal.SIGTERM)
        pair.b.start()  # as our child, so that its exit code can be seen
        pair.wait_quiet()
        open_client = pair.b.imap_client(user)
        open_client.must("select", "INBOX")
        told = []

        def deliver(name):
            with contextlib.suppress(OSError, smtplib.SMTPException), pair.b.lmtp_client() as client:
                for number in itertools.count():
                    subject = f"stop-{name}-{number}."
                    client.sendmail("s@demo.example.test", [user], letter(subject, "body\r\n" * 1000))
                    told.append(subject)
        threads = [threading.Thread(target=deliver, args=[name]) for name in "abcd"]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(told) > 100, 60, "a hundred letters are acknowledged")
        begun = time.monotonic()
        self.assertEqual(pair.b.kill(signal.SIGTERM), 0)
        self.assertLess(time.monotonic() - begun, 10)
        for thread in threads:
            thread.join()
        wait_until(lambda: b"BYE" in open_client.readline(), 10, "BYE")
        open_client.shutdown()
        pair.b.start()
        pair.wait_quiet()
        client = pair.b.imap_client(user)
        client.must("select", "INBOX", True)
        there = client.must("fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (Subject)])")
        found = re.findall(r"stop-\w-\d+\.", b"".join(part[1] for part in there if isinstance(part, tuple)).decode())
        self.assertEqual(set(told) - set(found), set())
        self.assertEqual(len(found), len(set(found)))
        client.logout()

    def test_sighup_keeps_it_running(self):
        os.kill(pair.a.pid, signal.SIGHUP)
        wait_until(lambda: "certificates_reloaded" in open(pair.a.log).read(), 10, "the reload is logged")
        self.assertTrue(pair.a.status())

    def test_mail_and_sockets_are_private(self):
        for path in (pair.a.data_directory + "/node/identity.json", pair.a.data_directory + "/node/key.pem", pair.a.admin):
            self.assertEqual(os.stat(path).st_mode & 0o077, 0, path)

    @unittest.skipIf(os.geteuid() != 0, "needs another user")
    def test_the_admin_socket_asks_who_comes(self):
        # Even where somebody opened the way to it.
        sockets = os.path.dirname(pair.a.admin)
        ways = [pair.directory, os.path.dirname(sockets), sockets, pair.a.admin]
        modes = [os.stat(way).st_mode for way in ways]
        try:
            for way in ways:
                os.chmod(way, 0o777)
            # It only listens: what a client sends may meet a closed socket.
            answer = run("setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", "-c",
                         "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
                         "print(s.makefile().read())", pair.a.admin, check=False).stdout
        finally:
            for way, mode in zip(ways, modes):
                os.chmod(way, mode)
        self.assertIn("only root and the user that gemeld runs as", answer)
        self.assertNotIn("user0@", answer)
        with open(pair.a.log) as log:
            self.assertRegex(log.read(), r"connection_refused listener=admin uid=65534")

    def test_log_has_no_password_and_no_letter(self):
        with pair.a.lmtp_client() as client:
            client.sendmail("s@demo.example.test", [pair.accounts[0]], letter("log", "secret words of a letter\r\n"))
        client = pair.a.imap_client()
        with self.assertRaises(client.error):
            client.login(pair.accounts[0], "secret-wrong-password")
        client.shutdown()
        for node in pair.nodes:
            with open(node.log) as log:
                text = log.read()
            self.assertNotIn("secret words", text)
            self.assertNotIn("secret-wrong-password", text)


class Fail2ban(unittest.TestCase):
    def test_the_documented_filter_matches_what_is_logged(self):
        with open(os.path.join(SOURCE, "docs", "operator.md")) as file:
            expression = re.search(r"^ +failregex = (.*)$", file.read(), re.M).group(1)
        self.assertEqual(expression.count("<ADDR>"), 1)
        expression = re.compile(expression.replace("<ADDR>", r"(?P<addr>[0-9A-Fa-f.:]+)"))
        users = [pair.accounts[0], 'x" rip=192.0.2.1 session=1', "x rip=192.0.2.1 session=1"]
        with open(pair.b.log) as log:
            log.seek(0, os.SEEK_END)
            for user in users:
                quoted = user.replace('"', '\\"')
                with Conversation(pair.b.imap, "127.0.0.3") as client:
                    client.line_with(b"* OK")
                    client.socket.sendall(f'a LOGIN "{quoted}" "wrong"\r\n'.encode())
                    self.assertTrue(client.line().startswith(b"a NO "))
            lines = [line.rstrip("\n") for line in log if "imap_login_failed" in line]
        self.assertEqual(len(lines), len(users), lines)
        for line in lines:
            found = expression.search(line)
            self.assertTrue(found, line)
            self.assertEqual(found.group("addr"), "127.0.0.3", line)  # the client's, whatever it calls itself
        self.assertIsNone(expression.search("2026-11-24T01:20:30.103Z info imap_login user=a rip=192.0.2.7 session=1"))


class Install(unittest.TestCase):
    """A second installation is an upgrade: it leaves the administrator's configuration alone."""

    def test_an_upgrade_keeps_the_configuration(self):
        built = os.path.join(BIN, os.pardir, "programs")
        if not (shutil.which("cmake") and os.path.exists(built + "/cmake_install.cmake")):
            self.skipTest("not a build directory")
        with tempfile.TemporaryDirectory() as root:
            def install():
                return run("cmake", "--install", built, "--prefix", "/usr", env={**os.environ, "DESTDIR": root})
            install()
            found = [path for path in (root + "/etc/gemel/gemeld.toml", root + "/usr/etc/gemel/gemeld.toml")
                     if os.path.exists(path)]  # as the build was configured
            self.assertEqual(len(found), 1)
            with open(found[0], "a") as file:
                file.write("# ours\n")
            os.remove(root + "/usr/share/gemel/gemeld.toml")
            self.assertIn("Kept: " + found[0], install())
            with open(found[0]) as file:
                self.assertTrue(file.read().endswith("# ours\n"))
            with open(root + "/usr/share/gemel/gemeld.toml") as file:
                self.assertEqual(file.read(), run(GEMEL, "check-config", "--example"))


class Documents(unittest.TestCase):
    def test_systemd_gives_a_start_all_time_and_a_stop_enough(self):
        for unit in ("gemeld.service", "gemeld@.service"):
            with open(os.path.join(SOURCE, "packaging", unit)) as file:
                text = file.read()
            self.assertIn("\nTimeoutStartSec=infinity\n", text)
            self.assertGreater(int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.M).group(1)), 10)

    def test_example_configuration_is_what_the_program_says(self):
        with open(os.path.join(SOURCE, "packaging", "gemeld.toml")) as file:
            self.assertEqual(file.read(), run(GEMEL, "check-config", "--example"))

    def test_man_page_lists_the_keys_as_the_program_does(self):
        with open(os.path.join(SOURCE, "docs", "man", "gemeld.toml.5")) as file:
            self.assertIn(run(GEMEL, "check-config", "--man"), file.read())

    def test_man_page_names_every_subcommand(self):
        def names(*arguments):
            text = run(GEMEL, *arguments, "--help").split("Subcommands:")
            return re.findall(r"^  ([a-z-]+)  ", text[1], re.M) if len(text) == 2 else []
        with open(os.path.join(SOURCE, "docs", "man", "gemel.1")) as file:
            page = file.read().replace("\\-", "-")
        top = names()
        self.assertIn("status", top)
        for name in top:
            for full in [f"{name} {sub}" for sub in names(name)] or [name]:
                self.assertRegex(page, rf'(?m)^\.BR? "?gemel {full}["\s]')


@unittest.skipUnless(shutil.which("openssl"), "needs openssl")
class Reload(unittest.TestCase):
    def test_a_new_certificate_is_served_after_sighup_and_a_bad_one_is_not(self):
        directory = tempfile.mkdtemp()
        try:
            config = os.path.join(directory, "gemeld.toml")
            def certificate(name):
                run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", f"/CN={name}", "-keyout", directory + "/key.pem", "-out", directory + "/cert.pem")
            certificate("first.example.test")
            with open(config, "w") as file:
                file.write(f'[node]\ndata_directory = "{directory}/data"\nadmin_socket = "{directory}/admin"\n'
                           f'[link]\nlisten = []\n[smtp]\nlisten = []\n[lmtp]\nlisten = []\nsocket = ""\n'
                           f'[imap]\nlisten = []\nlisten_tls = ["127.0.0.1:0"]\n'
                           f'[tls]\ncertificate = "{directory}/cert.pem"\nkey = "{directory}/key.pem"\n')
            run(GEMEL, "--config", config, "init")
            log_path = directory + "/log"
            with open(log_path, "wb") as log:
                process = subprocess.Popen([*WITH_US, GEMELD, "--config", config], stderr=log)
            try:
                def port():
                    found = re.search(r"listener=imaps.*?address=127.0.0.1:(\d+)", open(log_path).read())
                    return found and found.group(1)
                number = wait_until(port, 20, "the port in the log")
                def name_shown():
                    text = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{number}"], input="",
                                          capture_output=True, text=True).stdout
                    return re.search(r"subject=CN = (\S+)", text).group(1)
                wait_until(lambda: "serving" in open(log_path).read(), 20, "it serves")
                self.assertEqual(name_shown(), "first.example.test")
                certificate("second.example.test")
                process.send_signal(signal.SIGHUP)
                wait_until(lambda: "certificates_reloaded" in open(log_path).read(), 10, "reload")
                self.assertEqual(name_shown(), "second.example.test")
                with open(directory + "/cert.pem", "w") as file:
                    file.write("no certificate")
                process.send_signal(signal.SIGHUP)
                wait_until(lambda: "certificates_not_reloaded" in open(log_path).read(), 10, "refusal")
                self.assertEqual(name_shown(), "second.example.test")
            finally:
                process.terminate()
                self.assertEqual(process.wait(15), 0)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    unittest.main()
