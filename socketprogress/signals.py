"""Signals of what happens to an application's tasks, by blinker; the sender is the Flask app.

    from socketprogress.signals import task_finished

    @task_finished.connect_via(app)
    def note(app, task): ...

Each receiver is called with ``task``, a snapshot, within the app's context. It is called on a
greenlet of its own, in threading mode on a thread of its own, after the watchers have been told:
so it may take its time, but signals wait for one another. What it raises is logged.
"""

from __future__ import annotations

from blinker import Namespace

__all__ = ["task_finished", "task_started", "task_updated"]

_signals = Namespace()

task_started = _signals.signal("task-started", "A task has begun, or its reporter was heard of.")
task_updated = _signals.signal(
    "task-updated", "A task's newest state; what was in between is left out."
)
task_finished = _signals.signal(
    "task-finished", "A task has ended: its status says how. Sent once."
)
