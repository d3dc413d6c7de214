"""What the executors of this very process share: events in order, and reports to the right job."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from socketprogress.core.ports import JobEvents, Outcome, Report, Threading
from socketprogress.core.reporter import Sampler
from socketprogress.core.status import Status
from socketprogress.executors.body import Body
from socketprogress.executors.results import condense, describe

__all__ = ["CANCELLED", "LocalRun", "LocalRuns"]

log = logging.getLogger(__name__)

CANCELLED = Outcome(Status.CANCELLED)
ALIVE_EVERY_S = 5.0


class LocalRun:
    """One body of this process, told to its events in order and ended once.

    Args:
        body: what runs.
        events: who hears of it; must not wait for anything.
        threading: where the lock comes from.
    """

    def __init__(self, body: Body, events: JobEvents, *, threading: Threading = threading) -> None:
        self.body = body
        self.verdict: Outcome | None = None
        self._events = events
        self._begun = False
        self._over = False
        self._telling = threading.Lock()

    @property
    def over(self) -> bool:
        """Whether the end has been told."""
        return self._over

    @property
    def task_id(self) -> str:
        """The task's id."""
        return self.body.job.task_id

    def start(self) -> bool:
        """Tell that the body begins; return false if it shall not, as its end is told already."""
        with self._telling:
            if not self._over:
                self._begun = True
                self._events.started()
            return not self._over

    def withdraw(self, outcome: Outcome) -> bool:
        """Tell the end of a run that has not begun; return whether it had not."""
        with self._telling:
            if self._begun or self._over:
                return False
            self._over = True
        self._events.ended(outcome)
        return True

    def report(self, reports: Sequence[Report]) -> None:
        """Hand on reports; an empty sequence says that the body is alive."""
        with self._telling:
            if not self._over:
                self._events.reports(reports)

    def end(self, outcome: Outcome) -> None:
        """Tell the end, unless it is told already; a verdict stands above the body's own end."""
        with self._telling:
            if self._over:
                return
            self._over = True
        self._events.ended(self.verdict or outcome)


class LocalRuns:
    """Runs bodies on the calling thread, all of them seen by one sampler."""

    def __init__(self, *, threading: Threading = threading) -> None:
        self._routes: dict[str, LocalRun] = {}
        self._alive_at = time.monotonic()
        self._sampler = Sampler(self, threading=threading)

    def __len__(self) -> int:
        return len(self._routes)

    def execute(self, run: LocalRun, load: Callable[[], Callable[..., Any]]) -> None:
        """Run a body from its start to its end, and tell of it."""
        if not run.start():
            return
        reporter = run.body.reporter
        self._routes[run.task_id] = run
        self._sampler.add(reporter)
        outcome = run.body.run(load)
        try:
            self._sampler.remove(reporter)
        except Exception as exc:  # noqa: BLE001 - attributes of a user's own types may raise
            line = f"The last report is left out: {describe(exc)}"
            run.report([{"task_id": run.task_id, "log": [line]}])
        self._routes.pop(run.task_id, None)
        run.end(outcome)

    def send(self, reports: Sequence[Report]) -> None:
        """Take the sampler's reports and give each run its own."""
        by_task: dict[str, list[Report]] = {}
        for report in reports:
            by_task.setdefault(report["task_id"], []).append(report)
        for task_id, own in by_task.items():
            run = self._routes.get(task_id)
            if run is not None:
                run.report(condense(own))
        now = time.monotonic()
        if not reports or now - self._alive_at >= ALIVE_EVERY_S:
            self._alive_at = now
            for run in list(self._routes.values()):
                if run.task_id not in by_task:
                    run.report(())

    def close(self) -> None:
        """Stop looking at reporters."""
        self._sampler.close()
