"""The harness itself: however a run of these tests ends, nothing that it started stays."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import pair as harness
from pair import BIN, Conversation, Imap, Pair, alive, end, host_port, line_within, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


class Endings(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="gemel-harness-")
        self.addCleanup(shutil.rmtree, self.directory, True)

    def start(self, *command):
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   cwd=HERE, env={**os.environ, "TMPDIR": self.directory, "GEMEL_BIN": BIN,
                                                  "PYTHONPATH": self.directory})
        self.addCleanup(process.stdout.close)
        self.addCleanup(end, process)
        return process

    def nodes(self):
        """Processes of all nodes under the directory."""
        found = []
        for path in glob.glob(f"{self.directory}/gemel-e2e-*/*/data/node/lock"):
            with open(path) as file:
                found.append(int(file.read()))
        return found

    def all_end(self, processes):
        wait_until(lambda: not any(map(alive, processes)), 30, f"{processes} end")

    def test_interrupted(self):
        for how in (signal.SIGINT, signal.SIGTERM):
            process = self.start(os.path.join(HERE, "run"), "-v", "-k", "test_one_node_serves_while_the_other_is_gone",
                                 "-k", "test_digests_are_equal_when_quiet")
            line = line_within(process, 120)
            while "node b was ended by signal 9" not in line:  # in the middle of the first test
                line = line_within(process, 120)
            nodes = self.nodes()
            self.assertTrue(nodes)
            process.send_signal(how)
            said = process.communicate(timeout=60)[0]
            self.assertEqual(process.returncode, 1, said)
            self.assertTrue(said.endswith("\n0 passed, 1 failed\n"), said)
            self.assertFalse([node for node in nodes if alive(node)])
            self.assertEqual(os.listdir(self.directory), [])

    def test_killed(self):
        process = self.start("-c", "import sys, pair; p = pair.Pair(1); p.b.kill(); p.b.start(); p.wait_quiet(); "
                                   "print(p.process.pid, flush=True); sys.stdin.read()")
        while not (line := line_within(process, 120)).strip().isdigit():
            pass
        nodes = self.nodes()
        self.assertEqual(len(nodes), 2)
        process.kill()
        self.all_end([int(line), *nodes])

    def test_a_node_that_does_not_end_is_killed_and_the_others_end_too(self):
        pair = Pair(1)
        pair.a.kill()
        pair.a.start()
        nodes = [node.pid for node in pair.nodes]
        os.kill(pair.a.pid, signal.SIGSTOP)
        ended = harness.end
        harness.end = lambda process: ended(process, 1 if process is pair.a.process else 60)
        try:
            with self.assertRaisesRegex(AssertionError, "'a': -9, 'the demo': 0"):
                pair.stop()
        finally:
            harness.end = ended
        self.all_end(nodes)
        self.assertFalse(os.path.exists(pair.directory))


    def test_a_module_whose_set_up_fails(self):
        with open(self.directory + "/test_broken.py", "w") as file:
            file.write("import unittest\nfrom pair import module_pair\n"
                       "def setUpModule():\n    module_pair(1).restart(lambda: 1 / 0)\n"
                       "class Broken(unittest.TestCase):\n    def test_it(self):\n        pass\n")
        process = self.start("-m", "unittest", "test_broken")
        said = process.communicate(timeout=120)[0]
        self.assertIn("ZeroDivisionError", said)
        self.assertEqual([name for name in os.listdir(self.directory) if name.startswith("gemel")], [])

    def test_a_server_that_hangs_up_is_noticed(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            with Conversation(address) as client:
                server.accept()[0].close()
                for read in (client.line, lambda: client.line_with(b"x"), lambda: client.read(1)):
                    self.assertRaisesRegex(AssertionError, "connection was closed", read)
            threading.Thread(target=lambda: self.greet_and_hang_up(server)).start()
            client = Imap(*host_port(address))
            self.assertRaisesRegex(client.abort, "closed|EOF", client.line_with, b"EXISTS")
            client.shutdown()

    @staticmethod
    def greet_and_hang_up(server):
        with server.accept()[0] as connection:
            connection.sendall(b"* OK\r\n")
            tag = connection.recv(4096).split()[0]
            connection.sendall(b"* CAPABILITY IMAP4rev1\r\n" + tag + b" OK done\r\n")


if __name__ == "__main__":
    unittest.main()
