"""A task as a frozen value, and every transition that it may make.

A transition takes a state and returns a new one with a higher `seq`. Which field changes is
decided here alone; who may ask for it, when it is stored and who gets to see it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from socketprogress.core import steps as steps_of
from socketprogress.core.errors import ConfigurationError, NotCancellable, TaskEnded
from socketprogress.core.progress import forward
from socketprogress.core.status import TERMINAL, Status
from socketprogress.core.steps import Step

__all__ = [
    "TASK_ERROR_CODES",
    "TERMINAL",
    "Status",
    "Step",
    "TaskError",
    "TaskFile",
    "TaskState",
    "as_of",
    "assign",
    "begin",
    "change",
    "end",
    "lose",
    "queue",
    "regain",
    "request_cancel",
]


TASK_ERROR_CODES = frozenset(
    {"exception", "worker_lost", "timeout", "exit_status", "shutdown", "interrupted"}
)


NO_TIME_LEFT: dict[str, Any] = dict.fromkeys(("eta_s", "eta_low_s", "eta_high_s", "usual_s"))
UNSEEN = frozenset({"rate", "elapsed_s", "reporter_seq", *NO_TIME_LEFT})
"""What alone is no news to a watcher."""


class TaskError(msgspec.Struct, frozen=True):
    """Why a task failed: a code of `TASK_ERROR_CODES` and one line for people."""

    code: str
    message: str


class TaskFile(msgspec.Struct, frozen=True):
    """One result file; the name is the server's, never a path."""

    name: str
    size_bytes: int


class TaskState(msgspec.Struct, frozen=True):
    """Everything that is known of one task at one moment.

    Times are Unix seconds, durations seconds, `progress` percent; unknown is None. `args` are the
    validated arguments as JSON values, `eta_low_s` and `eta_high_s` the range around `eta_s` where it
    says more, `usual_s` the median of such tasks so far, `lease_s` the silence that is forgiven, `abandon_s` how long it
    may be lost then until it has failed,
    `reporter_seq` the number of the last report taken, -1 before the first, and a task that does not
    `leave` its bar behind goes a minute after its end; one that `gathers` counts its parts that have ended, and one that is
    `dispatched` was started by a server and is run by workers elsewhere; one that is `uploaded` began with a file that was sent,
    and that is gone with its end. Where several processes share a store,
    the one with this `epoch` speaks for the task, and `term` rises each time that another takes over.
    """

    task_id: str
    name: str
    title: str
    epoch: str
    created_at: float
    seq: int = 1
    status: Status = Status.QUEUED
    progress: float | None = None
    current: float = 0
    total: float | None = None
    unit: str = "it"
    message: str = ""
    steps: tuple[Step, ...] = ()
    rate: float | None = None
    eta_s: float | None = None
    eta_low_s: float | None = None
    eta_high_s: float | None = None
    usual_s: float | None = None
    elapsed_s: float | None = None
    started_at: float | None = None
    updated_at: float | None = None
    finished_at: float | None = None
    cancellable: bool = True
    cancel_requested: bool = False
    result: Any = None
    files: tuple[TaskFile, ...] = ()
    error: TaskError | None = None
    source: str = "server"
    host: str | None = None
    parent_id: str | None = None
    tags: tuple[str, ...] = ()
    args: Mapping[str, Any] = msgspec.field(default_factory=dict)
    pid: int | None = None
    lease_s: float | None = None
    abandon_s: float | None = None
    reporter_seq: int = -1
    leave: bool = True
    gathers: bool = False
    dispatched: bool = False
    uploaded: bool = False
    term: int = 0

    @property
    def ended(self) -> bool:
        """Whether the task is over for good."""
        return self.status in TERMINAL

    @property
    def retryable(self) -> bool:
        """Whether a server can start the same work again."""
        return not self.uploaded and (self.source == "server" or self.dispatched)


def as_of(state: TaskState, at: float) -> TaskState:
    """Return the state as an answer at `at` (Unix seconds) gives it: what is in progress has run on."""
    if state.status is not Status.IN_PROGRESS or state.elapsed_s is None:
        return state
    passed_s = max(at - (state.updated_at or at), 0.0)
    return replace(state, elapsed_s=round(state.elapsed_s + passed_s, 3))


def _alive(state: TaskState) -> None:
    if state.ended:
        raise TaskEnded(f"task {state.task_id} is {state.status.value} and cannot change any more")


def queue(state: TaskState) -> TaskState:
    """Return a new task as it waits: at 0 % where its total or its steps are known."""
    percent = steps_of.overall(state.steps, state.current, state.total)
    return replace(state, progress=percent, updated_at=state.created_at)


def begin(state: TaskState, *, at: float, **left: Any) -> TaskState:
    """Return the state of a queued task whose work begins at `at` (Unix seconds), with what is left."""
    _alive(state)
    if state.status is not Status.QUEUED:
        return state
    steps = steps_of.enter(state.steps, 0) if state.steps else state.steps
    return replace(
        state,
        status=Status.IN_PROGRESS,
        steps=steps,
        started_at=at,
        updated_at=at,
        elapsed_s=0.0,
        progress=steps_of.overall(steps, state.current, state.total),
        seq=state.seq + 1,
        **left,
    )


