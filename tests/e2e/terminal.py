"""Programs as a person at a terminal runs them."""

import os
import pty
import select
import shutil
import subprocess
import time
import unittest


def needs(program):
    return unittest.skipUnless(shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"),
                               f"{program} is not installed")


def on_terminal(command, home, seconds=60):
    """Runs a full-screen program on a terminal of its own, until it ends. What it showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, env={**os.environ, "HOME": home, "TERM": "xterm"}, stdin=slave, stdout=slave,
                               stderr=slave, start_new_session=True)
    os.close(slave)
    end, shown = time.monotonic() + seconds, b""
    try:
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    shown += os.read(master, 65536)
                except OSError:  # the terminal's other end is closed
                    break
            elif process.poll() is not None:
                break
        if process.wait(max(end - time.monotonic(), 1)) != 0:
            raise AssertionError(f"{command} ended with {process.returncode}: {shown[-2000:]}")
    except subprocess.TimeoutExpired:
        raise AssertionError(f"{command} does not end: {shown[-2000:]}") from None
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return shown
