"""Letters from the past, as docs/operator.md tells an administrator to get them back."""

import glob
import os
import time
import unittest

from pair import BIN, letter, module_pair, pass_second, run, wait_until

GEMEL = os.path.join(BIN, "gemel")
pair = None


def setUpModule():
    global pair
    pair = module_pair(accounts=2)


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
        until = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(pass_second()))
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
        wait_until(lambda: not os.listdir(new) and len(os.listdir(new[:-len("new")] + "cur")) == 1, 30,
                   "the checkpoint has taken away what was deleted")
        imap = home.imap_client(user)
        imap.must("select", "INBOX")
        copies = glob.glob(past + "/cur/*") + glob.glob(past + "/new/*")
        run("install", "-m", "600", *copies, new + "/")

        def subjects():
            imap.must("noop")
            found = imap.must("fetch", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            return sorted(part[1].decode().split(":", 1)[1].strip() for part in found if isinstance(part, tuple))

        wait_until(lambda: subjects() == ["kept", "precious", "unread"], 75, "what was deleted is there again")
        # What could still be adopted is no more.
        wait_until(lambda: not {os.path.basename(copy) for copy in copies} & set(os.listdir(new)), 75,
                   "the copies are taken, and the second one of what she still has is removed")
        self.assertEqual(subjects(), ["kept", "precious", "unread"], "nothing twice")
        number = imap.must("search", None, "SUBJECT", "precious")[0].decode()
        again = imap.must("fetch", number, "(INTERNALDATE)")[0]
        self.assertEqual(again.split(b"INTERNALDATE")[1], date.split(b"INTERNALDATE")[1])
        imap.logout()
        pair.wait_quiet()
        self.assertEqual(pair.a.digests(), pair.b.digests())


if __name__ == "__main__":
    unittest.main()
