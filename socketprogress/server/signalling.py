"""Changes → the signals that an application listens to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from socketprogress.core.hub import Changes
from socketprogress.core.protocol import snapshot
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status
from socketprogress.server.runtime import Runtime
from socketprogress.signals import task_finished, task_started, task_updated

if TYPE_CHECKING:
    from blinker import NamedSignal
    from flask import Flask

__all__ = ["Signalling"]

log = logging.getLogger(__name__)

SIGNALS = (task_started, task_updated, task_finished)


class Signalling:
    """Sends signals beside the loop's own work, of each task its newest state.

    Args:
        app: the sender.
        runtime: how to run beside others.
        prefix: the URL prefix of files.
        is_ours: whether it is for this server to tell of a task; of several, one does.
    """

    def __init__(
        self,
        app: Flask,
        runtime: Runtime,
        *,
        prefix: str,
        is_ours: Callable[[TaskState], bool],
    ) -> None:
        self._app, self._runtime, self._prefix = app, runtime, prefix
        self._is_ours = is_ours
        self._lock = runtime.threading.Lock()
        self._waiting: dict[str, TaskState] = {}
        self._begun: set[str] = set()
        self._sending = False

    def note(self, changes: Changes) -> None:
        """Take what changed; if nobody listens, forget it."""
        if not changes.tasks or not any(signal.has_receivers_for(self._app) for signal in SIGNALS):
            return
        ours = {}
        for task_id, state in changes.tasks.items():
            if self._is_ours(state):
                ours[task_id] = state
            elif state.ended:
                self._begun.discard(task_id)
            elif state.status is not Status.QUEUED:
                self._begun.add(task_id)  # its start has been told, should it become ours
        if not ours:
            return
        with self._lock:
            self._waiting.update(ours)
            idle, self._sending = not self._sending, True
        if idle:
            self._runtime.spawn(self._send_all)

    def _send_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._sending = False
                    return
                task_id, state = next(iter(self._waiting.items()))
                del self._waiting[task_id]
            self._send_of(state)

    def _send_of(self, state: TaskState) -> None:
        if state.status is Status.QUEUED:
            return
        task = snapshot(state, prefix=self._prefix)
        if state.task_id not in self._begun:
            self._begun.add(state.task_id)
            self._send(task_started, task)
        if state.ended:
            self._begun.discard(state.task_id)
        self._send(task_finished if state.ended else task_updated, task)

    def _send(self, signal: NamedSignal, task: dict[str, Any]) -> None:
        for receiver in signal.receivers_for(self._app):
            try:
                with self._app.app_context():
                    receiver(self._app, task=dict(task))
            except Exception:  # somebody else's code; the other receivers must hear of it too
                log.exception("a receiver of the signal %s failed", signal.name)
