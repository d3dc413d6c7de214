"""Files with what could not be delivered, one for each process that left some behind.

A file has one JSON line for the server and one for each task. It is written whole under another
name first, and read under a lock, so that two processes never deliver the same one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from socketprogress.client import notice

__all__ = ["ANY", "Claim", "Spool", "has_left", "spool_folder", "waiting"]

ANY = ""
"""The server of a process that was offline without naming one: whichever is reported to next."""

MOST_BYTES = 64 * 1024 * 1024
FILE_BYTES = 4 * 1024 * 1024
VERSION = 1
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def spool_folder() -> Path:
    """Return where this user's spool files are."""
    return platformdirs.user_state_path("socketprogress", appauthor=False) / "spool"


def waiting(folder: Path | None = None) -> dict[str, int]:
    """Return the servers that something waits for, by URL, and the reports of how many tasks."""
    found: dict[str, int] = {}
    for path in sorted((spool_folder() if folder is None else folder).glob("*.jsonl")):
        with suppress(OSError, ValueError, LookupError, TypeError), path.open("rb") as file:
            url = str(json.loads(file.readline())["url"])
            found[url] = found.get(url, 0) + sum(1 for _ in file)
    return found


def has_left(pid: int, folder: Path | None = None) -> bool:
    """Return whether something waits that a process of this user has left behind."""
    return any((spool_folder() if folder is None else folder).glob(f"*-{pid}-*.jsonl"))


class Claim:
    """A spool file that this process, and no other, is delivering.

    Attributes:
        records: its tasks, ``{open, reports, known, step}``.
    """

    def __init__(self, path: Path, descriptor: int, records: list[dict[str, Any]]) -> None:
        self.path = path
        self.records = records
        self._descriptor = descriptor

    def delivered(self) -> None:
        """Remove the file: everything in it has arrived."""
        self.path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Leave the file to others."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Spool:
    """The files for one server.

    Args:
        url: the server's base URL, or `ANY`.
        folder: where the files are; `spool_folder()` by default.
        most_bytes: the bound on all files for this server; beyond it the oldest go.
    """

    def __init__(
        self, url: str, *, folder: Path | None = None, most_bytes: int = MOST_BYTES
    ) -> None:
        self.url = url
        self._folder = spool_folder() if folder is None else folder
        self._most_bytes = most_bytes
        self._key = hashlib.sha256(url.encode()).hexdigest()[:16]

    def files(self) -> list[Path]:
        """Return the files that wait for this server, oldest first."""
        try:
            return sorted(self._folder.glob(f"{self._key}-*.jsonl"))
        except OSError:
            return []

    def put(self, records: Iterable[Mapping[str, Any]]) -> int:
        """Keep what tasks have still to say; return how many tasks there are.

        Raises:
            OSError: it cannot be written.
        """
        head = json.dumps({"version": VERSION, "url": self.url}) + "\n"
        lines, size, count = [head], 0, 0
        for record in records:
            line = json.dumps(record, separators=(",", ":")) + "\n"
            if size + len(line) > FILE_BYTES and len(lines) > 1:
                self._write(lines, count)
                lines, size = [head], 0
            lines.append(line)
            size += len(line)
            count += 1
        if len(lines) > 1:
            self._write(lines, count)
        return count

    def claim(self) -> Claim | None:
        """Return the oldest file that nobody else is delivering, or None.

        What in it cannot be read is set aside, and the rest delivered.
        """
        for path in self.files():
            descriptor = _locked(path)
            if descriptor is None:
                continue
            records, damaged = _read(descriptor)
            if damaged:
                self._set_aside(path, damaged)
            claim = Claim(path, descriptor, records)
            if records:
                return claim
            claim.delivered()
        return None

    def _write(self, lines: list[str], number: int) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(sum(map(len, lines)))
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.writelines(lines)
            stamp = f"{time.time_ns():020d}-{os.getpid()}-{number}"
            Path(name).replace(self._folder / f"{self._key}-{stamp}.jsonl")
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _make_room(self, wanted: int) -> None:
        sizes: dict[Path, int] = {}
        for path in sorted(self._folder.glob(f"{self._key}-*")):
            with suppress(OSError):
                sizes[path] = path.stat().st_size
        spare = self._most_bytes - wanted - sum(sizes.values())
        for path, size in sizes.items():
            if spare >= 0:
                return
            notice.warn_once("the spool is full: %s goes, the oldest undelivered report", path)
            path.unlink(missing_ok=True)
            spare += size

    def _set_aside(self, path: Path, damaged: list[str]) -> None:
        aside = path.with_suffix(".damaged")
        notice.warn_once("a part of %s cannot be read; it is kept as %s", path, aside.name)
        with suppress(OSError):
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.writelines(damaged)


def _locked(path: Path) -> int | None:
    """Return the descriptor of a file that is locked now, or None if it is gone or in use."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had the lock before may have delivered and removed it.
        if os.fstat(descriptor).st_nlink and os.fstat(descriptor).st_uid == os.geteuid():
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def _read(descriptor: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the records of an open spool file, and the lines that are none."""
    records: list[dict[str, Any]] = []
    damaged: list[str] = []
    with os.fdopen(os.dup(descriptor), encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            try:
                value = json.loads(line)
            except ValueError:
                damaged.append(line)
                continue
            if number == 0 and isinstance(value, dict) and "version" in value:
                continue
            if _is_record(value):
                records.append(value)
            else:
                damaged.append(line)
    return records, damaged


def _is_record(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("open"), dict):
        return False
    task_id, reports = value["open"].get("task_id"), value.get("reports")
    if not isinstance(task_id, str) or not _ID.match(task_id) or not isinstance(reports, list):
        return False
    if not isinstance(value.get("known", {}), dict):
        return False
    return all(
        isinstance(report, dict)
        and report.get("task_id") == task_id
        and isinstance(report.get("reporter_seq"), int)
        and isinstance(report.get("log", []), list)
        for report in reports
    )
