"""SocketProgress in an application that runs its own Socket.IO, in every async mode."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

HERE = Path(__file__).parent
WAIT_S = 30.0
OURS = "/socketprogress"
TERMINAL = {"completed", "failed", "cancelled"}
WORLDS = ["threading", "gevent", "gevent-patched", "eventlet", "eventlet-patched"]


class Host:
    """`host_app.py` in a process of its own."""

    def __init__(self, folder: Path, how: str, when: str, namespace: str) -> None:
        self.instance, self.namespace = folder / "instance", namespace
        self.port = _free_port()
        self.said: list[str] = []
        arguments = [how, when, namespace, str(self.instance), str(self.port)]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "host_app.py"), *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=folder,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._await_page()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=WAIT_S) as response:  # noqa: S310 - this test's own
                return response.status, response.read().decode()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read().decode()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        request = urllib.request.Request(  # noqa: S310 - this test's own
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=WAIT_S) as response:  # noqa: S310
            return response.status, json.load(response)

    def interrupt(self) -> None:
        """Press Ctrl-C and wait for the end."""
        # Engine.IO's own greenlets swallow an interrupt that happens to hit them: press it again.
        for _ in range(3):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=WAIT_S / 3)
                return
        self.process.send_signal(signal.SIGUSR1)
        threading.Event().wait(1.0)
        pytest.fail("the host goes on:\n" + "".join(self.said))

    def stored(self, task_id: str) -> dict[str, Any]:
        """Return a task as the store has it."""
        file = self.instance / "socketprogress" / "tasks.sqlite3"
        with contextlib.closing(sqlite3.connect(file)) as database:
            (row,) = database.execute("SELECT state FROM tasks WHERE task_id = ?", (task_id,))
        return dict(json.loads(row[0]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=WAIT_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr:
            self.said.extend(self.process.stderr)

    def _await_page(self) -> None:
        pause = threading.Event()
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.poll() is None, "".join(self.said)
            pause.wait(0.05)
        pytest.fail("the host does not listen: " + "".join(self.said))


class Visitor:
    """A Socket.IO client of both namespaces, the host's and ours."""

    def __init__(self, host: Host, transport: str = "websocket") -> None:
        self.namespace = host.namespace
        self.welcomed, self.dismissed = threading.Event(), threading.Event()
        self.events: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._client = socketio.Client(reconnection=False, handle_sigint=False)
        self._client.on("welcome", lambda _: self.welcomed.set(), namespace="/")
        self._client.on("*", lambda event, data: self.events.put((event, data)), host.namespace)
        self._client.on("disconnect", lambda _: self.dismissed.set(), namespace=host.namespace)
        self._client.connect(
            host.url, namespaces=sorted({"/", host.namespace}), transports=[transport]
        )

    @property
    def sid(self) -> str:
        return str(self._client.get_sid("/"))

    def call(self, event: str, payload: Any = None, namespace: str | None = None) -> Any:
        where = self.namespace if namespace is None else namespace
        return self._client.call(event, payload, namespace=where, timeout=WAIT_S)

    def emit(self, event: str, payload: Any) -> None:
        self._client.emit(event, payload, namespace=self.namespace)

    def awaited(self, event: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        while True:
            name, payload = self.events.get(timeout=WAIT_S)
            if name == event and fits(payload):
                return payload

    def end_of(self, task_id: str) -> dict[str, Any]:
        def is_end(task: Any) -> bool:
            return bool(task["task_id"] == task_id and task["status"] in TERMINAL)

        return dict(self.awaited("progress_update", is_end))

    def leave(self) -> None:
        self._client.disconnect()


Enter = Callable[..., Host]


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Enter]:
    """A function that starts hosts; they are ended with the test."""
    started: list[Host] = []

    def start(how: str, when: str = "before", namespace: str = OURS) -> Host:
        folder = tmp_path / f"host{len(started)}"
        folder.mkdir()
        started.append(Host(folder, how, when, namespace))
        return started[-1]

    yield start
    for host in started:
        host.close()


