"""The SQL of the SQLite store: what is read, and how a backlog is written."""

from __future__ import annotations

import logging
import sqlite3

from socketprogress.core.state import TaskState
from socketprogress.stores import codec
from socketprogress.stores.backlog import Backlog
from socketprogress.stores.logtail import MOST_BYTES, MOST_LINES, Chunk, LogTail

__all__ = ["read_chunks", "read_log_ends", "read_meta", "read_states", "shrink", "write"]

log = logging.getLogger(__name__)

_FREE_PAGES_KEPT = 256
_PAGES_A_STEP = 1000


def read_states(connection: sqlite3.Connection) -> dict[str, TaskState]:
    """Return every task by its id, in the order of their first saving; log what is unreadable."""
    states = {}
    for task_id, blob in connection.execute("SELECT task_id, state FROM tasks ORDER BY id"):
        try:
            states[task_id] = codec.decode_state(blob)
        except (ValueError, TypeError) as error:
            log.warning("task %s cannot be read from the store and is left out: %s", task_id, error)
    return states


def read_log_ends(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the next line number of every log."""
    return dict(connection.execute("SELECT task_id, next_offset FROM logs"))


def read_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """Return a small value, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def read_chunks(
    connection: sqlite3.Connection, task_id: str, offset: int, limit: int, *, known_end: int
) -> tuple[list[Chunk], int]:
    """Return the chunks that hold `limit` lines from `offset` on, and the end of the log.

    Args:
        connection: the connection.
        task_id: the task.
        offset: the first line wanted; a negative one counts from the end.
        limit: how many lines are wanted.
        known_end: the end as far as it waits to be written, at least 0.
    """
    row = connection.execute("SELECT next_offset FROM logs WHERE task_id = ?", (task_id,))
    end = max([known_end, *(first for (first,) in row)])
    at = max(end + offset if offset < 0 else offset, end - MOST_LINES, 0)
    chunks: list[Chunk] = []
    wanted = limit
    rows = connection.execute(
        """SELECT first, bytes, text FROM log_chunks WHERE task_id = :task AND first >= coalesce(
               (SELECT max(first) FROM log_chunks WHERE task_id = :task AND first <= :at), 0)
           ORDER BY first""",
        {"task": task_id, "at": at},
    )
    for first, size, text in rows:
        try:
            chunk = Chunk(first, tuple(codec.decode_lines(text)), size)
        except (ValueError, TypeError) as error:
            log.warning("lines from %d of task %s are left out: %s", first, task_id, error)
            continue
        chunks.append(chunk)
        wanted -= chunk.end - max(first, at) if chunk.end > at else 0
        if wanted <= 0:
            break
    return chunks, end


def write(connection: sqlite3.Connection, batch: Backlog) -> None:
    """Write all of it in one transaction, synced to the disk if the batch asks for that."""
    states = [(s.task_id, s.ended, codec.encode_state(s)) for s in batch.states.values()]
    connection.execute(f"PRAGMA synchronous = {'FULL' if batch.synced else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _delete(connection, batch.deleted)
        connection.executemany(
            """INSERT INTO tasks (task_id, ended, state) VALUES (?, ?, ?)
               ON CONFLICT (task_id) DO UPDATE SET ended = excluded.ended, state = excluded.state
               WHERE excluded.ended OR NOT tasks.ended""",
            states,
        )
        for task_id, tail in batch.logs.items():
            _append(connection, task_id, tail)
        connection.executemany("REPLACE INTO meta (key, value) VALUES (?, ?)", batch.meta.items())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some free pages back to the file system; return whether there are more."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free <= _FREE_PAGES_KEPT:
        return False
    pages = min(free - _FREE_PAGES_KEPT, _PAGES_A_STEP)
    # execute() would step once, and so free a single page
    connection.executescript(f"PRAGMA incremental_vacuum({pages})")
    if free - pages > _FREE_PAGES_KEPT:
        return True
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    return False


def _delete(connection: sqlite3.Connection, task_ids: set[str]) -> None:
    rows = [(task_id,) for task_id in task_ids]
    connection.executemany("DELETE FROM tasks WHERE task_id = ?", rows)
    connection.executemany("DELETE FROM logs WHERE task_id = ?", rows)
    connection.executemany("DELETE FROM log_chunks WHERE task_id = ?", rows)


def _append(connection: sqlite3.Connection, task_id: str, tail: LogTail) -> None:
    row = connection.execute(
        "SELECT next_offset, lines, bytes FROM logs WHERE task_id = ?", (task_id,)
    ).fetchone()
    end, lines, size = row or (0, 0, 0)
    for chunk in tail.chunks:
        new = chunk.since(end)
        if new is None:
            continue
        connection.execute(
            "INSERT INTO log_chunks (task_id, first, lines, bytes, text) VALUES (?, ?, ?, ?, ?)",
            (task_id, new.offset, len(new.lines), new.size_bytes, codec.encode_lines(new.lines)),
        )
        end, lines, size = new.end, lines + len(new.lines), size + new.size_bytes
    if lines > MOST_LINES or size > MOST_BYTES:
        lines, size = _trim(connection, task_id, lines, size)
    connection.execute("REPLACE INTO logs VALUES (?, ?, ?, ?)", (task_id, end, lines, size))


def _trim(connection: sqlite3.Connection, task_id: str, lines: int, size: int) -> tuple[int, int]:
    """Drop the oldest chunks beyond the bounds on a log; return its lines and bytes."""
    oldest = connection.execute(
        "SELECT first, lines, bytes FROM log_chunks WHERE task_id = ? ORDER BY first", (task_id,)
    )
    dropped = []
    for first, count, count_bytes in oldest:
        dropped.append((task_id, first))
        lines, size = lines - count, size - count_bytes
        if lines <= MOST_LINES and size <= MOST_BYTES:
            break
    oldest.close()
    connection.executemany("DELETE FROM log_chunks WHERE task_id = ? AND first = ?", dropped)
    return lines, size
