"""Where reporters open tasks and report on them: the same rules over a socket and in a shared store."""

from __future__ import annotations

import json
from dataclasses import fields

from socketprogress.core.errors import Forbidden, InvalidPayload, TaskEnded
from socketprogress.core.hub import Hub
from socketprogress.core.mirror import LEASE_S
from socketprogress.core.ports import Report
from socketprogress.core.reports import LONGEST_LEASE_S, SOURCES, OpenRequest
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status
from socketprogress.core.steps import Steps, index_of

__all__ = ["Desk", "check_step"]

RESULT_BYTES = 256 * 1024


class Desk:
    """Takes what reporters say; it computes, and never waits.

    Args:
        hub: the tasks.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def open(self, wanted: OpenRequest) -> tuple[TaskState, bool]:
        """Open a task, in progress from now on unless it is queued; the same id again is the same task.

        One that another process has spoken for is spoken for here from now on. One that `gathers`
        counts its parts by itself: nobody gives signs of life of it.

        Returns:
            Its state, and whether it is new.

        Raises:
            Forbidden: the id is that of a task which a server runs itself.
        """
        given = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
        given["unit"] = wanted.unit or "it"
        given["lease_s"] = wanted.lease_s or (LONGEST_LEASE_S if wanted.gathers else LEASE_S)
        title, name, queued = given.pop("title"), given.pop("name"), given.pop("queued")
        state, is_new = self._hub.create(name, title=title or name, **given)
        _own(state)
        if queued:  # who only says that it waits does not speak for it
            return state, is_new
        if not is_new:
            state = self._hub.adopt(state.task_id)
        if state.status is Status.QUEUED:
            lease_s = wanted.lease_s or state.lease_s
            where = {"host": wanted.host, "pid": wanted.pid, "abandon_s": wanted.abandon_s}
            state = self._hub.begin(state.task_id, lease_s=lease_s, **where)
        elif wanted.abandon_s not in (None, state.abandon_s):  # it had waited for a retry, say
            self._hub.apply([{"task_id": state.task_id, "abandon_s": wanted.abandon_s}])
            state = self._hub.get(state.task_id)
        return state, is_new

    def take(self, report: Report) -> bool:
        """Take one report; return whether the task's end is on its way, or stored.

        Raises:
            UnknownTask, TaskEnded: there is no such task, or it is over.
            Forbidden: a server runs the task itself.
            InvalidPayload: the task has no such step.
        """
        state = self._hub.get(report["task_id"])
        if state.ended and state.source not in SOURCES:
            raise TaskEnded(
                f"task {state.task_id} is {state.status.value} and cannot change any more"
            )
        _own(state)
        check_step(report, state.steps)
        _bound_result(report)
        self._hub.adopt(state.task_id)
        return self._hub.report(report)


def _own(state: TaskState) -> None:
    """Let reporters speak of their tasks only."""
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
