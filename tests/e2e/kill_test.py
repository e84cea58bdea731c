#!/usr/bin/env python3
"""Kills a node at random moments under mixed load and looks whether anything acknowledged was lost or doubled.

  tests/e2e/kill_test.py [--kills 200] [--seed N] [--bin DIR] [--keep] [--stop-every N] [--compare-every N]

Clients deliver through LMTP and SMTP of both nodes, append, flag, copy, move and expunge over IMAP at both, and look at
what the others do (kill_load.py). Every letter has an id in its header X-Id, and for each id the test knows in which
states it may be, from what clients were told and shown (kill_model.py). Mostly one node is killed, at times both; at
times a node is killed again while it starts or catches up, or the other one is. Only moments count as kills (--kills)
before which enough was acknowledged (--least); without load a round is void and repeated. Every 10th round
(--stop-every) is a stop by SIGTERM, and no kill: the node must end well and within ten seconds. After each round the
load pauses, the link comes to rest, and then

  - both nodes' account digests are equal,
  - every id is in exactly one place and with flags that the test holds possible, read over IMAP from both nodes,
  - no UID of a mailbox names another letter than it ever did to anybody, and UIDVALIDITY is what it was.

What is shown under load is judged at once, while nodes die and come back: a letter, a flag or a UID that was shown is
there until somebody tries to change it.

Every 20th time (--compare-every) and at the end both nodes are stopped as well, and three trees are equal file by file
and row by row, as trees.py says: each node's own, and what `gemel replay` makes of its journal in an empty directory;
and one node's and the other's. A line of a sanitizer in a node's log fails the test too, and so does a load that tested
less than it seems: many refused answers, or a kind of action that was never acknowledged.

The seed is printed and can be given again; it fixes victims, moments and operations, as far as the machine lets it.
"""

import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pair as harness
import trees
from kill_load import Load, see
from kill_model import COPIES, MAILBOXES, Model, Wrong
from pair import Pair, run

# Of all answers. Those are right while the peer is away, and a load of them tests nothing.
REFUSED_PERCENT_MAX = 5
ACTIONS = {"lmtp", "smtp", "append", "flag", "unflag", "copy", "move", "mark deleted", "expunge"}
STOP_SECONDS = 10  # within which a node ends after SIGTERM: its promise
BOTH = 0.15   # of the kills are of both nodes at once
AGAIN = 0.35  # of the kills are followed by another, before the pair has come to rest
KEEP_PER_ACCOUNT = 300  # more settled letters than this are expunged, so that looking at all of them stays quick


def look_at(node, account, model):
    """Reads all of an account from a node, which is at rest: ({id: state}, {id: number of copies})."""
    client = node.imap_client(account)
    found = {}
    copies = collections.Counter()
    for mailbox in MAILBOXES + [COPIES]:
        for _, letter_id, flags in see(client, account, mailbox, model):
            if mailbox == COPIES:
                copies[letter_id] += 1
            elif letter_id in found:
                raise Wrong(f"{letter_id} is there twice: {found[letter_id]}, {mailbox}")
            else:
                found[letter_id] = (mailbox, flags)
    client.logout()
    return found, copies


def check(pair, model):
    pair.wait_quiet(120)
    digests = [node.digests() for node in pair.nodes]
    if digests[0] != digests[1]:
        differing = sorted(a for a in digests[0] if digests[0][a] != digests[1].get(a))
        raise Wrong(f"digests differ: {differing or 'other accounts'}")
    for account in pair.accounts:
        try:
            views = [look_at(node, account, model) for node in pair.nodes]
            if views[0] != views[1]:
                raise Wrong("the nodes show different things")
            model.at_rest(account, *views[0])
        except Wrong as error:
            raise Wrong(f"{account}: {error}") from error
    tidied = [tidy(pair.nodes[0], account, model) for account in pair.accounts]
    if any(tidied):
        pair.wait_quiet(120)  # nobody is shown any more what the model has forgotten
    found = [line for node in pair.nodes for line in node.findings()]
    if found:
        raise Wrong("\n".join(found))


