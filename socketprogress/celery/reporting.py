"""A running Celery task's `Reporter`, and the announcement of one that waits for a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from socketprogress.client import process
from socketprogress.client.endings import Ending
from socketprogress.client.origin import Origin
from socketprogress.client.reporter import Reporter
from socketprogress.core.ports import Report
from socketprogress.core.reports import LONGEST_LEASE_S

__all__ = ["Announcement", "TaskReporter"]


class TaskReporter(Reporter):
    """The Reporter of a Celery task: it has the task's id, and goes on where another stopped.

    Args:
        name: the task's name.
        task_id: its id.
        parent: its group's id, or None.
        args: its arguments, as far as they may be seen.
        abandon_s: seconds that it may be lost until it has failed; None for ever.
        on_cancel: called once, from the sender's thread, when cancellation is asked for.
        **options: as for `Reporter`.

    Attributes:
        said: the state that the task has set last by `update_state`.
        replaced: the task has put another one in its place, which goes on under its id.
    """

    def __init__(
        self,
        name: str,
        *,
        task_id: str,
        parent: str | None,
        args: Mapping[str, Any] | None = None,
        abandon_s: float | None = None,
        on_cancel: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        self._group, self._on_cancel, self.said = parent, on_cancel, ""
        self.replaced = False
        self._more: dict[str, Any] = {"args": dict(args or {}), "abandon_s": abandon_s}
        super().__init__(name, task_id=task_id, parent=parent, **options)

    def opening(self) -> dict[str, Any]:
        """Return the payload of `open_task`; what else runs in this process is no parent of it."""
        said = {"parent_id": self._group, "source": "celery"}
        return {**self._opening, **said, **{k: v for k, v in self._more.items() if v}}

    def request_cancel(self) -> None:
        """Have the work stop, once."""
        told, self.cancel_requested = self.cancel_requested, True
        super().request_cancel()
        if not told and not self.ended:
            self._on_cancel()

    def close(self) -> None:
        """Leave the task as it is when its process ends: its end is for the worker to tell."""
        self.rest()

    def rest(self, message: str | None = None, *, for_s: float = 0.0) -> None:
        """Say that the task may go on in another process, after `for_s` seconds; it is not ended."""
        if self._ending is None:
            self.message = self.message if message is None else message
            self._last = self._changes()
            abandon_s = self._more["abandon_s"]
            if abandon_s and for_s > 0:  # nobody speaks for it until then, if this process goes
                patience = min(abandon_s + for_s, LONGEST_LEASE_S)
                self._last.append({"task_id": self.task_id, "abandon_s": patience})
            self._ending = Ending("waiting")
            if self._sender is not None:
                self._sender.rest_from(self)
                process.ended(self)


class Announcement:
    """A task that was sent to the broker, as the process that sent it tells of it.

    Args:
        origin: the server.
        opening: the payload of `open_task`.
        on_cancel: called with the task's id when cancellation is asked for; must not wait.
    """

    def __init__(
        self,
        origin: Origin,
        opening: Mapping[str, Any],
        on_cancel: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.task_id = str(opening["task_id"])
        self._opening, self._on_cancel = dict(opening), on_cancel
        process.sender_for(origin).announce(self)

    def opening(self) -> dict[str, Any]:
        """Return the payload of `open_task`."""
        return self._opening

    def collect(self) -> list[Report]:
        """Return nothing: the worker reports."""
        return []

    def ending(self) -> Report | None:
        """Return nothing: the worker tells the end."""
        return None

    def request_cancel(self) -> None:
        """Have the task revoked."""
        self._on_cancel(self.task_id)
