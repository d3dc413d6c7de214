"""What bodies on the server's own loop promise; eventlet stays out of this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BESIDE = Path(__file__).with_name("hub_on_eventlet.py")


def test_bodies_run_on_eventlets_loop() -> None:
    # Given eventlet, which warns at every fork of a process that has imported it
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(BESIDE)]
    # When its tests run in a process of their own
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # Then all of them pass
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
