"""Make a worker process as it was before a body ran in it, or say that it cannot be made so."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from posix import waitpid
from typing import Any, Self

from socketprogress.executors.tree import kill_tree

__all__ = ["Tidy", "flush_output", "write_lines_at_once"]

MOST_RESIDENT_BYTES = 256 * 1024 * 1024
PR_SET_CHILD_SUBREAPER = 36
BY_LINES = 1
"""C's `_IOLBF`, in every C library that there is."""


def _libc() -> Any:
    import ctypes  # noqa: PLC0415 - loaded when the worker is up, so that it starts sooner

    return ctypes.CDLL(None)


def write_lines_at_once() -> None:
    """Have C's standard output write each line as it ends, as Python's does here, not when a buffer is full."""
    import ctypes  # noqa: PLC0415 - as in `_libc`

    libc = _libc()
    with contextlib.suppress(ValueError):  # no such name in this C library
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, BY_LINES, 0)


def flush_output() -> None:
    """Write out what Python's and C's standard streams still hold."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a body may have put anything there, or closed it
            stream.flush()
    _libc().fflush(None)


@dataclass(frozen=True)
class _Baseline:
    """The state of the process that a body may change and its successor must not see."""

    directory: str
    environment: dict[str, str]
    handlers: dict[int, Any]
    threads: frozenset[threading.Thread]
    streams: tuple[Any, Any, Any]
    descriptors: tuple[tuple[int, int], ...]
    path: list[str]
    argv: list[str]
    umask: int

    @classmethod
    def now(cls) -> Self:
        umask = os.umask(0o077)
        os.umask(umask)
        return cls(
            directory=str(Path.cwd()),
            environment=dict(os.environ),
            handlers={number: signal.getsignal(number) for number in signal.valid_signals()},
            threads=frozenset(threading.enumerate()),
            streams=(sys.stdin, sys.stdout, sys.stderr),
            descriptors=_standard_descriptors(),
            path=list(sys.path),
            argv=list(sys.argv),
            umask=umask,
        )

    def restore(self) -> None:
        if _standard_descriptors() != self.descriptors or any(s.closed for s in self.streams):
            raise OSError("standard input or output was closed or redirected")
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        os.umask(self.umask)
        os.chdir(self.directory)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        sys.stdin, sys.stdout, sys.stderr = self.streams
        sys.argv[:] = self.argv
        sys.path[:] = [*self.path, *(p for p in sys.path if p not in self.path)]
        sys.settrace(None)
        sys.setprofile(None)
        gc.enable()


class Tidy:
    """Cleans up behind bodies.

    Orphans of the process become its own children, as far as the system can do that, so that
    nothing that a body has started gets out of sight.

    Args:
        mark: the piece of the environment that descendants inherit.
    """

    def __init__(self, *, mark: bytes) -> None:
        self._mark = mark
        self._baseline: _Baseline | None = None
        prctl = getattr(_libc(), "prctl", None)
        self._adopts = prctl is not None and prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    def remember(self) -> None:
        """Note the state that `up` returns to: the one before the first body."""
        if self._baseline is None:
            self._baseline = _Baseline.now()

    def up(self) -> str:
        """Clean up; return what makes the process unfit for another body, "" if nothing does."""
        baseline = self._baseline
        if baseline is None:
            return ""
        killed = self._end_children()
        left = [t for t in threading.enumerate() if t not in baseline.threads and not _is_ours(t)]
        if left:
            return f"threads: {', '.join(thread.name for thread in left)}"
        if killed:
            return f"{killed} child processes were left"
        if _resident_bytes() > MOST_RESIDENT_BYTES:
            return "memory"
        try:
            baseline.restore()
        except Exception as exc:  # noqa: BLE001 - what cannot be restored is not used again
            return f"state: {exc}"
        return ""

    def _end_children(self) -> int:
        if self._adopts and not _reap():
            return 0
        killed = kill_tree(os.getpid(), mark=self._mark)
        _reap()
        return killed


def _standard_descriptors() -> tuple[tuple[int, int], ...]:
    """Return what the descriptors 0, 1 and 2 are open on. Raises `OSError` for a closed one."""
    stats = [os.fstat(descriptor) for descriptor in range(3)]
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)


def _reap() -> bool:
    """Bury children that have ended; return whether others live."""
    while True:
        try:
            pid, _ = waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("socketprogress-")


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
