#!/usr/bin/env python3
"""That the benchmarks start, and that their figures can be true: tests/bench.py DIR, where gemel-perf and others are.

Runs perf/compare-dovecot, on Debian's Dovecot, too, where that is there, and gemel-benchmark, all as small as can be.
What they measure is no matter here. Dovecot's pair is left out, as now and then it takes minutes to replicate a few
letters, and so is Dovecot's IMAP, for time. Prints each breach; exit 1 where there is one.
"""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARIES = os.path.abspath(sys.argv[1])
LETTERS, LAG_LETTERS = 20, 3
OPERATIONS = {"login", "select", "fetch-flags", "fetch-envelope", "store-each", "store-all", "append-4k", "append-64k",
              "search-body", "copy", "expunge", "mix"}
breaches = []


def expect(true, what):
    if not true:
        breaches.append(what)


def run(*command):
    done = subprocess.run(["timeout", "--foreground", "300", *command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, check=False)
    expect(done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}")
    return done.stdout


def rising(row, *names):
    """That these are there, more than 0, and in this order."""
    figures = [row.get(name, 0) for name in names]
    expect(0 < figures[0] and figures == sorted(figures), f"{names} of {row}")


def compare(directory, system, *parts):
    """One system's result, looked through as far as it is the same for all."""
    run(os.path.join(ROOT, "perf", "compare-dovecot"), "--binaries", BINARIES, "--dir", directory, "--sizes", "4096",
        "--connections", "4", "--seconds", "0.5", "--repeat", "1", "--letters", str(LETTERS), "--lag-letters",
        str(LAG_LETTERS), "--accounts", "4", "--json", directory + "/result", "--only", system, "--parts",
        ",".join(parts))
    with open(directory + "/result") as file:
        result = json.load(file)
    expect(result["problems"] == [], f"problems: {result['problems']}")
    expect(len(result["deliveries"]) == 1, f"{system}: {len(result['deliveries'])} cells of deliveries")
    for row in result["deliveries"]:
        expect(row["system"] == system and row.get("refused") == 0 == row.get("unknown"), f"letters: {row}")
        expect(row.get("accepted", 0) == round(row.get("per_s", 0) * row.get("seconds", 0)), f"rate: {row}")
        rising(row, "p50_ms", "p99_ms", "max_ms")
        rising(row, "visible_per_s", "per_s")
        rising(row, "seconds", "visible_seconds")
    return result


def compare_all(directory):
    if os.path.exists("/usr/sbin/dovecot") and os.getuid() == 0:
        compare(directory, "dovecot", "deliveries")
    else:
        print("left out: Dovecot is not here, or may not be started by this user")
    result = compare(directory, "gemel", "deliveries", "lag", "imap")
    expect([row.get("watch") for row in result["lag"]] == ["poll", "idle"], "lag: not by both ways")
    for row in result["lag"]:
        expect(row.get("letters") == LAG_LETTERS, f"letters: {row}")
        rising(row, "lag_p50_ms", "lag_p99_ms", "lag_max_ms")
    rows = {row["op"]: row for row in result["imap"]}
    expect(OPERATIONS <= set(rows), f"{OPERATIONS - set(rows)} were not measured")
    for row in rows.values():
        rising(row, "p50_ms", "p99_ms", "max_ms")
        rising(row, "per_s")
    # One more: each account's first letter.
    expect(rows.get("fetch-flags", {}).get("messages") == LETTERS + 1, f"messages: {rows.get('fetch-flags')}")


def micro():
    """All but what has thousands of letters, which on a busy disk takes minutes."""
    rows = json.loads(run(os.path.join(BINARIES, "gemel-benchmark"), "--benchmark_min_time=0.001",
                          "--benchmark_filter=-Replay|JournalRead|BM_Store", "--benchmark_format=json"))["benchmarks"]
    names = {row["name"].split("/")[0] for row in rows}
    for wanted in ("BM_FrameEncode", "BM_FrameDecode", "BM_AppendAndSync", "BM_AppendWithoutSync"):
        expect(wanted in names, f"{wanted} is not among {sorted(names)}")
    for row in rows:
        expect(not row.get("error_occurred"), row)
        rising(row, "real_time")
        rising(row, "items_per_second")


with tempfile.TemporaryDirectory(prefix="gemel-bench-", dir="/var/tmp") as temporary:
    os.chmod(temporary, 0o755)  # Dovecot's processes run as other users
    compare_all(temporary)
micro()
print("\n".join(map(str, breaches)) if breaches else "the benchmarks start, and their figures can be true")
sys.exit(1 if breaches else 0)
