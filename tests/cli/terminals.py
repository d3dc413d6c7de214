"""A real terminal with somebody at it, for tests of what runs in one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

DEADLINE_S = 20.0
LAST_WORDS = b"<the end>"


class Terminal:
    """A terminal of 30 rows and 90 columns, and the program that runs in it as its session's leader.

    Args:
        argv: the program.
        env: its environment.
        cwd: where it runs.
        streams: other files for some of its standard streams, by Popen's names.
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, **streams: Any
    ) -> None:
        self._master, self.slave = pty.openpty()
        self.resize(30, 90)
        self.modes = termios.tcgetattr(self.slave)
        self.output = b""

        def prepare() -> None:
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - it takes no lock
            pass_fds=[self.slave],
            **{"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **streams},
        )

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def expect(self, text: str) -> str:
        """Wait until this is on the screen, past what was expected before; return what was there."""
        wanted = text.encode()
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.output:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} is not in {self.output!r}"
            self._read(left)
        before, _, self.output = self.output.partition(wanted)
        return before.decode(errors="replace")

    def wait(self) -> int:
        """Wait for the program's end; return its exit code."""
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it runs on; so far: {self.output!r}"
            self._read(0.02)
        os.write(self.slave, LAST_WORDS)  # comes out behind all else, however late that is
        while not self.output.endswith(LAST_WORDS):
            assert self._read(DEADLINE_S), f"it never ends: {self.output!r}"
        self.output = self.output.removesuffix(LAST_WORDS)
        return self.process.returncode

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        self.output += os.read(self._master, 1 << 16)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        os.close(self._master)
        os.close(self.slave)