def tidy(node, account, model):
    """Expunges what has been looked at, where there is much of it. Whether there was."""
    if len(model.letters[account]) <= KEEP_PER_ACCOUNT:
        return False
    client = node.imap_client(account)
    for mailbox in MAILBOXES + [COPIES]:
        client.must("select", mailbox)
        client.must("uid", "STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
        client.must("expunge")
    client.logout()
    model.forget(account)
    return True


def compare(pair):
    """The replay of each journal equals the node's own tree, and the nodes' trees are equal."""
    pair.wait_quiet(120)
    digests = pair.nodes[0].digests()
    for node in pair.nodes:
        stop(node)
    pairs = []
    directory = tempfile.mkdtemp(prefix="replay-", dir=pair.directory)
    for node in pair.nodes:
        target = os.path.join(directory, node.name)
        report = json.loads(run(os.path.join(harness.BIN, "gemel"), "replay", "--json", "--directory",
                                node.data_directory + "/journal", target, timeout=600).splitlines()[-1])
        if report["digests"] != digests:
            raise Wrong(f"the replay of {node.name} has other digests")
        pairs.append((node.name, node.data_directory, f"replay of {node.name}", target))
    pairs.append((pair.a.name, pair.a.data_directory, pair.b.name, pair.b.data_directory))
    for arguments in pairs:
        differing = trees.differences(*arguments)
        if differing:
            raise Wrong(f"{arguments[0]} and {arguments[2]} differ (kept in {directory}):\n" + "\n".join(differing))
    shutil.rmtree(directory)
    for node in pair.nodes:
        node.spawn()
    for node in pair.nodes:
        node.wait_answers()
    pair.wait_quiet(120)


def stop(node):
    """By SIGTERM: what the daemon promises, under any load."""
    try:
        code = node.kill(signal.SIGTERM, STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{node.name} has not ended {STOP_SECONDS} s after SIGTERM") from error
    if code:
        raise Wrong(f"{node.name} ended with {code} after SIGTERM")


def kill(nodes):
    """At once. A node that has ended by itself before was not killed, and is wrong."""
    for node in nodes:
        os.kill(node.pid, signal.SIGKILL)
    for node in nodes:
        code = node.kill()
        if code != -signal.SIGKILL:
            raise Wrong(f"{node.name} has ended by itself with {code}:\n{node.log_tail()}")


def strike(rng, pair, how):
    """Kills or stops under load, and starts again. How many kills it was."""
    victim = rng.choice(pair.nodes)
    down = rng.choice([0, 0, rng.uniform(0, 0.5)])
    struck = rng.sample(pair.nodes, 2) if how == "both" else [victim]
    if how == "stop":
        stop(victim)
    else:
        kill(struck)
    time.sleep(down)
    for node in struck:
        node.spawn()
    kills = 0 if how == "stop" else len(struck)
    while how != "stop" and rng.random() < AGAIN:
        # While it starts, says hello, replays, or catches up; mostly itself, sometimes the one that it needs for that.
        time.sleep(rng.uniform(0, 0.3))
        again = rng.choice([victim, victim, *pair.nodes])
        kill([again])
        again.spawn()
        kills += 1
    for node in pair.nodes:
        node.wait_answers()
    return kills


def check_load(load, model):
    """What has been tested: every action, looks by another client, and hardly anything was refused."""
    load.resume()
    harness.wait_until(lambda: load.failure or ACTIONS <= set(+model.acknowledged), 60,
                       f"every kind of action is acknowledged: {dict(model.acknowledged)}")
    load.pause()
    answers = sum(model.counts[kind] for kind in ("acknowledged", "unknown", "refused"))
    if model.counts["refused"] * 100 > answers * REFUSED_PERCENT_MAX:
        raise Wrong(f"{model.counts['refused']} of {answers} answers were refusals: the load tests too little")
    if model.counts["shown"] < answers:
        raise Wrong(f"{model.counts['shown']} letters were shown under {answers} changes: the load tests too little")


class Tally:
    """What a run has done. A round is one moment; only those with enough load before it count."""

    def __init__(self):
        self.begun = time.monotonic()
        self.kills = self.more = self.stops = self.void = self.compared = 0

    def text(self, model):
        return (f"{self.kills} kills, {self.more} more of the other node or of one that had just come back, {self.stops} "
                f"stops, {self.void} void, {model.counts['acknowledged']} changes acknowledged, "
                f"{model.counts['unknown']} unknown, {model.counts['refused']} refused, {model.counts['shown']} letters "
                f"shown, {self.compared} comparisons, {time.monotonic() - self.begun:.0f} s")


def rounds(pair, model, load, rng, options):
    """Until there were as many kills as are wanted. The tally."""
    tally = Tally()
    before = number = 0
    while tally.kills < options.kills:
        number += 1
        how = "stop" if number % options.stop_every == 0 else "both" if rng.random() < BOTH else "one"
        load.resume()
        time.sleep(rng.uniform(0.02, 0.8))
        acknowledged = model.counts["acknowledged"]
        loaded, before = acknowledged - before >= options.least, acknowledged
        kills = strike(rng, pair, how)
        time.sleep(rng.uniform(0, 0.4))
        load.pause()
        check(pair, model)
        if how == "stop":
            tally.stops += 1
            continue
        tally.kills += loaded
        tally.void += not loaded
        tally.more += kills - 1
        if tally.void > 5 + options.kills:
            raise Wrong(f"{tally.void} kills are void: fewer than {options.least} changes were acknowledged before each")
        if loaded and (tally.kills % options.compare_every == 0 or tally.kills == options.kills):
            compare(pair)
            tally.compared += 1
        if loaded and tally.kills % 10 == 0 or sys.stdout.isatty():
            print(tally.text(model), end="\r" if sys.stdout.isatty() and tally.kills % 10 else "\n", flush=True)
    return tally


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments.add_argument("--accounts", type=int, default=4)
    arguments.add_argument("--stop-every", type=int, default=10, help="every so many rounds SIGTERM instead of SIGKILL")
    arguments.add_argument("--compare-every", type=int, default=20,
                           help="every so many kills the trees are compared with a replay")
    arguments.add_argument("--least", type=int, default=20,
                           help="a kill counts if so many changes were acknowledged since the one before")
    arguments.add_argument("--bin", help="where gemel and gemeld are")
    arguments.add_argument("--keep", action="store_true", help="leave the directory there")
    options = arguments.parse_args()
    if options.bin:
        harness.BIN = os.path.abspath(options.bin)
    print(f"seed {options.seed}", flush=True)
    # Nothing is pruned: the replay must make everything from the journal alone.
    pair, model = Pair(options.accounts, settings={"journal": {"retain_size": "1TiB"}}), Model()
    print(f"the nodes are in {pair.directory}", flush=True)
    keep = True
    try:
        pair.restart()  # now they are our children, and their exit codes can be seen
        for account in pair.accounts:
            client = pair.a.imap_client(account)
            client.must("create", "Work")
            client.must("create", COPIES)
            client.logout()
        load = Load(pair, model, options.seed)
        tally = rounds(pair, model, load, random.Random(options.seed), options)
        check_load(load, model)
        check(pair, model)
        load.stop = True
        load.resume()
        keep = options.keep
        print(f"good: {tally.text(model)}: nothing acknowledged is lost or doubled, nothing shown un-happened, and both "
              "trees were equal to one another and to their replays")
        return 0
    except (Wrong, AssertionError, OSError) as error:
        print(f"\nWRONG (seed {options.seed}): {error}\nThe nodes' directories stay in {pair.directory}")
        return 1
    finally:
        pair.stop(keep)


if __name__ == "__main__":
    sys.exit(main())
