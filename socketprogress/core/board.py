"""The newest state of every task, and what changed since somebody last looked."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from socketprogress.core.errors import UnknownTask
from socketprogress.core.history import History
from socketprogress.core.intake import Live
from socketprogress.core.listing import Filter, Listing, Page
from socketprogress.core.ports import Lock, Store
from socketprogress.core.protocol import STATUSES, log_line
from socketprogress.core.state import TaskState

__all__ = ["LOG_LINES_WAITING", "Board", "Changes"]

LOG_LINES_WAITING = 500


@dataclass(slots=True)
class Changes:
    """What changed since the last look: newest states, log lines by their offset, tasks gone."""

    tasks: dict[str, TaskState] = field(default_factory=dict)
    logs: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


class Board:
    """Where everybody reads. It keeps no history for anybody.

    Args:
        store: what survives.
        lock: a native, re-entrant lock; held for computations only.
        on_change: called, from any thread, when there is something to `drain` again.
    """

    def __init__(
        self, *, store: Store, lock: Lock | None = None, on_change: Callable[[], None]
    ) -> None:
        self.store = store
        self.on_change = on_change
        self._lock = threading.RLock() if lock is None else lock
        self._tasks: dict[str, TaskState] = {}
        self._live: dict[str, Live] = {}
        self._listing = Listing(self._tasks, self._live)
        self._history = History()
        self._counts: Counter[str] = Counter()
        self._passing: dict[str, float] = {}
        self._log_next: dict[str, int] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._changes = Changes()

    def get(self, task_id: str) -> TaskState:
        """Return a task's newest state.

        Raises:
            UnknownTask: there is none of this id.
        """
        try:
            return self._tasks[task_id]
        except KeyError:
            raise UnknownTask.of(task_id) from None

    def find(self, task_id: str) -> TaskState | None:
        """Return a task's newest state, or None."""
        return self._tasks.get(task_id)

    @property
    def size(self) -> int:
        """The number of tasks."""
        return len(self._tasks)

    def all(self) -> list[TaskState]:
        """Return every task, oldest first."""
        with self._lock:
            return list(self._tasks.values())

    def touch(self, task_id: str) -> None:
        """Have a task's newest state told once more."""
        with self._lock:
            state = self._tasks.get(task_id)
            if state is not None:
                self._changes.tasks[task_id] = state
        self.on_change()

    def counts(self) -> dict[str, int]:
        """Return the number of tasks of each status."""
        with self._lock:
            return {status: self._counts[status] for status in STATUSES}

    def page(
        self,
        wanted: Filter,
        *,
        limit: int,
        before: str | None = None,
        among: Container[str] | None = None,
    ) -> Page:
        """Return the matching tasks, active ones first and newest first, from a cursor on.

        Who reads on to the end gets every task that was there at the first page exactly once.

        Args:
            wanted: which tasks.
            limit: how many at most.
            before: the `next` of the page before.
            among: the ids of the tasks there are to choose from; None for all.

        Raises:
            InvalidPayload: `before` is not the `next` of an earlier page.
        """
        with self._lock:
            return self._listing.page(wanted, limit=limit, before=before, among=among)

    def active(self, name: str | None = None) -> list[str]:
        """Return the ids of the tasks that have not ended, of one definition or of all."""
        with self._lock:
            return [i for i in self._live if name is None or self._tasks[i].name == name]

    def heard_at(self, task_id: str) -> float:
        """Return when an active task was heard of last, monotonic; before all time for any other."""
        live = self._live.get(task_id)
        return -math.inf if live is None else live.heard_at

    @property
    def is_ending(self) -> bool:
        """Whether the store is writing a task's end, which is shown then."""
        with self._lock:
            return any(live.ending is not None for live in self._live.values())

    def log_next(self, task_id: str) -> int:
        """Return the number that the next line of a task's log will have."""
        return self._log_next.get(task_id, 0)

    def drain(self) -> Changes:
        """Return what changed since the last call."""
        with self._lock:
            changes, self._changes = self._changes, Changes()
        return changes

    def listen(self, task_id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back at every change of a task; return what stops it."""
        with self._lock:
            self._listeners.setdefault(task_id, []).append(callback)

        def stop() -> None:
            with self._lock:
                listeners = self._listeners.get(task_id, [])
                if callback in listeners:
                    listeners.remove(callback)
                if not listeners:
                    self._listeners.pop(task_id, None)

        return stop

    # -- for the hub, under the lock -------------------------------------------------------------

    def _put(self, state: TaskState) -> None:
        """Show a task's newest state."""
        old = self._tasks.get(state.task_id)
        if old is None or old.status is not state.status:
            self._move(old, state)
        self._tasks[state.task_id] = state
        self._changes.tasks[state.task_id] = state
        for callback in list(self._listeners.get(state.task_id, ())):
            callback()

    def _move(self, old: TaskState | None, state: TaskState) -> None:
        """Count a task as what it is now."""
        if old is None:
            self._listing.add(state.task_id)
        else:
            self._counts[old.status.value] -= 1
        self._counts[state.status.value] += 1
        if state.ended and not (old and old.ended):
            self._history.learn(state)

    def _number(self, task_id: str, lines: Sequence[str]) -> tuple[int, list[str]]:
        """Show new lines of a task's log, and return them with their number for the store."""
        lines = [log_line(line) for line in lines]
        offset = self.log_next(task_id)
        self._log_next[task_id] = offset + len(lines)
        first, waiting = self._changes.logs.setdefault(task_id, (offset, []))
        waiting.extend(lines)
        surplus = len(waiting) - LOG_LINES_WAITING
        if surplus > 0:
            del waiting[:surplus]
            self._changes.logs[task_id] = (first + surplus, waiting)
        return offset, lines

    def _forget(self, task_id: str) -> None:
        state = self._tasks.pop(task_id)
        self._counts[state.status.value] -= 1
        self._listing.forget(task_id)
        self._passing.pop(task_id, None)
        self._log_next.pop(task_id, None)
        self._changes.tasks.pop(task_id, None)
        self._changes.logs.pop(task_id, None)
        self._changes.removed.append(task_id)
