"""What the core asks of the outside: clock, store, executors, sinks and native threads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

if TYPE_CHECKING:  # who reports needs no states, nor what they are made of
    from socketprogress.core.state import TaskError, TaskState
    from socketprogress.core.status import Status

__all__ = [
    "Clock",
    "Dispatcher",
    "Executor",
    "Job",
    "JobEvents",
    "LogPage",
    "Outcome",
    "Report",
    "Running",
    "Sink",
    "Store",
    "Threading",
]

Threading = ModuleType
"""The `threading` module to take threads, locks and conditions from: in a process that an
application has monkey-patched it is the original one, so that threads are native."""

Lock = AbstractContextManager[Any]


class Clock(Protocol):
    """The two clocks: one for times that people read, one for rates and leases."""

    def wall(self) -> float:
        """Return Unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""


class Report(TypedDict, total=False):
    """What a reporter says of its task; a key that is absent changes nothing.

    `current` replaces and `advance` adds to the count; `total` may be None (unknown); `step` enters
    the step of that name and starts the counts again; `reset` starts the percent again. `status`,
    `result` and `error` end the task. `abandon_s` is how long it may be `lost` from now on. An empty report only says that the worker is alive.
    """

    task_id: str
    current: float
    advance: float
    total: float | None
    unit: str
    title: str
    message: str
    step: str
    reset: bool
    log: list[str]
    files: list[dict[str, Any]]
    status: str
    result: Any
    error: dict[str, str] | None
    reporter_seq: int
    abandon_s: float


class Sink(Protocol):
    """Where a process's reports go."""

    def send(self, reports: Sequence[Report]) -> None:
        """Take the reports; never block for long and never raise."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines of a task's log from `offset` on; ask on at `next_offset`, which may be equal to it."""

    offset: int
    lines: tuple[str, ...]
    next_offset: int


class Store(Protocol):
    """What survives the process. `save`, `append_log` and `delete` return at once.

    They are carried out in order by the store's own native thread; of several states of one task
    that wait, the newest is written. The other methods block: call them off the hub.

    Attributes:
        save_every_s: how often a state in progress is due, in seconds.
        is_shared: whether other processes keep their tasks in it too.
    """

    save_every_s: float
    is_shared: bool

    def load(self) -> list[TaskState]:
        """Return every task, oldest first. Raises `StoreError`."""

    def save(
        self,
        state: TaskState,
        *,
        log: tuple[int, Sequence[str]] | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        """Keep the newest state of a task; one that has ended is replaced by ended ones only.

        `log` is as for `append_log`; these lines are kept together with the state or not at all.
        With `on_saved` it is synced to the disk and the callback then called once, from the
        store's thread; as long as the disk refuses, the store tries again.
        """

    def append_log(self, task_id: str, offset: int, lines: Sequence[str]) -> None:
        """Keep log lines, the first of which has the number `offset`."""

    def read_log(self, task_id: str, offset: int, limit: int) -> LogPage:
        """Return at most `limit` lines, everything appended before this call included.

        A negative `offset` counts from the end. Where the lines asked for were dropped by the
        bound on a log, the page starts at the oldest line kept.
        """

    def log_sizes(self) -> Mapping[str, int]:
        """Return the next line number of every task that has a log."""

    def delete(self, task_ids: Sequence[str]) -> None:
        """Forget tasks and their logs."""

    def get_meta(self, key: str) -> str | None:
        """Return a value kept by `set_meta`."""

    def set_meta(self, key: str, value: str) -> None:
        """Keep a small value, such as a secret of this installation."""

    def lag(self) -> tuple[int, float]:
        """Return how many tasks wait to be written, and for how many seconds the oldest change has."""

    def problem(self) -> str | None:
        """Return one line on why writing fails at present, or None while all is well."""

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits and stop; what cannot be written in time is logged."""


@dataclass(frozen=True, slots=True)
class Job:
    """One execution of a task function.

    Args:
        task_id: the task.
        function: `module:qualname`, or `/path/file.py:qualname`, for a worker process to import;
            None where the function cannot be imported by name.
        call: the function itself, for executors of this process; takes the reporter (where the
            function wants one) and the converted arguments.
        args: the validated arguments as JSON values, the definition's bound ones included.
        steps: step names with their weights.
        output_dir: where result files go; made by whoever writes the first one.
        timeout_s: seconds after which the work is ended as `failed`/`timeout`.
    """

    task_id: str
    function: str | None
    call: Callable[..., Any] | None
    args: Mapping[str, Any]
    output_dir: Path
    title: str = ""
    unit: str = "it"
    steps: Mapping[str, float] = field(default_factory=dict)
    cancellable: bool = True
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a body ended; `traceback` goes into the task's log."""

    status: Status
    result: Any = None
    error: TaskError | None = None
    traceback: tuple[str, ...] = ()


class JobEvents(Protocol):
    """What an executor tells of a job, from any native thread."""

    def started(self) -> None:
        """A slot is free and the body begins."""

    def reports(self, reports: Sequence[Report]) -> None:
        """The reporter's news; an empty sequence says that the worker is alive."""

    def ended(self, outcome: Outcome) -> None:
        """The body is over; called exactly once, and nothing after it."""


class Running(Protocol):
    """The handle on a submitted job."""

    def cancel(self) -> None:
        """Ask the body to stop; a process is ended by force when it does not."""

    def kill(self, outcome: Outcome) -> None:
        """End the body now, as far as its kind allows, with this outcome."""


class Executor(Protocol):
    """Where bodies run. More jobs than it has slots for wait their turn."""

    def submit(self, job: Job, events: JobEvents) -> Running:
        """Take a job; never block."""

    def close(self, timeout_s: float) -> None:
        """End what runs within `timeout_s` seconds, then free everything."""


class Dispatcher(Protocol):
    """What brings work to workers elsewhere, which report on it themselves. All of it blocks."""

    def reach(self) -> None:
        """Hear from whoever takes the work; raises whatever the way there does."""

    def send(self, name: str, job: Job) -> None:
        """Send the work of a definition; raises whatever the way there does."""

    def owns(self, name: str) -> bool:
        """Return whether tasks of this name, which others have sent, go to the same workers."""

    def revoke(self, task_id: str) -> bool:
        """Have nobody begin a task that waits; return whether that is certain."""

    def known(self, task_ids: Collection[str]) -> set[str]:
        """Return those of the tasks that workers say they have; raises where they cannot be asked."""
