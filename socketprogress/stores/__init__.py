"""Where tasks survive: in memory or in one SQLite file, behind the `Store` port."""

from __future__ import annotations

import threading as stdlib_threading
from pathlib import Path

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.ports import Store, Threading
from socketprogress.stores.memory import MemoryStore
from socketprogress.stores.sqlite import SqliteStore

__all__ = ["open_store"]

_ACCEPTED = "sqlite:///absolute/path, sqlite: (a file under --data) and memory: are accepted"


def open_store(url: str, *, data: Path, threading: Threading = stdlib_threading) -> Store:
    """Open the store that a `--store` URL names.

    Args:
        url: ``sqlite:///absolute/path``, ``sqlite:`` (`tasks.sqlite3` under `data`) or ``memory:``.
        data: the data folder; made where it is missing.
        threading: where threads and locks come from.

    Raises:
        ConfigurationError: the URL is of another form.
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
        raise ConfigurationError(f"the store {url!r} is not available in this version; {_ACCEPTED}")
    raise ConfigurationError(f"unknown store {url!r}; {_ACCEPTED}")
