"""What every face of the server may ask for: events, routes and the extension call nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from socketprogress.core.errors import (
    AlreadyRunning,
    InvalidArguments,
    StoreError,
    Unavailable,
    UnknownDefinition,
    UnknownTask,
)
from socketprogress.core.hub import Hub
from socketprogress.core.ports import Dispatcher, Executor, Job, LogPage
from socketprogress.core.protocol import check_task_id, one_line
from socketprogress.core.registry import Definition, Registry
from socketprogress.core.state import TaskError, TaskState
from socketprogress.core.status import Status
from socketprogress.core.steps import make
from socketprogress.server.handover import HandedOver, args_for
from socketprogress.server.metrics import Metric, Metrics
from socketprogress.server.permits import Permits
from socketprogress.server.policy import Policy
from socketprogress.server.remote import Remote
from socketprogress.server.reporting import Reporting
from socketprogress.server.runtime import Runtime
from socketprogress.server.settings import Settings
from socketprogress.server.supervisor import STOPPED, Supervisor
from socketprogress.server.uploading import Uploads

if TYPE_CHECKING:
    from socketprogress.server.cluster import Cluster

__all__ = ["Service"]

log = logging.getLogger(__name__)

LEASE_S = 30.0


class Service:
    """Starts, cancels, retries and reads tasks.

    Args:
        hub: the live tasks.
        registry: the definitions.
        settings: bounds and folders.
        runtime: how to run and to wait.
        executors: where bodies run, by the definition's `executor`.
        policy: what somebody may do.
        spawn: starts a supervisor; `socketio.start_background_task`.
        dispatcher: the way to the workers of `executor="celery"`, if there is one.

    Attributes:
        permits: says what somebody may do and see; whoever calls for somebody asks it first.
        cluster: the other servers, where the store is shared.
        uploads: takes files that are sent.
        reporting: takes what reporters elsewhere say.
        metrics: counts what happens.
        remote: sends what workers elsewhere run.
        gauges: returns how the server is at this moment, for its metrics.
        on_cancel: called with the id of a task whose cancellation its reporter must hear of.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        registry: Registry,
        settings: Settings,
        runtime: Runtime,
        executors: Mapping[str, Executor],
        policy: Policy,
        spawn: Any,
        dispatcher: Dispatcher | None = None,
    ) -> None:
        self.hub = hub
        self.registry = registry
        self.settings = settings
        self._runtime = runtime
        self._executors = dict(executors)
        self._spawn = spawn
        self._supervisors: dict[str, Supervisor] = {}
        self._stopping = False
        self.remote = Remote(hub, runtime, dispatcher)
        self.permits = Permits(hub, policy)
        self.reporting = Reporting(hub, runtime, ping_timeout_s=settings.ping_timeout_s)
        self.uploads = Uploads(
            hub, registry, settings, runtime, self._take_over, claiming=self._claiming
        )
        self.cluster: Cluster | None = None
        self.metrics = Metrics(hub.epoch)
        self.gauges: Callable[[], list[Metric]] = list
        self.on_cancel: Callable[[str], None] = lambda _: None

    def start(
        self,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        *,
        title: str | None = None,
        task_id: str | None = None,
        tags: Sequence[str] = (),
        lax: bool = False,
        trusted: bool = False,
        parent_id: str | None = None,
    ) -> TaskState:
        """Start a task and return its state.

        Args:
            name: the definition's; None for the default task.
            args: its arguments by name, JSON values.
            title: one line for people, instead of the definition's.
            task_id: an idempotency key: the same again is the same task.
            tags: words to find it by.
            lax: take texts for numbers, as forms give them.
            trusted: the caller is the application itself, whose paths may leave the root.
            parent_id: the task that this one belongs to.

        Raises:
            UnknownDefinition, InvalidArguments, InvalidPayload, AlreadyRunning, Unavailable.
        """
        if self._stopping:
            raise Unavailable("the server is stopping and starts no more tasks")
        if task_id is not None and self._known(task_id):
            return self.hub.get(task_id)
        definition = self.registry.get(name if name is not None else self.settings.default_task)
        root = None if trusted else self.settings.root
        checked = definition.binding.check(args or {}, root=root, lax=lax)
        executor = self._executor_of(definition)
        is_here = executor is not None
        create = partial(
            self.hub.create,
            definition.name,
            title=one_line(title or "", self.settings.max_title_chars)
            or definition.title_for(self._shown(definition, checked)),
            max_running=definition.max_running,
            lease_s=LEASE_S if definition.where == "process" or not is_here else None,
            steps=make(dict(definition.steps)),
            unit=definition.unit,
            cancellable=definition.cancellable,
            parent_id=parent_id,
            tags=tuple(tags),
            args=checked,
            source="server" if is_here else "celery",
            dispatched=not is_here,
        )
        state, is_new = self._claiming(task_id, definition, create)
        if is_new:
            self._launch(definition, state, executor)
        return state

    def _claiming(
        self,
        task_id: str | None,
        definition: Definition,
        create: Callable[..., tuple[TaskState, bool]],
    ) -> tuple[TaskState, bool]:
        """Create a task, by its `task_id`, unless another server has, or runs too many of its kind."""
        if self.cluster is None or (task_id is None and definition.max_running is None):
            return create(task_id=task_id)
        task_id = task_id or self.hub.new_id()
        elsewhere = self.cluster.claim(task_id, definition.name, definition.max_running)
        if elsewhere is not None:
            return elsewhere, False
        try:
            return create(task_id=task_id)
        except BaseException:
            self.cluster.release(task_id, definition.name)
            raise

    def cancel(self, task_id: str) -> TaskState:
        """Ask for a task's end and return its state.

        Raises:
            UnknownTask, TaskEnded, NotCancellable.
            Unavailable: another server runs it, and cannot be told.
        """
        if self.cluster is not None and self.hub.is_foreign(task_id):
            return self.cluster.cancel(task_id)
        state = self.hub.request_cancel(task_id)
        supervisor = self._supervisors.get(task_id)
        if supervisor is not None:
            supervisor.cancel()
        elif self.uploads.cancel(task_id):
            state = self.hub.get(task_id)
        else:
            self.on_cancel(task_id)
            self.remote.cancel(state)
        return state

    def abandon(self, task_id: str) -> None:
        """End the work of a task that another server speaks for now."""
        supervisor = self._supervisors.get(task_id)
        if supervisor is not None:
            log.warning("another server speaks for task %s now: its work here is stopped", task_id)
            supervisor.cancel()

    def retry(self, task_id: str) -> TaskState:
        """Start an ended task's work again as a new task and return its state.

        Raises:
            UnknownTask, UnknownDefinition, AlreadyRunning.
            InvalidArguments: it worked on an upload, which is gone with its end.
        """
        old = self.hub.get(task_id)
        if not old.ended:
            raise AlreadyRunning(
                f"task {task_id} is {old.status.value}: cancel it before you retry it",
                running=[task_id],
            )
        if old.source != "server" and not old.dispatched:
            raise UnknownDefinition(f"task {task_id} ran elsewhere: start it there again")
        if old.uploaded:
            field = self._file_field(old.name)
            raise InvalidArguments("the uploaded file is gone: upload it again", field=field)
        return self.start(
            old.name, old.args, title=old.title, tags=old.tags, parent_id=old.parent_id
        )

    def _file_field(self, name: str) -> str:
        """Return which argument a definition's file is; of an upload for none, the form's field."""
        try:
            return self.registry.get(name).binding.file or "file"
        except UnknownDefinition:
            return "file"

    def log_page(self, task_id: str, *, offset: int = 0, limit: int = 200) -> LogPage:
        """Return a part of a task's log; a negative offset counts from the end.

        Raises:
            UnknownTask: there is no such task.
            Unavailable: the store does not answer.
        """
        self.hub.get(task_id)
        try:
            return self._runtime.run_blocking(self.hub.store.read_log, task_id, offset, limit)
        except StoreError as exc:
            raise Unavailable(f"the log cannot be read now: {exc}") from exc

    def file(self, task_id: str, name: str) -> Path:
        """Return the path of a task's result file.

        Raises:
            UnknownTask: there is no such task, or it has no such file.
        """
        state = self.hub.get(task_id)
        known = any(file.name == name for file in state.files)
        path = self.output_dir(task_id) / name
        if not known or path.parent != self.output_dir(task_id) or not path.is_file():
            raise UnknownTask(f"task {task_id} has no file {name!r}", field="name")
        return path

    def output_dir(self, task_id: str) -> Path:
        """Return the directory of a task's result files."""
        return self.settings.data / "files" / task_id

    def health(self) -> dict[str, Any]:
        """Return ``{status, reasons}``."""
        reasons = self.hub.problems()
        if self._stopping:
            reasons.append("the server is stopping")
        return {"status": "degraded" if reasons else "ok", "reasons": reasons}

    def close(self) -> None:
        """End everything that runs or waits within the grace, booked as `shutdown`."""
        self._stopping = True
        self.uploads.close()
        for supervisor in list(self._supervisors.values()):
            supervisor.stop()
        deadline = time.monotonic() + self.settings.grace_s
        for executor in self._executors.values():
            left = max(deadline - time.monotonic(), 0.1)
            self._runtime.run_blocking(executor.close, left)
        while self._supervisors and time.monotonic() < deadline:
            self._runtime.sleep(0.01)
        for task_id in self.hub.active():
            if self.hub.get(task_id).source == "server" and not self.hub.is_foreign(task_id):
                self.hub.end(task_id, Status.CANCELLED, error=STOPPED)
        self.reporting.stop()

    def _known(self, task_id: str) -> bool:
        check_task_id(task_id)
        try:
            self.hub.get(task_id)
        except UnknownTask:
            return False
        return True

    def _executor_of(self, definition: Definition) -> Executor | None:
        """Return who runs a definition here; None where workers elsewhere do."""
        executor = self._executors.get(definition.where)
        if executor is None:
            self.remote.check(definition.name)
        return executor

    def _launch(self, definition: Definition, state: TaskState, executor: Executor | None) -> None:
        job = self._job(definition, state)
        if executor is None:
            if self.cluster is not None:  # whoever begins it shall find it there
                self.cluster.settle()
            self.remote.send(definition.name, job)
        else:
            self._run(job, Supervisor(job, executor, self.hub, self._runtime))

    def _shown(self, definition: Definition, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as a title has them: paths from the root on."""
        root = str(self.settings.root.resolve())
        shown = {**dict.fromkeys(definition.binding.paths, Path(root).name), **args}
        for name, value in args.items():
            if isinstance(value, str) and value.startswith(root):
                shown[name] = value[len(root) :].lstrip("/") or Path(root).name
        return shown

    def _job(self, definition: Definition, state: TaskState) -> Job:
        return Job(
            task_id=state.task_id,
            function=definition.importable,
            call=definition.function,
            args={**state.args, **definition.bound},
            output_dir=self.output_dir(state.task_id),
            title=state.title,
            unit=state.unit,
            steps=dict(definition.steps),
            cancellable=definition.cancellable,
            timeout_s=definition.timeout_s,
        )

    def _take_over(
        self, definition: Definition, state: TaskState, file: Path, on_over: Callable[[], None]
    ) -> None:
        """Have a definition work on the file that its task has begun with."""
        executor = self._executors[definition.where]  # the plan has refused all others
        job = replace(self._job(definition, state), args=args_for(definition, state, file))
        supervisor = HandedOver(job, executor, self.hub, self._runtime, on_over=on_over)
        self._run(job, supervisor)
        if self._stopping:
            supervisor.stop()
        elif self.hub.get(state.task_id).cancel_requested:
            supervisor.cancel()

    def _run(self, job: Job, supervisor: Supervisor) -> None:
        self._supervisors[job.task_id] = supervisor

        def supervise() -> None:
            try:
                supervisor.run()
            finally:
                self._supervisors.pop(job.task_id, None)

        try:
            self._spawn(supervise)
        except RuntimeError as exc:  # the system's limit on threads
            self._supervisors.pop(job.task_id, None)
            error = TaskError("worker_lost", f"nothing can watch over this task: {exc}")
            self.hub.end(job.task_id, Status.FAILED, error=error)
