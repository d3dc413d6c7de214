"""The client commands against a real server."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from runners import eventually

from socketprogress.celery import install
from socketprogress.cli import cancel

Start = Callable[..., Any]


@pytest.fixture
def running(server: Start, gated_tasks: str, tmp_path: Path) -> Any:
    """A server with the tasks of `gated_tasks`."""
    return server("--tasks", gated_tasks, root=tmp_path)


@pytest.fixture(scope="module")
def shared(lasting_server: Start, gated_tasks: str) -> Any:
    """Such a server for the tests that do not mind what else is on it."""
    return lasting_server("--tasks", gated_tasks)


@pytest.fixture(scope="module")
def dead(lasting_server: Start) -> Any:
    """A server that was killed."""
    killed = lasting_server()
    killed.kill()
    return killed


def _started(running: Any, *args: str) -> str:
    done = running.cli("start", *args)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.strip())


def test_start_prints_the_id_as_data_and_the_page_as_talk(running: Any, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    done = running.cli("start", "gated", f"gate={tmp_path / 'gate'}", "--task-id", "mine")

    assert done.stdout == "mine\n"
    assert f"{running.url}/tasks/mine" in done.stderr


def test_the_same_task_id_again_is_the_same_task(running: Any, tmp_path: Path) -> None:
    gate = f"gate={tmp_path / 'gate'}"
    _started(running, "gated", gate, "--task-id", "once", "--title", "Only one")
    _started(running, "gated", gate, "--task-id", "once")

    (task,) = map(json.loads, running.cli("ls", "--json").stdout.splitlines())
    assert (task["task_id"], task["title"]) == ("once", "Only one")


def test_values_reach_the_function_as_their_types(shared: Any) -> None:
    task_id = _started(
        shared, "kinds", "count=3", "ratio=2", "flag=yes", 'names=["a"]', "maybe=null"
    )
    done = shared.cli("watch", task_id, "--result")

    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "count": 3,
        "ratio": 2.0,
        "flag": True,
        "names": ["a"],
        "maybe": None,
    }


def test_start_without_a_name_starts_the_default_task(running: Any) -> None:
    task_id = _started(running)

    (task,) = map(json.loads, running.cli("ls", "--json").stdout.splitlines())
    assert (task["task_id"], task["name"]) == (task_id, "checksum")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["nothing"], 1, "no task is called 'nothing'"),
        (["kinds", "count=x"], 2, "count must be an integer, not 'x'"),
        (["kinds", "colour=red"], 2, "'colour'"),
        (["kinds"], 2, "'count' is missing"),
        (["gated", "gate=/etc/outside"], 2, "gate|outside"),
        (["gate=x"], 2, "before its arguments"),
        (["kinds", "count=1", "--task-id", "not/valid"], 2, "not/valid"),
    ],
)
def test_a_bad_start_says_what_is_wrong(
    shared: Any, args: list[str], code: int, words: str
) -> None:
    done = shared.cli("start", *args)

    assert done.returncode == code
    assert any(word in done.stderr for word in words.split("|"))
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_start_and_watch_end_with_the_task(running: Any, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    gate = f"gate={tmp_path / 'gate'}"

    completed = running.cli("start", "gated", gate, "--watch")
    failed = running.cli("start", "gated", gate, "fail=true", "--watch")

    assert completed.returncode == 0
    assert completed.stderr.splitlines()[-1].startswith("completed  Gated work")
    assert failed.returncode == 1
    assert "the gate was wrong (exception)" in failed.stderr.splitlines()[-1]


def test_cancel_waits_for_the_end_and_watch_says_3(running: Any, tmp_path: Path) -> None:
    task_id = _started(running, "gated", f"gate={tmp_path / 'gate'}")

    cancelled = running.cli("cancel", task_id, "--wait")

    assert (cancelled.returncode, cancelled.stdout) == (0, "cancelled\n")
    assert running.cli("watch", task_id).returncode == 3
    again = running.cli("cancel", task_id)
    assert again.returncode == 1
    assert "is cancelled" in again.stderr


def test_cancel_waits_as_long_as_it_is_told(shared: Any) -> None:
    # Given a reporter that hears of nothing
    task = {"current": 1, "total": 4, "cancellable": True}
    requests.put(f"{shared.url}/api/tasks/deaf", json=task, timeout=10).raise_for_status()

    given_up = shared.cli("cancel", "deaf", "--timeout", "0.2")
    nonsense = shared.cli("cancel", "deaf", "--timeout", "0")

    assert given_up.returncode == 1
    assert "was asked to stop and has not within 0.2 seconds" in given_up.stderr
    assert nonsense.returncode == 2


def test_cancel_waits_for_longer_than_celery_does_before_it_uses_force() -> None:
    grace_s = inspect.signature(install).parameters["cancel_grace_s"].default

    assert 2 * grace_s <= cancel.WAIT_S


def test_what_is_not_cancellable_says_so(running: Any, tmp_path: Path) -> None:
    task_id = _started(running, "stubborn", f"gate={tmp_path / 'gate'}")

    refused = running.cli("cancel", task_id)

    assert refused.returncode == 1
    assert "not cancellable" in refused.stderr


@pytest.mark.parametrize("command", ["watch", "cancel"])
def test_an_unknown_task_is_one_line(shared: Any, command: str) -> None:
    done = shared.cli(command, "nothing")

    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ls_is_a_table_without_colours_or_escapes(running: Any, tmp_path: Path) -> None:
    title = "\x1b[31mred\x1b[0m ünï\nline"
    _started(running, "gated", f"gate={tmp_path / 'gate'}", "--title", title)

    done = running.cli("ls")

    heading, row = done.stdout.splitlines()
    assert heading.split() == ["TASK", "STATUS", "DONE", "TIME", "TITLE"]
    assert "in progress" in row
    assert "ünï" in row
    assert "\x1b" not in done.stdout


def test_ls_says_how_long_a_task_has_run_by_now(running: Any, tmp_path: Path) -> None:
    _started(running, "gated", f"gate={tmp_path / 'gate'}")

    def standing() -> Any:
        (task,) = map(json.loads, running.cli("ls", "--json").stdout.splitlines())
        return task if task["progress"] == 50 else None

    first = eventually(standing)
    later = eventually(standing)

    assert later["seq"] == first["seq"]
    assert later["elapsed_s"] > first["elapsed_s"]


def test_ls_filters_limits_and_says_that_there_is_more(running: Any, tmp_path: Path) -> None:
    gate = f"gate={tmp_path / 'gate'}"
    for number in range(3):
        _started(running, "gated", gate, f"label=number{number}")

    assert running.cli("ls", "--search", "number1", "--json").stdout.count("\n") == 1
    assert running.cli("ls", "--status", "completed").stdout == ""
    limited = running.cli("ls", "--limit", "2", "--json")
    assert limited.stdout.count("\n") == 2
    assert "more than 2" in limited.stderr
    assert running.cli("ls", "--status", "nonsense").returncode == 2


def test_a_reader_that_goes_away_is_no_traceback(shared: Any) -> None:
    _started(shared)
    with subprocess.Popen(
        [sys.executable, "-m", "socketprogress", "ls", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shared.env,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "args", [["ls"], ["watch", "x"], ["cancel", "x"], ["start"], ["start", "checksum"]]
)
def test_without_a_server_every_command_says_so_in_one_line(dead: Any, args: list[str]) -> None:
    nowhere = dead.cli(*args)
    refused = dead.cli(*args, "--server", dead.url)

    assert nowhere.returncode == refused.returncode == 1
    assert "start one with" in nowhere.stderr
    assert f"no server answers at {dead.url}" in refused.stderr
    assert nowhere.stderr.count("\n") == refused.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["ls"], ["watch", "x"], ["cancel", "x"], ["start"]])
def test_a_wrong_prefix_is_an_error_that_names_the_right_address(
    shared: Any, args: list[str]
) -> None:
    done = shared.cli(*args, "--server", f"{shared.url}/progress")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"no socketprogress at {shared.url}/progress, but there is one at {shared.url}" in (
        done.stderr
    )


def test_a_server_that_is_no_url_is_a_usage_error(shared: Any) -> None:
    done = shared.cli("ls", "--server", "ftp://x")

    assert done.returncode == 2
    assert "ftp://x" in done.stderr


def test_doctor_finds_all_well_and_names_the_server(running: Any) -> None:
    done = running.cli("doctor", "--port", str(running.port), "--data", str(running.data))

    assert done.returncode == 0, done.stdout
    assert f"taken by your server with pid {running.pid}" in done.stdout
    assert f"in use by the server with pid {running.pid}" in done.stdout
    assert f"server {running.url} (pid {running.pid}) is well" in done.stdout
    assert "is intact" in done.stdout
    assert all(line.startswith("ok ") for line in done.stdout.splitlines()), done.stdout


def test_doctor_sees_a_damaged_store_and_a_foreign_port(shared: Any, tmp_path: Path) -> None:
    data = tmp_path / "other"
    data.mkdir()
    (data / "tasks.sqlite3").write_bytes(b"no database at all, but longer than a header" * 9)
    shared.cli("ls")
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}

    done = shared.cli("doctor", "--port", str(shared.port), "--data", str(data), env=env)

    assert done.returncode == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert len(problems) == 2
    assert "tasks.sqlite3 cannot be read" in problems[0]
    assert f"is taken by pid {shared.pid}" in problems[1]


def test_doctor_sees_tasks_that_cannot_be_loaded_and_programs_that_are_not_there(
    shared: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n", encoding="utf-8")
    at = ("--port", "0", "--data", str(tmp_path / "data"))

    tasks = shared.cli("doctor", *at, "--tasks", str(broken))
    command = shared.cli("doctor", *at, "--command", "sync=./no-such-program --all")

    for done, said in (
        (tasks, "No module named 'no_such_module'"),
        (command, "command sync: there is no program './no-such-program'"),
    ):
        assert done.returncode == 1
        (problem,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
        assert said in problem
