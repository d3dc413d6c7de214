"""A store that writes behind its callers: one native thread writes, another reads, nobody waits."""

from __future__ import annotations

import logging
import threading as stdlib_threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeVar

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import LogPage, Threading
from socketprogress.core.state import TaskState
from socketprogress.stores.backlog import Backlog, newest
from socketprogress.stores.logtail import Chunk, chunked, page
from socketprogress.stores.worker import Worker, call_safely

__all__ = ["WriteBehind"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class WriteBehind(ABC):
    """Most of a `Store`; a subclass knows where things are kept.

    What nobody waits for goes out at once too, but not sooner than `rest_s` seconds after the last writing.
    While that place refuses, the newest state of each task and the newest lines of its log wait in
    memory, and are tried again at least once a second. A callback must not block on the store.

    Args:
        where: the place, in words for a log.
        threading: where threads and locks come from.
        monotonic: the clock for time-outs, in seconds.
    """

    save_every_s = 0.5
    is_shared = False
    rest_s = 0.03
    retry_s: ClassVar[tuple[float, float]] = (0.05, 1.0)
    hanging_s = 5.0
    read_timeout_s = 5.0
    load_timeout_s = 60.0
    stop_s = 0.25
    errors: tuple[type[Exception], ...]
    """What reading may raise."""

    def __init__(
        self,
        where: str,
        *,
        threading: Threading = stdlib_threading,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where
        self._threading = threading
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = Backlog()
        self._writing: Backlog | None = None
        self._writing_since = 0.0
        self._waiting_since: float | None = None
        self._oldest: float | None = None
        self._asleep = self._resting = self._closed = False
        self._rested = 0.0
        self._deadline = 0.0
        self._problem: str | None = None
        self._reader = Worker("socketprogress-store-reader", threading=threading)
        self._writer = threading.Thread(
            target=self._run, name="socketprogress-store-writer", daemon=True
        )

    # -- what a subclass does --------------------------------------------------------------------

    @abstractmethod
    def _write(self, batch: Backlog) -> None:
        """Write all of it, a state and its log lines in one go; if it raises, all is tried again."""

    @abstractmethod
    def _drop_writes(self) -> None:
        """Let go of what writing has opened."""

    @abstractmethod
    def _drop_reads(self) -> None:
        """Let go of what reading has opened."""

    @abstractmethod
    def _stored_states(self) -> dict[str, TaskState]:
        """Return every task by its id, in the order of their first saving."""

    @abstractmethod
    def _stored_log_ends(self) -> dict[str, int]:
        """Return the next line number of every log."""

    @abstractmethod
    def _stored_meta(self, key: str) -> str | None:
        """Return a small value, or None."""

    @abstractmethod
    def _stored_chunks(
        self, task_id: str, offset: int, limit: int, *, known_end: int
    ) -> tuple[list[Chunk], int]:
        """Return the chunks that hold `limit` lines from `offset` on, and the end of the log."""

    @abstractmethod
    def _reason(self, error: Exception) -> str:
        """Return in one line why a read or a write fails."""

    @abstractmethod
    def _tidy(self, is_wanted: Callable[[], bool]) -> None:
        """Tidy up after a deletion, as long as `is_wanted` says so."""

    # -- the port ----------------------------------------------------------------------------------

    def load(self) -> list[TaskState]:
        """Return every task, oldest first; what cannot be decoded is logged and left out.

        Raises:
            StoreError: it cannot be read.
        """
        known = self._known()
        stored = self._read(self._stored_states, timeout_s=self.load_timeout_s)
        for task_id in known.deleted:
            stored.pop(task_id, None)
        for task_id, state in known.states.items():
            stored[task_id] = newest(stored.get(task_id), state)
        return sorted(stored.values(), key=lambda state: state.created_at)

    def save(
        self,
        state: TaskState,
        *,
        log: tuple[int, Sequence[str]] | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        """Keep the newest state of a task; see `Store.save`."""
        chunks = [] if log is None else list(chunked(*log))
        with self._lock:  # in half the condition's time, and there are thousands a second
            if self._open_for("a task's state"):
                self._waiting.save(state, on_saved)
                if chunks:
                    self._waiting.append(state.task_id, chunks)
                self._wake()

    def when_written(self, callback: Callable[[], None]) -> None:
        """Call back, once and from the store's thread, when everything so far is kept for good."""
        with self._changed:
            if self._open_for("a question"):
                self._waiting.call(callback)
                self._wake()

    def append_log(self, task_id: str, offset: int, lines: Sequence[str]) -> None:
        """Keep log lines, the first of which has the number `offset`."""
        chunks = list(chunked(offset, lines))
        if not chunks:
            return
        with self._changed:
            if self._open_for("log lines"):
                self._waiting.append(task_id, chunks)
                self._wake()

    def read_log(self, task_id: str, offset: int, limit: int) -> LogPage:
        """Return at most `limit` lines; what waits to be written alone, if reading hangs.

        Raises:
            StoreError: it cannot be read, and nothing of this log waits.
        """
        deleted, waiting = self._known_log(task_id)
        end = max((chunk.end for chunk in waiting), default=0)
        chunks: dict[int, Chunk] = {}
        if not deleted:
            try:
                stored, end = self._read(
                    lambda: self._stored_chunks(task_id, offset, limit, known_end=end)
                )
                chunks = {chunk.offset: chunk for chunk in stored}
            except StoreError as error:
                if not waiting:
                    raise
                log.warning("a log is shown in part: %s", error)
        chunks |= {chunk.offset: chunk for chunk in waiting}
        return page([chunks[first] for first in sorted(chunks)], offset, limit, end=end)

    def log_sizes(self) -> Mapping[str, int]:
        """Return the next line number of every task that has a log.

        Raises:
            StoreError: it cannot be read.
        """
        known = self._known()
        ends = self._read(self._stored_log_ends, timeout_s=self.load_timeout_s)
        for task_id in known.deleted:
            ends.pop(task_id, None)
        for task_id, tail in known.logs.items():
            ends[task_id] = max(ends.get(task_id, 0), tail.end)
        return ends

    def delete(self, task_ids: Sequence[str]) -> None:
        """Forget tasks and their logs."""
        with self._changed:
            if task_ids and self._open_for("a deletion"):
                self._waiting.delete(task_ids)
                self._wake()

    def get_meta(self, key: str) -> str | None:
        """Return a value kept by `set_meta`.

        Raises:
            StoreError: it cannot be read.
        """
        waiting = self._known().meta
        if key in waiting:
            return waiting[key]
        return self._read(lambda: self._stored_meta(key))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value and wait until it is kept for good.

        Raises:
            StoreError: it has not been taken yet; it is tried again all the same.
        """
        written = self._threading.Event()
        with self._changed:
            if self._closed:
                raise StoreError(f"the store {self._where} is closed")
            self._waiting.meta[key] = value
            self._waiting.call(written.set)
            self._wake()
        if not written.wait(self.read_timeout_s):
            raise StoreError(self.problem() or f"the store {self._where} does not answer")

    def problem(self) -> str | None:
        """Return one line on why writing fails or hangs at present, or None."""
        with self._changed:
            if self._problem is not None or self._writing is None:
                return self._problem
            since = self._monotonic() - self._writing_since
            if since < self.hanging_s:
                return None
            return f"writing to {self._where} has been hanging for {since:.0f} s"

    def lag(self) -> tuple[int, float]:
        """Return how many tasks wait to be written, and for how many seconds the oldest change has."""
        with self._changed:
            count = self._waiting.size + (0 if self._writing is None else self._writing.size)
            since = self._waiting_since if self._oldest is None else self._oldest
            return count, 0.0 if since is None else self._monotonic() - since

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop; what was not taken in time is logged."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._deadline = self._monotonic() + timeout_s
            self._changed.notify_all()
        self._reader.submit(self._drop_reads)
        self._reader.close(timeout_s)
        if self._writer is not self._threading.current_thread():
            self._writer.join(timeout_s + self.stop_s)
        left = self._known()
        if left:
            log.error("closing %s: %s could not be written", self._where, left.describe())

    # -- what waits --------------------------------------------------------------------------------

    def _open_for(self, what: str) -> bool:
        if self._closed:
            log.warning("%s came after the store was closed, and is lost", what)
        return not self._closed

    def _wake(self) -> None:
        """Wake the writer where it has to be: each needless wake costs the caller a switch."""
        if self._waiting_since is None:
            self._waiting_since = self._monotonic()
        if self._asleep or (self._resting and self._waiting.synced):
            self._asleep = self._resting = False
            self._changed.notify_all()

    def _known(self) -> Backlog:
        with self._changed:
            known = Backlog()
            if self._writing is not None:
                known.followed_by(self._writing)
            return known.followed_by(self._waiting)

    def _known_log(self, task_id: str) -> tuple[bool, list[Chunk]]:
        """Return whether what is stored of a log is void, and the lines that wait."""
        with self._changed:
            newest = list(self._waiting.chunks(task_id))
            if task_id in self._waiting.deleted:
                return True, newest
            if self._writing is None:
                return False, newest
            deleted = task_id in self._writing.deleted
            return deleted, [*self._writing.chunks(task_id), *newest]

    def _read(self, question: Callable[[], T], *, timeout_s: float | None = None) -> T:
        def ask() -> T:
            try:
                return question()
            except self.errors:
                self._drop_reads()
                raise

        try:
            return self._reader.ask(ask, timeout_s=timeout_s or self.read_timeout_s)
        except Exception as error:
            if not isinstance(error, (*self.errors, TimeoutError)):
                raise
            raise StoreError(f"cannot read {self._where}: {self._reason(error)}") from error

    # -- the writer's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        delay = self.retry_s[0]
        while (batch := self._next()) is not None:
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - whatever refuses now may heal
                self._put_back(batch, error)
                if self._wait(delay):
                    break
                delay = min(delay * 2, self.retry_s[1])
            else:
                delay = self.retry_s[0]
                self._written(batch)
        self._drop_writes()

    def _next(self) -> Backlog | None:
        """Return what waits, once something does, or None when the store is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._asleep = True
                self._changed.wait()
            self._asleep = False
            rest_s = self._rested - self._monotonic()
            if rest_s > 0 and not self._waiting.synced and not self._closed:
                self._resting = True
                self._changed.wait(rest_s)
                self._resting = False
            self._writing, self._waiting = self._waiting, Backlog()
            self._oldest, self._waiting_since = self._waiting_since, None
            self._writing_since = self._monotonic()
            return self._writing

    def _written(self, batch: Backlog) -> None:
        with self._changed:
            self._rested = self._monotonic() + self.rest_s
            self._writing = self._oldest = None
            healed, self._problem = self._problem, None
        if healed:
            dropped = sum(tail.dropped for tail in batch.logs.values())
            log.warning("writing to %s works again; %d log lines lost", self._where, dropped)
        for callback in batch.callbacks:
            call_safely(callback)
        if batch.deleted:
            self._tidy(self._is_idle)

    def _is_idle(self) -> bool:
        """Return whether there is time to tidy up."""
        if self._closed and self._monotonic() >= self._deadline:
            return False
        return not self._waiting

    def _put_back(self, batch: Backlog, error: Exception) -> None:
        with self._changed:
            known = self._problem is not None
            self._waiting = batch.followed_by(self._waiting)
            self._waiting_since = self._oldest
            self._writing = self._oldest = None
            self._problem = f"cannot write {self._where}: {self._reason(error)}"
        if not known:
            trace = None if isinstance(error, self.errors) else error
            log.error("%s; trying again until it works", self._problem, exc_info=trace)
        self._drop_writes()

    def _wait(self, delay: float) -> bool:
        """Wait before the next try; return whether it is time to give up."""
        with self._changed:
            left = self._deadline - self._monotonic() if self._closed else delay
            if left > 0:
                self._changed.wait(min(delay, left))
            return self._closed and left <= 0
