"""Tasks that this server starts and workers elsewhere run: they are sent, and report on themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from socketprogress.core.errors import ConfigurationError, TaskEnded, Unavailable, UnknownTask
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Dispatcher, Job
from socketprogress.core.state import TaskError, TaskState
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime

__all__ = ["Remote", "dispatcher_of"]

log = logging.getLogger(__name__)

SENT_WITHIN_S = 5.0
MOST_STUCK = 8
"""How many tasks may hang on their way, each with its thread, until no more are sent."""
ASK_EVERY_S = 10.0
ASKED = 4
"""How often workers are asked for a task that is lost until their silence is believed."""

GONE = TaskError("worker_lost", "its worker is silent, and no other one has it")


class Remote:
    """Sends tasks, and has those not begin that are cancelled while they wait.

    Args:
        hub: the live tasks.
        runtime: how to wait.
        dispatcher: the way to the workers; None where there is none.

    Attributes:
        sent_within_s: how long the broker may take for a task.
        ask_every_s: how often workers are asked for tasks that are lost.
    """

    def __init__(self, hub: Hub, runtime: Runtime, dispatcher: Dispatcher | None) -> None:
        self._hub, self._runtime = hub, runtime
        self.dispatcher = dispatcher
        self.sent_within_s = SENT_WITHIN_S
        self.ask_every_s = ASK_EVERY_S
        self._stuck: set[_Sending] = set()
        self._unknown: dict[str, int] = {}
        self._ask_at = 0.0
        self._asking = False

    def check(self, name: str) -> None:
        """Let a definition be started only where there is a way to its workers.

        Raises:
            Unavailable: there is none.
        """
        if self.dispatcher is None:
            raise Unavailable(
                f"{name!r} runs on Celery's workers, and this server knows no Celery application: "
                "name it by --celery module:app, SOCKETPROGRESS_CELERY or SocketProgress(app, celery=…)"
            )

    def send(self, name: str, job: Job) -> None:
        """Send a task that has just been made; it is there no more if that fails.

        Unless a worker has begun it meanwhile: the broker had taken it, and only did not say so.

        Raises:
            Unavailable: the broker refuses it or does not answer.
        """
        try:
            self._send(name, job)
        except Unavailable:
            if self._hub.discard(job.task_id):
                raise

    def cancel(self, state: TaskState) -> None:
        """Have a task that waits not begin; it is cancelled once that is certain."""
        waits = state.status is Status.QUEUED and not state.gathers
        if waits and self._is_theirs(state):
            _in_thread(self._runtime, lambda: self._revoke(state.task_id))

    def review(self, now: float) -> None:
        """Ask the workers, now and then, for what is lost: what none of them has has failed.

        Args:
            now: monotonic seconds.
        """
        if self.dispatcher is None or self._asking or now < self._ask_at:
            return
        lost = self._lost() if self._hub.counts()[Status.LOST] else []
        self._unknown = {task_id: self._unknown.get(task_id, 0) for task_id in lost}
        if lost:
            self._asking, self._ask_at = True, now + self.ask_every_s
            _in_thread(self._runtime, self._ask)

    def _send(self, name: str, job: Job) -> None:
        self._stuck -= {one for one in tuple(self._stuck) if one.is_over}
        if len(self._stuck) >= MOST_STUCK:
            raise Unavailable(
                "Celery's broker does not answer: earlier tasks are still on their way"
            )
        sending = _Sending(self._runtime, self.dispatcher, name, job)
        try:
            sending.wait(self.sent_within_s)
        except Unavailable:
            self._stuck.add(sending)
            raise

    def _lost(self) -> list[str]:
        """Return what nobody will begin again, and this server has to speak for."""
        active = (self._hub.get(task_id) for task_id in self._hub.active())
        return [
            state.task_id
            for state in active
            if state.status is Status.LOST
            and state.abandon_s is not None
            and self._is_theirs(state)
            and not self._hub.is_foreign(state.task_id)
        ]

    def _is_theirs(self, state: TaskState) -> bool:
        """Return whether these workers can be asked: another application's know nothing of a task."""
        if self.dispatcher is None or state.source != "celery":
            return False
        return state.dispatched or self.dispatcher.owns(state.name)

    def _ask(self) -> None:
        try:
            known = set[str]() if self.dispatcher is None else self.dispatcher.known(self._unknown)
            for task_id in self._unknown:
                self._unknown[task_id] = 0 if task_id in known else self._unknown[task_id] + 1
            still_lost = set(self._lost())
            for task_id, times in self._unknown.items():
                if times >= ASKED and task_id in still_lost:
                    self._hub.end(task_id, Status.FAILED, error=GONE)
        except Exception as exc:  # noqa: BLE001 - the broker's driver may raise anything; ask again
            log.warning("Celery's workers cannot be asked for what is lost: %s", exc)
        finally:
            self._asking = False

    def _revoke(self, task_id: str) -> None:
        try:
            if self.dispatcher is not None and self.dispatcher.revoke(task_id):
                self._hub.end(task_id, Status.CANCELLED)
        except (TaskEnded, UnknownTask):
            log.debug("task %s has ended before it was revoked", task_id)
        except Exception:  # the broker's driver may raise anything; its worker will hear of it
            log.exception("task %s could not be revoked", task_id)


