"""What a node's directory holds, as values that can be compared: its tree of files and what its indexes say.

The tree of a replay equals the live one, and both nodes' trees equal one another, when the nodes are at rest, stopped
by SIGTERM (a checkpoint; flags go into file names only there) and nothing was pruned from the journal. What is left
out of the comparison of bytes, and why:

  index.sqlite, -wal, -shm   SQLite's pages depend on the order of writes: compared as rows, by `index_of`
  the day in expunged/DAY/   the UTC day on which a file was moved there, not the day of the record; the rest of the
                             name, bytes and mtime are compared
  mtime of what is no letter gemel-mailbox, maildirfolder, dovecot-*, subscriptions: when they were written; names and
                             bytes are compared
  checkpoint, node/, journal/, lock   outside of accounts/ and spool/: the node's own, no mail

And of the rows: `mailbox.number` (the file's own numbering; the mailbox's id is compared in its place), `structure` (a
cache of what clients have asked for), and of `meta` the `applied` clock (how far this file is, which ends where the
batches of that run ended; the same state has several).
"""

import hashlib
import os
import re
import shutil
import sqlite3
import tempfile

INDEX = re.compile(r"/index\.sqlite(-wal|-shm)?$")
NO_LETTER = re.compile(r"/(gemel-mailbox|maildirfolder|dovecot-uidlist|dovecot-keywords|subscriptions)$")
DAY = re.compile(r"/expunged/\d{4}-\d\d-\d\d/")


def tree_of(data_directory):
    """{path: what is there} of accounts/ and spool/: (size, mtime in ns, mode, SHA-256, all names of the same file)."""
    files, links = {}, {}
    for top in ("accounts", "spool"):
        for directory, directories, names in os.walk(os.path.join(data_directory, top)):
            if "/Maildir" in directory:
                for name in directories:  # a mailbox without letters is a directory all the same
                    path = os.path.relpath(os.path.join(directory, name), data_directory)
                    files[path + "/"] = ("directory",)
            for name in names:
                full = os.path.join(directory, name)
                path = DAY.sub("/expunged/", os.path.relpath(full, data_directory))
                if INDEX.search(path):
                    continue
                status = os.stat(full)
                with open(full, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else \
                        hashlib.sha256(file.read())
                links.setdefault(status.st_ino, set()).add(path)
                mtime_ns = None if NO_LETTER.search(path) else status.st_mtime_ns
                files[path] = (status.st_size, mtime_ns, oct(status.st_mode), digest.hexdigest(),
                               status.st_ino)
    return {path: value if value[0] == "directory" else value[:4] + (tuple(sorted(links[value[4]])),)
            for path, value in files.items()}


QUERIES = {
    "meta": "SELECT key, value FROM meta WHERE key != 'applied'",
    "mailbox": "SELECT id, name, uid_validity, uid_next, highest_modseq, special_use, keywords FROM mailbox",
    "message": """SELECT m.id, uid, modseq, internal_date, bytes, crlf_bytes, flags, message.keywords, dot, guid
                  FROM message JOIN mailbox m ON m.number = message.mailbox""",
    "vanished": "SELECT m.id, modseq, uid FROM vanished JOIN mailbox m ON m.number = vanished.mailbox",
    "unplaced": "SELECT dot, wanted, internal_date, bytes, crlf_bytes, flags, keywords, guid FROM unplaced",
    "subscription": "SELECT name FROM subscription",
}


def index_of(path):
    """{(table, row), ...} of one index, read from a copy: looking must not change what is looked at."""
    with tempfile.TemporaryDirectory() as directory:
        for end in ("", "-wal", "-shm"):
            if os.path.exists(path + end):
                shutil.copyfile(path + end, directory + "/index.sqlite" + end)
        connection = sqlite3.connect(directory + "/index.sqlite")
        try:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if tables != set(QUERIES) | {"structure"}:
                raise AssertionError(f"{path}: a table that is not compared: {sorted(tables)}")
            return {(table, tuple(value.hex() if isinstance(value, bytes) else value for value in row))
                    for table, query in QUERIES.items() for row in connection.execute(query)}
        finally:
            connection.close()


def indexes_of(data_directory):
    found = {}
    for directory, _, names in os.walk(os.path.join(data_directory, "accounts")):
        if "index.sqlite" in names:
            found[os.path.relpath(directory, data_directory)] = index_of(os.path.join(directory, "index.sqlite"))
    return found


def differences(name_a, directory_a, name_b, directory_b, most=20):
    """What differs between two data directories, one a line; empty: nothing."""
    found = []
    trees = tree_of(directory_a), tree_of(directory_b)
    for path in sorted(set(trees[0]) | set(trees[1])):
        one, other = (tree.get(path) for tree in trees)
        if one != other:
            found.append(f"{path}\n    {name_a}: {one or 'not there'}\n    {name_b}: {other or 'not there'}")
    indexes = indexes_of(directory_a), indexes_of(directory_b)
    for account in sorted(set(indexes[0]) | set(indexes[1])):
        one, other = (index.get(account, set()) for index in indexes)
        found += [f"{account} index: only in {name_a}: {row}" for row in sorted(one - other, key=repr)]
        found += [f"{account} index: only in {name_b}: {row}" for row in sorted(other - one, key=repr)]
    if not trees[0] or not indexes[0]:
        found.append(f"{name_a}: nothing is there to compare")
    return found[:most] + ([f"... and {len(found) - most} more"] if len(found) > most else [])
