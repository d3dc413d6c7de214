"""The live tasks: every change of a task goes through here, and everybody reads here.

The hub holds the newest state of each task and what changed since somebody last looked. It keeps
no history for anybody. Its methods may be called from any thread: they compute, they never wait.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Iterable, Sequence
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from socketprogress.core import state as states
from socketprogress.core.board import LOG_LINES_WAITING, Changes
from socketprogress.core.errors import TaskEnded
from socketprogress.core.intake import Live, begun, taken
from socketprogress.core.listing import Filter, Page
from socketprogress.core.mirror import Mirror
from socketprogress.core.ports import Clock, Lock, Report, Store
from socketprogress.core.retention import Retention, size_bytes, surplus
from socketprogress.core.state import TERMINAL, TaskError, TaskFile, TaskState
from socketprogress.core.status import Status

__all__ = ["LOG_LINES_WAITING", "Changes", "Filter", "Hub", "Page"]

RETAIN_EVERY_S = 30.0
LASTING = frozenset({"advance", "reset", "step"})
"""What in a report no later one says again, so that it is stored at once; so is what changes `_lasting`."""
_lasting = attrgetter("status", "total", "title", "unit", "abandon_s")


class Hub(Mirror):
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
        super().__init__(store=store, clock=clock, epoch=epoch, lock=lock, on_change=on_change)
        self.new_id = new_id
        self._retention = retention
        self._retained = clock.monotonic()

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
            max_running: how many of this name and source may be active at once.
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
            self._check_room(name, fields.get("source", "server"), max_running)
            new = TaskState(
                task_id=task_id or self.new_id(),
                name=name,
                title=title,
                epoch=self.epoch,
                created_at=self._clock.wall(),
                **fields,
            )
            new = states.queue(replace(new, lease_s=lease_s))
            self._live[new.task_id] = Live(self._clock.monotonic(), lease_s=lease_s)
            self._put(new)
            self.store.save(new)
        self.on_change()
        return new, True

    def begin(self, task_id: str, **where: Any) -> TaskState:
        """Set a queued task in progress, with `host`, `pid` and the patience of who works on it."""
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is None or live.closed:
                return state
            now, at = self._clock.monotonic(), self._clock.wall()
            state = replace(begun(state, live, self._history, now=now, at=at), **where)
            live.grant(state.lease_s)
            self._put(state)
            self.store.save(state)
        self.on_change()
        return state

    def assign(
        self, task_id: str, name: str, *, max_running: int | None = None, **fields: Any
    ) -> TaskState:
        """Say what a task's work is that was begun before that was known; return its state.

        Args:
            task_id: the task.
            name: the definition's, which may be another than so far.
            max_running: how many of this name may be active at once.
            **fields: `title`, `args`, `steps`, `unit`, `cancellable`.

        Raises:
            UnknownTask, TaskEnded: there is no such task any more.
            AlreadyRunning: `max_running` of another name than so far are active.
        """
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is None or live.closed:
                raise TaskEnded(f"task {task_id} is over: nothing can be done with it any more")
            if state.name != name:
                self._check_room(name, state.source, max_running)
            fields |= {"name": name, "elapsed_s": self._elapsed_s(state, live)}
            state = states.assign(state, at=self._clock.wall(), **fields)
            self._put(state)
            self.store.save(state)
        self.on_change()
        return state

    def apply(self, reports: Iterable[Report]) -> None:
        """Take reporters' news; what comes after a task's end is dropped."""
        with self._lock:
            for report in reports:
                self._apply(report)
        self.on_change()

    def report(self, report: Report) -> bool:
        """Take a report from outside, in which everything stands that it changes, the end included.

        One whose `reporter_seq` is not newer than the last is a repetition: a sign of life only.
        So is an end without a number that is said again before it is stored.

        Returns:
            Whether the task ends, or has ended, by this report: its terminal state is shown once it
            is stored.

        Raises:
            UnknownTask: there is no such task.
            TaskEnded: the task is over, and this is news.
        """
        task_id, number = report["task_id"], report.get("reporter_seq")
        status = Status(report.get("status", Status.IN_PROGRESS))
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            ending = None if live is None else live.ending
            last = ending or state
            if number is None:
                repeated = ending is not None and ending.status is status
            else:
                repeated = number <= last.reporter_seq
            if last.ended and not repeated:
                raise TaskEnded(f"task {task_id} is {last.status.value}: nothing more can come")
            if repeated:
                self._apply({"task_id": task_id})
            elif status in TERMINAL and live is not None:
                self._end_by(report, status, live)
            else:
                self._apply(report)
        self.on_change()
        return last.ended or status in TERMINAL

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
            if live is not None and live.closed:
                return state
            elapsed_s = self._elapsed_s(state, live)
            state = states.request_cancel(state, at=self._clock.wall(), elapsed_s=elapsed_s)
            self._put(state)
            self.store.save(state)
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
            if live is None or live.closed:
                return False
            numbered = self._number(task_id, log) if log else None
            self._end(state, live, status, log=numbered, result=result, error=error, files=files)
        return True

    # -- housekeeping ----------------------------------------------------------------------------

    def restore(self, resumable: Container[str] = ()) -> int:
        """Take over what the store holds, under this hub's epoch; return the number of tasks.

        What this product's own server ran when it was killed is `failed`/`worker_lost` now; a
        reporter's task gets its lease anew. In a shared store others may be speaking for the tasks.

        Args:
            resumable: the ids of own tasks that go on nevertheless, such as uploads.
        """
        self._log_next.update(self.store.log_sizes())
        orphans = []
        with self._lock:
            for old in self.store.load():
                if self.store.is_shared:
                    self._mirror(old)
                    continue
                state = replace(old, epoch=self.epoch)
                now, at = self._clock.monotonic(), self._clock.wall()
                if not state.ended:
                    state, live = self._resumed(state)
                    self._live[state.task_id] = live
                    if state.source == "server" and state.task_id not in resumable:
                        orphans.append(state.task_id)
                    if state.source == "report":
                        # Queued, if the server was killed while it opened it: it runs elsewhere.
                        state = begun(state, live, self._history, now=now, at=at)
                else:
                    self._sizes[state.task_id] = size_bytes(state)
                    if not state.leave:
                        self._passing[state.task_id] = now
                self._put(state)
            for task_id, live in self._live.items():
                live.usual = self._history.usual(self._tasks[task_id])
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
                if live.closed or state.status is not Status.IN_PROGRESS:
                    continue
                if live.is_unsaved and live.save_is_due(now, self.store.save_every_s):
                    self.store.save(state)
                if live.silent(now):
                    live.lost_at = now
                    at, elapsed_s = self._clock.wall(), live.elapsed_s(now)
                    state = states.lose(state, at=at, elapsed_s=elapsed_s)
                    self._put(state)
                    self.store.save(state)
            gone = self._retain(now) if self.retains else []
            gone += self._pass(now)
            if gone:
                self.store.delete(gone)
            gone += self._take_gone()
        self.on_change()
        return gone

    # -- inside ----------------------------------------------------------------------------------

    def _apply(self, report: Report) -> None:
        task_id, number = report["task_id"], report.get("reporter_seq")
        live = self._live.get(task_id)
        if live is None or live.closed:
            return
        before = self._tasks[task_id]
        state = self._after(before, live, report)
        due = _lasting(state) != _lasting(before) or not LASTING.isdisjoint(report)
        lines = self._number(task_id, report["log"]) if report.get("log") else None
        if state.seq != before.seq:
            self._put(state)
            due = due or live.save_is_due(self._clock.monotonic(), self.store.save_every_s)
        else:
            self._tasks[task_id] = state
        if lines is not None and number is None:
            self.store.append_log(task_id, *lines)
        if due or (lines is not None and number is not None):
            # With its number in one go: after a crash a repetition adds neither counts nor lines.
            self.store.save(state, log=lines if number is not None else None)

    def _after(self, state: TaskState, live: Live, report: Report) -> TaskState:
        """Return what a report makes of a task that has not ended."""
        now, at = self._clock.monotonic(), self._clock.wall()
        live.hear(now)
        if state.status is Status.LOST:
            left = live.left(state, now, state.total)
            state = states.regain(state, at=at, elapsed_s=live.elapsed_s(now), **left)
        if len(report) > 1:
            state = begun(state, live, self._history, now=now, at=at)
        state = taken(state, live, report, now=now, at=at)
        number = report.get("reporter_seq", state.reporter_seq)
        return state if number == state.reporter_seq else replace(state, reporter_seq=number)

    def _end_by(self, report: Report, status: Status, live: Live) -> None:
        """End a task by its reporter's last report, which is stored whole or not at all."""
        task_id, error = report["task_id"], report.get("error")
        state = self._after(self._tasks[task_id], live, report)
        self._end(
            state,
            live,
            status,
            log=self._number(task_id, report["log"]) if report.get("log") else None,
            result=report.get("result"),
            error=None if error is None else TaskError(error["code"], error["message"]),
        )

    def _end(
        self,
        state: TaskState,
        live: Live,
        status: Status,
        *,
        log: tuple[int, Sequence[str]] | None,
        **fields: Any,
    ) -> None:
        now, task_id = self._clock.monotonic(), state.task_id
        live.ending = states.end(
            replace(state, steps=live.timed(state.steps, now)),
            status,
            at=self._clock.wall(),
            elapsed_s=self._elapsed_s(state, live),
            **fields,
        )
        self.store.save(live.ending, log=log, on_saved=lambda: self._show_end(task_id))

    def _retain(self, now: float) -> list[str]:
        crowded = len(self._tasks) - len(self._live) > self._retention.count
        if not crowded and now - self._retained < RETAIN_EVERY_S:
            return []
        self._retained = now
        ended = [s for i, s in self._tasks.items() if i not in self._live]
        gone = surplus(
            ended,
            lambda state: self._sizes[state.task_id],
            retention=self._retention,
            now_at=self._clock.wall(),
        )
        for task_id in gone:
            self._forget(task_id)
        return gone

    def _forget(self, task_id: str) -> None:
        super()._forget(task_id)
        self._sizes.pop(task_id, None)

    def _show_end(self, task_id: str) -> None:
        live = self._live.get(task_id)
        ending = None if live is None else live.ending
        if ending is None:
            return
        size = size_bytes(ending)  # outside of the lock: large results take their time
        with self._lock:
            if self._live.get(task_id) is not live:
                return
            del self._live[task_id]
            self._sizes[task_id] = size
            self._listing.end(task_id)
            self._put(ending)
            if not ending.leave:
                self._passing[task_id] = self._clock.monotonic()
        self.on_change()
