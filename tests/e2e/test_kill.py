"""A short run of kill_test.py; GEMEL_KILLS makes it longer."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from pair import BIN, wait_until


class KillTest:
    """kill_test.py in a process; all it starts is known by the name of its directory."""

    def __init__(self, kills, *arguments):
        self.seconds = 300 + 60 * kills
        self.directory = tempfile.mkdtemp(prefix="gemel-kills-")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_test.py")
        self.process = subprocess.Popen([sys.executable, script, "--kills", str(kills), "--bin", BIN, *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env={**os.environ, "TMPDIR": self.directory})

    def started(self):
        """The pids of the demo and the nodes: each has a path of the directory in its command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    if self.directory in file.read():
                        found.append(int(pid))
            except OSError:  # it has ended meanwhile
                pass
        return found

    def end(self):
        self.process.kill()
        for pid in self.started():
            os.kill(pid, signal.SIGKILL)

    def wait(self):
        """(exit code, output). A run that hangs is ended with all that it started."""
        try:
            output, _ = self.process.communicate(timeout=self.seconds)
        except subprocess.TimeoutExpired:
            self.end()
            output = self.process.communicate()[0] + f"\nended after {self.seconds} s"
        return self.process.returncode, output


class Kill(unittest.TestCase):
    def start(self, kills, *arguments):
        run = KillTest(kills, *arguments)
        self.addCleanup(run.process.stdout.close)
        return run

    def test_nothing_acknowledged_is_lost(self):
        run = self.start(int(os.environ.get("GEMEL_KILLS", "20")))
        code, output = run.wait()
        self.assertEqual(code, 0, output)  # the nodes' directories stay
        print(output.splitlines()[-1])
        shutil.rmtree(run.directory)

    def test_a_run_without_load_fails(self):
        run = self.start(1, "--least", "1000000")
        code, output = run.wait()
        self.assertEqual(code, 1, output)
        self.assertIn("kills are void", output)
        shutil.rmtree(run.directory)

    def test_a_run_that_hangs_leaves_nothing_behind(self):
        run = self.start(1000)
        wait_until(lambda: len(run.started()) >= 3, 60, "the demo and two nodes")
        run.seconds = 0
        _, output = run.wait()
        self.assertIn("ended after 0 s", output)
        wait_until(lambda: not run.started(), 60, "all have ended")
        shutil.rmtree(run.directory)


if __name__ == "__main__":
    unittest.main()
