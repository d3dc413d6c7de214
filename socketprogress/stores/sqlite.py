"""The store in one SQLite file: one native thread writes, another reads, nobody waits for them."""

from __future__ import annotations

import logging
import sqlite3
import threading as stdlib_threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import LogPage, Threading
from socketprogress.core.state import TaskState
from socketprogress.stores import schema, tables
from socketprogress.stores.backlog import Backlog, newest
from socketprogress.stores.logtail import Chunk, chunked, page
from socketprogress.stores.worker import Worker, call_safely

__all__ = ["SqliteStore"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class SqliteStore:
    """Keeps tasks in a file that survives SIGKILL and power loss; a `Store`.

    Plain states may be lost with the power of their last moments; what was called back, never.
    While the disk refuses, the newest state of each task and the newest lines of its log wait in
    memory, and are tried again at least once a second. A callback must not block on the store.

    Args:
        path: the file, in a folder that exists.
        threading: where threads and locks come from.
        monotonic: the clock for time-outs, in seconds.

    Raises:
        StoreError: the file cannot be opened.
    """

    linger_s = 0.03
    busy_s = 0.25
    retry_s = (0.05, 1.0)
    hanging_s = 5.0
    read_timeout_s = 5.0
    load_timeout_s = 60.0

    def __init__(
        self,
        path: Path,
        *,
        threading: Threading = stdlib_threading,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._threading = threading
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting = Backlog()
        self._writing: Backlog | None = None
        self._writing_since = 0.0
        self._asleep = self._lingering = self._closed = False
        self._deadline = 0.0
        self._problem: str | None = None
        self._writes: sqlite3.Connection | None = schema.open_database(path)
        self._writes.execute(f"PRAGMA busy_timeout = {int(self.busy_s * 1000)}")
        self._reads: sqlite3.Connection | None = None
        self._reader = Worker("socketprogress-store-reader", threading=threading)
        self._writer = threading.Thread(
            target=self._run, name="socketprogress-store-writer", daemon=True
        )
        self._writer.start()

    def load(self) -> list[TaskState]:
        """Return every task, oldest first; what cannot be decoded is logged and left out.

        Raises:
            StoreError: the file cannot be read.
        """
        known = self._known()
        stored = self._read(tables.read_states, timeout_s=self.load_timeout_s)
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
        with self._changed:
            if self._open_for("a task's state"):
                self._waiting.save(state, on_saved)
                if chunks:
                    self._waiting.append(state.task_id, chunks)
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
        """Return at most `limit` lines; what waits to be written alone, if the disk hangs.

        Raises:
            StoreError: the file cannot be read, and nothing of this log waits.
        """
        deleted, waiting = self._known_log(task_id)
        end = max((chunk.end for chunk in waiting), default=0)
        chunks: dict[int, Chunk] = {}
        if not deleted:
            try:
                stored, end = self._read(
                    lambda reads: tables.read_chunks(reads, task_id, offset, limit, known_end=end)
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
            StoreError: the file cannot be read.
        """
        known = self._known()
        ends = self._read(tables.read_log_ends, timeout_s=self.load_timeout_s)
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
            StoreError: the file cannot be read.
        """
        waiting = self._known().meta
        if key in waiting:
            return waiting[key]
        return self._read(lambda reads: tables.read_meta(reads, key))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value and wait until it is on the disk.

        Raises:
            StoreError: the disk has not taken it yet; it is tried again all the same.
        """
        written = self._threading.Event()
        with self._changed:
            if self._closed:
                raise StoreError(f"the store {self._path} is closed")
            self._waiting.meta[key] = value
            self._waiting.call(written.set)
            self._wake()
        if not written.wait(self.read_timeout_s):
            raise StoreError(self.problem() or f"the disk of {self._path} does not answer")

    def problem(self) -> str | None:
        """Return one line on why writing fails or hangs at present, or None."""
        with self._changed:
            if self._problem is not None or self._writing is None:
                return self._problem
            since = self._monotonic() - self._writing_since
            if since < self.hanging_s:
                return None
            return f"writing to {self._path} has been hanging for {since:.0f} s"

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop; what the disk has not taken in time is logged."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._deadline = self._monotonic() + timeout_s
            self._changed.notify_all()
        self._reader.submit(self._close_reads)
        self._reader.close(timeout_s)
        if self._writer is not self._threading.current_thread():
            self._writer.join(timeout_s + self.busy_s)
        left = self._known()
        if left:
            log.error("closing %s: %s could not be written", self._path, left.describe())

    def _open_for(self, what: str) -> bool:
        if self._closed:
            log.warning("%s came after the store was closed, and is lost", what)
        return not self._closed

    def _wake(self) -> None:
        """Wake the writer where it has to be: each needless wake costs the caller a switch."""
        if self._asleep or (self._lingering and self._waiting.synced):
            self._asleep = self._lingering = False
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

    def _read(
        self, question: Callable[[sqlite3.Connection], T], *, timeout_s: float | None = None
    ) -> T:
        def ask() -> T:
            if self._reads is None:
                self._reads = schema.connect(self._path, busy_s=self.read_timeout_s / 2)
                self._reads.execute("PRAGMA query_only = ON")
            try:
                return question(self._reads)
            except sqlite3.Error:
                self._close_reads()
                raise

        try:
            return self._reader.ask(ask, timeout_s=timeout_s or self.read_timeout_s)
        except (sqlite3.Error, TimeoutError) as error:
            raise StoreError(f"cannot read {self._path}: {schema.reason(error)}") from error

    def _close_reads(self) -> None:
        if self._reads is not None:
            self._reads.close()
            self._reads = None

    def _run(self) -> None:
        delay = self.retry_s[0]
        while (batch := self._next()) is not None:
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - a full, locked or broken disk may heal
                self._put_back(batch, error)
                if self._wait(delay):
                    break
                delay = min(delay * 2, self.retry_s[1])
            else:
                delay = self.retry_s[0]
                self._written(batch)
        self._close_writes()

    def _next(self) -> Backlog | None:
        """Return what waits, once something does, or None when the store is closed."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._asleep = True
                self._changed.wait()
            self._asleep = False
            if not self._waiting.synced and not self._closed:
                self._lingering = True
                self._changed.wait(self.linger_s)
                self._lingering = False
            self._writing, self._waiting = self._waiting, Backlog()
            self._writing_since = self._monotonic()
            return self._writing

    def _write(self, batch: Backlog) -> None:
        if self._writes is None:
            self._writes = schema.connect(self._path, busy_s=self.busy_s)
        tables.write(self._writes, batch)

    def _written(self, batch: Backlog) -> None:
        with self._changed:
            self._writing = None
            healed, self._problem = self._problem, None
        if healed:
            dropped = sum(tail.dropped for tail in batch.logs.values())
            log.warning("writing to %s works again; %d log lines lost", self._path, dropped)
        for callback in batch.callbacks:
            call_safely(callback)
        if batch.deleted and self._writes is not None:
            self._shrink(self._writes)

    def _shrink(self, writes: sqlite3.Connection) -> None:
        try:
            while tables.shrink(writes) and not self._waiting:
                if self._closed and self._monotonic() >= self._deadline:
                    break
        except sqlite3.Error as error:
            log.warning("%s does not shrink for now: %s", self._path, schema.reason(error))

    def _put_back(self, batch: Backlog, error: Exception) -> None:
        with self._changed:
            known = self._problem is not None
            self._waiting = batch.followed_by(self._waiting)
            self._writing = None
            self._problem = f"cannot write {self._path}: {schema.reason(error)}"
        if not known:
            log.error("%s; trying again until it works", self._problem, exc_info=error)
        self._close_writes()

    def _wait(self, delay: float) -> bool:
        """Wait before the next try; return whether it is time to give up."""
        with self._changed:
            left = self._deadline - self._monotonic() if self._closed else delay
            if left > 0:
                self._changed.wait(min(delay, left))
            return self._closed and left <= 0

    def _close_writes(self) -> None:
        try:
            if self._writes is not None:
                self._writes.close()
        except sqlite3.Error as error:
            log.warning("closing %s: %s", self._path, schema.reason(error))
        finally:
            self._writes = None
