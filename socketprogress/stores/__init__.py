"""Where tasks survive: in memory, in one SQLite file or in Redis, behind the `Store` port."""

from __future__ import annotations

import threading as stdlib_threading
from pathlib import Path

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.ports import Store, Threading
from socketprogress.core.state import TaskState
from socketprogress.stores.memory import MemoryStore
from socketprogress.stores.sqlite import SqliteStore, read_only

__all__ = ["open_store", "stored_tasks"]

_ACCEPTED = (
    "sqlite:///absolute/path, sqlite: (a file under --data), redis://host:port/db and memory: are "
    "accepted"
)


def open_store(url: str, *, data: Path, threading: Threading = stdlib_threading) -> Store:
    """Open the store that a `--store` URL names.

    Args:
        url: ``sqlite:///absolute/path``, ``sqlite:`` (`tasks.sqlite3` under `data`),
            ``redis://host:port/db`` or ``memory:``.
        data: the data folder; made where it is missing.
        threading: where threads and locks come from.

    Raises:
        ConfigurationError: the URL is of another form, or its store's package is missing.
        StoreError: the store cannot be opened.
    """
    if url == "memory:":
        return MemoryStore(threading=threading)
    if url == "sqlite:" or (url.startswith("sqlite:///") and url.strip("/") != "sqlite:"):
        if url == "sqlite:":
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            return SqliteStore(data / "tasks.sqlite3", threading=threading)
        return SqliteStore(Path(url.removeprefix("sqlite://")), threading=threading)
    if url.startswith(("redis:", "rediss:")):
        from socketprogress.stores.redis import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(url, threading=threading)
    raise ConfigurationError(f"unknown store {url!r}; {_ACCEPTED}")


def stored_tasks(url: str, *, data: Path) -> list[TaskState]:
    """Return the tasks of the store that a URL names, oldest first, beside whoever writes to it.

    Raises:
        ConfigurationError: the URL is of another form, or its store's package is missing.
        StoreError: the store cannot be read.
    """
    url = url or "sqlite:"
    if url.startswith("sqlite:"):
        file = data / "tasks.sqlite3" if url == "sqlite:" else Path(url.removeprefix("sqlite://"))
        return read_only(file)
    store = open_store(url, data=data)
    try:
        return store.load()
    finally:
        store.close()