@pytest.mark.parametrize("how", WORLDS)
def test_a_host_works_on_and_its_tasks_are_live_in_every_async_mode(enter: Enter, how: str) -> None:
    # Given
    host = enter(how)
    visitor = Visitor(host)

    # When
    ends = {}
    for name in ("closure", "imported"):
        ack = visitor.call("start_task", {"task": name})
        ends[name] = visitor.end_of(ack["task_id"])

    # Then
    assert {name: (end["status"], end["result"]) for name, end in ends.items()} == {
        "closure": ("completed", 5),
        "imported": ("completed", 5),
    }
    assert visitor.call("hello", "you", namespace="/") == "hello 3"
    assert visitor.welcomed.wait(WAIT_S)
    assert host.get("/") == (200, "the host's page")
    assert host.get("/nothing") == (404, "the host's NotFound")
    visitor.leave()

    # And a stop books what runs
    task_id = host.get("/start/closure?number=100000")[1]
    host.interrupt()
    assert host.stored(task_id)["status"] == "cancelled"
    assert host.stored(task_id)["error"]["code"] == "shutdown"


@pytest.mark.parametrize("when", ["before", "after", "given"])
@pytest.mark.parametrize("namespace", ["/", OURS])
def test_the_hosts_own_events_go_on_in_whatever_order_and_namespace(
    enter: Enter, when: str, namespace: str
) -> None:
    # Given
    host = enter("threading", when, namespace)
    visitor = Visitor(host)

    # When
    end = visitor.end_of(visitor.call("start_task", {"task": "closure"})["task_id"])

    # Then
    assert end["status"] == "completed"
    assert visitor.welcomed.wait(WAIT_S)
    assert visitor.call("theirs", 1) == 2
    assert visitor.call("hello", "x" * 100_000, namespace="/") == "hello 100000"
    sid = visitor.sid
    visitor.leave()
    pause = threading.Event()
    while sid not in json.loads(host.get("/left")[1]):
        pause.wait(0.05)


@pytest.mark.parametrize("how", WORLDS)
def test_many_first_requests_at_once_start_one_server(enter: Enter, how: str) -> None:
    host = enter(how)
    answers: queue.Queue[tuple[int, str]] = queue.Queue()

    for _ in range(8):
        threading.Thread(
            target=lambda: answers.put(host.get("/progress/api/tasks")), daemon=True
        ).start()

    assert {answers.get(timeout=WAIT_S)[0] for _ in range(8)} == {200}
    assert "".join(host.said).count("tasks from before") == 1


def test_our_limits_and_answers_hold_in_the_hosts_server(enter: Enter) -> None:
    host = enter("threading")
    visitor = Visitor(host, "polling")

    large = visitor.call("start_task", {"task": "x" * 70_000})
    unknown = visitor.call("nobody_knows")
    named_like = visitor.call("connect", {})
    visitor.emit("start_task", {"task": "nothing"})

    assert large["error"]["code"] == "too_large"
    assert unknown["error"]["code"] == named_like["error"]["code"] == "unknown_event"
    assert visitor.awaited("task_error")["error"]["code"] == "unknown_definition"
    visitor.leave()


def test_who_floods_us_loses_our_namespace_and_keeps_the_hosts(enter: Enter) -> None:
    host = enter("threading")
    visitor = Visitor(host)

    with contextlib.suppress(socketio.exceptions.BadNamespaceError):
        while not visitor.dismissed.is_set():
            for _ in range(100):
                visitor.emit("watch_task", "nothing")
            assert visitor.call("hello", "you", namespace="/") == "hello 3"

    assert visitor.call("hello", "you", namespace="/") == "hello 3"
    visitor.leave()


def test_a_foreign_page_cannot_connect_to_us_though_the_host_would_let_it(enter: Enter) -> None:
    host = enter("threading")
    client = socketio.Client(reconnection=False, handle_sigint=False)
    refusals: queue.Queue[Any] = queue.Queue()
    client.on("connect_error", refusals.put, namespace=OURS)

    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(
            host.url,
            namespaces=[OURS],
            transports=["polling"],
            headers={"Host": "evil.example"},
        )

    assert refusals.get(timeout=WAIT_S)["data"]["code"] == "forbidden"


def test_the_api_works_below_a_csrf_protection_that_the_host_keeps(enter: Enter) -> None:
    host = enter("threading")

    status, answer = host.post("/progress/api/tasks", {"task": "closure"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        host.post("/start/closure", {})

    assert (status, answer["task"]["name"]) == (201, "closure")
    with refused.value as response:
        assert response.code in {404, 405}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
