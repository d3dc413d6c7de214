"""Work that runs elsewhere: reporters open tasks here, and report on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from socketprogress.core.errors import (
    Forbidden,
    InvalidPayload,
    Unavailable,
    WireError,
)
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Report
from socketprogress.core.protocol import one_line
from socketprogress.core.state import TaskError, TaskState
from socketprogress.core.steps import Status, index_of
from socketprogress.server.reports import OpenRequest
from socketprogress.server.runtime import Runtime

__all__ = ["Reporting"]

log = logging.getLogger(__name__)

LEASE_S = 30.0
STORED_WITHIN_S = 10.0
RESULT_BYTES = 256 * 1024
SOURCES = ("report", "celery")


class Reporting:
    """Takes what reporters say.

    Args:
        hub: the live tasks.
        runtime: how to wait for the store without holding up others.
        max_title_chars: the most of a title.
    """

    def __init__(self, hub: Hub, runtime: Runtime, *, max_title_chars: int) -> None:
        self._hub = hub
        self._runtime = runtime
        self._max_title_chars = max_title_chars

    def open(self, wanted: OpenRequest) -> tuple[TaskState, bool]:
        """Open a task that is in progress from now on; the same id again is the same task.

        Returns:
            Its state, and whether it is new.

        Raises:
            Forbidden: the id is that of a task which this server runs itself.
        """
        fields = asdict(wanted)
        fields["steps"] = wanted.steps
        fields["unit"] = wanted.unit or "it"
        fields["lease_s"] = wanted.lease_s or LEASE_S
        title = one_line(fields.pop("title") or "", self._max_title_chars)
        name = fields.pop("name")
        state, is_new = self._hub.create(name, title=title or name, source="report", **fields)
        self._own(state)
        if is_new:
            state = self._hub.begin(state.task_id)
        return state, is_new

    def take(
        self, reports: Sequence[Report | tuple[str | None, WireError]]
    ) -> list[tuple[str | None, WireError]]:
        """Take reports in order, each for itself; return those refused, with the reasons.

        Terminal states are in the store when this returns.
        """
        errors: list[tuple[str | None, WireError]] = []
        ending: list[str] = []
        for report in reports:
            if isinstance(report, tuple):
                errors.append(report)
                continue
            try:
                if self._take(report):
                    ending.append(report["task_id"])
            except WireError as exc:
                errors.append((report["task_id"], exc))
        for task_id in dict.fromkeys(ending):
            if not self._stored(task_id):
                reason = "the end of this task is not stored yet; say it again later"
                errors.append((task_id, Unavailable(reason)))
        return errors

    def _take(self, report: Report) -> bool:
        """Take one report; return whether the task's end is on its way."""
        task_id = report["task_id"]
        state = self._hub.get(task_id)
        self._own(state)
        if "step" in report and index_of(state.steps, report["step"]) < 0:
            names = ", ".join(step.name for step in state.steps) or "none"
            raise InvalidPayload(
                f"the task has no step {report['step']!r}, its steps are: {names}", field="step"
            )
        if self._hub.report(report):
            return True
        status = report.get("status")
        if status is None or status == Status.IN_PROGRESS:
            return False
        self._end(report, Status(status))
        return True

    def _end(self, report: Report, status: Status) -> None:
        error = report.get("error")
        self._hub.end(
            report["task_id"],
            status,
            result=report.get("result"),
            error=None if error is None else TaskError(error["code"], error["message"]),
        )

    def _stored(self, task_id: str) -> bool:
        """Wait for the store to have a task's end; return whether it has it in time."""
        shown = self._runtime.signal()
        stop: Callable[[], None] = self._hub.listen(task_id, shown.set)
        try:
            if not self._ended(task_id):
                shown.wait(STORED_WITHIN_S)
            return self._ended(task_id)
        finally:
            stop()

    def _ended(self, task_id: str) -> bool:
        state: Any = self._hub.find(task_id)
        return state is None or state.ended

    def _own(self, state: TaskState) -> None:
        if state.source not in SOURCES:
            raise Forbidden(
                f"task {state.task_id} is run by this server, nobody else reports on it"
            )
