#!/usr/bin/env python3
"""What the programs say and docs/operator.md must explain: each log event, and each text of `problems` in a node's status;
and each password scheme, which gemel(1) must name, too. Events are written in one way, so that a log can be read by a
program. Reads the sources. Prints what is missing as file:line: what; exit 1 where something is."""
import os
import re
import subprocess
import sys

FOLDERS = ("journal/", "maildir/", "engine/", "smtp/", "imap/", "programs/")
LITERAL = r'"((?:[^"\\]|\\.)*)"'
# An event may be one of two: `good ? "this" : "that"`.
EVENT = re.compile(r'\bLog\(\s*(?:(?:journal::)?LogLevel::k\w+,\s*)?(?:[\w.!]+ \? )?' + LITERAL + r'(?:\s*:\s*' + LITERAL
                   + ")?")
# The severity; then the text up to the comma before what to do, with variables among its literals.
PROBLEM = re.compile(r'\{\s*"(?:error|warning)",\s*')
PIECE_LETTERS_MIN = 6


def problem_text(source, start):
    """The literals of the expression that begins here, up to the comma before what to do. None: there is no such comma, so
    this is a field of a log line or of JSON."""
    depth, at, pieces = 0, start, []
    while True:
        literal = re.match(LITERAL + r'(\s*' + LITERAL + ")*", source[at:])
        if literal:
            pieces.append("".join(re.findall(LITERAL, literal.group())))
            at += literal.end()
            continue
        depth += {"(": 1, ")": -1}.get(source[at], 0)
        if source[at] == "," and depth == 0:
            return pieces
        if depth < 0 or source[at] in "{};":
            return []
        at += 1


def section(page, heading):
    level = heading.split(" ")[0]
    begin = page.index(f"\n{heading}\n")
    end = re.compile(rf"^#{{1,{len(level)}}} ", re.M).search(page, begin + len(heading) + 2)
    return page[begin:end.start() if end else len(page)]


def schemes_missing():
    """Password schemes that the page or gemel(1) does not name."""
    with open("engine/password.cc", encoding="utf-8") as file:
        table = re.search(r"kSchemes\[\] = \{\n(.*?)\n\};", file.read(), re.S).group(1)
    names = re.findall(r'^    \{"([A-Z0-9-]+)"', table, re.M)
    for path in ("docs/operator.md", "docs/man/gemel.1"):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        for name in names:
            if not re.search(rf"(?<![A-Z0-9-]){name}(?![A-Z0-9-])", text):
                yield f"{path}:1: the password scheme {name} is not named"
    if len(names) < 10:
        yield f"tests/documents.py:1: only {len(names)} password schemes found: it reads wrongly"


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    with open("docs/operator.md", encoding="utf-8") as file:
        page = file.read()
    log, problems = section(page, "## Log"), section(page, "### Problems").lower()
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.cc"], capture_output=True, text=True,
                            check=True)
    breaches, events, texts = list(schemes_missing()), set(), 0
    for path in sorted(set(listed.stdout.split())):
        if not path.startswith(FOLDERS) or re.search(r"_(test|fuzz|benchmark)\.cc$", path) or not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            source = file.read()
        for found in EVENT.finditer(source):
            for event in filter(None, found.groups()):
                events.add(event)
                line = source.count("\n", 0, found.start()) + 1
                if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", event):
                    breaches.append(f"{path}:{line}: the event {event} is not in lower_snake_case")
                if f"`{event}`" not in log:
                    breaches.append(f'{path}:{line}: "Log" of docs/operator.md does not name the event {event}')
        for found in PROBLEM.finditer(source):
            for literal in problem_text(source, found.end()):
                piece = re.split("[;:,]", literal)[0].strip()  # how it begins; the rest explains itself
                texts += len(piece) >= PIECE_LETTERS_MIN
                if len(piece) >= PIECE_LETTERS_MIN and piece.lower() not in problems:
                    line = source.count("\n", 0, found.start()) + 1
                    breaches.append(f'{path}:{line}: "Problems" of docs/operator.md does not have "{piece}"')
    if len(events) < 50 or texts < 10:
        breaches.append(f"tests/documents.py:1: only {len(events)} events and {texts} problems found: it reads wrongly")
    print("\n".join(breaches) if breaches else f"{len(events)} log events and {texts} texts of problems are explained")
    return 1 if breaches else 0


sys.exit(main())
