"""The start of a daemon where something is in its way: much to recover, no IPv6, an address that is not there."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from pair import BIN, WITH_US, Notified, end, run, wait_until

GEMELD = os.path.join(BIN, "gemeld")
CLONE_NEWNET = 0x40000000

# Runs a program in a network of its own, which has 127.0.0.1 and no IPv6.
WITHOUT_IPV6 = f"""
import ctypes, fcntl, os, socket, struct, sys
if ctypes.CDLL(None).unshare({CLONE_NEWNET}) != 0:
    sys.exit(77)
with socket.socket() as any_socket:  # SIOCSIFFLAGS: lo is up
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14s", b"lo", 1, b""))
try:
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as file:
        file.write("1")
except FileNotFoundError:
    pass  # it has none
except OSError:
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"""


def may_unshare():
    if os.geteuid() != 0:
        return False
    return subprocess.run([sys.executable, "-c", WITHOUT_IPV6, "/bin/true"], check=False,
                          capture_output=True).returncode == 0


class Start(unittest.TestCase):
    # Behind [lmtp].
    NO_LISTENERS = 'listen = []\n[link]\nlisten = []\n[smtp]\nlisten = []\n[imap]\nlisten = []\nlisten_tls = []\n'

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-start-")
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.config, self.log_path = self.directory + "/gemeld.toml", self.directory + "/log"

    def configure(self, listeners):
        with open(self.config, "w") as file:
            file.write(f'[node]\ndata_directory = "{self.directory}/data"\nadmin_socket = "{self.directory}/admin"\n'
                       f'[lmtp]\nsocket = "{self.directory}/lmtp"\n{listeners}')
        run(os.path.join(BIN, "gemel"), "--config", self.config, "init")

    def start(self, *before, **environment):
        with open(self.log_path, "wb") as log:
            process = subprocess.Popen([*WITH_US, *before, GEMELD, "--config", self.config], stderr=log, stdout=log,
                                       env={**os.environ, **environment})
        self.addCleanup(end, process)
        return process

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def test_a_long_recovery_says_so_and_ends_when_told(self):
        # A pipe that nobody writes into stands for a disk that takes for ever.
        pipe = self.directory + "/pipe"
        os.mkfifo(pipe)
        self.configure(self.NO_LISTENERS + f'[tls]\ncertificate = "{pipe}"\nkey = "{pipe}"\n')
        notified = Notified(self.directory + "/notify")
        self.addCleanup(notified.socket.close)
        for how in (signal.SIGTERM, signal.SIGINT):
            process = self.start(NOTIFY_SOCKET=notified.path)
            wait_until(lambda: " recovering seconds=5" in self.log(), 30, "recovering is logged")
            process.send_signal(how)
            self.assertEqual(process.wait(10), 0)
            self.assertIn(" stopping while=starting", self.log())
            self.assertIn("STATUS=recovering since 5 s", notified)
            self.assertIn("STOPPING=1", notified)
            self.assertNotIn("READY=1", notified)

    @unittest.skipUnless(may_unshare(), "needs root, and network namespaces")
    def test_the_defaults_serve_where_there_is_no_ipv6(self):
        self.configure("")
        process = self.start(sys.executable, "-c", WITHOUT_IPV6)
        wait_until(lambda: " serving " in self.log() or process.poll() is not None, 30, "it serves, or ends")
        self.assertIn(" serving ", self.log())
        self.assertRegex(self.log(), r'warning listener_left_out key="\[lmtp\] listen" error="cannot listen on \[::1\]:24: ')
        for listener in ("lmtp", "smtp", "imap", "imaps", "link"):
            self.assertRegex(self.log(), rf"listening listener={listener} address=(127\.0\.0\.1|0\.0\.0\.0):")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 0)

    def test_an_address_that_is_not_there_is_refused_where_it_was_asked_for(self):
        # 192.0.2.0/24 and 2001:db8::/32 are for documents only (RFC 5737, RFC 3849).
        for address in ("192.0.2.1:0", "[2001:db8::1]:0"):
            shutil.rmtree(self.directory + "/data", True)
            self.configure(self.NO_LISTENERS.replace("[smtp]\nlisten = []", f'[smtp]\nlisten = ["{address}"]'))
            process = self.start()
            self.assertEqual(process.wait(30), 1)
            self.assertIn(f"gemeld: [smtp] listen: cannot listen on {address}: ", self.log())
            self.assertEqual(self.log().count("cannot listen"), 1)
            self.assertIn("this host", self.log())
            self.assertIn("Take it out of the list in gemeld.toml", self.log())


if __name__ == "__main__":
    unittest.main()
