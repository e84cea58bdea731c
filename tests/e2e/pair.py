"""A pair of gemeld processes for the end-to-end tests, started by `gemel demo --json` in a temporary directory."""

import http.client
import imaplib
import json
import os
import re
import shlex
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("GEMEL_BIN", os.path.join(SOURCE, "build", "release", "bin"))
PASSWORD = "pass"
# Before a command: it ends with us, however we end.
WITH_US = ["setpriv", "--pdeathsig", "TERM"]
# What a build with sanitizers writes into the node's log when it finds something.
FOUND = re.compile(r"ERROR: \w*Sanitizer|WARNING: ThreadSanitizer|runtime error:")


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


def pass_second():
    """The next whole second, once it is over: what was done lies before it, what comes behind, as --until has it."""
    moment = int(time.time()) + 1
    wait_until(lambda: time.time() > moment + 0.1, 5, "a second is over")
    return moment


def host_port(address):
    """Of HOST:PORT, also where HOST is [an IPv6 address]."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def draw_ports(count):
    """Free ports on 127.0.0.1; all sockets stay open until the last is drawn, so that none comes twice."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def configure(path, section, settings):
    """Sets keys of a gemeld.toml for the next start: texts, numbers or lists."""
    with open(path) as file:
        lines = file.read().splitlines()
    heading = f"[{section}]"
    if heading not in lines:
        lines.append(heading)
    at = lines.index(heading)
    end = next((i for i in range(at + 1, len(lines)) if lines[i].startswith("[")), len(lines))
    kept = [line for line in lines[at + 1:end] if line.split("=")[0].strip() not in settings]
    new = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    with open(path, "w") as file:
        file.write("\n".join(lines[:at + 1] + kept + new + lines[end:]) + "\n")


def write_configurations(directory, settings):
    """What `gemel demo` would write for its two nodes, which it takes as it finds it; and `settings` besides."""
    ports = iter(draw_ports(2 * 5))
    for name in "ab":
        own = os.path.join(directory, name)
        os.makedirs(own + "/run")
        os.mkdir(own + "/data", 0o700)
        path = own + "/gemeld.toml"
        open(path, "w").close()
        link, lmtp, smtp, imap, imaps = (f"127.0.0.1:{next(ports)}" for _ in range(5))
        for section, keys in {"node": {"data_directory": own + "/data", "admin_socket": own + "/run/admin",
                                       "host_name": f"{name}.demo.example.test"},
                              "link": {"listen": [link], "address": link}, "smtp": {"listen": [smtp]},
                              "lmtp": {"socket": own + "/run/lmtp", "listen": [lmtp]},
                              "imap": {"listen": [imap], "listen_tls": [imaps]}}.items():
            configure(path, section, keys)
        for section, keys in settings.items():
            configure(path, section, keys)


class AdminConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("gemel", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Notified:
    """What systemd would hear of one daemon."""

    def __init__(self, path):
        self.path, self.heard = path, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def __contains__(self, line):
        try:
            while True:
                self.heard += self.socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return line in self.heard

    def wait_for(self, line, seconds=60):
        wait_until(lambda: line in self, seconds, f"{line} on the notify socket; heard {self.heard}")


class Node:
    def __init__(self, description):
        self.description = description
        for name in ("name", "place", "pid", "lmtp", "smtp", "imap", "imaps", "link", "admin", "config", "log",
                     "data_directory", "lmtp_socket"):
            setattr(self, name, description[name])
        self.process = None  # where we started it; the first one is the demo's

    def kill(self, how=signal.SIGKILL, seconds=30):
        """Ends the process and waits until it is gone. Its exit status, if we started it."""
        if not self.process or self.process.poll() is None:
            os.kill(self.pid, how)
        if self.process:
            code = self.process.wait(seconds)
            self.process = None
            return code
        # The demo's child: gone, or a zombie until the demo looks.
        wait_until(lambda: not alive(self.pid), seconds, f"end of process {self.pid}")
        return None

    def start(self, seconds=60, environment=None):
        self.spawn(environment)
        return self.wait_answers(seconds)

    def spawn(self, environment=None):
        log = open(self.log, "ab")
        self.process = subprocess.Popen(WITH_US + shlex.split(self.description["start"]), stdout=log, stderr=log,
                                        start_new_session=True, env={**os.environ, **(environment or {})})
        log.close()
        self.pid = self.process.pid

    def wait_answers(self, seconds=60):
        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"node {self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                return self.status()
            except OSError:
                return None
        return wait_until(answers, seconds, f"node {self.name} answers")

    def configure(self, section, **settings):
        configure(self.config, section, settings)

    def findings(self):
        """What sanitizers wrote into the log."""
        with open(self.log, errors="replace") as log:
            return [line.rstrip() for line in log if FOUND.search(line)]

    def memory(self, name):
        """Of the process, in bytes: VmRSS, VmHWM (the most it ever had), RssAnon ..."""
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))

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
        return smtplib.LMTP(host, port, local_hostname="client.example.test", timeout=30,
                            source_address=("127.0.0.2", 0))

    def imap_client(self, user=None, password=PASSWORD):
        host, port = host_port(self.imap)
        client = Imap(host, port)
        if user:
            client.login(user, password)
        return client


