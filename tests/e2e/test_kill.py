"""A short run of kill_test.py; GEMEL_KILLS makes it longer."""

import os
import subprocess
import sys
import unittest

from pair import BIN


def kill_test(kills, *arguments):
    return subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_test.py"),
                           "--kills", str(kills), "--bin", BIN, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300 + 60 * kills, check=False)


class Kill(unittest.TestCase):
    def test_nothing_acknowledged_is_lost(self):
        done = kill_test(int(os.environ.get("GEMEL_KILLS", "20")))
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_a_run_without_load_fails(self):
        done = kill_test(1, "--least", "1000000")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("kills are void", done.stdout)


if __name__ == "__main__":
    unittest.main()
