"""Where a client finds a server, and what it says of an address that is another's."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, redirect
from flask_socketio import SocketIO
from userhost import served
from werkzeug.wrappers import Response

from socketprogress import Client, Reporter, SocketProgress
from socketprogress.client.watcher import TaskView
from socketprogress.core.errors import Unavailable
from tests.conftest import environment

FORGETFUL = """
import sys
from socketprogress import Reporter

with Reporter("backup", total=1) as backup:
    backup.advance()
    sys.stdin.read()
"""


@contextmanager
def _host(
    tmp_path: Path, server: dict[str, Any] | None = None, **where: str
) -> Iterator[tuple[Flask, str]]:
    """Serve an application whose own Socket.IO, with options of its own, takes every connection."""
    with _application(tmp_path, server or {}, **where) as app, served(app) as url:
        yield app, url


@contextmanager
def _application(tmp_path: Path, server: dict[str, Any], **where: str) -> Iterator[Flask]:
    app = Flask(__name__)
    app.config["SOCKETPROGRESS_DATA"] = str(tmp_path)
    socketio = SocketIO(app, async_mode="threading", **server)
    socketio.on_event("connect", lambda: None)
    progress = SocketProgress()
    progress.init_app(app, socketio=socketio, **where)
    try:
        yield app
    finally:
        progress.engine.close()


def test_an_address_without_the_prefix_is_told_the_one_with_it(tmp_path: Path) -> None:
    with _host(tmp_path) as (_, url):
        with pytest.raises(Unavailable) as raised, Client(url):
            pass
        with Client(f"{url}/progress") as client:
            assert list(client.list()) == []

    assert str(raised.value) == (
        f"there is no socketprogress at {url}, but there is one at {url}/progress"
    )


def test_a_host_that_sends_strangers_to_its_login_hides_nothing_of_that(tmp_path: Path) -> None:
    with _host(tmp_path) as (app, url):

        @app.errorhandler(404)
        def login(_: Exception) -> Response:
            return redirect("/login")

        with pytest.raises(Unavailable, match="but there is one at"), Client(url):
            pass


def test_a_server_is_found_under_any_prefix_and_in_any_namespace(tmp_path: Path) -> None:
    with (
        _host(tmp_path, url_prefix="/jobs", namespace="/") as (_, url),
        Client(f"{url}/jobs") as client,
    ):
        assert list(client.list()) == []


@pytest.mark.parametrize(
    ("prefix", "options"),
    [
        ("/progress", {}),
        ("/jobs", {"url_prefix": "/jobs", "namespace": "/"}),
        ("/progress", {"server": {"path": "live/socket.io"}, "namespace": "/jobs"}),
        ("/progress", {"server": {"namespaces": "*"}, "namespace": "/"}),
    ],
)
def test_a_script_reports_to_a_host_that_is_named_with_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, options: dict[str, Any]
) -> None:
    with _host(tmp_path, **options) as (_, url):
        monkeypatch.setenv("SOCKETPROGRESS_URL", f"{url}{prefix}")
        with Reporter("backup", total=1) as backup:
            backup.advance()
        with Client() as client:
            end = _end_of(client, backup.task_id)

    assert (end.name, end.status, end.progress) == ("backup", "completed", 100)


def test_a_script_reports_to_the_application_that_it_names_of_two_at_one_address(
    tmp_path: Path,
) -> None:
    with (
        _application(tmp_path / "a", {}, url_prefix="/a/progress") as one,
        _application(tmp_path / "b", {"path": "b/socket.io"}, url_prefix="/b/progress") as other,
    ):

        def both(environ: dict[str, Any], start_response: Any) -> Any:
            is_other = environ["PATH_INFO"].startswith("/b/")
            return (other if is_other else one).wsgi_app(environ, start_response)

        with served(both) as url:
            with Reporter("backup", total=1, url=f"{url}/b/progress") as backup:
                backup.advance()
            with Client(f"{url}/b/progress") as client:
                end = _end_of(client, backup.task_id)
            with Client(f"{url}/a/progress") as client:
                assert list(client.list()) == []

    assert (end.status, end.progress) == ("completed", 100)


@pytest.mark.parametrize("lasts", [True, False])
def test_a_script_that_names_a_host_without_its_prefix_is_told_and_loses_nothing(
    tmp_path: Path, lasts: bool
) -> None:
    with _host(tmp_path / "host") as (_, url):
        script = subprocess.Popen(
            [sys.executable, "-c", FORGETFUL],
            env=environment(tmp_path, SOCKETPROGRESS_URL=url),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert script.stdin is not None
        assert script.stderr is not None
        if not lasts:
            script.stdin.close()
        told = script.stderr.readline()
        if lasts:
            script.stdin.close()
        rest = script.stderr.read()
        script.wait()
        script.stderr.close()

    assert told == (
        f"there is no socketprogress at {url}, but there is one at {url}/progress; reports are kept\n"
    )
    assert (rest, script.returncode) == ("", 0)
    assert any(path.is_file() for path in (tmp_path / "state").rglob("*"))


@pytest.mark.parametrize("body", [b"x" * 1_000_000, b'{"namespace": 7}', b"[" * 50_000])
def test_an_answer_that_makes_no_sense_is_no_servers(body: bytes) -> None:
    app = Flask(__name__)
    app.add_url_rule("/api/connection", view_func=lambda: Response(body))

    with (
        served(app) as url,
        pytest.raises(Unavailable, match="there is no socketprogress at"),
        Client(url),
    ):
        pass


def test_what_is_no_socketprogress_is_named_as_that() -> None:
    with (
        served(Flask(__name__)) as url,
        pytest.raises(Unavailable) as raised,
        Client(f"{url}/other"),
    ):
        pass

    assert str(raised.value).startswith(f"there is no socketprogress at {url}/other; inside of")
    assert f"{url}/progress" in str(raised.value)


def _end_of(client: Client, task_id: str) -> TaskView:
    """Wait until a task is there, and for its end."""
    pause = threading.Event()
    while task_id not in {task.task_id for task in client.list()}:
        pause.wait(0.05)
    (*_, end) = client.task(task_id).watch()
    return end
