"""What the SQLite store keeps, says and heals when processes die and disks refuse."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from socketprogress.core.errors import StoreError
from socketprogress.core.state import Status, TaskState
from socketprogress.stores import schema
from socketprogress.stores.sqlite import SqliteStore

HANG = 30.0


def task(task_id: str, **changes: object) -> TaskState:
    return TaskState(task_id, "work", "Work", "epoch", created_at=1.0, **changes)  # type: ignore[arg-type]  # any field


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.sqlite3"


class Heard(logging.Handler):
    """Sets an event as soon as the store's log says something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.lines: list[str] = []
        self.event = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self.text in record.getMessage():
            self.event.set()


@contextmanager
def heard(text: str) -> Iterator[Heard]:
    """Listen to the store's log."""
    handler = Heard(text)
    logger = logging.getLogger("socketprogress.stores")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@contextmanager
def python(script: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script in another process, which is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


HOLDS_THE_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
print("unlocked", flush=True)
"""


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """Hold the write lock in another process, until what is yielded is called."""
    with python(HOLDS_THE_LOCK, path) as process:
        assert says(process) == "locked"

        def unlock() -> None:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert says(process) == "unlocked"

        yield unlock


# -- death ---------------------------------------------------------------------------------------

SAVES_UNTIL_IT_IS_KILLED = """
import itertools, os, sys
from pathlib import Path
from socketprogress.core.state import Status, TaskState
from socketprogress.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
for number in itertools.count():
    running = TaskState(f"r{number % 50}", "n", "t" * 999, "e", created_at=1.0, seq=number)
    store.save(running)
    store.append_log(running.task_id, number // 50, ["line " * 20])
    if number % 20 == 0:
        ended = TaskState(f"e{number}", "n", "t", "e", created_at=1.0, status=Status.COMPLETED)
        store.save(ended, on_saved=lambda i=ended.task_id: os.write(1, f"{i}\\n".encode()))
"""


def test_what_was_called_back_survives_sigkill_and_the_file_is_whole(path: Path) -> None:
    acked: list[str] = []
    for round_ in range(5):
        # Given a process that saves without pause
        with python(SAVES_UNTIL_IT_IS_KILLED, path) as process:
            acked += [says(process) for _ in range(1 + 7 * round_)]

            # When it is killed
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            rest = process.stdout.read()
            acked += rest.split("\n")[:-1]
            assert process.wait(HANG) == -signal.SIGKILL

        # Then every end that it was told of is there, and the file is whole
        with closing(SqliteStore(path)) as store:
            stored = {state.task_id for state in store.load() if state.ended}
        assert set(acked) <= stored
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class Traced:
    """Notes every statement of a store, and waits for one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self._changed = threading.Condition()
        connect = schema.connect

        def traced(path: Path, *, busy_s: float) -> sqlite3.Connection:
            connection = connect(path, busy_s=busy_s)
            connection.set_trace_callback(self._note)
            return connection

        monkeypatch.setattr(schema, "connect", traced)

    def _note(self, statement: str) -> None:
        with self._changed:
            self.statements.append(statement)
            self._changed.notify_all()

    def wait_for(self, statement: str, times: int) -> None:
        """Return once the statement was begun so many times."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.statements.count(statement) >= times, HANG
            ), self.statements


def test_ends_that_wait_together_share_one_full_sync(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Patient(SqliteStore):
        busy_s = 60.0

    SqliteStore(path).close()
    traced = Traced(monkeypatch)
    with closing(Patient(path)) as store, locked(path) as unlock:
        # Given a writer that is held up in its transaction
        store.save(task("plain"))
        traced.wait_for("BEGIN IMMEDIATE", 1)

        # When many tasks end meanwhile
        done = threading.Event()
        called: list[int] = []
        for number in range(50):
            ended = task(f"t{number}", status=Status.COMPLETED)
            store.save(ended, on_saved=lambda number=number: called.append(number))  # type: ignore[misc]
        store.save(task("last", status=Status.FAILED), on_saved=done.set)
        unlock()
        assert done.wait(HANG)

    # Then they are synced to the disk, and all at once
    assert called == list(range(50))
    assert [s for s in traced.statements if s.startswith(("PRAGMA sync", "COMMIT"))] == [
        "PRAGMA synchronous = NORMAL",
        "COMMIT",
        "PRAGMA synchronous = FULL",
        "COMMIT",
    ]


# -- another process holds the lock --------------------------------------------------------------


def test_a_lock_held_elsewhere_is_a_problem_that_blocks_nobody_and_heals(path: Path) -> None:
    with closing(SqliteStore(path)) as store, heard("trying again") as log:
        saved = threading.Event()
        with locked(path) as unlock:
            # When states are saved while another process holds the lock
            store.save(task("a", message="old"))
            assert log.event.wait(HANG)
            for number in range(20_000):
                store.append_log("a", number, [f"line {number}"])
            store.save(task("b"))
            store.delete(["b"])
            store.save(task("a", status=Status.COMPLETED), on_saved=saved.set)

            # Then the store says so, everything can be read, and nothing is called back
            problem = store.problem()
            assert problem is not None
            assert "locked by another process" in problem
            assert "\n" not in problem
            assert [state.task_id for state in store.load()] == ["a"]
            assert store.read_log("a", -1, 1).lines == ("line 19999",)
            assert store.log_sizes() == {"a": 20_000}
            assert not saved.is_set()

            # When it lets go, then all is written and well
            unlock()
            assert saved.wait(HANG)
            assert store.problem() is None

    with closing(SqliteStore(path)) as store:
        assert [state.status for state in store.load()] == [Status.COMPLETED]
        page = store.read_log("a", 0, 100_000)
        assert page.next_offset == 20_000
        assert 9_000 <= len(page.lines) <= 10_000
    assert any("works again" in line and "log lines lost" in line for line in log.lines)


def test_an_end_that_waits_for_the_disk_is_not_undone(path: Path) -> None:
    with closing(SqliteStore(path)) as store, heard("trying again") as log:
        saved = threading.Event()
        with locked(path) as unlock:
            store.save(task("a", status=Status.COMPLETED), on_saved=saved.set)
            assert log.event.wait(HANG)

            store.save(task("a", status=Status.LOST))

            unlock()
            assert saved.wait(HANG)

    with closing(SqliteStore(path)) as store:
        assert [state.status for state in store.load()] == [Status.COMPLETED]


def test_a_server_starts_while_the_lock_is_held(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.save(task("a"))

    with locked(path) as unlock, closing(SqliteStore(path)) as store:
        assert [state.task_id for state in store.load()] == ["a"]
        saved = threading.Event()
        store.save(task("b"), on_saved=saved.set)
        unlock()
        assert saved.wait(HANG)


def test_closing_says_what_could_not_be_written(path: Path) -> None:
    store = SqliteStore(path)
    with heard("could not be written") as log, locked(path):
        store.save(task("a"))
        store.append_log("a", 0, ["one", "two"])

        store.close(0.3)

    assert log.event.is_set()
    assert any("1 task states and 2 log lines" in line for line in log.lines)


def test_a_secret_that_cannot_be_written_is_an_error_and_still_known(path: Path) -> None:
    class Impatient(SqliteStore):
        read_timeout_s = 0.5

    with closing(Impatient(path)) as store, locked(path) as unlock:
        with pytest.raises(StoreError, match="locked by another process"):
            store.set_meta("secret", "x")

        assert store.get_meta("secret") == "x"
        unlock()


def test_a_write_that_hangs_is_a_problem_before_it_fails(path: Path) -> None:
    class Patient(SqliteStore):
        busy_s = 60.0

    now = [0.0]
    with closing(Patient(path, monotonic=lambda: now[0])) as store, locked(path) as unlock:
        # Given a writer that hangs in its transaction
        saved = threading.Event()
        assert store.lag() == (0, 0.0)
        store.save(task("a"), on_saved=saved.set)
        while store._writing is None:
            store.load()
        assert store.problem() is None
        now[0] += 1.0
        store.save(task("b"))

        # When that takes longer than a disk may take, then it is said
        now[0] += 6.0
        problem = store.problem()
        assert problem is not None
        assert "hanging for 7 s" in problem
        assert store.lag() == (2, 7.0)

        # When it goes on, then all is well
        unlock()
        assert saved.wait(HANG)
        assert store.problem() is None
        written = threading.Event()
        store.when_written(written.set)
        assert written.wait(HANG)
        assert store.lag() == (0, 0.0)


# -- the disk ------------------------------------------------------------------------------------

FILLS_ITS_DISK = """
import json, logging, resource, sys, threading
from pathlib import Path
from socketprogress.core.state import Status, TaskState
from socketprogress.stores.sqlite import SqliteStore
failed = threading.Event()
class Heard(logging.Handler):
    def emit(self, record):
        if "trying again" in record.getMessage():
            failed.set()
logging.getLogger("socketprogress.stores").addHandler(Heard())
store = SqliteStore(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for number in range(400):
    store.save(TaskState(f"t{number}", "n", "x" * 2000, "e", created_at=1.0))
said = {"failed": failed.wait(30)}
saved = threading.Event()
end = TaskState("t0", "n", "end", "e", created_at=1.0, status=Status.COMPLETED)
store.save(end, on_saved=saved.set)
said["problem"] = store.problem()
said["loaded"] = len(store.load())
said["saved early"] = saved.is_set()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
said["saved"] = saved.wait(30)
said["problem after"] = store.problem()
print(json.dumps(said), flush=True)
sys.stdin.readline()
"""


def test_a_full_disk_is_a_problem_that_heals(path: Path) -> None:
    with python(FILLS_ITS_DISK, path) as process:
        said = json.loads(says(process))

    assert said["failed"]
    assert said["problem"].startswith(f"cannot write {path}: ")
    assert said["loaded"] == 400
    assert not said["saved early"]
    assert said["saved"]
    assert said["problem after"] is None
    with closing(SqliteStore(path)) as store:
        assert {state.title for state in store.load() if state.ended} == {"end"}
        assert len(store.load()) == 400


def test_a_log_is_shown_in_part_and_a_start_refused_when_the_file_cannot_be_read(
    path: Path,
) -> None:
    class Impatient(SqliteStore):
        read_timeout_s = load_timeout_s = 0.5

    # Given a store whose file is overwritten, and lines that still wait
    with closing(Impatient(path)) as store, locked(path):
        store.append_log("a", 5, ["waits"])
        for file in path.parent.iterdir():
            os.truncate(file, 0)
            file.write_bytes(b"rubbish " * 4096)

        # Then what waits is shown, and what is lost is an error that names the file
        assert store.read_log("a", 0, 10).lines == ("waits",)
        with pytest.raises(StoreError, match=str(path)):
            store.read_log("b", 0, 10)
        with pytest.raises(StoreError, match=str(path)):
            store.load()
        store.close(0.3)
