"""The list of tasks: active before ended, newest first, a part at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass

from socketprogress.core.errors import InvalidPayload
from socketprogress.core.state import TaskState

__all__ = ["Filter", "Listing", "Page"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks a list shows: some statuses, a text in title, name, id or tags, one parent's."""

    statuses: frozenset[str] = frozenset()
    search: str = ""
    parent_id: str | None = None

    def matches(self, state: TaskState) -> bool:
        """Return whether the task belongs into the list."""
        if self.statuses and state.status.value not in self.statuses:
            return False
        if self.parent_id is not None and state.parent_id != self.parent_id:
            return False
        if not self.search:
            return True
        wanted = self.search.casefold()
        places = (state.title, state.name, state.task_id, state.message, *state.tags)
        return any(wanted in place.casefold() for place in places)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list and the cursor of the part behind it."""

    tasks: list[TaskState]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part ended, as its cursor says it.

    `moment` is that of the first part: a task that has ended since is still among the active ones
    for whoever reads on, so that everybody sees every task exactly once.
    """

    ended: bool
    moment: int
    created_at: float
    task_id: str

    @classmethod
    def read(cls, cursor: str) -> _Place:
        try:
            ended, moment, rest = cursor.split(".", 2)
            created_at, task_id = rest.rsplit(".", 1)
            return cls(ended == "1", int(moment), float(created_at), task_id)
        except ValueError:
            raise InvalidPayload(
                f"before must be the `next` of an earlier answer, not {cursor[:80]!r}",
                field="before",
            ) from None

    def __str__(self) -> str:
        return f"{int(self.ended)}.{self.moment}.{self.created_at!r}.{self.task_id}"


class Listing:
    """The order of the tasks, by when the hub took them in and when it showed their end.

    The wall clock, which may stand still or go back, only decides where a task that is no longer
    kept stood.

    Args:
        tasks: every task by its id, oldest first.
        live: those that have not ended.
    """

    def __init__(self, tasks: Mapping[str, TaskState], live: Mapping[str, object]) -> None:
        self._tasks, self._live = tasks, live
        self._moment = 0
        self._added: dict[str, int] = {}
        self._ended: dict[str, int] = {}

    def add(self, task_id: str) -> None:
        """Note that a task is new."""
        self._moment += 1
        self._added[task_id] = self._moment

    def end(self, task_id: str) -> None:
        """Note that a task has ended."""
        self._moment += 1
        self._ended[task_id] = self._moment

    def forget(self, task_id: str) -> None:
        """Note that a task is no longer kept."""
        self._added.pop(task_id, None)
        self._ended.pop(task_id, None)

    def page(
        self,
        wanted: Filter,
        *,
        limit: int,
        before: str | None = None,
        among: Container[str] | None = None,
    ) -> Page:
        """Return the matching tasks from a cursor on, of all or among those with these ids.

        Raises:
            InvalidPayload: `before` is no cursor.
        """
        place = _Place.read(before) if before else None
        moment = self._moment if place is None else place.moment
        found: list[TaskState] = []
        for task_id in self._from_start() if place is None else self._behind(place):
            state = self._tasks[task_id]
            if (among is None or task_id in among) and wanted.matches(state):
                if len(found) == limit:
                    last = found[-1]
                    ended = self._was_over(last.task_id, moment)
                    cursor = _Place(ended, moment, last.created_at, last.task_id)
                    return Page(found, str(cursor))
                found.append(state)
        return Page(found, None)

    def _was_over(self, task_id: str, moment: int) -> bool:
        return task_id not in self._live and self._ended.get(task_id, 0) <= moment

    def _from_start(self) -> Iterator[str]:
        yield from reversed(list(self._live))
        yield from (i for i in reversed(list(self._tasks)) if i not in self._live)

    def _behind(self, place: _Place) -> Iterator[str]:
        older = self._older(place)
        if not place.ended:
            yield from (i for i in older if not self._was_over(i, place.moment))
            older = reversed(list(self._tasks))
        yield from (i for i in older if self._was_over(i, place.moment))

    def _older(self, place: _Place) -> Iterator[str]:
        added = self._added.get(place.task_id)
        for task_id in reversed(list(self._tasks)):
            if added is not None:
                if self._added[task_id] < added:
                    yield task_id
            elif self._tasks[task_id].created_at < place.created_at:
                yield task_id
