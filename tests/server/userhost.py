"""A host application with users, served for real, for what only a connection can show."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_login
from flask import Flask, request
from werkzeug.serving import make_server

from socketprogress import Reporter
from socketprogress.server.extension import SocketProgress
from socketprogress.server.settings import Settings

HEADER = "X-User"


class User(flask_login.UserMixin):  # type: ignore[misc]
    """Whoever a request's header names."""

    def __init__(self, name: str) -> None:
        self.id = name


class Rules:
    """What the host allows: everybody sees what bears their tag; a test may take that back.

    Attributes:
        asked: every question, as (user's id, action, what of it has a name).
        revoked: the ids of users who may do nothing any more.
        fails: whether the hook raises.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str, str | None]] = []
        self.revoked: set[str] = set()
        self.fails = False

    def __call__(self, user: Any, action: str, task: Any) -> bool:
        assert request.path
        name = None if user is None else user.id
        self.asked.append((name, action, None if task is None else task.name))
        if self.fails:
            raise RuntimeError("the database is gone")
        if name is None or name in self.revoked:
            return False
        if name == "root" or task is None:
            return True
        if action in {"start", "open"}:
            return bool(task.name != "secret")
        mine = f"user:{name}" in task.tags
        return mine if action != "view" else mine or "public" in task.tags


def make_host(tmp_path: Path, rules: Rules, **changes: Any) -> tuple[Flask, SocketProgress]:
    """Return an application whose users its header names, and what is in it."""
    app = Flask("host", static_folder=None)
    logins = flask_login.LoginManager(app)

    @logins.request_loader
    def load(asked: Any) -> User | None:
        return User(asked.headers[HEADER]) if HEADER in asked.headers else None

    settings = Settings(
        root=tmp_path,
        data=tmp_path / "data",
        store="memory:",
        async_mode="threading",
        default_task="hold",
    ).but(**changes)
    settings.data.mkdir(exist_ok=True)
    progress = SocketProgress(app, settings=settings, authorize=rules)
    _add_tasks(progress)
    progress.engine.start()
    return app, progress


def _add_tasks(progress: SocketProgress) -> None:
    @progress.task(executor="thread", max_running=2)
    def hold(progress: Reporter) -> None:
        progress.log("held")
        while True:
            progress.check()
            threading.Event().wait(0.01)

    @progress.task(executor="thread")
    def secret() -> str:
        return "known to root alone"


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve a WSGI application for the time of a `with` block; its base URL is the block's."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
