"""The worker's side of `executor="celery"`: definitions as Celery tasks that a server starts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery, Task

from socketprogress.celery.reporting import TaskReporter
from socketprogress.client.endings import Ending
from socketprogress.core.errors import Cancelled, ConfigurationError, TaskFailure
from socketprogress.core.ports import Job, Outcome
from socketprogress.core.registry import Definition, Registry
from socketprogress.core.reporter import Reporter
from socketprogress.core.state import TaskError
from socketprogress.core.status import Status
from socketprogress.executors.body import Body, timed_out

__all__ = ["GRACE_S", "celery_name", "definition_named", "described", "offer", "registry_of"]

PREFIX = "socketprogress."
ARGS_CHARS = 16_000
GRACE_S = 5.0
"""Seconds that a body has to end when its time is over, until its process is ended."""

Find = Callable[[str], TaskReporter | None]


def celery_name(name: str) -> str:
    """Return the name that a definition's Celery task has, to route and to limit it by."""
    return f"{PREFIX}{name}"


def definition_named(celery_name: str) -> str | None:
    """Return the definition's name that such a name is made of; None for any other task's."""
    return celery_name.removeprefix(PREFIX) if celery_name.startswith(PREFIX) else None


def registry_of(given: Iterable[Any]) -> Registry:
    """Return the definitions among modules, marked functions and definitions.

    Raises:
        ConfigurationError: one of them is none of that, or two have one name.
    """
    registry = Registry()
    for one in given:
        if isinstance(one, ModuleType):
            found = registry.add_all(list(vars(one).values()))
        elif isinstance(one, Definition):
            found = bool(registry.add(one))
        else:
            found = registry.add_all([one])
        if not found:
            raise ConfigurationError(f"{one!r} has no function marked with @socketprogress.task")
    return registry


def offer(app: Celery, registry: Registry, *, reporter_of: Find) -> None:
    """Register a Celery task for each definition.

    Args:
        app: the application.
        registry: what its workers can run.
        reporter_of: returns the reporter of a running task.
    """
    for definition in registry:
        app.task(
            name=celery_name(definition.name),
            bind=True,
            shared=False,
            acks_late=False,  # nothing is run again by itself
            typing=False,
            definition=definition,
        )(_bound(reporter_of))


def _bound(reporter_of: Find) -> Callable[..., Any]:
    # A function, since Celery makes a method of it.
    def run(self: Task, *, args: Mapping[str, Any], title: str = "", home: Any = None) -> Any:  # noqa: ARG001 - its reporter has been there
        return _run(reporter_of, self, args=args, title=title)

    return run


def described(task: Task, kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the name and more of the reporter of a definition's task; None for any other task.

    Args:
        task: Celery's.
        kwargs: what it was sent with.
    """
    definition: Definition | None = getattr(task, "definition", None)
    if definition is None:
        return None
    args = kwargs.get("args") or {}
    is_short = len(json.dumps(args)) <= ARGS_CHARS  # the server knows them, if it is the same one
    return {
        "name": definition.name,
        "title": str(kwargs.get("title") or definition.title_for(args)),
        "unit": definition.unit,
        "steps": dict(definition.steps),
        "cancellable": definition.cancellable,
        "args": args if is_short else None,
    }


def _run(reporter_of: Find, task: Task, *, args: Mapping[str, Any], title: str) -> Any:
    """Run a definition as a thread of the server would."""
    definition: Definition = task.definition
    task_id = str(task.request.id or "")
    job = Job(
        task_id=task_id,
        function=definition.name,
        call=definition.function,
        args=args,
        output_dir=Path(),
        title=title,
        cancellable=definition.cancellable,
        timeout_s=definition.timeout_s,
    )
    told = reporter_of(task_id)
    body = _Body(job, told or Reporter(definition.name, task_id=task_id, steps=definition.steps))
    if told is not None:
        told.attach(None, stop=body.cancel)
    outcome = body.run_within(definition)
    if outcome.status is Status.COMPLETED:
        return outcome.result
    if outcome.status is Status.CANCELLED:
        raise Cancelled(f"task {task_id} was cancelled")
    error = outcome.error or TaskError("exception", "failed")
    if told is not None:
        failed = {"code": error.code, "message": error.message}
        told.finish(Ending("failed", failed, outcome.traceback))
    raise body.failure or TaskFailure(error.message, code=error.code)


class _Body(Body):
    """A body whose time is watched, and of which it is known what it raised."""

    def __init__(self, job: Job, reporter: Reporter | None) -> None:
        super().__init__(job, reporter)
        self.failure: Exception | None = None
        self._late = False

    def run_within(self, definition: Definition) -> Outcome:
        """Check the arguments and run the function, for as long as the definition allows."""
        timeout_s = self.job.timeout_s
        timer = threading.Timer(timeout_s or 0.0, self._stop)
        timer.daemon = True
        if timeout_s is not None:
            timer.start()
        try:
            outcome = self.run(lambda: self._checked(definition))
        finally:
            timer.cancel()
        if self._late and timeout_s is not None and outcome.status is not Status.COMPLETED:
            self.failure = None
            return timed_out(timeout_s)
        return outcome

    def _stop(self) -> None:
        self._late = True
        self.cancel()

    def _checked(self, definition: Definition) -> Callable[..., Any]:
        """Return the function, once its arguments have passed this worker's own check too."""
        definition.binding.check(self.job.args)
        return definition.function

    def _ended_by(self, exc: BaseException) -> Outcome:
        # Of others, such as SystemExit, Celery's worker would end.
        self.failure = exc if isinstance(exc, Exception) else None
        return super()._ended_by(exc)
