"""The client commands against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., Any]


@pytest.fixture
def running(server: Start, gated_tasks: str, tmp_path: Path) -> Any:
    """A server with the tasks of `gated_tasks`."""
    return server("--tasks", gated_tasks, root=tmp_path)


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


def test_values_reach_the_function_as_their_types(running: Any) -> None:
    task_id = _started(
        running, "kinds", "count=3", "ratio=2", "flag=yes", 'names=["a"]', "maybe=null"
    )
    done = running.cli("watch", task_id, "--result")

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
        (["kinds", "count=x"], 2, "count='x' is not integer"),
        (["kinds", "colour=red"], 2, "'colour'"),
        (["kinds"], 2, "'count' is missing"),
        (["gated", "gate=/etc/outside"], 2, "gate|outside"),
        (["gate=x"], 2, "before its arguments"),
        (["kinds", "count=1", "--task-id", "not/valid"], 2, "not/valid"),
    ],
)
def test_a_bad_start_says_what_is_wrong(
    running: Any, args: list[str], code: int, words: str
) -> None:
    done = running.cli("start", *args)

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


def test_what_is_not_cancellable_says_so(running: Any, tmp_path: Path) -> None:
    task_id = _started(running, "stubborn", f"gate={tmp_path / 'gate'}")

    refused = running.cli("cancel", task_id)

    assert refused.returncode == 1
    assert "not cancellable" in refused.stderr


@pytest.mark.parametrize("command", ["watch", "cancel"])
def test_an_unknown_task_is_one_line(running: Any, command: str) -> None:
    done = running.cli(command, "nothing")

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


def test_a_reader_that_goes_away_is_no_traceback(running: Any) -> None:
    _started(running)
    with subprocess.Popen(
        [sys.executable, "-m", "socketprogress", "ls", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=running.env,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    "args", [["ls"], ["watch", "x"], ["cancel", "x"], ["start"], ["start", "checksum"]]
)
def test_without_a_server_every_command_says_so_in_one_line(running: Any, args: list[str]) -> None:
    running.kill()

    nowhere = running.cli(*args)
    refused = running.cli(*args, "--server", running.url)

    assert nowhere.returncode == refused.returncode == 1
    assert "start one with" in nowhere.stderr
    assert f"no server answers at {running.url}" in refused.stderr
    assert nowhere.stderr.count("\n") == refused.stderr.count("\n") == 1


def test_a_server_that_is_no_url_is_a_usage_error(running: Any) -> None:
    done = running.cli("ls", "--server", "ftp://x")

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


def test_doctor_sees_a_damaged_store_and_a_foreign_port(running: Any, tmp_path: Path) -> None:
    data = tmp_path / "other"
    data.mkdir()
    (data / "tasks.sqlite3").write_bytes(b"no database at all, but longer than a header" * 9)
    running.cli("ls")
    env = {"XDG_RUNTIME_DIR": str(tmp_path)}

    done = running.cli("doctor", "--port", str(running.port), "--data", str(data), env=env)

    assert done.returncode == 1
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert len(problems) == 2
    assert "tasks.sqlite3 cannot be read" in problems[0]
    assert f"is taken by pid {running.pid}" in problems[1]


def test_doctor_sees_tasks_that_cannot_be_loaded_and_programs_that_are_not_there(
    running: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n", encoding="utf-8")
    at = ("--port", "0", "--data", str(tmp_path / "data"))

    tasks = running.cli("doctor", *at, "--tasks", str(broken))
    command = running.cli("doctor", *at, "--command", "sync=./no-such-program --all")

    for done, said in (
        (tasks, "No module named 'no_such_module'"),
        (command, "command sync: there is no program './no-such-program'"),
    ):
        assert done.returncode == 1
        (problem,) = [line for line in done.stdout.splitlines() if line.startswith("problem")]
        assert said in problem