def change(state: TaskState, *, at: float, reset: bool = False, **fields: Any) -> TaskState:
    """Return the state after a report: new counts, message, steps, rates or files.

    The percent follows from the counts and never goes back, unless `reset` is true. What is equal
    to what was there gives back the very same state, so that nothing is sent for it.

    Args:
        state: the state before.
        at: Unix seconds of the report.
        reset: start the percent again.
        **fields: `current`, `total`, `unit`, `message`, `title`, `steps`, `rate`, `eta_s`,
            `eta_low_s`, `eta_high_s`, `usual_s`, `elapsed_s`, `files`, `reporter_seq`.

    Raises:
        TaskEnded: the task is over.
    """
    _alive(state)
    steps = fields.get("steps", state.steps)
    percent = steps_of.overall(
        steps, fields.get("current", state.current), fields.get("total", state.total)
    )
    if not reset:
        percent = forward(state.progress, percent)
    if percent == state.progress and not _is_news(state, fields):
        return state
    return replace(state, progress=percent, updated_at=at, seq=state.seq + 1, **fields)


def _is_news(state: TaskState, fields: Mapping[str, Any]) -> bool:
    """Return whether a watcher would see a difference."""
    for name, value in fields.items():  # a loop, since this is what every report comes through
        if name not in UNSEEN and getattr(state, name) != value:
            return True
    return False


def assign(state: TaskState, *, at: float, **fields: Any) -> TaskState:
    """Return the state of a task once it is known what its work is.

    With steps that it had not the percent starts again.

    Args:
        state: the state before.
        at: Unix seconds.
        **fields: `name`, `title`, `args`, `steps`, `unit`, `cancellable`, `elapsed_s`.

    Raises:
        TaskEnded: the task is over.
    """
    _alive(state)
    percent = steps_of.overall(fields.get("steps", state.steps), state.current, state.total)
    if bool(state.steps) == bool(fields.get("steps", state.steps)):
        percent = forward(state.progress, percent)
    return replace(state, progress=percent, updated_at=at, seq=state.seq + 1, **fields)


def request_cancel(state: TaskState, *, at: float, elapsed_s: float | None = None) -> TaskState:
    """Return the state once somebody has asked for the task's end, so many seconds after its start.

    Raises:
        TaskEnded: the task is over.
        NotCancellable: it was started with ``cancellable=False``.
    """
    _alive(state)
    if not state.cancellable:
        raise NotCancellable(f"task {state.task_id} was started as not cancellable")
    if state.cancel_requested:
        return state
    return replace(
        state,
        cancel_requested=True,
        elapsed_s=state.elapsed_s if elapsed_s is None else elapsed_s,
        updated_at=at,
        seq=state.seq + 1,
        **NO_TIME_LEFT,
    )


def lose(state: TaskState, *, at: float, elapsed_s: float | None = None) -> TaskState:
    """Return the state of a task whose worker has been silent for longer than its lease."""
    _alive(state)
    if state.status is not Status.IN_PROGRESS:
        return state
    return replace(
        state,
        status=Status.LOST,
        rate=None,
        elapsed_s=state.elapsed_s if elapsed_s is None else elapsed_s,
        updated_at=at,
        seq=state.seq + 1,
        **NO_TIME_LEFT,
    )


def regain(state: TaskState, *, at: float, **times: Any) -> TaskState:
    """Return the state of a lost task whose worker is heard again, with its seconds and those left."""
    _alive(state)
    if state.status is not Status.LOST:
        return state
    return replace(state, status=Status.IN_PROGRESS, updated_at=at, seq=state.seq + 1, **times)


def end(
    state: TaskState,
    status: Status,
    *,
    at: float,
    elapsed_s: float | None = None,
    result: Any = None,
    error: TaskError | None = None,
    files: Sequence[TaskFile] | None = None,
) -> TaskState:
    """Return the terminal state: 100 % when completed, where it stood otherwise.

    Raises:
        TaskEnded: the task is over already.
        ConfigurationError: `status` is not terminal, or `error` has an unknown code.
    """
    _alive(state)
    if status not in TERMINAL:
        raise ConfigurationError(f"{status!r} is not a terminal status")
    if error is not None and error.code not in TASK_ERROR_CODES:
        raise ConfigurationError(f"{error.code!r} is not an error code of a task")
    return replace(
        state,
        status=status,
        progress=100.0 if status is Status.COMPLETED else state.progress,
        steps=steps_of.close(state.steps, status),
        **NO_TIME_LEFT,
        elapsed_s=state.elapsed_s if elapsed_s is None else elapsed_s,
        result=result,
        error=error,
        files=state.files if files is None else tuple(files),
        finished_at=at,
        updated_at=at,
        seq=state.seq + 1,
    )
