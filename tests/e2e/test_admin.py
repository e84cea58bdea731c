"""What an administrator does wrong, and what `gemel` says to it; and what it must not leave behind."""

import mailbox
import os
import re
import shutil
import signal
import subprocess
import tempfile
import termios
import unittest

from pair import BIN, Pair, letter, run, wait_until

GEMEL = os.path.join(BIN, "gemel")
NOBODY = 65534
pair = None


def setUpModule():
    global pair
    pair = Pair(accounts=2)


def tearDownModule():
    if pair:
        pair.stop()


def gemel(*arguments, **keywords):
    """(exit status, output) at node a"""
    done = run(GEMEL, "--config", pair.a.config, *arguments, check=False, **keywords)
    return done.returncode, done.stdout


class Directory(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-admin-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def config(self, text):
        path = self.directory + "/gemeld.toml"
        with open(path, "w") as file:
            file.write(text)
        return path


class CheckConfig(Directory):
    def check(self, text, **keywords):
        done = run(GEMEL, "check-config", "--config", self.config(text), check=False, **keywords)
        return done.returncode, done.stdout

    def certificate(self, name):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name}", "-keyout", f"{self.directory}/{name}.key", "-out", f"{self.directory}/{name}.pem")

    def tls(self, certificate, key):
        return (f'[node]\ndata_directory = "{self.directory}/data"\n'
                f'[tls]\ncertificate = "{self.directory}/{certificate}"\nkey = "{self.directory}/{key}"\n')

    def test_a_socket_that_cannot_be_made(self):
        code, text = self.check('[node]\nadmin_socket = ""\n')
        self.assertEqual(code, 1)
        self.assertIn("gemeld.toml:2: [node] admin_socket: an absolute path is wanted", text)
        code, text = self.check('[lmtp]\nsocket = "/' + "x" * 150 + '"\n')
        self.assertEqual(code, 1)
        self.assertIn("gemeld.toml:2: [lmtp] socket: the path has 151 bytes", text)

    def test_a_file_that_is_not_there(self):
        for command in ("check-config", "status"):
            done = run(GEMEL, "--config", self.directory + "/none.toml", command, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(self.directory + "/none.toml: there is no such configuration file", done.stdout)

    @unittest.skipUnless(shutil.which("openssl"), "needs openssl")
    def test_certificate_and_key_are_opened(self):
        self.certificate("one")
        self.certificate("two")
        self.assertEqual(self.check(self.tls("one.pem", "one.key"))[0], 0)
        for certificate, key, what in (("none.pem", "one.key", "none.pem: No such file"),
                                       ("one.pem", "none.key", "none.key: No such file"),
                                       ("one.key", "one.key", "certificate"),
                                       ("one.pem", "two.key", "two.key does not belong to certificate")):
            code, text = self.check(self.tls(certificate, key))
            self.assertEqual(code, 1, text)
            self.assertIn("[tls]", text)
            self.assertIn(what, text)

    @unittest.skipIf(os.geteuid() != 0, "needs another user")
    @unittest.skipUnless(shutil.which("openssl"), "needs openssl")
    def test_with_the_eyes_of_the_owner_and_none_of_roots_groups(self):
        self.certificate("one")
        os.mkdir(self.directory + "/data", 0o700)
        os.chown(self.directory + "/data", NOBODY, NOBODY)
        os.chmod(self.directory, 0o755)
        os.chown(self.directory + "/one.key", 0, 4)  # a group of root's, below
        os.chmod(self.directory + "/one.key", 0o640)
        code, text = self.check(self.tls("one.pem", "one.key"), extra_groups=[4])
        self.assertEqual(code, 1, text)
        self.assertIn("one.key: Permission denied", text)
        os.chown(self.directory + "/one.key", 0, NOBODY)
        code, text = self.check(self.tls("one.pem", "one.key"), extra_groups=[4])
        self.assertEqual(code, 0, text)


class Refused(unittest.TestCase):
    def test_a_token_for_a_pair_that_is_made(self):
        code, text = gemel("pair")
        self.assertEqual(code, 1, text)
        self.assertIn("this node is paired already, with node " + pair.b.status()["node"], text)
        self.assertNotIn("On the second node", text)

    def test_an_alias_to_nobody(self):
        code, text = gemel("alias", "set", "info@example.test", pair.accounts[0], "nobody@example.test")
        self.assertEqual(code, 1, text)
        self.assertIn("no account or alias nobody@example.test", text)
        self.assertNotIn("info@", gemel("alias", "list")[1])

    def test_a_dump_of_nothing(self):
        code, text = gemel("journal", "dump", "--account", "nobody@example.test")
        self.assertEqual(code, 1)
        self.assertIn("knows no account nobody@example.test", text)
        code, text = gemel("journal", "dump", "--from", "99:1")
        self.assertEqual(code, 1)
        self.assertIn("gemel journal stat", text)
        self.assertEqual(gemel("journal", "dump", "--account", pair.accounts[0])[0], 0)


class Lag(unittest.TestCase):
    def test_bytes_that_wait_for_a_node_that_is_away(self):
        pair.wait_quiet()
        self.assertEqual(pair.a.status()["peer_version"], pair.b.status()["version"])
        pair.b.kill()
        body = os.urandom(10_000).hex()
        with pair.a.lmtp_client() as client:
            for number in range(20):
                client.sendmail("s@demo.example.test", [pair.accounts[0]], letter(f"lag {number}", body + "\r\n"))
        status = pair.a.status()
        self.assertGreaterEqual(status["lag_records_out"], 20)
        self.assertGreater(status["lag_bytes_out"], 20 * 10_000)
        self.assertEqual(status["peer_version"], "")
        self.assertRegex(gemel("status")[1], r"lag +\d+ records \([1-9][0-9.]* [KM]iB\) to the peer")
        pair.b.start()
        pair.wait_quiet()
        self.assertEqual(pair.a.status()["lag_bytes_out"], 0)
        self.assertRegex(gemel("status")[1], r"peer +[0-9a-f]{16}, connected \(gemel \d+\.\d+\.\d+\)")


class LeftBehind(Directory):
    def test_the_terminal_has_its_echo_again(self):
        master, slave = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)

        def echo():
            return bool(termios.tcgetattr(slave)[3] & termios.ECHO)
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen([GEMEL, "--config", pair.a.config, "account", "set-password", pair.accounts[0]],
                                       stdin=slave, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda: not echo() or process.poll() is not None, 20, "the password is asked for")
            process.send_signal(how)
            self.assertEqual(process.wait(20), -how)
            self.assertTrue(echo(), how)

    def test_what_replay_and_export_make_is_private(self):
        with pair.a.lmtp_client() as client:
            client.sendmail("s@demo.example.test", [pair.accounts[1]], letter("private"))
        pair.wait_quiet()
        for command in ("replay", "export"):
            target = os.path.join(self.directory, command)
            self.assertEqual(gemel(command, target, umask=0o022)[0], 0)
            found = [os.path.join(root, name) for root, folders, files in os.walk(target) for name in folders + files]
            self.assertTrue(any("private" in open(path, errors="replace").read() for path in found
                                if os.path.isfile(path)))
            self.assertEqual([path for path in found if os.stat(path).st_mode & 0o077], [])


class DemoMail(Directory):
    def deliver(self, path):
        process = subprocess.Popen([GEMEL, "demo", "--dir", self.directory + "/pair", "--accounts", "1", "--mail", path,
                                    "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        text = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 0, text)
        return int(re.search(r"(\d+) letters acknowledged, 0 refused", text).group(1))

    def test_folders_of_a_maildir_and_folders_in_folders(self):
        text = letter("x").replace("\r\n", "\n")
        maildir = mailbox.Maildir(self.directory + "/Maildir")
        maildir.add(text)
        for name in ("Sub", "Sub.Sub"):
            maildir.add_folder(name).add(text)
        with open(self.directory + "/Maildir/.Sub/tmp/half", "w") as file:
            file.write(text)
        self.assertEqual(self.deliver(self.directory + "/Maildir"), 3)
        os.makedirs(self.directory + "/folder/2026/11")
        for place in ("one.eml", "2026/two.eml", "2026/11/three.eml", "2026/README"):
            with open(f"{self.directory}/folder/{place}", "w") as file:
                file.write(text)
        os.symlink("..", self.directory + "/folder/2026/back")
        self.assertEqual(self.deliver(self.directory + "/folder"), 3)


if __name__ == "__main__":
    unittest.main()
