"""A store that forgets everything with its process."""

from __future__ import annotations

import threading as stdlib_threading
from collections.abc import Callable, Mapping, Sequence

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import LogPage, Threading
from socketprogress.core.state import TaskState
from socketprogress.stores.backlog import newest
from socketprogress.stores.logtail import LogTail, page
from socketprogress.stores.worker import Worker

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps tasks in this process's memory; a `Store`."""

    save_every_s = 0.5
    is_shared = False

    def __init__(self, *, threading: Threading = stdlib_threading) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, TaskState] = {}
        self._logs: dict[str, LogTail] = {}
        self._meta: dict[str, str] = {}
        self._closed = False
        self._callbacks = Worker("socketprogress-store", threading=threading)

    def load(self) -> list[TaskState]:
        """Return every task, oldest first."""
        with self._lock:
            return sorted(self._states.values(), key=lambda state: state.created_at)

    def save(
        self,
        state: TaskState,
        *,
        log: tuple[int, Sequence[str]] | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        """Keep the newest state of a task and call back from the store's thread."""
        with self._lock:
            if self._closed:
                return
            self._states[state.task_id] = newest(self._states.get(state.task_id), state)
            if log is not None and log[1]:
                self._logs.setdefault(state.task_id, LogTail()).append(*log)
            if on_saved is not None:
                self._callbacks.submit(on_saved)

    def append_log(self, task_id: str, offset: int, lines: Sequence[str]) -> None:
        """Keep log lines, the first of which has the number `offset`."""
        with self._lock:
            if lines and not self._closed:
                self._logs.setdefault(task_id, LogTail()).append(offset, lines)

    def read_log(self, task_id: str, offset: int, limit: int) -> LogPage:
        """Return at most `limit` lines from `offset` on, or from the end if it is negative."""
        with self._lock:
            tail = self._logs.get(task_id, LogTail())
            return page(tail.chunks, offset, limit, end=tail.end)

    def log_sizes(self) -> Mapping[str, int]:
        """Return the next line number of every task that has a log."""
        with self._lock:
            return {task_id: tail.end for task_id, tail in self._logs.items()}

    def delete(self, task_ids: Sequence[str]) -> None:
        """Forget tasks and their logs."""
        with self._lock:
            for task_id in task_ids:
                self._states.pop(task_id, None)
                self._logs.pop(task_id, None)

    def get_meta(self, key: str) -> str | None:
        """Return a value kept by `set_meta`."""
        with self._lock:
            return self._meta.get(key)

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value.

        Raises:
            StoreError: the store is closed.
        """
        with self._lock:
            if self._closed:
                raise StoreError("the store is closed")
            self._meta[key] = value

    def problem(self) -> str | None:
        """Return None: memory never refuses."""
        return None

    def lag(self) -> tuple[int, float]:
        """Return that nothing waits."""
        return 0, 0.0

    def close(self, timeout_s: float = 5.0) -> None:
        """Call back whom it owes a call, and stop."""
        with self._lock:
            self._closed = True
        self._callbacks.close(timeout_s)
