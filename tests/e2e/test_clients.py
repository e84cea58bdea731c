"""Programs that other people wrote, against a running pair: MTAs that deliver into it, clients that read from it."""

import glob
import mailbox
import os
import pwd
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time
import unittest

from pair import BIN, PASSWORD, SOURCE, WITH_US, host_port, letter, module_pair, run, wait_until
from terminal import needs, on_terminal

pair = None


def setUpModule():
    global pair
    pair = module_pair(accounts=8)


def search(node, user, *keys, mailbox_name="INBOX"):
    client = node.imap_client(user)
    try:
        client.must("select", mailbox_name, True)
        return client.must("uid", "SEARCH", *keys)[0].split()
    finally:
        client.logout()


def deliver(node, user, *texts):
    with node.lmtp_client() as client:
        for text in texts:
            client.sendmail("sender@demo.example.test", [user], text)
    pair.wait_quiet()


@needs("smtp-source")
class SmtpSource(unittest.TestCase):
    def test_many_connections_through_both_protocols_of_both_nodes(self):
        user = pair.accounts[1]
        sent = 0
        for node in pair.nodes:
            for address, arguments in ((node.smtp, []), (node.lmtp, ["-L"])):
                host, port = host_port(address)
                run("smtp-source", *arguments, "-s", "20", "-m", "200", "-l", "4096", "-f", "load@demo.example.test",
                    "-t", user, f"inet:{host}:{port}")
                sent += 200
        pair.wait_quiet()
        for node in pair.nodes:
            self.assertEqual(len(search(node, user, "ALL")), sent)
        self.assertEqual(pair.a.digests(), pair.b.digests())


@needs("swaks")
class Swaks(unittest.TestCase):
    @unittest.skipUnless(subprocess.run(["perl", "-MNet::SSLeay", "-e", "1"], capture_output=True,
                                        check=False).returncode == 0,
                         "swaks has no TLS: libnet-ssleay-perl is not installed")
    def test_smtp_with_starttls_lmtp_and_a_refused_recipient(self):
        for node in pair.nodes:
            subject = f"swaks at {node.name}"
            host, port = host_port(node.smtp)
            text = run("swaks", "--server", host, "--port", str(port), "--tls", "--to", pair.accounts[2], "--from",
                       "swaks@demo.example.test", "--header", f"Subject: {subject}")
            self.assertRegex(text, r"TLS started with cipher TLSv1\.3")
            host, port = host_port(node.lmtp)
            run("swaks", "--server", host, "--port", str(port), "--protocol", "LMTP", "--to", pair.accounts[2],
                "--from", "swaks@demo.example.test", "--header", f"Subject: {subject}")
            pair.wait_quiet()
            for reader in pair.nodes:
                self.assertEqual(len(search(reader, pair.accounts[2], "SUBJECT", f'"{subject}"')), 2)
            refused = run("swaks", "--server", host_port(node.smtp)[0], "--port", str(host_port(node.smtp)[1]), "--to",
                          "nobody@example.test", "--from", "swaks@demo.example.test", check=False)
            self.assertIn("550 5.1.1", refused.stdout)

    def test_unix_socket_also_right_after_a_crash(self):
        for number, victim in enumerate((None, pair.a, pair.b)):
            if victim:
                victim.kill()
                victim.start()
                pair.wait_quiet()
            subject = f"by socket {number}"
            for node in pair.nodes:
                run("swaks", "--socket", node.lmtp_socket, "--protocol", "LMTP", "--to", pair.accounts[3], "--from",
                    "swaks@demo.example.test", "--header", f"Subject: {subject}")
            # A letter that came to the node which is not its home is shown when the home has placed it.
            pair.wait_quiet()
            for node in pair.nodes:
                self.assertEqual(len(search(node, pair.accounts[3], "SUBJECT", f'"{subject}"')), 2)