class _Sending:
    """One task on its way to the broker, for which nobody waits for ever.

    Attributes:
        is_over: whether the broker has taken or refused it.
    """

    def __init__(
        self, runtime: Runtime, dispatcher: Dispatcher | None, name: str, job: Job
    ) -> None:
        self._dispatcher, self._name, self._job = dispatcher, name, job
        self._lock = runtime.threading.Lock()
        self._done = runtime.signal()
        self.is_over = self._given_up = self._is_sent = False
        self._error: Exception | None = None
        _in_thread(runtime, self._send)

    def wait(self, timeout_s: float) -> None:
        """Wait until it is sent.

        Raises:
            Unavailable: it is not, and will not be.
        """
        self._done.wait(timeout_s)
        with self._lock:
            if not self.is_over:
                self._given_up = True
                raise Unavailable(f"Celery's broker has not taken the task within {timeout_s:g} s")
        if self._error is not None:
            reason = f"{type(self._error).__name__}: {self._error}"
            raise Unavailable(f"Celery's broker cannot be reached: {reason}") from self._error

    def _send(self) -> None:
        try:
            if self._dispatcher is not None:
                self._dispatcher.reach()
                if not self._given_up:
                    self._dispatcher.send(self._name, self._job)
                    self._is_sent = True
        except Exception as exc:  # noqa: BLE001 - the driver's own; it is told by `wait`
            self._error = exc
        with self._lock:
            self.is_over, too_late = True, self._given_up
        self._done.set()
        if too_late and self._is_sent and self._dispatcher is not None:
            log.warning("task %s was sent when nobody waited any more", self._job.task_id)
            self._dispatcher.revoke(self._job.task_id)


def dispatcher_of(celery: Any, data: Path | None = None) -> Dispatcher | None:
    """Return the way to the workers of a Celery application.

    Args:
        celery: the application, or `module:app`; None or an empty text for none.
        data: this server's data folder.

    Raises:
        ConfigurationError: there is no such application, or Celery is not installed.
    """
    if not celery:
        return None
    try:
        from socketprogress.celery.dispatching import CeleryDispatcher, find_app  # noqa: PLC0415
    except ImportError as exc:
        raise ConfigurationError(
            f"a Celery application needs Celery ({exc}): pip install 'socketprogress[celery]'"
        ) from exc
    app = find_app(celery) if isinstance(celery, str) else celery
    return CeleryDispatcher(app, data=data)


def _in_thread(runtime: Runtime, function: Callable[[], None]) -> None:
    runtime.threading.Thread(target=function, name="socketprogress-celery", daemon=True).start()
