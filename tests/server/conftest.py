"""A whole server in this process, for what Flask's test client can ask of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from socketprogress import Reporter
from socketprogress.server.extension import SocketProgress
from socketprogress.server.settings import Settings

WAIT_S = 20.0
TERMINAL = {"completed", "failed", "cancelled"}


class Gates:
    """What the bodies of the test tasks wait for, so that a test says when they go on."""

    def __init__(self) -> None:
        self.go = threading.Event()


@dataclass
class Web:
    """One server: its app, its extension, and a visitor."""

    app: Flask
    progress: SocketProgress
    client: FlaskClient
    gates: Gates
    prefix: str

    @property
    def settings(self) -> Settings:
        return self.progress.engine.settings

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(self.prefix + path, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        return self.client.post(self.prefix + path, **options)

    def start(self, task: str = "add", **args: Any) -> str:
        """Start a task through the API and return its id."""
        response = self.post("/api/tasks", json={"task": task, "args": args})
        assert response.status_code == 201, response.text
        return str(response.json["task_id"])  # type: ignore[index]

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end and return its snapshot."""
        etag = ""
        for _ in range(100):
            response = self.get(
                f"/api/tasks/{task_id}", query_string={"wait": "5"}, headers={"If-None-Match": etag}
            )
            etag = response.headers["ETag"]
            if response.status_code == 200 and response.json["status"] in TERMINAL:  # type: ignore[index]
                return dict(response.json)  # type: ignore[arg-type]
        pytest.fail(f"task {task_id} did not end: {response.text}")

    def form(self, path: str, page: str = "/", **fields: str) -> TestResponse:
        """Send a form as a browser without JavaScript does: with the page's token."""
        html = self.get(page).text
        found = re.search(r'name="csrf_token" value="([^"]+)"', html)
        assert found, html
        return self.post(path, data={"csrf_token": found.group(1), **fields})


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """A function that composes a server: settings by name, and a `prefix`."""
    yield from _composing(tmp_path)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A server for tests that start nothing."""
    composing = _composing(tmp_path_factory.mktemp("calm"))
    yield next(composing)()
    for _ in composing:
        pass


def _composing(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(*, prefix: str = "", **changes: Any) -> Web:
        root = tmp_path / f"root{len(made)}"
        root.mkdir()
        settings = Settings(
            root=root,
            data=tmp_path / f"data{len(made)}",
            store="memory:",
            async_mode="threading",
            default_task="add",
        ).but(**changes)
        settings.data.mkdir(exist_ok=True)
        progress, gates = SocketProgress(), Gates()
        _add_tasks(progress, gates)
        app = Flask("host", static_folder=None)
        progress.init_app(app, settings=settings, url_prefix=prefix)
        progress.engine.start()
        made.append(Web(app, progress, app.test_client(), gates, prefix))
        return made[-1]

    yield make
    for one in made:
        one.gates.go.set()
        one.progress.engine.close()


def _add_tasks(progress: SocketProgress, gates: Gates) -> None:
    @progress.task(title="Add {a}", description="Adds two numbers.", executor="thread")
    def add(a: int = 1, b: int = 2) -> int:
        return a + b

    @progress.task(executor="thread", max_running=2)
    def hold(progress: Reporter) -> str:
        progress.total = 2
        progress.advance()
        progress.log("half of it is done")
        while not gates.go.wait(0.01):
            progress.check()
        return "done"

    @progress.task(executor="thread")
    def write(progress: Reporter, name: str, text: str = "") -> None:
        path = progress.output_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        progress.add_file(path)

    @progress.task(executor="thread")
    def shapes(
        where: Path,
        numbers: list[int],
        deep: bool = True,
        mode: Literal["fast", "slow"] = "fast",
        share: float | None = None,
    ) -> dict[str, Any]:
        return {"numbers": numbers, "deep": deep, "mode": mode, "share": share}
