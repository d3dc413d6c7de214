"""One upload on its way, and the bounds that hold for all of them together."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from socketprogress.core.errors import TooLarge, Unavailable
from socketprogress.core.hub import Hub
from socketprogress.core.retention import UPLOAD
from socketprogress.server.incoming import IncomingFile
from socketprogress.server.payloads import StartRequest
from socketprogress.server.settings import Settings
from socketprogress.server.uploadplan import Plan

__all__ = ["Quota", "Upload", "size_of"]

KEPT_EVERY_S = 5.0
SPARE_BYTES = 64 << 20


@dataclass(slots=True, eq=False)
class Upload:
    """A file on its way to a task.

    Attributes:
        task_id: the task.
        name: the file's name, as it is shown.
        wanted, lax, plan: what is to become of it.
        file: what has arrived.
        length: its bytes, where the client has said so.
        resumable: whether it waits for another connection when one is cut.
        metadata: what a resumable upload's client has said of it, as it was said.
        writing: whether a connection is bringing it at present.
        left_at: when the last connection has gone, monotonic; None before the first one has.
        said_paused: whether the task's message says that it waits.
    """

    task_id: str
    name: str
    wanted: StartRequest
    plan: Plan
    file: IncomingFile
    length: int | None
    lax: bool = False
    resumable: bool = False
    metadata: str = ""
    writing: int = 0
    left_at: float = field(default_factory=time.monotonic)
    said_paused: bool = False

    def record(self) -> dict[str, Any]:
        """Return what a later server has to know of it."""
        wanted = self.wanted
        return {
            "name": self.name,
            "length": self.length,
            "metadata": self.metadata,
            "task": wanted.task,
            "args": dict(wanted.args),
            "title": wanted.title,
            "tags": list(wanted.tags),
        }


class Quota:
    """Bounds one upload's bytes, and those of all together.

    Args:
        hub: knows the uploads that were kept.
        settings: the bounds, and the folder that they are for.
    """

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub, self._settings = hub, settings
        self._kept, self._kept_at = 0, -KEPT_EVERY_S

    def check(self, length: int | None, others: Iterable[Upload]) -> None:
        """Refuse an upload that would not fit; waits for the disk.

        Args:
            length: its bytes, or those that it has so far.
            others: the other uploads on their way.

        Raises:
            TooLarge: it is over a bound.
            Unavailable: the disk has no room for it.
        """
        self.check_length(length)
        self._measure()
        self.check_total(length or 0, others)
        free = max(shutil.disk_usage(self._settings.data).free - SPARE_BYTES, 0)
        if (length or 0) > free:
            raise Unavailable(f"the server's disk has room for {size_of(free)} only")

    def check_length(self, length: int | None) -> None:
        """Refuse a single upload of so many bytes.

        Raises:
            TooLarge: it is over the bound.
        """
        most = self._settings.max_upload_bytes
        if (length or 0) > most:
            raise TooLarge(f"an upload has {size_of(most)} at most")

    def check_total(self, length: int, others: Iterable[Upload]) -> None:
        """Refuse an upload that the others leave no room for.

        Raises:
            TooLarge: they do not.
        """
        total = self._kept + length + sum(max(o.length or 0, o.file.size) for o in others)
        quota = self._settings.upload_quota_bytes
        if total > quota:
            raise TooLarge(
                f"all uploads together may have {size_of(quota)}, and this one is too much: "
                "those that are kept go with their tasks"
            )

    def keep(self, size_bytes: int) -> None:
        """Note that an upload has become one that is kept."""
        self._kept += size_bytes

    def _measure(self) -> None:
        now = time.monotonic()
        if now - self._kept_at < KEPT_EVERY_S:
            return
        self._kept_at = now
        files = self._settings.data / "files"
        self._kept = sum(
            _size(files / state.task_id / file.name)
            for state in self._hub.all()
            if state.name == UPLOAD and state.source == "server"
            for file in state.files
        )


def size_of(size_bytes: int) -> str:
    """Return a number of bytes for people: 10 GiB."""
    size, units = float(size_bytes), ["TiB", "GiB", "MiB", "KiB"]
    unit = "B"
    while size >= 1024 and units:
        size, unit = size / 1024, units.pop()
    return f"{size:.4g} {'bytes' if unit == 'B' else unit}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # removed by the operator, to make room
        return 0
