"""Tasks that only count their parts: each part's end adds one, and with the last they are completed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from socketprogress.core.errors import WireError
from socketprogress.core.hub import Changes, Hub
from socketprogress.core.ports import Report
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status

__all__ = ["Gathering"]


@dataclass(slots=True)
class _Parts:
    """The parts of one task.

    Attributes:
        forgotten: how many had been counted of which nothing is known any more.
        ended: by id, how the others have ended.
    """

    forgotten: int = 0
    ended: dict[str, Status] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.forgotten + len(self.ended)

    def counts(self) -> dict[str, int]:
        """Return how many have ended how."""
        found = dict.fromkeys(sorted({status.value for status in self.ended.values()}), 0)
        for status in self.ended.values():
            found[status.value] += 1
        return found


class Gathering:
    """Counts each part that ends once, by its id.

    Of several servers that share a store the one that leads tells the count, or whoever speaks for the
    task already.

    Args:
        hub: the live tasks.
        cancel: asks for a task's end.
    """

    def __init__(self, hub: Hub, cancel: Callable[[str], object]) -> None:
        self._hub, self._cancel = hub, cancel
        self._parts: dict[str, _Parts] = {}

    def restored(self) -> None:
        """Count anew after a restart."""
        for task_id in self._hub.active():
            self._count(task_id)

    def note(self, changes: Changes) -> None:
        """Take what changed."""
        touched: dict[str, None] = {}
        for state in changes.tasks.values():
            if state.gathers and not state.ended:
                touched[state.task_id] = None
            elif state.gathers:
                self._parts.pop(state.task_id, None)
            if state.ended and state.parent_id is not None:
                touched[state.parent_id] = None
                if state.parent_id in self._parts:
                    self._parts[state.parent_id].ended[state.task_id] = state.status
        for task_id in touched:
            self._count(task_id)

    def _count(self, task_id: str) -> None:
        state = self._hub.find(task_id)
        if state is None or not state.gathers or state.ended:
            return
        if state.cancel_requested:
            self._cancel_parts(task_id)
        parts = self._parts.get(task_id) or self._found(state)
        foreign = self._hub.is_foreign(task_id)
        if parts.count > state.current:
            if foreign and not self._hub.retains:
                return
            if foreign:  # whoever has opened it need not be a server, or be there any more
                self._hub.adopt(task_id)
            self._hub.apply([_report(task_id, parts)])
        elif foreign:
            return
        if state.total is not None and parts.count >= state.total:
            self._hub.end(task_id, Status.COMPLETED, result=parts.counts())

    def _found(self, state: TaskState) -> _Parts:
        """Return the parts of a task that is seen for the first time by this server."""
        ended = {part.task_id: part.status for part in self._of(state.task_id) if part.ended}
        forgotten = max(int(state.current) - len(ended), 0)
        parts = self._parts[state.task_id] = _Parts(forgotten, ended)
        return parts

    def _cancel_parts(self, task_id: str) -> None:
        for part in self._of(task_id):
            if not part.ended and not part.cancel_requested:
                with contextlib.suppress(WireError):  # it may have ended by now, or stand by its no
                    self._cancel(part.task_id)

    def _of(self, task_id: str) -> list[TaskState]:
        return [state for state in self._hub.all() if state.parent_id == task_id]


def _report(task_id: str, parts: _Parts) -> Report:
    report: Report = {"task_id": task_id, "current": parts.count}
    counts = parts.counts()
    troubles = [f"{counts[s]} {s}" for s in ("failed", "cancelled") if s in counts]
    if troubles:
        report["message"] = ", ".join(troubles)
    return report
