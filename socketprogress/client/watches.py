"""Watching tasks: any number of them, from any thread and event loop, over one connection.

One thread asks for snapshots, whenever a watch begins and whenever the connection was lost; updates
come in by the channel's threads. Who iterates waits for nothing but the newest state's slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from socketprogress.client.channel import Channel, State, answer_of
from socketprogress.core import errors
from socketprogress.core.steps import TERMINAL

__all__ = ["OUTAGE_S", "Feed", "OnOutage", "Watch", "Watches"]

log = logging.getLogger(__name__)

T = TypeVar("T")
OnOutage = Callable[[errors.WireError | None], None]

OUTAGE_S = 300.0
CROWD_S = 10.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
LINGER_S = 1.0
ASKED_AT_ONCE = 100
PASSING = (errors.Unavailable, errors.RateLimited)


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
        self._gone_at = None
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
        first = self.state is None
        if self._gone_at is None:
            self._gone_at = now
            if not first:
                self._outages.append(error)
        if first:
            patience_s = CROWD_S if isinstance(error, errors.RateLimited) else -1.0
        else:
            patience_s = self._patience_s
        if now - self._gone_at > patience_s:
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


class Watches:
    """Keeps the feeds of a connection current, by a thread that is there while there are any.

    Args:
        open_channel: connects, or returns the connection that there is.
        timeout_s: seconds that an answer may take.
    """

    def __init__(self, open_channel: Callable[[], Channel], *, timeout_s: float) -> None:
        self._open_channel = open_channel
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._feeds: list[Feed] = []
        # Tasks of which the server tells although nobody here watches them, and until when they
        # may: a watch often follows at once.
        self._idle: dict[str, tuple[Channel, float]] = {}
        # May be put to at any moment, also while the garbage collector runs.
        self._bell: queue.SimpleQueue[Feed | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed: Exception | None = None
        self._delay_s = FIRST_DELAY_S
        self._next_try = 0.0

    def add(self, task_id: str, *, patience_s: float) -> Feed:
        """Return a new feed of a task."""
        feed = Feed(task_id, patience_s=patience_s, lock=self._lock)
        feed.leave = lambda: self._bell.put(feed)
        with self._lock:
            if self._closed is not None:
                feed.fail(self._closed)
            else:
                self._feeds.append(feed)
                self._start()
        self.ring()
        return feed

    def joined(self, task_id: str, channel: Channel) -> None:
        """Note that the server tells of a task that nobody here has asked to watch."""
        with self._lock:
            if self._closed is None:
                self._idle[task_id] = (channel, time.monotonic() + LINGER_S)
                self._start()
        self.ring()

    def take(self, update: State) -> None:
        """Hand an update to the feeds of its task."""
        with self._lock:
            for feed in self._feeds:
                if feed.task_id == update["task_id"]:
                    feed.update(update)
                    if feed.is_over or feed.is_stale:
                        self.ring()

    def ring(self) -> None:
        """Have the thread look around."""
        self._bell.put(None)

    def close(self, error: Exception) -> None:
        """End every feed with an error, and the thread."""
        with self._lock:
            self._closed = error
            for feed in self._feeds:
                feed.fail(error)
            self._feeds.clear()
            self._idle.clear()
        self.ring()

    # -- the thread ------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="socketprogress-watches", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        while self._is_needed():
            try:
                pause_s = self._pass()
            except Exception as exc:  # whoever waits must hear of it
                log.exception("watching has failed")
                with self._lock:
                    for feed in self._feeds:
                        feed.fail(exc)
                pause_s = 0.0
            self._wait(pause_s)

    def _is_needed(self) -> bool:
        with self._lock:
            for feed in [feed for feed in self._feeds if feed.is_over]:
                self._remove(feed)
            if self._feeds or self._idle:
                return True
            self._thread = None
            return False

    def _wait(self, pause_s: float) -> None:
        """Wait until somebody rings; take who leaves."""
        with contextlib.suppress(queue.Empty):
            left = self._bell.get(timeout=None if pause_s == math.inf else max(pause_s, 0.0))
            while True:
                if left is not None:
                    with self._lock:
                        self._remove(left)
                left = self._bell.get_nowait()

    def _remove(self, feed: Feed) -> None:
        if feed not in self._feeds:
            return
        self._feeds.remove(feed)
        if feed.channel is not None and all(f.task_id != feed.task_id for f in self._feeds):
            self._idle[feed.task_id] = (feed.channel, time.monotonic() + LINGER_S)

    def _pass(self) -> float:
        """Do what is to be done now; return the seconds until there may be more."""
        now = time.monotonic()
        if now < self._next_try:
            return self._next_try - now
        with self._lock:
            stale = [feed for feed in self._feeds if feed.is_stale]
        if stale:
            try:
                channel = self._open_channel()
            except PASSING as exc:
                self._lose(stale, exc)
            except errors.SocketProgressError as exc:
                self._fail(stale, exc)
            else:
                self._ask(channel, stale)
            return 0.0
        self._leave_idle(now)
        with self._lock:
            rest_s = math.inf if self._feeds else 0.0
            return min((until - now for _, until in self._idle.values()), default=rest_s)

    def _ask(self, channel: Channel, feeds: list[Feed]) -> None:
        """Ask for the snapshots of feeds, the answers being waited for together."""
        wanted: dict[str, list[Feed]] = {}
        for feed in feeds:
            if len(wanted) < ASKED_AT_ONCE or feed.task_id in wanted:
                wanted.setdefault(feed.task_id, []).append(feed)
        asked: list[tuple[list[Feed], Future[Any]]] = []
        for task_id, same in wanted.items():
            with self._lock:
                self._idle.pop(task_id, None)
                request = {"task_id": task_id, **_position(same[0].state)}
                for feed in same:
                    feed.channel = channel
            asked.append((same, channel.send("watch_task", request)))
        deadline = time.monotonic() + self._timeout_s
        for same, future in asked:
            try:
                left_s = max(deadline - time.monotonic(), 0.0)
                ack = answer_of(future, channel, timeout_s=left_s)
            except PASSING as exc:
                self._lose(same, exc)
            except errors.SocketProgressError as exc:
                self._fail(same, exc)
            else:
                self._delay_s = FIRST_DELAY_S
                self._spread(ack["task"], same)

    def _spread(self, task: State, asked: list[Feed]) -> None:
        """Hand a snapshot to those who asked, and as an update to the task's other feeds."""
        with self._lock:
            for feed in asked:
                feed.snapshot(task)
            for feed in self._feeds:
                if feed.task_id == task["task_id"] and feed not in asked:
                    feed.update(task)

    def _lose(self, feeds: list[Feed], error: errors.WireError) -> None:
        now = time.monotonic()
        with self._lock:
            for feed in feeds:
                feed.lost(error, now)
        if now >= self._next_try:
            self._next_try = now + max(self._delay_s, getattr(error, "retry_after_s", 0.0))
            self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)

    def _fail(self, feeds: list[Feed], error: Exception) -> None:
        with self._lock:
            for feed in feeds:
                feed.fail(error)

    def _leave_idle(self, now: float) -> None:
        """Have the server tell no more of what nobody watches.

        The answers are waited for, so that none of these overtakes a later `watch_task`.
        """
        with self._lock:
            watched = {feed.task_id for feed in self._feeds}
            due = [i for i, (_, until) in self._idle.items() if until <= now][:ASKED_AT_ONCE]
            left = [(task_id, self._idle.pop(task_id)[0]) for task_id in due]
        sent = [
            (channel, channel.send("unwatch_task", task_id))
            for task_id, channel in left
            if task_id not in watched and not channel.is_broken
        ]
        for channel, future in sent:
            with contextlib.suppress(errors.WireError):  # then the server goes on telling
                answer_of(future, channel, timeout_s=self._timeout_s)


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


def _position(state: State | None) -> State:
    return {} if state is None else {"epoch": state["epoch"], "seq": state["seq"]}


def _is_news(update: State, state: State) -> bool:
    return bool(update.get("epoch") != state["epoch"] or update["seq"] > state["seq"])
