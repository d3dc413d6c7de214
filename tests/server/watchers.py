"""What these tests watch a server with: a real Socket.IO client, and the rules of delivery."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import requests
import socketio
from engineio import packet

WAIT_S = 30.0
TERMINAL = frozenset({"completed", "failed", "cancelled"})
JOBS = str(Path(__file__).with_name("jobs.py"))

State = dict[str, Any]


class Refusal(Exception):
    """The server refused a connection; `told` is what it said."""

    def __init__(self, told: Any) -> None:
        super().__init__(told)
        self.told = told


class Client:
    """A python-socketio client that keeps whatever it gets.

    Args:
        url: the server's base URL.
        transports: which ones it may use; polling and then an upgrade by default.
        auth: what it sends as `auth`.
        headers: what it sends as HTTP headers.
        namespace: where its events go.
    """

    def __init__(
        self,
        url: str,
        *,
        transports: list[str] | None = None,
        auth: Any = None,
        headers: dict[str, str] | None = None,
        namespace: str = "/",
    ) -> None:
        self._namespace = namespace
        self.got: list[tuple[str, Any]] = []
        self.refusal: Any = None
        self.disconnected = False
        self._news = threading.Condition()
        self._http = requests.Session()
        self._http.trust_env = False
        # The library sends `headers` with the first request only.
        self._http.headers.update(headers or {})
        self._client = socketio.Client(
            reconnection=False,
            handle_sigint=False,
            http_session=self._http,
            websocket_extra_options={"http_no_proxy": ["127.0.0.1"]},
        )
        self._client.on("*", self._take, namespace=namespace)
        self._client.on("disconnect", self._on_disconnect, namespace=namespace)
        self._client.on("connect_error", self._on_refusal, namespace=namespace)
        try:
            self._client.connect(
                url,
                auth=auth,
                headers=headers or {},
                transports=transports,
                namespaces=[namespace],
                wait_timeout=WAIT_S,
            )
        except socketio.exceptions.ConnectionError as exc:
            self._http.close()
            raise Refusal(self.refusal or str(exc)) from exc

    @property
    def transport(self) -> str:
        return str(self._client.transport())

    def call(self, event: str, payload: Any = None) -> State:
        """Send an event and return its ack."""
        ack = self._client.call(event, payload, namespace=self._namespace, timeout=int(WAIT_S))
        assert isinstance(ack, dict), ack
        return ack

    def ok(self, event: str, payload: Any = None) -> State:
        """Send an event that has to work and return its ack."""
        ack = self.call(event, payload)
        assert ack["ok"] is True, ack
        return ack

    def refused(self, event: str, payload: Any = None) -> State:
        """Send an event that has to be refused and return the error."""
        ack = self.call(event, payload)
        assert ack["ok"] is False, ack
        assert isinstance(ack["error"]["message"], str)
        return dict(ack["error"])

    def emit(self, event: str, payload: Any = None) -> None:
        """Send an event without waiting for an ack."""
        self._client.emit(event, payload, namespace=self._namespace)

    def events(self, name: str, task_id: str | None = None) -> list[Any]:
        """Return the payloads of one kind of event so far."""
        with self._news:
            return [
                payload
                for event, payload in self.got
                if event == name and (task_id is None or payload["task_id"] == task_id)
            ]

    def wait(self, condition: Callable[[], Any], what: str = "the event") -> Any:
        """Wait until the condition is truthy and return what it says."""
        with self._news:
            found = self._news.wait_for(condition, timeout=WAIT_S)
        assert found, f"{what} did not come; got {self.got[-5:]}"
        return found

    def ended(self, task_id: str) -> State:
        """Wait for a watched task's terminal update and return it."""

        def last() -> State | None:
            updates = self.events("progress_update", task_id)
            return next((u for u in updates if u["status"] in TERMINAL), None)

        return dict(self.wait(last, f"the end of {task_id}"))

    def run(self, task: str, **args: Any) -> State:
        """Start a task, wait for its end and return its terminal update."""
        return self.ended(self.ok("start_task", {"task": task, "args": args})["task_id"])

    def wait_status(self, task_id: str, status: str) -> None:
        """Wait until a watched task has a status."""

        def reached() -> bool:
            return any(u["status"] == status for u in self.events("progress_update", task_id))

        self.wait(reached, f"{status} of {task_id}")

    def close(self) -> None:
        """Take leave, and wait until nothing of it is left."""
        if self.transport == "polling":
            # The library's own `disconnect` now and then ends before it has told the server, and
            # then waits for the end of a poll.
            self._client.eio._send_packet(packet.Packet(packet.CLOSE))
        elif self._client.connected:
            self._client.disconnect()
        self._client.eio.wait()
        websocket = getattr(self._client.eio, "ws", None)
        if websocket is not None:
            # The library leaves one open that the server has closed.
            websocket.shutdown()
        self._http.close()

    def _take(self, event: str, *args: Any) -> None:
        with self._news:
            self.got.append((event, args[0] if args else None))
            self._news.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._news:
            self.disconnected = True
            self._news.notify_all()

    def _on_refusal(self, *data: Any) -> None:
        self.refusal = data[0] if data else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class View:
    """One task as a client sees it that follows the rules of delivery, and that checks them.

    Args:
        name: what a failure is told with.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.state: State | None = None
        self.ends = 0

    @property
    def ended(self) -> bool:
        return self.state is not None and self.state["status"] in TERMINAL

    @property
    def position(self) -> State:
        """What a client sends when it watches again."""
        return {} if self.state is None else {k: self.state[k] for k in ("epoch", "seq")}

    def snapshot(self, task: State) -> None:
        """Take an ack's snapshot; an update may have overtaken it."""
        before = self.state
        if before is not None and before["epoch"] == task["epoch"]:
            if task["seq"] <= before["seq"]:
                return
            self._check_step(before, task)
        self._put(task)

    def update(self, update: State) -> bool:
        """Take an update; return whether it was news."""
        before = self.state
        if before is None:
            self._put(update)
            return True
        if update["epoch"] != before["epoch"] or update["seq"] <= before["seq"]:
            return False
        self._check_step(before, update)
        self._put({**before, **update})
        return True

    def _check_step(self, before: State, after: State) -> None:
        assert before["status"] not in TERMINAL, (self.name, "changed after its end", before, after)
        if before["progress"] is not None:
            assert after["progress"] is not None, (self.name, before, after)
            assert after["progress"] >= before["progress"], (self.name, before, after)

    def _put(self, state: State) -> None:
        assert (state["progress"] == 100) == (state["status"] == "completed"), (self.name, state)
        self.ends += state["status"] in TERMINAL and not self.ended
        self.state = state


