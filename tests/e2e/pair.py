"""A pair of gemeld processes for the end-to-end tests, started by `gemel demo --json` in a temporary directory."""

import http.client
import imaplib
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("GEMEL_BIN", os.path.join(SOURCE, "build", "release", "bin"))
PASSWORD = "pass"


def wait_until(done, seconds, what):
    """Waits for `done()`, without a fixed sleep that a test would depend on."""
    end = time.monotonic() + seconds
    while True:
        value = done()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def host_port(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


class AdminConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("gemel", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Node:
    def __init__(self, description):
        self.description = description
        for name in ("name", "place", "pid", "lmtp", "smtp", "imap", "imaps", "link", "admin", "config", "log",
                     "data_directory", "lmtp_socket"):
            setattr(self, name, description[name])
        self.process = None  # where we started it; the first one is the demo's

    def kill(self, how=signal.SIGKILL, seconds=15):
        """Ends the process and waits until it is gone."""
        os.kill(self.pid, how)
        if self.process:
            code = self.process.wait(seconds)
            self.process = None
            return code
        # The demo's child: gone, or a zombie until the demo looks.
        wait_until(lambda: not alive(self.pid), seconds, f"end of process {self.pid}")
        return None

    def start(self, seconds=60):
        log = open(self.log, "ab")
        self.process = subprocess.Popen(self.description["start"].split(), stdout=log, stderr=log,
                                        start_new_session=True)
        log.close()
        self.pid = self.process.pid

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"node {self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                return self.status()
            except OSError:
                return None
        return wait_until(answers, seconds, f"node {self.name} answers")

    def log_tail(self, lines=15):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def admin_call(self, method, target, body=None):
        connection = AdminConnection(self.admin)
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def status(self):
        return self.admin_call("GET", "/status")[1]

    def digests(self):
        return self.admin_call("GET", "/digests")[1]

    # Clients bind 127.0.0.2, so that no connection of theirs ever holds a port that a restarted node needs.
    def smtp_client(self):
        host, port = host_port(self.smtp)
        return smtplib.SMTP(host, port, local_hostname="client.example.test", timeout=30,
                            source_address=("127.0.0.2", 0))

    def lmtp_client(self):
        host, port = host_port(self.lmtp)
        return smtplib.LMTP(host, port, local_hostname="client.example.test", source_address=("127.0.0.2", 0))

    def imap_client(self, user=None, password=PASSWORD):
        host, port = host_port(self.imap)
        client = Imap(host, port)
        if user:
            client.login(user, password)
        return client


class Imap(imaplib.IMAP4):
    """imaplib from 127.0.0.2, with a time limit; and `must`, which fails loudly."""

    def _create_socket(self, timeout=None):
        return socket.create_connection((self.host, self.port), timeout or 30, source_address=("127.0.0.2", 0))

    def must(self, method, *arguments):
        kind, data = getattr(self, method)(*arguments)
        if kind != "OK":
            raise AssertionError(f"{method}{arguments}: {kind} {data}")
        return data


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class Pair:
    def __init__(self, accounts=4, arguments=()):
        self.directory = tempfile.mkdtemp(prefix="gemel-e2e-")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "gemel"), "demo", "--json", "--dir", self.directory, "--accounts", str(accounts),
             *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"gemel demo ended with {self.process.wait()}; its directory is {self.directory}")
        self.description = json.loads(line)
        self.accounts = self.description["accounts"]
        self.nodes = [Node(node) for node in self.description["nodes"]]
        self.a, self.b = self.nodes

    def stop(self, keep=False):
        for node in self.nodes:
            if node.process:
                node.kill(signal.SIGTERM)
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        if not keep:
            shutil.rmtree(self.directory)
        return code

    def wait_quiet(self, seconds=60):
        """Until both are connected and neither owes the other anything."""
        def quiet():
            for node in self.nodes:
                try:
                    status = node.status()
                except OSError:
                    return False
                if not (status["peer_connected"] and status["peer_counts"] and status["lag_records_out"] == 0
                        and status["lag_records_in"] == 0 and status["unprotected"] == 0
                        and status["oldest_unacknowledged_ms"] == 0 and status["store_backlog_items"] == 0):
                    return False
            return True
        wait_until(quiet, seconds, "the pair is quiet")


def letter(subject, body="Hello.\r\n", sender="sender@demo.example.test", to="user0@example.test", message_id=None):
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", "Date: Mon, 23 Nov 2026 12:00:00 +0000"]
    if message_id:
        lines.append(f"Message-ID: <{message_id}>")
    return "\r\n".join(lines) + "\r\n\r\n" + body


def run(*arguments, check=True, timeout=60, **keywords):
    """A program's output; its failure fails the test, with what it said."""
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, text=True,
                          errors="replace", **keywords)
    if check and done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout if check else done
