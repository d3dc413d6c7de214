"""Many watchers in one thread: hand-framed WebSockets on one selector, light enough to measure with."""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Watcher:
    """One connection: what it has received, by event, with arrival times (monotonic seconds).

    `acked_at` says of each ack how many events had come before it, `asked` how often the server has
    asked for an ack.
    """

    sock: socket.socket
    buffer: bytes = b""
    opened: bool = False
    connected: bool = False
    refused: Any = None
    closed: bool = False
    paused: bool = False
    events: list[tuple[float, str, Any]] = field(default_factory=list)
    acks: dict[int, Any] = field(default_factory=dict)
    acked_at: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    asked: int = 0

    def send(self, text: str) -> None:
        """Send one masked text frame."""
        payload = text.encode()
        head = b"\x81"
        if len(payload) < 126:
            head += bytes((0x80 | len(payload),))
        elif len(payload) < 1 << 16:
            head += struct.pack("!BH", 0x80 | 126, len(payload))
        else:
            head += struct.pack("!BQ", 0x80 | 127, len(payload))
        self.sock.setblocking(True)
        self.sock.sendall(head + b"\0\0\0\0" + payload)
        self.sock.setblocking(False)

    def emit(self, event: str, payload: Any = None, *, ack: int | None = None) -> None:
        """Send one event."""
        self.send(f"42{'' if ack is None else ack}" + json.dumps([event, payload]))


class Swarm:
    """A number of watchers of one server.

    Args:
        url: the server's base URL.
        count: how many connect.
        keep: called with each event's name; only what it accepts is kept.
        confirms: whether they say what has arrived when the server asks, as the page does.
        batches: whether they take the states of several tasks in one event, as the page does.
    """

    def __init__(
        self,
        url: str,
        count: int,
        *,
        keep: Callable[[str], bool] = lambda _: True,
        confirms: bool = False,
        batches: bool = False,
    ) -> None:
        self._greeting = "40" + json.dumps({"confirms": confirms, "batches": batches})
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        self.watchers: list[Watcher] = []
        for _ in range(count):
            self.connect()
        self.run(lambda: all(w.connected or w.refused or w.closed for w in self.watchers), 30)

    def connect(self) -> Watcher:
        """Open one more connection; `run` brings it to its CONNECT."""
        self.watchers.append(self._connect())
        return self.watchers[-1]

    def drop(self, watcher: Watcher) -> None:
        """Break a connection without a word, as a lost network does."""
        if not watcher.closed and not watcher.paused:
            self._selector.unregister(watcher.sock)
        watcher.closed = True
        watcher.sock.close()
        self.watchers.remove(watcher)

    def run(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Receive until the condition holds; return whether it did in time."""
        deadline = time.monotonic() + timeout_s
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._selector.select(min(left, 0.2)):
                self._read(key.data)
        return True

    def call(self, watcher: Watcher, event: str, payload: Any = None, timeout_s: float = 30) -> Any:
        """Send an event and return its ack."""
        number = self.ask(watcher, event, payload)
        if not self.run(lambda: number in watcher.acks, timeout_s):
            raise TimeoutError(f"no ack of {event}")
        return watcher.acks[number]

    def ask(self, watcher: Watcher, event: str, payload: Any = None) -> int:
        """Send an event and return the number that its ack will have."""
        watcher.calls += 1
        watcher.emit(event, payload, ack=watcher.calls)
        return watcher.calls

    def pause(self, watcher: Watcher) -> None:
        """Stop reading a connection: a frozen client."""
        self._selector.unregister(watcher.sock)
        watcher.paused = True

    def resume(self, watcher: Watcher) -> None:
        """Read a frozen connection again."""
        self._selector.register(watcher.sock, selectors.EVENT_READ, watcher)
        watcher.paused = False

    def close(self) -> None:
        """Close all connections."""
        for watcher in self.watchers:
            watcher.sock.close()
        self._selector.close()

    def _connect(self) -> Watcher:
        sock = socket.create_connection(self._address, timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._address[0]}:"
            f"{self._address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        sock.setblocking(False)
        watcher = Watcher(sock)
        self._selector.register(sock, selectors.EVENT_READ, watcher)
        return watcher

    def _read(self, watcher: Watcher) -> None:
        try:
            data = watcher.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            watcher.closed = True
            self._selector.unregister(watcher.sock)
            return
        watcher.buffer += data
        if not watcher.opened:
            head, end, rest = watcher.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            watcher.opened, watcher.buffer = True, rest
            if b" 101 " not in head.split(b"\r\n")[0]:
                watcher.closed = True
                return
        self._frames(watcher, time.monotonic())

    def _frames(self, watcher: Watcher, now: float) -> None:
        buffer, at = watcher.buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1] & 127, at + 2
            if size == 126:
                if len(buffer) < at + 4:
                    break
                size, start = struct.unpack_from("!H", buffer, at + 2)[0], at + 4
            elif size == 127:
                if len(buffer) < at + 10:
                    break
                size, start = struct.unpack_from("!Q", buffer, at + 2)[0], at + 10
            if len(buffer) < start + size:
                break
            if buffer[at] & 15 == 8:
                watcher.closed = True
            elif size:
                self._packet(watcher, buffer[start : start + size], now)
            at = start + size
        watcher.buffer = buffer[at:]

    def _packet(self, watcher: Watcher, packet: bytes, now: float) -> None:
        if packet[:1] == b"2":
            watcher.send("3")
        elif packet[:1] == b"0":
            watcher.send(self._greeting)
        elif packet[:2] == b"40":
            watcher.connected = True
        elif packet[:3] == b"44{":
            watcher.refused = json.loads(packet[2:])
        elif packet[:2] == b"42":
            number, _, body = packet[2:].decode().partition("[")
            name, *rest = json.loads("[" + body)
            if number:
                watcher.asked += 1
                watcher.send(f"43{number}[]")
            if self._keep(name):
                watcher.events.append((now, name, rest[0] if rest else None))
        elif packet[:2] == b"43":
            number, _, body = packet[2:].decode().partition("[")
            watcher.acks[int(number)] = json.loads("[" + body)[0]
            watcher.acked_at[int(number)] = len(watcher.events)
