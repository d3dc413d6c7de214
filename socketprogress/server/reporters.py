"""The connections that report: who speaks for which task, and how it is told to stop."""

from __future__ import annotations

import threading
from typing import Any

from socketprogress.core.errors import WireError
from socketprogress.core.ports import Report
from socketprogress.core.reports import OpenRequest, report_request
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status
from socketprogress.server.fanout import Fanout
from socketprogress.server.principals import Principal
from socketprogress.server.reporting import Refused
from socketprogress.server.service import Service

__all__ = ["Reporters"]


class Reporters:
    """Answers `open_task` and `report`.

    Args:
        service: takes what is said.
        fanout: brings a reporter the wish for its task's end.
    """

    def __init__(self, service: Service, fanout: Fanout) -> None:
        self._hub, self._reporting = service.hub, service.reporting
        self._permits = service.permits
        self._limits = service.settings
        self._fanout = fanout
        self._lock = threading.Lock()
        self._speaker: dict[str, str] = {}
        self._tasks: dict[str, set[str]] = {}

    def join(self, sid: str) -> None:
        """Note that a connection is there."""
        with self._lock:
            self._tasks[sid] = set()

    def leave(self, sid: str) -> None:
        """Forget a connection."""
        with self._lock:
            for task_id in self._tasks.pop(sid, ()):
                del self._speaker[task_id]

    def open(
        self, sid: str, principal: Principal, wanted: OpenRequest
    ) -> tuple[TaskState, dict[str, Any]]:
        """Open a task and return its state and what the ack says beside it.

        Raises:
            InvalidPayload, Forbidden, UnknownTask, Unavailable.
        """
        state, _ = self._reporting.open(self._permits.open(principal, wanted))
        if not wanted.queued or state.status is Status.QUEUED:
            self._note(sid, state)
        return state, {"task_id": state.task_id, "reporter_seq": max(state.reporter_seq, 0)}

    def report(self, sid: str, principal: Principal, payload: Any) -> dict[str, Any]:
        """Take a report, or a list of them, and return the ack.

        Raises:
            WireError: a single report is refused, or the payload is neither.
        """
        given = report_request(payload, self._limits)
        reports = [self._permitted(principal, report) for report in given]
        refused = self._reporting.take(reports)
        if refused and not isinstance(payload, list):
            raise refused[0][1]
        unheard = {task_id for task_id, _ in refused}
        cancel = []
        for task_id in sorted({r["task_id"] for r in reports if not isinstance(r, tuple)}):
            state = self._hub.find(task_id)
            if state is None:
                continue
            if task_id not in unheard:
                self._note(sid, state)
            # It may have been ended while its reporter, which goes on, was silent.
            is_over = state.status is Status.CANCELLED and task_id in unheard
            if state.cancel_requested and (is_over or not state.ended):
                cancel.append(task_id)
        return {
            "cancel": cancel,
            "errors": [{"task_id": i, "error": error.to_wire()} for i, error in refused],
        }

    def tell(self, task_id: str) -> None:
        """Tell a task's reporter that its end is asked for."""
        sid = self._speaker.get(task_id)
        if sid is not None:
            self._fanout.one(sid, "cancel_requested", {"task_id": task_id})

    def _permitted(self, principal: Principal, report: Report | Refused) -> Report | Refused:
        """Return a report as it is, or refused if it is about a task that is not theirs."""
        if isinstance(report, tuple):
            return report
        try:
            self._permits.need(principal, "report", report["task_id"])
        except WireError as exc:
            return report["task_id"], exc
        return report

    def _note(self, sid: str, state: TaskState) -> None:
        """Note who speaks for a task: whoever spoke last, as long as both are there."""
        task_id = state.task_id
        with self._lock:
            before = self._speaker.get(task_id)
            if before == sid and not state.ended:
                return
            if before is not None:
                self._tasks[before].discard(task_id)
                del self._speaker[task_id]
            if sid in self._tasks and not state.ended:
                self._tasks[sid].add(task_id)
                self._speaker[task_id] = sid
