"""`gemel export`, read by Debian's Dovecot with the settings that docs/operator.md gives: it shows what Gemel shows."""

import imaplib
import os
import pwd
import re
import shutil
import signal
import tempfile
import textwrap
import unittest

from pair import BIN, SOURCE, Imap, letter, module_pair, run

DOVECOT_IMAP = "/usr/lib/dovecot/imap"
# As IMAP has them: in modified UTF-7, with the separator that both use. Dots are Dovecot's own separator in file names,
# and ~ begins a home.
FOLDERS = ["R&-D", "R&-D/&ANw-bersicht", "Lists/v1.0 &AOk-", "~tilde", "&ZeVnLIqe-"]
pair = None


def setUpModule():
    global pair
    pair = module_pair(accounts=2)


class Dovecot(imaplib.IMAP4_stream):
    """Dovecot's imap process by itself, logged in already."""
    must = Imap.must


def view(client):
    """All that a client can see of an account, as values to compare."""
    folders = {}
    for line in client.must("list", '""', '"*"'):
        # A literal comes in two parts: nobody needs one for these names.
        attributes, name = re.fullmatch(rb'\(([^)]*)\) "/" "?(.*?)"?', line).groups()
        folders[name.decode()] = b"\\HasChildren" in attributes
    subscribed = sorted(re.search(rb'"/" "?(.*?)"?$', line).group(1).decode()
                        for line in client.must("lsub", '""', '"*"'))
    mailboxes = {}
    for name in folders:
        status = client.must("status", f'"{name}"', "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[0]
        counts = dict(re.findall(r"([A-Z]+) (\d+)", status.decode().rsplit("(", 1)[1]))
        client.must("select", f'"{name}"', True)
        letters = {}
        if counts["MESSAGES"] != "0":
            for part in client.must("uid", "FETCH", "1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"):
                if isinstance(part, tuple):
                    said = part[0].decode()
                    uid, flags, size = (re.search(rf"{key} {value}", said).group(1) for key, value in (
                        ("UID", r"(\d+)"), ("FLAGS", r"\(([^)]*)\)"), ("RFC822.SIZE", r"(\d+)")))
                    date = imaplib.Internaldate2tuple(part[0])
                    letters[int(uid)] = (frozenset(flags.split()) - {"\\Recent"}, date, int(size), part[1])
        mailboxes[name] = counts, letters
    return {"folders": folders, "subscribed": subscribed, "mailboxes": mailboxes}


@unittest.skipUnless(os.access(DOVECOT_IMAP, os.X_OK), "dovecot-imapd is not installed")
class Export(unittest.TestCase):
    maxDiff = None

    def fill(self, user):
        for node in pair.nodes:
            with node.lmtp_client() as client:
                for number in range(3):
                    text = letter(f"{number} at {node.name}", "\r\n.dots\r\n.\r\n")
                    client.sendmail("s@demo.example.test", [user], text)
        pair.wait_quiet()
        client = pair.a.imap_client(user)
        for number, name in enumerate(FOLDERS):
            client.must("create", f'"{name}"')
            for flags, date in (("\\Seen $Forwarded", " 1-Jan-2001 12:00:00 +0000"),
                                ("\\Flagged later", "29-Feb-2024 23:59:59 -0330")):
                text = letter(f"in {name}", "x" * number).encode()
                client.must("append", f'"{name}"', f"({flags})", f'"{date}"', text)
        client.must("subscribe", f'"{FOLDERS[1]}"')
        client.must("subscribe", f'"{FOLDERS[2]}"')
        client.must("unsubscribe", "Junk")
        client.must("select", "INBOX")
        client.must("uid", "STORE", "1", "+FLAGS", r"(\Answered \Draft $Label1)")
        client.must("uid", "STORE", "2,6", "+FLAGS", r"(\Deleted)")
        client.must("uid", "EXPUNGE", "2,6")  # a gap, and UIDNEXT is more than the last UID and one
        client.must("uid", "MOVE", "3:4", f'"{FOLDERS[1]}"')
        client.must("uid", "COPY", "5", f'"{FOLDERS[2]}"')
        client.must("rename", f'"{FOLDERS[3]}"', '"~renamed"')
        client.logout()
        pair.wait_quiet()

    def dovecot(self, exported, user):
        """A session with Dovecot, configured as documented, as an unprivileged user."""
        with open(os.path.join(SOURCE, "docs", "operator.md")) as file:
            settings = re.search(r"^    mail_location = maildir:/srv/mail/.*?^(?=\S)", file.read(), re.M | re.S)[0]
        directory = os.path.dirname(exported)
        own = pwd.getpwuid(os.geteuid() or pwd.getpwnam("nobody").pw_uid)
        if os.geteuid() == 0:
            run("chown", "-R", f"{own.pw_uid}:{own.pw_gid}", directory)
        config = os.path.join(directory, "dovecot.conf")
        with open(config, "w") as file:
            file.write(textwrap.dedent(settings).replace("/srv/mail", exported) +
                       f"base_dir = {directory}/run\nstate_dir = {directory}/run\n"
                       f"default_internal_user = {own.pw_name}\ndefault_login_user = {own.pw_name}\n"
                       f"default_internal_group = {own.pw_gid}\nmail_uid = {own.pw_uid}\nmail_gid = {own.pw_gid}\n"
                       "first_valid_uid = 1\nfirst_valid_gid = 0\nssl = no\nprotocols = imap\n")
        as_user = ["setpriv", "--reuid", str(own.pw_uid), "--regid", str(own.pw_gid), "--clear-groups"]
        command = ["env", f"USER={user}", f"HOME={directory}", *(as_user if os.geteuid() == 0 else []),
                   DOVECOT_IMAP, "-c", config, f"2>>{directory}/log"]
        return Dovecot(" ".join(command))

    def test_dovecot_shows_what_gemel_shows(self):
        for user in pair.accounts:
            self.fill(user)
        shown = {}
        for user in pair.accounts:
            views = []
            for node in pair.nodes:
                client = node.imap_client(user)
                views.append(view(client))
                client.logout()
            self.assertEqual(views[0], views[1])
            shown[user] = views[0]
        inbox = shown[pair.accounts[0]]["mailboxes"]["INBOX"]
        self.assertEqual((inbox[0]["UIDNEXT"], sorted(inbox[1])), ("7", [1, 5]))
        self.assertIn("$Label1", inbox[1][1][0])
        pair.b.kill(signal.SIGTERM)
        try:
            for node in pair.nodes:  # one runs, the other does not
                directory = tempfile.mkdtemp(prefix="gemel-export-")
                self.addCleanup(shutil.rmtree, directory)
                os.chmod(directory, 0o755)
                os.mkdir(directory + "/run")
                exported = directory + "/mail"
                self.assertEqual(run(os.path.join(BIN, "gemel"), "--config", node.config, "export", exported),
                                 f"2 accounts exported to {exported}\n")
                for user in pair.accounts:
                    client = self.dovecot(exported, user)
                    found = view(client)
                    client.logout()
                    self.assertEqual(found, shown[user], f"{user} at {node.name}")
                with open(directory + "/log") as log:
                    self.assertNotRegex(log.read(), "Warning|Error|Panic")
        finally:
            pair.b.start()


if __name__ == "__main__":
    unittest.main()