@needs("curl")
class Curl(unittest.TestCase):
    def test_reads_sends_and_searches(self):
        user = pair.accounts[4]
        for node in pair.nodes:
            with tempfile.NamedTemporaryFile() as file:
                file.write(letter(f"curl {node.name}").encode())
                file.flush()
                run("curl", "-sS", "--fail", f"smtp://{node.smtp}", "--mail-from", "curl@demo.example.test",
                    "--mail-rcpt", user, "--upload-file", file.name)
            pair.wait_quiet()
        for node in pair.nodes:
            login = ["--user", f"{user}:{PASSWORD}"]
            found = run("curl", "-sS", *login, f"imap://{node.imap}/INBOX?ALL")
            self.assertEqual(found.strip(), "* SEARCH 1 2")
            text = run("curl", "-sS", "-k", *login, f"imaps://{node.imaps}/INBOX;UID=2")
            self.assertIn("Subject: curl b", text)
            text = run("curl", "-sS", "-k", "--ssl-reqd", *login, f"imap://{node.imap}/INBOX;UID=1;SECTION=HEADER")
            self.assertIn("Subject: curl a", text)
            listed = run("curl", "-sS", *login, f"imap://{node.imap}/")
            self.assertIn("Sent", listed)
        with tempfile.NamedTemporaryFile() as file:
            file.write(letter("uploaded").encode())
            file.flush()
            run("curl", "-sS", "--user", f"{user}:{PASSWORD}", f"imap://{pair.b.imap}/Drafts", "-T", file.name)
        self.assertEqual(len(search(pair.a, user, "SUBJECT", "uploaded", mailbox_name="Drafts")), 1)


