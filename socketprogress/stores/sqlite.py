"""The store in one SQLite file."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading as stdlib_threading
import time
from collections.abc import Callable
from pathlib import Path

from socketprogress.core.errors import StoreError
from socketprogress.core.ports import Threading
from socketprogress.core.state import TaskState
from socketprogress.stores import schema, tables
from socketprogress.stores.backlog import Backlog
from socketprogress.stores.behind import WriteBehind
from socketprogress.stores.logtail import Chunk

__all__ = ["SqliteStore", "read_only"]

log = logging.getLogger(__name__)


class SqliteStore(WriteBehind):
    """Keeps tasks in a file that survives SIGKILL and power loss; a `Store`.

    Plain states may be lost with the power of their last moments; what was called back, never.

    Args:
        path: the file, in a folder that exists.
        threading: where threads and locks come from.
        monotonic: the clock for time-outs, in seconds.

    Raises:
        StoreError: the file cannot be opened.
    """

    busy_s = 0.25
    errors = (sqlite3.Error,)

    def __init__(
        self,
        path: Path,
        *,
        threading: Threading = stdlib_threading,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(str(path), threading=threading, monotonic=monotonic)
        self._path = path
        self._writes: sqlite3.Connection | None = schema.open_database(path)
        self._writes.execute(f"PRAGMA busy_timeout = {int(self.busy_s * 1000)}")
        self._reads: sqlite3.Connection | None = None
        self._writer.start()

    def _stored_states(self) -> dict[str, TaskState]:
        return tables.read_states(self._reading())

    def _stored_log_ends(self) -> dict[str, int]:
        return tables.read_log_ends(self._reading())

    def _stored_meta(self, key: str) -> str | None:
        return tables.read_meta(self._reading(), key)

    def _stored_chunks(
        self, task_id: str, offset: int, limit: int, *, known_end: int
    ) -> tuple[list[Chunk], int]:
        return tables.read_chunks(self._reading(), task_id, offset, limit, known_end=known_end)

    def _reason(self, error: Exception) -> str:
        return schema.reason(error)

    def _reading(self) -> sqlite3.Connection:
        if self._reads is None:
            self._reads = schema.connect(self._path, busy_s=self.read_timeout_s / 2)
            self._reads.execute("PRAGMA query_only = ON")
        return self._reads

    def _drop_reads(self) -> None:
        if self._reads is not None:
            self._reads.close()
            self._reads = None

    def _write(self, batch: Backlog) -> None:
        if self._writes is None:
            self._writes = schema.connect(self._path, busy_s=self.busy_s)
        tables.write(self._writes, batch)

    def _tidy(self, is_wanted: Callable[[], bool]) -> None:
        if self._writes is None:
            return
        try:
            while tables.shrink(self._writes) and is_wanted():
                pass
        except sqlite3.Error as error:
            log.warning("%s does not shrink for now: %s", self._path, schema.reason(error))

    def _drop_writes(self) -> None:
        try:
            if self._writes is not None:
                self._writes.close()
        except sqlite3.Error as error:
            log.warning("closing %s: %s", self._path, schema.reason(error))
        finally:
            self._writes = None


def read_only(path: Path) -> list[TaskState]:
    """Return the tasks in a file, oldest first, without writing to it; none if there is no file.

    Raises:
        StoreError: it cannot be read.
    """
    if not path.exists():
        return []
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            states = tables.read_states(connection).values()
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the store {path}: {schema.reason(error)}") from error
    return sorted(states, key=lambda state: state.created_at)
