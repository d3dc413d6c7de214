"""The `Reporter` of anybody's process: what the work sets is seen live on a server."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from socketprogress.client import notice, process
from socketprogress.client.endings import Ending, Left, ending_of, left_at, report_of
from socketprogress.client.nesting import parent_of
from socketprogress.client.origin import origin_of
from socketprogress.core import reporter as core
from socketprogress.core.ports import Report
from socketprogress.core.protocol import check_task_id, one_line

__all__ = ["Reporter"]

LINES_A_LOOK = 5_000
NAME_CHARS = 200
TITLE_CHARS = 500
UNIT_CHARS = 50
MESSAGE_CHARS = 500
RESULT_BYTES = 60_000


class Reporter(core.Reporter):
    """One piece of work's progress, seen live on a server; no call waits for anything.

    Where to: `url`, else `SOCKETPROGRESS_URL`, else a server of this user on this host; without any
    of them nothing is reported. As a context manager it ends the task as the block ends.

    Args:
        name: what runs.
        title: one line for people; defaults to the name.
        total: units of work in all (of the present step), or None when unknown.
        unit: what is counted.
        steps: names of the steps in order, or a mapping of names to weights.
        url: the server's base URL; a token may stand in it, ``http://:token@host``. Or the URL of the
            store that servers share, ``redis://host:port/db``: then no server is needed.
        token: what the server asks for; defaults to `SOCKETPROGRESS_TOKEN`.
        task_id: 1-64 of ``A-Za-z0-9_-``; made at random by default.
        parent: the task that this one is a part of, or its id; by default the newest one that is
            open here, or in the process that started this one.
        tags: words to find it by.
        lease_s: seconds of silence after which it counts as `lost`; defaults to
            `SOCKETPROGRESS_LEASE`, or else to the server's 30.
        cancellable: whether a cancellation raises `Cancelled` in the work.
        leave: false lets a part of another task go from the list a minute after its end.

    Raises:
        InvalidPayload: `task_id` is no task id.
    """

    def __init__(  # noqa: PLR0913 - the public signature
        self,
        name: str = "task",
        *,
        title: str | None = None,
        total: float | None = None,
        unit: str = "it",
        steps: Sequence[str] | Mapping[str, float] = (),
        url: str | None = None,
        token: str | None = None,
        task_id: str | None = None,
        parent: core.Reporter | str | None = None,
        tags: Sequence[str] = (),
        lease_s: float | None = None,
        cancellable: bool = True,
        leave: bool = True,
    ) -> None:
        self._ending: Ending | None = None
        self._end_report: Report = {"status": "completed"}
        self._last: list[Report] = []
        self._sender: Any = None
        self._probe: Callable[[], None] | None = None
        self._wake: Any = None
        self._pid = os.getpid()
        self._thread_id = threading.get_ident()
        task_id = os.urandom(16).hex() if task_id is None else check_task_id(task_id)
        super().__init__(
            name, title=title, total=total, unit=unit, steps=steps, task_id=task_id,
            cancellable=cancellable,
        )  # fmt: skip
        self._lines = deque(maxlen=LINES_A_LOOK)
        origin = origin_of(url, token)
        self._url = "" if origin is None or origin.store is not None else origin.url
        if origin is None:
            return
        self._opening = self._open_payload(steps, tags, lease_s, leave)
        parent_id = parent.task_id if isinstance(parent, core.Reporter) else parent
        found = parent_of(self, process.open_reporters())
        self._opening["parent_id"] = parent_id or found
        if self._opening["parent_id"] is None:
            self._opening.pop("leave", None)
        self._sender = process.sender_for(origin)
        process.opened(self)
        self._sender.open(self)

    @property
    def url(self) -> str:
        """The address of its page, or an empty text where no server is reported to."""
        return f"{self._url}/tasks/{self.task_id}" if self._url else ""

    @property
    def ended(self) -> bool:
        """Whether its end was said."""
        return self._ending is not None

    def end(
        self,
        status: str = "completed",
        *,
        error: str | BaseException | Mapping[str, str] | None = None,
    ) -> None:
        """End the task, once; what comes after the first end changes nothing.

        Args:
            status: ``completed``, ``failed`` or ``cancelled``.
            error: one line, or the exception that ended the work, or ``{code, message}``.

        Raises:
            ConfigurationError: there is no such status.
        """
        self.finish(ending_of(status, error))

    def finish(self, ending: Ending) -> None:
        """Take how the work ended; it may turn out otherwise as long as that is not certain."""
        if self._pid != os.getpid():
            return
        if self._ending is None:
            self._last = self._changes()
            self._probe = self._wake = None
            self._take_end(ending)
            if self._sender is not None:
                self._sender.end(self)
                process.ended(self)
        elif not self._ending.is_certain():
            self._take_end(ending)

    def close(self) -> None:
        """End the task as completed, unless it has ended."""
        self.finish(ending_of("completed", None))

    def left(self, frame: FrameType | None = None) -> None:
        """End the task of a loop that was left before its end, by `break` or by an exception.

        An exception cannot be told from `break` in the moment that the loop lets go of its
        iterator. So the end is held back for a short while: the task is failed if the process
        ends by an exception that comes from where `frame` stood.
        """
        self.finish(Ending("completed", left=left_at(frame)))

    def add_file(self, path: str | os.PathLike[str]) -> None:
        """Say in the log and in a warning that a server takes no files from reporters; the work goes on."""
        reason = (
            f"{str(path)!r} cannot be offered from here: only tasks that a server runs have files; "
            "set `result`, or upload it"
        )
        self.log(reason)
        notice.warn_once("%s", reason)

    def request_cancel(self) -> None:
        """Have the work stop: its next call raises `Cancelled`, if it may be cancelled."""
        self.cancel_requested = True
        if self.cancellable:
            wake = self._wake
            if isinstance(wake, weakref.WeakMethod):
                wake = wake()
            if wake is not None:
                wake()

    def attach(
        self, sample: Callable[[], None] | None, stop: Callable[[], object] | None = None
    ) -> None:
        """Have `sample` set the attributes before they are looked at, and `stop` end a wait.

        Args:
            sample: called a few times a second from another thread, and at the end.
            stop: called from another thread once cancellation was asked for; a `WeakMethod` or a
                function. What waits then calls `check`.
        """
        self._probe, self._wake = sample, stop
        if self.cancel_requested:
            self.request_cancel()

    def opened_in(self, thread_id: int) -> bool:
        """Return whether this thread has opened it."""
        return self._thread_id == thread_id

    @property
    def left_at(self) -> Left | None:
        """Where its loop was left, as long as that may have been an exception's doing."""
        return None if self._ending is None else self._ending.left

    def forked(self) -> None:
        """Begin anew with what another thread may have held when this process was forked off."""
        self._lock = threading.RLock()

    # -- for the sender --------------------------------------------------------------------------

    def opening(self) -> dict[str, Any]:
        """Return the payload of `open_task`."""
        return self._opening

    def collect(self) -> list[Report]:
        """Return what changed since the last call, oldest first; nothing after the end."""
        if self._ending is None:
            return self._changes()
        with self._lock:
            last, self._last = self._last, []
        return last

    def ending(self) -> Report | None:
        """Return how it ended, or None as long as that may turn out otherwise."""
        ending = self._ending
        return None if ending is None or not ending.is_certain() else self._end_report

    # -- inside ----------------------------------------------------------------------------------

    def _changes(self) -> list[Report]:
        if self._probe is not None:
            self._probe()
        reports = super().collect()
        for report in reports:
            _trim(report)
        return reports

    def _take_end(self, ending: Ending) -> None:
        lines, self._end_report = report_of(ending, self.result, most_bytes=RESULT_BYTES)
        if lines:
            with self._lock:
                self._last.append({"task_id": self.task_id, "log": lines})
        self._ending = ending

    def _open_payload(
        self, steps: Any, tags: Sequence[str], lease_s: float | None, leave: bool
    ) -> dict[str, Any]:
        opening: dict[str, Any] = {
            "task_id": self.task_id,
            "name": one_line(str(self.name), NAME_CHARS) or "task",
            "title": one_line(str(self.title), TITLE_CHARS),
            "unit": one_line(str(self.unit), UNIT_CHARS),
            "cancellable": bool(self.cancellable),
            "host": one_line(socket.gethostname(), NAME_CHARS),
            "pid": self._pid,
        }
        if steps:
            opening["steps"] = dict(steps) if isinstance(steps, Mapping) else list(steps)
        if tags:
            opening["tags"] = [one_line(str(tag), NAME_CHARS) for tag in tags][:100]
        lease_s = process.lease_s() if lease_s is None else lease_s
        if lease_s:
            opening["lease_s"] = lease_s
        if not leave:
            opening["leave"] = False
        return opening

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(Ending.by(error, cancel_requested=self.cancel_requested))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def __del__(self) -> None:
        if getattr(self, "_sender", None) is not None and self._ending is None:
            self.close()


def _trim(report: Report) -> None:
    """Keep a report within what a server takes."""
    if "message" in report:
        report["message"] = one_line(report["message"], MESSAGE_CHARS)
    if "title" in report:
        report["title"] = one_line(report["title"], TITLE_CHARS)
    if "unit" in report:
        report["unit"] = one_line(report["unit"], UNIT_CHARS)
    if (report.get("total") or 0) < 0:
        report["total"] = None
