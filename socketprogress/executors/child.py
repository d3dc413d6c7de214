"""The server's end of one worker process: its pipes, its output, its death.

The process is started and awaited by the system calls themselves and each pipe is read by a native
thread: `subprocess`, `select` and functions of `os` are what a monkey-patched application has replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import posix
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from socketprogress.core.ports import Threading
from socketprogress.executors.output import Lines
from socketprogress.executors.results import dumps
from socketprogress.executors.tree import kill_tree
from socketprogress.executors.wire import COMMANDS, MARK, REPORTS

__all__ = ["Child"]

log = logging.getLogger(__name__)

OUTPUT_BYTES = 256 * 1024
READS_AT_THE_END = 16
READER_GRACE_S = 1.0
ARGUMENTS = ("-P", "-m", "socketprogress.executors.worker")
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


class Child:
    """A worker process.

    Args:
        threading: where the two threads come from.
        on_message: called with each of the worker's messages, from a thread of this child.
        on_death: called once with how it died, after its last message and when nothing that it
            started is left.

    Raises:
        OSError: the system gives no process or no pipe.
    """

    def __init__(
        self,
        *,
        threading: Threading,
        on_message: Callable[[Child, dict[str, Any]], None],
        on_death: Callable[[Child, str], None],
    ) -> None:
        self._threading = threading
        self._on_message = on_message
        self._on_death = on_death
        self._token = secrets.token_hex(16)
        self._lines = Lines()
        self._buried = False
        self._burying = threading.Lock()
        self._outbox = b""
        self._start()
        self.send({"path": sys.path, "pythonpath": os.environ.get("PYTHONPATH")})

    def __repr__(self) -> str:
        return f"<Child {self.pid}>"

    def send(self, command: Mapping[str, Any]) -> None:
        """Queue a command; `flush` hands on what the pipe did not take at once."""
        self._outbox += dumps(command) + b"\n"
        self.flush()

    def flush(self) -> bool:
        """Write what is queued, without waiting; return whether all of it is written."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outbox:
                self._outbox = self._outbox[posix.write(self._commands, self._outbox) :]
        return not self._outbox

    def output(self) -> list[str]:
        """Return the lines printed since the last call; never wait."""
        data = self._read_output()
        return self._lines.feed(data) if data else []

    def last_output(self) -> list[str]:
        """Return the lines printed up to now, an unfinished one included."""
        data = b""
        for _ in range(READS_AT_THE_END):
            more = self._read_output()
            if not more:
                break
            data += more
        return [*self._lines.feed(data), *self._lines.end()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker's process group, as long as there is one."""
        with self._burying:
            if not self._buried:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, number)

    def destroy(self) -> None:
        """Kill the worker and everything that it has started, off this thread."""
        self._thread(self._destroy, "killer")

    def close(self) -> None:
        """Give the descriptors back; call it once, after the death."""
        for descriptor in (self._commands, self._output):
            os.close(descriptor)

    @property
    def _mark(self) -> bytes:
        return f"{MARK}={self._token}".encode()

    def _start(self) -> None:
        pipes = [_pipe() for _ in range(3)]
        (commands, self._commands), (self._reports, reports), (self._output, output) = pipes
        try:
            with contextlib.suppress(OSError):  # the system's limit on all pipes' memory
                fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, OUTPUT_BYTES)
            self.pid = self._spawn(commands=commands, reports=reports, output=output)
        except OSError:
            for descriptor in (self._commands, self._reports, self._output):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (commands, reports, output):
                os.close(descriptor)
        os.set_blocking(self._commands, False)
        os.set_blocking(self._output, False)
        self._reader = self._thread(self._read_reports, "reports")
        self._thread(self._await_death, "death")

    def _spawn(self, *, commands: int, reports: int, output: int) -> int:
        environment = dict(os.environ)
        environment[MARK] = self._token
        if PACKAGE_ROOT.name not in {"site-packages", "dist-packages"}:
            paths = [str(PACKAGE_ROOT), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return posix.posix_spawn(
            sys.executable,
            [sys.executable, *ARGUMENTS],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                (os.POSIX_SPAWN_DUP2, commands, COMMANDS),
                (os.POSIX_SPAWN_DUP2, reports, REPORTS),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE],
        )

    def _thread(self, target: Callable[[], None], name: str) -> Any:
        thread = self._threading.Thread(
            target=target, name=f"socketprogress-{name}-{self.pid}", daemon=True
        )
        thread.start()
        return thread

    def _read_output(self) -> bytes:
        try:
            return posix.read(self._output, OUTPUT_BYTES)
        except BlockingIOError:
            return b""

    def _read_reports(self) -> None:
        rest = b""
        while data := posix.read(self._reports, 65_536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    log.warning("worker %s sent what is no JSON: %.200r", self.pid, line)
                    continue
                self._on_message(self, message)
        os.close(self._reports)

    def _await_death(self) -> None:
        how = _wait(self.pid)
        kill_tree(self.pid, mark=self._mark)
        with self._burying:
            self._buried = True
            with contextlib.suppress(ChildProcessError):
                posix.waitpid(self.pid, os.WNOHANG)
        self._reader.join(READER_GRACE_S)
        self._on_death(self, how)

    def _destroy(self) -> None:
        kill_tree(self.pid, mark=self._mark, rounds=1)  # while its descent can still be seen
        self.signal(signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    """Return a pipe's ends, none of them among the numbers that a worker's own get."""
    ends = os.pipe()
    try:
        read_end, write_end = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    finally:
        for end in ends:
            os.close(end)
    return read_end, write_end


def _wait(pid: int) -> str:
    """Wait for the end of a process, which stays a zombie, and tell how it ended."""
    try:
        ended = posix.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return "somebody else has taken its exit status"
    if ended is None:
        return "its exit status is unknown"
    if ended.si_code == os.CLD_EXITED:
        return f"exit code {ended.si_status}"
    try:
        return f"killed by {signal.Signals(ended.si_status).name}"
    except ValueError:
        return f"killed by signal {ended.si_status}"
