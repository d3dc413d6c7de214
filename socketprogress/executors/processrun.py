"""One job and one process of the process executor: how they come together, stop and end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from socketprogress.core.ports import Job, JobEvents, Outcome
from socketprogress.core.status import Status
from socketprogress.executors.agenda import Agenda, Appointment
from socketprogress.executors.body import timed_out
from socketprogress.executors.child import Child
from socketprogress.executors.modules import file_of
from socketprogress.executors.wire import job_to_wire

__all__ = ["CANCELLED", "ProcessRun", "WorkerHandle"]

CANCELLED = Outcome(Status.CANCELLED)
FLUSH_EVERY_S = 0.02


class Pool(Protocol):
    """What a run needs of its executor; `ask_s` and `term_s` are the seconds before force."""

    agenda: Agenda
    ask_s: float
    term_s: float

    def forget(self, run: ProcessRun) -> None:
        """Take a run out of the queue."""


class WorkerHandle:
    """A child process and the run that it has."""

    def __init__(self, agenda: Agenda) -> None:
        self._agenda = agenda
        self.child: Child
        self.run: ProcessRun | None = None
        self.idle = True
        self.proven = False
        self._files: dict[str, tuple[int, int]] = {}
        self._appointment: Appointment | None = None

    def take(self, run: ProcessRun) -> None:
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
        """Send a command; what the pipe does not take at once goes later."""
        self.child.send(command)
        self._flush()

    def _flush(self) -> None:
        if self.run is not None and not self.child.flush():
            self._agenda.call_after(FLUSH_EVERY_S, self._flush)

    def rest(self) -> None:
        """Note that the process waits for its next run."""
        self.no_later()
        self.idle = True

    def knows(self, file: str | None) -> bool:
        """Return whether the process has this file's present version, or not read it yet."""
        return file is None or self._files.get(file) in {None, _signature(file)}

    def later(self, delay_s: float, do: Callable[[], object]) -> None:
        """Carry out this, and only this, in `delay_s` seconds."""
        self.no_later()
        self._appointment = self._agenda.call_after(delay_s, do)

    def no_later(self) -> None:
        """Carry out nothing later."""
        if self._appointment is not None:
            self._appointment.cancel()
            self._appointment = None


class ProcessRun:
    """One job from its submission to its end."""

    def __init__(self, executor: Pool, job: Job, events: JobEvents) -> None:
        self._executor = executor
        self._agenda = executor.agenda
        self.job = job
        self.events = events
        self.file = file_of(job.function or "")
        self.worker: WorkerHandle | None = None
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
        """Tell that the body begins, and let its time run."""
        self.started = True
        if self.job.timeout_s is not None:
            self._later(self.job.timeout_s, partial(self._kill, timed_out(self.job.timeout_s)))
        self.events.started()

    def print(self, lines: list[str]) -> None:
        """Hand on what the process has printed."""
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
        """Tell the end, once; a verdict stands above the body's own end."""
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
