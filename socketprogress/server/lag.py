"""How late what waits for its turn gets it: the loop's lag, or the threads'."""

from __future__ import annotations

from socketprogress.core.ports import Clock
from socketprogress.server.metrics import Histogram, Metric
from socketprogress.server.runtime import Signal

__all__ = ["Lag"]

EVERY_S = 0.25
BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Lag:
    """Sleeps four times a second, and notes how much later it wakes than it asked for.

    In threading mode, where there is no loop, that is what a thread waits for the interpreter.

    Args:
        clock: both clocks.
        stopped: set when the server ends.
    """

    def __init__(self, clock: Clock, stopped: Signal) -> None:
        self._clock, self._stopped = clock, stopped
        self._histogram = Histogram(BOUNDS_S)

    def run(self) -> None:
        """Measure until the server ends."""
        asked = self._clock.monotonic()
        while not self._stopped.wait(EVERY_S):
            now = self._clock.monotonic()
            self._histogram.add(max(now - asked - EVERY_S, 0.0))
            asked = self._clock.monotonic()

    def collect(self) -> Metric:
        """Return what was measured."""
        return Metric(
            "socketprogress_loop_lag_seconds",
            "histogram",
            "How much later than asked for the loop, or a thread, has had its turn.",
            dict(self._histogram.samples(())),
        )
