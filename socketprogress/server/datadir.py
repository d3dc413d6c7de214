"""The data folder: made for its owner alone, and used by one server at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from socketprogress.core.errors import ConfigurationError

__all__ = ["LOCK_FILE", "DataLock", "DataUnavailable", "holder", "lock_data"]

LOCK_FILE = "server.lock"


class DataUnavailable(ConfigurationError):
    """The data folder is another server's, or this user may not write there."""


class DataLock:
    """A held lock on a data folder; the kernel frees it when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def close(self) -> None:
        """Free the folder."""
        if self._descriptor >= 0:
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


def lock_data(path: Path, *, setting: str = "--data") -> DataLock:
    """Make the data folder if it is missing, and take it for this process.

    Args:
        path: the folder; what of it is missing is made with mode 0700.
        setting: where the operator chooses it.

    Raises:
        DataUnavailable: another server uses it, or this user may not write there.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise DataUnavailable(
            f"the data folder {str(path)!r} cannot be used: {exc.strerror}; "
            f"choose another with {setting}"
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DataUnavailable(
            f"the data folder {str(path)!r} is in use by another server (pid {pid or 'unknown'}); "
            f"stop that one, or choose another folder with {setting}"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return DataLock(descriptor)


def holder(path: Path) -> int | None:
    """Return the pid of the server that uses a data folder (0 if it is not known), or None."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None
