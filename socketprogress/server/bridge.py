"""How native threads reach a loop, and the socket that the world reaches the server by."""

from __future__ import annotations

import logging
import resource
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["BACKLOG", "Bridge", "LoopSignal", "allow_connections", "listen"]

log = logging.getLogger(__name__)

BACKLOG = 1024
MOST_DESCRIPTORS = 65_536


def listen(host: str, port: int) -> socket.socket:
    """Return a socket listening at the address, and nobody else's: no SO_REUSEPORT.

    Raises:
        OSError: the port is taken, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Without it a second small write waits 40 ms for the first's ack.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def allow_connections() -> None:
    """Let this process open as many descriptors as it may: most systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Bridge:
    """Carries functions from native threads to a loop: a deque and a socket that wakes its pump."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], Any]] = deque()
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    def call(self, function: Callable[[], Any]) -> None:
        """Take a function; one byte in the socket is wake-up enough for all that wait."""
        self._calls.append(function)
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # so many bytes wait already that the pump cannot miss them

    def run_all(self) -> None:
        """Empty the socket and run what waits."""
        try:
            while self.reader.recv(4096):
                pass
        except BlockingIOError:
            pass
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except Exception:  # one caller's failure must not end the pump for the others
                log.exception("a call on the loop failed")


class LoopSignal:
    """A loop's own event, which native threads set through the bridge."""

    def __init__(self, event: Any, is_loop: Callable[[], bool], call: Callable[..., None]) -> None:
        self._event, self._is_loop, self._call = event, is_loop, call
        self._set = False

    def set(self) -> None:
        """Wake whoever waits."""
        if self._set:
            return
        self._set = True
        if self._is_loop():
            self._event.set()
        else:
            self._call(self._event.set)

    def clear(self) -> None:
        """Let the next `wait` wait again."""
        self._event.clear()
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds; return whether it was set."""
        self._event.wait(timeout)
        return self._set
