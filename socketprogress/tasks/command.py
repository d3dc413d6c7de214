"""An operator's command as a task: its output is the log, its bar is the progress."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import secrets
import select
import shlex
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path

from socketprogress.core.errors import ConfigurationError, TaskFailure
from socketprogress.core.reporter import Reporter
from socketprogress.tasks.meter import Meter
from socketprogress.tasks.processes import end_tree
from socketprogress.tasks.terminal import TerminalText

__all__ = ["parse_command", "run_command"]

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}\Z")
MARK = "SOCKETPROGRESS_COMMAND_MARK"
READ_BYTES = 1 << 16
LOOK_S = 0.1
IDLE_S = 0.5
LINGER_S = 1.0
GRACE_S = 0.7  # shorter than what a worker process itself is given
ROWS, COLUMNS = 40, 120
BURST_LINES, BURST_S = 250, 0.06  # a sample holds 500 lines, 20 are taken a second
PACED_LINES = 20_000  # beyond, the command's speed is worth more than the whole log


def parse_command(text: str) -> tuple[str, list[str]]:
    """Return the name and the arguments of ``NAME=ARGV …``, split as a shell would.

    Raises:
        ConfigurationError: there is no name or no command, or a quote is not closed.
    """
    name, equals, line = text.partition("=")
    name = name.strip()
    if not equals or not NAME.match(name):
        raise ConfigurationError(
            f"{text!r} is no command: write NAME='program arguments …', "
            "the name of A-Z a-z 0-9 _ . : -"
        )
    try:
        argv = shlex.split(line)
    except ValueError as exc:
        raise ConfigurationError(f"the command {text!r} cannot be split: {exc}") from None
    if not argv or not argv[0]:
        raise ConfigurationError(f"{text!r} names no program after the =")
    if "\0" in line:
        raise ConfigurationError(f"{text!r} has a NUL character")
    return name, argv


def run_command(progress: Reporter, *, argv: list[str], cwd: str | None = None) -> dict[str, int]:
    """Run a command in a pseudo-terminal, without a shell, and follow its output.

    Every line goes into the log, the latest one is the message, and a percent or an "n/m" in it
    is the progress. Whatever the command has started ends with a cancellation.

    Args:
        progress: takes all of it.
        argv: the program and its arguments.
        cwd: where it runs; the present folder by default.

    Returns:
        ``{exit_code: 0}``.

    Raises:
        TaskFailure: with the code ``exit_status``: it was not found, exited with another status,
            or was killed by a signal.
        Cancelled: somebody has asked for the task's end.
    """
    mark = f"{MARK}={secrets.token_hex(16)}"
    reading, writing = _channel()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, reading)
        try:
            process = _start(argv, cwd, writing, mark)
        finally:
            os.close(writing)
        output = _Output(progress, reading)
        try:
            output.follow(process)
            status = process.wait()
        except BaseException:
            end_tree(process, mark.encode(), grace_s=GRACE_S, drain=output.drain)
            raise
    if status != 0:
        raise TaskFailure(_ending(status), code="exit_status")
    return {"exit_code": 0}


def _start(argv: list[str], cwd: str | None, writing: int, mark: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - the operator's own command, no client's
            argv,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=_environment(os.environ, mark),
            start_new_session=True,
        )
    except OSError as exc:
        raise TaskFailure(_refusal(argv[0], cwd, exc), code="exit_status") from exc


def _environment(present: Mapping[str, str], mark: str) -> dict[str, str]:
    name, _, value = mark.partition("=")
    return {"TERM": "xterm", **present, name: value}


def _refusal(program: str, cwd: str | None, exc: OSError) -> str:
    if cwd is not None and not Path(cwd).is_dir():
        return f"the folder {cwd!r} to run in does not exist"
    if isinstance(exc, FileNotFoundError):
        return f"command not found: {program!r} (exit status 127)"
    return f"command cannot be run: {program!r}: {exc.strerror} (exit status 126)"


def _ending(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _channel() -> tuple[int, int]:
    """Return where to read from and where the command writes: a terminal, or else a pipe."""
    try:
        reading, writing = pty.openpty()
    except OSError:
        reading, writing = os.pipe()
    else:
        modes = termios.tcgetattr(writing)
        modes[1] &= ~termios.OPOST  # line ends as the command writes them
        termios.tcsetattr(writing, termios.TCSANOW, modes)
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(writing, termios.TIOCSWINSZ, size)
    os.set_blocking(reading, False)
    return reading, writing


class _Output:
    """Reads what a command writes and tells the reporter."""

    def __init__(self, progress: Reporter, reading: int) -> None:
        self._progress = progress
        self._reading = reading
        self._text = TerminalText()
        self._meter = Meter()
        self._poll = select.poll()
        self._poll.register(reading, select.POLLIN)
        self._lines = 0
        self._burst_at = time.monotonic()

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Report until the command has ended and all that it wrote is read."""
        heard = time.monotonic()
        last = None  # when to stop listening to what the command has left running
        while last is None or time.monotonic() < last:
            self._progress.check()
            if last is None and process.poll() is not None:
                last = time.monotonic() + LINGER_S
            data = self._read(LOOK_S)
            if data:
                heard = time.monotonic()
                self._tell(self._text.feed(data))
            elif data is None or last is not None:
                break
            elif time.monotonic() - heard >= IDLE_S:
                self._tell(self._text.idle())
        self._tell(self._text.feed(b"", final=True))
        while process.poll() is None:  # it has closed its output and works on
            self._progress.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)

    def drain(self) -> None:
        """Drop what can be read now."""
        while self._read(0):
            pass

    def _read(self, wait_s: float) -> bytes | None:
        """Return what is there, nothing yet (empty), or None at the end."""
        if not self._poll.poll(wait_s * 1_000):
            return b""
        try:
            return os.read(self._reading, READ_BYTES) or None
        except BlockingIOError:
            return b""
        except OSError:  # a terminal that nobody writes to any more says EIO
            return None

    def _tell(self, lines: list[str]) -> None:
        progress = self._progress
        for line in lines:
            if line.strip():
                progress.message = line.strip()
            progress.log(line)
            self._pace()
        if self._text.line.strip():
            progress.message = self._text.line.strip()
        move = self._meter.see(lines, self._text.rows, pinned=self._text.pinned)
        if move is not None:
            if move.reset:
                progress.reset(move.count.total)
            progress.unit = move.unit
            progress.total, progress.current = move.count.total, move.count.current

    def _pace(self) -> None:
        """Let the sampler take the lines of a burst before they push one another out."""
        self._lines += 1
        if self._lines % BURST_LINES == 0 and self._lines <= PACED_LINES:
            time.sleep(max(self._burst_at + BURST_S - time.monotonic(), 0.0))
            self._burst_at = time.monotonic()
