"""Run bodies on the server's own loop: by opt-in, for functions that are done in an instant."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from socketprogress.core.ports import Job, JobEvents, Outcome, Running, Threading
from socketprogress.executors.agenda import Agenda
from socketprogress.executors.body import Body, timed_out
from socketprogress.executors.local import CANCELLED, LocalRun, LocalRuns
from socketprogress.executors.modules import Modules

__all__ = ["HubExecutor"]


class HubExecutor:
    """Runs each body as a greenlet of the server's loop, or whatever `spawn` makes.

    While a body computes, the loop stands still: nobody is served. An ``async def`` body gets a
    native thread with an asyncio loop of its own, as no two asyncio loops can run in turns on one
    thread. There are no slots: everything starts when it is submitted, on the loop.

    Args:
        spawn: has a callable run on the loop, soon.
        threading: where native threads come from.
    """

    def __init__(
        self,
        spawn: Callable[[Callable[[], None]], object],
        *,
        threading: Threading = threading,
    ) -> None:
        self._spawn = spawn
        self._threading = threading
        self._runs = LocalRuns(threading=threading)
        self._modules = Modules()
        self._agenda = Agenda("socketprogress-loop", threading=threading)
        self._live: set[_Run] = set()
        self._closing = False

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Take a job; call it where `spawn` may be called."""
        run = _Run(LocalRun(Body(job), events, threading=self._threading))
        if self._closing:
            self._spawn(partial(run.told.end, CANCELLED))
            return run
        self._live.add(run)
        if job.timeout_s is not None:
            self._agenda.call_after(job.timeout_s, partial(run.kill, timed_out(job.timeout_s)))
        work = partial(self._work, run, job)
        if inspect.iscoroutinefunction(job.call):
            name = f"task-{job.task_id}"
            self._threading.Thread(target=work, name=name, daemon=True).start()
        else:
            self._spawn(work)
        return run

    def close(self, timeout_s: float) -> None:  # noqa: ARG002 - the port's; nothing waits here
        """Ask every body to stop and tell its end at once; the loop cannot wait for itself."""
        self._closing = True
        for run in list(self._live):
            run.cancel()
            run.told.end(CANCELLED)
        self._runs.close()
        self._agenda.close()

    def _work(self, run: _Run, job: Job) -> None:
        try:
            self._runs.execute(run.told, partial(self._load, job))
        finally:
            self._live.discard(run)

    def _load(self, job: Job) -> Callable[..., Any]:
        return job.call if job.call is not None else self._modules.function(job.function or "")


class _Run:
    """One job from its submission to its end."""

    def __init__(self, told: LocalRun) -> None:
        self.told = told

    def cancel(self) -> None:
        """Ask the body to stop; one that reports or awaits does, one not begun never begins."""
        if not self.told.withdraw(CANCELLED):
            self.told.body.cancel()

    def kill(self, outcome: Outcome) -> None:
        """Ask the body to stop; when it has ended, this is its outcome."""
        self.told.verdict = outcome
        if not self.told.withdraw(outcome):
            self.told.body.cancel()
