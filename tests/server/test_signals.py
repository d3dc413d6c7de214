"""The signals that an application listens to."""

from __future__ import annotations

import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from socketprogress import Reporter, SocketProgress
from socketprogress.signals import task_finished, task_started, task_updated
from tests.conftest import RedisServer, environment

WAIT_S = 30.0
Heard = queue.Queue[tuple[str, dict[str, Any]]]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[tuple[Flask, SocketProgress]]]:
    """Two applications with a task each."""
    yield from composed(tmp_path, "memory:")


@pytest.fixture
def servers(tmp_path: Path, store: str) -> Iterator[list[tuple[Flask, SocketProgress]]]:
    """Two servers on one store."""
    yield from composed(tmp_path, store)


@pytest.fixture
def store(lasting_redis: RedisServer) -> str:
    """The URL of a store of this test's own."""
    return f"{lasting_redis.url}?prefix={secrets.token_hex(8)}&lease_s=2"


def composed(tmp_path: Path, store: str) -> Iterator[list[tuple[Flask, SocketProgress]]]:
    made = []
    for name in ("first", "second"):
        app = Flask(name, instance_path=str(tmp_path / name))
        progress = SocketProgress(app, store=store)

        @progress.task(executor="thread")
        def count(progress: Reporter, number: int) -> int:
            for _ in progress.track(range(number)):
                pass
            if not number:
                raise ValueError("nothing to count")
            return number

        made.append((app, progress))
    yield made
    for _, progress in made:
        progress.engine.close()


def listen(app: Flask) -> Heard:
    """Return what an application's signals say, and in which app's context they do."""
    heard: Heard = queue.Queue()
    for signal in (task_started, task_updated, task_finished):

        def receive(sender: Flask, task: dict[str, Any], *, name: str = signal.name) -> None:
            assert current_app.name == sender.name
            heard.put((name, task))

        signal.connect(receive, sender=app, weak=False)
    return heard


def test_a_task_starts_and_finishes_once_each_in_its_own_app(
    hosts: list[tuple[Flask, SocketProgress]],
) -> None:
    # Given
    (first, progress), (second, other) = hosts
    heard, elsewhere = listen(first), listen(second)

    # When
    task_id = progress.start("count", number=100).task_id
    told = []
    while not told or told[-1][0] != "task-finished":
        told.append(heard.get(timeout=WAIT_S))

    # Then
    names = [name for name, _ in told]
    assert (names[0], names.count("task-started"), names.count("task-finished")) == (
        "task-started",
        1,
        1,
    )
    end = told[-1][1]
    assert (end["task_id"], end["status"], end["result"]) == (task_id, "completed", 100)
    other.start("count", number=1)
    assert elsewhere.get(timeout=WAIT_S)[1]["task_id"] != task_id
    assert heard.empty()


def test_a_receiver_that_raises_is_logged_and_harms_nobody(
    hosts: list[tuple[Flask, SocketProgress]], caplog: pytest.LogCaptureFixture
) -> None:
    app, progress = hosts[0]

    def broken(sender: Flask, task: dict[str, Any]) -> None:
        raise RuntimeError("the mail server is down")

    task_finished.connect(broken, sender=app, weak=False)
    heard = listen(app)

    progress.start("count", number=0)
    while True:
        name, task = heard.get(timeout=WAIT_S)
        if name == "task-finished":
            break

    assert task["status"] == "failed"
    assert "task-finished" in caplog.text
    assert "the mail server is down" in caplog.text


REPORTS = """
from socketprogress import Reporter
with Reporter("direct", task_id="direct", total=2) as bar:
    bar.advance(2)
"""


def finished(heard: Heard, progress: SocketProgress) -> list[str]:
    """Return the tasks whose ends were signalled, up to that of one more that is started here."""
    last = progress.start("count", number=1).task_id
    ids: list[str] = []
    while last not in ids:
        name, task = heard.get(timeout=WAIT_S)
        if name == "task-finished":
            ids.append(task["task_id"])
    return ids[:-1]


def test_of_several_servers_the_one_that_runs_a_task_tells_of_it(
    servers: list[tuple[Flask, SocketProgress]],
) -> None:
    # Given two servers on one store, both of them with listeners
    (first, progress), (second, other) = servers
    heard, elsewhere = listen(first), listen(second)
    assert finished(heard, progress) == finished(elsewhere, other) == []

    # When one of them runs a task, and the other shows it
    task_id = progress.start("count", number=100).task_id
    shown(other, task_id)

    # Then its own listeners alone have heard of it, once
    assert finished(heard, progress) == [task_id]
    assert finished(elsewhere, other) == []


def test_what_is_reported_without_a_server_is_told_by_one(
    servers: list[tuple[Flask, SocketProgress]], store: str, tmp_path: Path
) -> None:
    # Given two servers on one store
    (first, progress), (second, other) = servers
    heard, elsewhere = listen(first), listen(second)
    assert finished(heard, progress) == finished(elsewhere, other) == []

    # When a process reports straight into the store
    env = environment(tmp_path, SOCKETPROGRESS_STORE=store)
    subprocess.run([sys.executable, "-c", REPORTS], env=env, check=True, timeout=WAIT_S)
    shown(progress, "direct")
    shown(other, "direct")

    # Then one of the servers has told of it
    assert finished(heard, progress) + finished(elsewhere, other) == ["direct"]


def shown(progress: SocketProgress, task_id: str) -> None:
    """Wait until a server shows a task's end."""
    hub = progress.engine.hub
    ended = threading.Event()
    deadline = time.monotonic() + WAIT_S

    def look() -> None:
        state = hub.find(task_id)
        if state is not None and state.ended:
            ended.set()

    stop = hub.listen(task_id, look)
    look()
    assert ended.wait(deadline - time.monotonic())
    stop()
