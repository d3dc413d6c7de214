"""Closes connections that send what is no Engine.IO or Socket.IO packet.

The libraries log a traceback for each such packet and keep the connection.
"""

from __future__ import annotations

import logging
from typing import Any

from engineio import exceptions, packet, payload

__all__ = ["close_connection", "guard"]

log = logging.getLogger(__name__)

PACKETS_A_POST = 1_000
# A client's PING is a probe, and the upgrade answers that itself.
_FROM_CLIENTS = frozenset({packet.PONG, packet.MESSAGE, packet.UPGRADE, packet.CLOSE})


def guard(server: Any) -> None:
    """Watch over every connection of a python-socketio server from its first packet on."""
    payload.Payload.max_decode_packets = max(payload.Payload.max_decode_packets, PACKETS_A_POST)
    eio = server.eio
    connected, received = eio.handlers["connect"], eio.handlers["message"]

    def on_connect(eio_sid: str, environ: dict[str, Any]) -> Any:
        _guard_socket(eio, eio_sid)
        return connected(eio_sid, environ)

    def on_message(eio_sid: str, data: Any) -> Any:
        try:
            return received(eio_sid, data)
        except Exception as exc:  # noqa: BLE001 - whatever a packet makes the library raise
            log.info("closing connection %s: %s: %s", eio_sid, type(exc).__name__, exc)
            close_connection(server, eio_sid)
            return None

    eio.on("connect", on_connect)
    eio.on("message", on_message)


def close_connection(server: Any, eio_sid: str) -> None:
    """End a connection with its transport, at once and without waiting for anybody."""
    connection = server.eio.sockets.get(eio_sid)
    if connection is not None:
        connection.close(wait=False, abort=True, reason=server.reason.SERVER_DISCONNECT)


def _guard_socket(eio: Any, eio_sid: str) -> None:
    connection = eio.sockets[eio_sid]
    receive, serve = connection.receive, connection._websocket_handler

    def guarded_receive(received: packet.Packet) -> None:
        if received.packet_type not in _FROM_CLIENTS:
            connection.close(wait=False, abort=True, reason=eio.reason.TRANSPORT_ERROR)
            raise exceptions.SocketIsClosedError
        receive(received)

    def guarded_handler(ws: Any) -> Any:
        try:
            return serve(ws)
        except Exception as exc:  # noqa: BLE001 - a bad frame ends its connection, not more
            log.info("closing connection %s: %s: %s", eio_sid, type(exc).__name__, exc)
            connection.close(wait=False, abort=True, reason=eio.reason.TRANSPORT_ERROR)
            return []

    connection.receive = guarded_receive
    connection._websocket_handler = guarded_handler
