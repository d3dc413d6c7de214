"""The weighted steps of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from socketprogress.core.errors import ConfigurationError
from socketprogress.core.progress import percent
from socketprogress.core.status import Status

__all__ = ["Step", "close", "count", "enter", "make", "overall"]


class Step(msgspec.Struct, frozen=True):
    """One weighted part of a task; `progress` is its own percent, `elapsed_s` its own seconds."""

    name: str
    weight: float = 1.0
    status: Status = Status.QUEUED
    progress: float | None = None
    elapsed_s: float | None = None


Steps = tuple[Step, ...]

MOST_WEIGHT = 1e9


def make(names: Sequence[str] | Mapping[str, float]) -> Steps:
    """Return queued steps of equal weight, or of the weights that a mapping gives.

    Raises:
        ConfigurationError: a name stands twice, or a weight is not above zero or too large.
    """
    if isinstance(names, str):
        raise ConfigurationError(f"steps are a list of names, not the text {names!r}")
    weights = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1.0)
    if len(weights) != len(names):
        raise ConfigurationError(f"step names must differ: {list(names)!r}")
    if not all(0 < weight <= MOST_WEIGHT for weight in weights.values()):
        raise ConfigurationError(f"step weights must be above 0, 1e9 at most: {weights!r}")
    return tuple(Step(str(name), float(weight)) for name, weight in weights.items())


def index_of(steps: Steps, name: str) -> int:
    """Return the place of the step called `name`, or -1."""
    return next((i for i, step in enumerate(steps) if step.name == name), -1)


def running(steps: Steps) -> int:
    """Return the place of the step in progress, or -1."""
    return next((i for i, step in enumerate(steps) if step.status is Status.IN_PROGRESS), -1)


def enter(steps: Steps, index: int) -> Steps:
    """Return the steps with those before `index` completed, that one in progress, the rest queued.

    One that is in progress already keeps its percent; one that was completed starts again.
    """
    own = steps[index].progress if steps[index].status is Status.IN_PROGRESS else None
    return tuple(
        replace(step, status=Status.COMPLETED, progress=100.0)
        if i < index
        else replace(step, status=Status.IN_PROGRESS, progress=own or 0.0)
        if i == index
        else replace(step, status=Status.QUEUED, progress=None, elapsed_s=None)
        for i, step in enumerate(steps)
    )


def count(steps: Steps, *, current: float, total: float | None, reset: bool) -> Steps:
    """Return the steps with the running one at `current` of `total`; it goes back only on `reset`."""
    index = running(steps)
    if index < 0:
        return steps
    step = steps[index]
    own = percent(current, total)
    if not reset and step.progress is not None:
        own = step.progress if own is None else max(own, step.progress)
    step = replace(step, progress=own or 0.0)
    return (*steps[:index], step, *steps[index + 1 :])


def close(steps: Steps, status: Status) -> Steps:
    """Return the steps of an ended task: all completed, or the running one as the task ended."""
    if status is Status.COMPLETED:
        return tuple(replace(step, status=status, progress=100.0) for step in steps)
    return tuple(
        replace(step, status=status) if step.status is Status.IN_PROGRESS else step
        for step in steps
    )


def overall(steps: Steps, current: float, total: float | None) -> float | None:
    """Return the task's percent: the weighted mean of its steps, or that of its counts."""
    if not steps:
        return percent(current, total)
    weight = sum(step.weight for step in steps)
    done = sum(step.weight * (step.progress or 0.0) for step in steps)
    return percent(done, 100.0 * weight)
