"""One Socket.IO connection, hand-framed over a blocking WebSocket, for a thread of its own.

Only what a reporter needs of the protocol: events with an acknowledgement, the server's own events,
and the heartbeat.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from socketprogress.client.forks import import_whole
from socketprogress.client.origin import LOOPBACK
from socketprogress.client.whereabouts import (
    Answer,
    Unreachable,
    Whereabouts,
    usual,
    whereabouts,
    whole,
)

__all__ = ["Broken", "Line", "Link", "Refused", "whereabouts_of"]

HANDSHAKE_S = 5.0
STALL_S = 5.0
NO_DELAY = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


class Broken(ConnectionError):
    """The connection cannot be made, or is lost.

    Attributes:
        doubtful: who answers there may be somebody else.
    """

    def __init__(self, message: str, *, doubtful: bool = False) -> None:
        super().__init__(message)
        self.doubtful = doubtful


class Refused(Broken):
    """The server answers, but not to this client; `code` is its word for why."""

    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message, doubtful=code is None)
        self.code = code


class Line(Protocol):
    """What a reporter speaks over: `Link` to a server, or `Direct` into a store."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""

    @property
    def pending(self) -> bool:
        """Whether something was read already that the descriptor does not tell of."""

    def call(self, event: str, payload: Any) -> int:
        """Send an event and return the number of its acknowledgement. Raises `Broken`."""

    def read(self) -> Iterator[tuple[int | None, Any]]:
        """Yield what has come. Raises `Broken`."""

    def is_silent(self) -> bool:
        """Return whether the other side has been silent for too long."""

    def close(self) -> None:
        """Take leave of the other side."""

    def abandon(self) -> None:
        """Let go without a word."""


class Link:
    """A connection that is open when it is made.

    Args:
        url: the server's base URL; with a path, it is the server inside of another application.
        token: what the server asks for, or None.
        place: where its events are.
        timeout_s: seconds that connecting may take.

    Raises:
        Refused: the server does not let this client in.
        Broken: nobody answers, or not what a server would answer.
    """

    def __init__(
        self, url: str, token: str | None, place: Whereabouts, *, timeout_s: float = HANDSHAKE_S
    ) -> None:
        import_whole("encodings.idna")  # what looking up a host name imports
        websocket = import_whole("websocket")  # takes longer than all of this package
        self._errors = (websocket.WebSocketException, OSError, ValueError)
        self._late = websocket.WebSocketTimeoutException
        parts = urlsplit(url)
        self._prefix = "" if place.namespace == "/" else f"{place.namespace},"
        path = "/" + place.socket_path.strip("/")
        scheme = "wss" if parts.scheme == "https" else "ws"
        self._calls = 0
        self._deadline = time.monotonic() + timeout_s
        try:
            self._socket = websocket.create_connection(
                f"{scheme}://{parts.netloc}{path}/?EIO=4&transport=websocket",
                timeout=timeout_s,
                sockopt=NO_DELAY,
                suppress_origin=True,
                redirect_limit=0,
                http_no_proxy=[parts.hostname] if parts.hostname in LOOPBACK else None,
            )
        except websocket.WebSocketBadStatusException as exc:
            status = exc.status_code
            raise Broken(
                f"no server answers at {url}: {_short(exc)}", doubtful=status < 400 or status == 404
            ) from exc
        except self._errors as exc:
            raise Broken(f"no server answers at {url}: {_short(exc)}") from exc
        try:
            self._greet(token)
        except BaseException:
            self.abandon()
            raise

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return int(self._socket.sock.fileno())

    @property
    def pending(self) -> bool:
        """Whether something was read already that the descriptor does not tell of."""
        ask = getattr(self._socket.sock, "pending", None)
        return bool(ask is not None and ask())

    def call(self, event: str, payload: Any) -> int:
        """Send an event and return the number of its acknowledgement.

        Raises:
            Broken: it cannot be sent.
        """
        self._calls += 1
        text = json.dumps([event, payload], separators=(",", ":"))
        self._send(f"42{self._prefix}{self._calls}{text}")
        return self._calls

    def read(self) -> Iterator[tuple[int | None, Any]]:
        """Yield what has come: ``(number, payload)`` of an ack, ``(None, [event, payload])``.

        Raises:
            Broken: the connection is lost, or the server has closed it.
        """
        while True:
            packet = self._receive()
            message = self._understood(packet)
            if message is not None:
                yield message
            if not (self.pending or self._readable()):
                return

    def is_silent(self) -> bool:
        """Return whether the server's heartbeat is overdue."""
        return time.monotonic() > self._deadline

    def close(self) -> None:
        """Take leave of the server without waiting for its answer."""
        with contextlib.suppress(Broken):
            self._socket.settimeout(0.2)
            self._send("1")
        self.abandon()

    def abandon(self) -> None:
        """Let go of the descriptor without a word, as a forked child has to."""
        sock, self._socket.sock = self._socket.sock, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    # -- inside ----------------------------------------------------------------------------------

    def _greet(self, token: str | None) -> None:
        kind, opening = _split(self._receive())
        if kind != "0":
            raise Broken("the other side speaks no Engine.IO")
        try:
            told = json.loads(opening)
            self._silence_s = (float(told["pingInterval"]) + float(told["pingTimeout"])) / 1000
        except (ValueError, TypeError, LookupError) as exc:
            raise Broken("the other side's Engine.IO cannot be understood") from exc
        auth = json.dumps({"token": token}) if token else ""
        self._send(f"40{self._prefix}{auth}")
        while True:
            packet = self._receive()
            if packet.startswith("40"):
                break
            if packet.startswith("44"):
                raise _refusal(packet[2 + len(self._prefix) :])
            self._understood(packet)
            if self.is_silent():
                raise Broken("the server does not greet in time")
        self._deadline = time.monotonic() + self._silence_s
        self._socket.settimeout(STALL_S)

    def _send(self, text: str) -> None:
        try:
            self._socket.send(text)
        except self._errors as exc:
            raise Broken(f"the connection is lost: {_short(exc)}") from exc

    def _receive(self) -> str:
        try:
            packet = self._socket.recv()
        except self._late:
            raise Broken("the server stalls in the middle of a message") from None
        except self._errors as exc:
            raise Broken(f"the connection is lost: {_short(exc)}") from exc
        if not packet:
            raise Broken("the server has closed the connection")
        return packet if isinstance(packet, str) else ""

    def _readable(self) -> bool:
        ready: Sequence[Any]
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            ready = poll.poll(0)
        else:
            ready = select.select([self.fileno()], [], [], 0)[0]
        return bool(ready)

    def _understood(self, packet: str) -> tuple[int | None, Any] | None:
        kind, rest = _split(packet)
        if kind == "2":
            self._deadline = time.monotonic() + getattr(self, "_silence_s", HANDSHAKE_S)
            self._send(f"3{rest}")
        elif kind == "1" or packet.startswith("41"):
            raise Broken("the server has closed the connection")
        elif packet[:2] in {"42", "43"}:
            body = packet[2:].removeprefix(self._prefix)
            start = body.find("[")
            number = body[: max(start, 0)]
            try:
                values = json.loads(body[start:])
            except ValueError as exc:
                raise Broken("the server's message is no JSON") from exc
            if packet[1] == "3" and number.isdecimal():
                return int(number), values[0] if values else None
            return None, values
        return None


