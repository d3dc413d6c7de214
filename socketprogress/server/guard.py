"""Closes connections that send what is no Engine.IO or Socket.IO packet.

The libraries log a traceback for each such packet and keep the connection.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from engineio import exceptions, packet, payload

from socketprogress.server.flow import flow_of

__all__ = ["close_connection", "guard"]

log = logging.getLogger(__name__)

PACKETS_A_POST = 1_000
MESSAGE = str(packet.MESSAGE)
# A client's PING is a probe, and the upgrade answers that itself.
_FROM_CLIENTS = frozenset({packet.PONG, packet.MESSAGE, packet.UPGRADE, packet.CLOSE})


def guard(server: Any) -> None:
    """Watch over every connection of a python-socketio server from its first packet on."""
    payload.Payload.max_decode_packets = max(payload.Payload.max_decode_packets, PACKETS_A_POST)
    eio = server.eio
    connected, received = eio.handlers["connect"], eio.handlers["message"]
    disconnected = eio.handlers["disconnect"]

    def on_connect(eio_sid: str, environ: dict[str, Any]) -> Any:
        _Guard(eio.sockets[eio_sid], eio)
        return connected(eio_sid, environ)

    def on_message(eio_sid: str, data: Any) -> Any:
        try:
            return received(eio_sid, data)
        except Exception as exc:  # noqa: BLE001 - whatever a packet makes the library raise
            log.info("closing connection %s: %s: %s", eio_sid, type(exc).__name__, exc)
            close_connection(server, eio_sid)
            return None

    def on_disconnect(eio_sid: str, reason: Any) -> Any:
        # The library keeps a binary event whose parts never came for ever, and answers the next poll
        # of a session that it has closed by failing.
        server._binary_packet.pop(eio_sid, None)
        eio.sockets.pop(eio_sid, None)
        return disconnected(eio_sid, reason)

    eio.on("connect", on_connect)
    eio.on("message", on_message)
    eio.on("disconnect", on_disconnect)


def close_connection(server: Any, eio_sid: str) -> None:
    """End a connection with its transport, at once and without waiting for anybody."""
    connection = server.eio.sockets.get(eio_sid)
    if connection is not None:
        connection.close(wait=False, abort=True, reason=server.reason.SERVER_DISCONNECT)
        _cut(connection)


class _Guard:
    """Stands before one connection's own methods, in the names that the library calls."""

    def __init__(self, connection: Any, eio: Any) -> None:
        self._connection, self._reasons = connection, eio.reason
        self._receive, self._take_post = connection.receive, connection.handle_post_request
        self._serve, self._check_ping = connection._websocket_handler, connection.check_ping_timeout
        connection.receive, connection.handle_post_request = self.receive, self.take_post
        connection._websocket_handler, connection.check_ping_timeout = self.serve, self.check_ping
        self._flow = flow_of(connection)

    def receive(self, received: packet.Packet) -> None:
        if received.packet_type not in _FROM_CLIENTS:
            self._end(ValueError(f"packet type {received.packet_type}"))
            raise exceptions.SocketIsClosedError
        self._receive(received)
        if received.packet_type == packet.CLOSE:
            _cut(self._connection)

    def take_post(self, environ: dict[str, Any]) -> None:
        try:
            self._take_post(environ)
        except exceptions.EngineIOError:
            raise
        except Exception as exc:
            self._end(exc)
            raise exceptions.SocketIsClosedError from exc

    def check_ping(self) -> bool:
        if self._check_ping():
            return True
        _cut(self._connection)
        return False

    def serve(self, ws: Any) -> Any:
        self._flow.socket = _socket_of(ws)
        ws.close = _quiet(ws.close)
        ws.send = self._counted(ws.send)
        try:
            return self._serve(ws)
        except Exception as exc:  # noqa: BLE001 - a bad frame ends its connection, not more
            self._end(exc)
            return []

    def _counted(self, send: Callable[..., Any]) -> Callable[..., None]:
        """Return a send that notes the messages which the kernel has taken."""

        def counted(encoded: str | bytes, **options: Any) -> None:
            send(encoded, **options)
            if options:  # a control frame of the driver's own
                return
            if isinstance(encoded, bytes):
                self._flow.wrote(len(encoded))
            elif encoded.startswith(MESSAGE):
                self._flow.wrote(len(encoded) - len(MESSAGE))

        return counted

    def _end(self, exc: Exception) -> None:
        connection = self._connection
        log.info("closing connection %s: %s: %s", connection.sid, type(exc).__name__, exc)
        connection.close(wait=False, abort=True, reason=self._reasons.TRANSPORT_ERROR)


def _socket_of(ws: Any) -> Any:
    """Return the socket below a driver's WebSocket: eventlet's, simple-websocket's or gevent's."""
    inner = getattr(ws, "ws", None)
    sock = getattr(ws, "socket", None) or getattr(ws, "_sock", None) or getattr(inner, "sock", None)
    stream = getattr(sock, "stream", None)
    return sock if stream is None else stream.handler.socket


def _cut(connection: Any) -> None:
    """End what is blocked on a connection's socket: a peer that reads nothing would hold it."""
    sock = flow_of(connection).socket
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _quiet(close: Callable[[], Any]) -> Callable[[], None]:
    """Return a close that takes a connection which the peer has reset for what it is: closed."""

    def quietly() -> None:
        with contextlib.suppress(OSError):
            close()

    return quietly
