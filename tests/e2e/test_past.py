"""Letters from the past, as docs/operator.md tells an administrator to get them back."""

import glob
import os
import subprocess
import time
import unittest

from pair import BIN, Pair, letter, run, wait_until

GEMEL = os.path.join(BIN, "gemel")
pair = None


def setUpModule():
    global pair
    pair = Pair(accounts=2)


def tearDownModule():
    if pair:
        pair.stop()


class LettersFromThePast(unittest.TestCase):
    def test_replay_until_then_copy_into_new(self):
        user = pair.accounts[0]
        local, domain = user.split("@")
        homes = run(GEMEL, "--config", pair.a.config, "home", "list")
        home = pair.a if next(line for line in homes.splitlines() if user in line).endswith("yes") else pair.b
        with pair.a.lmtp_client() as client:
            for subject in ("precious", "unread", "kept"):
                client.sendmail("s@demo.example.test", [user], letter(subject, to=user))
        pair.wait_quiet()
        imap = home.imap_client(user)
        imap.must("select", "INBOX")
        imap.must("store", "1,3", "+FLAGS", r"(\Seen)")
        date = imap.must("fetch", "1", "(INTERNALDATE)")[0]
        # Times are whole seconds.
        time.sleep(1.1)
        until = time.strftime("%Y-%m-%dT%H:%M:%S")
        time.sleep(1.1)
        imap.must("store", "1,2", "+FLAGS", r"(\Deleted)")
        imap.must("expunge")
        imap.logout()

        # gemel replay --until 2026-11-23T18:00 --account ann@example.test /tmp/ann
        target = os.path.join(pair.directory, "ann")
        run(GEMEL, "--config", home.config, "replay", "--until", until, "--account", user, target)
        past = os.path.join(target, "accounts", domain, local, "Maildir")
        self.assertEqual(len(glob.glob(past + "/cur/*")), 2)
        self.assertEqual(len(glob.glob(past + "/new/*")), 1)

        # All of it, the letter that she still has as well, into new/, where what was deleted is no more.
        new = os.path.join(home.data_directory, "accounts", domain, local, "Maildir", "new")
        wait_until(lambda: not os.listdir(new), 30, "the checkpoint has taken away what was deleted")
        imap = home.imap_client(user)
        imap.must("select", "INBOX")
        subprocess.run(["install", "-m", "600", *glob.glob(past + "/cur/*"), *glob.glob(past + "/new/*"), new + "/"],
                       check=True)

        def subjects():
            imap.must("noop")
            found = imap.must("fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            return sorted(part[1].decode().split(":", 1)[1].strip() for part in found if isinstance(part, tuple))

        wait_until(lambda: subjects() == ["kept", "precious", "unread"], 75, "what was deleted is there again")
        wait_until(lambda: not [name for name in os.listdir(new) if ":" in name], 75, "the second copy goes")
        time.sleep(3)
        self.assertEqual(subjects(), ["kept", "precious", "unread"], "nothing twice")
        number = imap.must("search", None, "SUBJECT", "precious")[0].decode()
        again = imap.must("fetch", number, "(INTERNALDATE)")[0]
        self.assertEqual(again.split(b"INTERNALDATE")[1], date.split(b"INTERNALDATE")[1])
        imap.logout()
        pair.wait_quiet()
        self.assertEqual(pair.a.digests(), pair.b.digests())


if __name__ == "__main__":
    unittest.main()
