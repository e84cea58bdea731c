"""A short run of kill_test.py; GEMEL_KILLS makes it longer."""

import os
import subprocess
import sys
import unittest

from pair import BIN


class Kill(unittest.TestCase):
    def test_nothing_acknowledged_is_lost(self):
        kills = int(os.environ.get("GEMEL_KILLS", "20"))
        done = subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "kill_test.py"),
                               "--kills", str(kills), "--bin", BIN], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=120 + 30 * kills, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
