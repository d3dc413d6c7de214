"""A connection to a server: calls whose errors are exceptions, and watching that does not end early.

Each socket is used once. When it breaks, `watch` opens another, asks again with the epoch and the
sequence number that it has, and goes on from the snapshot.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import socketio
from socketio.exceptions import SocketIOError

from socketprogress.client.runfile import ServerAddress
from socketprogress.core import errors
from socketprogress.core.steps import TERMINAL

__all__ = ["Connection", "State", "Unreachable", "error_from"]

State = dict[str, Any]

CALL_TIMEOUT_S = 10.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
OUTAGE_S = 300.0
FAREWELL_S = 0.2
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# Its lines are for debugging the transport; what matters of them is raised.
transport_log = logging.getLogger("socketprogress.client.transport")
transport_log.setLevel(logging.CRITICAL)


class Unreachable(errors.Unavailable):
    """Nobody answers at the server's address."""


class Connection:
    """A client's connection, opened by the first call.

    Args:
        server: the address, or a function that finds it anew whenever a socket is opened.
        timeout_s: seconds that connecting and each call may take.
        sleep: waits between attempts, seconds.
    """

    def __init__(
        self,
        server: ServerAddress | Callable[[], ServerAddress],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._socket: _Socket | None = None

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return self._socket.url if self._socket else self._address().url

    def open(self) -> None:
        """Connect, unless there is a connection.

        Raises:
            Unreachable: nobody answers.
            Unauthorized, Forbidden, RateLimited: the server refuses.
        """
        if self._socket is None or self._socket.is_broken:
            self._socket = _Socket(self._address(), timeout_s=self._timeout_s)

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, event: str, data: Any = None) -> State:
        """Send an event and return its ack.

        Args:
            event: the event's name.
            data: its payload, JSON values; None for nothing.

        Returns:
            The ack's fields, `ok` among them.

        Raises:
            WireError: the ack says so; the class is the code's own.
            Unreachable: nobody answers, or not in time.
        """
        self.open()
        if self._socket is None:
            raise Unreachable("the connection was closed")
        ack = self._socket.call(event, data)
        if not ack.get("ok"):
            raise error_from(ack)
        return ack

    def watch(
        self,
        task_id: str,
        *,
        patience_s: float = OUTAGE_S,
        timeout_s: float = math.inf,
        on_outage: Callable[[errors.WireError | None], None] = lambda _error: None,
    ) -> Iterator[State]:
        """Yield the task's states, the newest first known one first and its end last.

        States between two looks are left out, the last never is. A lost connection and a restarted
        server are waited for.

        Args:
            task_id: the task.
            patience_s: seconds without a server after which it gives up.
            timeout_s: seconds after which it ends, the task's end seen or not.
            on_outage: called with the reason when the server is gone, and with None when it is
                back.

        Raises:
            UnknownTask: there is no such task, or no longer.
            Unreachable: the server did not come back.
        """
        deadline = time.monotonic() + timeout_s
        state: State | None = None
        while state is None or (state["status"] not in TERMINAL and time.monotonic() < deadline):
            snapshot = self._rewatch(task_id, state, patience_s, on_outage)
            if state is None or _is_news(snapshot, state):
                state = snapshot
                yield state
            while state["status"] not in TERMINAL:
                update = self._next_update(task_id, deadline)
                if update is None or update.get("epoch") != state["epoch"]:
                    break  # a broken connection or a new count: only a snapshot says what is true
                if update["seq"] > state["seq"]:
                    state = {**state, **update}
                    yield state

    def _address(self) -> ServerAddress:
        return self._server if isinstance(self._server, ServerAddress) else self._server()

    def _next_update(self, task_id: str, deadline: float) -> State | None:
        if self._socket is None:
            return None
        left_s = deadline - time.monotonic()
        return self._socket.next_update(task_id, None if left_s == math.inf else max(0.0, left_s))

    def _rewatch(
        self,
        task_id: str,
        state: State | None,
        patience_s: float,
        on_outage: Callable[[errors.WireError | None], None],
    ) -> State:
        request = {"task_id": task_id}
        if state is not None:
            request.update(epoch=state["epoch"], seq=state["seq"])
        gone_at: float | None = None
        delay_s = FIRST_DELAY_S
        while True:
            try:
                snapshot: State = self.call("watch_task", request)["task"]
            except (errors.Unavailable, errors.RateLimited) as exc:
                now = time.monotonic()
                if gone_at is None:
                    gone_at = now
                    if state is not None:
                        on_outage(exc)
                if state is None or now - gone_at > patience_s:
                    raise
                self._sleep(max(delay_s, getattr(exc, "retry_after_s", 0.0)))
                delay_s = min(2 * delay_s, LONGEST_DELAY_S)
            else:
                if gone_at is not None:
                    on_outage(None)
                return snapshot

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def error_from(ack: Mapping[str, Any]) -> errors.WireError:
    """Return the exception for a refusing ack (or a refused connection's data)."""
    error = ack.get("error")
    told: Mapping[str, Any] = error if isinstance(error, Mapping) else {}
    code = told.get("code")
    message = str(told.get("message") or "the server gave no reason")
    field = told.get("field")
    if code == errors.AlreadyRunning.code:
        return errors.AlreadyRunning(message, running=ack.get("running") or (), field=field)
    if code == errors.RateLimited.code:
        retry_after_s = float(told.get("retry_after_s") or 1.0)
        return errors.RateLimited(message, retry_after_s=retry_after_s, field=field)
    kind = _BY_CODE.get(str(code), errors.Unavailable)
    return kind(message, field=field)


