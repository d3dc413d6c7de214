"""Where a client finds a server, and what it says of an address that is another's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, redirect
from flask_socketio import SocketIO
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from socketprogress import Client, Reporter, SocketProgress
from socketprogress.client.watcher import TaskView
from socketprogress.core.errors import Unavailable


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@contextmanager
def _host(tmp_path: Path, **where: str) -> Iterator[tuple[Flask, str]]:
    """Serve an application whose own Socket.IO takes every connection."""
    app = Flask(__name__)
    app.config["SOCKETPROGRESS_DATA"] = str(tmp_path)
    socketio = SocketIO(app, async_mode="threading")
    socketio.on_event("connect", lambda: None)
    progress = SocketProgress()
    progress.init_app(app, socketio=socketio, **where)
    try:
        with _served(app) as url:
            yield app, url
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


def test_a_script_reports_to_a_host_that_is_named_with_its_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _host(tmp_path) as (_, url):
        monkeypatch.setenv("SOCKETPROGRESS_URL", f"{url}/progress")
        with Reporter("backup", total=1) as backup:
            backup.advance()
        with Client() as client:
            end = _end_of(client, backup.task_id)

    assert (end.name, end.status, end.progress) == ("backup", "completed", 100)


def test_what_is_no_socketprogress_is_named_as_that() -> None:
    with (
        _served(Flask(__name__)) as url,
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
