"""One small background task per task: it books the start, waits for the body, books the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from socketprogress.core.errors import TaskEnded, UnknownTask
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Executor, Job, Outcome, Report, Running
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime

__all__ = ["Supervisor"]

log = logging.getLogger(__name__)

STOPPED = TaskError("shutdown", "the server was stopped")


class Supervisor:
    """Runs one job to its booked end. An executor tells it how the job goes.

    Args:
        job: what is to run.
        executor: where.
        hub: where it is booked.
        runtime: how to wait without holding up anybody.
    """

    def __init__(self, job: Job, executor: Executor, hub: Hub, runtime: Runtime) -> None:
        self.task_id = job.task_id
        self._job = job
        self._executor = executor
        self._hub = hub
        self._over = runtime.signal()
        self._running: Running | None = None
        self._outcome: Outcome | None = None
        self._cancelled = False
        self._stopping = False

    def run(self) -> None:
        """Submit the job and wait for its end; whatever goes wrong ends the task."""
        try:
            self._running = self._executor.submit(self._job, self)
            if self._cancelled:
                self._running.cancel()
            self._over.wait()
        except Exception as exc:  # the executor itself failed; the task must not hang for that
            log.exception("task %s could not be run", self.task_id)
            message = f"{type(exc).__name__}: {exc}"
            self._outcome = Outcome(Status.FAILED, error=TaskError("exception", message))
        self._book()

    def cancel(self) -> None:
        """Ask the body to stop."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def stop(self) -> None:
        """Ask the body to stop since the server does."""
        self._stopping = True
        self.cancel()

    def started(self) -> None:
        """Book that the body begins."""
        self._hub.begin(self.task_id)

    def reports(self, reports: Sequence[Report]) -> None:
        """Hand on what the body reports."""
        if reports:
            for report in reports:
                report["task_id"] = self.task_id
            self._hub.apply(reports)
        else:
            self._hub.heard(self.task_id)

    def ended(self, outcome: Outcome) -> None:
        """Note how the body ended."""
        self._outcome = outcome
        self._over.set()

    def _book(self) -> None:
        outcome = self._outcome or Outcome(Status.CANCELLED)
        error = outcome.error
        if self._stopping and outcome.status is not Status.COMPLETED:
            outcome, error = Outcome(Status.CANCELLED), STOPPED
        try:
            self._hub.end(
                self.task_id,
                outcome.status,
                result=outcome.result,
                error=error,
                log=outcome.traceback,
            )
        except (TaskEnded, UnknownTask):
            log.warning("task %s had ended before its work did", self.task_id)
