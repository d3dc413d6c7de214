"""Ending everything that a command has started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["end_tree", "members"]

PROC = Path("/proc")
LOOK_S = 0.05


def members(root: int, mark: bytes) -> set[int]:
    """Return the ids of the living processes that belong to a command.

    These are its descendants, its session, and whatever still has its mark in the environment:
    a daemon has left both family and session. Where there is no ``/proc``, only `root`.

    Args:
        root: the command's process id, which leads its own session.
        mark: ``NAME=value`` as it was put into the command's environment.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    for folder in _processes():
        try:
            state, parent, _group, session = _status(folder)
        except (OSError, ValueError):
            continue  # it ended between the listing and the look
        pid = int(folder.name)
        parents[pid] = parent
        if state in "ZX":
            continue
        if root in (pid, session) or mark in _environment(folder):
            found.add(pid)
    if not parents:
        return {root} if _exists(root) else set()
    return found | {pid for pid in parents if _descends(pid, found | {root}, parents)}


def end_tree(
    process: subprocess.Popen[bytes], mark: bytes, *, grace_s: float, drain: Callable[[], object]
) -> None:
    """Ask everything that a command has started to end, and force what does not.

    Args:
        process: the command, leader of its own session.
        mark: as for `members`.
        grace_s: seconds between SIGTERM and SIGKILL.
        drain: reads the command's output, so that nobody is stuck on writing it.
    """
    try:
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process hears nothing else
            _signal(process.pid, mark, number)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            drain()
            process.poll()
            if not members(process.pid, mark):
                break
            time.sleep(LOOK_S)
    finally:
        _signal(process.pid, mark, signal.SIGKILL)
        process.wait()


def _signal(root: int, mark: bytes, number: signal.Signals) -> None:
    targets = members(root, mark)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(root, number)
    for pid in targets:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _processes() -> list[Path]:
    try:
        return [PROC / name for name in os.listdir(PROC) if name.isdigit()]
    except OSError:
        return []


def _status(folder: Path) -> tuple[str, int, int, int]:
    """Return state, parent, group and session; the name before them may hold anything."""
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3])


def _environment(folder: Path) -> list[bytes]:
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _descends(pid: int, ancestors: set[int], parents: dict[int, int]) -> bool:
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        if parents[pid] in ancestors:
            return True
        seen.add(pid)
        pid = parents[pid]
    return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
