"""A stricter Socket.IO packet: what is not well-formed is an error, what is too much is marked.

python-socketio takes any JSON as an event, hands reserved names to the connection's own handlers
and does not tell a handler whether its caller waits for an ack.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, ClassVar, Final

from socketio import packet

__all__ = ["NO_ACK", "RESERVED", "TOO_DEEP", "TOO_LARGE", "Mark", "packet_class"]

_EVENT_NAME = re.compile(r'\s*\[\s*"((?:[^"\\]|\\.){1,200})"')
_BINARY = frozenset({packet.BINARY_EVENT, packet.BINARY_ACK})
_OWN_NAMES = frozenset({"connect", "connect_error", "disconnect", "*"})

MOST_ATTACHMENTS = 16
LONGEST_INTEGER = 400
RESERVED: Final = "reserved:"
"""Stands before a name that clients sent and that is the connection's own."""


class Mark:
    """Stands in an event's arguments for something that JSON cannot say."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


NO_ACK: Final = Mark("no ack is expected")
TOO_LARGE: Final = Mark("a payload over the limit")
TOO_DEEP: Final = Mark("a payload nested too deeply to be read")


class _Json:
    """Reads events within a limit; what is over keeps its event's name, so that it is acked."""

    def __init__(self, max_payload_bytes: int) -> None:
        self._most = max_payload_bytes

    dumps = staticmethod(json.dumps)

    def loads(self, text: str) -> Any:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if size > self._most and size - _around(text) > self._most:
            return self._marked(text, TOO_LARGE)
        try:
            return json.loads(text)
        except RecursionError:
            return self._marked(text, TOO_DEEP)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer longer than Python reads: valid JSON, but beyond all bounds
            return json.loads(text, parse_int=_bounded)

    @staticmethod
    def _marked(text: str, mark: Mark) -> list[Any]:
        found = _EVENT_NAME.match(text)
        if found is None:
            raise ValueError(f"{mark!r} that is no event")
        return [json.loads(f'"{found.group(1)}"'), mark]


def _around(text: str) -> int:
    """Return how many characters of an event are not its payload: the name and the brackets."""
    found = _EVENT_NAME.match(text)
    return 0 if found is None else len(f"{found[0]},]")


def _bounded(digits: str) -> float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


class StrictPacket(packet.Packet):  # type: ignore[misc]
    """Raises ValueError for anything that the Socket.IO protocol does not know."""

    json: ClassVar[Any] = json

    def decode(self, encoded_packet: Any) -> int:
        """Decode a packet; an event without an ack id gets `NO_ACK` as its last argument."""
        attachments: int = super().decode(encoded_packet)
        kind, data = self.packet_type, self.data
        if attachments not in (range(1, MOST_ATTACHMENTS + 1) if kind in _BINARY else (0,)):
            raise ValueError(f"{attachments} attachments do not go with such a packet")
        if kind in {packet.EVENT, packet.BINARY_EVENT}:
            if not isinstance(data, list) or not data or not isinstance(data[0], str):
                raise ValueError("an event is a list that begins with its name")
            if data[0] in _OWN_NAMES:
                data[0] = RESERVED + data[0]
            if self.id is None:
                data.append(NO_ACK)
        elif kind == packet.CONNECT and not (data is None or isinstance(data, dict)):
            raise ValueError("a connection's payload is an object")
        elif kind in {packet.ACK, packet.BINARY_ACK} and not isinstance(data, list):
            raise ValueError("an ack's payload is a list")
        elif kind == packet.DISCONNECT and data is not None:
            raise ValueError("a disconnect has no payload")
        return attachments

    def add_attachment(self, attachment: Any) -> bool:
        """Add a binary part; return whether it was the last one."""
        if not isinstance(attachment, bytes | bytearray):
            raise ValueError(f"a {type(attachment).__name__} is no attachment")
        return bool(super().add_attachment(attachment))


def packet_class(max_payload_bytes: int) -> type[StrictPacket]:
    """Return the packet class of a server with this limit, for Flask-SocketIO's `serializer`."""
    reader = _Json(max_payload_bytes)
    return type("LimitedPacket", (StrictPacket,), {"json": reader})
