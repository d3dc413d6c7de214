"""Bounds on what a WebSocket may send before a message is whole, for each mode's driver.

The drivers bound a single frame, if anything: a message of fragments that never ends would fill the
memory. eventlet and gevent-websocket unmask byte by byte, more than a second a megabyte, and go on
reading as long as there is something to read: who sends without a pause would have the loop alone.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["bound_eventlet", "bound_gevent", "bound_simple_websocket", "unmasked"]

MOST_BYTES = 1 << 20
FRAGMENT_BYTES = 16
"""What an empty fragment counts for: it takes memory too."""


def unmasked(data: bytes | bytearray, mask: Any, offset: int = 0) -> bytes:
    """Return a frame's payload without its mask, by one big XOR instead of byte by byte.

    Args:
        data: the payload, or a part of it.
        mask: the four bytes.
        offset: where in the payload the part begins.
    """
    size = len(data)
    if not size:
        return b""
    key = bytes(mask)
    key = key[offset % 4 :] + key[: offset % 4]
    pad = (key * (size // 4 + 1))[:size]
    number = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(pad, sys.byteorder)
    return number.to_bytes(size, sys.byteorder)


def bound_eventlet() -> None:
    """Bound the messages of eventlet's WebSocket, and let others have their turn between frames."""
    import eventlet  # noqa: PLC0415
    from eventlet.websocket import FailedConnectionError, RFC6455WebSocket  # noqa: PLC0415

    class Message(RFC6455WebSocket.Message):  # type: ignore[misc]
        size_bytes = 0

        def push(self, data: bytes, final: bool = False) -> None:
            self.size_bytes += len(data) + FRAGMENT_BYTES
            if self.size_bytes > max(self.max_frame_length, MOST_BYTES):
                raise FailedConnectionError(1009, "the message is too large")
            super().push(data, final)

    def apply_mask(data: bytes, mask: Any, length: int | None = None, offset: int = 0) -> bytes:
        return unmasked(data if length is None else data[:length], mask, offset)

    receive = RFC6455WebSocket._recv_frame  # noqa: SLF001 - there is no other place

    def receive_in_turn(self: Any, message: Any = None) -> Any:
        eventlet.sleep(0)
        return receive(self, message=message)

    if not hasattr(RFC6455WebSocket.Message, "size_bytes"):
        RFC6455WebSocket.Message = Message
        RFC6455WebSocket._recv_frame = receive_in_turn  # noqa: SLF001
    RFC6455WebSocket._apply_mask = staticmethod(apply_mask)  # noqa: SLF001 - there is no other place


def bound_gevent() -> None:
    """Bound the frames and messages of gevent-websocket, and let others have their turn."""
    import gevent  # noqa: PLC0415
    from geventwebsocket import handler, websocket  # noqa: PLC0415
    from geventwebsocket.exceptions import ProtocolError  # noqa: PLC0415

    class Header(websocket.Header):  # type: ignore[misc]
        @classmethod
        def decode_header(cls, stream: Any) -> Any:
            header = super().decode_header(stream)
            if header.length > MOST_BYTES:
                raise ProtocolError(f"a frame of {header.length} bytes is too large")
            return header

        def unmask_payload(self, payload: bytes) -> bytearray:
            return bytearray(unmasked(payload, self.mask))

    class WebSocket(websocket.WebSocket):  # type: ignore[misc]
        size_bytes = 0

        def read_message(self) -> Any:
            self.size_bytes = 0
            return super().read_message()

        def read_frame(self) -> Any:
            gevent.sleep(0)
            header, payload = super().read_frame()
            if header.opcode in {self.OPCODE_TEXT, self.OPCODE_BINARY, self.OPCODE_CONTINUATION}:
                self.size_bytes += len(payload) + FRAGMENT_BYTES
                if self.size_bytes > MOST_BYTES:
                    raise ProtocolError("the message is too large")
            return header, payload

    if not hasattr(handler.WebSocket, "size_bytes"):
        websocket.Header, handler.WebSocket = Header, WebSocket


def bound_simple_websocket() -> None:
    """Bound the messages of simple-websocket, wherever they have no bound of their own."""
    server: Any = importlib.import_module("simple_websocket").Server

    if server.__init__.__name__ != "bounded":
        original = server.__init__

        def bounded(self: Any, environ: Any, **options: Any) -> None:
            options["max_message_size"] = options.get("max_message_size") or MOST_BYTES
            original(self, environ, **options)

        server.__init__ = bounded