@needs("mbsync")
class Mbsync(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def sync(self, node, user):
        host, port = host_port(node.imap)
        config = os.path.join(self.directory, "mbsyncrc")
        os.makedirs(self.directory + "/mail", exist_ok=True)
        with open(config, "w") as file:
            file.write(f"IMAPAccount gemel\nHost {host}\nPort {port}\nUser {user}\nPass {PASSWORD}\nSSLType None\n"
                       "AuthMechs LOGIN\n\nIMAPStore far\nAccount gemel\n\n"
                       f"MaildirStore near\nPath {self.directory}/mail/\nInbox {self.directory}/mail/INBOX\n"
                       "SubFolders Verbatim\n\n"
                       "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n")
        return run("mbsync", "-c", config, "-a")

    def test_two_way_sync_with_both_nodes(self):
        user = pair.accounts[5]
        deliver(pair.a, user, *(letter(f"far {i}") for i in range(20)))
        self.sync(pair.a, user)
        near = mailbox.Maildir(self.directory + "/mail/INBOX", create=False)
        self.assertEqual(sorted(m["Subject"] for m in near), sorted(f"far {i}" for i in range(20)))
        # Changes on both sides, synced through the other node.
        for key, message in near.items():
            if message["Subject"] == "far 3":
                message.add_flag("F")
                message.set_subdir("cur")
                near[key] = message
            if message["Subject"] == "far 4":
                near.remove(key)
        near.add(letter("near").replace("\r\n", "\n"))
        near.flush()
        client = pair.a.imap_client(user)
        client.must("select", "INBOX")
        seven = client.must("uid", "SEARCH", "SUBJECT", '"far 7"')[0].split()[0].decode()
        client.must("uid", "STORE", seven, "+FLAGS", "(\\Answered)")
        client.logout()
        self.sync(pair.b, user)
        for node in pair.nodes:
            self.assertEqual(len(search(node, user, "FLAGGED", "SUBJECT", '"far 3"')), 1)
            self.assertEqual(search(node, user, "SUBJECT", '"far 4"'), [])
            self.assertEqual(len(search(node, user, "SUBJECT", "near")), 1)
        answered = [m["Subject"] for m in mailbox.Maildir(self.directory + "/mail/INBOX", create=False)
                    if "R" in m.get_flags()]
        self.assertEqual(answered, ["far 7"])
        # Nothing is left to do, at either node.
        before = sorted(glob.glob(self.directory + "/mail/INBOX/cur/*"))
        self.sync(pair.a, user)
        self.sync(pair.b, user)
        self.assertEqual(sorted(glob.glob(self.directory + "/mail/INBOX/cur/*")), before)


@unittest.skipUnless(os.path.exists(os.path.join(BIN, "gemel-perf")), "gemel-perf is not built")
class LoadGenerator(unittest.TestCase):
    def test_a_mix_shows_how_far_it_is(self):
        shown = on_terminal([os.path.join(BIN, "gemel-perf"), "mix", pair.a.imap, "--clients", "2", "--accounts", "1",
                             "--seconds", "1"], "/")  # appends to the INBOX of user0
        self.assertRegex(shown, rb"\d+ commands, \d+/s, [01] of 1 s")


@needs("mutt")
class Mutt(unittest.TestCase):
    def test_reads_and_flags_in_batch(self):
        user = pair.accounts[6]
        deliver(pair.a, user, letter("for mutt", "Words to be found.\r\n"), letter("to be deleted"))
        for node in pair.nodes:
            wait_until(lambda: len(search(node, user, "ALL")) == 2, 30, "both letters are visible")
            host, port = host_port(node.imap)
            home = tempfile.mkdtemp()
            self.addCleanup(shutil.rmtree, home)
            folder = f"imap://{user.replace('@', '%40')}:{PASSWORD}@{host}:{port}/INBOX"
            saved = os.path.join(home, "saved")
            settings = ("set ssl_starttls=no ssl_force_tls=no confirmappend=no confirmcreate=no quit=yes delete=yes "
                        "resolve=no mbox_type=mbox move=no")
            # Keys as typed, for one letter at a time, since mutt forgets what was typed ahead whenever it complains of
            # something: go to the letter, copy it to a file, flag it, leave.
            for number in (1, 2):
                on_terminal(["mutt", "-n", "-F", "/dev/null", "-e", settings, "-e",
                             f"push '{number}<enter><copy-message>{saved}<enter><flag-message><sync-mailbox><quit>'",
                             "-f", folder], home)
            got = [m["Subject"] for m in mailbox.mbox(saved)]
            self.assertEqual(got, ["for mutt", "to be deleted"])
            self.assertEqual(len(search(node, user, "FLAGGED")), 2)
            client = node.imap_client(user)
            client.must("select", "INBOX")
            client.must("uid", "STORE", "1:*", "-FLAGS", "(\\Flagged)")
            client.logout()


def documented(marker, replacements=None):
    """The settings that docs/postfix-exim.md shows behind `marker`, with this pair's addresses in place of those there."""
    with open(os.path.join(SOURCE, "docs", "postfix-exim.md")) as file:
        text = file.read()
    settings = re.search(r"```\n(.*?)```", text[text.index(marker):], re.S).group(1)
    for old, new in (replacements or {}).items():
        if old not in settings:
            raise AssertionError(f"{marker}: {old} is not in the documented settings")
        settings = settings.replace(old, new)
    return settings


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def inject(port, user, subjects):
    """Gives letters to an MTA, as another host would."""
    # Exim's configuration in Debian checks no recipient of a client at 127.0.0.1.
    with smtplib.SMTP("127.0.0.1", port, local_hostname="other.example.test", timeout=30,
                      source_address=("127.0.0.2", 0)) as client:
        for subject in subjects:
            client.sendmail("remote@demo.example.test", [user], letter(subject, ".dot\r\n" + "line\r\n" * 200))


@needs("postfix")
@unittest.skipUnless(os.geteuid() == 0, "Postfix must be started by root")
class PostfixAsRelay(unittest.TestCase):
    """Postfix takes mail and hands it on by LMTP, to the other node where the first is away (docs/postfix-exim.md)."""

    SERVICES = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-postfix-")
        os.chmod(self.directory, 0o755)
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.port = free_port()
        config = self.directory + "/config"
        for name in ("config", "queue", "data"):
            os.mkdir(f"{self.directory}/{name}", 0o755)
        owner = pwd.getpwnam("postfix")
        os.chown(self.directory + "/data", owner.pw_uid, owner.pw_gid)
        settings = documented("`/etc/postfix/main.cf` of mail1", {
            "127.0.0.1:24": pair.a.lmtp, "[192.0.2.2]:24": "[{}]:{}".format(*host_port(pair.b.lmtp))})
        with open(config + "/main.cf", "w") as file:
            file.write(f"""compatibility_level = 3.6
queue_directory = {self.directory}/queue
data_directory = {self.directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {self.directory}/maillog
maillog_file_prefixes = {self.directory}
myhostname = mta.example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
alias_maps =
alias_database =
{settings}
smtpd_relay_restrictions = reject_unauth_destination
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
transport_retry_time = 1s
""")
        with open(config + "/master.cf", "w") as file:
            file.write(self.SERVICES.format(port=self.port))
        self.config = config
        run("postfix", "-c", config, "start")
        self.addCleanup(run, "postfix", "-c", config, "stop", check=False)

    def queue(self):
        return run("postqueue", "-c", self.config, "-p", check=False).stdout

    def log(self):
        with open(self.directory + "/maillog", errors="replace") as log:
            return log.read()

    def test_relays_to_one_node_and_to_the_other_when_that_is_gone(self):
        user = pair.accounts[7]
        first = [f"postfix {i}" for i in range(20)]
        inject(self.port, user, first)
        wait_until(lambda: "empty" in self.queue(), 60, f"Postfix's queue is empty:\n{self.log()}")
        pair.wait_quiet()
        for node in pair.nodes:
            self.assertEqual(len(search(node, user, "SUBJECT", "postfix")), 20, self.log())
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            inject(self.port, "nobody@example.test", ["to nobody"])
        self.assertEqual(refused.exception.recipients["nobody@example.test"][0], 550)
        pair.a.kill()
        try:
            inject(self.port, user, [f"postfix while a is gone {i}" for i in range(10)])
            wait_until(lambda: "empty" in self.queue(), 60, f"Postfix's queue is empty:\n{self.log()}")
        finally:
            pair.a.start()
        pair.wait_quiet()
        for node in pair.nodes:
            self.assertEqual(len(search(node, user, "SUBJECT", '"postfix while a is gone"')), 10, self.log())
        self.assertEqual(pair.a.digests(), pair.b.digests())


def unpack_exim(directory):
    """Debian's Exim and its configuration, unpacked: it cannot be installed beside Postfix. ./dev test downloads the
    packages into build/exim; else it is tried here. None: they cannot be had."""
    packages = os.environ.get("GEMEL_EXIM_PACKAGES", os.path.join(SOURCE, "build", "exim"))
    wanted = ("exim4-daemon-light", "exim4-base", "exim4-config")
    if not all(glob.glob(f"{packages}/{name}_*.deb") for name in wanted):
        packages = directory
        done = subprocess.run(["apt-get", "download", *wanted], cwd=directory, capture_output=True, timeout=120,
                              check=False)
        if done.returncode:
            return None
    root = directory + "/root"
    for name in wanted:
        run("dpkg", "-x", glob.glob(f"{packages}/{name}_*.deb")[0], root)
    return root if run(root + "/usr/sbin/exim4", "-bV", check=False).returncode in (0, 1) else None


@needs("apt-get")
@unittest.skipUnless(os.geteuid() == 0, "Exim must be started by root")
class EximAsRelay(unittest.TestCase):
    """Debian's Exim in its split configuration, with the documented files added; it hands mail on as Postfix does."""

    def setUp(self):
        # Both nodes on one port, as the documented transport has it.
        self.lmtp_port = host_port(pair.a.lmtp)[1]
        pair.b.kill(signal.SIGTERM)
        pair.b.configure("lmtp", listen=[pair.b.lmtp, f"127.0.0.2:{self.lmtp_port}"])
        pair.b.start()
        pair.wait_quiet()
        self.directory = tempfile.mkdtemp(prefix="gemel-exim-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        os.chmod(self.directory, 0o755)
        self.root = unpack_exim(self.directory)
        if not self.root:
            self.skipTest("Exim's Debian packages cannot be downloaded or run here")
        try:
            self.owner = pwd.getpwnam("Debian-exim")
        except KeyError:
            run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "--user-group",
                "Debian-exim")
            # And the group with it; not before the last process of it has ended.
            self.addCleanup(wait_until, lambda: run("userdel", "Debian-exim", check=False).returncode == 0, 20,
                            "the user Debian-exim is removed")
            self.owner = pwd.getpwnam("Debian-exim")
        for name in ("spool", "log"):
            os.mkdir(f"{self.directory}/{name}", 0o750)
            os.chown(f"{self.directory}/{name}", self.owner.pw_uid, self.owner.pw_gid)
        self.port = free_port()

    def write_configuration(self):
        """What update-exim4.conf makes of Debian's files and ours."""
        etc = self.root + "/etc/exim4"
        exim = self.root + "/usr/sbin/exim4"
        files = {
            "gemel_rcpt": documented("`/etc/exim4/gemel_rcpt` asks Gemel"),
            "conf.d/main/00_gemel": documented("`/etc/exim4/conf.d/main/00_gemel`", {"/etc/exim4": etc}),
            "conf.d/router/150_gemel": documented("`/etc/exim4/conf.d/router/150_gemel`"),
            "conf.d/transport/35_gemel": documented("`/etc/exim4/conf.d/transport/35_gemel`", {
                "192.0.2.2": "127.0.0.2", "port = 24": f"port = {self.lmtp_port}"}),
            # Where an unpacked Exim that is not alone on this machine finds and puts its things.
            "conf.d/main/000_test": f"CONFDIR = {etc}\nSPOOLDIR = {self.directory}/spool\n"
                                    "DC_minimaldns = 1\nMAIN_HARDCODE_PRIMARY_HOSTNAME = mta.example.test\n"
                                    f"log_file_path = {self.directory}/log/%slog\n"
                                    f"pid_file_path = {self.directory}/spool/exim.pid\n"
                                    f"daemon_smtp_ports = {self.port}\n",
            "update-exim4.conf.conf": "dc_eximconfig_configtype='internet'\ndc_other_hostnames='mta.example.test'\n"
                                      "dc_local_interfaces='127.0.0.1'\ndc_use_split_config='true'\n"
                                      "dc_localdelivery='mail_spool'\nMAIN_QUALIFY_DOMAIN='mta.example.test'\n",
        }
        for name, text in files.items():
            with open(f"{etc}/{name}", "w") as file:
                file.write(text)
        script = self.root + "/usr/sbin/update-exim4.conf"
        with open(script) as file:
            text = file.read()
        mailname = self.directory + "/mailname"
        with open(mailname, "w") as file:
            file.write("mta.example.test\n")
        with open(script, "w") as file:
            file.write(text.replace("/usr/sbin/exim4", exim).replace("/etc/mailname", mailname))
        config = self.directory + "/exim.conf"
        run("sh", script, "--confdir", etc, "--output", config)
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text.replace("exim_path = /usr/sbin/exim4", f"exim_path = {exim}"))
        os.chmod(config, 0o644)
        return exim, config

    def log(self):
        return "".join(open(path, errors="replace").read() for path in glob.glob(self.directory + "/log/*"))

    def test_relays_to_one_node_and_to_the_other_when_that_is_gone(self):
        user, port = pair.accounts[0], self.port
        exim, config = self.write_configuration()
        told = run(exim, "-C", config, "-bt", user)
        self.assertIn("router = gemel, transport = gemel", told)
        daemon = subprocess.Popen([*WITH_US, exim, "-C", config, "-bdf", "-q1s"], stderr=subprocess.PIPE, text=True,
                                  start_new_session=True)
        try:
            def listens():
                if daemon.poll() is not None:
                    raise AssertionError(f"exim ended: {daemon.stderr.read()}")
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", port)) == 0
            wait_until(listens, 20, "Exim listens")

            def arrived(node, subject, count):
                return lambda: len(search(node, user, "SUBJECT", f'"{subject}"')) == count

            inject(port, user, [f"exim {i}" for i in range(10)])
            with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
                inject(port, "nobody@example.test", ["to nobody"])
            self.assertEqual(refused.exception.recipients["nobody@example.test"][0], 550)
            for node in pair.nodes:
                wait_until(arrived(node, "exim", 10), 60, f"Exim delivers:\n{self.log()}")
            pair.a.kill()
            try:
                inject(port, user, [f"exim while a is gone {i}" for i in range(5)])
                wait_until(lambda: self.log().count("Completed") == 15, 60, f"Exim delivers to b:\n{self.log()}")
            finally:
                pair.a.start()
            pair.wait_quiet()
            for node in pair.nodes:
                self.assertEqual(len(search(node, user, "SUBJECT", '"exim while a is gone"')), 5, self.log())
        finally:
            daemon.terminate()
            daemon.wait(20)
            daemon.stderr.close()


if __name__ == "__main__":
    unittest.main()
