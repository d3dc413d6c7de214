"""The SQLite file: how it is opened, refused, migrated and kept small."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from socketprogress.core.errors import ConfigurationError, StoreError
from socketprogress.core.state import Status, Step, TaskFile, TaskState
from socketprogress.stores import open_store, schema
from socketprogress.stores.memory import MemoryStore
from socketprogress.stores.sqlite import SqliteStore

HANG = 30.0
VERSION_1 = Path(__file__).with_name("version_1.sql").read_text("utf-8")


def task(task_id: str, message: str = "") -> TaskState:
    return TaskState(task_id, "work", "Work", "epoch", created_at=1.0, message=message)


def version_1(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    return path


def execute(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


# -- which store --------------------------------------------------------------------------------


def test_the_default_is_a_file_in_a_data_folder_that_is_made(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"

    with closing(open_store("sqlite:", data=data)) as store:
        assert isinstance(store, SqliteStore)

    assert (data / "tasks.sqlite3").is_file()


def test_a_url_names_a_file_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "my tasks?.db"

    with closing(open_store(f"sqlite://{path}", data=tmp_path / "data")) as store:
        store.save(task("a"))

    assert path.is_file()
    assert not (tmp_path / "data").exists()


def test_memory_needs_no_folder(tmp_path: Path) -> None:
    with closing(open_store("memory:", data=tmp_path / "data")) as store:
        assert isinstance(store, MemoryStore)

    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "url", ["", "sqlite", "sqlite:/", "sqlite:///", "sqlite://tasks.db", "mysql://host", "/data/x"]
)
def test_any_other_url_is_refused_with_what_is_accepted(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:///absolute/path.*memory:"):
        open_store(url, data=tmp_path)


def test_threads_are_taken_from_the_module_that_is_given(tmp_path: Path) -> None:
    started: list[str] = []

    class Counted(threading.Thread):
        def start(self) -> None:
            started.append(self.name)
            super().start()

    module = type(threading)("native_threads")
    module.__dict__.update(threading.__dict__, Thread=Counted)

    with closing(open_store("sqlite:", data=tmp_path, threading=module)) as store:
        store.load()

    assert sorted(started) == ["socketprogress-store-reader", "socketprogress-store-writer"]


# -- opening ------------------------------------------------------------------------------------


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite3"
    with closing(SqliteStore(path)) as store:
        store.set_meta("secret", "x")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_a_closed_store_leaves_one_file(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "tasks.sqlite3")) as store:
        store.save(task("a"))
        store.load()

    assert [file.name for file in tmp_path.iterdir()] == ["tasks.sqlite3"]


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 200, b"SQLite"])
def test_a_file_that_is_no_database_is_named_and_left_as_it_is(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.sqlite3"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=rf"{path}.*not a database"):
        SqliteStore(path)

    assert path.read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    execute(path, "CREATE TABLE tasks (id)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=rf"{path} is the database of another program"):
        SqliteStore(path)

    assert path.read_bytes() == before


def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")
    execute(path, "PRAGMA user_version = 99")

    with pytest.raises(StoreError, match=r"newer version.*99.*upgrade"):
        SqliteStore(path)


def test_a_folder_or_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"cannot open the store {tmp_path}"):
        SqliteStore(tmp_path)
    with pytest.raises(StoreError, match=r"missing/tasks\.sqlite3: No such file"):
        SqliteStore(tmp_path / "missing" / "tasks.sqlite3")


DROPPED = """
import os, sys
from pathlib import Path
from socketprogress.core.errors import StoreError
from socketprogress.stores.sqlite import SqliteStore
if os.geteuid() == 0:
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    SqliteStore(Path(sys.argv[1]))
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o666), (0o777, 0o444)])
def test_missing_rights_are_named(folder_mode: int, file_mode: int, tmp_path: Path) -> None:
    # Given a folder that anybody may reach, but not write to
    folder = tmp_path / "data"
    folder.mkdir()
    path = version_1(folder / "tasks.sqlite3")
    path.chmod(file_mode)
    folder.chmod(folder_mode)
    within = os.open(folder, os.O_RDONLY)

    # When somebody without rights opens the store in it
    done = subprocess.run(
        [sys.executable, "-c", DROPPED, f"/proc/self/fd/{within}/tasks.sqlite3"],
        pass_fds=[within],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )
    os.close(within)
    folder.chmod(0o700)

    # Then the error says so
    assert "no right to write to" in done.stdout, done.stderr


# -- versions -----------------------------------------------------------------------------------


