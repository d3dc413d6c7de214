"""How long tasks took so far, and what that says of one that runs."""

from __future__ import annotations

import json
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from socketprogress.core.progress import UNKNOWN, Left
from socketprogress.core.state import TaskState
from socketprogress.core.status import Status

__all__ = ["History", "Usual", "usual"]

RUNS = 50
FEWEST_RUNS = 3
KINDS = 1_000
WIDEST = 4.0
SLACK = 0.1
SLACK_S = 1.0
"""A quartile of the runs took longer than the upper one; only beyond that it is worth a word."""

_Kind = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usual:
    """How long such tasks took: the median, and the quartiles, with some slack for the upper one."""

    median_s: float
    low_s: float
    high_s: float

    def left(self, elapsed_s: float) -> Left:
        """Return what is left after so many seconds; unknown for one that takes longer than usual."""
        high_s = self.high_s - elapsed_s
        if high_s <= 0:
            return UNKNOWN
        likely_s = max(self.median_s - elapsed_s, high_s / 2)
        low_s = max(self.low_s - elapsed_s, 0.0)
        return Left(round(likely_s, 1), round(low_s, 1), round(high_s, 1))


def usual(runs: Sequence[float]) -> Usual | None:
    """Return what the durations of past runs have in common; None if they are few or scattered."""
    if len(runs) < FEWEST_RUNS:
        return None
    ordered = sorted(runs)
    low_s, median_s, high_s = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    if high_s > WIDEST * max(low_s, SLACK_S):
        return None
    return Usual(round(median_s, 3), low_s, high_s + max(SLACK * high_s, SLACK_S))


class History:
    """Keeps how long the last completed tasks of each kind took, within a bound.

    Tasks are of a kind if they run the same definition; better still with the same arguments. What
    reporters call their work is no definition, as every bar may have the same name: there the
    title has to be the same as well.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[_Kind, deque[float]] = OrderedDict()

    def learn(self, state: TaskState) -> None:
        """Take a task that has ended; of a kind the newest completed ones count."""
        if state.status is not Status.COMPLETED or state.elapsed_s is None:
            return
        for kind in _kinds(state):
            runs = self._runs.setdefault(kind, deque(maxlen=RUNS))
            runs.append(state.elapsed_s)
            self._runs.move_to_end(kind)
        while len(self._runs) > KINDS:
            self._runs.popitem(last=False)

    def usual(self, state: TaskState) -> Usual | None:
        """Return how long tasks like this one took: with the same arguments, or at all."""
        for kind in _kinds(state):
            runs = self._runs.get(kind, ())
            if len(runs) >= FEWEST_RUNS:
                return usual(runs)
        return None


def _kinds(state: TaskState) -> tuple[_Kind, ...]:
    """Return the kinds that a task is of, the closest first."""
    kind = (state.source, state.name)
    if state.source == "report":
        return ((*kind, state.title),)
    if not state.args:
        return (kind,)
    args = json.dumps(dict(state.args), sort_keys=True, default=str)
    return ((*kind, str(hash(args))), kind)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
