"""One native thread that carries out calls in order, at once or later."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from _queue import Empty, SimpleQueue  # the C queue: never replaced by a monkey patch
from collections.abc import Callable
from typing import Any

from socketprogress.core.ports import Threading

__all__ = ["Agenda", "Appointment"]

log = logging.getLogger(__name__)


class Appointment:
    """A call that is due at `at`, monotonic seconds; `cancel` it from any thread."""

    __slots__ = ("at", "do", "number")

    def __init__(self, at: float, number: int, do: Callable[[], object]) -> None:
        self.at = at
        self.number = number
        self.do: Callable[[], object] | None = do

    def cancel(self) -> None:
        """Let the call not happen, unless it is under way."""
        self.do = None

    def __lt__(self, other: Appointment) -> bool:
        return (self.at, self.number) < (other.at, other.number)


class Agenda:
    """Carries out calls one after the other on a daemon thread of its own.

    What is touched by these calls alone needs no lock. The thread starts with the first call.

    Args:
        name: the thread's name.
        threading: where the thread comes from.
    """

    def __init__(self, name: str, *, threading: Threading = threading) -> None:
        self._name = name
        self._threading = threading
        self._queue: SimpleQueue[Appointment | None] = SimpleQueue()
        self._later: list[Appointment] = []
        self._numbers = itertools.count()
        self._starting = threading.Lock()
        self._thread: Any = None

    def call(self, do: Callable[[], object]) -> None:
        """Carry this out as soon as what was asked for before is done."""
        self.call_after(0.0, do)

    def call_after(self, delay_s: float, do: Callable[[], object]) -> Appointment:
        """Carry this out in `delay_s` seconds."""
        appointment = Appointment(time.monotonic() + delay_s, next(self._numbers), do)
        self._queue.put(appointment)
        self._start()
        return appointment

    def close(self) -> None:
        """Let the thread go after what is due already; what is due later does not happen.

        A later call has a new thread.
        """
        self._queue.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = self._threading.Thread(
                    target=self._run, name=self._name, daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                appointment = self._queue.get(timeout=self._wait_s())
            except Empty:
                self._carry_out(heapq.heappop(self._later))
                continue
            if appointment is None:
                if self._may_go():
                    return
                continue
            heapq.heappush(self._later, appointment)
            while self._later and self._later[0].at <= time.monotonic():
                self._carry_out(heapq.heappop(self._later))

    def _may_go(self) -> bool:
        with self._starting:
            self._later.clear()
            if self._queue.empty():
                self._thread = None
            return self._thread is None

    def _wait_s(self) -> float | None:
        if not self._later:
            return None
        return min(max(0.0, self._later[0].at - time.monotonic()), 3600.0)

    def _carry_out(self, appointment: Appointment) -> None:
        do, appointment.do = appointment.do, None
        if do is None:
            return
        try:
            do()
        except Exception:  # one job's trouble must not end the thread that serves all of them
            log.exception("a call on the agenda %s failed", self._name)
