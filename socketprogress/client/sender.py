"""The one daemon thread that looks at a process's reporters and tells the server of them.

The work never waits for it: reporters are handed over through a deque, and looked at from here.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from socketprogress.client import notice, process
from socketprogress.client.backlog import Backlog
from socketprogress.client.exchange import Exchange
from socketprogress.client.link import Broken, Refused
from socketprogress.client.origin import Origin
from socketprogress.client.outbox import Outbox
from socketprogress.core.ports import Report

__all__ = ["Reporting", "Sender", "numbers"]

log = logging.getLogger(__name__)

LOOK_S = 0.1
IDLE_S = 20.0
CLOSING_S = 0.02
MOST_ENDED = 10_000
LOCK_S = 0.3


class Reporting(Protocol):
    """What the sender asks of a reporter."""

    task_id: str

    def opening(self) -> dict[str, Any]:
        """Return the payload of `open_task`."""

    def collect(self) -> list[Report]:
        """Return what changed since the last call."""

    def ending(self) -> Report | None:
        """Return how it ended, once that is certain."""

    def request_cancel(self) -> None:
        """Have the work stop."""


class Sender:
    """Tells one server of all reporters of this process that report to it.

    Args:
        origin: the server.
        clock: monotonic seconds.
    """

    def __init__(self, origin: Origin, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._origin = origin
        self._clock = clock
        self._outbox = Outbox(numbers())
        self._inbox: deque[tuple[str, Reporting]] = deque()
        self._live: dict[str, weakref.ref[Reporting]] = {}
        self._announced: weakref.WeakValueDictionary[str, Reporting] = weakref.WeakValueDictionary()
        self._held: list[Reporting] = []
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._closing = self._abandoned = False
        self._next_look = 0.0
        self._backlog = Backlog(origin.url, clock=clock)
        self._exchange = Exchange(
            origin,
            self._outbox,
            lock=self._lock,
            backlog=self._backlog,
            clock=clock,
            on_cancel=self._cancel,
        )

    # -- from the work's threads: no lock, no waiting ---------------------------------------------

    def open(self, reporter: Reporting) -> None:
        """Look at this reporter from now on."""
        self._inbox.append(("open", reporter))
        if self._thread is None:
            self._start()
        self._wake()

    def announce(self, reporter: Reporting) -> None:
        """Open a task that others report on; it hears of a cancellation as long as it is kept."""
        self._announced[reporter.task_id] = reporter
        self._inbox.append(("announce", reporter))
        if self._thread is None:
            self._start()
        self._wake()

    def rest_from(self, reporter: Reporting) -> None:
        """Only give signs of life of this task from now on: it may go on in another process."""
        self._inbox.append(("rest", reporter))

    def end(self, reporter: Reporting) -> None:
        """Take a reporter that has ended."""
        self._inbox.append(("end", reporter))

    def held(self) -> list[Any]:
        """Return the reporters whose end is not certain, or not taken yet."""
        return [*self._held, *(reporter for kind, reporter in list(self._inbox) if kind == "end")]

    # -- the end -----------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Begin to deliver all that is left, and to end."""
        self._exchange.hurry()
        self._closing = True
        self._wake()

    def close(self, grace_s: float) -> None:
        """Deliver what is left within `grace_s` seconds; the rest goes to the spool."""
        deadline = self._clock() + grace_s
        self.hurry()
        if self._is_running() and not self._origin.offline:
            self._done.wait(max(grace_s, 0.0))
        self._abandoned = True
        self._wake()
        if self._lock.acquire(timeout=max(deadline - self._clock(), LOCK_S)):
            try:
                self._take_in(final=True)
                self._backlog.put(self._outbox.rest())
            finally:
                self._lock.release()
        if not self._is_running():
            self._let_go()

    def forked(self) -> None:
        """Let go of everything in a forked child: all this is the parent's."""
        self._abandoned = True
        self._let_go()
        self._exchange.abandon()
        self._backlog.release()

    # -- inside ----------------------------------------------------------------------------------

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="socketprogress-sender", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as exc:  # no more threads, or the interpreter is ending
            notice.warn_once("nothing is reported for now: %s", exc)

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._wake_out.send(b"\0")

    def _let_go(self) -> None:
        for sock in (self._wake_in, self._wake_out):
            with contextlib.suppress(OSError):
                sock.close()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._abandoned:
            try:
                self._pass()
            except Broken as exc:
                self._lose(exc)
            except Exception as exc:  # a bug here must not take the other reports with it
                log.debug("the sender failed", exc_info=True)
                notice.warn_once("reporting has failed and goes on: %r", exc)
                self._lose(exc)
            if self._closing and self._is_over():
                break
        self._exchange.close()
        self._done.set()
        self._let_go()

    def _pass(self) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._take_in(final=self._closing)
            if self._outbox.ended > MOST_ENDED:
                self._backlog.put(self._outbox.rest(ended_only=True))
            if self._exchange.is_open and not self._closing:
                self._backlog.look(self._outbox)
            has_news = len(self._outbox) > 0
        if not self._exchange.is_open and not self._origin.offline:
            last_chance = self._closing and not self._exchange.attempts
            if last_chance or (has_news and self._exchange.may_connect()):
                self._exchange.connect()
        self._exchange.say()
        self._wait()

    def _wait(self) -> None:
        signals = process.signal_pipe()
        others = [self._wake_in] if signals is None else [self._wake_in, signals]
        patience_s = self._patience()
        if signals is not None and signals.nudge():
            patience_s = min(patience_s, LOOK_S)
        if self._wake_in in self._exchange.wait(others, patience_s):
            with contextlib.suppress(OSError):
                self._wake_in.recv(4_096)

    def _patience(self) -> float:
        if self._closing:
            return CLOSING_S
        if self._live or self._held or self._inbox or not self._outbox.settled:
            return max(self._next_look - self._clock(), 0.001)
        return IDLE_S

    def _take_in(self, *, final: bool) -> None:
        """Take what the work has handed over, and look at every reporter."""
        now = self._clock()
        endings, self._held = self._held, []
        while self._inbox:
            kind, reporter = self._inbox.popleft()
            if kind == "open":
                self._outbox.open(reporter.opening(), at=now)
                self._live[reporter.task_id] = weakref.ref(reporter)
            elif kind == "announce":
                self._outbox.open(reporter.opening(), at=now, only=True)
            elif kind == "rest":
                self._outbox.merge(reporter.collect())
                self._outbox.rest_from(reporter.task_id)
            else:
                endings.append(reporter)
        if final or now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look()
        for reporter in endings:
            end = reporter.ending()
            self._outbox.merge(reporter.collect())
            if end is None and not final:
                self._held.append(reporter)
            else:
                self._outbox.finish(reporter.task_id, end or {"status": "completed"})
                self._live.pop(reporter.task_id, None)

    def _look(self) -> None:
        for task_id, ref in list(self._live.items()):
            reporter = ref()
            if reporter is None:
                del self._live[task_id]
            else:
                self._outbox.merge(reporter.collect())

    def _cancel(self, task_ids: list[Any]) -> None:
        for task_id in task_ids:
            ref = self._live.get(task_id)
            reporter = self._announced.get(task_id) if ref is None else ref()
            if reporter is not None:
                reporter.request_cancel()

    def _lose(self, exc: Exception) -> None:
        self._exchange.lose(exc)
        if isinstance(exc, Broken) and exc.doubtful and not isinstance(exc, Refused):
            notice.warn_once("%s; reports are kept", exc)
        elif self._closing:
            return
        elif isinstance(exc, Refused):
            notice.warn_once("%s refuses reports: %s; they are kept", self._origin.url, exc)
        else:
            notice.warn_once("%s; reports are kept and delivered later", exc)

    def _is_over(self) -> bool:
        with self._lock:
            if self._outbox.settled and not self._inbox and not self._held:
                return True
        return not self._exchange.is_open and self._exchange.attempts > 0


def numbers() -> Iterator[int]:
    """Return the microseconds of now, so that a later process goes on from higher ones."""
    while True:
        yield time.time_ns() // 1_000
