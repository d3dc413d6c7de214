"""The pytest plugin, in the tests of an application."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

APP = """
from flask import Flask
from socketprogress import Reporter, SocketProgress

progress = SocketProgress()


def create_app():
    app = Flask("host")
    progress.init_app(app)

    @app.post("/photos")
    def photos():
        return progress.start("resize", width=800).task_id

    @app.post("/broken")
    def broken():
        return progress.start("fail").task_id

    return app


@progress.task(steps=["Scan", "Resize"])
def resize(progress: Reporter, width: int) -> int:
    progress.step("Scan")
    progress.step("Resize", total=2)
    progress.advance(2)
    progress.log(f"to {width}")
    path = progress.output_dir / "a.txt"
    path.write_text("a")
    progress.add_file(path)
    return width


@progress.task
def fail() -> None:
    raise RuntimeError("no disk")
"""

TESTS = """
import threading

import pytest
from photos import create_app


@pytest.fixture
def app():
    app = create_app()
    app.testing = True
    return app


def test_a_task_has_ended_when_its_view_answers(app, inline_progress):
    before = set(threading.enumerate())
    tasks = inline_progress(app)

    task_id = app.test_client().post("/photos").text

    assert tasks.last["task_id"] == task_id
    assert (tasks.last["status"], tasks.last["result"]) == ("completed", 800)
    assert tasks.last["progress"] == 100
    assert [step["status"] for step in tasks.last["steps"]] == ["completed", "completed"]
    assert tasks.log(task_id) == ["to 800"]
    assert app.test_client().get(tasks.last["files"][0]["url"]).text == "a"
    assert app.test_client().get(f"/progress/tasks/{task_id}").status_code == 200
    assert set(threading.enumerate()) == before


def test_a_failure_is_a_state(app, inline_progress):
    tasks = inline_progress(app)

    assert app.test_client().post("/broken").status_code == 200

    assert tasks.last["error"] == {"code": "exception", "message": "RuntimeError: no disk"}
    assert any("no disk" in line for line in tasks.log(tasks.last["task_id"]))


def test_a_failure_is_raised_on_demand(app, inline_progress):
    tasks = inline_progress(app)
    tasks.raises = True

    with pytest.raises(RuntimeError, match="no disk"):
        app.test_client().post("/broken")

    assert tasks.last["status"] == "failed"


def test_each_test_begins_with_no_task(app, inline_progress):
    tasks = inline_progress(app)

    assert tasks.tasks == []
    with pytest.raises(LookupError):
        tasks.last
    app.test_client().post("/photos")
    assert inline_progress(app).tasks == []
"""


def test_an_applications_own_tests_run_its_tasks_inline(tmp_path: Path) -> None:
    (tmp_path / "photos.py").write_text(APP)
    (tmp_path / "test_photos.py").write_text(TESTS)

    done = _pytest(tmp_path, "-W", "error")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_who_does_not_use_the_plugin_loads_no_flask_with_it(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\ndef test_nothing(): assert not {'flask', 'eventlet'} & set(sys.modules)\n"
    )

    done = _pytest(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


def _pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    installed = entry_points(group="pytest11", name="socketprogress")
    plugins = ["no:cacheprovider", "no:asyncio"]
    plugins += [] if installed else ["socketprogress.pytest_plugin"]
    named = [part for plugin in plugins for part in ("-p", plugin)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *named, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
    )