class Poll:
    """One long-polling session by hand."""

    def __init__(self, url: str) -> None:
        self._url = url
        _, body = self.ask(url, "GET", "/socket.io/?EIO=4&transport=polling")
        self._path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(body[1:])['sid']}"

    @staticmethod
    def ask(url: str, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(url.partition("//")[2], timeout=WAIT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def post(self, body: str) -> int:
        return self.ask(self._url, "POST", self._path, body)[0]

    def get(self) -> tuple[int, str]:
        return self.ask(self._url, "GET", self._path)

    def is_over(self) -> bool:
        """Return whether the server knows this session no longer."""
        return self.post("3") == 400

    def close(self) -> None:
        self.post("1")


def get_json(url: str) -> Any:
    """Return what a GET says."""
    with urllib.request.urlopen(url, timeout=WAIT_S) as response:  # noqa: S310 - the test's own
        return json.load(response)


@contextmanager
def health_watched(url: str) -> Any:
    """Ask /healthz all the while; every answer has to be `ok`."""
    over, seen = threading.Event(), list[Any]()

    def ask() -> None:
        while not over.is_set():
            try:
                seen.append(get_json(f"{url}/healthz")["status"])
            except OSError as exc:
                seen.append(exc)
            over.wait(0.05)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    assert set(seen) == {"ok"}, seen
