"""A file on its way in. Every method here waits for the disk: call it beside the loop."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from socketprogress.core.errors import TaskEnded, Unavailable
from socketprogress.core.ports import Threading

__all__ = ["IncomingFile", "Superseded"]

PART, RECORD, DONE = "incoming", "upload.json", "file"


class Superseded(TaskEnded):
    """Another connection goes on with this upload, or it is over."""


class IncomingFile:
    """A file that grows in a folder of its own, until it gets its name and place or vanishes.

    One connection writes at a time; one that comes later takes its turn away from the one before.

    Args:
        folder: the upload's own.
        threading: where its lock comes from.
    """

    def __init__(self, folder: Path, threading: Threading) -> None:
        self.folder = folder
        self.size = 0
        self._path = folder / PART
        self._lock = threading.Lock()
        self._turn = 0
        self._descriptor = -1
        self._over = False

    def create(self) -> None:
        """Make the folder and the empty file.

        Raises:
            Unavailable: they cannot be made.
        """
        with _named_errors():
            self.folder.mkdir(parents=True, mode=0o700)
            self._path.touch(mode=0o600, exist_ok=False)

    def take_turn(self) -> int:
        """Begin to write and return the turn's number; whoever wrote before no longer can.

        Raises:
            Superseded: the upload is over.
            Unavailable: the file cannot be opened.
        """
        with self._lock, _named_errors():
            self._check_open()
            self._close()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags)
            self.size = os.fstat(self._descriptor).st_size
            self._turn += 1
            return self._turn

    def append(self, turn: int, pieces: Iterable[bytes]) -> int:
        """Write pieces and return the file's size; what was written before an error stays.

        Raises:
            Superseded: it is no longer this turn.
            Unavailable: the disk is full, or fails.
        """
        with self._lock, _named_errors():
            self._check_turn(turn)
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    written = os.write(self._descriptor, rest)
                    self.size += written
                    rest = rest[written:]
        return self.size

    def end_turn(self, turn: int) -> None:
        """Close the file, if it is still this turn."""
        with self._lock:
            if turn == self._turn:
                self._close()

    def place(self, target: Path) -> None:
        """Bring the whole file to the disk, and give it its name and place; nothing follows it.

        Raises:
            Unavailable: the disk is full, or fails.
        """
        with self._lock, _named_errors():
            self._check_open()
            self._over = True
            self._close()
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._path.replace(target)
            _sync_folder(target.parent)

    def remove(self) -> None:
        """Remove the folder and whatever is in it; nothing can be written from now on."""
        with self._lock:
            self._over = True
            self._close()
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.folder)

    def touched_at(self) -> float:
        """Return when something was written last, in Unix seconds; 0.0 where there is no file."""
        try:
            return self._path.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def done(self) -> Path:
        """The folder that the whole file is in alone, once a task gets it."""
        return self.folder / DONE

    def write_record(self, record: dict[str, Any]) -> None:
        """Keep what a later server has to know of this upload.

        Raises:
            Unavailable: it cannot be written.
        """
        new = self.folder / f".{RECORD}"
        with _named_errors():
            new.write_text(json.dumps(record), encoding="utf-8")
            new.replace(self.folder / RECORD)

    def read_record(self) -> dict[str, Any] | None:
        """Return what an earlier server has kept, or None if it cannot be gone on with."""
        try:
            record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
            self.size = self._path.stat().st_size
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def _check_open(self) -> None:
        if self._over:
            raise Superseded("this upload is over")

    def _check_turn(self, turn: int) -> None:
        self._check_open()
        if turn != self._turn:
            raise Superseded("another connection goes on with this upload")

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextlib.contextmanager
def _named_errors() -> Any:
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise Unavailable(f"the upload cannot be stored: {reason}") from exc


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
