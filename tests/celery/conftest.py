"""A real worker in a process of its own, on a real Redis, and a real server beside them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

HERE = Path(__file__).parent
READY_S = 30.0
WAIT_S = 20.0
SENDER = """
import json, sys, shop
from celery import chord, group
for line in sys.stdin:
    exec(json.loads(line))
    print("END", flush=True)
"""


class Worker:
    """`celery -A shop worker`, as a process group of its own."""

    def __init__(self, log: Path, env: dict[str, str], *args: str, app: str = "shop") -> None:
        self._log = log
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-l", "INFO"]
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [
                    *command,
                    "--without-gossip",
                    "--without-heartbeat",
                    "-n",
                    f"{log.stem}@here",
                    *args,
                ],
                env=env,
                cwd=HERE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: "ready." in self.output, READY_S, lambda: self.output)

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        """Shut it down as its supervisor would."""
        self.process.terminate()
        self.process.wait(timeout=WAIT_S)

    def kill(self) -> None:
        """End it and its pool with SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=WAIT_S)


class Shop:
    """The application `shop` in this process as its sender, with its server and its broker."""

    def __init__(self, url: str, broker: str, env: dict[str, str], folder: Path) -> None:
        self.url, self.broker, self.env, self._folder = url, broker, env, folder
        self.workers: list[Worker] = []
        self._sender = subprocess.Popen(
            [sys.executable, "-c", SENDER],
            env=env, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def work(self, *args: str, app: str = "shop", **env: str) -> Worker:
        """Start a worker."""
        log = self._folder / f"worker{len(self.workers)}.log"
        self.workers.append(Worker(log, {**self.env, **env}, *args, app=app))
        return self.workers[-1]

    def send(self, code: str) -> list[str]:
        """Run code in the process that sends tasks; return the words that it prints."""
        assert self._sender.stdin is not None
        assert self._sender.stdout is not None
        self._sender.stdin.write(json.dumps(code) + "\n")
        self._sender.stdin.flush()
        words: list[str] = []
        for line in self._sender.stdout:
            if line.strip() == "END":
                return words
            words += line.split()
        pytest.fail(f"the sender has ended: {code}")

    def close(self) -> None:
        """End it all."""
        for worker in self.workers:
            worker.kill()
        self._sender.kill()
        self._sender.communicate()

    def task(self, task_id: str) -> dict[str, Any] | None:
        """Return a task as the server shows it, or None."""
        answer = requests.get(f"{self.url}/api/tasks/{task_id}", timeout=WAIT_S)
        shown = answer.json()
        return dict(shown.get("task", shown)) if answer.ok else None

    def log(self, task_id: str) -> list[str]:
        """Return the lines of a task's log."""
        answer = requests.get(f"{self.url}/api/tasks/{task_id}/log", timeout=WAIT_S)
        return list(answer.json()["lines"])

    def cancel(self, task_id: str) -> None:
        """Ask for a task's end, as the page does."""
        answer = requests.post(f"{self.url}/api/tasks/{task_id}/cancel", json={}, timeout=WAIT_S)
        assert answer.ok, answer.text

    def until(self, task_id: str, test: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until a task is as it should be, and return it."""
        last: dict[str, Any] = {}

        def fits() -> bool:
            nonlocal last
            last = self.task(task_id) or {}
            return bool(last) and bool(test(last))

        wait_until(fits, WAIT_S, lambda: f"{last}\n{[w.output[-3000:] for w in self.workers]}")
        return last

    def end_of(self, task_id: str) -> dict[str, Any]:
        """Wait for a task's end and return it."""
        return self.until(
            task_id, lambda task: task["status"] in {"completed", "failed", "cancelled"}
        )


def wait_until(test: Callable[[], Any], seconds: float, why: Callable[[], str]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come to that within {seconds:g} s: {why()}")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shop(
    lasting_server: Callable[..., Any],
    lasting_redis: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shop]:
    """The application; its workers are ended with the module."""
    server = lasting_server()
    folder = tmp_path_factory.mktemp("shop")
    env = {**server.env, "BROKER": lasting_redis.url, "SOCKETPROGRESS_URL": server.url}
    one = Shop(server.url, lasting_redis.url, env, folder)
    yield one
    one.close()
