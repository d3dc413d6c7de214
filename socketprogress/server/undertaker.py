"""Ends the tasks of reporters that will not come back."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from socketprogress.client.spool import has_left
from socketprogress.core.board import Changes
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Clock
from socketprogress.core.protocol import one_line
from socketprogress.core.state import TaskError, TaskState
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime

__all__ = ["Undertaker", "born"]

CANCELLED_AFTER_S = 10.0
OTHERS_AFTER_S = 2.0
YOUNGER_S = 2.0
HOST_CHARS = 200
KERNEL_THREAD = 0x0020_0000
ABANDONED = TaskError("worker_lost", "its worker has been silent for too long")
NOBODY = "Nobody has heard the cancellation: its reporter is silent"


@dataclass(slots=True)
class _Process:
    """A reporter's process as it was seen: when it was born, and since when it is gone."""

    born: float
    gone_at: float | None = None


class Undertaker:
    """Ends what is lost: with its reporter's process, or once its cancellation is heard by nobody.

    A process id says little: it is used again, and in a container it means another process. So only
    a process counts that has been seen from here, older than its task, while the task was heard of. And
    only one of this user: what another's has left in its spool cannot be seen.

    Args:
        hub: the tasks.
        runtime: how to wait for the disk.
        clock: both clocks.
    """

    def __init__(self, hub: Hub, runtime: Runtime, clock: Clock) -> None:
        self._hub, self._runtime, self._clock = hub, runtime, clock
        self._since = clock.monotonic()
        self._host = one_line(socket.gethostname(), HOST_CHARS)
        self._seen: dict[str, _Process | None] = {}
        self._unheard: dict[str, float] = {}
        self._lost: dict[str, float] = {}

    def note(self, changes: Changes) -> None:
        """Look at the processes that report for the first time."""
        self._meet(changes.tasks.values())

    def sweep(self) -> None:
        """End what is over; called every second."""
        now = self._clock.monotonic()
        theirs = {state.task_id: state for state in self._theirs()}
        for known in (self._seen, self._unheard, self._lost):
            for task_id in known.keys() - theirs.keys():
                known.pop(task_id, None)
        self._meet(theirs.values())
        births: dict[int, float | None] = {}
        for state in theirs.values():
            if self._hub.is_foreign(state.task_id):
                continue
            if self._is_unheard(state, now):
                self._hub.end(state.task_id, Status.CANCELLED, log=[NOBODY])
            elif self._is_dead(state, now, births) and state.status is Status.LOST:
                self._bury(state)
            elif self._is_abandoned(state, now):
                self._hub.end(state.task_id, Status.FAILED, error=ABANDONED)

    def _theirs(self) -> list[TaskState]:
        """Return the tasks that reporters tell of, others' too: this server may speak for them yet."""
        found = (self._hub.find(task_id) for task_id in self._hub.active())
        return [state for state in found if state is not None and state.source != "server"]

    def _meet(self, states: Iterable[TaskState]) -> None:
        for state in states:
            pid, task_id = state.pid, state.task_id
            if pid is None or state.source != "report" or state.host != self._host:
                continue
            if task_id in self._seen or state.ended or self._hub.heard_at(task_id) < self._since:
                continue
            found = born(pid) if _is_own(pid) else None
            age_s = self._clock.wall() - state.created_at
            is_its = found is not None and _boot_s() - found > age_s - YOUNGER_S
            self._seen[task_id] = _Process(found) if is_its and found is not None else None

    def _is_unheard(self, state: TaskState, now: float) -> bool:
        if state.status is not Status.LOST or not state.cancel_requested:
            self._unheard.pop(state.task_id, None)
            return False
        return now - self._unheard.setdefault(state.task_id, now) >= CANCELLED_AFTER_S

    def _is_abandoned(self, state: TaskState, now: float) -> bool:
        """Return whether it is lost for longer than its reporter has asked to be waited for."""
        if state.status is not Status.LOST or state.abandon_s is None:
            self._lost.pop(state.task_id, None)
            return False
        return now - self._lost.setdefault(state.task_id, now) > state.abandon_s

    def _is_dead(self, state: TaskState, now: float, births: dict[int, float | None]) -> bool:
        process, pid = self._seen.get(state.task_id), state.pid
        if process is None or pid is None:
            return False
        if pid not in births:
            births[pid] = born(pid)
        if births[pid] == process.born:
            return False
        if process.gone_at is None:
            process.gone_at = now
        elif self._hub.heard_at(state.task_id) > process.gone_at + OTHERS_AFTER_S:
            self._seen[state.task_id] = None  # somebody else speaks for it
            return False
        return True

    def _bury(self, state: TaskState) -> None:
        pid = state.pid or 0
        if self._runtime.run_blocking(has_left, pid):
            return  # how it ended is still to be delivered
        error = TaskError("worker_lost", f"the process that reported it (pid {pid}) has died")
        self._hub.end(state.task_id, Status.FAILED, error=error)


def born(pid: int) -> float | None:
    """Return when a process has begun, in seconds since the machine has; None for one that is over.

    So it is for one that cannot be seen, and for a kernel's own.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X") or int(fields[6]) & KERNEL_THREAD:
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _is_own(pid: int) -> bool:
    """Return whether a process is this user's."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid == os.geteuid()
    except OSError:
        return False


def _boot_s() -> float:
    """Return the seconds since the machine has begun, as processes' births are counted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