def test_a_file_of_version_1_is_read_whole(tmp_path: Path) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")

    with closing(SqliteStore(path)) as store:
        least, full, later = store.load()
        page = store.read_log("full", 0, 10)
        kept = store.get_meta("secret")

    assert least == TaskState("least", "n", "t", "e", created_at=1.5)
    assert later == TaskState("later", "n", "t", "e", created_at=3.0)
    assert full == TaskState(
        "full",
        "checksum",
        "Größe 😀",
        "e1",
        created_at=2.0,
        seq=7,
        status=Status.COMPLETED,
        progress=100.0,
        current=3,
        total=3.0,
        unit="file",
        message="done",
        steps=(Step("Scan", 2.0, Status.COMPLETED, 100.0, 0.5),),
        rate=6.0,
        elapsed_s=0.5,
        started_at=2.5,
        updated_at=3.0,
        finished_at=3.0,
        result={"files": [1, 2.5, None]},
        files=(TaskFile("SHA256SUMS", 99),),
        tags=("a",),
        args={"path": "/x"},
    )
    assert (page.offset, page.lines, page.next_offset) == (1, ("one", "two"), 3)
    assert kept == "abc"


def test_a_new_file_has_the_tables_of_the_newest_version(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite3"
    SqliteStore(path).close()

    assert execute(path, "PRAGMA user_version") == [(len(schema.STEPS),)]
    assert execute(path, "PRAGMA application_id") == [(schema.APPLICATION_ID,)]
    assert execute(path, "PRAGMA auto_vacuum") == [(2,)]


def test_a_step_is_taken_once_and_keeps_the_rows(tmp_path: Path) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")
    steps = [*schema.STEPS[:1], ["ALTER TABLE tasks ADD COLUMN owner TEXT DEFAULT 'me'"]]

    for _ in range(2):
        with closing(schema.connect(path, busy_s=1)) as connection:
            schema.migrate(connection, steps)

    assert execute(path, "PRAGMA user_version") == [(2,)]
    assert execute(path, "SELECT task_id, owner FROM tasks ORDER BY id") == [
        ("least", "me"),
        ("full", "me"),
        ("later", "me"),
    ]


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")
    steps = [*schema.STEPS[:1], ["DROP TABLE meta", "INSERT INTO nowhere VALUES (1)"]]

    with (
        closing(schema.connect(path, busy_s=1)) as connection,
        pytest.raises(sqlite3.OperationalError, match="nowhere"),
    ):
        schema.migrate(connection, steps)

    assert execute(path, "PRAGMA user_version") == [(1,)]
    assert execute(path, "SELECT value FROM meta") == [("abc",)]


# -- rows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [b'{"task_id": "full"', b"\xff\x00", b"[]", b'{"task_id": 1}', 7])
def test_a_row_that_cannot_be_read_is_left_out_and_logged(
    row: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")
    execute(path, "UPDATE tasks SET state = ? WHERE task_id = 'full'", row)

    with caplog.at_level(logging.WARNING), closing(SqliteStore(path)) as store:
        assert [state.task_id for state in store.load()] == ["least", "later"]

    assert "task full cannot be read" in caplog.text


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    path = version_1(tmp_path / "tasks.sqlite3")
    execute(path, "INSERT INTO log_chunks VALUES ('full', 0, 1, 3, ?)", b"\xff")

    with closing(SqliteStore(path)) as store:
        assert store.read_log("full", 0, 10).lines == ("one", "two")


def test_a_result_that_is_no_json_costs_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tasks.sqlite3"
    odd = TaskState("odd", "n", "t", "e", created_at=1.0, result=object())

    with closing(SqliteStore(path)) as store:
        store.save(odd)
        store.save(task("even"))
    with closing(SqliteStore(path)) as store:
        loaded = {state.task_id: state.result for state in store.load()}

    assert loaded == {"odd": None, "even": None}
    assert "without its result" in caplog.text


def test_lines_that_came_after_their_task_was_deleted_go_with_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tasks.sqlite3"
    with closing(SqliteStore(path)) as store:
        for task_id in ("kept", "gone"):
            store.save(task(task_id))
        store.delete(["gone"])
        for task_id in ("kept", "gone"):
            store.append_log(task_id, 0, ["late"])

    with closing(SqliteStore(path)) as store:
        assert store.log_sizes() == {"kept": 1}

    assert execute(path, "SELECT DISTINCT task_id FROM log_chunks") == [("kept",)]


def test_the_file_shrinks_after_a_deletion(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite3"
    ids = [f"t{number}" for number in range(2000)]
    with closing(SqliteStore(path)) as store:
        for task_id in ids:
            store.save(task(task_id, "x" * 8000))
    full = path.stat().st_size

    with closing(SqliteStore(path)) as store:
        store.delete(ids)

    assert full > 16_000_000
    assert path.stat().st_size < 2_000_000
