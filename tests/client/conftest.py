"""Reporters in processes of their own, and a server that they report to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TERMINAL = {"completed", "failed", "cancelled"}
PATIENCE_S = 60.0


class Api:
    """What a server says of its tasks."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url, self.token = url, token
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(self, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the test's own server
            self.url + path, headers=self._headers
        )
        with urllib.request.urlopen(request, timeout=70) as response:  # noqa: S310
            return json.load(response)

    def tasks(self, **wanted: str) -> list[dict[str, Any]]:
        """The tasks whose fields are these, oldest first."""
        found = self.get("/api/tasks?limit=1000")["tasks"]
        picked = [t for t in found if all(t[k] == v for k, v in wanted.items())]
        return sorted(picked, key=lambda task: task["created_at"])

    def wait(self, task_id: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a task is as it should be, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        task: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                task = self.get(f"/api/tasks/{task_id}?wait=0.2")
            except OSError:  # it may not be there yet, nor the server
                continue
            if until(task):
                return task
        pytest.fail(f"it never came to that: {task}")

    def wait_for_names(self, *names: str) -> list[dict[str, Any]]:
        """Wait until there are tasks of these names, and return them."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = {task["name"]: task for task in self.tasks()}
            if set(names) <= set(found):
                return [found[name] for name in names]
        pytest.fail(f"these never came: {names}")

    def ended(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end and return it."""
        return self.wait(task_id, lambda task: task["status"] in TERMINAL)

    def log(self, task_id: str) -> list[str]:
        """The lines of a task's log."""
        lines: list[str] = self.get(f"/api/tasks/{task_id}/log?limit=1000")["lines"]
        return lines

    def cancel(self, task_id: str) -> None:
        """Ask for a task's end."""
        request = urllib.request.Request(  # noqa: S310 - the test's own server
            f"{self.url}/api/tasks/{task_id}/cancel", method="POST", headers=self._headers
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


class Script:
    """A program that reports, in a process and a session of its own.

    It can say a line with `say` for the test to `hear`, and wait with `wait_for_go` for the test's `go`.
    """

    def __init__(self, code: str, env: dict[str, str], folder: Path) -> None:
        path = folder / f"script{time.monotonic_ns()}.py"
        path.write_text(PRELUDE + textwrap.dedent(code), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            cwd=folder,
            start_new_session=True,
        )
        self.stderr = ""

    def hear(self) -> str:
        """Return the next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            pytest.fail(f"the script has ended: {self.end()}\n{self.stderr}")
        return line

    def go(self) -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end and return the exit status."""
        _, self.stderr = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


PRELUDE = """\
import asyncio, os, signal, sys, threading, time
from socketprogress import Cancelled, Reporter, track

def say(text):
    print(text, flush=True)

def wait_for_go():
    sys.stdin.readline()

"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """A function that runs a reporting program: its code, the server's URL, more environment."""
    running: list[Script] = []

    def run(code: str, url: str | None = None, **env: str) -> Script:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SOCKETPROGRESS_")}
        (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
        whole = {
            **kept,
            "XDG_RUNTIME_DIR": str(tmp_path / "run"),
            "XDG_DATA_HOME": str(tmp_path / "home"),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "PYTHONWARNINGS": "error",
            **({"SOCKETPROGRESS_URL": url} if url else {}),
            **env,
        }
        running.append(Script(code, whole, tmp_path))
        return running[-1]

    yield run
    for one in running:
        one.close()


@pytest.fixture
def spooled(tmp_path: Path) -> Callable[[], list[Path]]:
    """A function that lists the spool files of the scripts."""
    folder = tmp_path / "state" / "socketprogress" / "spool"
    return lambda: sorted(folder.glob("*.jsonl"))


@pytest.fixture(scope="session")
def api_of() -> type[Api]:
    """What makes a view of a server from its URL and its token."""
    return Api


@pytest.fixture(scope="module")
def api(lasting_server: Callable[..., Any]) -> Api:
    """A server that the tests of a module share."""
    return Api(lasting_server().url)
