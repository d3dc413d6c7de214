"""The worker's side: a task that runs reports, and how it ends is told."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import Celery, Task
from celery.exceptions import Ignore, Reject

from socketprogress.celery.installed import Installation, installation_of
from socketprogress.celery.offering import definition_named, described
from socketprogress.celery.publishing import group_of
from socketprogress.celery.reporting import TaskReporter
from socketprogress.celery.showing import progress_of
from socketprogress.client import process
from socketprogress.client.endings import Ending, ending_of
from socketprogress.core.errors import Cancelled

__all__ = [
    "extend",
    "make_cancellable",
    "on_failure",
    "on_postrun",
    "on_prerun",
    "on_retry",
    "on_revoked",
    "on_shutdown",
    "on_success",
    "on_unknown",
    "running",
]

log = logging.getLogger(__name__)

_running: dict[str, TaskReporter] = {}
"""By task id, the reporters of the tasks that run in this process."""


def running(task_id: str) -> TaskReporter | None:
    """Return the reporter of a task that runs in this process."""
    return _running.get(task_id)


def extend(base: type[Task]) -> None:
    """Have `update_state` report and `replace` be noted, and give every task its `progress`."""
    original, original_replace = base.update_state, base.replace

    @functools.wraps(original)
    def update_state(
        self: Task, task_id: str | None = None, state: Any = None, meta: Any = None, **request: Any
    ) -> Any:
        reporter = _running.get(task_id or self.request.id or "")
        if reporter is not None:
            reporter.check()
            try:
                _take(reporter, state, meta)
            except Exception:  # a meta of an odd kind must not break the task that sets it
                log.exception("what task %s says of its progress is left out", reporter.task_id)
        return original(self, task_id=task_id, state=state, meta=meta, **request)

    @functools.wraps(original_replace)
    def replace(self: Task, sig: Any) -> Any:
        reporter = _running.get(self.request.id or "")
        if reporter is not None:
            reporter.replaced = True
        return original_replace(self, sig)

    def progress(self: Task) -> TaskReporter | None:
        """Return the Reporter of the running task, or None where it is not shown."""
        return _running.get(self.request.id or "")

    base.update_state, base.replace = update_state, replace
    base.progress = property(progress)


def make_cancellable(app: Celery) -> None:
    """Have every task that `Cancelled` ends be revoked in Celery's eyes, and its worker go on."""
    for task in list(app.tasks.values()):
        if not task.name.startswith("celery.") and not hasattr(task.run, "revokes"):
            task.run = _cancellable(task, task.run)


