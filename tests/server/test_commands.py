"""`flask socketprogress …`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.cli import FlaskGroup

from socketprogress import SocketProgress, TaskFailure
from socketprogress.server.datadir import lock_data


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    """An application with two tasks and a store on disk."""
    app = Flask("host", instance_path=str(tmp_path))
    progress = SocketProgress(app)

    @progress.task(executor="thread", title="Add {a}")
    def add(a: int, b: int = 2) -> int:
        return a + b

    @progress.task(executor="thread")
    def fail() -> None:
        raise TaskFailure("no disk")

    yield app
    installation = app.extensions["socketprogress"]
    if installation.composed:
        installation.engine.close()


def run(app: Flask, *args: str) -> Result:
    group = FlaskGroup(create_app=lambda: app)
    return app.test_cli_runner().invoke(group, ["socketprogress", *args])


def test_a_task_is_run_to_its_end_and_listed(app: Flask) -> None:
    started = run(app, "start", "add", "a=40")
    listed = run(app, "ls")
    as_json = run(app, "ls", "--json")

    assert started.exit_code == 0, started.output
    task = json.loads(started.output)
    assert (task["status"], task["result"]) == ("completed", 42)
    assert listed.output == f"{task['task_id']}  completed    100%  Add 40\n"
    assert json.loads(as_json.output)["task_id"] == task["task_id"]


def test_a_failure_is_the_exit_code(app: Flask) -> None:
    failed = run(app, "start", "fail")

    assert failed.exit_code == 1
    assert json.loads(failed.output)["error"]["message"] == "no disk"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["start", "nothing"], "no task is called 'nothing'"),
        (["start", "add"], "a"),
        (["start", "add", "a=x"], "a"),
        (["start", "add", "a"], "write it as name=value"),
    ],
)
def test_what_cannot_be_started_is_named(app: Flask, args: list[str], said: str) -> None:
    refused = run(app, *args)

    assert refused.exit_code in {1, 2}
    assert said in refused.output
    assert "Traceback" not in refused.output


def test_definitions_are_listed_with_their_arguments(app: Flask) -> None:
    assert run(app, "definitions").output == "add a=… b=…\nfail\n"


def test_looking_takes_nothing_from_a_server_that_runs(app: Flask) -> None:
    with lock_data(Path(app.instance_path) / "socketprogress"):
        listed = run(app, "ls")
        started = run(app, "start", "add", "a=1")

    assert (listed.exit_code, listed.output) == (0, "")
    assert started.exit_code == 1
    assert "in use by another server" in started.output
    assert "choose another folder with app.config['SOCKETPROGRESS_DATA']" in started.output
    assert not app.extensions["socketprogress"].composed
