#!/usr/bin/env python3
"""House rules that a compiler does not check. Prints each breach as file:line: what; exit 1 where there is one."""
import os
import re
import subprocess
import sys

# What a folder may include: itself, and what stands behind it.
LAYERS = {
    "journal": [],
    "maildir": ["journal"],
    "engine": ["maildir", "journal"],
    "smtp": ["engine", "maildir", "journal"],
    "imap": ["engine", "maildir", "journal"],
    "programs": ["smtp", "imap", "engine", "maildir", "journal"],
    "perf": [],
}
LINES_MAX = 600
COLUMNS_MAX = 120
BYTES_MAX = 1 << 20

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
breaches = []


def breach(path, line, what):
    breaches.append(f"{path}:{line}: {what}")


def check_source(path, text):
    folder = path.split("/")[0]
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        breach(path, len(lines), f"more than {LINES_MAX} lines: split it")
    if path.endswith(".h") and "#pragma once" not in text:
        breach(path, 1, "a header without #pragma once")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX and "http" not in line:
            breach(path, number, f"longer than {COLUMNS_MAX} columns")
        # Spelled in two parts, so that this file does not break its own rule.
        if re.search(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b", line):
            breach(path, number, "a note for later: do it, or write an issue")
        include = re.match(r'#include "([a-z]+)/', line)
        if include and folder in LAYERS and include[1] in LAYERS:
            benchmark = path.endswith("_benchmark.cc")
            if include[1] != folder and include[1] not in LAYERS[folder] and not benchmark:
                breach(path, number, f"{folder} may not include {include[1]}")
        if re.match(r'#include "(\.\.?/|[^/"]+")', line):
            breach(path, number, "includes are written from the root")


files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
folders = set()
for path in sorted(set(files.stdout.split("\n")) - {""}):
    if not os.path.isfile(path):
        continue
    if os.path.getsize(path) > BYTES_MAX:
        breach(path, 1, "more than 1 MiB: make it when it is needed")
    if path.endswith((".cc", ".h")):
        folders.add(path.split("/")[0])
        with open(path, encoding="utf-8") as source:
            check_source(path, source.read())
for folder in sorted(folders):
    if not os.path.isfile(os.path.join(folder, "README.md")):
        breach(folder, 1, "a folder without README.md")
print("\n".join(breaches) if breaches else f"{len(files.stdout.split())} files keep the house rules")
sys.exit(1 if breaches else 0)
