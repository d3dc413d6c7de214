"""Run bodies in a warm pool of worker processes: the default, as they can always be ended."""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import Any

from socketprogress.core.ports import Job, JobEvents, Outcome, Running, Threading
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.agenda import Agenda
from socketprogress.executors.child import Child
from socketprogress.executors.processrun import CANCELLED, ProcessRun, WorkerHandle
from socketprogress.executors.wire import outcome_from_wire

__all__ = ["ProcessExecutor"]

log = logging.getLogger(__name__)

OUTPUT_EVERY_S = 0.05
TIDY_S = 5.0
QUIT_S = 1.0
DEATH_S = 1.0
IDLE_S = 300.0


class ProcessExecutor:
    """Runs each body in a process of its own, which is used again when the body left it clean.

    Everything here happens on one native thread, the agenda; no caller ever waits.

    Args:
        workers: how many bodies may run at once; more wait in order.
        threading: where native threads come from.
        ask_s: seconds between asking a body to stop and SIGTERM.
        term_s: seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        *,
        workers: int,
        threading: Threading = threading,
        ask_s: float = 1.0,
        term_s: float = 1.0,
    ) -> None:
        self.ask_s = ask_s
        self.term_s = term_s
        self._most = max(1, workers)
        self._threading = threading
        self.agenda = Agenda("socketprogress-processes", threading=threading)
        self._waiting: deque[ProcessRun] = deque()
        self._workers: list[WorkerHandle] = []
        self._leaving: list[WorkerHandle] = []
        self._warm = False
        self._closing = False
        self._ticking = False
        self._gone = threading.Event()

    def warm(self) -> None:
        """Keep a worker process ready from now on, so that a body starts at once."""
        self.agenda.call(self._keep_warm)

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Take a job.

        Raises:
            ValueError: its function cannot be imported by name.
        """
        if job.function is None:
            raise ValueError(f"the function of task {job.task_id} cannot be imported by a worker")
        run = ProcessRun(self, job, events)
        self.agenda.call(partial(self._enqueue, run))
        return run

    def close(self, timeout_s: float) -> None:
        """End every body and every process within about `timeout_s` seconds; wait for it."""
        self.agenda.call(partial(self._close, timeout_s))
        if not self._gone.wait(timeout_s):
            self.agenda.call(self._abandon)
            self._gone.wait(DEATH_S)
        self.agenda.close()

    # All below runs on the agenda.

    def _enqueue(self, run: ProcessRun) -> None:
        if self._closing:
            run.end(CANCELLED)
            return
        self._waiting.append(run)
        self._dispatch()

    def forget(self, run: ProcessRun) -> None:
        """Take a run out of the queue."""
        self._waiting.remove(run)

    def _dispatch(self) -> None:
        while self._waiting and not self._closing:
            run = self._waiting[0]
            try:
                worker = self._free_worker(run)
            except OSError as exc:
                log.warning("a worker process cannot be started: %s", exc)
                if self._workers:
                    return  # the next one that gets free takes it
                worker = None
                message = f"a worker process cannot be started: {exc}"
                self._waiting.popleft()
                run.end(Outcome(Status.FAILED, error=TaskError("worker_lost", message)))
                continue
            if worker is None:
                return
            self._waiting.popleft()
            worker.take(run)
            self._tick_soon()
        self._keep_warm_if_asked()

    def _free_worker(self, run: ProcessRun) -> WorkerHandle | None:
        idle = [worker for worker in self._workers if worker.idle]
        for worker in idle:
            if worker.knows(run.file):
                return worker
        if len(self._workers) >= self._most and idle:
            self._retire(idle[0])
        return self._new_worker() if len(self._workers) < self._most else None

    def _new_worker(self) -> WorkerHandle:
        worker = WorkerHandle(self.agenda)
        worker.child = Child(
            threading=self._threading,
            on_message=lambda _, message: self.agenda.call(partial(self._heard, worker, message)),
            on_death=lambda _, how: self.agenda.call(partial(self._died, worker, how)),
        )
        self._workers.append(worker)
        return worker

    def _keep_warm(self) -> None:
        self._warm = True
        self._keep_warm_if_asked()

    def _keep_warm_if_asked(self) -> None:
        if self._warm and not self._closing and not self._workers:
            try:
                self._new_worker()
            except OSError as exc:
                log.warning("no worker process can be kept ready: %s", exc)

    def _heard(self, worker: WorkerHandle, message: dict[str, Any]) -> None:
        run = worker.run
        if "ready" in message:
            worker.proven = True
        elif "reports" in message and run is not None:
            run.events.reports(message["reports"])
        elif "started" in message and run is not None:
            run.start()
        elif "ended" in message and run is not None:
            self._ended(worker, run, outcome_from_wire(message["ended"]))
        elif "idle" in message and worker in self._workers:
            worker.rest()
            if self._closing:
                self._retire(worker)
            else:
                worker.later(IDLE_S, partial(self._retire_surplus, worker))
                self._dispatch()
        elif "leaving" in message and worker in self._workers:
            log.debug("worker %s is not used again: %s", worker.child.pid, message["leaving"])
            self._retire(worker)
            self._dispatch()

    def _ended(self, worker: WorkerHandle, run: ProcessRun, outcome: Outcome) -> None:
        run.print(worker.child.last_output())
        worker.run = None
        run.end(outcome)
        if run.terminated:  # an exception out of nowhere may have left anything behind
            self._retire(worker, grace_s=0.0)
            self._dispatch()
        else:
            worker.later(TIDY_S, partial(self._retire, worker))

    def _died(self, worker: WorkerHandle, how: str) -> None:
        worker.no_later()
        for workers in (self._workers, self._leaving):
            if worker in workers:
                workers.remove(worker)
        run, worker.run = worker.run, None
        lines = worker.child.last_output()
        worker.child.close()
        if run is not None:
            self._lost(run, how, lines, again=worker.proven)
        self._warm = self._warm and worker.proven  # what cannot start is not started for ever
        self._dispatch()
        if not self._workers and not self._leaving:
            self._gone_if_closing()

    def _lost(self, run: ProcessRun, how: str, lines: list[str], *, again: bool) -> None:
        if again and not run.started and run.verdict is None and not self._closing:
            run.worker = None
            self._waiting.appendleft(run)  # nothing of it has begun
            return
        if run.started:
            run.print(lines)
            lines = []
        error = TaskError("worker_lost", f"the worker process died: {how}")
        run.end(Outcome(Status.FAILED, error=error, traceback=tuple(lines)))

    def _retire_surplus(self, worker: WorkerHandle) -> None:
        if worker.idle and worker in self._workers and len(self._workers) > 1:
            self._retire(worker)

    def _retire(self, worker: WorkerHandle, *, grace_s: float = QUIT_S) -> None:
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._leaving.append(worker)
        worker.no_later()
        worker.child.send({"quit": True})
        worker.later(grace_s, worker.child.destroy)

    def _tick_soon(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.agenda.call_after(OUTPUT_EVERY_S, self._tick)

    def _tick(self) -> None:
        self._ticking = False
        for worker in self._workers:
            if worker.run is not None and worker.run.started:
                worker.run.print(worker.child.output())
            if worker.run is not None:
                self._tick_soon()

    def _close(self, timeout_s: float) -> None:
        self._closing = True
        self.ask_s = min(self.ask_s, timeout_s * 0.4)
        self.term_s = min(self.term_s, timeout_s * 0.3)
        while self._waiting:
            self._waiting.popleft().end(CANCELLED)
        for worker in list(self._workers):
            if worker.run is not None:
                worker.run.stop()
                worker.run.hurry()
            else:
                self._retire(worker, grace_s=min(QUIT_S, timeout_s * 0.4))
        self._gone_if_closing()

    def _gone_if_closing(self) -> None:
        if self._closing and not self._workers and not self._leaving:
            self._gone.set()

    def _abandon(self) -> None:
        for worker in [*self._workers, *self._leaving]:
            worker.child.destroy()
            if worker.run is not None:
                worker.run.end(CANCELLED)
