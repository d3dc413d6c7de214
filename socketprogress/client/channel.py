"""One Socket.IO connection, from its opening to its break, and what a server's refusals mean."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
import socketio
import websocket
from socketio.exceptions import SocketIOError

from socketprogress.client.origin import LOOPBACK
from socketprogress.client.runfile import ServerAddress
from socketprogress.client.whereabouts import Answer, Unreachable, whereabouts, whole
from socketprogress.core import errors

__all__ = ["Channel", "State", "Unreachable", "answer_of", "error_from"]

State = dict[str, Any]

FAREWELL_S = 0.2

# Its lines are for debugging the transport; what matters of them is raised.
transport_log = logging.getLogger("socketprogress.client.transport")
transport_log.setLevel(logging.CRITICAL)


class Channel:
    """A connection that is open when it is made, and is never opened again.

    Args:
        address: the server; with a path, it is the one inside of another application.
        timeout_s: seconds that connecting may take.
        on_update: called from the library's threads with every `progress_update`, which may come
            in the wrong order: the library hands each packet to a thread of its own.
        on_break: called once when the connection is lost.

    Raises:
        Unreachable: nobody answers, or what answers is no socketprogress.
        Unauthorized, Forbidden, RateLimited: the server refuses.
    """

    def __init__(
        self,
        address: ServerAddress,
        *,
        timeout_s: float,
        on_update: Callable[[State], None],
        on_break: Callable[[], None],
    ) -> None:
        self.url = address.url.rstrip("/")
        self.is_broken = False
        self._namespace = "/"
        self._timeout_s = timeout_s
        self._on_update, self._on_break = on_update, on_break
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._calls = 0
        self._refusal: Any = None
        self._session = requests.Session()
        self._sockets: list[websocket.WebSocket] = []
        self._client = self._connect(address)

    def send(self, event: str, data: Any = None) -> Future[Any]:
        """Send an event; the future has its ack, or an error.

        That is `Unreachable` once the connection is lost, `InvalidPayload` if `data` is no JSON.
        """
        ack: Future[Any] = Future()
        with self._lock:
            self._calls += 1
            number = self._calls
            self._waiting[number] = ack
        try:
            self._client.emit(
                event,
                data,
                namespace=self._namespace,
                callback=lambda *args: self._settle(number, args[0] if args else None),
            )
        except SocketIOError:
            self._break()
        except (TypeError, ValueError) as exc:
            self._fail(number, errors.InvalidPayload(f"what {event} is to send is no JSON: {exc}"))
        else:
            if self.is_broken:  # it may have broken before the future was there
                self._break()
        return ack

    def close(self, *, wait: bool = True) -> None:
        """Take leave of the server; `wait` a moment, so that it hears of it."""
        self._break()
        # The library may wait seconds for the other side's farewell, which nobody needs.
        farewell = threading.Thread(target=self._leave, daemon=True)
        farewell.start()
        if wait:
            farewell.join(FAREWELL_S)

    def _connect(self, address: ServerAddress) -> Any:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        # A proxy for the internet does not reach this host.
        self._session.trust_env = host not in LOOPBACK
        client = socketio.Client(
            reconnection=False,
            handle_sigint=False,
            logger=transport_log,
            engineio_logger=transport_log,
            http_session=self._session,
            request_timeout=self._timeout_s,
            websocket_extra_options={
                "class_": self._new_socket,
                **({"http_no_proxy": [host]} if host in LOOPBACK else {}),
            },
        )
        # Each event that asks for an acknowledgement gets one, by the library: so the server knows
        # what has arrived, and keeps no more on the way than the connection carries.
        auth: dict[str, Any] = {"confirms": True, "batches": True}
        if address.token:
            auth["token"] = address.token
        try:
            place = whereabouts(self.url, self._get)
            self._namespace = place.namespace
            client.on("progress_update", self._take, namespace=place.namespace)
            client.on("progress_updates", self._take_all, namespace=place.namespace)
            client.on("disconnect", self._on_disconnect, namespace=place.namespace)
            client.on("connect_error", self._on_refusal, namespace=place.namespace)
            client.connect(
                urlunsplit((parts.scheme, parts.netloc, "", "", "")),
                auth=auth,
                namespaces=[place.namespace],
                socketio_path=place.socket_path,
                wait_timeout=self._timeout_s,
            )
        except (SocketIOError, ValueError, requests.RequestException) as exc:
            self._let_go()
            raise self._why(exc) from None
        except Unreachable:
            self._let_go()
            raise
        if client.eio.state != "connected":
            # It broke before the library began to tell of that.
            self._let_go()
            raise Unreachable(f"the connection to {self.url} was lost at once")
        return client

    def _get(self, url: str) -> Answer:
        with self._session.get(
            url, timeout=self._timeout_s, allow_redirects=False, stream=True
        ) as answer:
            return answer.status_code, whole(answer.iter_content(4_096), timeout_s=self._timeout_s)

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

    def _take_all(self, states: list[dict[str, Any]]) -> None:
        for state in states:
            self._take(state)

    def _leave(self) -> None:
        self._client.disconnect()
        self._let_go()

    def _new_socket(self, **options: Any) -> websocket.WebSocket:
        made = websocket.WebSocket(**options)
        self._sockets.append(made)
        return made

    def _let_go(self) -> None:
        """Close what is open: the library leaves its socket open when it is reset or not upgraded."""
        for made in self._sockets:
            made.shutdown()  # type: ignore[no-untyped-call]
        self._session.close()

    def _settle(self, number: int, ack: Any) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.set_result(ack)

    def _fail(self, number: int, error: Exception) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.set_exception(error)

    def _break(self) -> None:
        with self._lock:
            was_broken, self.is_broken = self.is_broken, True
            waiting, self._waiting = self._waiting, {}
        for ack in waiting.values():
            ack.set_exception(Unreachable(f"the connection to {self.url} is lost"))
        if not was_broken:
            self._on_break()

    def _take(self, update: Any = None, *_more: Any) -> None:
        if isinstance(update, dict) and isinstance(update.get("task_id"), str):
            self._on_update(update)

    def _on_disconnect(self, reason: str = "") -> None:
        self._break()
        if reason == socketio.Client.reason.TRANSPORT_ERROR:  # nobody reads or takes leave any more
            self._let_go()

    def _on_refusal(self, *data: Any) -> None:
        self._refusal = data[0] if data else None


def answer_of(ack: Future[Any], channel: Channel, *, timeout_s: float) -> State:
    """Wait for an ack that `Channel.send` has promised, and return its fields.

    Raises:
        WireError: the ack says so; the class is the code's own.
        Unreachable: it did not come, or not in time.
    """
    try:
        answer = ack.result(timeout_s)
    except TimeoutError:
        raise Unreachable(f"{channel.url} gave no answer within {timeout_s:g} s") from None
    if not isinstance(answer, dict) or not answer.get("ok"):
        raise error_from(answer if isinstance(answer, dict) else {})
    return answer


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
    kind.code: kind
    for kind in errors.WireError.__subclasses__()
    if kind.__module__ == errors.__name__  # a server in this process has finer ones of its own
}
