"""A connection to a server: calls whose errors are exceptions, and watching that does not end early.

Each `Channel` is used once. When it breaks, the next call opens another, and every watch asks again
with the epoch and the sequence number that it has, and goes on from the snapshot.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from socketprogress.client.channel import (
    Channel,
    State,
    Unreachable,
    answer_of,
    error_from,
)
from socketprogress.client.feed import OUTAGE_S, Feed, OnOutage, Watch
from socketprogress.client.runfile import ServerAddress
from socketprogress.client.watches import Watches

__all__ = ["Connection", "State", "Unreachable", "Watch", "error_from"]

CALL_TIMEOUT_S = 10.0


class Connection:
    """A client's connection, opened by the first call; any thread may use it.

    Args:
        server: the address, or a function that finds it anew whenever a channel is opened.
        timeout_s: seconds that connecting and each call may take.
    """

    def __init__(
        self,
        server: ServerAddress | Callable[[], ServerAddress],
        *,
        timeout_s: float = CALL_TIMEOUT_S,
    ) -> None:
        self._server = server
        self.timeout_s = timeout_s
        self._closed = threading.Event()
        self._inherited: Channel | None = None
        self._channel: Channel | None = None
        self._begin()

    @property
    def url(self) -> str:
        """The base URL of the server."""
        channel = self._channel
        return self._address().url.rstrip("/") if channel is None else channel.url

    def open(self) -> Channel:
        """Connect, unless there is a connection, and return it.

        Raises:
            Unreachable: nobody answers, or this was closed.
            Unauthorized, Forbidden, RateLimited: the server refuses.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            if self._closed.is_set():
                raise Unreachable("the connection was closed")
            if self._channel is None or self._channel.is_broken:
                self._channel = Channel(
                    self._address(),
                    timeout_s=self.timeout_s,
                    on_update=self._watches.take,
                    on_break=self._watches.ring,
                )
            channel = self._channel
        if (
            self._closed.is_set()
        ):  # in the meantime, by somebody who didn't wait for it to be opened
            channel.close()
            raise Unreachable("the connection was closed")
        return channel

    def close(self, *, wait: bool = True) -> None:
        """Disconnect for good; watches that go on end with `Unreachable`.

        Args:
            wait: for a moment, so that the server hears of it.
        """
        self._closed.set()
        self._watches.close(Unreachable("the connection was closed"))
        if self._channel is not None and self._pid == os.getpid():
            self._channel.close(wait=wait)

    def call(self, event: str, data: Any = None) -> State:
        """Send an event and return its ack.

        Args:
            event: the event's name.
            data: its payload, JSON values; None for nothing.

        Returns:
            The ack's fields, `ok` among them.

        Raises:
            WireError: the ack says so; the class is the code's own.
            Unreachable: nobody answers, or not in time.
        """
        channel = self.open()
        ack = answer_of(channel.send(event, data), channel, timeout_s=self.timeout_s)
        if event == "start_task":
            self._watches.joined(ack["task_id"], channel)
        return ack

    def watch(
        self,
        task_id: str,
        *,
        patience_s: float = OUTAGE_S,
        timeout_s: float = math.inf,
        on_outage: OnOutage = lambda _error: None,
    ) -> Watch[State]:
        """Return an iterator over the task's states: the newest first known first, its end last.

        States between two looks are left out, the last never is. A lost connection and a restarted
        server are waited for.

        Args:
            task_id: the task.
            patience_s: seconds without a server after which it gives up.
            timeout_s: seconds after which it ends, the task's end seen or not.
            on_outage: called by the iterating side with the reason when the server is gone, and with
                None when it is back.

        Raises:
            UnknownTask: while iterating: there is no such task, or no longer.
            Unreachable: while iterating: nobody answers, or the server did not come back.
        """
        feed = self.feed(task_id, patience_s=patience_s)
        return Watch(feed, timeout_s=timeout_s, on_outage=on_outage, view=lambda state: state)

    def feed(self, task_id: str, *, patience_s: float = OUTAGE_S) -> Feed:
        """Begin to watch a task; the `Watch` of the feed ends that."""
        if self._pid != os.getpid():
            self._begin()
        return self._watches.add(task_id, patience_s=patience_s)

    def _begin(self) -> None:
        """Begin with nothing open: at first, and in a forked child, where all is the parent's."""
        self._pid = os.getpid()
        # Kept, so that the child does not take leave in its parent's name.
        self._inherited, self._channel = self._channel, None
        self._lock = threading.Lock()
        self._watches = Watches(self.open, timeout_s=self.timeout_s)

    def _address(self) -> ServerAddress:
        return self._server if isinstance(self._server, ServerAddress) else self._server()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
