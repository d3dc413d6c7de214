"""The live tasks: every change of a task goes through here, and everybody reads here.

The hub holds the newest state of each task and what changed since somebody last looked. It keeps
no history for anybody. Its methods may be called from any thread: they compute, they never wait.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from socketprogress.core import state as states
from socketprogress.core.errors import AlreadyRunning, TaskEnded, UnknownTask
from socketprogress.core.intake import Live, taken
from socketprogress.core.listing import Filter, Listing, Page
from socketprogress.core.ports import Clock, Lock, Report, Store
from socketprogress.core.protocol import STATUSES, log_line
from socketprogress.core.retention import Retention, surplus
from socketprogress.core.state import TaskError, TaskFile, TaskState
from socketprogress.core.steps import Status

__all__ = ["Changes", "Filter", "Hub", "Page"]

LOG_LINES_WAITING = 500
RETAIN_EVERY_S = 30.0
PASSING_S = 60.0
LEASE_S = 30.0


@dataclass(slots=True)
class Changes:
    """What changed since the last look: newest states, log lines by their offset, tasks gone."""

    tasks: dict[str, TaskState] = field(default_factory=dict)
    logs: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


class Hub:
    """Holds the tasks of one server.

    Args:
        store: what survives.
        clock: both clocks.
        epoch: names this count of sequence numbers.
        lock: a native, re-entrant lock; held for computations only.
        new_id: makes task ids of 128 random bits.
        retention: how much of the past is kept.
        on_change: called, from any thread, when there is something to `drain` again.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        epoch: str,
        lock: Lock | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),  # never looks like an option
        retention: Retention = Retention(),  # noqa: B008 - frozen
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.epoch = epoch
        self.on_change = on_change
        self._clock = clock
        self._lock = threading.RLock() if lock is None else lock
        self._new_id = new_id
        self._retention = retention
        self._tasks: dict[str, TaskState] = {}
        self._live: dict[str, Live] = {}
        self._listing = Listing(self._tasks, self._live)
        self._counts: Counter[str] = Counter()
        self._transient: set[str] = set()
        self._log_next: dict[str, int] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._changes = Changes()
        self._retained = clock.monotonic()

    # -- reading ---------------------------------------------------------------------------------

    def get(self, task_id: str) -> TaskState:
        """Return a task's newest state.

        Raises:
            UnknownTask: there is none of this id.
        """
        try:
            return self._tasks[task_id]
        except KeyError:
            raise UnknownTask(f"no task has the id {task_id!r}", field="task_id") from None

    def find(self, task_id: str) -> TaskState | None:
        """Return a task's newest state, or None."""
        return self._tasks.get(task_id)

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

    def page(self, wanted: Filter, *, limit: int, before: str | None = None) -> Page:
        """Return the matching tasks, active ones first and newest first, from a cursor on.

        Who reads on to the end gets every task that was there at the first page exactly once.

        Raises:
            InvalidPayload: `before` is not the `next` of an earlier page.
        """
        with self._lock:
            return self._listing.page(wanted, limit=limit, before=before)

    def active(self, name: str | None = None) -> list[str]:
        """Return the ids of the tasks that have not ended, of one definition or of all."""
        with self._lock:
            return [i for i in self._live if name is None or self._tasks[i].name == name]

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

    # -- a task's life ---------------------------------------------------------------------------

    def create(
        self,
        name: str,
        *,
        title: str,
        task_id: str | None = None,
        max_running: int | None = None,
        lease_s: float | None = None,
        **fields: Any,
    ) -> tuple[TaskState, bool]:
        """Add a queued task, or find the one that has this id already.

        Args:
            name: the definition's, or what a reporter calls its work.
            title: one line for people.
            task_id: the client's idempotency key.
            max_running: how many of this name may be active at once.
            lease_s: seconds of silence after which it is `lost`; None for ever.
            **fields: further fields of `TaskState`.

        Returns:
            The state, and whether it is a new task.

        Raises:
            AlreadyRunning: `max_running` are active.
        """
        with self._lock:
            if task_id is not None and task_id in self._tasks:
                return self._tasks[task_id], False
            running = self.active(name) if max_running is not None else []
            if max_running is not None and len(running) >= max_running:
                raise AlreadyRunning(
                    f"{name} runs {len(running)} times already and {max_running} is its most",
                    running=running,
                )
            new = TaskState(
                task_id=task_id or self._new_id(),
                name=name,
                title=title,
                epoch=self.epoch,
                created_at=self._clock.wall(),
                **fields,
            )
            new = states.queue(replace(new, lease_s=lease_s))
            self._live[new.task_id] = Live(self._clock.monotonic(), lease_s=lease_s)
            self._put(new, save=True)
        self.on_change()
        return new, True

    def begin(self, task_id: str) -> TaskState:
        """Set a queued task in progress."""
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is None or live.ending:
                return state
            if state.status is Status.QUEUED:
                live.restart(self._clock.monotonic(), state.current)
            state = states.begin(state, at=self._clock.wall())
            self._put(state, save=True)
        self.on_change()
        return state

    def apply(self, reports: Iterable[Report]) -> None:
        """Take reporters' news; what comes after a task's end is dropped."""
        with self._lock:
            for report in reports:
                self._apply(report)
        self.on_change()

    def report(self, report: Report) -> bool:
        """Take a report from outside, in which everything stands that it changes.

        One whose `reporter_seq` is not newer than the last is a repetition: a sign of life only.

        Returns:
            Whether the task ends, or has ended, by this report: its terminal state is shown once it
            is stored.

        Raises:
            UnknownTask: there is no such task.
            TaskEnded: the task is over, and this is news.
        """
        task_id, number = report["task_id"], report.get("reporter_seq")
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            last = state if live is None or live.ending is None else live.ending
            repeated = number is not None and number <= last.reporter_seq
            if last.ended and not repeated:
                raise TaskEnded(f"task {task_id} is {last.status.value}: nothing more can come")
            self._apply({"task_id": task_id} if repeated else report)
            if number is not None and not repeated:
                numbered = replace(self._tasks[task_id], reporter_seq=number)
                self._tasks[task_id] = numbered
                if report.get("log"):
                    self.store.save(numbered)
        self.on_change()
        return last.ended

    def heard(self, task_id: str) -> None:
        """Take a sign of life."""
        self.apply([{"task_id": task_id}])

    def request_cancel(self, task_id: str) -> TaskState:
        """Ask for a task's end.

        Raises:
            UnknownTask, TaskEnded, NotCancellable: it cannot be cancelled.
        """
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is not None and live.ending:
                return state
            state = states.request_cancel(state, at=self._clock.wall())
            self._put(state, save=True)
        self.on_change()
        return state

    def end(
        self,
        task_id: str,
        status: Status,
        *,
        result: Any = None,
        error: TaskError | None = None,
        log: Sequence[str] = (),
        files: Sequence[TaskFile] | None = None,
    ) -> bool:
        """End a task: its terminal state is stored first and shown when the store has it.

        Returns:
            False if it has ended or is ending already.
        """
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is None or live.ending:
                return False
            now = self._clock.monotonic()
            if log:
                self._log(task_id, log)
            elapsed_s = live.elapsed_s(now) if state.started_at is not None else None
            steps = live.timed(state.steps, now)
            live.ending = states.end(
                replace(state, steps=steps),
                status,
                at=self._clock.wall(),
                elapsed_s=elapsed_s,
                result=result,
                error=error,
                files=files,
            )
            ending = live.ending
        self.store.save(ending, on_saved=lambda: self._show_end(task_id))
        return True

    def log(self, task_id: str, lines: Sequence[str]) -> None:
        """Add lines to a task's log."""
        with self._lock:
            if lines and task_id in self._tasks:
                self._log(task_id, lines)
        self.on_change()

    # -- housekeeping ----------------------------------------------------------------------------

    def restore(self) -> int:
        """Take over what the store holds, under this hub's epoch; return the number of tasks.

        What this product's own server ran when it was killed is `failed`/`worker_lost` now; a
        reporter's task gets its lease anew.
        """
        self._log_next.update(self.store.log_sizes())
        orphans = []
        with self._lock:
            for old in self.store.load():
                state = replace(old, epoch=self.epoch)
                if not state.ended:
                    now = self._clock.monotonic()
                    lease_s = state.lease_s or LEASE_S
                    self._live[state.task_id] = Live.resumed(state, now, lease_s=lease_s)
                    if state.source == "server":
                        orphans.append(state.task_id)
                self._put(state, save=False)
            self._changes = Changes()
        lost = TaskError("worker_lost", "the server that ran this task was killed")
        for task_id in orphans:
            self.end(task_id, Status.FAILED, error=lost)
        return len(self._tasks)

    def sweep(self) -> list[str]:
        """Find tasks whose lease has run out, and forget what retention no longer keeps.

        Returns:
            The ids of the tasks that were forgotten.
        """
        now = self._clock.monotonic()
        with self._lock:
            for task_id, live in list(self._live.items()):
                state = self._tasks[task_id]
                if live.ending or state.status is not Status.IN_PROGRESS:
                    continue
                if live.silent(now):
                    live.lost_at = now
                    self._put(states.lose(state, at=self._clock.wall()), save=True)
            gone = self._retain(now) + self._passing()
        if gone:
            self.store.delete(gone)
        self.on_change()
        return gone

    def save_all(self) -> None:
        """Have the store keep the newest state of every task that has not ended."""
        with self._lock:
            for task_id, live in self._live.items():
                if live.ending is None:
                    self.store.save(self._tasks[task_id])

    def problems(self) -> list[str]:
        """Return why this hub is degraded at present; empty when all is well."""
        problem = self.store.problem()
        return [] if problem is None else [problem]

    # -- inside ----------------------------------------------------------------------------------

    def _apply(self, report: Report) -> None:
        task_id = report["task_id"]
        live = self._live.get(task_id)
        if live is None or live.ending:
            return
        now, at = self._clock.monotonic(), self._clock.wall()
        before = state = self._tasks[task_id]
        live.hear(now)
        if state.status is Status.LOST:
            state = states.regain(state, at=at)
        if state.status is Status.QUEUED and len(report) > 1:
            live.restart(now, state.current)
            state = states.begin(state, at=at)
        if report.get("log"):
            self._log(task_id, report["log"])
        state = taken(state, live, report, now=now, at=at)
        if state is not before:
            stepped = state.status is not before.status or "step" in report
            self._put(state, save=stepped or live.save_is_due(now))

    def _retain(self, now: float) -> list[str]:
        crowded = len(self._tasks) - len(self._live) > self._retention.count
        if not crowded and now - self._retained < RETAIN_EVERY_S:
            return []
        self._retained = now
        ended = [s for i, s in self._tasks.items() if i not in self._live]
        gone = surplus(ended, _size_bytes, retention=self._retention, now_at=self._clock.wall())
        for task_id in gone:
            self._forget(task_id)
        return gone

    def _passing(self) -> list[str]:
        oldest = self._clock.wall() - PASSING_S
        gone = [
            task_id
            for task_id in self._transient
            if (self._tasks[task_id].finished_at or math.inf) < oldest
        ]
        for task_id in gone:
            self._forget(task_id)
        return gone

    def _put(self, state: TaskState, *, save: bool) -> None:
        old = self._tasks.get(state.task_id)
        if old is None:
            self._listing.add(state.task_id)
            if not state.leave:
                self._transient.add(state.task_id)
        else:
            self._counts[old.status.value] -= 1
        self._counts[state.status.value] += 1
        self._tasks[state.task_id] = state
        self._changes.tasks[state.task_id] = state
        if save:
            self.store.save(state)
        for callback in list(self._listeners.get(state.task_id, ())):
            callback()

    def _show_end(self, task_id: str) -> None:
        with self._lock:
            live = self._live.pop(task_id, None)
            if live is None or live.ending is None:
                return
            self._listing.end(task_id)
            self._put(live.ending, save=False)
        self.on_change()

    def _log(self, task_id: str, lines: Sequence[str]) -> None:
        lines = [log_line(line) for line in lines]
        offset = self.log_next(task_id)
        self._log_next[task_id] = offset + len(lines)
        self.store.append_log(task_id, offset, lines)
        first, waiting = self._changes.logs.setdefault(task_id, (offset, []))
        waiting.extend(lines)
        surplus_lines = len(waiting) - LOG_LINES_WAITING
        if surplus_lines > 0:
            del waiting[:surplus_lines]
            self._changes.logs[task_id] = (first + surplus_lines, waiting)

    def _forget(self, task_id: str) -> None:
        state = self._tasks.pop(task_id)
        self._counts[state.status.value] -= 1
        self._listing.forget(task_id)
        self._transient.discard(task_id)
        self._log_next.pop(task_id, None)
        self._changes.tasks.pop(task_id, None)
        self._changes.logs.pop(task_id, None)
        self._changes.removed.append(task_id)


def _size_bytes(state: TaskState) -> int:
    result = state.result
    return 4096 + sum(file.size_bytes for file in state.files) + len(str(result or ""))
