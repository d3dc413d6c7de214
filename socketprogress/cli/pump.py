"""Passing on a command's output at full speed, with a look aside at the newest of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable

__all__ = ["Pump", "Tap"]

READ_BYTES = 1 << 16
KEPT_BYTES = 1 << 18
NEWEST_BYTES = 1 << 14


class Tap:
    """What was passed on and not looked at yet, the newest within a bound.

    Args:
        most_bytes: how much is kept.
    """

    def __init__(self, *, most_bytes: int = KEPT_BYTES) -> None:
        self._chunks: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._most_bytes = most_bytes
        self._size = 0
        self._lost = 0

    def put(self, data: bytes) -> None:
        """Add what was passed on; the oldest goes if it is too much."""
        with self._lock:
            self._chunks.append(data)
            self._size += len(data)
            if self._size > self._most_bytes:
                self._drop(self._most_bytes)

    def take(self) -> tuple[int, bytes]:
        """Return how many bytes were lost since the last call, and the next piece.

        Where some were lost, whoever looks is too slow, and skips to the newest.
        """
        with self._lock:
            if self._lost:
                self._drop(NEWEST_BYTES)
            lost, self._lost = self._lost, 0
            data = self._chunks.popleft() if self._chunks else b""
            self._size -= len(data)
            return lost, data

    def skip(self) -> None:
        """Give up all but the newest."""
        with self._lock:
            self._drop(NEWEST_BYTES)

    def put_back(self, data: bytes) -> None:
        """Return the rest of a piece, to be taken next."""
        with self._lock:
            self._chunks.appendleft(data)
            self._size += len(data)

    def __bool__(self) -> bool:
        return bool(self._chunks or self._lost)

    def _drop(self, most_bytes: int) -> None:
        while self._size > most_bytes:
            surplus = self._size - most_bytes
            oldest = self._chunks.popleft()
            if len(oldest) > surplus:
                self._chunks.appendleft(oldest[surplus:])
                oldest = oldest[:surplus]
            self._size -= len(oldest)
            self._lost += len(oldest)


class Pump(threading.Thread):
    """Writes what a command writes to where it belongs, byte for byte, as soon as it comes.

    Args:
        source: where to read.
        target: where to write.
        tap: gets all of it, too.
        on_end: called when there is no more to read, or nobody to write it for.

    Attributes:
        taken: how many bytes were read.
        given: how many of them were written.
        ended: whether it has ended.
        broken: whether `target` takes no more.
    """

    def __init__(self, source: int, target: int, tap: Tap, *, on_end: Callable[[], None]) -> None:
        super().__init__(name=f"socketprogress-pump-{target}", daemon=True)
        self.source = source
        self.ended = self.broken = False
        self._target = target
        self._tap = tap
        self._on_end = on_end
        self.taken = self.given = self._due = 0

    def run(self) -> None:
        """Pass on until the end."""
        source, put = self.source, self._tap.put
        try:
            while data := self._read(source):
                self.taken += len(data)
                put(data)
                self._write(data)
                self.given += len(data)
        except OSError:
            self.broken = True
        finally:
            self.ended = True
            self._on_end()

    def owe(self) -> None:
        """Note that what is there to be read at this moment has to be passed on."""
        self._due = self._waiting_bytes() + self.taken

    def has_settled(self) -> bool:
        """Return whether what it owes has been passed on."""
        return self.ended or self.given >= self._due or self.is_idle()

    def is_idle(self) -> bool:
        """Return whether there is nothing to pass on at this moment."""
        return self.ended or (self.given == self.taken and not self._waiting_bytes())

    def _waiting_bytes(self) -> int:
        try:
            answer = fcntl.ioctl(self.source, termios.FIONREAD, struct.pack("i", 0))
        except OSError:
            return 0
        return int(struct.unpack("i", answer)[0])

    @staticmethod
    def _read(source: int) -> bytes:
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more says EIO
            return os.read(source, READ_BYTES)
        return b""

    def _write(self, data: bytes) -> None:
        done = self._write_some(data)
        if done < len(data):
            view = memoryview(data)
            while done < len(data):
                done += self._write_some(view[done:])

    def _write_some(self, data: bytes | memoryview) -> int:
        try:
            return os.write(self._target, data)
        except BlockingIOError:  # somebody else has made it so
            poll = select.poll()
            poll.register(self._target, select.POLLOUT)
            poll.poll()
            return 0
