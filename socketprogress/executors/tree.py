"""Find and kill everything that a process has started, wherever it has moved to."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from posix import kill, listdir

__all__ = ["kill_tree", "members"]

PROC = "/proc"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the process table; `started` counts clock ticks since the machine's boot."""

    pid: int
    parent: int
    session: int
    started: int
    zombie: bool


def members(root: int, *, mark: bytes = b"") -> set[int]:
    """Return the living processes of `root`'s session, of its descent and with its mark.

    The descent is lost once a parent dies, the session once a child calls setsid; the mark, a
    piece of the environment such as ``b"NAME=value"``, is inherited all the same. Without a
    process table in /proc the set is empty.

    Args:
        root: process id; itself is never among the members.
        mark: what the environment of the members holds.
    """
    table = _table()
    found = {root}
    grown = True
    while grown:
        more = {
            entry.pid
            for entry in table.values()
            if entry.pid not in found and (entry.parent in found or entry.session == root)
        }
        found |= more
        grown = bool(more)
    if mark:
        since = table[root].started if root in table else 0
        found |= {
            entry.pid
            for entry in table.values()
            if entry.pid not in found and entry.started >= since and _has_mark(entry.pid, mark)
        }
    return {pid for pid in found if pid in table and not table[pid].zombie} - {root, os.getpid()}


def kill_tree(root: int, *, mark: bytes = b"", rounds: int = 50) -> int:
    """Kill the members of a tree until none is left, the root excepted; return how many there were.

    A process may fork while the table is read, so it is read again until nothing is found.
    """
    killed: set[int] = set()
    for attempt in range(rounds):
        left = members(root, mark=mark)
        if not left:
            break
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(pid, signal.SIGKILL)
        killed |= left
        time.sleep(0.001 * attempt)  # the killed take a moment to leave the table
    return len(killed)


def _table() -> dict[int, _Entry]:
    try:
        names = listdir(PROC)
    except FileNotFoundError:
        return {}
    entries = (_entry(int(name)) for name in names if name.isdecimal())
    return {entry.pid: entry for entry in entries if entry is not None}


def _entry(pid: int) -> _Entry | None:
    try:
        text = Path(f"{PROC}/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    return _Entry(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        zombie=fields[0] in {b"Z", b"X"},
    )


def _has_mark(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"{PROC}/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
