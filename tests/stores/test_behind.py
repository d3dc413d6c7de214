"""When a store that writes behind its callers writes: at once, and then no sooner than it has rested."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from socketprogress.core.state import TaskState
from socketprogress.stores.backlog import Backlog
from socketprogress.stores.sqlite import SqliteStore

HANG = 30.0


class Resting(SqliteStore):
    """A store that rests for ever after a writing, and notes what it writes."""

    rest_s = 1e6

    def __init__(self, path: Path) -> None:
        self.written: list[set[str]] = []
        self.wrote = threading.Event()
        super().__init__(path)

    def _write(self, batch: Backlog) -> None:
        super()._write(batch)
        self.written.append(set(batch.states))
        self.wrote.set()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Resting]:
    """A store that has written its first task, and rests with a second one to write."""
    with closing(Resting(tmp_path / "store.sqlite3")) as made:
        made.save(task("first"))
        assert made.wrote.wait(HANG)
        made.wrote.clear()
        made.save(task("second"))
        assert not made.wrote.wait(0.2)
        yield made


def task(task_id: str, message: str = "") -> TaskState:
    return TaskState(task_id, "work", "Work", "epoch", created_at=1.0, message=message)


def test_what_nobody_waits_for_is_written_at_once_and_what_follows_together(store: Resting) -> None:
    store.save(task("third", "before"))
    store.save(task("third", "after"))
    asked = threading.Event()
    store.when_written(asked.set)

    assert asked.wait(HANG)
    assert store.written == [{"first"}, {"second", "third"}]


def test_closing_does_not_wait_for_the_rest(store: Resting) -> None:
    began = time.monotonic()
    store.close(HANG)

    assert time.monotonic() - began < HANG

    assert store.written == [{"first"}, {"second"}]
