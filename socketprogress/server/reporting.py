"""Work that runs elsewhere: reporters open tasks here, and report on them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from socketprogress.core.desk import Desk
from socketprogress.core.errors import Unavailable, WireError
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Report
from socketprogress.core.reports import OpenRequest
from socketprogress.core.state import TaskState
from socketprogress.server.runtime import Runtime

__all__ = ["Refused", "Reporting"]

STORED_WITHIN_S = 4.0

Refused = tuple[str | None, WireError]
"""A report that was not taken: its task's id, as far as it is known, and the reason."""


class Reporting:
    """Takes what reporters say.

    Args:
        hub: the live tasks.
        runtime: how to wait for the store without holding up others.
        ping_timeout_s: the silence after which a connection is given up; nobody hears its answers
            to pings while it waits for the store.
    """

    def __init__(self, hub: Hub, runtime: Runtime, *, ping_timeout_s: float) -> None:
        self._hub, self._desk = hub, Desk(hub)
        self._runtime = runtime
        self._stored_within_s = min(STORED_WITHIN_S, ping_timeout_s / 2)
        self._stopping = False

    def open(self, wanted: OpenRequest) -> tuple[TaskState, bool]:
        """Open a task that is in progress from now on; the same id again is the same task.

        One that is `queued` waits until it is opened without that, or reported on.

        Returns:
            Its state, and whether it is new.

        Raises:
            Forbidden: the id is that of a task which this server runs itself.
            Unavailable: the server is stopping.
        """
        self._check_open()
        return self._desk.open(wanted)

    def take(
        self, reports: Sequence[Report | Refused], *, stored_within_s: float | None = None
    ) -> list[Refused]:
        """Take reports in order, each for itself; return those refused, with the reasons.

        Terminal states are in the store when this returns.

        Args:
            reports: checked ones, and those that were found bad.
            stored_within_s: seconds to wait for the store at most.
        """
        refused: list[Refused] = []
        ending: dict[str, None] = {}
        for report in reports:
            if isinstance(report, tuple):
                refused.append(report)
                continue
            try:
                self._check_open()
                if self._desk.take(report):
                    ending[report["task_id"]] = None
            except WireError as exc:
                refused.append((report["task_id"], exc))
        limit_s = self._stored_within_s if stored_within_s is None else stored_within_s
        for task_id in self._not_stored(ending, limit_s):
            reason = "the end of this task is not stored yet; say it again later"
            refused.append((task_id, Unavailable(reason)))
        return refused

    def stop(self) -> None:
        """Take nothing more: it could not be stored."""
        self._stopping = True

    def _check_open(self) -> None:
        if self._stopping:
            raise Unavailable("the server is stopping; say it again later")

    def _not_stored(self, task_ids: Iterable[str], limit_s: float) -> list[str]:
        """Wait for the store to have these tasks' ends; return those that it has not in time."""
        deadline = time.monotonic() + limit_s
        return [i for i in task_ids if not self._stored(i, deadline)]

    def _stored(self, task_id: str, deadline: float) -> bool:
        if self._ended(task_id):
            return True
        shown = self._runtime.signal()
        stop = self._hub.listen(task_id, shown.set)
        try:
            while not self._ended(task_id):
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not shown.wait(left_s):
                    break
                shown.clear()
        finally:
            stop()
        return self._ended(task_id)

    def _ended(self, task_id: str) -> bool:
        state = self._hub.find(task_id)
        return state is None or state.ended
