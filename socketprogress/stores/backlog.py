"""What waits to be written: of each task the newest state and the newest lines only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from socketprogress.core.state import TaskState
from socketprogress.stores.logtail import Chunk, LogTail

__all__ = ["Backlog", "newest"]


def newest(before: TaskState | None, state: TaskState) -> TaskState:
    """Return the state to keep: the later one, unless the task has ended before it."""
    return before if before is not None and before.ended and not state.ended else state


class Backlog:
    """Changes to a store that are written in one go: the deletions first, then all the rest.

    It is bounded by the number of tasks, not by the time that the disk refuses.
    """

    __slots__ = ("callbacks", "deleted", "logs", "meta", "states", "synced")

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self.states: dict[str, TaskState] = {}
        self.logs: dict[str, LogTail] = {}
        self.meta: dict[str, str] = {}
        self.callbacks: list[Callable[[], None]] = []
        self.synced = False

    def __bool__(self) -> bool:
        return bool(self.states or self.logs or self.deleted or self.meta or self.callbacks)

    @property
    def size(self) -> int:
        """The number of tasks that wait, with their states, their lines or to be forgotten."""
        return len(self.states.keys() | self.logs.keys() | self.deleted)

    def save(self, state: TaskState, on_saved: Callable[[], None] | None) -> None:
        """Take a task's newest state; one that has ended stays so."""
        self.states[state.task_id] = newest(self.states.get(state.task_id), state)
        if on_saved is not None:
            self.call(on_saved)

    def call(self, written: Callable[[], None]) -> None:
        """Call this once everything so far is synced to the disk."""
        self.callbacks.append(written)
        self.synced = True

    def append(self, task_id: str, chunks: Iterable[Chunk]) -> None:
        """Take a task's newest log lines."""
        self.logs.setdefault(task_id, LogTail()).extend(chunks)

    def delete(self, task_ids: Iterable[str]) -> None:
        """Take the tasks away; their callbacks stay, for whoever waits."""
        for task_id in task_ids:
            self.deleted.add(task_id)
            self.states.pop(task_id, None)
            self.logs.pop(task_id, None)

    def followed_by(self, newer: Backlog) -> Backlog:
        """Take all of what came later, and return self."""
        self.delete(newer.deleted)
        for state in newer.states.values():
            self.save(state, None)
        for task_id, tail in newer.logs.items():
            self.append(task_id, tail.chunks)
            self.logs[task_id].dropped += tail.dropped
        self.meta |= newer.meta
        self.callbacks += newer.callbacks
        self.synced = self.synced or newer.synced
        return self

    def chunks(self, task_id: str) -> Sequence[Chunk]:
        """Return the lines of a task that wait."""
        tail = self.logs.get(task_id)
        return tuple(tail.chunks) if tail else ()

    def describe(self) -> str:
        """Return in a few words how much waits."""
        lines = sum(tail.lines for tail in self.logs.values())
        return f"{len(self.states)} task states and {lines} log lines"