def whereabouts_of(url: str, *, timeout_s: float = HANDSHAKE_S) -> Whereabouts:
    """Ask a server where its events are; what cannot be asked has them where they usually are.

    Raises:
        Broken: nobody answers, or what answers is no socketprogress.
    """
    import_whole("encodings.idna")  # what looking up a host name imports
    client = import_whole("http.client")
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK and _has_proxy(parts.scheme):
        return usual(url)
    kind = client.HTTPSConnection if parts.scheme == "https" else client.HTTPConnection

    def get(question: str) -> Answer:
        connection = kind(parts.netloc, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request("GET", urlsplit(question).path)
            answer = connection.getresponse()
            chunks = iter(lambda: answer.read1(4_096), b"")
            return answer.status, whole(chunks, timeout_s=timeout_s)

    try:
        return whereabouts(url, get)
    except Unreachable as exc:
        raise Broken(str(exc), doubtful=True) from exc
    except (ConnectionError, TimeoutError) as exc:
        raise Broken(f"no server answers at {url}: {_short(exc)}") from exc
    except (OSError, ValueError, client.HTTPException):
        return usual(url)  # what else is the matter is told by who connects


def _has_proxy(scheme: str) -> bool:
    names = (f"{scheme}_proxy", "all_proxy")
    return any(os.environ.get(name) or os.environ.get(name.upper()) for name in names)


def _split(packet: str) -> tuple[str, str]:
    return packet[:1], packet[1:]


def _refusal(text: str) -> Refused:
    try:
        told = json.loads(text)
        inner = told.get("data") or {}
        return Refused(str(told.get("message") or inner.get("message")), inner.get("code"))
    except (ValueError, AttributeError):
        return Refused("the server refuses the connection", None)


def _short(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200].rstrip(".") or type(exc).__name__
