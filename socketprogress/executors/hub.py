"""Run bodies on the server's own loop: by opt-in, for functions that are done in an instant."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from socketprogress.core.ports import Job, JobEvents, Outcome, Running, Threading
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.agenda import Agenda
from socketprogress.executors.body import Body, timed_out
from socketprogress.executors.local import CANCELLED, LocalRun, LocalRuns
from socketprogress.executors.modules import Modules

__all__ = ["HubExecutor"]

INTERRUPTED = Outcome(Status.CANCELLED, error=TaskError("shutdown", "the server was interrupted"))


class HubExecutor:
    """Runs each body as a greenlet of the server's loop, or whatever `spawn` makes.

    While a body computes, the loop stands still: nobody is served. An ``async def`` body gets a
    native thread with an asyncio loop of its own, as no two asyncio loops can run in turns on one
    thread. There are no slots: everything starts when it is submitted, on the loop.

    A Ctrl-C that happens to hit a body is the process's: the body is cancelled, the loop interrupted.

    Args:
        spawn: has a callable run on the loop, soon.
        threading: where native threads come from.
        sampling: where the sampler's thread comes from; the application's own, be it green, where
            the bodies' locks are of that kind.
    """

    def __init__(
        self,
        spawn: Callable[[Callable[[], None]], object],
        *,
        threading: Threading = threading,
        sampling: Threading | None = None,
    ) -> None:
        self._spawn = spawn
        self._threading = threading
        self._runs = LocalRuns(threading=sampling or threading)
        self._modules = Modules()
        self._agenda = Agenda("socketprogress-loop", threading=threading)
        self._live: set[_Run] = set()
        self._closing = False

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Take a job; call it where `spawn` may be called."""
        body = _Body(job)
        run = _Run(body, LocalRun(body, events, threading=self._threading))
        if self._closing:
            self._spawn(partial(run.told.end, CANCELLED))
            return run
        self._live.add(run)
        if job.timeout_s is not None:
            self._agenda.call_after(job.timeout_s, partial(run.kill, timed_out(job.timeout_s)))
        if inspect.iscoroutinefunction(job.call):
            name = f"task-{job.task_id}"
            work = partial(self._work, run, job)
            self._threading.Thread(target=work, name=name, daemon=True).start()
        else:
            self._spawn(partial(self._work_on_loop, run, job))
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

    def _work_on_loop(self, run: _Run, job: Job) -> None:
        self._work(run, job)
        if run.body.interrupted:
            raise KeyboardInterrupt

    def _load(self, job: Job) -> Callable[..., Any]:
        return job.call if job.call is not None else self._modules.function(job.function or "")


class _Body(Body):
    """A body on the loop's thread, which is where Python raises Ctrl-C: on the main one alone.

    Attributes:
        interrupted: whether that was its end.
    """

    interrupted = False

    def _ended_by(self, exc: BaseException) -> Outcome:
        on_main = threading.get_native_id() == threading.main_thread().native_id
        if on_main and isinstance(exc, KeyboardInterrupt) and not self._is_cancellation(exc):
            self.interrupted = True
            return INTERRUPTED
        return super()._ended_by(exc)


class _Run:
    """One job from its submission to its end."""

    def __init__(self, body: _Body, told: LocalRun) -> None:
        self.body, self.told = body, told

    def cancel(self) -> None:
        """Ask the body to stop; one that reports or awaits does, one not begun never begins."""
        if not self.told.withdraw(CANCELLED):
            self.body.cancel()

    def kill(self, outcome: Outcome) -> None:
        """Ask the body to stop; when it has ended, this is its outcome."""
        self.told.verdict = outcome
        if not self.told.withdraw(outcome):
            self.body.cancel()
