"""Hub → watchers: a tick that takes what changed and brings everybody the newest of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from socketprogress.core.hub import Changes, Hub
from socketprogress.core.ports import Clock, Lock, LogPage
from socketprogress.server.fanout import Fanout
from socketprogress.server.lists import ListWatchers
from socketprogress.server.logpieces import newest_of
from socketprogress.server.runtime import Runtime

__all__ = ["Emitter"]

log = logging.getLogger(__name__)

SLOWEST_HZ = 1.0
LIST_INTERVAL_S = 0.35
CATCH_UP_S = 0.05
MOST_LOG_BYTES = 65_536


class Emitter:
    """Brings changes to the watchers at most `rate_hz` times a second.

    A tick that costs more than half of its interval makes the interval longer, up to a second:
    overload costs freshness, never correctness.

    Args:
        hub: where changes come from.
        fanout: brings states and logs to rooms.
        lists: brings rows to lists.
        runtime: how to wait.
        clock: measures the ticks.
        rate_hz: ticks a second at most.

    Attributes:
        tick_s: seconds that the last tick took.
        on_changes: called with what a tick has brought.
    """

    def __init__(
        self,
        hub: Hub,
        fanout: Fanout,
        lists: ListWatchers,
        *,
        runtime: Runtime,
        clock: Clock,
        rate_hz: float,
    ) -> None:
        self._hub, self._fanout, self._lists = hub, fanout, lists
        self._runtime, self._clock = runtime, clock
        self._interval_s = 1.0 / rate_hz
        self._wake = runtime.signal()
        self._lock: Lock = runtime.threading.RLock()
        self._list_at = clock.monotonic()
        self._list_pause_s = LIST_INTERVAL_S
        self.tick_s = 0.0
        self._stopped = False
        self.on_changes: Callable[[Changes], None] = lambda _: None
        hub.on_change = self._wake.set

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Hold back the next tick while a watcher enters a room and its snapshot is read.

        So nothing older than the snapshot can follow it.
        """
        with self._lock:
            yield

    def run(self) -> None:
        """Tick until `stop`."""
        while not self._stopped:
            self._wake.wait(self._patience_s())
            self._wake.clear()
            began = self._clock.monotonic()
            try:
                self.flush()
            except Exception:  # one bad state must not end the updates of all others
                log.exception("a tick of the emitter failed")
            cost = self.tick_s = self._clock.monotonic() - began
            self._rest(min(max(self._interval_s, 2 * cost), 1.0 / SLOWEST_HZ))

    def stop(self) -> None:
        """Make `run` return after a last tick."""
        self._stopped = True
        self._wake.set()

    def flush(self) -> None:
        """Bring everybody the newest of what changed."""
        with self._lock:
            changes = self._hub.drain()
            self._catch_up()
            self._fanout.states(changes.tasks)
            self._logs(changes)
            self._lists.note(changes)
            self._tell_lists()
        self.on_changes(changes)

    def _rest(self, seconds: float) -> None:
        """Rest between two ticks.

        One tick's news may be more than a connection takes at once: it gets the rest of them as
        soon as it has taken the first, and need not wait for further ticks.
        """
        end = self._clock.monotonic() + seconds
        while self._behind and self._clock.monotonic() < end:
            self._runtime.sleep(0)
            with self._lock:
                if not self._catch_up():
                    break
        self._runtime.sleep(max(end - self._clock.monotonic(), 0))

    @property
    def _behind(self) -> bool:
        return self._fanout.behind or self._lists.behind

    def _catch_up(self) -> int:
        return self._fanout.catch_up() + self._lists.catch_up()

    def _logs(self, changes: Changes) -> None:
        for task_id, (offset, lines) in changes.logs.items():
            piece = newest_of(LogPage(offset, tuple(lines), offset + len(lines)), MOST_LOG_BYTES)
            payload = {"task_id": task_id, "offset": piece.offset, "lines": piece.lines}
            self._fanout.log(task_id, payload)

    def _tell_lists(self) -> None:
        now = self._clock.monotonic()
        if now - self._list_at < self._list_pause_s or not self._lists.waiting:
            return
        self._lists.tell()
        self._list_at = now
        cost = self._clock.monotonic() - now
        self._list_pause_s = min(max(LIST_INTERVAL_S, 10 * cost), 1.0 / SLOWEST_HZ)

    def _patience_s(self) -> float | None:
        if self._behind:
            return CATCH_UP_S
        return self._list_pause_s if self._lists.waiting else None
