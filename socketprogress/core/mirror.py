"""Tasks that other processes speak for, where several share one store.

Each task has one process that speaks for it: the one whose epoch it has. All others mirror its states,
as they come, under its epoch and its numbers. Whoever takes a task over raises its `term`, so that of
any two states everybody knows the newer one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from socketprogress.core.board import Board
from socketprogress.core.errors import AlreadyRunning
from socketprogress.core.intake import Live, awake
from socketprogress.core.ports import Clock, Lock, Store
from socketprogress.core.retention import size_bytes
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status

__all__ = ["DIRECT", "LEASE_S", "Mirror"]

DIRECT = "direct."
"""What the epochs of processes begin with that share a store and are no servers."""
LEASE_S = 30.0
PASSING_S = 60.0


class Mirror(Board):
    """The newest state of every task, whoever speaks for it.

    Args:
        store: what survives.
        clock: both clocks.
        epoch: names this process, and its count of sequence numbers.
        lock: a native, re-entrant lock; held for computations only.
        on_change: called, from any thread, when there is something to `drain` again.

    Attributes:
        on_superseded: called with the id of a task that this process spoke for and no longer does.
        retains: whether this process forgets what retention no longer keeps; of several, one does.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        epoch: str,
        lock: Lock | None = None,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(store=store, lock=lock, on_change=on_change)
        self.epoch = epoch
        self.on_superseded: Callable[[str], None] = lambda _: None
        self.retains = True
        self._clock = clock
        self._sizes: dict[str, int] = {}
        self._gone: list[str] = []

    def mirror(self, states: Iterable[TaskState]) -> None:
        """Show what other processes say of their tasks; what is not newer changes nothing."""
        superseded = []
        with self._lock:
            for state in states:
                if self._is_news(state):
                    live = self._live.get(state.task_id)
                    if live is not None and not live.foreign:
                        superseded.append(state.task_id)
                    self._mirror(state)
        self.on_change()
        for task_id in superseded:
            self.on_superseded(task_id)

    def mirror_log(self, task_id: str, offset: int, lines: Sequence[str]) -> None:
        """Show lines that another process has added to a task's log."""
        with self._lock:
            known = self.log_next(task_id)
            if task_id in self._tasks and offset + len(lines) > known:
                new = lines[max(known - offset, 0) :]
                self._log_next[task_id] = offset + len(lines) - len(new)
                self._number(task_id, new)
        self.on_change()

    def mirror_deleted(self, task_ids: Iterable[str]) -> None:
        """Forget tasks that another process has forgotten; one that this process speaks for stays."""
        with self._lock:
            for task_id in task_ids:
                live = self._live.get(task_id)
                if task_id in self._tasks and (live is None or live.foreign):
                    self._live.pop(task_id, None)
                    self._forget(task_id)
                    self._gone.append(task_id)
        self.on_change()

    def let_go(self, task_ids: Iterable[str]) -> None:
        """Forget ended tasks here alone: the store keeps them, and so do all others."""
        self.mirror_deleted(task_ids)
        with self._lock:
            self._take_gone()

    def discard(self, task_id: str) -> bool:
        """Forget a task as if it had never been, unless somebody has begun it; return whether it is gone."""
        with self._lock:
            state, live = self._tasks.get(task_id), self._live.get(task_id)
            if state is None:
                return True
            if state.status is not Status.QUEUED or live is None or live.closed:
                return False
            del self._live[task_id]
            self._forget(task_id)
            self.store.delete([task_id])
        self.on_change()
        return True

    def is_foreign(self, task_id: str) -> bool:
        """Return whether another process speaks for a task that has not ended."""
        live = self._live.get(task_id)
        return live is not None and live.foreign

    def answers_for(self, state: TaskState) -> bool:
        """Return whether of all servers this is the one that tells others what becomes of a task.

        It is the one that speaks for it; where a process does that is no server, the one that `retains`.
        """
        return state.epoch == self.epoch or (self.retains and state.epoch.startswith(DIRECT))

    def speakers(self) -> dict[str, list[str]]:
        """Return the ids of the foreign tasks by the epoch of who speaks for them."""
        found: dict[str, list[str]] = {}
        with self._lock:
            for task_id, live in self._live.items():
                if live.foreign:
                    found.setdefault(self._tasks[task_id].epoch, []).append(task_id)
        return found

    def adopt(self, task_id: str) -> TaskState:
        """Speak for a task from now on, its lease anew, if another process did; return its state.

        Raises:
            UnknownTask: there is no such task.
        """
        with self._lock:
            state, live = self.get(task_id), self._live.get(task_id)
            if live is None or not live.foreign:
                return state
            state = replace(state, epoch=self.epoch, term=state.term + 1, seq=state.seq + 1)
            state, live = self._resumed(state)
            live.usual = self._history.usual(state)
            self._live[task_id] = live
            self._put(state)
            self.store.save(state)
        self.on_change()
        return state

    def log(self, task_id: str, lines: Sequence[str]) -> None:
        """Add lines to a task's log."""
        with self._lock:
            if lines and task_id in self._tasks:
                self.store.append_log(task_id, *self._number(task_id, lines))
        self.on_change()

    def save_all(self) -> None:
        """Have the store keep the newest state of every task that has not ended."""
        with self._lock:
            for task_id, live in self._live.items():
                if not live.closed:
                    self.store.save(self._tasks[task_id])

    def problems(self) -> list[str]:
        """Return why this hub is degraded at present; empty when all is well."""
        return [problem for problem in (self.store.problem(),) if problem is not None]

    # -- inside, under the lock ------------------------------------------------------------------

    def _resumed(self, state: TaskState) -> tuple[TaskState, Live]:
        """Return a state that another process has stored, as it goes on here, its lease anew."""
        now, at = self._clock.monotonic(), self._clock.wall()
        lease_s = state.lease_s or LEASE_S
        state = awake(state, at=at, lease_s=lease_s)
        return state, Live.resumed(state, now, at=at, lease_s=lease_s)

    def _check_room(self, name: str, source: str, most: int | None) -> None:
        if most is None:
            return
        running = [i for i in self.active(name) if self._tasks[i].source == source]
        if len(running) >= most:
            raise AlreadyRunning(
                f"{name} runs {len(running)} times already and {most} is its most", running=running
            )

    def _elapsed_s(self, state: TaskState, live: Live | None) -> float | None:
        if live is None or state.started_at is None:
            return None
        return live.elapsed_s(self._clock.monotonic())

    def _is_news(self, state: TaskState) -> bool:
        known = self._tasks.get(state.task_id)
        if state.epoch == self.epoch:
            return False  # our own, as the store has told everybody
        if known is None:
            return True
        if known.ended or state.ended:
            return not known.ended  # what has ended in the store has ended for all
        if known.epoch == state.epoch:
            return (state.term, state.seq) > (known.term, known.seq)
        # At the same term the store has believed this one first, and refused all others.
        return state.term >= known.term

    def _mirror(self, state: TaskState) -> None:
        now, task_id = self._clock.monotonic(), state.task_id
        if state.ended:
            if self._live.pop(task_id, None) is not None:
                self._listing.end(task_id)
            self._sizes[task_id] = size_bytes(state)
            if not state.leave:
                self._passing[task_id] = now
        elif not self.is_foreign(task_id):
            self._live[task_id] = Live(now, foreign=True)
        self._put(state)

    def _pass(self, now: float) -> list[str]:
        gone = [i for i, ended in self._passing.items() if now - ended > PASSING_S]
        for task_id in gone:
            self._forget(task_id)
        return gone

    def _take_gone(self) -> list[str]:
        """Return what other processes have forgotten since the last call."""
        gone, self._gone = self._gone, []
        return gone
