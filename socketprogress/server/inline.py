"""Tasks that run where they are started, to their end: for an application's own tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from socketprogress.core.hub import Hub
from socketprogress.core.ports import Executor, Job, JobEvents, Outcome, Running
from socketprogress.core.protocol import snapshot
from socketprogress.core.state import TaskState
from socketprogress.executors.body import Body
from socketprogress.executors.modules import Modules
from socketprogress.executors.results import condense
from socketprogress.server.engine import Engine
from socketprogress.stores.memory import MemoryStore

if TYPE_CHECKING:
    from socketprogress.server.installation import Installation

__all__ = ["InlineEngine", "InlineProgress"]


class InlineProgress:
    """What an application's tasks did in a test.

    Args:
        installation: the application's.

    Attributes:
        raises: whether what a task raises is raised where it was started, too.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.raises = False

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The snapshots of all tasks, in the order of their start."""
        states = self._installation.engine.hub.all()
        ordered = sorted(states, key=lambda state: state.created_at)
        return [snapshot(state, prefix=self._installation.url_prefix) for state in ordered]

    @property
    def last(self) -> dict[str, Any]:
        """The snapshot of the task started last.

        Raises:
            LookupError: none was.
        """
        if not self.tasks:
            raise LookupError("no task was started")
        return self.tasks[-1]

    def log(self, task_id: str) -> list[str]:
        """Return the lines of a task's log, a traceback included."""
        page = self._installation.engine.service.log_page(task_id, offset=0, limit=10_000)
        return list(page.lines)


class InlineEngine(Engine):
    """An engine without a thread: a task has ended when its start returns."""

    def start(self) -> None:
        """Do nothing: nothing has been, and nothing goes on beside."""

    def failure(self, task_id: str) -> BaseException | None:
        """Return what ended a task, if it was an exception; once."""
        return self._inline.failures.pop(task_id, None)

    def _hub(self) -> Hub:
        hub = super()._hub()
        hub.store = _InlineStore(threading=self.runtime.threading)
        return hub

    def _executors(self) -> Mapping[str, Executor]:
        self._inline = _InlineExecutor()
        return dict.fromkeys(("process", "thread", "hub", "celery"), self._inline)

    def _spawn(self, function: Callable[[], None]) -> None:
        function()


class _InlineStore(MemoryStore):
    """Calls back at once."""

    def save(
        self,
        state: TaskState,
        *,
        log: tuple[int, Sequence[str]] | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        super().save(state, log=log)
        if on_saved is not None:
            on_saved()


class _InlineExecutor:
    """Runs each body when it is submitted."""

    def __init__(self) -> None:
        self.failures: dict[str, BaseException] = {}
        self._modules = Modules()

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Run a job to its end."""
        body = _Body(job)
        events.started()
        outcome = body.run(lambda: job.call or self._modules.function(job.function or ""))
        events.reports(condense(body.reporter.collect()))
        if body.raised is not None:
            self.failures[job.task_id] = body.raised
        events.ended(outcome)
        return _Over()

    def close(self, timeout_s: float) -> None:
        """Do nothing: nothing runs."""


class _Body(Body):
    raised: BaseException | None = None

    def _ended_by(self, exc: BaseException) -> Outcome:
        self.raised = exc
        return super()._ended_by(exc)


class _Over:
    def cancel(self) -> None:
        """Do nothing: it is over."""

    def kill(self, outcome: Outcome) -> None:
        """Do nothing: it is over."""
