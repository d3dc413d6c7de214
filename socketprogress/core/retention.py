"""Which ended tasks are too many, too old or too large to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from socketprogress.core.state import TaskState

__all__ = ["UPLOAD", "Retention", "size_bytes", "surplus"]

UPLOAD = "upload"
"""The name of a task that only keeps a file that was sent. Such files have a quota of their own."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How many ended tasks are kept, for how many seconds, and in how many bytes."""

    count: int = 10_000
    age_s: float = 30 * 86_400
    bytes: int = 1 << 30


def surplus(
    ended: Iterable[TaskState],
    sizes: Callable[[TaskState], int],
    *,
    retention: Retention,
    now_at: float,
) -> list[str]:
    """Return the ids of the tasks to delete, those that ended first in front.

    The tasks that ended last stay, as far as the three limits reach. One that alone is larger than
    `retention.bytes` stays as long as it is the last, so that nobody loses a result in the
    moment it is there. A task that has not ended is never surplus.

    Args:
        ended: the ended tasks, in any order.
        sizes: the bytes that a task takes, its files included.
        retention: the limits.
        now_at: Unix seconds.
    """
    rest = sorted((state for state in ended if state.ended), key=_ended_at)
    kept = 0
    used = 0
    while rest and kept < retention.count:
        newest = rest[-1]
        used += sizes(newest)
        if kept and used > retention.bytes:
            break
        if now_at - _ended_at(newest) > retention.age_s:
            break
        rest.pop()
        kept += 1
    return [state.task_id for state in rest]


def size_bytes(state: TaskState) -> int:
    """Return about how many bytes an ended task takes, its files included and its log excepted.

    A file that was only sent to be kept does not count: a large one would drive out the history.
    """
    result = state.result
    is_kept = state.name == UPLOAD and state.source == "server"
    files = 0 if is_kept else sum(file.size_bytes for file in state.files)
    return 4096 + files + len(str(result or ""))


def _ended_at(state: TaskState) -> float:
    return state.finished_at or state.updated_at or state.created_at