def _cancellable(task: Task, run: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(run)
    def cancellable(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except Cancelled as exc:
            reporter = _running.get(task.request.id or "")
            if reporter is None:
                raise
            reporter.finish(Ending.by(exc))
            task.backend.mark_as_revoked(task.request.id, str(exc), request=task.request)
            raise Ignore(str(exc)) from None
        except Reject as exc:
            reporter = _running.get(task.request.id or "")
            # Only what is acknowledged late is still the broker's to give to another.
            if reporter is not None and not (exc.requeue and task.acks_late):
                reporter.end("failed", error=f"Rejected: {exc.reason or 'no reason'}")
            raise

    cancellable.revokes = True  # type: ignore[attr-defined]
    return cancellable


def on_prerun(task_id: str, task: Task, args: Any = (), kwargs: Any = None, **_: Any) -> None:
    """Go on with a task that a worker begins."""
    found = installation_of(task.app)
    about = None if found is None else _about(found, task, args, kwargs or {})
    if found is None or about is None or task.request.is_eager:
        return
    _running[task_id] = reporter = found.reporter(
        task_id=task_id,
        parent=group_of({"group": task.request.group, "group_index": task.request.group_index}),
        on_cancel=functools.partial(_end_by_force, found, task_id),
        # What is acknowledged late the broker gives to another worker.
        abandon_s=None if task.acks_late else found.abandon_s,
        **about,
    )
    delivery = task.request.delivery_info or {}
    replaces = getattr(task.request, "replaced_task_nesting", 0)
    if task.request.retries or delivery.get("redelivered") or replaces:
        reporter.reset()


def _about(found: Installation, task: Task, args: Any, kwargs: Any) -> dict[str, Any] | None:
    """Return what a task's reporter says of it; None where it is not shown."""
    about = described(task, kwargs)
    if about is not None:
        return {**about, "sent": kwargs}
    if not found.shows(task.name):
        return None
    said = {"argsrepr": task.request.argsrepr, "kwargsrepr": task.request.kwargsrepr}
    title, shown = found.call(task.name, args, kwargs, said)
    return {"name": task.name, "title": title, "args": shown}


def on_success(sender: Task, result: Any = None, **_: Any) -> None:
    """Take a task's result."""
    reporter = _running.get(sender.request.id or "")
    if reporter is not None:
        reporter.result = result
        reporter.end()


def on_failure(sender: Task, task_id: str, exception: BaseException, **_: Any) -> None:
    """Take a failure: of the task, or of the process that ran it."""
    if isinstance(exception, WorkerLostError):
        ending = ending_of("failed", {"code": "worker_lost", "message": str(exception)})
    elif isinstance(exception, TimeLimitExceeded):
        ending = ending_of("failed", {"code": "timeout", "message": str(exception)})
    else:
        ending = Ending.by(exception)
    _end(sender, task_id, ending)


def on_revoked(sender: Task, request: Any, expired: bool = False, **_: Any) -> None:
    """Take that a task was revoked, before it began or by force."""
    error = {"code": "timeout", "message": "the task has expired"} if expired else None
    _end(sender, request.id, ending_of("cancelled", error), sent=request.kwargs)


def on_retry(request: Any, reason: Any = None, **_: Any) -> None:
    """Say that a task waits to run again."""
    reporter = _running.get(request.id)
    if reporter is not None:
        reporter.rest(f"Retry {(request.retries or 0) + 1}: {reason}", for_s=_wait_s(reason))


def _wait_s(reason: Any) -> float:
    """Return the seconds from now until a retry, which Celery gives as a number or as a time."""
    when = getattr(reason, "when", None)
    if isinstance(when, datetime):
        return (when - datetime.now(when.tzinfo)).total_seconds()
    return float(when) if isinstance(when, int | float) else 0.0


def on_postrun(task_id: str, state: str | None = None, **_: Any) -> None:
    """Let go of a task that has run, and end what nothing else has ended."""
    reporter = _running.pop(task_id, None)
    if reporter is None or reporter.ended:
        return
    if state == "IGNORED" and not reporter.replaced:
        said = reporter.said
        reporter.end({"FAILURE": "failed", "REVOKED": "cancelled"}.get(said, "completed"))
    elif state == "REJECTED":
        reporter.rest("Back in the queue")
    else:  # another goes on in its place, or its process is being ended: who ends it will tell why
        reporter.rest()


def on_unknown(sender: Any, name: str, id: str, message: Any = None, **_: Any) -> None:
    """Fail what this worker does not know, as Celery does."""
    definition, found = definition_named(name), installation_of(sender.app)
    if found is None or not (definition or found.shows(name)):
        return
    sent = _sent_with(message) if definition else None
    advice = (
        "give its module or function to install(…, tasks=[…])" if definition else "import it there"
    )
    error = f"the Celery worker {sender.hostname} does not know the task {definition or name!r}: "
    reporter = found.reporter(definition or name, id, sent=sent, parent=None)
    reporter.end("failed", error=f"{error}{advice} and start the worker again")


def on_shutdown(**_: Any) -> None:
    """Deliver what is left when a pool's process ends: it does not run what `atexit` has."""
    process.flush()


def _take(reporter: TaskReporter, state: Any, meta: Any) -> None:
    told = progress_of(state, meta)
    reporter.said = str(state or "")
    if told.total is not None:
        reporter.total = told.total
    if told.current is not None:
        reporter.current = told.current
    if told.unit is not None:
        reporter.unit = told.unit
    if told.message is not None:
        reporter.message = told.message


def _sent_with(message: Any) -> Any:
    """Return the keyword arguments in a message, if they can be read."""
    try:
        return message.payload[1]
    except Exception:  # noqa: BLE001 - whatever it is, this worker cannot run it
        return None


def _end(task: Task, task_id: str, ending: Ending, *, sent: Any = None) -> None:
    """End a task, be it from another process than the one that ran it."""
    reporter = _running.get(task_id)
    if reporter is None:
        found = installation_of(task.app)
        definition = definition_named(task.name)
        if found is None or not (definition or found.shows(task.name)):
            return
        sent = (sent or task.request.kwargs) if definition else None
        reporter = found.reporter(definition or task.name, task_id, sent=sent, parent=None)
    reporter.finish(ending)


def _end_by_force(found: Installation, task_id: str) -> None:
    """Have the worker end a task that does not notice that it is cancelled."""
    timer = threading.Timer(found.cancel_grace_s, _terminate, args=(found.app, task_id))
    timer.daemon = True
    timer.start()


def _terminate(app: Celery, task_id: str) -> None:
    reporter = _running.get(task_id)
    if reporter is not None and not reporter.ended:
        app.control.revoke(task_id, terminate=True)
