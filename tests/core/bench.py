"""A hub on a bench: with a clock and a store that do what the test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from socketprogress.core.hub import Filter, Hub
from socketprogress.core.ports import LogPage
from socketprogress.core.state import Status, TaskState
from socketprogress.stores.memory import MemoryStore
from tests.core.clock import MockClock


class HeldStore:
    """A store on memory that has written a terminal state when the test says so; a `Store`."""

    save_every_s = 2.0
    is_shared = False

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.saved: list[TaskState] = []
        self.deleted: list[str] = []
        self.refuses: str | None = None
        self._held: list[Callable[[], None]] = []

    def load(self) -> list[TaskState]:
        return self.memory.load()

    def save(
        self,
        state: TaskState,
        *,
        log: tuple[int, Sequence[str]] | None = None,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        self.memory.save(state, log=log)
        self.saved.append(state)
        if on_saved is not None:
            self._held.append(on_saved)

    def written(self) -> None:
        """Call back everybody who waits."""
        held, self._held = self._held, []
        for callback in held:
            callback()

    def append_log(self, task_id: str, offset: int, lines: Sequence[str]) -> None:
        self.memory.append_log(task_id, offset, lines)

    def read_log(self, task_id: str, offset: int, limit: int) -> LogPage:
        return self.memory.read_log(task_id, offset, limit)

    def log_sizes(self) -> Mapping[str, int]:
        return self.memory.log_sizes()

    def delete(self, task_ids: Sequence[str]) -> None:
        self.deleted.extend(task_ids)
        self.memory.delete(task_ids)

    def get_meta(self, key: str) -> str | None:
        return self.memory.get_meta(key)

    def set_meta(self, key: str, value: str) -> None:
        self.memory.set_meta(key, value)

    def problem(self) -> str | None:
        return self.refuses

    def close(self, timeout_s: float = 5.0) -> None:
        self.memory.close(timeout_s)


class Bench:
    """A hub over a held store, with its clock."""

    def __init__(self, **options: object) -> None:
        self.clock = MockClock()
        self.store = HeldStore()
        self.told = 0
        self.hub = self.open("e1", **options)

    def open(self, epoch: str, **options: object) -> Hub:
        """Return a hub over the same store, as after a restart."""
        return Hub(
            store=self.store,
            clock=self.clock,
            epoch=epoch,
            on_change=self._note,
            **options,  # type: ignore[arg-type]
        )

    def _note(self) -> None:
        self.told += 1

    def start(self, task_id: str, name: str = "copy", **fields: object) -> TaskState:
        """Create a task and begin it."""
        self.hub.create(name, title=f"Copy {task_id}", task_id=task_id, **fields)  # type: ignore[arg-type]
        return self.hub.begin(task_id)

    def end(self, task_id: str, status: Status = Status.COMPLETED) -> TaskState:
        """End a task, and let the store write that."""
        assert self.hub.end(task_id, status)
        self.store.written()
        return self.hub.get(task_id)


def ids_of(tasks: Sequence[TaskState]) -> list[str]:
    return [state.task_id for state in tasks]


def walk(hub: Hub, *, limit: int, between: Callable[[], None] = lambda: None) -> list[str]:
    """Return the ids of all pages in order."""
    seen, before = [], None
    while True:
        page = hub.page(Filter(), limit=limit, before=before)
        assert len(page.tasks) <= limit
        seen += ids_of(page.tasks)
        if page.next is None:
            return seen
        before = page.next
        between()
