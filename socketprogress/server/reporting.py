"""Work that runs elsewhere: reporters open tasks here, and report on them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from socketprogress.core.errors import Forbidden, InvalidPayload, Unavailable, WireError
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Report
from socketprogress.core.state import TaskState
from socketprogress.core.steps import Steps, index_of
from socketprogress.server.reports import OpenRequest
from socketprogress.server.runtime import Runtime

__all__ = ["Refused", "Reporting"]

LEASE_S = 30.0
STORED_WITHIN_S = 4.0
RESULT_BYTES = 256 * 1024
SOURCES = ("report", "celery")

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
        self._hub = hub
        self._runtime = runtime
        self._stored_within_s = min(STORED_WITHIN_S, ping_timeout_s / 2)
        self._stopping = False

    def open(self, wanted: OpenRequest) -> tuple[TaskState, bool]:
        """Open a task that is in progress from now on; the same id again is the same task.

        Returns:
            Its state, and whether it is new.

        Raises:
            Forbidden: the id is that of a task which this server runs itself.
            Unavailable: the server is stopping.
        """
        self._check_open()
        fields = asdict(wanted)
        fields["steps"] = wanted.steps
        fields["unit"] = wanted.unit or "it"
        fields["lease_s"] = wanted.lease_s or LEASE_S
        title, name = fields.pop("title"), fields.pop("name")
        state, is_new = self._hub.create(name, title=title or name, source="report", **fields)
        own(state)
        if is_new:
            state = self._hub.begin(state.task_id)
        return state, is_new

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
                if self._take(report):
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

    def _take(self, report: Report) -> bool:
        """Take one report; return whether the task's end is on its way, or stored."""
        state = self._hub.get(report["task_id"])
        own(state)
        check_step(report, state.steps)
        _bound_result(report)
        return self._hub.report(report)

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


def own(state: TaskState) -> None:
    """Let reporters speak of their tasks only.

    Raises:
        Forbidden: this server runs the task itself.
    """
    if state.source not in SOURCES:
        raise Forbidden(f"task {state.task_id} is run by this server, nobody else reports on it")


def check_step(report: Report, steps: Steps) -> None:
    """Let a report enter those steps only that the task has.

    Raises:
        InvalidPayload: there is no such step.
    """
    if "step" in report and index_of(steps, report["step"]) < 0:
        names = ", ".join(step.name for step in steps) or "none"
        raise InvalidPayload(
            f"the task has no step {report['step']!r}, its steps are: {names[:1000]}", field="step"
        )


def _bound_result(report: Report) -> None:
    result = report.get("result")
    size_bytes = 0 if result is None else len(json.dumps(result))
    if size_bytes > RESULT_BYTES:
        report["result"] = None
        reason = f"The result is left out: its {size_bytes:,} bytes are over {RESULT_BYTES:,}"
        report["log"] = [*report.get("log", []), reason]