_BY_CODE: dict[str, type[errors.WireError]] = {
    kind.code: kind for kind in errors.WireError.__subclasses__()
}


def _is_news(snapshot: State, state: State) -> bool:
    return bool(snapshot["epoch"] != state["epoch"] or snapshot["seq"] > state["seq"])


class _Socket:
    """One Socket.IO connection, from its opening to its break.

    Updates are kept in one slot per task, the newest in it: the library hands each packet to a
    thread of its own, so that two of them may come in the wrong order.
    """

    def __init__(self, address: ServerAddress, *, timeout_s: float) -> None:
        self.url = address.url.rstrip("/")
        self.is_broken = False
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._slots: dict[str, State] = {}
        self._acks: dict[int, Any] = {}
        self._calls = 0
        self._refusal: Any = None
        self._client = self._connect(address)

    def call(self, event: str, data: Any) -> State:
        with self._changed:
            self._calls += 1
            number = self._calls

        def on_ack(*args: Any) -> None:
            with self._changed:
                self._acks[number] = args[0] if args else None
                self._changed.notify_all()

        try:
            self._client.emit(event, data, callback=on_ack)
        except SocketIOError as exc:
            self.is_broken = True
            raise Unreachable(f"the connection to {self.url} is lost") from exc
        with self._changed:
            self._changed.wait_for(
                lambda: number in self._acks or self.is_broken, timeout=self._timeout_s
            )
            if number in self._acks:
                ack = self._acks.pop(number)
                return ack if isinstance(ack, dict) else {"ok": False}
            if self.is_broken:
                raise Unreachable(f"the connection to {self.url} was lost")
        raise Unreachable(f"{self.url} gave no answer to {event} within {self._timeout_s:g} s")

    def next_update(self, task_id: str, timeout_s: float | None) -> State | None:
        """Wait for a newer state of the task; None in time, or once the connection is broken."""
        with self._changed:
            self._changed.wait_for(
                lambda: task_id in self._slots or self.is_broken, timeout=timeout_s
            )
            return self._slots.pop(task_id, None)

    def close(self) -> None:
        self.is_broken = True
        # The library may wait seconds for the other side's farewell, which nobody needs.
        farewell = threading.Thread(target=self._client.disconnect, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_S)

    def _connect(self, address: ServerAddress) -> Any:
        session = requests.Session()
        host = urlsplit(self.url).hostname or ""
        # A proxy for the internet does not reach this host.
        session.trust_env = host not in LOOPBACK
        client = socketio.Client(
            reconnection=False,
            handle_sigint=False,
            logger=transport_log,
            engineio_logger=transport_log,
            http_session=session,
            request_timeout=self._timeout_s,
            websocket_extra_options={"http_no_proxy": [host]} if host in LOOPBACK else {},
        )
        client.on("progress_update", self._on_update)
        client.on("disconnect", self._on_disconnect)
        client.on("connect_error", self._on_refusal)
        auth = {"token": address.token} if address.token else None
        try:
            client.connect(self.url, auth=auth, wait_timeout=self._timeout_s)
        except (SocketIOError, ValueError, requests.RequestException) as exc:
            raise self._why(exc) from None
        if client.eio.state != "connected":
            # It broke before the library began to tell of that.
            raise Unreachable(f"the connection to {self.url} was lost at once")
        return client

    def _why(self, exc: Exception) -> errors.WireError:
        told = self._refusal
        if isinstance(told, Mapping):
            inner = told.get("data")
            error = inner if isinstance(inner, Mapping) else told.get("error", told)
            if isinstance(error, Mapping) and error.get("code"):
                return error_from({"error": error})
            return Unreachable(f"{self.url} refuses the connection: {told.get('message') or told}")
        if "refused" in str(exc).lower() or not str(exc):
            return Unreachable(f"no server answers at {self.url}")
        return Unreachable(f"no server answers at {self.url}: {exc}")

    def _on_update(self, update: Any) -> None:
        if not isinstance(update, dict) or not isinstance(update.get("task_id"), str):
            return
        with self._changed:
            before = self._slots.get(update["task_id"])
            if before is None or _is_news(update, before):
                self._slots[update["task_id"]] = update
                self._changed.notify_all()

    def _on_disconnect(self, *_reason: Any) -> None:
        with self._changed:
            self.is_broken = True
            self._changed.notify_all()

    def _on_refusal(self, *data: Any) -> None:
        self._refusal = data[0] if data else None
