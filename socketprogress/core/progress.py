"""Percent, rate and time left, from counts and monotonic seconds."""

from __future__ import annotations

import math

__all__ = ["MOST_BEFORE_THE_END", "Pace", "forward", "percent"]

MOST_BEFORE_THE_END = 99.99


def percent(current: float, total: float | None) -> float | None:
    """Return how much of `total` is done, in percent of two decimals; None without a total.

    Rounded down and at most 99.99: only a task's completion makes 100.
    """
    if total is None or total <= 0:
        return None
    share = math.floor(10_000 * current / total + 1e-9) / 100
    return min(max(share, 0.0), MOST_BEFORE_THE_END)


def forward(before: float | None, now: float | None) -> float | None:
    """Return the newer percent, but never less than the one before."""
    if before is None or now is None:
        return before if now is None else now
    return max(before, now)


class Pace:
    """How fast the counts rise, and how long the rest will take.

    The rate is an exponentially weighted mean over about `window_s` seconds of monotonic time. The
    time left is None until it is credible: after `credible_s` seconds and `credible_samples`
    samples with a rise.

    Args:
        now: monotonic seconds at the work's start.
    """

    __slots__ = ("_at", "_count", "_paused_s", "_rate", "_samples", "_since", "_started")

    window_s = 5.0
    credible_s = 3.0
    credible_samples = 5

    def __init__(self, now: float) -> None:
        self._started = self._since = self._at = now
        self._count = 0.0
        self._rate: float | None = None
        self._samples = 0
        self._paused_s = 0.0

    def restart(self, now: float, count: float = 0.0) -> None:
        """Forget the rate: a new step, or counts that start again."""
        self._since = self._at = now
        self._count, self._rate, self._samples = count, None, 0

    def pause(self, seconds: float) -> None:
        """Leave `seconds` of silence out of the elapsed time and of the rate."""
        self._paused_s += seconds
        self._since += seconds
        self._at += seconds

    def add(self, now: float, count: float) -> None:
        """Take the count at `now`; one that went back starts the rate again."""
        rise, span = count - self._count, now - self._at
        if rise < 0:
            self.restart(now, count)
            return
        if rise == 0 or span <= 0:
            return
        share = 1.0 - math.exp(-span / self.window_s)
        instant = rise / span
        self._rate = (
            instant if self._rate is None else self._rate + share * (instant - self._rate)
        )
        self._samples += 1
        self._at, self._count = now, count

    @property
    def rate(self) -> float | None:
        """Units a second, or None before the first rise."""
        return None if self._rate is None else float(f"{self._rate:.4g}")

    def elapsed_s(self, now: float) -> float:
        """Return the seconds since the start, pauses excluded."""
        return round(max(now - self._started - self._paused_s, 0.0), 3)

    def eta_s(self, now: float, total: float | None) -> float | None:
        """Return the seconds left to `total` at the present rate, or None while not credible."""
        if total is None or self._rate is None or self._rate <= 0:
            return None
        if now - self._since < self.credible_s or self._samples < self.credible_samples:
            return None
        return round(max(total - self._count, 0.0) / self._rate, 1)
