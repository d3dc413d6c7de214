"""What is under way to one connection: how much it may get before it has taken what it was given.

A slow link hides behind buffers: the kernel's, a proxy's, the network's own. What lies there is old when
it arrives, and cannot be replaced by anything newer. So only a client that says what has arrived can
be kept up to date: asked now and then by an event with an acknowledgement, it confirms everything up
to there. Of any other client the kernel tells what it has not delivered yet.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any

from engineio import packet

__all__ = ["LEAST_BYTES", "Flow", "flow_of"]

LEAST_BYTES = 4_096
MOST_BYTES = 262_144
PLAIN_BYTES = 32_768
TARGET_S = 0.75
SLOW_S = 0.5
MARK_EVERY_S = 0.5
MARK_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class _Mark:
    """An event that asks for confirmation: where it ends, when it went, what was under way then, and
    since when: what no mark follows may have arrived long ago."""

    end: int
    at: float
    under_way: int
    since: float


class Flow:
    """Counts the bytes to one connection; from any thread.

    The window of a client that confirms is what its link has proven to carry in `TARGET_S` seconds,
    and the least one as long as a confirmation is overdue. Nothing is known of what no mark follows: so
    the first event behind it goes, however much is under way, and asks.

    Args:
        clock: monotonic seconds.

    Attributes:
        confirms: whether the client confirms what it is asked to.
        socket: the WebSocket's socket, whose writer notes what it `wrote`; None for polling, and in
            an application that serves the connections itself: there what was polled has left.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.confirms = False
        self.socket: Any = None
        self._clock = clock
        self._lock = threading.Lock()
        self._given = self._written = self._left = self._taken = 0
        self._window = LEAST_BYTES
        self._marks: deque[_Mark] = deque()
        self._marked = 0
        self._marked_at = self._since = clock()

    # -- what happens ----------------------------------------------------------------------------

    def gave(self, size_bytes: int) -> None:
        """Note a message that was put into the connection's queue."""
        with self._lock:
            if self._given == self._taken:
                self._since = self._clock()
            self._given += size_bytes

    def wrote(self, size_bytes: int) -> None:
        """Note a message that has left the queue, for the kernel or with a poll."""
        with self._lock:
            self._written += size_bytes

    def mark(self, size_bytes: int) -> Callable[..., None]:
        """Note that the next message asks for confirmation; return what the confirmation calls."""
        end, now = self._given + size_bytes, self._clock()
        since = now if self._given == self._taken else self._since
        mark = _Mark(end, now, end - self._taken, since)
        self._marks.append(mark)
        self._marked, self._marked_at = end, now
        return lambda *_: self._confirm(mark)

    # -- what is to be known ---------------------------------------------------------------------

    def busy(self) -> bool:
        """Return whether the connection is to get nothing now."""
        if not self.confirms:
            return self.hoards()
        under_way = self._given - self._taken
        return under_way >= LEAST_BYTES and bool(self._marks) and under_way >= self._limit()

    def room(self) -> int:
        """Return how many bytes a message may have that is no state of a task; 0 for none now.

        Half of the window is the states' own. Without any question on the way nothing would tell
        when there is room: so there is some, and what takes it asks.
        """
        if not self.confirms:
            return MOST_BYTES
        left = self._limit() // 2 - (self._given - self._taken)
        return max(left, 0 if self._marks else LEAST_BYTES // 4)

    def batch_bytes(self) -> int:
        """Return how many bytes a message with several states may have: a part of the window."""
        return max(self._limit() // 4, LEAST_BYTES) if self.confirms else PLAIN_BYTES // 2

    def hoards(self) -> bool:
        """Return whether so much waits in this machine that it is a matter of memory."""
        if self._given - self._left < PLAIN_BYTES:
            return False
        self._left = self._written - self._in_kernel()
        return self._given - self._left >= PLAIN_BYTES

    def wants_mark(self) -> bool:
        """Return whether the next message should ask for confirmation."""
        if not self.confirms:
            return False
        under_way, since = self._given - self._taken, self._given - self._marked
        if under_way >= self._window / 2 and (not self._marks or since >= self._window / 4):
            return True
        return since >= MARK_BYTES and self._clock() - self._marked_at >= MARK_EVERY_S

    # -- inside ----------------------------------------------------------------------------------

    def _confirm(self, mark: _Mark) -> None:
        """Take a confirmation: what was under way has passed, so much the link carries.

        It took no longer than since its first byte was given, and no less than since the mark.
        """
        now = self._clock()
        while self._marks and self._marks[0].end <= mark.end:
            self._marks.popleft()
        if mark.end > self._taken:
            self._taken, self._since = mark.end, mark.at
        least, most = (
            int(mark.under_way * TARGET_S / max(now - began, 1e-3))
            for began in (mark.since, mark.at)
        )
        self._window = min(
            max(self._window, least, LEAST_BYTES), max(most, LEAST_BYTES), MOST_BYTES
        )

    def _in_kernel(self) -> int:
        """Return how many bytes the kernel has that the other side's has not acknowledged."""
        waiting = bytearray(4)
        if self.socket is not None:
            with contextlib.suppress(OSError, ValueError):  # closed in between, or nothing to ask
                ioctl(self.socket.fileno(), TIOCOUTQ, waiting)
        return int.from_bytes(waiting, sys.byteorder)

    def _limit(self) -> int:
        with contextlib.suppress(IndexError):  # confirmed in between
            if self._clock() - self._marks[0].at > SLOW_S:
                return LEAST_BYTES
        return self._window


def flow_of(connection: Any) -> Flow:
    """Return an Engine.IO connection's flow; from the first time on its messages are counted."""
    flow: Flow | None = getattr(connection, "flow", None)
    if flow is None:
        flow = connection.flow = Flow()
        _count(connection, flow)
    return flow


def _count(connection: Any, flow: Flow) -> None:
    send, poll = connection.send, connection.poll

    def counted_send(sent: packet.Packet) -> None:
        if sent.packet_type == packet.MESSAGE:
            flow.gave(len(sent.data))
        send(sent)

    def counted_poll() -> list[packet.Packet]:
        packets: list[packet.Packet] = poll()
        if flow.socket is None:
            flow.wrote(sum(len(p.data) for p in packets if p.packet_type == packet.MESSAGE))
        return packets

    connection.send, connection.poll = counted_send, counted_poll
