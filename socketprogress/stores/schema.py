"""Opening the SQLite file: its tables, its versions, and what is wrong with it."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from socketprogress.core.errors import StoreError

__all__ = ["APPLICATION_ID", "STEPS", "connect", "migrate", "open_database", "reason"]

log = logging.getLogger(__name__)

APPLICATION_ID = 0x53505247
_OPEN_BUSY_S = 5.0

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE tasks (
            id INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, ended INTEGER NOT NULL,
            state BLOB NOT NULL)""",
        """CREATE TABLE logs (
            task_id TEXT PRIMARY KEY, next_offset INTEGER NOT NULL, lines INTEGER NOT NULL,
            bytes INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE log_chunks (
            task_id TEXT NOT NULL, first INTEGER NOT NULL, lines INTEGER NOT NULL,
            bytes INTEGER NOT NULL, text BLOB NOT NULL, PRIMARY KEY (task_id, first))""",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    ),
)
"""The SQL that makes version n + 1 out of version n. What was released never changes."""


def connect(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Return a connection without implicit transactions, for one thread at a time.

    Args:
        path: the file.
        busy_s: how many seconds to wait for another process's lock.
    """
    return sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)


def open_database(path: Path) -> sqlite3.Connection:
    """Return a connection to the file, which is made or migrated where necessary.

    Raises:
        StoreError: the file cannot be opened or written, is none of ours or too new.
    """
    try:
        _make_private(path)
        connection = connect(path, busy_s=_OPEN_BUSY_S)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"cannot open the store {path}: {reason(error)}; give another --store or --data"
        ) from error
    return connection


def reason(error: Exception) -> str:
    """Return in one line why a file cannot be read or written."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "it is locked by another process"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def migrate(connection: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring the tables to the version `len(steps)`, each step whole or not at all."""
    while (version := _pragma(connection, "user_version")) < len(steps):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _pragma(connection, "user_version") == version:  # another process may be faster
                for statement in steps[version]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _make_private(path: Path) -> None:
    """Make the file with rights for its owner alone: it holds this installation's secrets.

    One that is there is left closed: closing it would drop the locks that this process may hold.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, f"no right to write to {place}")
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _is_new(connection, path):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has to precede the first table
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path} is on a file system without shared memory; use a local disk")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    migrate(connection)
    _forget_orphans(connection)


def _is_new(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is empty; refuse one that this version must not touch."""
    version = _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    ours = _pragma(connection, "application_id") == APPLICATION_ID
    if not ours and (version or tables):
        raise StoreError(f"{path} is the database of another program; give another --store")
    if version > len(STEPS):
        raise StoreError(
            f"{path} was written by a newer version of socketprogress (tables of version {version},"
            f" this one knows {len(STEPS)}); upgrade, or give another --store"
        )
    return not version


def _forget_orphans(connection: sqlite3.Connection) -> None:
    """Drop the logs of tasks that are gone: lines that came after the deletion."""
    try:
        orphans = connection.execute(
            "SELECT task_id FROM logs WHERE task_id NOT IN (SELECT task_id FROM tasks)"
        ).fetchall()
        connection.executemany("DELETE FROM log_chunks WHERE task_id = ?", orphans)
        connection.executemany("DELETE FROM logs WHERE task_id = ?", orphans)
    except sqlite3.OperationalError as error:  # locked or full: no reason not to start
        log.warning("the logs of deleted tasks stay for now: %s", reason(error))


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