class Conversation:
    """One connection whose bytes are sent and read as they are."""

    def __init__(self, address, source="127.0.0.2"):
        self.socket = socket.create_connection(host_port(address), timeout=120, source_address=(source, 0))
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def line(self):
        line = self.file.readline()
        if not line:
            raise AssertionError("the connection was closed")
        return line

    def line_with(self, text):
        """Reads until a line has this in it."""
        while text not in (line := self.line()):
            pass
        return line

    def read(self, count):
        piece = self.file.read(count)
        if len(piece) < count:
            raise AssertionError(f"the connection was closed {count - len(piece)} bytes too early")
        return piece


class Imap(imaplib.IMAP4):
    """imaplib from 127.0.0.2, with a time limit; and `must`, which fails loudly."""

    def readline(self):
        line = super().readline()
        if not line:
            raise self.abort("the connection was closed")
        return line

    def line_with(self, text):
        """Reads until a line has this in it."""
        while text not in (line := self.readline()):
            pass
        return line

    def _create_socket(self, timeout=None):
        return socket.create_connection((self.host, self.port), timeout or 30, source_address=("127.0.0.2", 0))

    def must(self, method, *arguments):
        kind, data = getattr(self, method)(*arguments)
        if kind != "OK":
            raise AssertionError(f"{method}{arguments}: {kind} {data}")
        return data


def alive(pid):
    """Also while only its first thread has ended: the others still hold its files and locks."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            ended = stat.read().rsplit(")", 1)[1].split()[0] in "ZX"
        return not ended or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def end(process, seconds=60):
    """Its exit status. Who does not end when told is killed."""
    process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def line_within(process, seconds):
    """The next line that a program prints. One that prints none for so long is ended, and fails the test."""
    timer = threading.Timer(seconds, process.terminate)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    if not line:
        raise AssertionError(f"{process.args} ended with {process.wait()}, or said nothing for {seconds} s")
    return line


def module_pair(*arguments, **keywords):
    """A Pair for the tests of a module, for its setUpModule; it ends with them, or when setUpModule fails."""
    pair = Pair(*arguments, **keywords)
    unittest.addModuleCleanup(pair.stop)
    return pair


class Pair:
    def __init__(self, accounts=4, arguments=(), settings=None):
        """settings: {section: {key: value}} of gemeld.toml, for both nodes from their first start on."""
        self.directory = tempfile.mkdtemp(prefix="gemel-e2e-")
        if settings:
            write_configurations(self.directory, settings)
        # In a session of its own, so that Ctrl-C reaches us only, and `stop` ends it.
        self.process = subprocess.Popen(
            [*WITH_US, os.path.join(BIN, "gemel"), "demo", "--json", "--dir", self.directory, "--accounts",
             str(accounts), *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            self.description = json.loads(line_within(self.process, 120))
        except BaseException:  # what was interrupted, too
            end(self.process)
            self.process.stdout.close()
            raise
        self.accounts = self.description["accounts"]
        self.nodes = [Node(node) for node in self.description["nodes"]]
        self.a, self.b = self.nodes

    def stop(self, keep=False):
        """Ends all of it whatever happens, then fails if something did not end well or sanitizers found something."""
        codes = {node.name: end(node.process) for node in self.nodes if node.process}
        # The demo's own status says how the nodes ended that it had started. One that stays would hold on to its ports
        # and to our output.
        codes["the demo"] = end(self.process)
        self.process.stdout.close()
        found = [line for node in self.nodes for line in node.findings()]
        if not keep and not found:
            shutil.rmtree(self.directory)
        if found or any(codes.values()):
            raise AssertionError(f"ended with {codes}: " + "\n".join(found))

    def restart(self, change=None):
        """Stops both nodes, lets `change()` do something meanwhile, and starts them again."""
        for node in self.nodes:
            node.kill(signal.SIGTERM)
        if change:
            change()
        for node in self.nodes:
            node.start()
        self.wait_quiet()

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
                        and status["oldest_unacknowledged_ms"] == 0 and status["store_backlog_items"] == 0
                        and status["store_backlog_bytes"] == 0):  # of what is being written, too
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
