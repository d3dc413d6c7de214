"""Commands under `socketprogress run`, and what a server knows of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from terminals import Terminal

__all__ = ["Runner", "environment_without_server", "eventually"]

RUN = [sys.executable, "-m", "socketprogress", "run"]
DEADLINE_S = 20.0


def eventually(condition: Callable[[], Any]) -> Any:
    """Return what the condition gives once it is true, or the last of it when time is up."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not (value := condition()) and time.monotonic() < deadline:
        pause.wait(0.02)
    return value


class Runner:
    """Runs commands under `socketprogress run` and looks at what a server knows of them."""

    def __init__(self, env: dict[str, str], folder: Path, url: str = "") -> None:
        self.env, self.folder, self.url = env, folder, url
        self._children: list[subprocess.Popen[bytes]] = []

    def command(self, *argv: str, flags: Sequence[str] = ()) -> list[str]:
        """Return the whole command line."""
        return [*RUN, *flags, "--", *argv]

    def run(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """Run to the end."""
        command = self.command(*argv, flags=options.pop("flags", ()))
        options = {"capture_output": True, "timeout": 60, **options}
        return subprocess.run(command, env=self.env, cwd=self.folder, check=False, **options)

    def start(self, *argv: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start, in a process group of its own as a shell's job."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        child = subprocess.Popen(
            self.command(*argv), env=self.env, cwd=self.folder, process_group=0, **options
        )
        self._children.append(child)
        return child

    def terminal(self, *argv: str, **streams: Any) -> Any:
        """Run in a terminal."""
        return Terminal(self.command(*argv), env=self.env, cwd=self.folder, **streams)

    def get(self, path: str) -> Any:
        url = f"{self.url}/api/tasks{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    def task(self, title: str, status: str | None = None) -> dict[str, Any]:
        """Return the task of this title, as soon as there is one (that has this status)."""

        def find() -> Any:
            found = [task for task in self.get("")["tasks"] if task["title"] == title]
            if found and status in (None, found[0]["status"]):
                return self.get(f"/{found[0]['task_id']}")
            return None

        task = eventually(find)
        assert task, f"no task {title!r} ({status}) among {self.get('')['tasks']}"
        return task

    def cancel(self, task_id: str) -> None:
        """Cancel a task as the page does."""
        url = f"{self.url}/api/tasks/{task_id}/cancel"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, data=b"{}", headers=headers)  # noqa: S310 - as above
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - as above

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream is not None:
                    stream.close()
            child.wait(DEADLINE_S)


def environment_without_server(runtime: Path) -> dict[str, str]:
    """Return the environment of a process that finds no server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SOCKETPROGRESS_")}
    return {**kept, "XDG_RUNTIME_DIR": str(runtime), "XDG_DATA_HOME": str(runtime / "home")}
