"""Watching tasks: any number of them, from any thread and event loop, over one connection.

One thread asks for snapshots, whenever a watch begins and whenever the connection was lost; updates
come in by the channel's threads. Who iterates waits for nothing but the newest state's slot.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from socketprogress.client.channel import Channel, State, answer_of
from socketprogress.client.feed import Feed
from socketprogress.core import errors

__all__ = ["Watches"]

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 2.0
LINGER_S = 1.0
ASKED_AT_ONCE = 100
PASSING = (errors.Unavailable, errors.RateLimited)


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
            except (*PASSING, errors.UnknownTask) as exc:
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
            hopeless = all(feed.is_over for feed in feeds)
        if now >= self._next_try and not hopeless:
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


def _position(state: State | None) -> State:
    return {} if state is None else {"epoch": state["epoch"], "seq": state["seq"]}
