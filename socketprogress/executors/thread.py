"""Run bodies in native threads: for closures, and for many bodies that mostly wait."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from socketprogress.core.errors import Cancelled
from socketprogress.core.ports import Job, JobEvents, Outcome, Running, Threading
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.agenda import Agenda
from socketprogress.executors.body import Body, timed_out
from socketprogress.executors.local import CANCELLED, LocalRun, LocalRuns
from socketprogress.executors.modules import Modules

__all__ = ["ThreadExecutor"]

SWITCH_INTERVAL_S = 50e-6
"""With Python's own 5 ms, one busy thread turns 1,000 sends of the server from 1 ms into 4.5 s."""

FORCE_AFTER_S = 1.0


class ThreadExecutor:
    """Runs each body in a native daemon thread.

    A thread can be asked to stop and have `Cancelled` raised into its Python code; what waits in C
    code goes on until that returns.

    Args:
        slots: how many bodies may run at once; more wait in order.
        threading: where native threads come from.
        ask_s: seconds between asking a body to stop and raising `Cancelled` into it.
    """

    def __init__(
        self, *, slots: int = 256, threading: Threading = threading, ask_s: float = FORCE_AFTER_S
    ) -> None:
        self._slots = max(1, slots)
        self._threading = threading
        self._ask_s = ask_s
        self._agenda = Agenda("socketprogress-threads", threading=threading)
        self._runs = LocalRuns(threading=threading)
        self._modules = Modules()
        self._lock = threading.Lock()
        self._waiting: deque[_Run] = deque()
        self._running: set[_Run] = set()
        self._interval_s: float | None = None
        self._closing = False
        self._idle = threading.Event()

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Take a job; it starts at once if a slot is free."""
        run = _Run(
            self, job, LocalRun(_Body(job, self._threading), events, threading=self._threading)
        )
        with self._lock:
            if not self._closing:
                self._waiting.append(run)
        self._agenda.call(run.end_if_refused if self._closing else self._dispatch)
        return run

    def close(self, timeout_s: float) -> None:
        """Ask every body to stop and wait for at most `timeout_s` seconds."""
        with self._lock:
            self._closing = True
            waiting, running = list(self._waiting), list(self._running)
            self._waiting.clear()
            if not running:
                self._idle.set()
        for run in waiting:
            run.told.end(CANCELLED)
        for run in running:
            run.stop(min(self._ask_s, timeout_s / 2))
        self._idle.wait(timeout_s)
        for run in running:
            run.told.end(CANCELLED)
        self._runs.close()
        self._agenda.close()

    def after(self, delay_s: float, do: Callable[[], object]) -> None:
        """Carry something out later, on the agenda's thread."""
        self._agenda.call_after(delay_s, do)

    def withdraw(self, run: _Run) -> bool:
        """Take a run out of the queue; return whether it was there."""
        with self._lock:
            if run not in self._waiting:
                return False
            self._waiting.remove(run)
            return True

    def _dispatch(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or len(self._running) >= self._slots:
                    return
                run = self._waiting.popleft()
                self._running.add(run)
                self._quicken()
            thread = self._threading.Thread(
                target=self._work, args=(run,), name=f"task-{run.told.task_id}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as exc:  # the system's limit on threads
                self._release(run)
                error = TaskError("worker_lost", f"no thread can be started: {exc}")
                run.told.end(Outcome(Status.FAILED, error=error))

    def _work(self, run: _Run) -> None:
        if run.job.timeout_s is not None:
            self.after(run.job.timeout_s, partial(run.kill, timed_out(run.job.timeout_s)))
        try:
            self._runs.execute(run.told, partial(self._load, run.job))
        finally:
            self._release(run)
            if not self._closing:
                self._agenda.call(self._dispatch)

    def _release(self, run: _Run) -> None:
        with self._lock:
            self._running.discard(run)
            self._quicken()
            if self._closing and not self._running:
                self._idle.set()

    def _load(self, job: Job) -> Callable[..., Any]:
        return job.call if job.call is not None else self._modules.function(job.function or "")

    def _quicken(self) -> None:
        """Let threads take turns often as long as one of ours is busy."""
        if self._running and self._interval_s is None:
            self._interval_s = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL_S)
        elif not self._running and self._interval_s is not None:
            sys.setswitchinterval(self._interval_s)
            self._interval_s = None


class _Body(Body):
    """A body into whose thread an exception can be raised, but never beyond its end."""

    def __init__(self, job: Job, threading: Threading) -> None:
        super().__init__(job)
        self._threading = threading
        self._gate = threading.Lock()
        self._thread_id = 0

    def arm(self) -> None:
        self._thread_id = self._threading.get_ident()
        super().arm()

    def disarm(self) -> None:
        while True:
            try:
                with self._gate:
                    super().disarm()
                    _raise_in(self._thread_id, None)
            except Cancelled:  # it was on its way before the gate closed; what it ends has ended
                continue
            else:
                return

    def force(self) -> None:
        """Raise `Cancelled` at the next step of the thread's Python code."""
        with self._gate:
            if self.armed:
                _raise_in(self._thread_id, Cancelled)
        self.cancel()  # wakes a loop that waits, so that there is a next step


class _Run:
    """One job from its submission to its end."""

    def __init__(self, executor: ThreadExecutor, job: Job, told: LocalRun) -> None:
        self._executor = executor
        self.job = job
        self.told = told

    def cancel(self) -> None:
        """Ask the body to stop; some time later `Cancelled` is raised into its Python code."""
        self.stop(self._executor._ask_s)  # noqa: SLF001 - its other half

    def kill(self, outcome: Outcome) -> None:
        """Raise `Cancelled` into the body; when it has ended, this is its outcome."""
        self.told.verdict = self.told.verdict or outcome
        self.stop(0.0)

    def stop(self, ask_s: float) -> None:
        """Ask, and force in `ask_s` seconds."""
        if self._executor.withdraw(self):
            self.told.end(CANCELLED)  # or the verdict
            return
        self.told.body.cancel()
        self._executor.after(ask_s, self._force)

    def end_if_refused(self) -> None:
        """Tell the end of a run that came after the close."""
        self.told.end(CANCELLED)

    def _force(self) -> None:
        body = self.told.body
        if not self.told.over and isinstance(body, _Body):
            self.told.verdict = self.told.verdict or CANCELLED
            body.force()


def _raise_in(thread_id: int, exception: type[BaseException] | None) -> None:
    """Have an exception raised in a thread's Python code, or take back what is not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), None if exception is None else ctypes.py_object(exception)
    )
