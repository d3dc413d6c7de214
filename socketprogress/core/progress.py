"""Percent, rate and time left, from counts and monotonic seconds."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

__all__ = ["MOST_BEFORE_THE_END", "UNKNOWN", "Left", "Pace", "finite", "forward", "percent"]

MOST_BEFORE_THE_END = 99.99
INTEGERS = range(-(2**63), 2**63)


def finite(value: Any) -> float | None:
    """Return a count of any numeric type as a number that JSON carries; None if it is not finite.

    An integer beyond 64 bits becomes a float.
    """
    if value is None or (type(value) is int and value in INTEGERS):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def percent(current: float, total: float | None) -> float | None:
    """Return how much of `total` is done, in percent of two decimals; None without a total.

    Rounded down and at most 99.99: only a task's completion makes 100.
    """
    if total is None or not total > 0:
        return None
    if not current > 0:
        return 0.0
    if current >= total:  # far beyond it, the quotient is beyond every float
        return MOST_BEFORE_THE_END
    return min(math.floor(10_000 * (current / total) + 1e-9) / 100, MOST_BEFORE_THE_END)


def forward(before: float | None, now: float | None) -> float | None:
    """Return the newer percent, but never less than the one before."""
    if before is None or now is None:
        return before if now is None else now
    return max(before, now)


class Left(NamedTuple):
    """The seconds that are left: about how many, and, where that says more, from when to when."""

    eta_s: float | None = None
    eta_low_s: float | None = None
    eta_high_s: float | None = None


UNKNOWN = Left()


class _Window:
    """What rose in about the last `window_s` seconds, and the seconds that it took."""

    __slots__ = ("_window_s", "risen", "span")

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self.risen = self.span = 0.0

    def add(self, rise: float, span: float) -> None:
        kept = math.exp(-span / self._window_s)
        self.risen = kept * self.risen + rise
        self.span = kept * self.span + span


class Pace:
    """How fast the counts rise, and how long the rest will take.

    The rate is what rose, divided by the seconds it took, both weighted less the longer ago they
    are, over about `window_s` seconds of monotonic time: how often reports come does not matter,
    and the first one has no more say than the time that it stands for. What is counted at the very
    start was there before. The time left is None until it is credible: after `credible_s` seconds
    and `credible_samples` samples with a rise.

    Args:
        now: monotonic seconds at the work's start.
    """

    __slots__ = ("_at", "_count", "_long", "_paused_s", "_samples", "_short", "_since", "_started")

    window_s = 5.0
    long_window_s = 60.0
    uneven = 1.5
    credible_s = 3.0
    credible_samples = 5
    shortest_s = 0.02  # reports that come together say nothing of the time between them

    def __init__(self, now: float) -> None:
        self._started = self._since = self._at = now
        self._count = self._paused_s = 0.0
        self._samples = 0
        self._short, self._long = _Window(self.window_s), _Window(self.long_window_s)

    def restart(self, now: float, count: float = 0.0) -> None:
        """Forget the rate: a new step, or counts that start again."""
        self._since = self._at = now
        self._count, self._samples = count, 0
        self._short, self._long = _Window(self.window_s), _Window(self.long_window_s)

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
        if span < self.shortest_s and not self._samples:
            self._count = count
        if rise == 0 or span < self.shortest_s:
            return
        self._short.add(rise, span)
        self._long.add(rise, span)
        self._samples += 1
        self._at, self._count = now, count

    @property
    def rate(self) -> float | None:
        """Units a second, or None before the first rise."""
        return finite(f"{self._short.risen / self._short.span:.4g}") if self._samples else None

    def elapsed_s(self, now: float) -> float:
        """Return the seconds since the start, pauses excluded."""
        return round(max(now - self._started - self._paused_s, 0.0), 3)

    def eta_s(self, now: float, total: float | None) -> float | None:
        """Return the seconds left to `total` at the present rate, or None while not credible."""
        if total is None or self._samples < self.credible_samples:
            return None
        if now - self._since < self.credible_s:
            return None
        return self._left_s(total, self._short)

    def left(self, now: float, total: float | None) -> Left:
        """Return the time left, as a range where the pace of the last minute was another one."""
        eta_s = self.eta_s(now, total)
        if eta_s is None or total is None:
            return UNKNOWN
        other_s = self._left_s(total, self._long)
        if other_s is None:
            return Left(eta_s)
        low_s, high_s = sorted((eta_s, other_s))
        return Left(eta_s, low_s, high_s) if high_s > self.uneven * low_s else Left(eta_s)

    def _left_s(self, total: float, window: _Window) -> float | None:
        left_s = max(total - self._count, 0.0) * (window.span / window.risen)
        return finite(round(left_s, 1))
