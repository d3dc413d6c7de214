"""The slot with a task's newest state: one side fills it, the other iterates over what comes."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from socketprogress.client.channel import Channel, State
from socketprogress.core import errors
from socketprogress.core.status import TERMINAL

__all__ = ["OUTAGE_S", "Feed", "OnOutage", "Watch"]

T = TypeVar("T")
OnOutage = Callable[[errors.WireError | None], None]

OUTAGE_S = 300.0
MISSING_S = 10.0
CROWD_S = 10.0


class Feed:
    """One watch's side that the connection fills: a slot with the newest state.

    Everything here is done with the lock of `changed` held.
    """

    def __init__(self, task_id: str, *, patience_s: float, lock: threading.RLock) -> None:
        self.task_id = task_id
        self.changed = threading.Condition(lock)
        self.listeners: list[Callable[[], None]] = []
        self.leave: Callable[[], None] = lambda: None
        self.state: State | None = None
        self.channel: Channel | None = None
        self.error: Exception | None = None
        self._patience_s = patience_s
        self._unseen = False
        self._early: State | None = None
        self._gone_at: float | None = None
        self._missing_at: float | None = None
        self._outages: deque[errors.WireError | None] = deque()

    @property
    def is_over(self) -> bool:
        """Whether nothing will be added any more."""
        return self.error is not None or (
            self.state is not None and self.state["status"] in TERMINAL
        )

    @property
    def is_stale(self) -> bool:
        """Whether only a snapshot can say what is true."""
        return self.channel is None or self.channel.is_broken

    def has_news(self) -> bool:
        """Whether there is something that was not taken."""
        return self._unseen or bool(self._outages) or self.is_over

    def take(self) -> State | None:
        """Return the newest state if it was not taken before; raise what ended the feed."""
        if self._unseen:
            self._unseen = False
            return self.state
        if self.error is not None:
            raise self.error
        return None

    def take_outages(self) -> list[errors.WireError | None]:
        """Return what is to be told of the connection since the last call."""
        told = list(self._outages)
        self._outages.clear()
        return told

    def snapshot(self, task: State) -> None:
        """Take a snapshot, which says what is true, and what came before it but is newer."""
        if self._gone_at is not None and self.state is not None:
            self._outages.append(None)
        self._gone_at = self._missing_at = None
        if self.state is None or _is_news(task, self.state):
            self._put(task)
        early, self._early = self._early, None
        if early is not None:
            self.update(early)
        self._tell()

    def update(self, update: State) -> None:
        """Take an update; one of another epoch only says that a snapshot is needed."""
        if self.is_over:
            return
        if self.state is None or update.get("epoch") != self.state["epoch"]:
            if self._early is None or _is_news(update, self._early):
                self._early = update
            if self.state is not None:
                self.channel = None
        elif update["seq"] > self.state["seq"]:
            self._put({**self.state, **update})
            self._tell()

    def lost(self, error: errors.WireError, now: float) -> None:
        """Take that the server does not answer, or not now; give up when that lasts too long."""
        self.channel = None
        if isinstance(error, errors.UnknownTask):
            # A server that was killed may not have stored it; then its reporter opens it again.
            self._missing_at = since = self._missing_at or now
            patience_s = min(MISSING_S, self._patience_s)
        else:
            if self._gone_at is None and self.state is not None:
                self._outages.append(error)
            self._gone_at = since = self._gone_at or now
            self._missing_at = None
            patience_s = self._patience_s
        if self.state is None:
            patience_s = CROWD_S if isinstance(error, errors.RateLimited) else -1.0
        if now - since > patience_s:
            self.fail(error)
        self._tell()

    def fail(self, error: Exception) -> None:
        """End with an error, which the iterating side gets after the newest state."""
        if not self.is_over:
            self.error = error
            self._tell()

    def _put(self, state: State) -> None:
        self.state, self._unseen = state, True

    def _tell(self) -> None:
        self.changed.notify_all()
        for listener in self.listeners:
            listener()


class Watch(Generic[T]):
    """An iterator over a task's states, also an asynchronous one; it ends with the task.

    It may be left at any moment. Whoever iterates slowly misses states, but never the last one.

    Args:
        feed: where the states come from.
        timeout_s: seconds after which it ends, the task's end seen or not.
        on_outage: called with the reason when the server is gone, and with None when it is back.
        view: makes of each state what is yielded.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        timeout_s: float,
        on_outage: OnOutage,
        view: Callable[[State], T],
    ) -> None:
        self._feed = feed
        self._deadline = time.monotonic() + timeout_s
        self._on_outage = on_outage
        self._view = view
        self._closed = False

    def close(self) -> None:
        """Stop watching."""
        if not self._closed:
            self._closed = True
            self._feed.leave()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        feed = self._feed
        while not self._closed:
            with feed.changed:
                feed.changed.wait_for(feed.has_news, timeout=self._left_s())
            state = self._look()
            if state is not None:
                return self._view(state)
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._closed:
            await self._news()
            state = self._look()
            if state is not None:
                return self._view(state)
        raise StopAsyncIteration

    def _look(self) -> State | None:
        """Return a new state, or None; close where there will be none."""
        with self._feed.changed:
            outages = self._feed.take_outages()
        for outage in outages:
            self._on_outage(outage)
        with self._feed.changed:
            try:
                state = self._feed.take()
            except Exception:
                self.close()
                raise
            if state is None and (self._feed.is_over or self._left_s() == 0.0):
                self.close()
        return state

    async def _news(self) -> None:
        """Wait for news in this event loop, at most until the deadline."""
        loop = asyncio.get_running_loop()
        news = asyncio.Event()

        def ring() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(news.set)

        with self._feed.changed:
            if self._feed.has_news():
                return
            self._feed.listeners.append(ring)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), self._left_s())
        finally:
            with self._feed.changed:
                self._feed.listeners.remove(ring)

    def _left_s(self) -> float | None:
        if self._deadline == math.inf:
            return None
        return max(self._deadline - time.monotonic(), 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _is_news(update: State, state: State) -> bool:
    return bool(update.get("epoch") != state["epoch"] or update["seq"] > state["seq"])
