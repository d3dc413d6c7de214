"""Run files: how a command on this host finds the server that its user has running.

Each server keeps one JSON file, readable by its user alone, in the user's runtime folder, and holds
a lock on it as long as it lives. So a file whose lock is free was left by a server that was killed,
even if its pid runs something else by now.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs

__all__ = ["RunFile", "ServerAddress", "find_server", "running_servers", "runtime_folders"]

log = logging.getLogger(__name__)

APP = "socketprogress"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server is and what it asks for; `started_at` is Unix seconds, `data` its folder."""

    url: str
    token: str | None = None
    pid: int | None = None
    started_at: float = 0.0
    data: str | None = None


class RunFile:
    """A server's own run file, there while the server is.

    Args:
        address: what it says.
        folder: where it is; the first of `runtime_folders` that can be used by default.
    """

    def __init__(self, address: ServerAddress, *, folder: Path | None = None) -> None:
        folder = folder or _usable_folder()
        self.path = folder / f"{os.getpid()}.json"
        self._descriptor, name = tempfile.mkstemp(dir=folder, prefix=".")
        try:
            os.write(self._descriptor, json.dumps(asdict(address)).encode("utf-8"))
            # Locked before it has its name, so that nobody takes it for one left behind.
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            Path(name).replace(self.path)
        except OSError:
            os.close(self._descriptor)
            Path(name).unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """Remove the file."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def find_server() -> ServerAddress | None:
    """Return this user's running server on this host, the one started last if there are several."""
    return max(running_servers(), key=lambda address: address.started_at, default=None)


def running_servers() -> list[ServerAddress]:
    """Return this user's running servers; files left by killed ones are removed on the way."""
    return [
        address
        for folder in runtime_folders()
        if _is_ours(folder)
        for path in folder.glob("*.json")
        if (address := _read(path)) is not None
    ]


def runtime_folders() -> Iterator[Path]:
    """Yield where run files may be: the user's runtime folder, then one under the user's data."""
    if os.environ.get("XDG_RUNTIME_DIR") or Path(f"/run/user/{os.geteuid()}").is_dir():
        # Without either, the runtime folder would be a guessable name in /tmp.
        yield platformdirs.user_runtime_path(APP, appauthor=False)
    yield platformdirs.user_data_path(APP, appauthor=False) / "run"


def _usable_folder() -> Path:
    for folder in runtime_folders():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            log.debug("no run file in %s: %s", folder, exc)
            continue
        if _is_ours(folder) and os.access(folder, os.W_OK):
            return folder
    raise PermissionError("no runtime folder of this user can be written to")


def _is_ours(folder: Path) -> bool:
    """Whether nobody else could have put a file there."""
    try:
        info = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(info.st_mode)
        and info.st_uid == os.geteuid()
        and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _read(path: Path) -> ServerAddress | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="utf-8") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _parse(file.read())
        with suppress(FileNotFoundError):
            path.unlink()
    return None


def _parse(text: str) -> ServerAddress | None:
    try:
        fields = json.loads(text)
        return ServerAddress(
            url=str(fields["url"]),
            token=fields.get("token"),
            pid=fields.get("pid"),
            started_at=float(fields.get("started_at") or 0.0),
            data=fields.get("data"),
        )
    except (ValueError, TypeError, LookupError, AttributeError) as exc:
        log.debug("a run file cannot be read: %s", exc)
        return None
