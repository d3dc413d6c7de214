"""Run bodies in a warm pool of worker processes: the default, as they can always be ended."""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from socketprogress.core.ports import Job, JobEvents, Outcome, Running, Threading
from socketprogress.core.state import TaskError
from socketprogress.core.steps import Status
from socketprogress.executors.agenda import Agenda, Appointment
from socketprogress.executors.body import timed_out
from socketprogress.executors.child import Child
from socketprogress.executors.modules import file_of
from socketprogress.executors.wire import job_to_wire, outcome_from_wire

__all__ = ["ProcessExecutor"]

log = logging.getLogger(__name__)

CANCELLED = Outcome(Status.CANCELLED)
OUTPUT_EVERY_S = 0.05
FLUSH_EVERY_S = 0.02
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
        self._waiting: deque[_Run] = deque()
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
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
        run = _Run(self, job, events)
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

    def _enqueue(self, run: _Run) -> None:
        if self._closing:
            run.end(CANCELLED)
            return
        self._waiting.append(run)
        self._dispatch()

    def forget(self, run: _Run) -> None:
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

    def _free_worker(self, run: _Run) -> _Worker | None:
        idle = [worker for worker in self._workers if worker.idle]
        for worker in idle:
            if worker.knows(run.file):
                return worker
        if len(self._workers) >= self._most and idle:
            self._retire(idle[0])
        return self._new_worker() if len(self._workers) < self._most else None

    def _new_worker(self) -> _Worker:
        worker = _Worker(self)
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

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> None:
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

    def _ended(self, worker: _Worker, run: _Run, outcome: Outcome) -> None:
        run.print(worker.child.last_output())
        worker.run = None
        run.end(outcome)
        if run.terminated:  # an exception out of nowhere may have left anything behind
            self._retire(worker, grace_s=0.0)
            self._dispatch()
        else:
            worker.later(TIDY_S, partial(self._retire, worker))

    def _died(self, worker: _Worker, how: str) -> None:
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

    def _lost(self, run: _Run, how: str, lines: list[str], *, again: bool) -> None:
        if again and not run.started and run.verdict is None and not self._closing:
            run.worker = None
            self._waiting.appendleft(run)  # nothing of it has begun
            return
        if run.started:
            run.print(lines)
            lines = []
        error = TaskError("worker_lost", f"the worker process died: {how}")
        run.end(Outcome(Status.FAILED, error=error, traceback=tuple(lines)))

    def _retire_surplus(self, worker: _Worker) -> None:
        if worker.idle and worker in self._workers and len(self._workers) > 1:
            self._retire(worker)

    def _retire(self, worker: _Worker, *, grace_s: float = QUIT_S) -> None:
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


class _Worker:
    """A child process and the run that it has."""

    def __init__(self, executor: ProcessExecutor) -> None:
        self._agenda = executor.agenda
        self.child: Child
        self.run: _Run | None = None
        self.idle = True
        self.proven = False
        self._files: dict[str, tuple[int, int]] = {}
        self._appointment: Appointment | None = None

    def take(self, run: _Run) -> None:
        """Hand the run to the process."""
        self.no_later()
        self.idle = False
        self.run = run
        run.worker = self
        if run.file is not None:
            self._files[run.file] = _signature(run.file)
        if self.proven:
            self.child.last_output()  # of nobody
        self.send({"run": job_to_wire(run.job)})

    def send(self, command: dict[str, Any]) -> None:
        self.child.send(command)
        self._flush()

    def _flush(self) -> None:
        if self.run is not None and not self.child.flush():
            self._agenda.call_after(FLUSH_EVERY_S, self._flush)

    def rest(self) -> None:
        self.no_later()
        self.idle = True

    def knows(self, file: str | None) -> bool:
        """Return whether the process has this file's present version, or not read it yet."""
        return file is None or self._files.get(file) in {None, _signature(file)}

    def later(self, delay_s: float, do: Callable[[], object]) -> None:
        self.no_later()
        self._appointment = self._agenda.call_after(delay_s, do)

    def no_later(self) -> None:
        if self._appointment is not None:
            self._appointment.cancel()
            self._appointment = None


class _Run:
    """One job from its submission to its end."""

    def __init__(self, executor: ProcessExecutor, job: Job, events: JobEvents) -> None:
        self._executor = executor
        self._agenda = executor.agenda
        self.job = job
        self.events = events
        self.file = file_of(job.function or "")
        self.worker: _Worker | None = None
        self.verdict: Outcome | None = None
        self.started = False
        self.terminated = False
        self._asked = False
        self._ended = False
        self._appointments: list[Appointment] = []

    def cancel(self) -> None:
        """Ask the body to stop; some time later SIGTERM, and SIGKILL, see to it."""
        self._agenda.call(self.stop)

    def kill(self, outcome: Outcome) -> None:
        """End the process now, with this outcome."""
        self._agenda.call(partial(self._kill, outcome))

    # All below runs on the agenda.

    def start(self) -> None:
        self.started = True
        if self.job.timeout_s is not None:
            self._later(self.job.timeout_s, partial(self._kill, timed_out(self.job.timeout_s)))
        self.events.started()

    def print(self, lines: list[str]) -> None:
        if lines:
            self.events.reports([{"task_id": self.job.task_id, "log": lines}])

    def stop(self) -> None:
        """Ask once; force follows."""
        if self._ended or self._asked:
            return
        self._asked = True
        if self.worker is None:
            self._executor.forget(self)
            self.end(CANCELLED)
            return
        self.worker.send({"cancel": True})
        self._later(self._executor.ask_s, self._terminate)

    def hurry(self) -> None:
        """Let force follow as soon as the executor's present times say."""
        if self.terminated and self.worker is not None:
            self._later(self._executor.term_s, self.worker.child.destroy)
        else:
            self._later(self._executor.ask_s, self._terminate)

    def _kill(self, outcome: Outcome) -> None:
        if self._ended:
            return
        self.verdict = self.verdict or outcome
        if self.worker is None:
            self._executor.forget(self)
            self.end(outcome)
        else:
            self._terminate()

    def _terminate(self) -> None:
        if self._ended or self.terminated or self.worker is None:
            return
        self.terminated = True
        self.verdict = self.verdict or CANCELLED
        self.worker.child.signal(signal.SIGTERM)
        self._later(self._executor.term_s, self.worker.child.destroy)

    def end(self, outcome: Outcome) -> None:
        if self._ended:
            return
        self._ended = True
        for appointment in self._appointments:
            appointment.cancel()
        self.events.ended(self.verdict or outcome)

    def _later(self, delay_s: float, do: Callable[[], object]) -> None:
        self._appointments.append(self._agenda.call_after(delay_s, do))


def _signature(file: str) -> tuple[int, int]:
    try:
        stat = Path(file).stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)
